"""Distributions over subsets, in the three forms that methods come in: independent items, a list, draws."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.field.decisions import sizes_without_each

LEAST = 1e-4
"""No item counts as more certain than this: a single certain miss would otherwise cost infinitely many nats."""


def clipped(p: np.ndarray) -> np.ndarray:
    """Probabilities between `LEAST` and 1 − `LEAST`, in double precision."""
    return np.clip(np.asarray(p, dtype=np.float64), LEAST, 1 - LEAST)


def with_size_of(p: np.ndarray) -> np.ndarray:
    """P(y_i = 1, |y| = s) [row, item, s − 1] of independent items."""
    return p[:, :, None] * sizes_without_each(p)


@dataclass(frozen=True)
class Product:
    """Independent items; probabilities [row, item] are clipped before they are used."""

    p: np.ndarray

    def marginals(self) -> np.ndarray:
        return clipped(self.p)

    def mode(self) -> np.ndarray:
        return (self.marginals() > 0.5).astype(np.int64)

    def with_size(self) -> np.ndarray:
        return with_size_of(self.marginals())

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        p = self.marginals()
        return np.where(y == 1, np.log(p), np.log1p(-p)).sum(1)


@dataclass(frozen=True)
class Listing:
    """A share of even probability over all subsets, and the rest on those that are listed, each once.

    Attributes:
        subsets: [subset, item].
        log_p: log-probabilities of the listed ones among themselves [row, subset].
    """

    subsets: np.ndarray
    log_p: np.ndarray
    even: float = 0.0

    def _weight(self) -> np.ndarray:
        return (1 - self.even) * np.exp(self.log_p)

    def marginals(self) -> np.ndarray:
        return self._weight() @ self.subsets + self.even / 2

    def mode(self) -> np.ndarray:
        """All listed ones get the same even share, and none that is not listed gets more."""
        return self.subsets[self.log_p.argmax(1)]

    def with_size(self) -> np.ndarray:
        found = _listed_with_size(self._weight(), self.subsets)
        if self.even:
            half = np.full((1, self.subsets.shape[1]), 0.5)
            found += self.even * with_size_of(half)
        return found

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        where = {subset.tobytes(): place for place, subset in enumerate(self.subsets.astype(np.int8))}
        place = np.array([where.get(row.tobytes(), -1) for row in y.astype(np.int8)])
        listed = np.where(place < 0, -np.inf, self.log_p[np.arange(len(y)), place])
        if not self.even:
            return listed
        return np.logaddexp(np.log1p(-self.even) + listed, np.log(self.even) - y.shape[1] * np.log(2))


@dataclass(frozen=True)
class Drawn:
    """Draws from a distribution whose density can be told: decisions rest on the draws, densities are exact.

    Attributes:
        y: independent draws [row, draw, item].
        log_density: log p of every draw [row, draw].
        log_prob_of: log p of one subset a row.
    """

    y: np.ndarray
    log_density: np.ndarray
    log_prob_of: Callable[[np.ndarray], np.ndarray]

    def marginals(self) -> np.ndarray:
        return self.y.mean(1)

    def mode(self) -> np.ndarray:
        return self.y[np.arange(len(self.y)), self.log_density.argmax(1)].astype(np.int64)

    def with_size(self) -> np.ndarray:
        even = np.full((1, self.y.shape[1]), 1 / self.y.shape[1])
        return np.concatenate([_listed_with_size(even, drawn) for drawn in self.y])

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        return self.log_prob_of(y)


def all_subsets(items: int) -> np.ndarray:
    """Every subset once [2^item, item]; item i is bit i of the subset's number."""
    return (np.arange(2**items)[:, None] >> np.arange(items)) & 1


def _listed_with_size(weight: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """P(y_i = 1, |y| = s) [row, item, s − 1] of weights [row, subset]: one product a size."""
    items = subsets.shape[1]
    found = np.zeros((len(weight), items, items))
    size = subsets.sum(1)
    for s in np.unique(size[size > 0]):
        of_size = size == s
        found[:, :, s - 1] = weight[:, of_size] @ subsets[of_size]
    return found
