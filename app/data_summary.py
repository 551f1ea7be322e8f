"""What a table of examples looks like and whether it is fit for the question: counts, pairs, Good–Turing."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.text.numbers import Interval
from jebm_core.tables import Examples, Outputs

RARE = 5
FREQUENCY_GROUPS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, None))


class Concern(StrEnum):
    """Why data may not be fit; each is worded on the page."""

    FEW_ROWS = "few rows"
    FAR_TOO_FEW_ROWS = "far too few rows"
    RARE_PARTS = "rare parts"
    MANY_LEFT_OUT = "many left out"
    MOST_LEFT_OUT = "most left out"
    ALMOST_ALL_NEW = "almost all new"


@dataclass(frozen=True)
class DataSummary:
    """Counts of one table of examples.

    Attributes:
        rows: examples that are used.
        left_out: rows of the file that aren't.
        features: feature columns.
        outputs: items or slots.
        distinct: different combinations.
        seen_once: combinations that occur exactly once.
        unseen_share: Good–Turing estimate of the probability that the next case is a combination not in the table.
        frequency: share of the rows whose combination occurs as often as each of ``FREQUENCY_GROUPS`` says.
        rare_parts: items or options that occur fewer than five times (or are absent fewer than five times).
        parts: all items or options.
        concerns: what speaks against the data.
    """

    rows: int
    left_out: int
    features: int
    outputs: int
    distinct: int
    seen_once: int
    unseen_share: Interval
    frequency: tuple[float, ...]
    rare_parts: int
    parts: int
    concerns: tuple[Concern, ...]


def summarise(examples: Examples) -> DataSummary:
    """Count what the verdict on the data rests on. Costs one sort of the output columns."""
    values = examples.outputs.values
    rows = len(values)
    counts = np.unique(values, axis=0, return_counts=True)[1]
    held = parts_held(examples.outputs)
    occur = held.sum(axis=0)
    often = np.minimum(occur, rows - occur) if examples.outputs.kind == "subsets" else occur
    rare = 0 if examples.outputs.kind == "rankings" else int((often < RARE).sum())
    once = int((counts == 1).sum())
    unseen = unseen_share(rows, once, int((counts == 2).sum()))
    left_out = len(examples.table.frame) - rows
    frequency = tuple(
        float(counts[(counts >= low) & (counts <= (high or rows))].sum() / max(rows, 1))
        for low, high in FREQUENCY_GROUPS
    )
    return DataSummary(
        rows=rows,
        left_out=left_out,
        features=len(examples.roles.features),
        outputs=values.shape[1],
        distinct=len(counts),
        seen_once=once,
        unseen_share=unseen,
        frequency=frequency,
        rare_parts=rare,
        parts=held.shape[1],
        concerns=_concerns(rows, left_out, rare, unseen),
    )


def unseen_share(rows: int, seen_once: int, seen_twice: int) -> Interval:
    """Return the Good–Turing estimate of the unseen share, with a 95 % interval.

    The estimate is N₁/n. Its variance is (N₁(1 − N₁/n) + 2 N₂)/n² (Esty, Annals of Statistics 1983). Where all or no
    combinations occur once that variance says nothing. Then the bound is the share at which so even a table would still
    turn up in one of forty: 2 ln 40 / n from one when all n rows differ, ln 40 / n from zero when every one repeats.

    >>> unseen_share(400, 100, 20).value
    0.25
    """
    if rows == 0:
        return Interval(1.0, 0.0, 1.0)
    estimate = seen_once / rows
    spread = 1.96 * math.sqrt(max(seen_once * (1.0 - estimate) + 2.0 * seen_twice, 0.0)) / rows
    low, high = max(estimate - spread, 0.0), min(estimate + spread, 1.0)
    if seen_once == rows:
        low = max(1.0 - 2.0 * math.log(40.0) / rows, 0.0)
    if seen_once == 0:
        high = min(max(high, math.log(40.0) / rows), 1.0)
    return Interval(estimate, low, high)


def parts_held(outputs: Outputs) -> npt.NDArray[np.bool_]:
    """Return which items or options each row holds, ``[row, part]``; of a ranking, the items in its upper half."""
    values = outputs.values
    if outputs.kind == "subsets":
        return values == 1
    if outputs.kind == "rankings":
        return values < values.shape[1] / 2
    columns = [
        values[:, slot] == option for slot, options in enumerate(outputs.options) for option in range(len(options))
    ]
    return np.stack(columns, axis=1)


def pair_matrix(outputs: Outputs, most: int = 60) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Return how pairs of parts go together, ``[part, part]``, and which parts those are.

    Subsets and configurations: the correlation (phi) of two parts over the rows, −1 to 1; empty on the diagonal and
    between options of one slot. Rankings: the share of rows in which the row's item is ranked above the column's.
    The ``most`` most informative parts are kept, in the order of the file.
    """
    if outputs.kind == "rankings":
        places = outputs.values[:, :most]
        above = (places[:, :, None] < places[:, None, :]).mean(axis=0)
        np.fill_diagonal(above, np.nan)
        return above, np.arange(places.shape[1])
    held = parts_held(outputs).astype(np.float64)
    spread = held.std(axis=0)
    chosen = np.sort(np.argsort(-spread, kind="stable")[:most])
    centred = held[:, chosen] - held[:, chosen].mean(axis=0)
    covariance = centred.T @ centred / max(len(held), 1)
    scale = np.outer(spread[chosen], spread[chosen])
    phi = np.divide(covariance, scale, out=np.full_like(covariance, np.nan), where=scale > 0.0)
    np.fill_diagonal(phi, np.nan)
    if outputs.kind == "configurations":
        slots = part_slots(outputs)[chosen]
        phi[slots[:, None] == slots[None, :]] = np.nan
    return phi, chosen


def part_slots(outputs: Outputs) -> npt.NDArray[np.intp]:
    """Return the slot that each option of a configuration belongs to; for the other kinds, each item is its own."""
    if outputs.kind != "configurations":
        return np.arange(outputs.values.shape[1])
    return np.concatenate([np.full(len(options), slot) for slot, options in enumerate(outputs.options)])


def strongest_pair(matrix: npt.NDArray[np.float64], centre: float = 0.0) -> tuple[int, int] | None:
    """Return the pair farthest from ``centre``, or nothing where no pair says anything."""
    distance = np.abs(np.nan_to_num(matrix - centre))
    if not distance.size or not distance.any():
        return None
    first, second = np.unravel_index(int(distance.argmax()), matrix.shape)
    return int(first), int(second)


def _concerns(rows: int, left_out: int, rare: int, unseen: Interval) -> tuple[Concern, ...]:
    found = []
    if rows < 50:
        found.append(Concern.FAR_TOO_FEW_ROWS)
    elif rows < 200:
        found.append(Concern.FEW_ROWS)
    if left_out > rows:
        found.append(Concern.MOST_LEFT_OUT)
    elif left_out > 0.1 * (rows + left_out):
        found.append(Concern.MANY_LEFT_OUT)
    if rare:
        found.append(Concern.RARE_PARTS)
    if unseen.value > 0.95:
        found.append(Concern.ALMOST_ALL_NEW)
    return tuple(found)
