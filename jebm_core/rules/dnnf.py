"""Circuits in deterministic decomposable negation normal form: a set of combinations as *and* and *or* nodes.

The parts below an *and* node speak of different variables (decomposable), and those below an *or* node exclude one
another (deterministic), so that sums over the set are sums and products over nodes. An edge carries literals that hold
along with what it leads to. A variable that neither occurs below a node nor beside it is free there.

Nodes are numbered from the leaves: 0 is *false*, 1 is *true*, and the nodes of one level stand together, so that a pass
takes a few array operations a level. *Or* nodes have two edges each.

Source: Darwiche, Marquis, *A knowledge compilation map*, JAIR 2002; the text format is that of Lagniez, Marquis, *An
improved decision-DNNF compiler*, IJCAI 2017 (d4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_CELLS = 2**27
"""Numbers that one pass over many combinations holds at a time."""


class BrokenCircuit(Exception):
    """A text that is no circuit, or one that is not deterministic and decomposable."""


class Level(NamedTuple):
    """Nodes of one level, none of which is below another: *or* nodes from ``first`` to before ``ands``, *and* nodes
    from there to before ``last``. Edges ``e`` … ``e + 2 · (ands − first)`` are those of the *or* nodes, first all first
    edges and then all second edges; from ``and_edges`` to before ``last_edge`` those of the *and* nodes."""

    first: int
    ands: int
    last: int
    edges: int
    and_edges: int
    last_edge: int


@final
@dataclass(frozen=True, eq=False)
class Dnnf:
    """A circuit over Boolean variables that stand for the options of a problem's variables.

    Attributes:
        variables: how many Boolean variables there are, numbered from 0.
        literals: for each variable of the problem, the code of each option's literal: 2v where Boolean variable v must
            hold, 2v + 1 where it must not.
        levels: from the leaves up.
        parent, child: of each edge.
        edge_of, literal: the literals, by code, that edges carry.
        root: the number of the root.
        free: whether each Boolean variable may be free in a part of the circuit.
    """

    variables: int
    literals: tuple[tuple[int, ...], ...]
    levels: tuple[Level, ...]
    parent: Integers
    child: Integers
    edge_of: Integers
    literal: Integers
    root: int
    free: npt.NDArray[np.bool_]

    @property
    def order(self) -> tuple[int, ...]:
        """The variables, as they come."""
        return tuple(range(len(self.literals)))

    @property
    def nodes(self) -> int:
        """How many nodes it has besides *true* and *false*."""
        return self.size - 2

    @property
    def edges(self) -> int:
        """Edges, and the literals that they carry: what every pass costs."""
        return len(self.child) + len(self.literal)

    @property
    def size(self) -> int:
        """How many nodes it has."""
        return self.levels[-1].last if self.levels else 2

    def count(self) -> int:
        """How many combinations are in the set, exactly, for numbers of any size."""
        return self._count

    @cached_property
    def _count(self) -> int:
        # The share of all combinations, as a number over a power of two: free variables then need no care.
        carried = np.bincount(self.edge_of, minlength=len(self.child)).tolist()
        child = self.child.tolist()
        share: list[tuple[int, int]] = [(0, 0), (1, 0)]
        for level in self.levels:
            ors = level.ands - level.first
            for place in range(ors):
                pair = [(*share[child[e]], carried[e]) for e in (level.edges + place, level.edges + ors + place)]
                powers = [power + more for _, power, more in pair]
                power = max(powers)
                share.append((sum(n << (power - p) for (n, _, _), p in zip(pair, powers, strict=True)), power))
            found = [[1, 0] for _ in range(level.last - level.ands)]
            for e in range(level.and_edges, level.last_edge):
                number, power = share[child[e]]
                entry = found[int(self.parent[e]) - level.ands]
                entry[0] *= number
                entry[1] += power + carried[e]
            share.extend((number, power) for number, power in found)
        number, power = share[self.root]
        return (number << self.variables) >> power

    def contains(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether each row of options, [row, variable], is in the set."""
        found = np.zeros(len(codes), dtype=bool)
        for rows in self._in_parts(len(codes)):
            allowed = np.ones((2 * self.variables, len(rows)), dtype=bool)
            for variable, literals in enumerate(self.literals):
                taken = np.asarray(literals)[codes[rows, variable]]
                for literal in literals:
                    allowed[literal] = taken == literal
                    allowed[literal ^ 1] = taken != literal
            found[rows] = self.satisfiable(allowed)
        return found

    def possible_options(self) -> dict[int, npt.NDArray[np.bool_]]:
        """For each variable, which of its options occur in anything of the set."""
        # Every edge is part of something: what is impossible was left out.
        occurs = np.zeros(2 * self.variables, dtype=bool)
        if self.root:
            occurs[self.literal] = True
            occurs |= np.repeat(self.free, 2)
        return {variable: occurs[list(literals)] for variable, literals in enumerate(self.literals)}

    def satisfiable(self, allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Whether anything of the set has only literals that are allowed, [literal code, case]."""
        cases = allowed.shape[1]
        blocked = np.zeros((len(self.child), cases), dtype=bool)
        carrying, starts = np.unique(self.edge_of, return_index=True)
        if len(carrying):
            blocked[carrying] = np.logical_or.reduceat(~allowed[self.literal], starts, axis=0)
        holds = np.ones((self.size, cases), dtype=bool)
        holds[0] = False
        for level in self.levels:
            through = holds[self.child[level.edges : level.last_edge]] & ~blocked[level.edges : level.last_edge]
            ors = level.ands - level.first
            holds[level.first : level.ands] = through[:ors] | through[ors : 2 * ors]
            if level.last > level.ands:
                starts = np.searchsorted(self.parent[level.and_edges : level.last_edge], range(level.ands, level.last))
                holds[level.ands : level.last] = np.logical_and.reduceat(through[2 * ors :], starts, axis=0)
        return holds[self.root]

    def listing(self) -> Integers:
        """Every combination of the set once, [combination, variable]."""
        parts: list[npt.NDArray[np.int8]] = [
            np.zeros((0, self.variables), dtype=np.int8),
            np.full((1, self.variables), -1, dtype=np.int8),
        ]
        bounds = np.searchsorted(self.edge_of, np.arange(len(self.child) + 1))

        def along(edge: int) -> npt.NDArray[np.int8]:
            rows = parts[self.child[edge]].copy()
            codes = self.literal[bounds[edge] : bounds[edge + 1]]
            rows[:, codes // 2] = 1 - codes % 2
            return rows

        for level in self.levels:
            ors = level.ands - level.first
            for place in range(ors):
                parts.append(np.concatenate([along(level.edges + place), along(level.edges + ors + place)]))
            found: list[npt.NDArray[np.int8]] = [parts[1]] * (level.last - level.ands)
            for e in range(level.and_edges, level.last_edge):
                place, rows = int(self.parent[e]) - level.ands, along(e)
                merged = np.maximum(found[place][:, None], rows[None])  # what one part does not speak of is −1
                found[place] = merged.reshape(-1, self.variables)
            parts.extend(found)
        return self._options_of(_spelled_out(parts[self.root]))

    def _options_of(self, values: npt.NDArray[np.int8]) -> Integers:
        columns = []
        for literals in self.literals:
            codes = np.array(literals)
            columns.append((values[:, codes // 2] == 1 - codes % 2).argmax(1))
        return np.stack(columns, 1) if columns else np.zeros((len(values), 0), dtype=np.int64)

    def _in_parts(self, cases: int) -> Iterable[Integers]:
        at_once = max(1, _CELLS // max(1, self.size + self.edges + 2 * self.variables))
        return np.split(np.arange(cases), range(at_once, cases, at_once))


def _spelled_out(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Every row with each −1 as 0 and as 1."""
    for column in range(rows.shape[1]):
        is_open = rows[:, column] < 0
        if is_open.any():
            other = rows[is_open].copy()
            rows = rows.copy()
            rows[is_open, column], other[:, column] = 0, 1
            rows = np.concatenate([rows, other])
    return rows


def code_of(literal: int) -> int:
    """The code of a literal of a CNF.

    >>> code_of(3), code_of(-3)
    (4, 5)
    """
    return 2 * (abs(literal) - 1) + (literal < 0)


def codes_of_options(literals: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """The same for all options of all variables."""
    return tuple(tuple(code_of(literal) for literal in options) for options in literals)
