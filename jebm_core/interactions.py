"""Scores g(x, ·) for a batch of contexts, and the interactions h they may hold.

What a network returns for x is an object: `Scores`, with the linear part θ(x) and an `Interaction`. Quadratic
interactions also know E[h] under
independent items, from which mean-field bounds are made.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from jebm_core.devices import integers_on
from jebm_core.spaces import OutputSpace
from jebm_core.spaces.factored import FactoredStatistics, PointStatistics

FORBIDDEN = -1e4
"""g where a rule fails that is checked on draws: e^g is zero in every precision, and no difference is NaN."""


class Interaction(ABC):
    """h(x, ·) for a batch of contexts."""

    @abstractmethod
    def value(
        self, y: Integer[Tensor, "sample batch item"], phi: Float[Tensor, "sample batch statistic"]
    ) -> Float[Tensor, "sample batch"]:
        """h(x, y) for draws of each context's own."""

    @abstractmethod
    def value_of(self, points: Integer[Tensor, "point item"], phi: PointStatistics) -> Float[Tensor, "point batch"]:
        """h(x, y) for the same points in every context."""


class QuadraticInteraction(Interaction):
    """h(x,y) = ½ φᵀ U(x) φ: pairs of statistics."""

    @abstractmethod
    def mean(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        """E[h] where items are independent with marginals m."""

    @abstractmethod
    def field(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, "batch statistic"]:
        """∂E[h]/∂m: the linear energy that the other items exert on each statistic."""


@dataclass(frozen=True)
class Scores:
    """g(x, ·) for a batch of contexts: linear part ``theta`` and, where there is one, ``interaction``."""

    space: OutputSpace
    theta: Float[Tensor, "batch statistic"]
    interaction: Interaction | None

    def value(
        self,
        y: Integer[Tensor, "sample batch item"],
        phi: Float[Tensor, "sample batch statistic"] | None = None,
        linear: Float[Tensor, "sample batch"] | None = None,
    ) -> Float[Tensor, "sample batch"]:
        """g(x, y) for draws of each context's own; ``phi`` = φ(y) and ``linear`` = ⟨θ, φ⟩ save computing them again."""
        phi = self.space.statistics(y) if phi is None else phi
        linear = linear_energy(phi, self.theta) if linear is None else linear
        return self._allowed(y, linear if self.interaction is None else linear + self.interaction.value(y, phi))

    def value_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        """g(x, y) for the same points in every context; ``phi`` = φ(points) saves computing it again."""
        phi = self.space.statistics(points) if phi is None else phi
        linear = phi @ self.theta.T
        value = linear if self.interaction is None else linear + self.interaction.value_of(points, phi)
        return self._allowed(points.unsqueeze(1), value)

    def _allowed(self, y: Tensor, value: Tensor) -> Tensor:
        allowed = self.space.allows(y)
        return value if allowed is None else torch.where(allowed, value, FORBIDDEN)


def linear_energy(
    phi: Float[Tensor, "sample batch statistic"], theta: Float[Tensor, "batch statistic"]
) -> Float[Tensor, "sample batch"]:
    """⟨θ, φ⟩ of each draw as one batched product: no [sample, batch, statistic] temporary, forwards or backwards."""
    return torch.bmm(phi.transpose(0, 1), theta.unsqueeze(-1)).squeeze(-1).T


@final
class FullQuadratic(QuadraticInteraction):
    """U as a symmetric matrix with zero blocks within an item: [batch or 1, statistic, statistic]. Cost O(k²) a
    draw, no k×k a draw."""

    def __init__(self, matrix: Float[Tensor, "one_or_batch statistic statistic"]) -> None:
        self.matrix = matrix

    def _apply(self, phi: Float[Tensor, "sample batch statistic"]) -> Float[Tensor, "sample batch statistic"]:
        if self.matrix.shape[0] == 1:
            return phi @ self.matrix[0]
        return torch.bmm(phi.transpose(0, 1), self.matrix).transpose(0, 1)

    def value(
        self, y: Integer[Tensor, "sample batch item"], phi: Float[Tensor, "sample batch statistic"]
    ) -> Float[Tensor, "sample batch"]:
        return (self._apply(phi) * phi).sum(-1) / 2

    def value_of(self, points: Integer[Tensor, "point item"], phi: PointStatistics) -> Float[Tensor, "point batch"]:
        if isinstance(phi, FactoredStatistics):
            return torch.stack([phi.quadratic(matrix) for matrix in self.matrix], -1) / 2
        if self.matrix.shape[0] == 1:
            return ((phi @ self.matrix[0]) * phi).sum(-1, keepdim=True) / 2
        a, b = torch.triu_indices(phi.shape[-1], phi.shape[-1], offset=1, device=phi.device)
        return (phi[:, a] * phi[:, b]) @ self.matrix[:, a, b].T

    def mean(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return (self.field(m) * m).sum(-1) / 2

    def field(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, "batch statistic"]:
        return self._apply(m.unsqueeze(0)).squeeze(0)


@final
class LowRankQuadratic(QuadraticInteraction):
    """h = ½ Σ_r a_r(x) ⟨v_r, φ⟩²: U(x) = Σ_r a_r(x) v_r v_rᵀ with its diagonal. Cost O(k·rank) a draw.

    For 0/1 statistics the diagonal is a linear energy; leaving it in saves a product a draw. E[h] accounts for it:
    E⟨v,φ⟩² = ⟨v,m⟩² + Σ_i v_i² m_i − Σ_items ⟨v, m of that item⟩².
    """

    def __init__(
        self,
        space: OutputSpace,
        scale: Float[Tensor, "one_or_batch rank"],
        factors: Float[Tensor, "rank statistic"],
    ) -> None:
        self.scale, self.factors = scale, factors
        self.item_of = item_of_statistic(space, factors.device)
        self.num_items = space.num_items

    @cached_property
    def _diagonal(self) -> Float[Tensor, "one_or_batch statistic"]:
        """Σ_r a_r v_r²."""
        return self.scale @ self.factors.square()

    def value(
        self, y: Integer[Tensor, "sample batch item"], phi: Float[Tensor, "sample batch statistic"]
    ) -> Float[Tensor, "sample batch"]:
        return linear_energy((phi @ self.factors.T).square(), self.scale.expand(phi.shape[1], -1)) / 2

    def value_of(self, points: Integer[Tensor, "point item"], phi: PointStatistics) -> Float[Tensor, "point batch"]:
        return (phi @ self.factors.T).square() @ self.scale.T / 2

    def _across_items(self, m: Tensor) -> Tensor:
        """Σ_r a_r ⟨v_r, m of all other items⟩ v_r."""
        across = ((m @ self.factors.T) * self.scale) @ self.factors
        if self.num_items == m.shape[-1]:
            return across - m * self._diagonal
        weighted = m.unsqueeze(-2) * self.factors  # [batch, rank, statistic]
        sums = weighted.new_zeros((*weighted.shape[:-1], self.num_items)).index_add(-1, self.item_of, weighted)
        within = sums.index_select(-1, self.item_of) * self.factors
        return across - (within * self.scale.unsqueeze(-1)).sum(-2)

    def mean(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return ((self._across_items(m) + self._diagonal) * m).sum(-1) / 2

    def field(self, m: Float[Tensor, "batch statistic"]) -> Float[Tensor, "batch statistic"]:
        return self._across_items(m) + self._diagonal / 2


@final
class SetInteraction(Interaction):
    """h(x,y) = MLP([Σ_i φ_i e_i, hidden(x)]): any order of interaction, invariant to the order of the items."""

    def __init__(self, embedding: Tensor, context: Float[Tensor, "batch width"], readout: nn.Module) -> None:
        self.embedding, self.context, self.readout = embedding, context, readout

    def _readout(self, pooled: Tensor) -> Tensor:
        return self.readout(torch.relu(pooled + self.context)).squeeze(-1)

    def value(
        self, y: Integer[Tensor, "sample batch item"], phi: Float[Tensor, "sample batch statistic"]
    ) -> Float[Tensor, "sample batch"]:
        return self._readout(phi @ self.embedding)

    def value_of(self, points: Integer[Tensor, "point item"], phi: PointStatistics) -> Float[Tensor, "point batch"]:
        return self._readout((phi @ self.embedding).unsqueeze(1))


@final
class PreferenceInteraction(Interaction):
    """h(x,y) = Σ_{i<j} P_ij(x)·sign(j's position − i's): who stands above whom, beyond positions. For `Rankings`."""

    def __init__(self, weights: Float[Tensor, "one_or_batch pair"], first: Tensor, second: Tensor) -> None:
        self.weights, self.first, self.second = weights, first, second

    def _above(self, y: Tensor) -> Tensor:
        return (y[..., self.second] - y[..., self.first]).sign().to(self.weights.dtype)

    def value(
        self, y: Integer[Tensor, "sample batch item"], phi: Float[Tensor, "sample batch statistic"]
    ) -> Float[Tensor, "sample batch"]:
        return (self._above(y) * self.weights).sum(-1)

    def value_of(self, points: Integer[Tensor, "point item"], phi: PointStatistics) -> Float[Tensor, "point batch"]:
        return self._above(points) @ self.weights.T


def item_of_statistic(space: OutputSpace, device: torch.device | str = "cpu") -> Integer[Tensor, " statistic"]:
    """Which item each linear statistic belongs to."""
    if space.num_statistics == space.num_items:
        return torch.arange(space.num_items, device=device)
    items = (item for item, size in enumerate(space.options_per_item()) for _ in range(size))
    return integers_on(tuple(items), torch.device(device))
