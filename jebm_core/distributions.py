"""What a reference returns for a batch of contexts: distributions that sample, score and *tilt*.

For a linear energy θ,

    A_q(θ) = log E_{y∼q} exp⟨θ, φ(y)⟩,      q_θ(y) = q(y) exp(⟨θ, φ(y)⟩ − A_q(θ)),

both exactly. A tilted reference is again a `ReferenceDistribution`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.interactions import linear_energy
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.spaces.factored import PointStatistics


class ReferenceDistribution(ABC):
    """q(·|x) for a batch of contexts. Every log is in nats."""

    space: OutputSpace

    @abstractmethod
    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        """log q(y|x); −inf outside the support."""

    @abstractmethod
    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        """log q of the same points in every context; ``phi`` = φ(points) saves computing it again."""

    @abstractmethod
    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        """i.i.d. draws."""

    def weighted_sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> tuple[Integer[Tensor, "sample batch item"], Float[Tensor, "sample batch"] | None]:
        """Draws y of a distribution r that is close to q and costs less to draw from, and log q(y) − log r(y); None for
        0, where q itself costs no more."""
        return self.sample(num_samples, generator=generator), None

    @abstractmethod
    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        """A_q(θ), differentiable."""

    @abstractmethod
    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "ReferenceDistribution":
        """q_θ."""

    @abstractmethod
    def marginals(self) -> Float[Tensor, "batch statistic"]:
        """E_q[φ(y)]."""

    @abstractmethod
    def is_product(self) -> bool:
        """Whether items are independent under q and under each of its tilts, so that E[h] of a quadratic h is
        closed-form."""

    @abstractmethod
    def background(self) -> "Background | None":
        """The exponential family in φ that q is off a few listed points – q itself where there are none. A quadratic h
        is well met by a tilt of it. None where q has no such form."""


class Background(NamedTuple):
    """q(y) = e^{log_share} family(y) for every y that is none of the points, and no less on them.

    Attributes:
        family: closed under tilts; its marginals say it all.
        points: combinations whose probability has a share of its own; may be empty.
    """

    family: ReferenceDistribution
    log_share: Float[Tensor, " batch"]
    points: Integer[Tensor, "point item"]


def whole_background(q: ReferenceDistribution, like: Float[Tensor, "batch statistic"]) -> Background:
    """The background of a family: itself."""
    points = torch.zeros(0, q.space.num_items, dtype=torch.int64, device=like.device)
    return Background(q, like.new_zeros(like.shape[0]), points)


@final
class LinearDistribution(ReferenceDistribution):
    """q(y) = exp(⟨η, φ(y)⟩ − A(η)): uniform for η = 0, independent items for a space that factorises.

    >>> from jebm_core.spaces import Subsets
    >>> q = LinearDistribution(Subsets(("a", "b")), torch.zeros(1, 2))
    >>> q.log_prob(torch.tensor([[1, 0]])).exp().item()
    0.25
    """

    def __init__(self, space: OutputSpace, eta: Float[Tensor, "batch statistic"]) -> None:
        self.space = space
        self.eta = eta
        self._log_partition: Tensor | None = None

    @property
    def log_partition(self) -> Float[Tensor, " batch"]:
        if self._log_partition is None:
            self._log_partition = self.space.linear_log_partition(self.eta)
        return self._log_partition

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        phi = self.space.statistics(y)
        if phi.ndim == 3:
            return linear_energy(phi, self.eta) - self.log_partition
        return (phi * self.eta).sum(-1) - self.log_partition

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        return (self.space.statistics(points) if phi is None else phi) @ self.eta.T - self.log_partition

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        return self.space.linear_sample(self.eta.detach(), num_samples, generator=generator)

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return self.space.linear_log_partition(self.eta + theta) - self.log_partition

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "LinearDistribution":
        return LinearDistribution(self.space, self.eta + theta)

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        return self.space.linear_marginals(self.eta)

    def is_product(self) -> bool:
        return self.space.factorises

    def background(self) -> Background:
        return whole_background(self, self.eta)


@final
class UniformRankings(ReferenceDistribution):
    """All k! rankings equally likely, for more items than a permanent can be computed for: it samples and scores,
    but does not tilt."""

    def __init__(self, space: Rankings, batch: int, device: torch.device) -> None:
        self.space, self.batch, self.device = space, batch, device

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        inside = self.space.contains(y)
        return torch.where(inside, -self.space.log_cardinality(), -math.inf).to(torch.get_default_dtype())

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        return self.log_prob(points).unsqueeze(-1).expand(-1, self.batch)

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        shape = (num_samples, self.batch, self.space.num_items)
        return torch.rand(shape, device=self.device, generator=generator).argsort(-1)

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return self.space.linear_log_partition(theta) - self.space.log_cardinality()  # refuses, in the space's words

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> ReferenceDistribution:
        return LinearDistribution(self.space, theta)

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        shape = (self.batch, self.space.num_statistics)
        return torch.full(shape, 1 / self.space.num_items, device=self.device)

    def is_product(self) -> bool:
        return False

    def background(self) -> None:
        return None


@final
class PointsDistribution(ReferenceDistribution):
    """Weights on a table of distinct points, the same table in every context; nothing outside it."""

    def __init__(
        self, space: OutputSpace, points: Integer[Tensor, "point item"], log_weights: Float[Tensor, "batch point"]
    ) -> None:
        self.space = space
        self.points = points
        self.log_weights = log_weights.log_softmax(-1)
        self._statistics = space.statistics(points)
        self._keys, self._order = space.key(points).sort()

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        listed, point = self._find(y)
        rows = torch.arange(self.log_weights.shape[0], device=y.device).expand(point.shape)
        return torch.where(listed, self.log_weights[rows, point], -math.inf)

    def contains(self, y: Integer[Tensor, "*sample batch item"]) -> Bool[Tensor, "*sample batch"]:
        """Whether each combination is in the table."""
        return self._find(y)[0]

    def _find(self, y: Tensor) -> tuple[Tensor, Tensor]:
        keys = self.space.key(y)
        slot = torch.searchsorted(self._keys, keys).clamp_max(len(self._keys) - 1)
        return self._keys[slot] == keys, self._order[slot]

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        listed, point = self._find(points)
        return torch.where(listed.unsqueeze(-1), self.log_weights.T[point], -math.inf)

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        return self.points[sample_categorical(self.log_weights, num_samples, generator=generator)]

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return (self.log_weights + theta @ self._statistics.T).logsumexp(-1)

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "PointsDistribution":
        return PointsDistribution(self.space, self.points, self.log_weights + theta @ self._statistics.T)

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        return self.log_weights.exp() @ self._statistics

    def is_product(self) -> bool:
        return False

    def background(self) -> None:
        return None


@final
class MixtureDistribution(ReferenceDistribution):
    """Σ_m α_m q_m. Its tilt is the mixture of the tilts with weights ∝ α_m exp A_{q_m}(θ)."""

    def __init__(
        self, components: Sequence[ReferenceDistribution], log_weights: Float[Tensor, "batch component"]
    ) -> None:
        self.space = components[0].space
        self.components = tuple(components)
        self.log_weights = log_weights.log_softmax(-1)

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        parts = torch.stack([c.log_prob(y) for c in self.components], -1)
        return (parts + self.log_weights).logsumexp(-1)

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        parts = torch.stack([c.log_prob_of(points, phi) for c in self.components], -1)
        return (parts + self.log_weights).logsumexp(-1)

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        choice = sample_categorical(self.log_weights, num_samples, generator=generator).unsqueeze(-1)
        y = self.components[0].sample(num_samples, generator=generator)
        for m, component in enumerate(self.components[1:], 1):
            y = torch.where(choice == m, component.sample(num_samples, generator=generator), y)
        return y

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return self._tilted_weights(theta).logsumexp(-1)

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "MixtureDistribution":
        return MixtureDistribution([c.tilt(theta) for c in self.components], self._tilted_weights(theta))

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        parts = torch.stack([c.marginals() for c in self.components], -1)
        return (parts * self.log_weights.exp().unsqueeze(-2)).sum(-1)

    def is_product(self) -> bool:
        return False

    def background(self) -> Background | None:
        tables = [c.points for c in self.components if isinstance(c, PointsDistribution)]
        others = [m for m, c in enumerate(self.components) if not isinstance(c, PointsDistribution)]
        rest = self.components[others[0]].background() if len(others) == 1 else None
        if rest is None or len(rest.points):
            return None
        return Background(rest.family, self.log_weights[:, others[0]], torch.cat([rest.points, *tables]))

    def _tilted_weights(self, theta: Tensor) -> Tensor:
        return self.log_weights + torch.stack([c.log_normalizer(theta) for c in self.components], -1)


def sample_categorical(
    log_weights: Float[Tensor, "batch option"], num_samples: int, *, generator: torch.Generator | None = None
) -> Int64[Tensor, "sample batch"]:
    """Indices drawn in proportion to exp(log_weights), by inverting the cumulative distribution; no host
    synchronisation."""
    cumulative = log_weights.detach().softmax(-1).cumsum(-1)
    uniform = torch.rand((log_weights.shape[0], num_samples), device=log_weights.device, generator=generator)
    index = torch.searchsorted(cumulative, (uniform * cumulative[:, -1:]).contiguous(), right=True)
    return index.clamp_max(log_weights.shape[1] - 1).T
