"""A diagram whose edges carry weights: exact sums over everything valid, for many weight vectors at once.

For log-weights θ of linear statistics φ (each edge belongs to one statistic, or to none),

    A(θ) = log Σ_{y valid} exp⟨θ, φ(y)⟩,        ∇A(θ) = E_θ[φ],

both by one pass over the layers, upwards from *true* to the root, and one back. Sums are formed in double precision and
rescaled in every layer. Where the weights of a vector spread so far that a node could still underflow beside another,
the pass works with logarithms instead – decided on the processor, and always so on an accelerator, which then never
waits. A single-precision pass without logarithms has been measured to be wrong by 72 nats, silently.

Cost of a pass: edges · vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.rules.diagram import Diagram

SAFE_SPREAD = 500.0
"""Sum over layers of the largest minus the smallest log-weight, in nats, up to which double precision can't underflow:
e^−708 is its smallest normal number, and sums gain."""
_CHUNK_BYTES = 400_000_000


@final
@dataclass(frozen=True)
class _Layer:
    """One layer on one device."""

    children: Int64[Tensor, "node option"]
    cells: Int64[Tensor, " option"]


@final
class Circuit:
    """Evaluates a diagram. Immutable; tables are copied to a device once.

    Args:
        diagram: over ``variables`` variables, each in one layer.
        cells: for each layer, the statistic of each option; −1 where an option has none.
        statistics: length of θ.
    """

    def __init__(self, diagram: Diagram, cells: Sequence[Sequence[int]], statistics: int) -> None:
        self.diagram, self.statistics = diagram, statistics
        self._cells = [[cell if cell >= 0 else statistics for cell in layer] for layer in cells]
        self._layers: dict[torch.device, tuple[_Layer, ...]] = {}

    def layers(self, device: torch.device) -> tuple[_Layer, ...]:
        """The tables on a device."""
        if device not in self._layers:
            self._layers[device] = tuple(
                _Layer(torch.from_numpy(table.astype(np.int64)).to(device), torch.tensor(cells, device=device))
                for table, cells in zip(self.diagram.children, self._cells, strict=True)
            )
        return self._layers[device]

    def log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        """A(θ) in nats, differentiable once; −∞ where nothing valid has a finite weight."""
        flat = theta.reshape(-1, theta.shape[-1])
        if theta.requires_grad and torch.is_grad_enabled():
            value: Tensor = _LogPartition.apply(flat, self)  # pyright: ignore[reportAssignmentType]
        else:
            value = self._in_chunks(flat, lambda part: (self._up(part).log_total,))[0]
        return value.to(theta.dtype).reshape(theta.shape[:-1])

    def marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        """E_θ[φ]: the gradient of A."""
        return self.log_partition_and_marginals(theta)[1]

    @torch.no_grad()
    def log_partition_and_marginals(
        self, theta: Float[Tensor, "*batch statistic"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch statistic"]]:
        """Both, from one pass up and one down."""
        flat = theta.reshape(-1, theta.shape[-1])

        def both(part: Tensor) -> tuple[Tensor, Tensor]:
            up = self._up(part)
            return up.log_total, self._down(up)

        value, expected = self._in_chunks(flat, both)
        return value.to(theta.dtype).reshape(theta.shape[:-1]), expected.to(theta.dtype).reshape(theta.shape)

    @torch.no_grad()
    def sample(
        self, theta: Float[Tensor, "batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch layer"]:
        """i.i.d. draws of p ∝ exp⟨θ, φ⟩ over everything valid: the option in each layer."""
        size = self._vectors_at_once()
        parts = [self._walk(self._up(part), num_samples, generator) for part in theta.detach().split(size)]
        return torch.cat(parts, 1)

    @torch.no_grad()
    def best(self, theta: Float[Tensor, "batch statistic"]) -> Int64[Tensor, "batch layer"]:
        """argmax ⟨θ, φ(y)⟩ over everything valid (ties to the first option)."""
        layers, weights = self.layers(theta.device), self._edge_weights(theta)
        value = weights.new_full((2, theta.shape[0]), -torch.inf)
        value[1] = 0.0
        values = [value]
        for layer in reversed(layers):
            w = weights[layer.cells]
            through = torch.stack([w[a] + values[-1][layer.children[:, a]] for a in range(len(w))])
            values.append(through.amax(0))
        values.reverse()
        column = torch.arange(theta.shape[0], device=theta.device)
        node, options = torch.full_like(column, self.diagram.root), []
        for place, layer in enumerate(layers):
            below = layer.children[node]  # [batch, option]
            gain = weights[layer.cells].T + values[place + 1][below, column[:, None]]
            option = gain.argmax(1)
            options.append(option)
            node = below.gather(1, option[:, None]).squeeze(1)
        return torch.stack(options, -1)

    def contains(self, options: Integer[Tensor, "*batch layer"]) -> Bool[Tensor, "*batch"]:
        """Whether the options of the layers, in their order, are a valid path."""
        node = torch.full(options.shape[:-1], self.diagram.root, dtype=torch.int64, device=options.device)
        for place, layer in enumerate(self.layers(options.device)):
            node = layer.children.view(-1)[node * layer.children.shape[1] + options[..., place]]
        return node == 1

    # ---- passes ------------------------------------------------------------------------------------------------------

    def _edge_weights(self, theta: Tensor) -> Float[Tensor, "cell batch"]:
        """θ in double precision, one row a statistic and a last row of zeros for edges that have none."""
        weights = theta.new_zeros((theta.shape[1] + 1, theta.shape[0]), dtype=torch.float64)
        weights[:-1] = theta.T
        return weights

    def _vectors_at_once(self) -> int:
        return max(1, _CHUNK_BYTES // (8 * max(1, self.diagram.nodes)))

    def _in_chunks(self, theta: Tensor, compute: Any) -> tuple[Tensor, ...]:
        parts = [compute(part) for part in theta.split(self._vectors_at_once())]
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))

    def _up(self, theta: Tensor) -> "_Up":
        """From *true* to the root."""
        weights = self._edge_weights(theta.detach())
        return _up_in_logs(self, weights) if self._may_underflow(weights) else _up_scaled(self, weights)

    def _may_underflow(self, weights: Tensor) -> bool:
        if weights.device.type != "cpu":
            return True
        spread = weights.new_zeros(weights.shape[1])
        for layer in self.layers(weights.device):
            w = weights[layer.cells]
            finite = torch.where(w > -torch.inf, w, torch.inf)
            least = finite.amin(0)
            spread += torch.where(least < torch.inf, w.amax(0) - least, 0.0)
        return not bool((spread < SAFE_SPREAD).all())

    def _down(self, up: "_Up") -> Float[Tensor, "batch statistic"]:
        """Flows from the root: the probability of every node, and with it of every statistic."""
        layers = self.layers(up.weights.device)
        expected = up.weights.new_zeros(up.weights.shape)
        flow = up.weights.new_zeros((len(layers[0].children) if layers else 2, up.weights.shape[1]))
        flow[self.diagram.root] = 1.0
        for place, layer in enumerate(layers):
            below = up.values[place + 1]
            onward = torch.zeros_like(below)
            for option, cell in enumerate(self._cells[place]):
                share = flow * up.share(place, layer, option)
                expected[cell] += share.sum(0)
                onward.index_add_(0, layer.children[:, option], share)
            flow = onward
        return expected[:-1].T

    def _walk(
        self, up: "_Up", num_samples: int, generator: torch.Generator | None
    ) -> Int64[Tensor, "sample batch layer"]:
        layers, batch = self.layers(up.weights.device), up.weights.shape[1]
        device = up.weights.device
        column = torch.arange(batch, device=device)
        node = torch.full((num_samples, batch), self.diagram.root, dtype=torch.int64, device=device)
        drawn = torch.empty((num_samples, batch, len(layers)), dtype=torch.int64, device=device)
        for place, layer in enumerate(layers):
            below = layer.children[node]  # [sample, batch, option]
            mass = up.mass(place, layer, below, column)
            total = mass.cumsum(-1)
            uniform = torch.rand((num_samples, batch, 1), dtype=torch.float64, device=device, generator=generator)
            option = (uniform * total[..., -1:] >= total).sum(-1)
            # A rounding can push the product up to the total: then the last option that has any mass.
            last = mass.shape[-1] - 1 - (mass.flip(-1) > 0).int().argmax(-1)
            option = torch.minimum(option, last)
            drawn[..., place] = option
            node = below.gather(-1, option.unsqueeze(-1)).squeeze(-1)
        return drawn


@final
@dataclass(frozen=True)
class _Up:
    """What the pass towards the root leaves: ``values`` of the nodes of each layer, and behind the last.

    Scaled: sums over what is below, divided by ``scale`` in each layer (None for logarithms). ``weights`` are edge
    weights by cell, exponentiated relative to the largest of each layer where scaled.
    """

    weights: Float[Tensor, "cell batch"]
    values: list[Tensor]
    sums: list[Tensor] | None
    edges: list[Tensor]
    log_total: Float[Tensor, " batch"]

    def share(self, place: int, layer: _Layer, option: int) -> Float[Tensor, "node batch"]:
        """The probability of taking this option at each node; 0 at nodes that lead nowhere."""
        below = self.values[place + 1][layer.children[:, option]]
        if self.sums is None:
            here = self.values[place]
            return torch.where(here > -torch.inf, torch.exp(self.edges[place][option] + below - here), 0.0)
        here = self.sums[place]
        return below.mul_(self.edges[place][option]).div_(torch.where(here > 0, here, 1.0))

    def mass(
        self, place: int, layer: _Layer, below: Int64[Tensor, "sample batch option"], column: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "sample batch option"]:
        """What leads on through each option, up to a factor for each draw."""
        batch = len(column)
        value = self.values[place + 1].reshape(-1)[below * batch + column[:, None]]
        if self.sums is not None:
            return value * self.edges[place].T
        log_mass = value + self.edges[place].T
        return torch.exp(log_mass - log_mass.amax(-1, keepdim=True))


def _up_scaled(circuit: Circuit, weights: Tensor) -> _Up:
    layers, batch = circuit.layers(weights.device), weights.shape[1]
    value = weights.new_zeros((2, batch))
    value[1] = 1.0
    values, sums, edges = [value], [], []
    log_total = weights.new_zeros(batch)
    for layer in reversed(layers):
        w = weights[layer.cells]
        top = w.amax(0)
        edge = torch.exp(w - top)
        total = values[-1][layer.children[:, 0]].mul_(edge[0])
        for option in range(1, len(edge)):
            total.addcmul_(values[-1][layer.children[:, option]], edge[option])
        scale = total.amax(0)
        log_total += top + scale.log()
        sums.append(total)
        edges.append(edge)
        values.append(total / torch.where(scale > 0, scale, 1.0))
    values.reverse()
    sums.reverse()
    edges.reverse()
    root = values[0][circuit.diagram.root] if layers else weights.new_full((batch,), float(circuit.diagram.root))
    return _Up(weights, values, sums, edges, log_total + root.log())


def _up_in_logs(circuit: Circuit, weights: Tensor) -> _Up:
    layers, batch = circuit.layers(weights.device), weights.shape[1]
    value = torch.cat([weights.new_full((1, batch), -torch.inf), weights.new_zeros(1, batch)])
    values, edges = [value], []
    for layer in reversed(layers):
        w = weights[layer.cells]
        through = torch.stack([values[-1][layer.children[:, a]] + w[a] for a in range(len(w))])
        edges.append(w)
        values.append(through.logsumexp(0))
    values.reverse()
    edges.reverse()
    return _Up(weights, values, None, edges, values[0][circuit.diagram.root])


@final
class _LogPartition(torch.autograd.Function):
    """The value with its gradient, both found in the forward pass: then no layer outlives it."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: Circuit) -> Tensor:
        value, expected = circuit.log_partition_and_marginals(theta)
        ctx.save_for_backward(expected)
        return value

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # only under create_graph=True; the marginals would pass for constants there
            raise NotImplementedError("A log-partition over rules has a first derivative only.")
        (expected,) = ctx.saved_tensors
        return grad_output.unsqueeze(-1) * expected, None
