"""Reference distributions q(y|x): the normalised base measure from which candidates are drawn.

A `Reference` is a module; given its inputs for a batch of contexts it returns a `ReferenceDistribution`, which samples, scores, and – this is what
makes a reference useful for training – *tilts*: for a linear energy θ,

    A_q(θ) = log E_{y∼q} exp⟨θ, φ(y)⟩,      q_θ(y) = q(y) exp(⟨θ, φ(y)⟩ − A_q(θ)),

both exactly. A tilted reference is again a `ReferenceDistribution`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn

from jebm_core.errors import SpecError
from jebm_core.interactions import linear_energy
from jebm_core.spaces import OutputSpace


class ReferenceDistribution(ABC):
    """q(·|x) for a batch of contexts. Every log is in nats."""

    space: OutputSpace

    @abstractmethod
    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        """log q(y|x); −inf outside the support."""

    @abstractmethod
    def log_prob_of(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch"]:
        """log q of the same points in every context."""

    @abstractmethod
    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        """i.i.d. draws."""

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
        """Whether items are independent under q and under each of its tilts, so that E[h] of a quadratic h is closed-form."""


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

    def log_prob_of(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch"]:
        return self.space.statistics(points) @ self.eta.T - self.log_partition

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
        keys = self.space.key(y)
        slot = torch.searchsorted(self._keys, keys).clamp_max(len(self._keys) - 1)
        point = self._order[slot]
        rows = torch.arange(self.log_weights.shape[0], device=y.device).expand(point.shape)
        return torch.where(self._keys[slot] == keys, self.log_weights[rows, point], -math.inf)

    def log_prob_of(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch"]:
        return self.log_prob(points.unsqueeze(1).expand(-1, self.log_weights.shape[0], -1))

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

    def log_prob_of(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch"]:
        parts = torch.stack([c.log_prob_of(points) for c in self.components], -1)
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

    def _tilted_weights(self, theta: Tensor) -> Tensor:
        return self.log_weights + torch.stack([c.log_normalizer(theta) for c in self.components], -1)


class Reference(nn.Module, ABC):
    """q(·|x) as a module.

    Attributes:
        space: the output space.
        input_width: how many numbers a row a reference needs (0 where q does not depend on x).
    """

    space: OutputSpace
    input_width: int

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "batch width"]) -> ReferenceDistribution:
        """q(·|x) from the reference's own inputs; a width of 0 still carries the batch size."""

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """The constructor's settings, without tensors: those are in ``state_dict``."""


@final
class UniformReference(Reference):
    """Every combination equally likely: log q = −log |𝒴|."""

    input_width = 0

    def __init__(self, space: OutputSpace) -> None:
        super().__init__()
        self.space = space

    def forward(self, inputs: Float[Tensor, "batch width"]) -> LinearDistribution:
        return LinearDistribution(self.space, inputs.new_zeros(inputs.shape[0], self.space.num_statistics))

    def to_json(self) -> dict[str, object]:
        return {"kind": "uniform"}


@final
class MarginalReference(Reference):
    """Independent marginals of the data, smoothed: η = log(smoothed frequency) of every statistic.

    For `Rankings`, η is the log of the smoothed share of each item at each position, normalised exactly by the permanent.
    """

    input_width = 0
    eta: Tensor

    def __init__(self, space: OutputSpace, eta: Float[Tensor, " statistic"] | None = None) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("eta", torch.zeros(space.num_statistics) if eta is None else eta)

    @classmethod
    def fit(cls, space: OutputSpace, y: Int64[Tensor, "row item"], *, smoothing: float = 1.0) -> "MarginalReference":
        """Add ``smoothing`` pseudo-observations, spread evenly over the options of each item, to the observed counts."""
        counts = space.statistics(y).sum(0) + smoothing * space.linear_marginals(torch.zeros(space.num_statistics))
        share = counts / (len(y) + smoothing)
        if set(space.options_per_item()) == {2} and space.num_statistics == space.num_items:
            return cls(space, torch.logit(share))  # one statistic for two options: subsets
        return cls(space, share.log())

    def forward(self, inputs: Float[Tensor, "batch width"]) -> LinearDistribution:
        return LinearDistribution(self.space, self.eta.expand(inputs.shape[0], -1))

    def to_json(self) -> dict[str, object]:
        return {"kind": "marginals"}


@final
class PredictedReference(Reference):
    """Independent items with x-dependent natural parameters that another model predicted: η(x) is the input itself.

    Training rows must carry out-of-fold predictions (see `jebm_core.classifiers`), or q would look better than it is.
    """

    def __init__(self, space: OutputSpace) -> None:
        super().__init__()
        self.space = space
        self.input_width = space.num_statistics

    def forward(self, inputs: Float[Tensor, "batch width"]) -> LinearDistribution:
        return LinearDistribution(self.space, inputs)

    def to_json(self) -> dict[str, object]:
        return {"kind": "predicted"}


@final
class CandidateReference(Reference):
    """A table of candidates with weights, smoothed by the uniform distribution: (1−ε) Σ_t w_t δ_{y_t} + ε/|𝒴|."""

    input_width = 0
    points: Tensor
    log_weights: Tensor

    def __init__(
        self,
        space: OutputSpace,
        points: Int64[Tensor, "point item"],
        weights: Float[Tensor, " point"],
        *,
        smoothing: float,
    ) -> None:
        super().__init__()
        if not 0 < smoothing < 1:
            raise SpecError(
                "Expected a smoothing share above 0 and below 1, found {found}; without it unlisted combinations are impossible.",
                found=smoothing,
            )
        self.space, self.smoothing = space, smoothing
        self.register_buffer("points", points)
        self.register_buffer("log_weights", weights.log())

    @classmethod
    def fit(cls, space: OutputSpace, y: Int64[Tensor, "row item"], *, smoothing: float = 0.05) -> "CandidateReference":
        """Distinct rows of ``y``, weighted by how often each occurs."""
        points, counts = torch.unique(y, dim=0, return_counts=True)
        return cls(space, points, counts / counts.sum(), smoothing=smoothing)

    def forward(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution:
        batch = inputs.shape[0]
        table = PointsDistribution(self.space, self.points, self.log_weights.expand(batch, -1))
        uniform = LinearDistribution(self.space, inputs.new_zeros(batch, self.space.num_statistics))
        shares = inputs.new_tensor([1 - self.smoothing, self.smoothing]).log()
        return MixtureDistribution([table, uniform], shares.expand(batch, -1))

    def to_json(self) -> dict[str, object]:
        return {"kind": "candidates", "smoothing": self.smoothing, "points": len(self.points)}


@final
class MixtureReference(Reference):
    """Σ_m α_m q_m(·|x) of other references; their inputs stand side by side."""

    log_weights: Tensor

    def __init__(self, components: Sequence[Reference], weights: Sequence[float]) -> None:
        super().__init__()
        if len(components) != len(weights) or not components or min(weights) <= 0:
            raise SpecError(
                "Expected one positive weight for each of {count} references, found {found}.",
                count=len(components),
                found=list(weights),
            )
        self.space = components[0].space
        self.components = nn.ModuleList(components)
        self.input_width = sum(c.input_width for c in components)
        self.register_buffer("log_weights", torch.tensor(weights, dtype=torch.get_default_dtype()).log())

    def forward(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution:
        widths = [c.input_width for c in self.components]  # pyright: ignore[reportAttributeAccessIssue]
        parts = [c(part) for c, part in zip(self.components, inputs.split(widths, -1), strict=True)]  # pyright: ignore[reportArgumentType]
        return MixtureDistribution(parts, self.log_weights.expand(inputs.shape[0], -1))

    def to_json(self) -> dict[str, object]:
        parts = [c.to_json() for c in self.components]  # pyright: ignore[reportCallIssue]
        return {"kind": "mixture", "components": parts, "weights": self.log_weights.exp().tolist()}


def sample_categorical(
    log_weights: Float[Tensor, "batch option"], num_samples: int, *, generator: torch.Generator | None = None
) -> Int64[Tensor, "sample batch"]:
    """Indices drawn in proportion to exp(log_weights), by inverting the cumulative distribution; no host synchronisation."""
    cumulative = log_weights.detach().softmax(-1).cumsum(-1)
    uniform = torch.rand((log_weights.shape[0], num_samples), device=log_weights.device, generator=generator)
    index = torch.searchsorted(cumulative, (uniform * cumulative[:, -1:]).contiguous(), right=True)
    return index.clamp_max(log_weights.shape[1] - 1).T
