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

from jebm_core.devices import integers_on
from jebm_core.rules.diagram import Diagram
from jebm_core.rules.sums import ExactSum

SAFE_SPREAD = 500.0
"""Sum over layers of the largest minus the smallest log-weight, in nats, up to which double precision can't underflow:
e^−708 is its smallest normal number, and sums gain."""
_CHUNK_BYTES = 400_000_000


@final
@dataclass(frozen=True)
class _Layer:
    """One layer on one device."""

    children: Int64[Tensor, "node option"]
    by_option: tuple[Int64[Tensor, " node"], ...]  # the same in columns: what a gather is fastest with
    cells: Int64[Tensor, " option"]


@final
class Circuit(ExactSum):
    """Evaluates a diagram. Immutable; tables are copied to a device once.

    Args:
        diagram: over ``variables`` variables, each in one layer.
        cells: for each layer, the statistic of each option; −1 where an option has none.
        statistics: length of θ.

    Attributes:
        edge_cells: ``cells``, with ``statistics`` where an option has none.
    """

    def __init__(self, diagram: Diagram, cells: Sequence[Sequence[int]], statistics: int) -> None:
        self.diagram, self.statistics = diagram, statistics
        self.edge_cells = [[cell if cell >= 0 else statistics for cell in layer] for layer in cells]
        width = max((len(layer) for layer in self.edge_cells), default=0)
        # Every layer as wide as the widest, its first option again where it has fewer: one gather fetches all weights.
        self._padded = tuple(c for layer in self.edge_cells for c in (*layer, *layer[:1] * (width - len(layer))))
        self._layers: dict[torch.device, tuple[_Layer, ...]] = {}

    def layers(self, device: torch.device) -> tuple[_Layer, ...]:
        """The tables on a device."""
        if device not in self._layers:
            made = []
            for table, cells in zip(self.diagram.children, self.edge_cells, strict=True):
                children = torch.from_numpy(table.astype(np.int64)).to(device)
                columns = tuple(column.contiguous() for column in children.unbind(1))
                made.append(_Layer(children, columns, torch.tensor(cells, device=device)))
            self._layers[device] = tuple(made)
        return self._layers[device]

    @torch.no_grad()
    def values(self, theta: Float[Tensor, "vector statistic"]) -> Float[Tensor, " vector"]:
        return self._in_chunks(theta, lambda part: (self._up(part).log_total,))[0]

    @torch.no_grad()
    def log_partition_and_marginals(
        self, theta: Float[Tensor, "*batch statistic"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch statistic"]]:
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
        parts = []
        for part in theta.detach().split(self._vectors_at_once()):
            columns = torch.arange(len(part), device=theta.device).expand(num_samples, -1)
            parts.append(self.prepared(part).draw(columns, generator=generator))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def prepared(self, theta: Float[Tensor, "vector statistic"]) -> "Walks":
        """Ready to draw from p ∝ exp⟨θ, φ⟩ of any of these vectors, as often as one likes.

        Memory: a number an edge and vector.
        """
        up = self._up(theta.detach())
        return Walks(self, [up.cumulative(place, layer)[:-1] for place, layer in enumerate(self.layers(theta.device))])

    @torch.no_grad()
    def option_shares(self, theta: Float[Tensor, " statistic"]) -> list[Float[Tensor, "_node _option"]]:
        """For each layer, the probability of each option at each node; a row of zeros where nothing valid is below."""
        up, found = self._up(theta.unsqueeze(0)), []
        for place, layer in enumerate(self.layers(theta.device)):
            mass = up.masses(place, layer).squeeze(-1).T
            total = mass.sum(1, keepdim=True)
            found.append(mass / torch.where(total > 0, total, 1.0))
        return found

    @torch.no_grad()
    def best(self, theta: Float[Tensor, "batch statistic"]) -> Int64[Tensor, "batch layer"]:
        """argmax ⟨θ, φ(y)⟩ over everything valid (ties to the first option)."""
        layers, weights = self.layers(theta.device), self._edge_weights(theta)
        value = weights.new_full((2, theta.shape[0]), -torch.inf)
        value[1] = 0.0
        values = [value]
        for layer in reversed(layers):
            w = weights[layer.cells]
            through = torch.stack([w[a] + values[-1].index_select(0, c) for a, c in enumerate(layer.by_option)])
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
        depth = len(self.edge_cells)
        if depth == 0:
            certain = weights.new_full(weights.shape[1:], 0.0 if self.diagram.root else -torch.inf)
            return _Up(weights, [], [], [], certain)
        edges = weights[integers_on(self._padded, weights.device)].view(depth, -1, weights.shape[1])
        top = edges.amax(1)
        if weights.device.type == "cpu":
            least = torch.where(edges > -torch.inf, edges, top.unsqueeze(1)).amin(1)
            if bool(((top - least).sum(0) < SAFE_SPREAD).all()):  # False where a layer has no finite weight: NaN
                return _up_scaled(self, weights, edges, top)
        return _up_in_logs(self, weights, edges)

    def _down(self, up: "_Up") -> Float[Tensor, "batch statistic"]:
        """Flows from the root: the probability of every node, and with it of every statistic."""
        layers = self.layers(up.weights.device)
        expected = up.weights.new_zeros(up.weights.shape)
        flow = up.weights.new_zeros((len(layers[0].children) if layers else 2, up.weights.shape[1]))
        flow[self.diagram.root] = 1.0
        for place, layer in enumerate(layers):
            flow = up.down(place, layer, self.edge_cells[place], flow, expected)
        return expected[:-1].T


@final
class Walks:
    """Draws along the paths of a circuit, each with the weights of one of several vectors. Made by `Circuit.prepared`.

    ``limits`` of a layer: the probability of each option but the last, or an earlier one, [option, node, vector].
    """

    def __init__(self, circuit: Circuit, limits: list[Float[Tensor, "_option _node vector"]]) -> None:
        self._circuit, self._limits = circuit, limits

    def draw(
        self, vectors: Int64[Tensor, "sample batch"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch layer"]:
        """The option in each layer of one draw for each of these vector numbers, all independent. Frequencies are exact
        to 2^−24; an option without weight is never drawn."""
        layers = self._circuit.layers(vectors.device)
        node = torch.full_like(vectors, self._circuit.diagram.root)
        drawn = torch.empty((len(layers), *vectors.shape), dtype=torch.int64, device=vectors.device)
        for place, (layer, limits) in enumerate(zip(layers, self._limits, strict=True)):
            uniform = torch.rand(vectors.shape, device=vectors.device, generator=generator)
            option = torch.zeros_like(node)
            if len(limits):
                here = node * limits.shape[-1] + vectors
                for limit in limits:  # options without weight have no room between their limits
                    option += uniform >= limit.reshape(-1)[here]
            drawn[place] = option
            node = layer.children.view(-1)[node * len(layer.by_option) + option]
        return drawn.movedim(0, -1)


@final
@dataclass(frozen=True)
class _Up:
    """What the pass towards the root leaves: ``values`` of the nodes of each layer, and behind the last.

    Scaled: ``values`` are ``sums`` divided by the largest of each layer, ``edges`` weights relative to the largest.
    In logarithms: ``sums`` is None.
    """

    weights: Float[Tensor, "cell batch"]
    values: list[Tensor]
    sums: list[Tensor] | None
    edges: list[Tensor]
    log_total: Float[Tensor, " batch"]

    def down(
        self, place: int, layer: _Layer, cells: Sequence[int], flow: Float[Tensor, "node batch"], expected: Tensor
    ) -> Float[Tensor, "below batch"]:
        """Flow through the layer's nodes to the flow through the next; adds what passes each cell to ``expected``."""
        below, edges = self.values[place + 1], self.edges[place]
        unused = len(expected) - 1
        if self.sums is None:
            here = self.values[place]
            onward = torch.zeros_like(below)
            for option, cell in enumerate(cells):
                children = layer.by_option[option]
                gain = torch.exp(edges[option] + below.index_select(0, children) - here)
                share = torch.where(here > -torch.inf, gain, 0.0).mul_(flow)
                if cell != unused:
                    expected[cell] += share.sum(0)
                onward.index_add_(0, children, share)
            return onward
        # A node passes on flow / sum · edge · value below: the value, common to all that come from above, goes last.
        # Where nothing valid is below, nothing flows either, and 0 over the smallest number is 0.
        rate = flow / self.sums[place].clamp_min(torch.finfo(flow.dtype).tiny)
        reached, arrived = torch.zeros_like(below), torch.empty_like(below)
        passed = edges.new_empty((len(cells), edges.shape[1]))
        for option, children in enumerate(layer.by_option):
            arrived.zero_().index_add_(0, children, rate)
            reached.addcmul_(arrived, edges[option])
            torch.sum(arrived.mul_(below), 0, out=passed[option])
        expected.index_add_(0, layer.cells, passed.mul_(edges[: len(cells)]))
        return reached.mul_(below)

    def cumulative(self, place: int, layer: _Layer) -> Float[Tensor, "option node batch"]:
        """The probability of each option or an earlier one at each node; the last is 1 wherever anything is valid."""
        total = self.masses(place, layer).cumsum(0)
        return total / torch.where(total[-1] > 0, total[-1], 1.0)

    def masses(self, place: int, layer: _Layer) -> Float[Tensor, "option node batch"]:
        """What leads on through each option of each node, up to a factor a node; exactly 0 where nothing does."""
        below, edges = self.values[place + 1], self.edges[place]
        mass = torch.stack([below.index_select(0, children) for children in layer.by_option])
        edge = edges[: len(mass)].unsqueeze(1)
        if self.sums is not None:
            return mass.mul_(edge)
        mass += edge
        top = mass.amax(0)
        return torch.exp(mass - torch.where(top > -torch.inf, top, 0.0))


def _up_scaled(circuit: Circuit, weights: Tensor, edges: Tensor, top: Tensor) -> _Up:
    value = weights.new_zeros((2, weights.shape[1]))
    value[1] = 1.0
    values, sums, scales = [value], [], []
    edges = torch.exp(edges - top.unsqueeze(1))
    for layer, edge in zip(reversed(circuit.layers(weights.device)), reversed(edges.unbind(0)), strict=True):
        total = values[-1].index_select(0, layer.by_option[0]).mul_(edge[0])
        for option, children in enumerate(layer.by_option[1:], 1):
            total.addcmul_(values[-1].index_select(0, children), edge[option])
        scale = total.amax(0)
        sums.append(total)
        scales.append(scale)
        values.append(total / torch.where(scale > 0, scale, 1.0))
    log_total = values[-1][circuit.diagram.root].log() + top.sum(0) + torch.stack(scales).log().sum(0)
    return _Up(weights, values[::-1], sums[::-1], list(edges.unbind(0)), log_total)


def _up_in_logs(circuit: Circuit, weights: Tensor, edges: Tensor) -> _Up:
    batch = weights.shape[1]
    values = [torch.cat([weights.new_full((1, batch), -torch.inf), weights.new_zeros(1, batch)])]
    for layer, edge in zip(reversed(circuit.layers(weights.device)), reversed(edges.unbind(0)), strict=True):
        through = torch.stack([values[-1].index_select(0, c) + edge[a] for a, c in enumerate(layer.by_option)])
        values.append(through.logsumexp(0))
    return _Up(weights, values[::-1], None, list(edges.unbind(0)), values[-1][circuit.diagram.root])
