"""Rules as DIMACS CNF, with exactly one model for every combination that obeys them."""

import itertools
from collections.abc import Iterable
from typing import TypeAlias, final

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    And,
    Chosen,
    Compare,
    Condition,
    Count,
    Formula,
    Implies,
    Not,
    Or,
    RuleSet,
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.notation.counting import Node, Step, decisions, spelled_out, whole
from jebm_core.rules.notation.dimacs_text import plain_names
from jebm_core.rules.notation.expressible import check_plain, shortened
from jebm_core.rules.notation.printer import describe

MOST_CLAUSES = 64
"""Clauses that one formula may become without variables of its own."""
MOST_NODES = 200_000
"""Steps of a sum."""

Clause: TypeAlias = frozenset[int]
Literal: TypeAlias = int | bool


def write_dimacs(rules: RuleSet) -> str:
    """Write items or slots and their rules as DIMACS CNF.

    Comment lines ``c N name`` and ``c N slot=option`` name the variables. Small formulas become clauses over these.
    Counts, totals and large formulas get unnamed variables, each of them equivalent to a formula about the named ones,
    so that every combination that obeys the rules is exactly one model.

    Raises:
        RuleError: what CNF has no words for (rankings, preferences, contexts, probabilities), a name that a comment
            line can't hold, or a sum with too many steps.

    >>> from jebm_core.rules.notation.parser import parse_rules
    >>> print(write_dimacs(parse_rules("items A, B\\nA requires B")), end="")
    c 1 A
    c 2 B
    p cnf 2 1
    -1 2 0
    """
    check_plain(rules, "DIMACS CNF")
    cnf = _Cnf(rules)
    for number, rule in enumerate(rules.rules, start=1):
        try:
            cnf.demand(rule.formula)
        except OverflowError:
            raise RuleError(
                "{source}, rule {number} ({rule}): the sum has more than {most} steps, too many for DIMACS CNF. Round "
                "its numbers, or leave the rule out.",
                line=rule.line,
                source=rules.source,
                number=number,
                rule=shortened(describe(rule)),
                most=MOST_NODES,
            ) from None
    names = [f"c {variable} {name}\n" for variable, name in cnf.names.items()]
    clauses = [" ".join([*map(str, sorted(clause, key=abs)), "0\n"]) for clause in cnf.clauses]
    return "".join([*names, f"p cnf {cnf.count} {len(clauses)}\n", *clauses])


@final
class _Cnf:
    """Clauses as they come to be: ``count`` variables so far, of which some have ``names``."""

    def __init__(self, rules: RuleSet) -> None:
        self.count = 0
        self.names: dict[int, str] = {}
        self.clauses: list[list[int]] = []
        self._rules = rules
        self._literals: dict[str, dict[str, int]] = {}
        self._known: dict[Formula, Literal] = {}
        for variable in rules.variables:
            options = [option.text for option in variable.options]
            if not options or (variable.hidden and options == ["0", "1"]):
                literal = self._new()
                self._literals[variable.name.text] = {"1": literal, "0": -literal}
                if not variable.hidden:
                    self.names[literal] = variable.name.text
                continue
            known = {option: self._new() for option in options}
            self._literals[variable.name.text] = known
            self.names |= {literal: f"{variable.name.text}={option}" for option, literal in known.items()}
            self.clauses.append(list(known.values()))
            self.clauses += [[-first, -second] for first, second in itertools.combinations(known.values(), 2)]
        self._check_names()

    def _check_names(self) -> None:
        for name in (variable.name.text for variable in self._rules.variables):
            if "=" in name:
                raise self._unwritable(name)
        for name in self.names.values():
            if name != name.strip() or len(name.splitlines()) != 1:
                raise self._unwritable(name)
        written = list(self.names.values())
        for name, read in zip(written, plain_names(written), strict=True):
            if name != read:
                raise self._unwritable(name)

    def _unwritable(self, name: str) -> RuleError:
        return RuleError(
            "{source}: the name {name!r} can't be written as DIMACS CNF, where a name is one line without white space "
            "at either end, holds no = but that of an option, and not all names end in a type such as bool. Change the "
            "name.",
            source=self._rules.source,
            name=name,
        )

    def _new(self) -> int:
        self.count += 1
        return self.count

    def _add(self, literals: Iterable[Literal]) -> None:
        clause = _clause(literals)
        if clause is not None:
            self.clauses.append(sorted(clause, key=abs))

    # ---- formulas that are demanded ----------------------------------------------------------------------------------

    def demand(self, formula: Formula) -> None:
        """Add clauses by which the formula holds."""
        found = self._distributed(formula, positive=True)
        if found is not None:
            self.clauses += [sorted(clause, key=abs) for clause in found]
        elif isinstance(formula, And):
            for part in formula.parts:
                self.demand(_formula(part))
        elif isinstance(formula, Tuples) and formula.allowed and all(None not in row for row in formula.rows):
            # Rows without gaps exclude one another: a variable that implies its row and one of which holds is enough.
            rows = self._rows(formula)
            held = [self._new() for _ in rows]
            self._add(held)
            for variable, row in zip(held, rows, strict=True):
                for literal in row:
                    self._add((-variable, literal))
        else:
            self._add((self._literal(formula),))

    def _distributed(self, formula: Formula, *, positive: bool) -> list[Clause] | None:
        """The formula, or its opposite, as at most 64 clauses over named variables; None where it takes more."""
        match formula:
            case Chosen():
                literals = self._options(formula)
                return _clauses(literals) if positive else _joined([_clauses([_opposite(one)]) for one in literals])
            case Not(part):
                return self._distributed(_formula(part), positive=not positive)
            case Implies(premise, conclusion):
                return self._distributed(Or((Not(premise), conclusion)), positive=positive)
            case And(parts) | Or(parts):
                found = [self._distributed(_formula(part), positive=positive) for part in parts]
                known = [clauses for clauses in found if clauses is not None]
                if len(known) < len(found):
                    return None
                return _joined(known) if isinstance(formula, And) == positive else _crossed(known)
            case Count(low, high, parts):
                simple = spelled_out(low, high, parts, MOST_CLAUSES)
                return None if simple is None else self._distributed(simple, positive=positive)
            case Size(low, high):
                return self._distributed(Count(low, high, self._visible()), positive=positive)
            case Tuples(_, _, allowed) if allowed != positive or len(formula.names) == 1:
                rows = self._rows(formula)
                if allowed == positive:
                    return _joined([_clauses([literal for row in rows for literal in row])])
                return _joined([_clauses(map(_opposite, row)) for row in rows])
            case _:
                return None

    # ---- literals that are equivalent to formulas --------------------------------------------------------------------

    def _literal(self, formula: Formula) -> Literal:
        if formula not in self._known:
            self._known[formula] = self._new_literal(formula)
        return self._known[formula]

    def _new_literal(self, formula: Formula) -> Literal:
        match formula:
            case Chosen():
                return self._any(self._options(formula))
            case Not(part):
                return _opposite(self._literal(_formula(part)))
            case And(parts):
                return _opposite(self._any([_opposite(self._literal(_formula(part))) for part in parts]))
            case Or(parts):
                return self._any([self._literal(_formula(part)) for part in parts])
            case Implies(premise, conclusion):
                return self._any([_opposite(self._literal(premise)), self._literal(conclusion)])
            case Tuples(_, _, allowed):
                held = self._any([_opposite(self._any(list(map(_opposite, row)))) for row in self._rows(formula)])
                return held if allowed else _opposite(held)
            case Count(low, high, parts):
                return self._sum([self._alternatives(self._literal(part), 1) for part in parts], low, high)
            case Size(low, high):
                return self._sum([self._alternatives(self._literal(part), 1) for part in self._visible()], low, high)
            case Total():
                return self._total(formula)
            case _:
                raise TypeError(f"{formula} is about a ranking")

    def _any(self, literals: list[Literal]) -> Literal:
        """A literal that is equivalent to: one of these holds."""
        clause = _clause(literals)
        if clause is None or len(clause) <= 1:
            return True if clause is None else next(iter(clause), False)
        variable = self._new()
        self._add((-variable, *clause))
        for literal in sorted(clause, key=abs):
            self._add((variable, -literal))
        return variable

    def _sum(self, steps: list[Step], low: int | None, high: int | None) -> Literal:
        """A literal that is equivalent to: the weights of what holds add up to what lies between the bounds."""
        found = decisions(steps, low, high, MOST_NODES)
        if found is None:
            raise OverflowError
        root, nodes = found
        known: dict[Node | bool, Literal] = {True: True, False: False}
        for node in reversed(nodes):
            leads = [(literal, known[child]) for literal, child in nodes[node]]
            ends = {child for _, child in leads}
            if len(ends) == 1:
                known[node] = leads[0][1]
                continue
            variable = known[node] = self._new()
            for literal, child in leads:
                self._add((_opposite(literal), -variable, child))
                self._add((_opposite(literal), variable, _opposite(child)))
        return known[root]

    def _total(self, formula: Total) -> Literal:
        (values,) = (known.values for known in self._rules.attributes if known.name == formula.attribute)
        *weights, low, high = whole([*(value for _, _, value in values), formula.low, formula.high])
        alternatives: dict[str, dict[int, int]] = {}
        for (name, option, _), weight in zip(values, weights, strict=True):
            known = self._literals[name.text]
            step = alternatives.setdefault(name.text, dict.fromkeys(known.values(), 0))
            step[known["1" if option is None else option.text]] = weight or 0
        return self._sum([list(step.items()) for step in alternatives.values()], low, high)

    @staticmethod
    def _alternatives(literal: Literal, weight: int) -> Step:
        return [(literal, weight), (_opposite(literal), 0)]

    # ---- names -------------------------------------------------------------------------------------------------------

    def _options(self, formula: Chosen) -> list[Literal]:
        known = self._literals[formula.name.text]
        return [known[option.text] for option in formula.options] if formula.options else [known["1"]]

    def _rows(self, formula: Tuples) -> list[list[Literal]]:
        """The literals of each row, every row once."""
        return [
            [
                True if option is None else self._literals[name.text][option.text]
                for name, option in zip(formula.names, row, strict=True)
            ]
            for row in dict.fromkeys(formula.rows)
        ]

    def _visible(self) -> tuple[Chosen, ...]:
        return tuple(Chosen(variable.name) for variable in self._rules.variables if not variable.hidden)


# ---- clauses ---------------------------------------------------------------------------------------------------------


def _opposite(literal: Literal) -> Literal:
    return not literal if isinstance(literal, bool) else -literal


def _clause(literals: Iterable[Literal]) -> Clause | None:
    """The literals as a clause; None where it always holds."""
    found: set[int] = set()
    for literal in literals:
        if literal is True or (not isinstance(literal, bool) and -literal in found):
            return None
        if literal is not False:
            found.add(literal)
    return frozenset(found)


def _clauses(literals: Iterable[Literal]) -> list[Clause]:
    clause = _clause(literals)
    return [] if clause is None else [clause]


def _joined(parts: list[list[Clause]]) -> list[Clause] | None:
    """Clauses by which all parts hold."""
    found = list(dict.fromkeys(clause for clauses in parts for clause in clauses))
    return found if len(found) <= MOST_CLAUSES else None


def _crossed(parts: list[list[Clause]]) -> list[Clause] | None:
    """Clauses by which one of the parts holds."""
    found: list[Clause] = [frozenset()]
    for clauses in parts:
        pairs = [_clause((*left, *right)) for left in found for right in clauses]
        found = list(dict.fromkeys(clause for clause in pairs if clause is not None))
        if len(found) > MOST_CLAUSES:
            return None
    return found


def _formula(part: Formula | Condition) -> Formula:
    assert not isinstance(part, Compare), "a rule is about what is chosen, not about its context"
    return part
