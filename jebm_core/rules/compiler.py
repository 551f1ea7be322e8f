"""From bound formulas to one diagram.

Short formulas become clauses, which are compiled many at a time; sums, tables and everything nested are compiled by
themselves; then all are intersected, neighbours first. The order of the variables comes from the formulas
(`jebm_core.rules.ordering`), but for rankings, whose layers are the places from the first to the last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import final

import numpy as np
import numpy.typing as npt

from jebm_core.errors import Phrase
from jebm_core.rules.bound import Before, Beside, Between, Bound, Every, Negation, Rows, Some, Sum, Takes, variables_of
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.clauses import Clause, clauses_of
from jebm_core.rules.diagram import (
    Diagram,
    any_of_each,
    canonical,
    combine,
    counted,
    everything,
    negated,
    nothing,
    one_of_rows,
    stretched,
)
from jebm_core.rules.ordering import force_order

_CHUNK = 12
"""Clauses that are compiled in one pass: the states are sets of them."""


@final
class Compiler:
    """Compiles formulas over variables with so many options each.

    Args:
        sizes: options of every variable.
        order: of the variables, from the root.
        places: how many variables, the first ones, are the places of a ranking: they all have different items.
    """

    def __init__(self, sizes: Sequence[int], order: Sequence[int], budget: Budget, *, places: int = 0) -> None:
        self.sizes, self.order, self.budget, self.places = tuple(sizes), tuple(order), budget, places
        self.rank = [0] * len(sizes)
        for place, variable in enumerate(order):
            self.rank[variable] = place

    def sorted(self, variables: Sequence[int] | frozenset[int]) -> list[int]:
        """In the order of the diagram."""
        return sorted(variables, key=lambda variable: self.rank[variable])

    def diagram(self, formula: Bound) -> Diagram:
        """The diagram of one formula, over its own variables alone (over all places where it speaks of orders)."""
        clauses = clauses_of(formula, self.sizes)
        if clauses is not None and len(clauses) <= _CHUNK:
            return self._of_clauses(clauses)
        match formula:
            case Negation(part):
                return negated(self.diagram(part), self.budget)
            case Every(parts) | Some(parts):
                operation = "and" if isinstance(formula, Every) else "or"
                found = [self.diagram(part) for part in parts]
                return reduce(lambda a, b: combine(a, b, operation, self.rank, self.budget), found)
            case Between(low, high, parts):
                return self._between(low, high, parts)
            case Sum(low, high, weights):
                given: dict[int, Sequence[int]] = dict(weights)
                return counted({v: given[v] for v in self.sorted(frozenset(given))}, low, high, self.budget)
            case Rows(variables, rows):
                return self._rows(variables, rows)
            case Before(first, second):
                return _before(first, second, self.places)
            case Beside(first, second):
                return _beside(first, second, self.places)
        raise AssertionError(formula)  # every short form was handled above

    def _of_clauses(self, clauses: Sequence[Clause]) -> Diagram:
        if any(not clause for clause in clauses):
            return nothing((), ())
        return any_of_each(clauses, self.order, self.sizes) if clauses else everything((), ())

    def _between(self, low: int, high: int | None, parts: Sequence[Bound]) -> Diagram:
        single = [part for part in parts if isinstance(part, Takes)]
        if len(single) == len(parts) and len({part.variable for part in single}) == len(parts):
            chosen = {part.variable: part.options for part in single}
            weights = {v: [int(o in chosen[v]) for o in range(self.sizes[v])] for v in self.sorted(frozenset(chosen))}
            return counted(weights, low, high, self.budget)
        # exactly[n] of the parts so far; the last one means "n or more, of which nothing else matters".
        most = low if high is None else high + 1
        exactly = [everything((), ()), *(nothing((), ()) for _ in range(most))]
        for part in parts:
            holds = self.diagram(part)
            fails = negated(holds, self.budget)
            moved = []
            for n in range(most + 1):
                stays = exactly[n] if n == most else self._and(exactly[n], fails)
                arrives = self._and(exactly[n - 1], holds) if n else nothing((), ())
                moved.append(combine(stays, arrives, "or", self.rank, self.budget))
            exactly = moved
        wanted = exactly[low : most + 1] if high is None else exactly[low : high + 1]
        return reduce(lambda a, b: combine(a, b, "or", self.rank, self.budget), wanted, nothing((), ()))

    def _and(self, a: Diagram, b: Diagram) -> Diagram:
        return combine(a, b, "and", self.rank, self.budget)

    def _rows(self, variables: Sequence[int], rows: Sequence[Sequence[int]]) -> Diagram:
        order = self.sorted(tuple(variables))
        if not rows:
            return nothing((), ())
        table = np.array(rows, dtype=np.int64)[:, [variables.index(v) for v in order]]
        found = []
        for pattern in np.unique(table < 0, axis=0):  # rows with the same open cells are one table
            alike = table[((table < 0) == pattern).all(1)][:, ~pattern]
            named = [v for v, is_open in zip(order, pattern, strict=True) if not is_open]
            found.append(one_of_rows(named, alike, self.sizes) if named else everything((), ()))
        return reduce(lambda a, b: combine(a, b, "or", self.rank, self.budget), found)

    def conjunction(self, demands: Sequence[tuple[Bound, int]]) -> Diagram:
        """All formulas at once, over all variables. The numbers say which rule each formula comes from.

        Raises:
            RuleTooLarge: the budget was exceeded; knows at which rules.
        """
        parts = self._parts(demands)
        done, work = 0, max(1, len(parts))
        while len(parts) > 1:
            merged = []
            for left, right in zip(parts[::2], parts[1::2], strict=False):
                merged.append(_named(left, right, lambda a=left, b=right: self._and(a.diagram, b.diagram)))
                done += 1
                self.budget.report(0.9 * done / work)
            parts = [*merged, *([parts[-1]] if len(parts) % 2 else [])]
        found = parts[0].diagram if parts else everything((), ())
        found = _guarded(parts[0].rules if parts else frozenset(), lambda: self.finished(found))
        self.budget.report(1.0)
        return found

    def finished(self, a: Diagram) -> Diagram:
        """The same over all variables; of a ranking, what has every item in one place."""
        whole = stretched(a, self.order, self.sizes)
        return _all_different(whole, self.places, self.budget) if self.places else whole

    def _parts(self, demands: Sequence[tuple[Bound, int]]) -> "list[_Part]":
        """Diagrams of chunks of clauses, neighbours together, and of everything else; the widest come last."""
        short: dict[tuple[tuple[int, tuple[int, ...]], ...], tuple[Clause, int]] = {}
        large: list[_Part] = []
        for formula, rule in demands:
            clauses = clauses_of(formula, self.sizes)
            if clauses is None:
                large.append(_Part(_guarded(frozenset((rule,)), lambda f=formula: self.diagram(f)), frozenset((rule,))))
                continue
            for clause in clauses:
                key = tuple(sorted((v, tuple(sorted(options))) for v, options in clause.items()))
                short.setdefault(key, (clause, rule))
        if () in short:
            return [_Part(nothing((), ()), frozenset((short[()][1],)))]
        ranked = sorted(short.values(), key=lambda entry: self._span(entry[0]))
        chunks = [ranked[start : start + _CHUNK] for start in range(0, len(ranked), _CHUNK)]
        found = []
        for chunk in chunks:
            rules = frozenset(rule for _, rule in chunk)
            found.append(_Part(_guarded(rules, lambda c=chunk: self._of_clauses([e[0] for e in c])), rules))
        large.sort(key=lambda part: (len(part.diagram.order), part.diagram.nodes))
        return [*found, *large]

    def _span(self, clause: Clause) -> tuple[int, int]:
        places = [self.rank[variable] for variable in clause]
        return max(places), min(places)


class RuleTooLarge(Exception):
    """The budget was exceeded while these rules were put together."""

    def __init__(self, rules: frozenset[int], reason: Phrase) -> None:
        self.rules, self.reason = rules, reason
        super().__init__(str(reason))


@dataclass(frozen=True)
class _Part:
    diagram: Diagram
    rules: frozenset[int]


def _named(left: _Part, right: _Part, build: Callable[[], Diagram]) -> _Part:
    rules = left.rules | right.rules
    return _Part(_guarded(right.rules, build), rules)


def _guarded(rules: frozenset[int], build: Callable[[], Diagram]) -> Diagram:
    try:
        return build()
    except TooLarge as error:
        raise RuleTooLarge(rules, error.reason) from error


def order_for(sizes: Sequence[int], demands: Sequence[tuple[Bound, int]]) -> list[int]:
    """An order of the variables that suits the formulas; sums over nearly everything have no say in it."""
    scopes = []
    for formula, _ in demands:
        clauses = clauses_of(formula, sizes)
        if clauses is not None:
            scopes.extend(tuple(clause) for clause in clauses)
        elif not isinstance(formula, Sum) or len(formula.weights) <= len(sizes) // 3:
            scopes.append(tuple(variables_of(formula)))
    return force_order(len(sizes), scopes)


# ---- rankings: the layers are places ---------------------------------------------------------------------------------


def _before(first: int, second: int, places: int) -> Diagram:
    """States: 0 it failed, 1 neither was seen, 2 it holds."""
    step = np.ones((3, places), dtype=np.int64)
    step[0], step[2] = 0, 2
    step[1, first], step[1, second] = 2, 0
    return canonical(range(places), [step] * places, 1, np.array([False, False, True]))


def _beside(first: int, second: int, places: int) -> Diagram:
    """States: 0 it failed, 1 neither was seen, 2 one was just seen, 3 it holds."""
    step = np.ones((4, places), dtype=np.int64)
    step[0], step[2], step[3] = 0, 0, 3
    step[1, [first, second]] = 2
    step[2, [first, second]] = 3
    return canonical(range(places), [step] * places, 1, np.array([False, False, False, True]))


def _all_different(a: Diagram, places: int, budget: Budget) -> Diagram:
    """``a`` and no item in two places: states are a node and the set of items used."""
    if a.root == 0:
        return a
    node, used = np.array([a.root], dtype=np.int64), np.array([0], dtype=np.int64)
    tables = []
    for variable, table in zip(a.order, a.children, strict=True):
        after = table[node].astype(np.int64)
        bit = 1 << np.arange(places, dtype=np.int64) if variable < places else np.zeros(table.shape[1], dtype=np.int64)
        after[(used[:, None] & bit) != 0] = 0
        sets = np.where(after == 0, 0, used[:, None] | bit)
        keys, inverse = _pairs(sets, after)
        budget.spend(len(keys))
        used, node = keys[:, 0], keys[:, 1]
        tables.append(inverse)
    return canonical(a.order, tables, 0, node == 1)


def _pairs(
    first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(distinct pairs, which of them each cell is)."""
    kinds, small = np.unique(first, return_inverse=True)
    size = int(second.max(initial=0)) + 1
    keys, inverse = np.unique(small.reshape(first.shape) * size + second, return_inverse=True)
    return np.stack([kinds[keys // size], keys % size], 1), inverse.reshape(first.shape)
