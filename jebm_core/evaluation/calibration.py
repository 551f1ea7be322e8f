"""Calibration: when the model says 30 %, does it happen 30 % of the time?

Three questions, each answered from stated probabilities and what happened.

* *Events*: an item is present, a slot has an option, one item ranks above another. Reliability in bins and the expected
  calibration error ECE = Σ_b (n_b/n)·|mean stated − observed share|.
* *Whole combinations*: is the most probable combination right as often as its probability says?
* *The whole distribution*: the most probable combinations that together hold 90 % should hold the truth in 90 % of
  rows. With H(y) the total probability of combinations more probable than y, the randomised probability integral
  transform H(y) + U·p(y) is uniform for a calibrated model (U uniform and independent).

Intervals are 95 %. Wilson's treats the cases of a bin as independent; where several events of one row share a bin they
are not quite, and the bootstrap over rows of the ECE is the one to trust.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.spaces import Configurations, OutputSpace, Rankings

LEVELS = (0.5, 0.8, 0.9, 0.95)
MAX_BINS = 10
MAX_BINNED_EVENTS = 100
"""Events whose bins are kept; the most frequent ones where there are more. All have their ECE."""
_Z = 1.959963984540054


@final
@dataclass(frozen=True)
class Bin:
    """Cases with similar stated probability: how many, what was stated, what was observed (Wilson interval)."""

    n: int
    predicted: float
    observed: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class Reliability:
    """Bins in growing order and their expected calibration error.

    Attributes:
        n: cases.
        ece: between 0 and 1; its interval is a bootstrap over rows, moved by the bootstrap's own upward bias.
        ece_chance: an ECE that chance alone exceeds in 5 % of samples if calibration is perfect.
        bins: empty where they were left out.
    """

    n: int
    ece: float
    ece_low: float
    ece_high: float
    ece_chance: float
    bins: tuple[Bin, ...]


@final
@dataclass(frozen=True)
class EventCalibration:
    """One event: its name, how often it was expected and observed, its reliability."""

    name: str
    predicted: float
    observed: float
    reliability: Reliability


@final
@dataclass(frozen=True)
class Coverage:
    """Share of rows whose combination lies in the smallest region that is said to hold ``level`` of the probability."""

    level: float
    covered: float
    low: float
    high: float
    n: int


@final
@dataclass(frozen=True)
class Calibration:
    """All of it.

    Attributes:
        pooled: all events together.
        events: each event by itself.
        joint: the most probable combination.
        pit: rows by tenth of the randomised transform; flat for a calibrated model.
        pit_clipped: rows whose transform, estimated from draws, came out above 1.001; it counts as 1.
    """

    pooled: Reliability
    events: tuple[EventCalibration, ...]
    joint: Reliability
    coverage: tuple[Coverage, ...]
    pit: tuple[int, ...]
    pit_clipped: int


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) without a trial.

    >>> low, high = wilson_interval(0, 20)
    >>> low, 0.1 < high < 0.2
    (0.0, True)
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = successes / trials, _Z * _Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    reach = _Z * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return 0.0 if successes == 0 else low, 1.0 if successes == trials else high


class Resamples(NamedTuple):
    """Bootstrap resamples of rows: how often each row occurs, and random signs for what chance alone would give."""

    counts: Float[np.ndarray, "resample row"]
    signs: Float[np.ndarray, "resample row"]


def row_resamples(rows: int, resamples: int, seed: int) -> Resamples:
    """Resamples by seed.

    >>> row_resamples(5, 3, 0).counts.sum(1).tolist()
    [5.0, 5.0, 5.0]
    """
    random = np.random.default_rng(seed)
    counts = random.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    return Resamples(counts.astype(np.float64), random.choice([-1.0, 1.0], size=(resamples, rows)))


def reliability(
    probability: Float[np.ndarray, "row event"],
    happened: Bool[np.ndarray, "row event"],
    resampled: Resamples,
    *,
    keep_bins: bool = True,
) -> Reliability:
    """Reliability of events pooled over columns, in at most `MAX_BINS` bins of equal count; ties share a bin.

    Chance is simulated by giving all deviations of a row one random sign, which keeps how events of a row go together.
    Cost O(cells · log cells + resamples · rows · bins).
    """
    counts, stated, true = _binned(probability, happened)
    gap, cells = stated - true, probability.size
    ece = float(np.abs(gap.sum(0)).sum() / cells)
    again = np.abs(resampled.counts @ gap).sum(1) / cells
    # A resample adds noise to noise, so its ECE is larger on average; that excess is taken off both ends.
    low, high = np.quantile(again, [0.025, 0.975]) - max(0.0, float(again.mean()) - ece)
    chance = float(np.quantile(np.abs(resampled.signs @ gap).sum(1) / cells, 0.95))
    bins = []
    for n, p, hits in zip(counts.sum(0), stated.sum(0), true.sum(0), strict=True):
        if n and keep_bins:
            bins.append(Bin(int(n), float(p / n), float(hits / n), *wilson_interval(int(hits), int(n))))
    low, high = max(0.0, min(float(low), ece)), max(float(high), ece)
    return Reliability(int(cells), ece, low, high, chance, tuple(bins))


def resampled_error(
    probability: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"], resampled: Resamples
) -> tuple[float, Float[np.ndarray, " resample"]]:
    """ECE as `reliability` has it, and of each resample of rows in the same bins."""
    _, stated, true = _binned(probability, happened)
    gap = stated - true
    again = np.abs(resampled.counts @ gap).sum(1) / probability.size
    return float(np.abs(gap.sum(0)).sum() / probability.size), again


def _binned(
    probability: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"]
) -> tuple[Float[np.ndarray, "row bin"], ...]:
    """Cases, sum of stated probabilities and events that happened, of each row in each bin: summed over rows, stated −
    happened is n_b·(mean stated − observed share)."""
    edges = np.unique(np.quantile(probability, np.arange(1, MAX_BINS) / MAX_BINS, method="inverted_cdf"))
    place = np.searchsorted(edges, probability, side="left")
    inside = np.stack([place == b for b in range(len(edges) + 1)])  # [bin, row, event]
    counts = inside.sum(2).T.astype(np.float64)
    stated = np.stack([np.where(part, probability, 0.0).sum(1) for part in inside], 1)
    return counts, stated, (inside & happened).sum(2).T.astype(np.float64)


def event_reliability(
    probabilities: Sequence[float] | Float[np.ndarray, " row"],
    happened: Sequence[bool] | Bool[np.ndarray, " row"],
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Reliability:
    """Reliability of one event of the person's own choice: what was stated for each row, and whether it happened.

    Raises:
        SpecError: the two differ in length, are empty, or a probability is outside [0, 1].

    >>> event_reliability([0.5, 0.5, 0.5, 0.5], [True, False, True, False]).ece
    0.0
    """
    stated, true = np.asarray(probabilities, dtype=np.float64), np.asarray(happened, dtype=bool)
    if stated.shape != true.shape or stated.ndim != 1 or stated.size == 0:
        raise SpecError(
            "Expected as many probabilities as outcomes and at least one, found {stated} and {true}; "
            "give one pair a row.",
            stated=stated.size,
            true=true.size,
        )
    wrong = ~((stated >= 0) & (stated <= 1))
    if wrong.any():
        raise SpecError(
            "Expected probabilities between 0 and 1, found {found} at place {place}; divide percentages by 100.",
            found=float(stated[wrong][0]),
            place=int(np.flatnonzero(wrong)[0]) + 1,
        )
    return reliability(stated[:, None], true[:, None], row_resamples(stated.size, resamples, seed))


def coverage(pit: Float[np.ndarray, " row"], levels: Sequence[float] = LEVELS) -> tuple[Coverage, ...]:
    """Coverage of the highest-density regions: the share of rows whose transform is at most the level.

    >>> [round(c.covered, 2) for c in coverage((np.arange(100) + 0.5) / 100)]
    [0.5, 0.8, 0.9, 0.95]
    """
    found = []
    for level in levels:
        inside = int((pit <= level).sum())
        found.append(Coverage(level, inside / len(pit), *wilson_interval(inside, len(pit)), len(pit)))
    return tuple(found)


def calibrate(
    names: Sequence[str],
    probability: Float[np.ndarray, "row event"],
    happened: Bool[np.ndarray, "row event"],
    top_probability: Float[np.ndarray, " row"],
    top_right: Bool[np.ndarray, " row"],
    pit: Float[np.ndarray, " row"],
    *,
    resamples: int = 200,
    seed: int = 0,
) -> Calibration:
    """Every part of `Calibration` from stated probabilities and what happened, one line a row."""
    resampled = row_resamples(len(pit), resamples, seed)
    frequent = set(np.argsort(-happened.sum(0), kind="stable")[:MAX_BINNED_EVENTS].tolist())
    events = []
    for e, name in enumerate(names):
        one = reliability(probability[:, [e]], happened[:, [e]], resampled, keep_bins=e in frequent)
        events.append(EventCalibration(name, float(probability[:, e].mean()), float(happened[:, e].mean()), one))
    clipped = pit > 1.001  # less is the rounding of a sum
    pit = np.minimum(pit, 1.0)
    return Calibration(
        pooled=reliability(probability, happened, resampled),
        events=tuple(events),
        joint=reliability(top_probability[:, None], top_right[:, None], resampled),
        coverage=coverage(pit),
        pit=tuple(np.histogram(pit, bins=10, range=(0.0, 1.0))[0].tolist()),
        pit_clipped=int(clipped.sum()),
    )


def event_names(space: OutputSpace) -> tuple[str, ...]:
    """What the columns of `event_indicators` are called.

    >>> from jebm_core.spaces import Subsets
    >>> event_names(Rankings(("a", "b"))), event_names(Subsets(("a", "b")))
    (('a > b', '1st: a', '1st: b'), ('a', 'b'))
    """
    if isinstance(space.whole, Rankings):
        pairs = [f"{a} > {b}" for i, a in enumerate(space.items) for b in space.items[i + 1 :]]
        return (*pairs, *(f"1st: {item}" for item in space.items))
    if isinstance(whole := space.whole, Configurations):
        return tuple(
            f"{slot}={option}" for slot, options in zip(space.items, whole.options, strict=True) for option in options
        )
    return space.items


def event_indicators(space: OutputSpace, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch event"]:
    """1 where the event holds: item present, option chosen; for rankings i above j (i listed before j), i first."""
    if isinstance(space.whole, Rankings):
        a, b = torch.triu_indices(space.num_items, space.num_items, offset=1, device=y.device)
        return torch.cat([y[..., a] < y[..., b], y == 0], -1).to(torch.get_default_dtype())
    return space.statistics(y)
