"""Smooth calibration error: a calibration error without bins.

With stated probabilities f, outcomes y and a Gaussian kernel of bandwidth σ reflected at 0 and 1,

    smECE_σ = ∫₀¹ |mean_i K_σ(t, f_i)·(f_i − y_i)| dt,     smECE = the σ with smECE_σ = σ.

It is between a constant times the distance from calibration and its square root, continuous in f, and has no setting
(Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing", ICLR 2024).

The reflected Gaussian is the heat kernel of an interval with insulated ends, so smoothing multiplies the k-th cosine
coefficient of the residuals by exp(−(πkσ)²/2): one cosine transform a bandwidth, whatever the number of cases.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from scipy.fft import dct, idct
from scipy.sparse import csr_array

from jebm_core.evaluation.calibration import Resamples

CELLS = 1024
"""Cells of the grid that residuals are put on; each is split between the two centres next to it."""
_HALVINGS = 20


@final
@dataclass(frozen=True)
class SmoothError:
    """Smooth calibration error.

    Attributes:
        value: between 0 and 1; also the bandwidth it was measured with.
        low, high: 95 % interval, a bootstrap over rows, moved by the bootstrap's own upward bias.
        chance: a value that chance alone exceeds in 5 % of samples if calibration is perfect.
    """

    value: float
    low: float
    high: float
    chance: float


def smooth_error(
    probability: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"], resampled: Resamples
) -> SmoothError:
    """Smooth calibration error of events pooled over columns, with its interval and what chance would give.

    Cost O(resamples · (cells + 1024 log 1024)).
    """
    residuals = _on_grid(probability, happened)
    size = probability.size
    value = float(_fixed_points(residuals.sum(0)[None] / size)[0])
    again = _fixed_points((residuals.T @ resampled.counts.T).T / size)
    chance = float(np.quantile(_fixed_points((residuals.T @ resampled.signs.T).T / size), 0.95))
    low, high = np.quantile(again, [0.025, 0.975]) - max(0.0, float(again.mean()) - value)
    return SmoothError(value, max(0.0, min(float(low), value)), max(float(high), value), chance)


def _on_grid(probability: Float[np.ndarray, "row event"], happened: Bool[np.ndarray, "row event"]) -> csr_array:
    """Residuals f − y of each row, split between the two cell centres around f: [row, cell]. Next to an end, where
    there is one centre alone, it takes all: the reflected other is itself."""
    place = probability.astype(np.float64) * CELLS - 0.5
    left = np.floor(place).astype(np.int64)
    share = place - left
    rows = np.broadcast_to(np.arange(len(probability))[:, None], probability.shape)
    gap = probability.astype(np.float64) - happened
    parts = [((1 - share) * gap, left), (share * gap, left + 1)]
    value = np.concatenate([part.ravel() for part, _ in parts])
    cell = np.clip(np.concatenate([at.ravel() for _, at in parts]), 0, CELLS - 1)
    return csr_array((value, (np.tile(rows.ravel(), 2), cell)), shape=(len(probability), CELLS))


def _fixed_points(mass: Float[np.ndarray, "sample cell"]) -> Float[np.ndarray, " sample"]:
    """The bandwidth that equals its own error, by halving: the error falls while the bandwidth grows."""
    coefficient = np.asarray(dct(mass, type=2, axis=1))
    frequency = np.pi * np.arange(CELLS)
    low, high = np.zeros(len(mass)), np.ones(len(mass))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        kernel = np.exp(-((frequency * middle[:, None]) ** 2) / 2)
        smoothed = np.asarray(idct(coefficient * kernel, type=2, axis=1))
        above = np.abs(smoothed).sum(1) > middle
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2
