"""Ahead, tied or behind: two methods compared row by row, and the rows that are made of it.

The difference of means has a 95 % interval from resampling test rows; both methods are resampled alike, and rows that
several splits share are resampled together. It holds the choice of test rows, not that of training rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

import numpy as np

from tests.benchmarks.field.packing import unpack, unpack_whole
from tests.benchmarks.harness import Finding, Result, Target

RESAMPLES = 1000
OURS = "jebm"


@dataclass(frozen=True)
class Measure:
    """A score: its key, what it is called, its unit, and whether more of it is better."""

    key: str
    name: str
    unit: str
    larger: bool


F1 = Measure("f1", "F1", "", True)
TAU = Measure("tau", "Kendall's τ", "", True)
NLL = Measure("nll", "joint −log p", "nats", False)


@dataclass(frozen=True)
class Comparison:
    """Ours less theirs, with its interval."""

    difference: float
    low: float
    high: float

    def word(self, larger: bool) -> str:
        """``ahead``, ``tied`` or ``behind``; tied where the interval holds 0."""
        if self.low <= 0 <= self.high:
            return "tied"
        return "ahead" if (self.low > 0) == larger else "behind"


def compare(ours: np.ndarray, theirs: np.ndarray, units: np.ndarray | None = None) -> Comparison:
    """The difference of two scores of the same rows.

    Args:
        units: rows of the same number are resampled together; each by itself without it.

    Raises:
        ValueError: the rows are not the same.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"expected two scores of the same rows, found {len(ours)} and {len(theirs)}")
    gap = ours - theirs
    _, unit = np.unique(np.arange(len(gap)) if units is None else units, return_inverse=True)
    total, count = np.bincount(unit, gap), np.bincount(unit).astype(np.float64)
    weight = _resamples(len(total))
    low, high = np.quantile(weight @ total / (weight @ count), [0.025, 0.975])
    return Comparison(float(gap.mean()), float(low), float(high))


@lru_cache(maxsize=16)
def _resamples(count: int) -> np.ndarray:
    """How often each unit is drawn [resample, unit]; by a fixed seed, so that judging again says the same."""
    random = np.random.default_rng(0)
    return np.stack([np.bincount(random.integers(count, size=count), minlength=count) for _ in range(RESAMPLES)]) * 1.0


@dataclass(frozen=True)
class Field:
    """What was found on one data set: the result of each method by name, ours among them or not."""

    data: str
    results: Mapping[str, Result]

    @property
    def peers(self) -> list[str]:
        """Methods of others that have been measured on our very rows."""
        if OURS not in self.results:
            return []
        ours = self.rows(OURS, NLL)
        others = [name for name, found in self.results.items() if name != OURS and "missing" not in found]
        return [name for name in others if len(self.rows(name, NLL)) == len(ours)]

    def labelled(self, name: str) -> np.ndarray | None:
        """Which rows have a label at all; None where all have, or where there are no labels."""
        text = self.results[name].get("labelled")
        chosen = None if text is None else unpack_whole(text) == 1
        return None if chosen is None or chosen.all() else chosen

    def rows(self, name: str, measure: Measure, key: str | None = None) -> np.ndarray:
        """A number a row; of F1 only rows with a label, since no answer can score on the others."""
        values, labelled = unpack(self.results[name]["rows"][key or measure.key]), self.labelled(name)
        return values[labelled] if measure is F1 and labelled is not None else values

    def mean(self, name: str, measure: Measure) -> float:
        """Over all rows, seeds and splits."""
        if measure is F1 and self.labelled(name) is not None:
            return float(self.rows(name, measure).mean())
        return fmean(self.results[name]["means"][measure.key])

    def best(self, measure: Measure) -> str:
        """The peer with the best mean: chosen on the test rows, to our disadvantage."""
        pick = max if measure.larger else min
        return pick(self.peers, key=lambda name: self.mean(name, measure))

    def comparison(self, measure: Measure) -> Comparison:
        """Ours beside the best peer's."""
        units = self.results[OURS].get("units")
        ours, theirs = (self.rows(name, measure) for name in (OURS, self.best(measure)))
        return compare(ours, theirs, None if units is None else unpack_whole(units))


def judge(field: Field, measures: Sequence[Measure], published: tuple[float, str] | None) -> list[Finding]:
    """Our scores, beside the published and beside the best peer's; then every peer."""
    found = []
    if OURS in field.results:
        for measure in measures:
            found.append(_ours(field, measure, published if measure.larger else None))
            if field.peers:
                found.append(_beside(field, measure))
    return found + [_peer(field, name, measures[0]) for name in field.results if name != OURS]


def count_ahead(
    fields: Sequence[Field], measure: Measure, kind: str, *, ahead: Target | None = None, better: Target | None = None
) -> list[Finding]:
    """On how many data sets we are clearly ahead of every peer, and on how many our mean is the best.

    Args:
        ahead, better: on how many we should be.
    """
    judged = {field.data: field.comparison(measure) for field in fields if field.peers}
    if not judged:
        return []
    words: dict[str, list[str]] = {}
    for data, found in judged.items():
        words.setdefault(found.word(measure.larger), []).append(data)
    leads = [data for data, found in judged.items() if (found.difference > 0) == measure.larger]
    told = "; ".join(f"{word}: {', '.join(words[word])}" for word in ("ahead", "tied", "behind") if word in words)
    sources = tuple(f"{field.data}, {name}" for field in fields for name in (OURS, *field.peers) if field.peers)
    what = f"{kind}: data sets, of {len(judged)}, with {measure.name}"
    return [
        Finding(f"{what} clearly ahead of every peer's", len(words.get("ahead", ())), "", ahead, told, sources),
        Finding(f"{what} better than every peer's", len(leads), "", better, ", ".join(leads), sources),
    ]


def _ours(field: Field, measure: Measure, published: tuple[float, str] | None) -> Finding:
    result = field.results[OURS]
    details = [_each(result, measure), *_others(field, OURS, measure)]
    if measure is NLL:
        audits = [facts["log_partition"] for facts in result["facts"]]
        errors, shares = ([audit[key] for audit in audits if audit[key] is not None] for key in ("mae", "r2"))
        details += [f"log-partition off by {fmean(errors):.3f} nats"] if errors else []
        details += [f"R² at least {min(shares):.3f}"] if shares else []
        details.append(f"audit: {audits[0]['method']}")
        details.append(f"processor {fmean(result['fit_seconds']):.0f} s a fit")
    target = None
    if published is not None:
        target = Target("≥", published[0])
        details.append(f"published: {published[1]}")
    name, value = f"{field.data}: {measure.name}", field.mean(OURS, measure)
    return Finding(name, value, measure.unit, target, "; ".join(details), (f"{field.data}, {OURS}",))


def _beside(field: Field, measure: Measure) -> Finding:
    """The end of the interval that is the kinder to us: were it on the wrong side of 0, we would be behind."""
    best, found = field.best(measure), field.comparison(measure)
    end, value, relation = ("upper", found.high, "≥") if measure.larger else ("lower", found.low, "≤")
    detail = (
        f"{found.word(measure.larger)}: {found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f}); "
        f"the best peer is {best} with {field.mean(best, measure):.3f}"
    )
    name = f"{field.data}: {measure.name} less the best peer's, {end} end"
    sources = (f"{field.data}, {OURS}", f"{field.data}, {best}")
    return Finding(name, value, measure.unit, Target(relation, 0), detail, sources)


def _peer(field: Field, name: str, measure: Measure) -> Finding:
    result, sources = field.results[name], (f"{field.data}, {name}",)
    what = f"{field.data}: {name}, {measure.name}"
    if "missing" in result:
        return Finding(what, float("nan"), measure.unit, None, result["missing"], sources)
    details = _others(field, name, measure)
    if measure is not NLL:
        details.append(f"joint −log p {field.mean(name, NLL):.3f} nats")
    fit, answer = (fmean(result[key]) for key in ("fit_seconds", "answer_seconds"))
    details.append(f"processor {fit:.1f} s a fit, {answer:.1f} s to answer")
    return Finding(what, field.mean(name, measure), measure.unit, None, "; ".join(details), sources)


def _others(field: Field, name: str, measure: Measure) -> list[str]:
    """What stands beside the score: F1 by the other rules; −log p of sets that training did not have."""
    result = field.results[name]
    if measure is F1:
        half, most = (float(field.rows(name, F1, rule).mean()) for rule in ("half", "map"))
        said = [f"{half:.3f} at 0.5, {most:.3f} of the most probable"]
        if field.labelled(name) is not None:
            said.append(f"on rows with a label, {fmean(result['means']['f1']):.3f} on all rows")
        return said
    if measure is NLL and "new" in result:
        new = unpack_whole(result["new"]) == 1
        share = f"the {100 * new.mean():.0f} % of rows that training did not have"
        return [f"{field.rows(name, NLL)[new].mean():.3f} on {share}"] if new.any() else []
    return []


def _each(result: Result, measure: Measure) -> str:
    values = ", ".join(f"{value:.3f}" for value in result["means"][measure.key])
    return f"{'splits' if 'units' in result else 'seeds'}: {values}"
