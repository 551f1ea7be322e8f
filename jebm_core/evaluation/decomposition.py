"""Proper scores taken apart: how much is lost to miscalibration, and how much the statements tell events apart.

With S the mean score (lower is better) of the stated probabilities, S* that of the same statements recalibrated by the
best non-decreasing map (isotonic regression by pooling adjacent violators), and S₀ that of always stating the share,

    S = MCB − DSC + UNC,   MCB = S − S* ≥ 0,   DSC = S₀ − S* ≥ 0,   UNC = S₀,

exactly, for every proper score (CORP: Dimitriadis, Gneiting and Jordan, PNAS 2021). No bins are chosen.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import isotonic_regression

_SIMULATIONS = 200


@final
@dataclass(frozen=True)
class Decomposition:
    """One score in parts: score = miscalibration − discrimination + uncertainty.

    Attributes:
        miscalibration: what a monotone recalibration would gain; above 0 by chance alone.
        discrimination: what the recalibrated statements gain on always stating the share.
        miscalibration_chance: a miscalibration that chance exceeds in 5 % of samples if calibration is perfect and
            cases are independent; NaN where several cases of a row are pooled, which are not.
    """

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float
    miscalibration_chance: float


@final
@dataclass(frozen=True)
class Decompositions:
    """Brier score, and logarithmic score in nats: infinite where what happened was said to be impossible."""

    brier: Decomposition
    log: Decomposition


def decompose(
    probability: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"], *, seed: int = 0
) -> Decompositions:
    """Both scores of events pooled over columns. Cost O(cells · log cells), 200 times that where a row has one.

    >>> found = decompose(np.array([[0.2], [0.2], [0.8], [0.8]]), np.array([[False], [False], [True], [True]]))
    >>> round(found.brier.miscalibration, 3), found.brier.discrimination, found.brier.uncertainty
    (0.04, 0.25, 0.25)
    """
    p, y = probability.ravel().astype(np.float64), happened.ravel().astype(np.float64)
    parts = _parts(p, y)
    chance = np.full(2, np.nan)
    if probability.shape[1] == 1:
        random = np.random.default_rng(seed)
        again = [_parts(p, (random.random(p.size) < p).astype(np.float64))[:, 1] for _ in range(_SIMULATIONS)]
        chance = np.quantile(np.stack(again), 0.95, axis=0)
    brier, log = (
        Decomposition(*values.tolist(), miscalibration_chance=float(at))
        for values, at in zip(parts, chance, strict=True)
    )
    return Decompositions(brier, log)


def recalibrated(
    probability: Float[np.ndarray, " case"], happened: Float[np.ndarray, " case"]
) -> Float[np.ndarray, " case"]:
    """The best non-decreasing map of the statements onto what happened, at each of them; equal statements stay equal.

    >>> recalibrated(np.array([0.1, 0.2, 0.3]), np.array([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.5, 0.5]
    """
    level, place, count = np.unique(probability, return_inverse=True, return_counts=True)
    share = np.bincount(place, weights=happened, minlength=len(level)) / count
    return isotonic_regression(share, weights=count.astype(np.float64)).x[place]


def _parts(p: np.ndarray, y: np.ndarray) -> Float[np.ndarray, "score part"]:
    """(score, miscalibration, discrimination, uncertainty) of the Brier and the logarithmic score."""
    best, share = recalibrated(p, y), np.full_like(y, y.mean())
    rows = []
    for score in (_brier, _log):
        stated, recalibration, constant = score(p, y), score(best, y), score(share, y)
        rows.append((stated, max(0.0, stated - recalibration), max(0.0, constant - recalibration), constant))
    return np.array(rows)


def _brier(p: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(p - y).mean())


def _log(p: np.ndarray, y: np.ndarray) -> float:
    of_what_happened = np.where(y > 0, p, 1 - p)
    with np.errstate(divide="ignore"):
        return float(-np.log(of_what_happened).mean())
