"""A circuit whose literals carry weights: what `jebm_core.rules.circuit` is for diagrams, over d-DNNF.

Every Boolean variable v has a log-weight where it holds, a_v, and one where it doesn't, b_v. With

    z_v = log(e^a_v + e^b_v),    a'_v = a_v − z_v,    b'_v = b_v − z_v,

a free variable sums to 1, so that no node has to be filled up with what it doesn't speak of:

    A(θ) = Σ_v z_v + log W(root),    W(and) = Π parts,    W(or) = Σ parts,

all in logarithms and double precision. The gradient takes one pass back: the share of every edge, and with it of every
literal; a variable that occurs nowhere along what was taken holds with probability e^a'_v.

Cost of a pass: (edges + literals) · vectors. Source: Darwiche, *A differential approach to inference in Bayesian
networks*, JACM 2003.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.rules.dnnf import Dnnf, Level
from jebm_core.rules.sums import ExactSum

_CHUNK_BYTES = 400_000_000
_DRAW_CELLS = 2**25
"""Bytes held at a time while drawing."""
_ONES = 0x0101010101010101


@final
@dataclass(frozen=True)
class _Tables:
    """The circuit's arrays on one device."""

    parent: Int64[Tensor, " edge"]
    child: Int64[Tensor, " edge"]
    edge_of: Int64[Tensor, " carried"]
    literal: Int64[Tensor, " carried"]
    free: Int64[Tensor, " free"]
    hold: Int64[Tensor, " choice"]  # literal codes of the options, one after another
    cells: Int64[Tensor, " choice"]
    variable: Int64[Tensor, " choice"]
    option: Int64[Tensor, " choice"]
    named: Int64[Tensor, " named"]  # Boolean variables of the options but the first of two, which need no sum
    named_variable: Int64[Tensor, " named"]
    named_option: Int64[Tensor, " named"]


def _columns(rows: Sequence[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    return [tuple(row[place] for row in rows) for place in range(count)]


@final
class DnnfCircuit(ExactSum):
    """Evaluates a d-DNNF. Immutable; tables are copied to a device once.

    Args:
        diagram: the circuit.
        cells: for each variable, the statistic of each option; −1 where an option has none.
        statistics: length of θ.
    """

    def __init__(self, diagram: Dnnf, cells: Sequence[Sequence[int]], statistics: int) -> None:
        self.diagram, self.statistics = diagram, statistics
        pairs = [
            (code, cell if cell >= 0 else statistics, variable, option)
            for variable, (codes, own) in enumerate(zip(diagram.literals, cells, strict=True))
            for option, (code, cell) in enumerate(zip(codes, own, strict=True))
        ]
        named = [(code // 2, variable, option) for code, _, variable, option in pairs if option]
        self._choices = (*_columns(pairs, 4), *_columns(named, 3))
        self._small = all(len(options) <= 256 for options in diagram.literals)
        self._tables: dict[torch.device, _Tables] = {}

    def tables(self, device: torch.device) -> _Tables:
        """The tables on a device."""
        if device not in self._tables:
            d = self.diagram
            free = d.free.nonzero()[0]
            arrays = [torch.from_numpy(a).to(device) for a in (d.parent, d.child, d.edge_of, d.literal, free)]
            self._tables[device] = _Tables(*arrays, *(integers_on(choice, device) for choice in self._choices))
        return self._tables[device]

    @torch.no_grad()
    def log_partition_and_marginals(
        self, theta: Float[Tensor, "*batch statistic"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch statistic"]]:
        flat = theta.detach().reshape(-1, theta.shape[-1])
        parts = [self._both(part) for part in flat.split(self._vectors_at_once())]
        value, expected = (torch.cat(column) for column in zip(*parts, strict=True))
        return value.to(theta.dtype).reshape(theta.shape[:-1]), expected.to(theta.dtype).reshape(theta.shape)

    @torch.no_grad()
    def values(self, theta: Float[Tensor, "vector statistic"]) -> Float[Tensor, " vector"]:
        return torch.cat([self._total(part) for part in theta.split(self._vectors_at_once())])

    def _total(self, theta: Tensor) -> Tensor:
        weights, scale = self._normalised(theta)
        return self._up(weights, torch.logaddexp)[0][self.diagram.root] + scale

    def _both(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        weights, scale = self._normalised(theta)
        values, carried = self._up(weights, torch.logaddexp)
        holds = self._down(weights, values, carried)
        tables = self.tables(theta.device)
        expected = holds.new_zeros((self.statistics + 1, holds.shape[1]))
        expected.index_add_(0, tables.cells, holds.index_select(0, tables.hold))
        return values[self.diagram.root] + scale, expected[:-1].T

    def sample(
        self, theta: Float[Tensor, "batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch layer"]:
        """i.i.d. draws of p ∝ exp⟨θ, φ⟩ over everything valid: the option of each variable."""
        parts = []
        for part in theta.detach().split(self._vectors_at_once()):
            columns = torch.arange(len(part), device=theta.device).expand(num_samples, -1)
            parts.append(self.prepared(part).draw(columns, generator=generator))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def prepared(self, theta: Float[Tensor, "vector statistic"]) -> "DnnfDraws":
        """Ready to draw from p ∝ exp⟨θ, φ⟩ of any of these vectors. Memory: a number an *or* node, free variable and
        vector."""
        weights, _ = self._normalised(theta.detach())
        values, carried = self._up(weights, torch.logaddexp)
        limits = []
        for level, first, second in self._or_edges(values, carried):
            here = values[level.first : level.ands]
            share = torch.where(here > -torch.inf, torch.exp(first - here), 0.0)
            # Exactly 1 and 0 where one of the parts is impossible: it is never taken then.
            limits.append(torch.where(second > -torch.inf, torch.where(first > -torch.inf, share, 0.0), 1.0))
        return DnnfDraws(self, limits, weights[::2].exp())

    @torch.no_grad()
    def best(self, theta: Float[Tensor, "batch statistic"]) -> Int64[Tensor, "batch layer"]:
        """argmax ⟨θ, φ(y)⟩ over everything valid."""
        return torch.cat([self._best(part) for part in theta.split(self._vectors_at_once())])

    def _best(self, theta: Tensor) -> Tensor:
        weights = self._weights(theta)
        weights = weights - torch.maximum(weights[::2], weights[1::2]).repeat_interleave(2, 0)
        values, carried = self._up(weights, torch.maximum)
        spare = (0, -len(theta) % 8)
        second = [torch.nn.functional.pad(b > a, spare) for _, a, b in self._or_edges(values, carried)]
        holds = torch.nn.functional.pad(weights[::2] > weights[1::2], spare)
        return self.taken(lambda place: second[place], holds)[: len(theta)]

    @torch.no_grad()
    def contains(self, options: Integer[Tensor, "*batch layer"]) -> Bool[Tensor, "*batch"]:
        """Whether the options of the variables, in their order, are valid."""
        flat = options.reshape(-1, options.shape[-1])
        at_once = max(1, _CHUNK_BYTES // (4 * (self.diagram.size + self.diagram.edges + 2 * self.diagram.variables)))
        return torch.cat([self._valid(part) for part in flat.split(at_once)]).reshape(options.shape[:-1])

    def _valid(self, options: Tensor) -> Tensor:
        tables = self.tables(options.device)
        wrong = options.T.index_select(0, tables.variable) != tables.option.unsqueeze(1)
        never = torch.where(wrong, -torch.inf, 0.0)
        weights = never.new_zeros((2 * self.diagram.variables, len(options)))
        weights[tables.hold] = never
        weights[tables.hold ^ 1] = torch.where(wrong, 0.0, -torch.inf)
        return self._up(weights, torch.maximum)[0][self.diagram.root] > -torch.inf

    # ---- passes ------------------------------------------------------------------------------------------------------

    def _vectors_at_once(self) -> int:
        return max(1, _CHUNK_BYTES // (8 * (self.diagram.size + self.diagram.edges + 2 * self.diagram.variables)))

    def _weights(self, theta: Tensor) -> Float[Tensor, "literal vector"]:
        """The log-weight of every literal, in double precision."""
        tables = self.tables(theta.device)
        given = theta.new_zeros((self.statistics + 1, len(theta)), dtype=torch.float64)
        given[:-1] = theta.T
        weights = given.new_zeros((2 * self.diagram.variables, len(theta)))
        weights[tables.hold] = given.index_select(0, tables.cells)
        return weights

    def _normalised(self, theta: Tensor) -> tuple[Float[Tensor, "literal vector"], Float[Tensor, " vector"]]:
        """(a' and b' of every variable in turn, Σ z)."""
        weights = self._weights(theta)
        scale = torch.logaddexp(weights[::2], weights[1::2])
        possible = torch.where(scale > -torch.inf, scale, 0.0)
        return weights - possible.repeat_interleave(2, 0), scale.sum(0)

    def _up(
        self, weights: Tensor, either: Callable[[Tensor, Tensor], Tensor]
    ) -> tuple[Float[Tensor, "node vector"], Float[Tensor, "edge vector"]]:
        """(the value of every node, what each edge carries), in logarithms."""
        tables = self.tables(weights.device)
        carried = weights.new_zeros((len(tables.child), weights.shape[1]))
        carried.index_add_(0, tables.edge_of, weights.index_select(0, tables.literal))
        values = weights.new_zeros((self.diagram.size, weights.shape[1]))
        values[0] = -torch.inf
        for level in self.diagram.levels:
            through = values.index_select(0, tables.child[level.edges : level.last_edge])
            through += carried[level.edges : level.last_edge]
            ors = level.ands - level.first
            values[level.first : level.ands] = either(through[:ors], through[ors : 2 * ors])
            values.index_add_(0, tables.parent[level.and_edges : level.last_edge], through[2 * ors :])
        return values, carried

    def _or_edges(self, values: Tensor, carried: Tensor) -> list[tuple[Level, Tensor, Tensor]]:
        """Of every level, the values through the first and through the second edges of its *or* nodes."""
        child, found = self.tables(values.device).child, []
        for level in self.diagram.levels:
            middle = level.edges + level.ands - level.first
            first = values.index_select(0, child[level.edges : middle]) + carried[level.edges : middle]
            second = values.index_select(0, child[middle : level.and_edges]) + carried[middle : level.and_edges]
            found.append((level, first, second))
        return found

    def _down(self, weights: Tensor, values: Tensor, carried: Tensor) -> Float[Tensor, "literal vector"]:
        """The probability of every literal."""
        tables = self.tables(weights.device)
        flow, share = torch.zeros_like(values), torch.empty_like(carried)
        flow[self.diagram.root] = 1.0
        for level, first, second in reversed(self._or_edges(values, carried)):
            here = values[level.first : level.ands]
            middle = level.edges + len(here)
            for start, through in ((level.edges, first), (middle, second)):
                part = torch.where(here > -torch.inf, torch.exp(through - here), 0.0)
                share[start : start + len(here)] = part * flow[level.first : level.ands]
            ands = slice(level.and_edges, level.last_edge)
            share[ands] = flow.index_select(0, tables.parent[ands])
            every = slice(level.edges, level.last_edge)
            flow.index_add_(0, tables.child[every], share[every])
        holds = torch.zeros_like(weights).index_add_(0, tables.literal, share.index_select(0, tables.edge_of))
        free = tables.free
        left = 1 - holds[2 * free] - holds[2 * free + 1]
        holds[2 * free] += left * weights[2 * free].exp()
        holds[2 * free + 1] += left * weights[2 * free + 1].exp()
        return holds

    def taken(
        self, takes_second: Callable[[int], Tensor], holds: Bool[Tensor, "boolean draw"]
    ) -> Int64[Tensor, "draw layer"]:
        """The options of what is taken, from the root down.

        Eight draws are one word of eight bytes: a node is reached once a draw at most, so that sums of words are sums
        of bytes.

        Args:
            takes_second: for a level's place, whether its *or* nodes take their second edge, [node, draw].
            holds: Boolean variables where nothing that is taken speaks of them; the number of draws is one of eights.
        """
        tables, diagram, draws = self.tables(holds.device), self.diagram, holds.shape[1]
        active = torch.zeros((diagram.size, draws // 8), dtype=torch.int64, device=holds.device)
        active[diagram.root] = _ONES
        passed = torch.empty((len(tables.child), draws // 8), dtype=torch.int64, device=holds.device)
        for place, level in reversed(list(enumerate(diagram.levels))):
            here, second = active[level.first : level.ands], takes_second(place).view(torch.int64)
            middle = level.edges + len(here)
            torch.bitwise_and(here, second, out=passed[middle : level.and_edges])
            torch.bitwise_xor(here, passed[middle : level.and_edges], out=passed[level.edges : middle])
            ands, every = slice(level.and_edges, level.last_edge), slice(level.edges, level.last_edge)
            passed[ands] = active.index_select(0, tables.parent[ands])
            active.index_add_(0, tables.child[every], passed[every])
        said = active.new_zeros((2 * diagram.variables, draws // 8))
        said.index_add_(0, tables.literal, passed.index_select(0, tables.edge_of))
        true = said[::2] | (holds.view(torch.int64) & ~said[1::2])
        true = true.index_select(0, tables.named)
        found = active.new_zeros((len(diagram.literals), draws // 8))
        if self._small:
            found.index_add_(0, tables.named_variable, true * tables.named_option.unsqueeze(1))
            return found.view(torch.uint8).T.long()
        wide = true.view(torch.uint8).long() * tables.named_option.unsqueeze(1)
        return wide.new_zeros((len(found), draws)).index_add_(0, tables.named_variable, wide).T


@final
class DnnfDraws:
    """Draws from a d-DNNF, each with the weights of one of several vectors. Made by `DnnfCircuit.prepared`.

    Args:
        limits: of each level, the probability of the first edge of its *or* nodes, [node, vector].
        chances: the probability with which a free Boolean variable holds, [boolean, vector].
    """

    def __init__(self, circuit: DnnfCircuit, limits: list[Tensor], chances: Float[Tensor, "boolean vector"]) -> None:
        self._circuit, self._limits = circuit, limits
        self._chances = chances.index_select(0, circuit.tables(chances.device).free)

    @torch.no_grad()
    def draw(
        self, vectors: Int64[Tensor, "sample batch"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch layer"]:
        """The option of each variable in one draw for each of these vector numbers, all independent. Frequencies are
        exact to 2^−24; an option without weight is never drawn."""
        diagram = self._circuit.diagram
        at_once = max(1, _DRAW_CELLS // (diagram.size + diagram.edges + 4 * diagram.variables))
        parts = [self._some(part, generator) for part in vectors.reshape(-1).split(at_once)]
        return torch.cat(parts).reshape(*vectors.shape, len(diagram.literals))

    def _some(self, vectors: Int64[Tensor, " draw"], generator: torch.Generator | None) -> Tensor:
        draws = len(vectors)
        vectors = torch.nn.functional.pad(vectors, (0, -draws % 8))

        def below(limit: Tensor) -> Tensor:
            size = (len(limit), len(vectors))
            return torch.rand(size, device=limit.device, generator=generator) < self._of_each(limit, vectors)

        free = self._circuit.tables(vectors.device).free
        holds = torch.zeros((self._circuit.diagram.variables, len(vectors)), dtype=torch.bool, device=vectors.device)
        holds[free] = below(self._chances)
        return self._circuit.taken(lambda place: ~below(self._limits[place]), holds)[:draws]

    @staticmethod
    def _of_each(limit: Float[Tensor, "row vector"], vectors: Int64[Tensor, " draw"]) -> Tensor:
        return limit if limit.shape[1] == 1 else limit.index_select(1, vectors)
