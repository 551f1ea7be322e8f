"""The text that d4 writes, as a circuit whose two properties are checked.

    o 1 0            node 1 is an *or* node; a: *and*, t: *true*, f: *false*
    1 3 -4 5 0       an edge from node 1 to node 3 that carries the literals −4 and 5

Node 1 is the root. A node with one edge is joined to those above it.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import groupby
from operator import and_, or_
from typing import final

import numpy as np

from jebm_core.rules.dnnf import BrokenCircuit, Dnnf, Level, code_of, codes_of_options

Edge = tuple[int, tuple[int, ...]]


def read_nnf(text: str, variables: int, literals: Sequence[Sequence[int]]) -> Dnnf:
    """Read a circuit over the Boolean variables 1 … ``variables``.

    Args:
        literals: for each variable of the problem, the literal of each of its options.

    Raises:
        BrokenCircuit: the text is no circuit, or the circuit is not deterministic and decomposable.

    >>> circuit = read_nnf("o 1 0\\nt 2 0\\n1 2 1 -2 0\\n1 2 2 0\\n", 2, ((-1, 1), (-2, 2)))
    >>> circuit.count(), circuit.listing().tolist()
    (3, [[1, 0], [0, 1], [1, 1]])
    """
    kinds, edges = _parsed(text)
    return _Builder(kinds, edges, variables).circuit(literals)


def _parsed(text: str) -> tuple[dict[int, str], dict[int, list[Edge]]]:
    kinds: dict[int, str] = {}
    edges: dict[int, list[Edge]] = {}
    try:
        for line in text.splitlines():
            words = line.split()
            if not words:
                continue
            if words[0] in "oatf":
                kinds[int(words[1])] = words[0]
                continue
            parent, child, *carried, end = map(int, words)
            if end:
                raise ValueError(line)
            edges.setdefault(parent, []).append((child, tuple(map(code_of, carried))))
    except (ValueError, IndexError) as error:
        raise BrokenCircuit(f"unreadable line: {error}") from error
    if 1 not in kinds:
        raise BrokenCircuit("no root")
    return kinds, edges


@final
class _Builder:
    """New nodes, numbered as they are made, with what each speaks of. 0 is *false* and 1 *true*."""

    def __init__(self, kinds: dict[int, str], edges: dict[int, list[Edge]], variables: int) -> None:
        self._kinds, self._edges, self._variables = kinds, edges, variables
        self.parts: list[list[Edge]] = [[], []]
        self.is_or = [False, False]
        self.depth = [0, 0]
        self._scope = [0, 0]  # the variables that occur below, as the bits of a number
        self._always = [0, 0]  # those that occur whichever edges are taken

    def circuit(self, literals: Sequence[Sequence[int]]) -> Dnnf:
        """Number nodes by level, *or* nodes first, and lay out their edges."""
        root, carried = self._root()
        if carried:
            root = self._node(False, [(root, carried)])
        always = self._always[root]
        free = np.array([not always >> v & 1 for v in range(self._variables)], dtype=bool)
        order = sorted(self._below(root), key=lambda node: (self.depth[node], not self.is_or[node]))
        number = {0: 0, 1: 1, **{node: place for place, node in enumerate(order, start=2)}}
        parent, edges, levels = [], [], []
        for _, group in groupby(order, key=lambda node: self.depth[node]):
            nodes = list(group)
            ors, ands = [n for n in nodes if self.is_or[n]], [n for n in nodes if not self.is_or[n]]
            start = len(edges)
            for place in (0, 1):
                parent += [number[node] for node in ors]
                edges += [self.parts[node][place] for node in ors]
            middle = len(edges)
            for node in ands:
                parent += [number[node]] * len(self.parts[node])
                edges += self.parts[node]
            first = number[nodes[0]]
            levels.append(Level(first, first + len(ors), first + len(nodes), start, middle, len(edges)))
        return Dnnf(
            self._variables,
            codes_of_options(literals),
            tuple(levels),
            np.array(parent, dtype=np.int64),
            np.array([number[child] for child, _ in edges], dtype=np.int64),
            np.array([e for e, (_, codes) in enumerate(edges) for _ in codes], dtype=np.int64),
            np.array([code for _, codes in edges for code in codes], dtype=np.int64),
            number[root],
            free,
        )

    def _root(self) -> Edge:
        """The root as an edge, and all nodes below it, made from the leaves up without recursion."""
        done: dict[int, Edge] = {}
        entered: set[int] = set()
        waiting = [1]
        while waiting:
            node = waiting[-1]
            if node not in self._kinds:
                raise BrokenCircuit(f"unknown node {node}")
            missing = [child for child, _ in self._edges.get(node, ()) if child not in done]
            if missing and node in entered:
                raise BrokenCircuit("a circle")
            if missing and node not in done:
                entered.add(node)
                waiting.extend(dict.fromkeys(missing))
                continue
            if node not in done:
                edges = [(done[child][0], _together(done[child][1], own)) for child, own in self._edges.get(node, ())]
                done[node] = self._made(self._kinds[node], edges)
            waiting.pop()
        return done[1]

    def _made(self, kind: str, edges: list[Edge]) -> Edge:
        """A node as what edges to it become: constants and nodes with one edge are no nodes of their own."""
        if kind in "tf":
            return int(kind == "t"), ()
        if kind == "o":
            alive = [edge for edge in edges if edge[0] != 0]
            if len(alive) > 2:
                raise BrokenCircuit("an or node with more than two parts")
            if len(alive) < 2:
                return alive[0] if alive else (0, ())
            if not {code ^ 1 for code in alive[0][1]} & set(alive[1][1]):
                raise BrokenCircuit("parts of an or node do not exclude one another")
            return self._node(True, alive), ()
        if any(child == 0 for child, _ in edges):
            return 0, ()
        carried = _together(*(codes for child, codes in edges if child == 1))
        parts = [edge for edge in edges if edge[0] != 1]
        if len(parts) == 1:
            return parts[0][0], _together(carried, parts[0][1])
        if not parts:
            return 1, carried
        if carried:
            parts.append((1, carried))
        return self._node(False, parts), ()

    def _node(self, is_or: bool, edges: list[Edge]) -> int:
        scopes, always = [], []
        for child, codes in edges:
            own = 0
            for code in codes:
                own |= 1 << (code // 2)
            if own & self._scope[child]:
                raise BrokenCircuit("an edge carries a variable that occurs below it")
            scopes.append(own | self._scope[child])
            always.append(own | self._always[child])
        scope = reduce(or_, scopes)
        if not is_or and sum(part.bit_count() for part in scopes) > scope.bit_count():
            raise BrokenCircuit("parts of an and node share a variable")
        self.parts.append(edges)
        self.is_or.append(is_or)
        self.depth.append(1 + max(self.depth[child] for child, _ in edges))
        self._scope.append(scope)
        self._always.append(reduce(and_ if is_or else or_, always))
        return len(self.parts) - 1

    def _below(self, root: int) -> list[int]:
        """The nodes that are reached, constants left out."""
        found, waiting = {root} - {0, 1}, [root]
        while waiting:
            children = {child for child, _ in self.parts[waiting.pop()]} - found - {0, 1}
            found |= children
            waiting += children
        return sorted(found)


def _together(*carried: Sequence[int]) -> tuple[int, ...]:
    codes = tuple(code for part in carried for code in part)
    if len({code // 2 for code in codes}) < len(codes):
        raise BrokenCircuit("a variable occurs twice along an edge, or in two parts of an and node")
    return codes
