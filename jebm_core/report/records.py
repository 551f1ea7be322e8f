"""Sentences, answers and what is read from a record in more than one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

Verdict = Literal["trusted", "caution", "do not trust"]
ORDER: tuple[Verdict, ...] = ("trusted", "caution", "do not trust")

CALIBRATION_TRUSTED, CALIBRATION_CAUTION = 0.05, 0.15
"""Misses of a stated share, beyond what chance explains, that end *trusted* and *caution*."""
FEW_ROWS = 50
"""Fewer evaluated rows than this are never enough for *trusted*."""

Record = Mapping[str, Any]
TableRow = dict[str, Any]


@final
@dataclass(frozen=True)
class Sentence:
    """An English template, which is what a translation is looked up by, and the plain numbers and words it names.

    >>> str(Sentence("{percent:.0f} % of rows", {"percent": 9.2}))
    '9 % of rows'
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values)


@final
@dataclass(frozen=True)
class Answer:
    """The answer to the question of a page.

    Attributes:
        reasons: why the verdict is not better, or what else must be known; the limits come last.
        flagged: the numbers are not to be trusted and are shown small and grey.
    """

    verdict: Verdict
    sentence: Sentence
    reasons: tuple[Sentence, ...]

    @property
    def flagged(self) -> bool:
        """Whether the numbers may not be relied on."""
        return self.verdict == "do not trust"


def judged_part(record: Record) -> Record:
    """The evaluation that is judged: held-out rows where there are any.

    >>> judged_part({"held_out": None, "train": {"n": 3}})["n"]
    3
    """
    if "held_out" not in record:
        return record
    return record["held_out"] or record["train"]


def groups(record: Record) -> list[tuple[str, Record]]:
    """(name, evaluation) of the parts of a run; a single evaluation is called ``held_out``."""
    if "held_out" not in record:
        return [("held_out", record)]
    return [(name, record[name]) for name in ("held_out", "train") if record.get(name)]


def coverage_miss(row: Record) -> float:
    """How far the stated level lies outside the interval of what was covered; negative where it lies inside.

    >>> round(coverage_miss({"level": 0.9, "low": 0.7, "high": 0.8}), 3)
    0.1
    """
    return max(row["level"] - row["high"], row["low"] - row["level"])


def at_level(e: Record, level: float) -> Record:
    """The coverage row of one level."""
    return next(row for row in e["calibration"]["coverage"] if row["level"] == level)


def step_of(miss: float | None) -> int:
    """0, 1 or 2; a missing number is the worst."""
    return 2 if miss is None else 0 if miss <= CALIBRATION_TRUSTED else 1 if miss <= CALIBRATION_CAUTION else 2


def worst(found: list[Verdict]) -> Verdict:
    """The verdict furthest from trusted."""
    return max(found, key=ORDER.index)


def is_better(gap: list[float | None]) -> bool:
    """Whether a baseline beats the model beyond chance: even the upper bound of its excess is negative."""
    return gap[2] is not None and gap[2] < 0
