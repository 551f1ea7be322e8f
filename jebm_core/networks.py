"""Affinity networks: from x to a score g(x, ·) = ⟨θ(x), φ(·)⟩ + h(x, ·).

An `Affinity` is a trunk (x → hidden), a head for the linear part θ and, where items interact, a head for h. Given
a batch of contexts it returns
`jebm_core.interactions.Scores`: an object that scores combinations.
Log-partition networks δ(x) are plain modules built by `correction_network`; see `jebm_core.model` for the base
they correct.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jebm_core.errors import SpecError
from jebm_core.interactions import (
    FullQuadratic,
    Interaction,
    LowRankQuadratic,
    PreferenceInteraction,
    Scores,
    SetInteraction,
    item_of_statistic,
)
from jebm_core.spaces import OutputSpace


class LinearHead(nn.Module, ABC):
    """hidden(x) → θ(x)."""

    @abstractmethod
    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch statistic"]:
        """The natural parameters of the linear part."""


class InteractionHead(nn.Module, ABC):
    """hidden(x) → h(x, ·)."""

    @abstractmethod
    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Interaction:
        """The interaction of each context."""

    def constant_pairs(self) -> Tensor | None:
        """The weights of pairs that no x changes, one a pair; None where there are none."""
        return None


@final
class UnaryHead(LinearHead):
    """θ(x) free for every statistic: unary scores; for `Rankings` the Birkhoff parametrisation."""

    def __init__(self, space: OutputSpace, hidden: int) -> None:
        super().__init__()
        self.linear = _small_linear(hidden, space.num_statistics)

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch statistic"]:
        return self.linear(hidden)


@final
class PermutahedronHead(LinearHead):
    """For `Rankings`: one score an item, θ_{i,p} = s_i(x)·w_p with w falling evenly from 1 at the first position
    to −1 at the last."""

    weights: Tensor

    def __init__(self, space: OutputSpace, hidden: int, *, birkhoff: bool = False) -> None:
        super().__init__()
        k = space.num_items
        self.scores = _small_linear(hidden, k)
        self.free = _small_linear(hidden, k * k) if birkhoff else None
        self.register_buffer("weights", torch.linspace(1, -1, k))

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch statistic"]:
        theta = (self.scores(hidden).unsqueeze(-1) * self.weights).flatten(-2)
        return theta if self.free is None else theta + self.free(hidden)


@final
class FullPairwiseHead(InteractionHead):
    """U(x) with one output a pair of statistics of different items; constant in x if ``constant``."""

    def __init__(self, space: OutputSpace, hidden: int, *, constant: bool) -> None:
        super().__init__()
        item = item_of_statistic(space)
        a, b = torch.triu_indices(space.num_statistics, space.num_statistics, offset=1)
        a, b = a[item[a] != item[b]], b[item[a] != item[b]]
        self.size = space.num_statistics
        self.register_buffer("upper", a * self.size + b, persistent=False)
        self.register_buffer("lower", b * self.size + a, persistent=False)
        self.constant = nn.Parameter(torch.zeros(len(a)))
        varies = hidden > 0 and not constant and len(a) > 0  # one item alone has no pairs
        self.linear = _small_linear(hidden, len(a)) if varies else None

    def constant_pairs(self) -> Tensor:
        return self.constant

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> FullQuadratic:
        pairs = self.constant.unsqueeze(0) if self.linear is None else self.constant + self.linear(hidden)
        flat = pairs.new_zeros(pairs.shape[0], self.size**2)
        flat = flat.index_copy(1, self.upper, pairs).index_copy(1, self.lower, pairs)  # pyright: ignore[reportArgumentType]
        return FullQuadratic(flat.unflatten(1, (self.size, self.size)))


@final
class LowRankPairwiseHead(InteractionHead):
    """U(x) = Σ_r a_r(x) v_r v_rᵀ with learned factors; a_r constant in x if ``constant``."""

    def __init__(self, space: OutputSpace, hidden: int, *, rank: int, constant: bool) -> None:
        super().__init__()
        self.space = space
        self.factors = nn.Parameter(torch.randn(rank, space.num_statistics) / space.num_statistics**0.5)
        self.constant = nn.Parameter(torch.zeros(rank))
        self.linear = _small_linear(hidden, rank) if hidden and not constant else None

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> LowRankQuadratic:
        scale = self.constant.unsqueeze(0) if self.linear is None else self.constant + self.linear(hidden)
        return LowRankQuadratic(self.space, scale, self.factors)


@final
class SetHead(InteractionHead):
    """A DeepSets interaction of ``width`` channels."""

    def __init__(self, space: OutputSpace, hidden: int, *, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(space.num_statistics, width) / space.num_items**0.5)
        self.context = nn.Linear(hidden, width) if hidden else Constant(width)
        self.readout = nn.Sequential(nn.Linear(width, width), nn.ReLU(), _small_linear(width, 1))

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> SetInteraction:
        return SetInteraction(self.embedding, self.context(hidden), self.readout)


@final
class PreferenceHead(InteractionHead):
    """Pairwise preferences P(x) for `Rankings`."""

    def __init__(self, space: OutputSpace, hidden: int) -> None:
        super().__init__()
        a, b = torch.triu_indices(space.num_items, space.num_items, offset=1)
        self.register_buffer("first", a, persistent=False)
        self.register_buffer("second", b, persistent=False)
        self.linear = _small_linear(hidden, len(a))

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> PreferenceInteraction:
        return PreferenceInteraction(self.linear(hidden), self.first, self.second)  # pyright: ignore[reportArgumentType]


@final
class Trunk(nn.Module):
    """x → [x, MLP(x)]: the linear model stays available whatever the hidden layers do; ``hidden=()`` is the linear
    model itself.

    Attributes:
        precision: what the hidden layers compute in *while training* (mixed precision on a GPU); None for the dtype of
            x. Heads, energies and sums always keep the dtype of x: a log-weight rounded to bfloat16 would be off by
            more than a log-partition may be.
    """

    def __init__(self, features: int, hidden: Sequence[int], *, dropout: float) -> None:
        super().__init__()
        self.precision: torch.dtype | None = None
        layers: list[nn.Module] = []
        width = features
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers)
        self.width = features + (hidden[-1] if hidden else 0)
        self.has_layers = bool(hidden)

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch hidden"]:
        if not self.has_layers:
            return x
        if self.precision is None or not self.training:
            return torch.cat([x, self.layers(x)], -1)
        with torch.autocast(x.device.type, dtype=self.precision):
            hidden = self.layers(x)
        return torch.cat([x, hidden.to(x.dtype)], -1)


@final
class Affinity(nn.Module):
    """g(x,y) = ⟨θ(x), φ(y)⟩ + h(x,y) as trunk and heads.

    >>> from jebm_core.spaces import Subsets
    >>> space = Subsets(("a", "b", "c")); trunk = Trunk(2, (8,), dropout=0.0)
    >>> g = Affinity(space, trunk, UnaryHead(space, trunk.width), FullPairwiseHead(space, trunk.width, constant=False))
    >>> g(torch.zeros(5, 2)).value_of(space.listing()).shape
    torch.Size([8, 5])
    """

    def __init__(
        self, space: OutputSpace, trunk: Trunk, linear: LinearHead, interaction: InteractionHead | None = None
    ) -> None:
        super().__init__()
        self.space, self.trunk, self.linear, self.interaction = space, trunk, linear, interaction

    def forward(self, x: Float[Tensor, "batch feature"]) -> Scores:
        hidden = self.trunk(x)
        h = None if self.interaction is None else self.interaction(hidden)
        return Scores(self.space, self.linear(hidden), h)


@final
class Constant(nn.Module):
    """The same outputs for every row: a linear layer without inputs."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(outputs))

    def forward(self, hidden: Float[Tensor, "batch none"]) -> Float[Tensor, "batch output"]:
        return self.value.expand(hidden.shape[0], -1)


def _small_linear(inputs: int, outputs: int) -> nn.Module:
    """A linear layer that starts near zero, so that training starts at the reference; a constant without inputs."""
    if inputs == 0:
        return Constant(outputs)
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer


def correction_network(kind: str, inputs: int, *, hidden: int = 64) -> nn.Module:
    """δ for a log-partition: ``constant``, ``linear``, ``mlp`` or ``residual`` (an MLP with skip connections).
    Starts at zero."""
    match kind:
        case "constant":
            return ConstantCorrection()
        case "linear":
            return Correction(nn.Identity(), _zero_linear(inputs))
        case "mlp":
            body = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
            return Correction(body, _zero_linear(hidden))
        case "residual":
            return Correction(
                nn.Sequential(nn.Linear(inputs, hidden), ResidualBlock(hidden), ResidualBlock(hidden)),
                _zero_linear(hidden),
            )
        case _:
            raise SpecError(
                "Expected a log-partition among constant, linear, mlp, residual, found {found!r}.", found=kind
            )


@final
class ConstantCorrection(nn.Module):
    """The same number for every x."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        return self.value.expand(inputs.shape[0])


@final
class Correction(nn.Module):
    """A body and a scalar readout."""

    def __init__(self, body: nn.Module, readout: nn.Module) -> None:
        super().__init__()
        self.body, self.readout = body, readout

    def forward(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        return self.readout(self.body(inputs)).squeeze(-1)


@final
class ResidualBlock(nn.Module):
    """z + W₂ silu(W₁ z)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, z: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        return z + self.inner(torch.nn.functional.silu(z))


def _zero_linear(inputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
