"""Probabilistic circuits by SPFlow: mixtures and products down to single items, with an exact log p in one pass.

LearnSPN (Gens, Domingos, ICML 2013) splits rows into clusters and items into groups that a G-test calls independent;
SPFlow's own test, randomised dependence, does not take items that never vary, and its own clusters look at all items
rather than at those of the group, so both are handed to it from here. The hidden Chow–Liu tree (Liu, Van den Broeck,
NeurIPS 2021) gives each item a hidden variable on the tree of the largest mutual information.
"""

import copy
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
"""Rows from which LearnSPN forms clusters, and p-values below which two items depend on each other: all pairs tried."""
HIDDEN = (6, 24)
EPOCHS, PATIENCE, BATCH, RATE, DECAY = 7, 2, 256, 0.1, 0.7
"""Of the tree: passes over the rows at most, passes without a better one, rows a step, its rate, and the share of the
rate that each pass leaves."""
JITTER = 0.3


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
    rest, held = _apart(train.y, seed)

    def loss(sizes: tuple[int, float]) -> float:
        return -float(_learn(rest, *sizes, seed).log_prob(held).mean())

    found = _learn(train.y, *min(product(INSTANCES, SIGNIFICANCE), key=loss), seed)
    return lambda x: found


def _apart(y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
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


def fit_tree(train: Rows, seed: int) -> Callable[[np.ndarray], Circuit]:
    """A hidden Chow–Liu tree with as many hidden values as 10 % of the training rows prefer, stopped early by them."""
    rest, held = (torch.from_numpy(part).float() for part in _apart(train.y, seed))
    done = [_train(rest, held, hidden, seed) for hidden in HIDDEN]
    found = Circuit(min(done, key=lambda one: one[0])[1])
    return lambda x: found


def _train(rest: Tensor, held: Tensor, hidden: int, seed: int) -> tuple[float, Any]:
    """The least −log p of held-out rows, and the circuit that had it."""
    root = _tree(rest, hidden, seed)
    optimiser = torch.optim.Adam(root.parameters(), lr=RATE)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimiser, DECAY)
    best, waited, kept = float("inf"), 0, copy.deepcopy(root.state_dict())
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(rest)).split(BATCH):
            optimiser.zero_grad()
            (-root.log_likelihood(rest[rows]).mean()).backward()
            optimiser.step()
        slower.step()
        now = -float(Circuit(root).log_prob(held.numpy()).mean())
        waited = 0 if now < best - 1e-3 else waited + 1
        if now < best:
            best, kept = now, copy.deepcopy(root.state_dict())
        if waited == PATIENCE:
            break
    root.load_state_dict(kept)
    return best, root


def _tree(rest: Tensor, hidden: int, seed: int) -> Any:
    """SPFlow's tree; its even weights are shaken, since alike hidden values would stay alike."""
    from spflow.modules.sums import Sum
    from spflow.zoo.hclt import learn_hclt_binary

    torch.manual_seed(seed)
    root = learn_hclt_binary(rest, num_hidden_cats=hidden, init="uniform")
    for node in root.modules():
        if isinstance(node, Sum):
            node.log_weights = (node.log_weights + JITTER * torch.randn_like(node.log_weights)).log_softmax(
                node.sum_dim
            )
    return root
