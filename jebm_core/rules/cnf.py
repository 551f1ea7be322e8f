"""Bound rules as clauses over Boolean variables: what a knowledge compiler reads.

A variable with two options is one Boolean variable, one with more is a Boolean variable an option, exactly one of which
holds. Formulas without a short form get Boolean variables of their own, each equivalent to a part of the formula, so
that every combination that obeys the rules is exactly one model.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from jebm_core.rules.bound import Before, Beside, Between, Bound, Every, Negation, Rows, Some, Sum, Takes
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.clauses import clauses_of
from jebm_core.rules.compiler import Compiler
from jebm_core.rules.diagram import Diagram
from jebm_core.rules.problem import Problem

_PAIRWISE = 32
"""Parts of which at most one holds that are written in pairs."""
_MOST_NODES = 400
"""Nodes of a counter or table: larger ones are hard for a compiler of clauses, and no plain logic."""

Literal: TypeAlias = int | bool


@final
@dataclass(frozen=True)
class Cnf:
    """Clauses over the Boolean variables 1 … ``count``.

    Attributes:
        literals: for each variable of the problem, the literal of each of its options.
    """

    count: int
    clauses: tuple[tuple[int, ...], ...]
    literals: tuple[tuple[int, ...], ...]

    def dimacs(self) -> str:
        """As DIMACS CNF, without names.

        >>> print(Cnf(2, ((-1, 2),), ((-1, 1), (-2, 2))).dimacs(), end="")
        p cnf 2 1
        -1 2 0
        """
        lines = [" ".join(map(str, (*clause, 0))) for clause in self.clauses]
        return "\n".join([f"p cnf {self.count} {len(lines)}", *lines]) + "\n"


def plain_logic(problem: Problem) -> Cnf | None:
    """The rules as clauses; None where they are no plain logic: with weights, contexts, rankings, totals, or counts and
    tables so large that clauses don't suit them."""
    if not problem.is_plain or problem.is_ranking:
        return None
    writer = _Writer(problem.sizes)
    try:
        for demand in problem.demands:
            writer.demand(demand.formula)
    except _NoLogicError:
        return None
    return Cnf(writer.count, tuple(writer.clauses), writer.literals)


class _NoLogicError(Exception):
    """A formula that clauses don't suit."""


@final
class _Writer:
    """Clauses as they come to be."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.count = 0
        self.clauses: list[tuple[int, ...]] = []
        self._sizes = tuple(sizes)
        self._known: dict[Bound, Literal] = {}
        literals = []
        for size in sizes:
            own = [self._new() for _ in range(1 if size == 2 else size)]
            literals.append((-own[0], own[0]) if size == 2 else tuple(own))
            if size != 2:
                self._one_of(own)
        self.literals: tuple[tuple[int, ...], ...] = tuple(literals)

    def demand(self, formula: Bound) -> None:
        """Add clauses by which the formula holds."""
        short = clauses_of(formula, self._sizes)
        if short is not None:
            for clause in short:
                self._add(self.literals[v][o] for v, options in clause.items() for o in sorted(options))
            return
        match formula:
            case Every(parts):
                for part in parts:
                    self.demand(part)
            case Between(low, 1, parts) if low <= 1 and len(parts) <= _PAIRWISE:
                found = [self._literal(part) for part in parts]
                for first, second in itertools.combinations(found, 2):
                    self._add((_opposite(first), _opposite(second)))
                if low == 1:
                    self._add(found)
            case _:
                self._add((self._literal(formula),))

    def _new(self) -> int:
        self.count += 1
        return self.count

    def _add(self, literals: Iterable[Literal]) -> None:
        """Add a clause, but for what always holds or never does."""
        given = list(literals)
        kept = dict.fromkeys(literal for literal in given if not isinstance(literal, bool))  # True would pass for 1
        if not any(literal is True for literal in given) and not any(-literal in kept for literal in kept):
            self.clauses.append(tuple(kept))

    def _one_of(self, literals: Sequence[int]) -> None:
        self._add(literals)
        for first, second in itertools.combinations(literals, 2):
            self._add((-first, -second))

    def _literal(self, formula: Bound) -> Literal:
        """A literal that is equivalent to the formula."""
        if formula not in self._known:
            match formula:
                case Takes(variable, options):
                    found = self._any([self.literals[variable][option] for option in sorted(options)])
                case Negation(part):
                    found = _opposite(self._literal(part))
                case Some(parts):
                    found = self._any([self._literal(part) for part in parts])
                case Every(parts):
                    found = _opposite(self._any([_opposite(self._literal(part)) for part in parts]))
                case Between() | Rows():
                    found = self._of_diagram(self._diagram(formula))
                case Sum() | Before() | Beside():
                    raise _NoLogicError
            self._known[formula] = found
        return self._known[formula]

    def _any(self, literals: Sequence[Literal]) -> Literal:
        kept = list(dict.fromkeys(literal for literal in literals if not isinstance(literal, bool)))
        if any(literal is True for literal in literals) or any(-literal in kept for literal in kept):
            return True
        if len(kept) <= 1:
            return kept[0] if kept else False
        holds = self._new()
        self._add((-holds, *kept))
        for literal in kept:
            self._add((holds, -literal))
        return holds

    def _diagram(self, formula: Bound) -> Diagram:
        try:
            found = Compiler(self._sizes, range(len(self._sizes)), Budget(width=_MOST_NODES)).diagram(formula)
        except TooLarge:
            raise _NoLogicError from None
        if found.nodes > _MOST_NODES:
            raise _NoLogicError
        return found

    def _of_diagram(self, diagram: Diagram) -> Literal:
        """Each node is a Boolean variable, equal to that of the child which the option taken leads to."""
        below: list[Literal] = [False, True]
        for variable, table in zip(reversed(diagram.order), reversed(diagram.children), strict=True):
            here: list[Literal] = [False]
            for row in table[1:].tolist():
                leads = [below[child] for child in row]
                if len(set(row)) == 1:
                    here.append(leads[0])
                    continue
                holds = self._new()
                for option, lead in zip(self.literals[variable], leads, strict=True):
                    self._add((-option, -holds, lead))
                    self._add((-option, holds, _opposite(lead)))
                here.append(holds)
            below = here
        return below[diagram.root]


def _opposite(literal: Literal) -> Literal:
    return not literal if isinstance(literal, bool) else -literal
