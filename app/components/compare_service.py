"""Two to four finished runs held against one another. torch comes with the first call; answers are kept."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import streamlit as st

from app.components.calibration_service import measured_rows
from app.components.live_model import loaded, offered
from app.components.result import Result
from jebm_core.errors import SpecError
from jebm_core.report import judged_part
from jebm_core.tables import Note

if TYPE_CHECKING:
    from jebm_core.evaluation.paired import Gain, RowScores

MOST: Final = 4
_MAIN: Final = "nll"


@dataclass(frozen=True)
class Scores:
    """A score of every run in the order of the runs; None where a run has none."""

    values: tuple[float | None, ...]
    rows: int


@dataclass(frozen=True)
class Comparison:
    """How runs compare, the first of them being what the others are held against.

    Attributes:
        how: row by row on the same rows, by intervals of their own, or not at all.
        why: why not row by row, as a note; None where it is.
        rows: rows that all of them held out; 0 unless paired.
        left_out: held-out rows of each run that the others lack.
        scores: by name, in the order of importance.
        gains: of run i on run j by name, for every pair: ``gains[i, j]``.
        comparisons: how many pairs the intervals hold for together.
    """

    how: Literal["paired", "unpaired", "none"]
    why: Note | None
    rows: int
    left_out: tuple[int, ...]
    scores: Mapping[str, Scores]
    gains: Mapping[tuple[int, int], Mapping[str, "Gain"]]
    comparisons: int

    @property
    def order(self) -> list[int]:
        """The runs by −log p, the best first; empty where it is not known of all."""
        found = self.scores.get(_MAIN)
        known = [] if found is None else [value for value in found.values if value is not None]
        if found is None or len(known) < len(found.values):
            return []
        return sorted(range(len(known)), key=lambda place: known[place])

    @property
    def lead(self) -> "Gain | None":
        """What the best run gains on the second best by −log p; None where that is not known."""
        order = self.order
        return None if not order else self.gains.get((order[0], order[1]), {}).get(_MAIN)


def compared(results: Sequence[Result]) -> Comparison:
    """Return how finished runs compare: in pairs where they held out the same rows of the same file."""
    if len({(result.schema.kind, result.schema.columns) for result in results}) > 1:
        return _nothing(Note("These runs predict other outputs, so their scores have no common scale."), len(results))
    if not all(result.has_held_out for result in results):
        return _nothing(Note("A run here held out no rows, so nothing judges it beside the others."), len(results))
    if len({result.view.spec.dataset for result in results}) > 1:
        return _by_intervals(
            results,
            Note(
                "These runs were judged on other data, so rows can't be paired. Their intervals are set against one "
                "another instead, which finds large differences only."
            ),
        )
    try:
        return _in_pairs(tuple(result.view.id for result in results))
    except SpecError as error:
        return _by_intervals(results, Note(error.template, error.values))


@st.cache_data(max_entries=16, show_spinner=False)
def _in_pairs(run_ids: tuple[str, ...]) -> Comparison:
    import numpy as np

    from jebm_core.evaluation.paired import FEWEST_PAIRS, paired

    rows = [_row_scores(run_id) for run_id in run_ids]
    common = rows[0].rows
    for one in rows[1:]:
        common = np.intersect1d(common, one.rows)
    if len(common) < FEWEST_PAIRS:
        raise SpecError(
            "These runs held out only {count} rows in common, too few to pair. Their intervals are set against one "
            "another instead, which finds large differences only.",
            count=len(common),
        )
    shared = [one.at(np.flatnonzero(np.isin(one.rows, common))) for one in rows]
    pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
    number = len(pairs) // 2
    gains = {
        (i, j): {gain.name: gain for gain in paired(shared[j], shared[i], alpha=0.05 / number).gains} for i, j in pairs
    }
    left_out = tuple(len(one.rows) - len(common) for one in rows)
    return Comparison("paired", None, len(common), left_out, _scores(gains, len(rows)), gains, number)


@st.cache_data(max_entries=16, show_spinner=False)
def _row_scores(run_id: str) -> "RowScores":
    from jebm_core.evaluation.paired import row_scores

    return row_scores(loaded(run_id), offered(run_id), measured_rows(run_id))


def _by_intervals(results: Sequence[Result], why: Note) -> Comparison:
    from jebm_core.evaluation.paired import HIGHER_IS_BETTER, LOWER_IS_BETTER, RECORDED, unpaired

    parts = [judged_part(result.evaluation) for result in results]
    known: dict[str, list[tuple[float, float, float]]] = {}
    for name in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER):
        key = RECORDED.get(name, name)
        found = [(part.get(key), *(part["intervals"].get(key) or (None, None))) for part in parts]
        numbers = [one for one in found if all(isinstance(end, float) and math.isfinite(end) for end in one)]
        if len(numbers) == len(parts):
            known[name] = numbers  # pyright: ignore[reportArgumentType]
    pairs = [(i, j) for i in range(len(parts)) for j in range(len(parts)) if i != j]
    gains = {(i, j): {name: unpaired(name, ends[j], ends[i]) for name, ends in known.items()} for i, j in pairs}
    return Comparison("unpaired", why, 0, (0,) * len(parts), _scores(gains, len(parts)), gains, len(pairs) // 2)


def _scores(gains: Mapping[tuple[int, int], Mapping[str, "Gain"]], runs: int) -> dict[str, Scores]:
    """The score of each run, as the pairs with the first one have it."""
    found: dict[str, Scores] = {}
    names = [name for name in gains[1, 0] if all(name in gains[i, 0] for i in range(1, runs))]
    for name in names:
        values = (gains[1, 0][name].first, *(gains[i, 0][name].second for i in range(1, runs)))
        found[name] = Scores(values, min(gains[i, 0][name].rows for i in range(1, runs)))
    return found


def _nothing(why: Note, runs: int) -> Comparison:
    return Comparison("none", why, 0, (0,) * runs, {}, {}, 0)


__all__ = ["MOST", "Comparison", "Scores", "compared"]
