"""Cohorts: is the model as good, and as well calibrated, in every group of rows?

Rows are grouped by a column: by its values, or by the quarters of its numbers. The calibration error of every group is
held against what chance alone gives (all deviations of a row get one random sign, which keeps how events of a row go
together), and the p-values of all groups are adjusted together by Holm's method: if every group is calibrated, the
chance that any is flagged is about 5 %.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jebm_core.errors import TableError
from jebm_core.evaluation.calibration import reliability, row_resamples
from jebm_core.evaluation.measured import Measured
from jebm_core.rules.lookup import feature_column
from jebm_core.tables import Examples
from jebm_core.tables.cells import is_number
from jebm_core.tables.records import spelled_column
from jebm_core.tables.roles import nearest

ALPHA = 0.05
MOST_GROUPS = 12
"""Values of a column that are groups of their own; the rarer ones are one group."""
MOST_VALUES_OF_NUMBERS = 8
"""Distinct numbers up to which each is a group; more are cut into quarters."""
MISSING, OTHERS = "(missing)", "(others)"
_RESAMPLES = 999


@final
@dataclass(frozen=True)
class Cohort:
    """One group of rows.

    Attributes:
        nll: mean −log p in nats over its audited rows, with a bootstrap interval; NaN without such rows.
        mean_stated, observed: mean over its rows and events.
        ece, ece_low, ece_high, ece_chance: as in `calibration.Reliability`.
        p_value: of an error this large by chance; adjusted: by Holm's method over all groups.
        flagged: adjusted is at most 5 %: the group's miscalibration is beyond chance.
    """

    name: str
    n: int
    nll: float
    nll_low: float
    nll_high: float
    mean_stated: float
    observed: float
    ece: float
    ece_low: float
    ece_high: float
    ece_chance: float
    p_value: float
    adjusted: float
    flagged: bool


@final
@dataclass(frozen=True)
class Cohorts:
    """All groups of a column, in its order."""

    column: str
    method: str
    groups: tuple[Cohort, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        return dataclasses.asdict(self)


def cohort_column(table_columns: Sequence[str], column: str, file: str) -> str:
    """The column of a table that a person means; the prefix of features may be left out.

    Raises:
        TableError: there is none.
    """
    found = feature_column(column, table_columns)
    if found is None:
        raise TableError(
            "{file} has no column {column!r} to group rows by; the nearest name is {near!r}. Choose a column of the "
            "table.",
            file=file,
            column=column,
            near=nearest(column, list(table_columns)),
        )
    return found


def cohort_labels(cells: pd.Series) -> tuple[list[str], tuple[str, ...]]:
    """The group of each row, and all groups in order: values, or quarters of numbers of which there are many.

    >>> cohort_labels(pd.Series(["b", "a", None]))
    (['b', 'a', '(missing)'], ('a', 'b', '(missing)'))
    >>> cohort_labels(pd.Series([float(i) for i in range(12)]))[1]
    ('0 to 2.75', '2.75 to 5.5', '5.5 to 8.25', '8.25 to 11')
    """
    texts = [MISSING if text is None else text for text in spelled_column(cells)]
    known = [text for text in texts if text != MISSING]
    values = sorted(set(known))
    gaps = (MISSING,) if MISSING in texts else ()
    if values and all(is_number(value) for value in values):
        if len(set(map(float, values))) > MOST_VALUES_OF_NUMBERS:
            numbers = np.array([math.nan if text == MISSING else float(text) for text in texts])
            edges = np.unique(np.nanquantile(numbers, [0, 0.25, 0.5, 0.75, 1]))
            names = [f"{a:.4g} to {b:.4g}" for a, b in itertools.pairwise(edges)]
            place = np.searchsorted(edges[1:-1], numbers, side="left")  # what stands on an edge is below it
            return [MISSING if text == MISSING else names[p] for text, p in zip(texts, place, strict=True)], (
                *names,
                *gaps,
            )
        values.sort(key=float)
    if len(values) > MOST_GROUPS:
        counts = pd.Series(known).value_counts()
        kept = set(cast("list[str]", counts.index[: MOST_GROUPS - 1].tolist()))
        values = [value for value in values if value in kept]
        texts = [text if text in kept or text == MISSING else OTHERS for text in texts]
        gaps = (OTHERS, *gaps)
    return texts, (*values, *gaps)


def judge_cohorts(
    measured: Measured, examples: Examples, column: str, *, seed: int = 0, bootstrap: int = 200
) -> Cohorts:
    """Hold the groups of a column against one another, from what `measure` found for these examples.

    Raises:
        TableError: no such column.

    Cost: about 1000 resamples of each group.
    """
    frame = examples.table.frame
    column = cohort_column([str(name) for name in frame.columns], column, examples.table.name)
    cells = cast(pd.Series, frame[column]).iloc[examples.keep[measured.places]]
    labels, order = cohort_labels(cells)
    nll = np.full(len(labels), math.nan)
    nll[measured.audited.cpu().numpy()] = measured.nll["nll"]
    return compare_cohorts(
        measured.rows["events"], measured.happened, nll, labels, order, column, seed=seed, bootstrap=bootstrap
    )


def compare_cohorts(
    stated: Float[np.ndarray, "row event"],
    happened: Bool[np.ndarray, "row event"],
    nll: Float[np.ndarray, " row"],
    labels: Sequence[str],
    order: Sequence[str],
    column: str,
    *,
    seed: int = 0,
    bootstrap: int = 200,
) -> Cohorts:
    """The same from plain numbers; nll is NaN where it is not known."""
    group_of, found = np.array(labels, dtype=object), []
    for name in order:
        mine = group_of == name
        if not mine.any():
            continue
        p, y = stated[mine], happened[mine]
        one = reliability(p, y, row_resamples(len(p), bootstrap, seed), keep_bins=False)
        known = nll[mine][np.isfinite(nll[mine])]
        mean, low, high = _mean(known, seed, bootstrap)
        found.append(
            Cohort(
                str(name), int(mine.sum()), mean, low, high, float(p.mean()), float(y.mean()),
                one.ece, one.ece_low, one.ece_high, one.ece_chance,
                p_value=chance_of_error(p, y, seed), adjusted=math.nan, flagged=False,
            )
        )  # fmt: skip
    adjusted = holm([cohort.p_value for cohort in found])
    groups = [
        dataclasses.replace(cohort, adjusted=p, flagged=p <= ALPHA) for cohort, p in zip(found, adjusted, strict=True)
    ]
    return Cohorts(column, f"Holm, {ALPHA:.0%}", tuple(groups))


def chance_of_error(
    stated: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"], seed: int = 0
) -> float:
    """p-value of the mean deviation's size, in all and in each half of the stated probabilities, if the statements are
    right: the share of random signs of rows that give as much; at least 0.001.

    The statistic is the sum of |Σ (stated − happened)| over the halves of the pooled cases. Few bins: a deviation in
    one direction adds up.
    """
    middle = np.quantile(stated, 0.5)
    gap = stated - happened
    parts = np.stack([np.where(stated <= middle, gap, 0).sum(1), np.where(stated > middle, gap, 0).sum(1)], 1)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_RESAMPLES, len(parts)))
    actual = np.abs(parts.sum(0)).sum()
    again = np.abs(signs @ parts).sum(1)
    return float((1 + (again >= actual - 1e-12).sum()) / (1 + _RESAMPLES))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down method, valid however they depend (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _mean(values: Float[np.ndarray, " row"], seed: int, bootstrap: int) -> tuple[float, float, float]:
    if not len(values):
        return math.nan, math.nan, math.nan
    again = row_resamples(len(values), bootstrap, seed).counts @ values / len(values)
    low, high = np.quantile(again, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)
