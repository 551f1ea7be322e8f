"""Learn mixtures of trees from combinations: expectation–maximisation with the best tree in each step.

Given how much of each row belongs to a tree, the most likely tree is the maximum spanning tree of the mutual
information between items under these weights (Chow, Liu, IEEE Trans. Inf. Theory 14 (1968)); iterating the two is
maximum likelihood of the mixture (Meilă, Jordan, JMLR 1 (2000)). Mixtures that started elsewhere go wrong elsewhere:
the average of a few of them is far likelier on new rows than each.
"""

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from jebm_core.spaces import OutputSpace
from jebm_core.trees import Trees

MIXTURES = 6
"""Mixtures that are averaged."""
SIZES = (2, 5, 10, 20)
"""Trees of a mixture, tried in this order as long as rows kept aside become likelier."""
PRIOR = 3.0
"""Rows' worth of what all rows together say, for each option of a parent."""
MAX_CELLS, MAX_PAIRS = 2 * 10**6, 25 * 10**7
"""Rows · statistics and rows · statistics² that are learned from, one or two minutes of one core; of more rows some are
drawn."""
MAX_STEPS = 60
PATIENCE = 3
WORTH = 1e-3
"""Nats by which rows kept aside must become likelier to count as progress."""


def fit_trees(
    space: OutputSpace,
    y: Int64[Tensor, "row item"],
    held_out: Int64[Tensor, "other item"],
    *,
    seed: int = 0,
    on_part: Callable[[int, int], None] | None = None,
) -> Trees:
    """The average of several mixtures of trees, of the size that makes ``held_out`` rows likeliest.

    Args:
        on_part: hears how many mixtures are ready, as (done, of), and may raise to stop.

    Cost: O(rows · statistics² · trees) a step of expectation–maximisation; see `MAX_PAIRS`.
    """
    learner = _Learner(space, _some(space, y, seed), _some(space, held_out, seed))
    alone, tree = learner.mixture(1, seed)
    best: tuple[float, list[Trees]] = (float("inf"), [])
    for size in [size for size in SIZES if size <= len(y)]:
        loss, trees = learner.mixture(size, seed)
        if loss > best[0] - WORTH:
            break
        best = (loss, [trees])
    mixtures = best[1]
    for extra in range(1, MIXTURES):
        if on_part is not None:
            on_part(extra, MIXTURES)
        mixtures.append(learner.mixture(len(best[1][0].log_weights), seed + extra)[1])
    averaged = Trees(
        torch.cat([m.parent for m in mixtures]),
        torch.cat([m.log_tables for m in mixtures]),
        torch.cat([m.log_weights for m in mixtures]).log_softmax(0),
    )
    # Few rows make mixtures worth less than their average is: only that is held against one tree.
    return averaged if learner.loss(averaged) < alone - WORTH else tree


def _some(space: OutputSpace, y: Tensor, seed: int) -> Tensor:
    """As many rows as are affordable, drawn at random where there are more."""
    most = max(1, min(MAX_CELLS // space.num_statistics, MAX_PAIRS // space.num_statistics**2))
    if len(y) <= most:
        return y
    generator = torch.Generator(device=y.device).manual_seed(seed)
    return y[torch.randperm(len(y), device=y.device, generator=generator)[:most]]


@final
class _Learner:
    """Counts of one table of combinations, and expectation–maximisation over them."""

    def __init__(self, space: OutputSpace, y: Tensor, held_out: Tensor) -> None:
        self.y, self.held_out = y.long(), held_out.long()
        sizes = torch.tensor(space.options_per_item(), device=y.device)
        self.options = int(sizes.max())
        inside = torch.arange(self.options, device=y.device) < sizes.unsqueeze(1)
        self.even = inside / sizes.unsqueeze(1)  # [item, option]: evenly over the options that the item has
        # Indicators of all options but the first, whose counts follow by subtraction: a smaller product.
        self.indicators = torch.nn.functional.one_hot(self.y, self.options)[..., 1:].flatten(1).to(self.even.dtype)
        joint, share = self.counts(torch.ones(len(y), device=y.device))
        self.overall = (joint + self.even) / (share[..., None, None] + 1)  # P(option | option of a parent)
        self.overall_share = (share + self.even) / (len(y) + 1)

    def counts(self, weight: Float[Tensor, " row"]) -> tuple[Tensor, Tensor]:
        """Weighted counts of pairs of options [parent, option, item, option], and of options [item, option]."""
        items, options = self.y.shape[1], self.options
        inner = (self.indicators * weight.unsqueeze(1)).T @ self.indicators
        inner = inner.view(items, options - 1, items, options - 1)
        share = torch.zeros(items, options, dtype=inner.dtype, device=inner.device)
        share[:, 1:] = inner.flatten(2).flatten(0, 1).diagonal().view(items, options - 1)
        share[:, 0] = weight.sum() - share.sum(1)
        joint = inner.new_zeros(items, options, items, options)
        joint[:, 1:, :, 1:] = inner
        joint[:, 0, :, 1:] = share[:, 1:] - inner.sum(1)
        joint[:, :, :, 0] = share.unsqueeze(-1) - joint.sum(-1)
        return joint.clamp_min(0.0), share.clamp_min(0.0)

    def tree(self, weight: Float[Tensor, " row"]) -> tuple[Tensor, Tensor]:
        """The most likely tree under these weights: parents [item] and log-tables [item, option, option]."""
        joint, share = self.counts(weight)
        parent = best_tree(joint, share)
        item = torch.arange(len(parent), device=parent.device)
        counted = joint[parent, :, item] + PRIOR * self.overall[parent, :, item]
        tables = counted / (share[parent].unsqueeze(-1) + PRIOR)
        root = parent == item
        alone = (share + PRIOR * self.overall_share) / (weight.sum() + PRIOR)
        tables = torch.where(root[:, None, None], alone.unsqueeze(1), tables)
        return parent, (tables / tables.sum(-1, keepdim=True)).log()

    def mixture(self, size: int, seed: int) -> tuple[float, Trees]:
        """Expectation–maximisation from random shares until held-out rows stop becoming likelier; (their mean −log q,
        the mixture that was best on them)."""
        shares = self._around_rows(size, torch.Generator(device=self.y.device).manual_seed(seed))
        best, since = (float("inf"), None), 0
        for _ in range(MAX_STEPS):
            fitted = [self.tree(shares[:, m].contiguous()) for m in range(size)]
            weights = (shares.sum(0) + 1).log().log_softmax(0)
            trees = Trees(torch.stack([t[0] for t in fitted]), torch.stack([t[1] for t in fitted]), weights)
            loss = self.loss(trees)
            if loss < best[0] - WORTH:
                best, since = (loss, trees), 0
            else:
                since += 1
            if best[1] is None or since >= PATIENCE or size == 1:
                break
            shares = self._log_probs(trees, self.y).softmax(1)
        return best[0], best[1] or trees

    def loss(self, trees: Trees) -> float:
        """Mean −log q of held-out rows."""
        return -self._log_probs(trees, self.held_out).logsumexp(1).mean().item()

    def _around_rows(self, size: int, generator: torch.Generator) -> Float[Tensor, "row tree"]:
        """Shares to begin with: each row belongs to the nearest of a few of them drawn at random. Shares at random
        would make all trees alike, which no step can tell apart."""
        device = self.y.device
        centres = self.indicators[torch.randperm(len(self.y), device=device, generator=generator)[:size]]
        near = 2 * self.indicators @ centres.T - centres.sum(1)  # agreement, but for what all centres have in common
        near += torch.rand(near.shape, device=device, generator=generator)  # between whole numbers: ties at random
        return torch.nn.functional.one_hot(near.argmax(1), size).to(near.dtype)

    def _log_probs(self, trees: Trees, y: Tensor) -> Float[Tensor, "row tree"]:
        """log w_m + log q_m(y)."""
        item = torch.arange(y.shape[1], device=y.device) * self.options
        found = []
        for parent, tables in zip(trees.parent, trees.log_tables, strict=True):
            cell = (item + y[:, parent]) * self.options + y
            found.append(tables.flatten()[cell].sum(1))
        return torch.stack(found, 1) + trees.log_weights


def best_tree(
    joint: Float[Tensor, "item option item option"], share: Float[Tensor, "item option"]
) -> Int64[Tensor, " item"]:
    """The tree with the largest sum of mutual information over its edges, as the parent of each item; the root, its
    own parent, is the item that says most about all others."""
    total = share.sum(1).mean().clamp_min(1e-30)  # a tree that no row belongs to knows nothing
    expected = share[:, :, None, None] * share / total
    gain = torch.where(joint > 0, joint * (joint / expected.clamp_min(1e-30)).log(), 0.0)
    information = (gain.sum((1, 3)) / total).double().cpu().numpy()
    np.fill_diagonal(information, 0.0)
    # Spanning trees of a sparse matrix know no edge of weight 0: shift all, which changes no order.
    cost = information.max() + 1.0 - information
    np.fill_diagonal(cost, 0.0)
    edges = minimum_spanning_tree(cost)
    root = int(information.sum(0).argmax())
    _, above = breadth_first_order(edges + edges.T, root, directed=False)
    above[root] = root
    return torch.from_numpy(above.astype(np.int64)).to(share.device)
