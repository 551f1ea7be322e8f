"""LearnSPN by SPFlow: mixtures over clusters of rows, products over groups of items, and an exact log p in one pass.

Gens, Domingos, ICML 2013. Groups are what a G-test calls independent; SPFlow's own test, randomised dependence, does
not take items that never vary, and its own clusters look at all items rather than at those of the group, so both are
handed to it from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.field.data import Rows

VALIDATION, SMOOTHING = 0.1, 0.5
CHUNK = 2000
INSTANCES, SIGNIFICANCE = (30, 100), (1e-4, 1e-8)
"""Rows from which clusters are formed, and p-values below which two items depend on each other: all pairs are tried."""


@dataclass(frozen=True)
class Circuit:
    """A circuit, normalised by its form."""

    root: Any

    @torch.no_grad()
    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p in nats, a row each."""
        parts = torch.from_numpy(y).float().split(CHUNK)
        return torch.cat([self.root.log_likelihood(part).reshape(-1) for part in parts]).double().numpy()


def fit_learned(train: Rows, seed: int) -> Callable[[np.ndarray], Circuit]:
    """LearnSPN with the sizes that 10 % of the training rows prefer, then on all of them."""
    rest, held = set_apart(train.y, seed)

    def loss(sizes: tuple[int, float]) -> float:
        return -float(_learn(rest, *sizes, seed).log_prob(held).mean())

    found = _learn(train.y, *min(product(INSTANCES, SIGNIFICANCE), key=loss), seed)
    return lambda x: found


def set_apart(y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nine in ten rows to fit, and the others."""
    order = np.random.default_rng(seed).permutation(len(y))
    held = round(VALIDATION * len(y))
    return y[order[held:]], y[order[:held]]


def _learn(y: np.ndarray, instances: int, significance: float, seed: int) -> Circuit:
    from spflow.learn.learn_spn import learn_spn
    from spflow.meta import Scope

    cut = _Cut(significance, seed)
    root = learn_spn(
        torch.from_numpy(y).float(),
        _smoothed()(scope=Scope(list(range(y.shape[1])))),
        min_instances_slice=instances,
        partitioning_method=cut.groups,
        clustering_method=cut.clusters,
    )
    return Circuit(root)


def _smoothed() -> Any:
    """SPFlow's leaf, with half a row of each kind added."""
    from spflow.modules.leaves import Bernoulli

    class Smoothed(Bernoulli):
        """A share that is never 0 or 1."""

        def _compute_parameter_estimates(self, data: Tensor, weights: Tensor, bias_correction: bool) -> dict:
            present = (weights * data).sum(0)
            return {"probs": (present + SMOOTHING) / (weights.sum(0) + 2 * SMOOTHING)}

    return Smoothed


class _Cut:
    """How LearnSPN cuts a part of the table: into groups of items, or else into two clusters of its rows."""

    def __init__(self, significance: float, seed: int) -> None:
        self.significance, self.seed = significance, seed
        self.part = torch.zeros(0)

    def groups(self, part: Tensor) -> Tensor:
        """Connected components of the items that depend on each other, a number an item."""
        from scipy.sparse.csgraph import connected_components
        from scipy.stats import chi2

        self.part = part  # LearnSPN clusters straight after this, or not at all
        dependent = g_statistic(part.double().numpy()) > chi2.isf(self.significance, 1)
        return torch.from_numpy(connected_components(dependent, directed=False)[1])

    def clusters(self, rows: Tensor) -> Tensor:
        """Two clusters by the items of the group alone."""
        from sklearn.cluster import KMeans

        return torch.from_numpy(KMeans(2, n_init=3, random_state=self.seed).fit_predict(self.part.numpy()))


def g_statistic(y: np.ndarray) -> np.ndarray:
    """2 · rows · mutual information [item, item], in nats; of items that are independent about χ² with one degree."""
    from scipy.special import xlogy

    rows, present = len(y), y.sum(0)
    total = np.zeros((y.shape[1], y.shape[1]))
    for left, right in product((0, 1), (0, 1)):
        both = (y == left).T.astype(np.float64) @ (y == right)
        sides = np.outer(*(present if side else rows - present for side in (left, right)))
        total += xlogy(both, np.where(sides > 0, rows * both / np.maximum(sides, 1), 1))
    return 2 * total
