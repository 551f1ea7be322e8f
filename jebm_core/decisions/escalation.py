"""Rows that go to a person whatever the confidence: unlike the training rows, impossible answers, no trusted model."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float

from jebm_core.errors import SpecError

NEIGHBOURS = 5
MOST_POINTS = 2000
"""Reference rows that are kept; of more, so many are drawn by seed."""
_CELLS = 2**24


@final
@dataclass(frozen=True)
class FarRows:
    """A row is far where its mean distance to its k nearest reference rows exceeds a threshold.

    The threshold is the ⌈(1 − α)(m + 1)⌉-th smallest of the m leave-one-out distances of the reference rows: of new
    rows like them, about a share α is called far.

    Attributes:
        points: encoded features of the reference rows.
        threshold: infinite where α < 1/(m + 1), or where the model has no features.
    """

    points: Float[np.ndarray, "point feature"]
    neighbours: int
    alpha: float
    threshold: float

    @classmethod
    def learn(
        cls,
        x: Float[np.ndarray, "row feature"],
        *,
        alpha: float = 0.01,
        neighbours: int = NEIGHBOURS,
        most: int = MOST_POINTS,
        seed: int = 0,
    ) -> "FarRows":
        """From rows that the model was fitted to, or others like them.

        Raises:
            SpecError: α outside (0, 1), or no more rows than neighbours.

        Cost: O(min(row, most)² · feature).
        """
        if not 0 < alpha < 1:
            raise SpecError(
                "False alarms of far rows: expected a share between 0 and 1, found {found:g}. Choose 0.01, say.",
                found=alpha,
            )
        if x.shape[1] == 0:
            return cls(x[:0].astype(np.float32), neighbours, alpha, math.inf)
        if len(x) <= neighbours:
            raise SpecError(
                "Far rows: expected more than {neighbours} reference rows, found {found}. Give more rows.",
                neighbours=neighbours,
                found=len(x),
            )
        if len(x) > most:
            x = x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))]
        points = x.astype(np.float32)
        own = np.sort(_nearest(points, points, neighbours, leave_out=True))
        place = math.ceil((1 - alpha) * (len(own) + 1) - 1e-9)
        return cls(points, neighbours, alpha, math.inf if place > len(own) else float(own[place - 1]))

    def distance(self, x: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, " row"]:
        """Mean Euclidean distance to the k nearest reference rows; 0 without features."""
        if self.points.shape[1] == 0:
            return np.zeros(len(x))
        return _nearest(x.astype(np.float32), self.points, self.neighbours)

    def is_far(self, x: Float[np.ndarray, "row feature"]) -> Bool[np.ndarray, " row"]:
        """Whether each row is far."""
        return self.distance(x) > self.threshold


def _nearest(x: np.ndarray, points: np.ndarray, neighbours: int, *, leave_out: bool = False) -> np.ndarray:
    found = []
    step = max(1, _CELLS // max(1, points.size))
    for start in range(0, len(x), step):
        part = x[start : start + step]
        # Differences rather than |a|² + |b|² − 2ab: rows that are nearly equal must not lose their digits.
        distance = np.sqrt(((part[:, None] - points).astype(np.float64) ** 2).sum(-1))
        if leave_out:
            distance[np.arange(len(part)), np.arange(start, start + len(part))] = np.inf
        found.append(np.partition(distance, neighbours - 1, axis=1)[:, :neighbours].mean(1))
    return np.concatenate(found) if found else np.zeros(0)
