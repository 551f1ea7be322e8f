"""Layered multi-valued decision diagrams: a set of combinations as arrays, one layer a variable.

Every combination is a path: in layer l it takes the edge of the option that variable ``order[l]`` has, from node n to
node ``children[l][n, option]`` of the next layer. Node 0 of every layer is dead (nothing valid passes it); behind the
last layer node 1 is *true*. No layer is skipped, so every pass over a diagram is one gather a layer, and nodes that
accept the same rest are one node: the diagram of a set is unique for an order.

Cost of combining two diagrams: the number of pairs of nodes that are reached together.

Sources: Bryant, *Graph-Based Algorithms for Boolean Function Manipulation*, IEEE ToC 1986; Kam, Villa, Brayton,
Sangiovanni-Vincentelli, *Multi-valued decision diagrams: theory and applications*, 1998.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from jebm_core.rules.budget import Budget

Table = npt.NDArray[np.int64]
"""Children of a layer's nodes, [node, option]."""


@final
@dataclass(frozen=True, eq=False)
class Diagram:
    """A set of combinations of the variables in ``order``. Made by the functions of this module.

    Attributes:
        order: the variable of each layer.
        children: int32 [node, option] of each layer.
        root: 1, or 0 where nothing is valid.
    """

    order: tuple[int, ...]
    children: tuple[npt.NDArray[np.int32], ...]
    root: int = 1

    @property
    def nodes(self) -> int:
        """How many nodes it has, the dead ones not counted."""
        return sum(len(table) - 1 for table in self.children)

    @property
    def edges(self) -> int:
        """Edges, those that lead nowhere included: what every pass costs."""
        return sum(table.size for table in self.children)

    @cached_property
    def full(self) -> tuple[int, ...]:
        """In each layer, and behind the last, the node that accepts everything; −1 where there is none."""
        found = [1]
        for table in reversed(self.children):
            rows = np.flatnonzero((table == found[-1]).all(1)) if found[-1] > 0 else np.array([], dtype=np.int64)
            found.append(int(rows[0]) if len(rows) else -1)
        return tuple(reversed(found))

    @property
    def is_everything(self) -> bool:
        """Whether every combination is in the set."""
        return self.root == 1 and self.full[0] == 1

    def count(self) -> int:
        """How many combinations are in the set, exactly, for numbers of any size.

        >>> at_most_one = counted({0: (0, 1), 1: (0, 1), 2: (0, 1)}, 0, 1)
        >>> at_most_one.count()
        4
        """
        ways = np.array([0, 1], dtype=object)
        for table in reversed(self.children):
            ways = ways[table].sum(1)
        return int(ways[self.root]) if self.children else self.root

    def contains(self, codes: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Whether each row of options, [row, variable], is in the set; columns are numbered by variable."""
        node = np.full(len(codes), self.root, dtype=np.int64)
        for variable, table in zip(self.order, self.children, strict=True):
            node = table[node, codes[:, variable]]
        return node == 1

    def listing(self) -> npt.NDArray[np.int64]:
        """Every combination of the set once, [combination, layer], in the order of the layers."""
        node, rows = np.array([self.root]), np.zeros((1, 0), dtype=np.int64)
        if self.root == 0:
            return np.zeros((0, len(self.order)), dtype=np.int64)
        for table in self.children:
            parent, option = np.nonzero(table[node])
            rows = np.concatenate([rows[parent], option[:, None]], 1)
            node = table[node[parent], option]
        return rows


# ---- from raw tables to a diagram ------------------------------------------------------------------------------------


def canonical(order: Sequence[int], tables: Sequence[Table], root: int, accepts: npt.NDArray[np.bool_]) -> Diagram:
    """The diagram of raw tables whose nodes have any numbers; ``accepts`` tells which of the last ones are true."""
    number: npt.NDArray[np.int64] = accepts.astype(np.int64)
    reduced: list[Table] = []
    for table in reversed(tables):
        rows = number[table]
        first, inverse = _distinct_rows(rows)
        unique = rows[first]
        dead = (unique == 0).all(1)
        rank = np.where(dead, 0, np.cumsum(~dead))
        number = rank[inverse]
        kept = np.zeros((int((~dead).sum()) + 1, rows.shape[1]), dtype=np.int64)
        kept[rank[~dead]] = unique[~dead]
        reduced.append(kept)
    reduced.reverse()
    return _reachable(tuple(order), reduced, int(number[root]))


def _reachable(order: tuple[int, ...], tables: list[Table], root: int) -> Diagram:
    """Leave out what no path from the root passes, and number the rest."""
    if root == 0:
        nothing = tuple(np.zeros((1, table.shape[1]), dtype=np.int32) for table in tables)
        return Diagram(order, nothing, 0)
    kept, here = [], np.array([root])
    for layer, table in enumerate(tables):
        rows = table[here]
        if layer + 1 < len(tables):
            alive = np.zeros(len(tables[layer + 1]), dtype=bool)
            alive[rows.ravel()] = True
            alive[0] = False
            number = np.cumsum(alive)
            number[~alive] = 0
            rows, here = number[rows], np.flatnonzero(alive)
        dead = np.zeros((1, rows.shape[1]), dtype=np.int64)
        kept.append(np.concatenate([dead, rows]).astype(np.int32))
    return Diagram(order, tuple(kept), 1)


def _distinct_rows(rows: Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(index of the first of each kind of row, the kind of every row)."""
    key = rows[:, 0] if rows.shape[1] else np.zeros(len(rows), dtype=np.int64)
    for column in rows.T[1:]:
        size = int(column.max(initial=0)) + 1
        if int(key.max(initial=0)) >= 2**62 // size:
            key = np.unique(key, return_inverse=True)[1].reshape(-1)
        key = key * size + column
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    return first, inverse.reshape(-1)


# ---- combining -------------------------------------------------------------------------------------------------------

Operation = Literal["and", "or", "xor"]


def combine(a: Diagram, b: Diagram, operation: Operation, rank: Sequence[int], budget: Budget) -> Diagram:
    """a ∧ b, a ∨ b or a ⊕ b over the variables of both; ``rank`` is every variable's place in the common order.

    Raises:
        TooLarge: more pairs of nodes than the budget allows.
    """
    order = sorted({*a.order, *b.order}, key=lambda variable: rank[variable])
    place_a = {variable: layer for layer, variable in enumerate(a.order)}
    place_b = {variable: layer for layer, variable in enumerate(b.order)}
    left, right = np.array([a.root], dtype=np.int64), np.array([b.root], dtype=np.int64)
    tables, at_a, at_b = [], 0, 0
    for variable in order:
        in_a, in_b = variable in place_a, variable in place_b
        options = (a.children[at_a] if in_a else b.children[at_b]).shape[1]
        pairs_a = a.children[at_a][left].astype(np.int64) if in_a else np.repeat(left[:, None], options, 1)
        pairs_b = b.children[at_b][right].astype(np.int64) if in_b else np.repeat(right[:, None], options, 1)
        at_a, at_b = at_a + in_a, at_b + in_b
        if operation == "and":
            dead = (pairs_a == 0) | (pairs_b == 0)
            pairs_a[dead] = pairs_b[dead] = 0
        elif operation == "or":
            pairs_b[pairs_a == a.full[at_a]] = 0
            pairs_a[pairs_b == b.full[at_b]] = 0
        size = int(pairs_b.max(initial=0)) + 1
        keys, inverse = np.unique(pairs_a * size + pairs_b, return_inverse=True)
        budget.spend(len(keys))
        left, right = keys // size, keys % size
        tables.append(inverse.reshape(pairs_a.shape).astype(np.int64))
    truth_a, truth_b = left == 1, right == 1
    accepts = {"and": truth_a & truth_b, "or": truth_a | truth_b, "xor": truth_a ^ truth_b}[operation]
    if not order:
        return Diagram((), (), int(accepts[0]))
    return canonical(order, tables, 0, accepts)


def negated(a: Diagram, budget: Budget) -> Diagram:
    """Everything that ``a`` leaves out, over the same variables."""
    rank = np.zeros(max(a.order, default=0) + 1, dtype=np.int64)
    rank[list(a.order)] = np.arange(len(a.order))
    return combine(everything(a.order, [table.shape[1] for table in a.children]), a, "xor", rank.tolist(), budget)


def everything(order: Sequence[int], sizes: Sequence[int]) -> Diagram:
    """All combinations of variables with so many options."""
    tables = tuple(np.stack([np.zeros(size), np.ones(size)]).astype(np.int32) for size in sizes)
    return Diagram(tuple(order), tables)


def nothing(order: Sequence[int], sizes: Sequence[int]) -> Diagram:
    """No combination."""
    return Diagram(tuple(order), tuple(np.zeros((1, size), dtype=np.int32) for size in sizes), 0)


def restricted(a: Diagram, variable: int, option: int) -> Diagram:
    """What remains of ``a`` where a variable has this option; the variable itself is left out."""
    layer = a.order.index(variable)
    through = a.children[layer][:, option].astype(np.int64)
    tables = [table.astype(np.int64) for table in a.children]
    order = (*a.order[:layer], *a.order[layer + 1 :])
    if not order:
        return Diagram((), (), int(through[a.root]))
    root = int(through[a.root]) if layer == 0 else a.root
    if layer > 0:
        tables[layer - 1] = through[tables[layer - 1]]
    del tables[layer]
    return canonical(order, tables, root, np.array([False, True]))


def without(a: Diagram, variable: int, rank: Sequence[int], budget: Budget) -> Diagram:
    """∃ variable: a – what the other variables may be."""
    layer = a.order.index(variable)
    found = restricted(a, variable, 0)
    for option in range(1, a.children[layer].shape[1]):
        found = combine(found, restricted(a, variable, option), "or", rank, budget)
    return found


def stretched(a: Diagram, order: Sequence[int], sizes: Sequence[int]) -> Diagram:
    """The same set over more variables, on which nothing depends; ``order`` holds those of ``a`` in their order."""
    if a.root == 0:
        return nothing(order, [sizes[variable] for variable in order])
    tables, at = [], 0
    for variable in order:
        if at < len(a.order) and a.order[at] == variable:
            tables.append(a.children[at])
            at += 1
        else:
            nodes = len(a.children[at]) if at < len(a.children) else 2
            tables.append(np.repeat(np.arange(nodes, dtype=np.int32)[:, None], sizes[variable], 1))
    return Diagram(tuple(order), tuple(tables))


# ---- constraints as diagrams -----------------------------------------------------------------------------------------


def counted(
    weights: Mapping[int, Sequence[int]], low: int | None, high: int | None, budget: Budget | None = None
) -> Diagram:
    """low ≤ Σ weight of the option that each variable has ≤ high; the variables in the order of the dictionary.

    Sums that can no longer leave the bounds are one state, sums that must are dead: at most high − low + (largest
    weight) different sums a layer are alive where weights are positive.
    """
    return canonical(*_sums(weights, low, high, budget or Budget()))


def _sums(
    weights: Mapping[int, Sequence[int]], low: int | None, high: int | None, budget: Budget
) -> tuple[list[int], list[Table], int, npt.NDArray[np.bool_]]:
    order, tables = list(weights), []
    table = [np.asarray(weights[variable], dtype=np.int64) for variable in order]
    least = np.concatenate([np.cumsum([w.min() for w in table][::-1])[::-1], [0]])
    most = np.concatenate([np.cumsum([w.max() for w in table][::-1])[::-1], [0]])
    bottom = int(least[0]) - 1 if low is None else low
    top = int(most[0]) + 1 if high is None else high
    # States: 0 dead, 1 free (nothing can go wrong any more), 2 … the sums that matter.
    sums = np.array([0], dtype=np.int64)
    if least[0] >= bottom and most[0] <= top:
        sizes = [len(w) for w in table]
        return order, [np.zeros((1, n), dtype=np.int64) for n in sizes], 0, np.array([True])
    for layer, w in enumerate(table):
        after = sums[:, None] + w
        dead = (after + most[layer + 1] < bottom) | (after + least[layer + 1] > top)
        free = (after + least[layer + 1] >= bottom) & (after + most[layer + 1] <= top)
        values, inverse = np.unique(np.where(dead | free, 0, after), return_inverse=True)
        budget.spend(len(values))
        state = np.where(dead, 0, np.where(free, 1, inverse.reshape(after.shape) + 2))
        ends = np.array([[0] * len(w), [1] * len(w)], dtype=np.int64)
        tables.append(np.concatenate([ends, state]))
        sums = values
    accepts = np.zeros(2 + len(sums), dtype=bool)
    accepts[1] = True
    return order, tables, 2, accepts


def any_of_each(clauses: Sequence[dict[int, frozenset[int]]], order: Sequence[int], sizes: Sequence[int]) -> Diagram:
    """All clauses hold; a clause holds where one of its variables has one of its options.

    States are the sets of clauses that hold already; those whose last variable is past are forgotten. At most 62
    clauses at a time.
    """
    used = {variable for clause in clauses for variable in clause}
    variables = [variable for variable in order if variable in used]
    place = {variable: layer for layer, variable in enumerate(variables)}
    last = [max(place[variable] for variable in clause) for clause in clauses]
    states, tables = np.array([0], dtype=np.int64), []
    for layer, variable in enumerate(variables):
        holds = np.zeros(sizes[variable], dtype=np.int64)
        for bit, clause in enumerate(clauses):
            holds[list(clause.get(variable, ()))] |= 1 << bit
        ending = sum(1 << bit for bit, at in enumerate(last) if at == layer)
        after = states[:, None] | holds
        dead = (after & ending) != ending
        states, inverse = np.unique(np.where(dead, 0, after & ~ending), return_inverse=True)
        state = np.where(dead, 0, inverse.reshape(after.shape) + 1)
        tables.append(np.concatenate([np.zeros((1, sizes[variable]), dtype=np.int64), state]))
    accepts = np.ones(1 + len(states), dtype=bool)
    accepts[0] = False
    return canonical(variables, tables, 1, accepts)


def one_of_rows(variables: Sequence[int], rows: npt.NDArray[np.int64], sizes: Sequence[int]) -> Diagram:
    """The variables, in this order, have the options of one of the rows."""
    group, tables = np.zeros(len(rows), dtype=np.int64), []
    groups = 1
    for column, variable in enumerate(variables):
        key = group * sizes[variable] + rows[:, column]
        values, inverse = np.unique(key, return_inverse=True)
        table = np.zeros((groups, sizes[variable]), dtype=np.int64)
        table[values // sizes[variable], values % sizes[variable]] = np.arange(1, len(values) + 1)
        if column:
            table = np.concatenate([np.zeros((1, sizes[variable]), dtype=np.int64), table])
        tables.append(table)
        group, groups = inverse.reshape(-1), len(values)
    accepts = np.ones(groups + 1, dtype=bool)
    accepts[0] = False
    return canonical(variables, tables, 0, accepts)
