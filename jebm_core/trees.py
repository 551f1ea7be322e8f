"""Mixtures of trees: distributions over items of which each depends on one other, several of them side by side.

    q(y) = Σ_m w_m Π_i T_mi(y_i | y_parent_m(i)).

A tree is the richest dependence between items whose sums stay nearly as cheap as those of independent items:
log-probabilities, draws, marginals, and the log-partition of a tilt are all one walk between the leaves and the root.
"""

from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from jebm_core.distributions import ReferenceDistribution, sample_categorical
from jebm_core.spaces import Configurations, OutputSpace, Subsets
from jebm_core.spaces.factored import PointStatistics

_CHUNK = 2**22
"""Cells that `TreeMixture.log_prob` looks up at once."""


class Places(NamedTuple):
    """A forest on one device. Item i of tree m has the place m · items + i.

    Attributes:
        parent: [tree, item]; the root of a tree is its own parent.
        order: items of each tree, every parent before its children [tree, item].
        above: the place of each place's parent.
        levels: places of equal depth together, the roots first: what one step of a walk handles at once.
    """

    parent: Int64[Tensor, "tree item"]
    order: Int64[Tensor, "tree item"]
    above: Int64[Tensor, " place"]
    levels: tuple[Int64[Tensor, " place"], ...]


@final
class Forest:
    """Which item depends on which, in several trees over the same items.

    Kept in the computer's main memory, since it shapes the computation, and copied once to each device that asks.
    """

    def __init__(self, parent: Int64[Tensor, "tree item"]) -> None:
        parent = parent.cpu()
        self.num_trees, self.num_items = parent.shape
        above = (parent + torch.arange(self.num_trees).unsqueeze(1) * self.num_items).flatten()
        depth, at = torch.zeros_like(above), torch.arange(len(above))
        while not torch.equal(at, above[at]):
            depth, at = depth + (at != above[at]), above[at]
        levels = tuple(torch.nonzero(depth == d).squeeze(1) for d in range(int(depth.max()) + 1))
        order = depth.view(parent.shape).argsort(dim=1, stable=True)
        self._on = {parent.device: Places(parent, order, above, levels)}

    def on(self, device: torch.device) -> Places:
        """Its places, as tensors of a device."""
        if device not in self._on:
            here = self._on[torch.device("cpu")]
            moved = tuple(level.to(device) for level in here.levels)
            self._on[device] = Places(here.parent.to(device), here.order.to(device), here.above.to(device), moved)
        return self._on[device]


class Trees(NamedTuple):
    """The numbers of a mixture: ``parent`` [tree, item], ``log_tables`` [tree, item, option of the parent, option],
    ``log_weights`` [tree]."""

    parent: Int64[Tensor, "tree item"]
    log_tables: Float[Tensor, "tree item option option"]
    log_weights: Float[Tensor, " tree"]


@final
class TreeMixture(ReferenceDistribution):
    """Σ_m w_m Π_i T_mi(y_i | y_parent(i)) for a batch of contexts.

    Its tilt by a linear energy is a mixture of the same trees with other tables and weights:

        A_q(θ) = log Σ_m w_m Z_m(θ),    Z_m(θ) = Σ_y Π_i T_mi(y_i | y_parent(i)) e^{θ_i(y_i)},

    with Z_m summed from the leaves up. Cost O(trees · items · options²) a context.

    Args:
        log_tables: log T[batch or 1, tree, item, option of the parent, option]; −∞ for options that an item lacks, and
            the same row for every option of the parent where the item is the root. Rows are normalised.
        log_weights: log w [batch, tree].

    >>> from jebm_core.spaces import Subsets
    >>> space, chain = Subsets(("a", "b")), Forest(torch.tensor([[0, 0]]))
    >>> tables = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.2, 0.8]]]).log()
    >>> q = TreeMixture(space, chain, tables[None, None], torch.zeros(1, 1))
    >>> [round(p, 3) for p in q.log_prob(space.listing().unsqueeze(1)).exp().flatten().tolist()]
    [0.45, 0.1, 0.05, 0.4]
    """

    def __init__(
        self,
        space: OutputSpace,
        forest: Forest,
        log_tables: Float[Tensor, "one_or_batch tree item option option"],
        log_weights: Float[Tensor, "batch tree"],
    ) -> None:
        self.space, self.forest, self.log_tables = space, forest, log_tables
        self.log_weights = log_weights.log_softmax(-1)
        self._places = forest.on(log_tables.device)
        self._listed: tuple[Tensor, Tensor] | None = None

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        flat = y.long().reshape(-1, *y.shape[-2:])
        step = max(1, _CHUNK // max(1, flat.shape[1] * self.forest.num_items))
        return torch.cat([self._log_prob(part) for part in flat.split(step)]).view(y.shape[:-1])

    def _log_prob(self, y: Int64[Tensor, "sample batch item"]) -> Float[Tensor, "sample batch"]:
        options, items = self.log_tables.shape[-1], self.forest.num_items
        item = torch.arange(items, device=y.device)
        row = torch.arange(len(self.log_tables), device=y.device).unsqueeze(-1)  # 1 row may serve the whole batch
        parts = []
        for tree, parent in enumerate(self._places.parent):
            cell = ((row * items + item) * options + y[..., parent]) * options + y
            parts.append(self.log_tables[:, tree].flatten()[cell].sum(-1))
        return (torch.stack(parts, -1) + self.log_weights).logsumexp(-1)

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        if len(self.log_weights) > 1:
            return self.log_prob(points.unsqueeze(1).expand(-1, self.log_weights.shape[0], -1))
        if self._listed is None or self._listed[0] is not points:  # a table that every batch asks for
            self._listed = points, self.log_prob(points.unsqueeze(1))
        return self._listed[1]

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        return self.sample_tilted(self.log_weights, None, num_samples, generator)

    def sample_tilted(
        self,
        log_weights: Float[Tensor, "batch tree"],
        energy: Float[Tensor, "place option batch"] | None,
        num_samples: int,
        generator: torch.Generator | None,
    ) -> Int64[Tensor, "sample batch item"]:
        """Draws from trees with these weights, each option of an item the likelier the higher its energy (`upwards`).
        Only the cells that a draw passes are made, not the tables of every context."""
        tree = sample_categorical(log_weights, num_samples, generator=generator)
        batch, items = log_weights.shape[0], self.forest.num_items
        tables, context = self.log_tables.detach(), torch.arange(batch, device=tree.device)
        row = context % len(tables)  # 1 row may serve the whole batch
        uniform = torch.rand((items, num_samples, batch, 1), device=tree.device, generator=generator)
        y = torch.zeros(num_samples, batch, items, dtype=torch.int64, device=tree.device)
        for step in range(items):
            item = self._places.order[tree, step]
            above = y.gather(-1, self._places.parent[tree, item].unsqueeze(-1)).squeeze(-1)
            logits = tables[row, tree, item, above]
            if energy is not None:
                logits = logits + energy.detach()[tree * items + item, :, context]
            cumulative = logits.softmax(-1).cumsum(-1)
            # Below the last value: a rounding error must never choose an option that the item lacks.
            option = (uniform[step] * cumulative[..., -1:] >= cumulative).sum(-1, keepdim=True)
            y.scatter_(-1, item.unsqueeze(-1), option.clamp_max(cumulative.shape[-1] - 1))
        return y

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return (self.log_weights + self.upwards(theta)[1]).logsumexp(-1)

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "TiltedTreeMixture":
        return TiltedTreeMixture(self, theta)

    def upwards(self, theta: Tensor) -> tuple[Float[Tensor, "place option batch"], Float[Tensor, "batch tree"]]:
        """Energy of each option of each item with all that hangs below it; log Z_m."""
        # Contexts come last: levels and options are few, and a vector of contexts is what a processor is fast at.
        energy = item_energies(self.space, theta).permute(1, 2, 0).repeat(self.forest.num_trees, 1, 1)
        tables = self.log_tables.flatten(1, 2).permute(1, 2, 3, 0)
        for level in reversed(self._places.levels[1:]):
            below = _log_sum(tables[level] + energy[level].unsqueeze(1))
            energy = energy.index_add(0, self._places.above[level], below)
        roots = self._places.levels[0]
        return energy, _log_sum(tables[roots, 0] + energy[roots]).T

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        tables = self.log_tables.flatten(1, 2).exp()
        levels = self._places.levels
        share = tables[:, :, 0]  # right for the roots; the rest is replaced on the way down
        for level in levels[1:]:
            above = share[:, self._places.above[level]]
            share = share.index_copy(1, level, (above.unsqueeze(-2) @ tables[:, level]).squeeze(-2))
        shares = share.unflatten(1, (self.forest.num_trees, self.forest.num_items))
        mixed = (self.log_weights.exp()[..., None, None] * shares).sum(1)
        return statistics_of_shares(self.space, mixed)

    def is_product(self) -> bool:
        return False

    def background(self) -> None:
        return None


@final
class TiltedTreeMixture(ReferenceDistribution):
    """q_θ(y) = q(y) exp(⟨θ, φ(y)⟩ − A_q(θ)) of a mixture q of trees: again such a mixture.

    Log-probabilities are those of q, which no context changes, and a product; one walk up the trees gives A_q(θ). The
    tables of this mixture are made when marginals ask for them.

    Args:
        log_partition: A_q(θ), where it is known already: then no walk is made before draws ask for one.
    """

    def __init__(
        self,
        origin: TreeMixture,
        theta: Float[Tensor, "batch statistic"],
        log_partition: Float[Tensor, " batch"] | None = None,
    ) -> None:
        self.space, self.origin, self.theta = origin.space, origin, theta
        self.log_partition = self._walk[1].logsumexp(-1) if log_partition is None else log_partition
        self._last: tuple[Tensor, TiltedTreeMixture] | None = None

    @cached_property
    def _walk(self) -> tuple[Float[Tensor, "place option batch"], Float[Tensor, "batch tree"]]:
        """Energies with all that hangs below them; log of the trees' weights, not normalised."""
        energy, log_z = self.origin.upwards(self.theta)
        return energy, self.origin.log_weights + log_z

    @cached_property
    def mixture(self) -> TreeMixture:
        """The same distribution with tables of its own."""
        (energy, log_weights), tables = self._walk, self.origin.log_tables
        energy = energy.permute(2, 0, 1)
        tables = (tables + energy.reshape(len(energy), *tables.shape[1:3], 1, -1)).log_softmax(-1)
        return TreeMixture(self.space, self.origin.forest, tables, log_weights)

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        energy = (self.space.statistics(y) * self.theta).sum(-1)
        return self.origin.log_prob(y) + energy - self.log_partition

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        phi = self.space.statistics(points) if phi is None else phi
        return self.origin.log_prob_of(points) + phi @ self.theta.T - self.log_partition

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        energy, log_weights = self._walk
        return self.origin.sample_tilted(log_weights, energy, num_samples, generator)

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return self.tilt(theta).log_partition - self.log_partition

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "TiltedTreeMixture":
        # A step of training asks for the same tilt thrice: for the base, for draws and for their weights.
        recorded = torch.is_grad_enabled() and theta.requires_grad
        if self._last is None or self._last[0] is not theta or (recorded and not self._last[1].theta.requires_grad):
            self._last = theta, TiltedTreeMixture(self.origin, self.theta + theta)
        return self._last[1]

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        return self.mixture.marginals()

    def is_product(self) -> bool:
        return False

    def background(self) -> None:
        return None


def _log_sum(values: Float[Tensor, "*place option batch"]) -> Float[Tensor, "*place batch"]:
    """log Σ exp over options. Of two, `logaddexp` does the same several times as fast."""
    if values.shape[-2] == 2:
        return torch.logaddexp(values[..., 0, :], values[..., 1, :])
    return values.logsumexp(-2)


def item_energies(space: OutputSpace, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch item option"]:
    """θ as a number for each option of each item; 0 in the place of options that an item lacks."""
    if isinstance(space, Configurations):
        return space.padded(theta, 0.0)
    return torch.stack([torch.zeros_like(theta), theta], -1)


def statistics_of_shares(
    space: OutputSpace, shares: Float[Tensor, "*batch item option"]
) -> Float[Tensor, "*batch statistic"]:
    """E[φ] from the probability of each option of each item."""
    return space.unpadded(shares) if isinstance(space, Configurations) else shares[..., 1]


def takes_trees(space: OutputSpace) -> bool:
    """Whether items are independent but for what a model says, so that trees over them are distributions."""
    return isinstance(space, Subsets | Configurations)
