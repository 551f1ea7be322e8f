"""DIMACS CNF: clauses over numbered variables, which comment lines name.

``c 7 Motor=servo`` makes variable 7 an option of a slot, ``c 7 pump`` an item. What no comment names is *hidden*.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from jebm_core.errors import RuleError
from jebm_core.rules.language import Chosen, Formula, Name, Not, Or, Rule, RuleSet, Tuples, Variable
from jebm_core.rules.notation.dimacs_text import Clauses, read_clauses
from jebm_core.rules.notation.dimacs_writing import write_dimacs

__all__ = ["read_dimacs", "write_dimacs"]


@final
@dataclass(frozen=True)
class _Literal:
    """What a variable stands for: an item (no option), or an option of a slot; ``only`` where the slot was an item."""

    name: str
    option: str | None
    only: bool


def read_dimacs(text: str, source: str) -> RuleSet:
    """Read a DIMACS CNF file.

    Without names of the form ``slot=option`` the named variables are items. With them they are options of slots, a
    plain name is a slot with the options 0 and 1, and the clauses by which a slot has exactly one option must be there;
    they are implied by the kind *configurations* and dropped.

    A table of allowed rows is usually written with one unnamed variable t for each row: (t₁ ∨ t₂ ∨ …), and (¬t ∨ l) for
    every literal l of the row of t. Where the rows give a value to the same variables and differ, so that at most one
    row can hold, exactly one t is true in every model: the t are determined by the named variables, and dropping them
    for a table leaves the number of models as it is. Unnamed variables of every other kind stay, hidden.

    Raises:
        RuleError: something that is no DIMACS CNF, or a slot of which the file does not say that it has one option.

    >>> rules = read_dimacs("c 1 A\\nc 2 B\\np cnf 2 1\\n-1 2 0\\n", "r.cnf")
    >>> rules.kind, [variable.name.text for variable in rules.variables], len(rules.rules)
    ('subsets', ['A', 'B'], 1)
    """
    cnf = read_clauses(text, source)
    meaning = _meaning(cnf, source)
    kind = "configurations" if any(literal.option is not None for literal in meaning.values()) else "subsets"
    implied = _exactly_one(cnf, meaning, source)
    tables, replaced, gone = _tables(cnf, meaning)
    rules = [
        Rule(_clause(clause, meaning, line), line=line)
        for index, (clause, line) in enumerate(zip(cnf.clauses, cnf.lines, strict=True))
        if index not in implied and index not in replaced
    ]
    variables = _variables(cnf, meaning, gone)
    return RuleSet(kind, variables, rules=tuple(sorted([*tables, *rules], key=lambda rule: rule.line)), source=source)


def _meaning(cnf: Clauses, source: str) -> dict[int, _Literal]:
    """What every variable stands for; unnamed ones have names that begin with #."""
    parts = {variable: name.partition("=") for variable, (name, _) in cnf.names.items()}
    slots = {slot for slot, sign, _ in parts.values() if sign}
    plain = {name for name, sign, _ in parts.values() if not sign}
    for variable, (slot, sign, option) in parts.items():
        if (sign and not (slot and option)) or (not sign and slot in slots):
            raise RuleError(
                "{source}, line {line}: expected a name of its own, or a slot and its option such as Motor=servo, "
                "found {found!r}. Change the name.",
                line=cnf.names[variable][1],
                source=source,
                found=cnf.names[variable][0],
            )
    taken = slots | plain
    meaning: dict[int, _Literal] = {}
    for variable in range(1, cnf.count + 1):
        if variable in parts and parts[variable][1]:
            slot, _, option = parts[variable]
            meaning[variable] = _Literal(slot, option, False)
        else:
            name = parts[variable][0] if variable in parts else f"#{variable}"
            while variable not in parts and name in taken:
                name = f"#{name}"
            meaning[variable] = _Literal(name, "1" if slots else None, True)
    return meaning


def _variables(cnf: Clauses, meaning: dict[int, _Literal], gone: set[int]) -> tuple[Variable, ...]:
    slots: dict[str, list[Name]] = {}
    first: dict[str, int] = {}
    for variable, literal in meaning.items():
        if variable not in gone:
            first.setdefault(literal.name, variable)
            options = slots.setdefault(literal.name, [])
            if literal.option is not None:
                options += [Name("0"), Name("1")] if literal.only else [Name(literal.option)]
    lines = {name: cnf.names[variable][1] if variable in cnf.names else 0 for name, variable in first.items()}
    return tuple(
        Variable(Name(name, lines[name], int(lines[name] > 0)), tuple(options), first[name] not in cnf.names)
        for name, options in slots.items()
    )


def _exactly_one(cnf: Clauses, meaning: dict[int, _Literal], source: str) -> set[int]:
    """The clauses that only say that each slot has exactly one of its options."""
    slots: dict[str, list[int]] = defaultdict(list)
    for variable, literal in meaning.items():
        if not literal.only:
            slots[literal.name].append(variable)
    one_of = {frozenset(variables): slot for slot, variables in slots.items()}
    implied: set[int] = set()
    said: set[frozenset[int]] = set()
    for index, clause in enumerate(cnf.clauses):
        literals = frozenset(clause)
        if literals in one_of:
            implied.add(index)
            said.add(literals)
        elif len(literals) == 2 and max(literals) < 0:
            first, second = (meaning[-literal] for literal in literals)
            if first.name == second.name:
                implied.add(index)
                said.add(literals)
    for literals, slot in one_of.items():
        if literals not in said:
            raise RuleError(
                "{source}: the file does not say that slot {slot!r} has one of its {count} options. Add the clause "
                "'{clause} 0'.",
                source=source,
                slot=slot,
                count=len(literals),
                clause=" ".join(str(variable) for variable in sorted(literals)),
            )
        for first, second in itertools.combinations(sorted(literals), 2):
            if frozenset((-first, -second)) not in said:
                raise RuleError(
                    "{source}: the file does not say that slot {slot!r} has at most one of {first!r} and {second!r}. "
                    "Add the clause '{clause} 0'.",
                    source=source,
                    slot=slot,
                    first=meaning[first].option,
                    second=meaning[second].option,
                    clause=f"-{first} -{second}",
                )
    return implied


# ---- clauses ---------------------------------------------------------------------------------------------------------


def _clause(clause: Iterable[int], meaning: dict[int, _Literal], line: int) -> Formula:
    """At least one of the literals; the options of one slot together."""
    parts: dict[object, Formula] = {}
    for literal in clause:
        what = meaning[abs(literal)]
        name = Name(what.name, line, 1)
        options = () if what.option is None else (Name(what.option, line, 1),)
        if literal < 0:
            parts[literal] = Not(Chosen(name, options))
            continue
        known = parts.get(what.name)
        if isinstance(known, Chosen):
            options = known.options + tuple(option for option in options if option not in known.options)
        parts[what.name] = Chosen(name, options)
    formulas = tuple(parts.values())
    return formulas[0] if len(formulas) == 1 else Or(formulas)


def _tables(cnf: Clauses, meaning: dict[int, _Literal]) -> tuple[list[Rule], set[int], set[int]]:
    """Tables in disguise, the clauses that they stand for, and the unnamed variables that they make superfluous."""
    positive: dict[int, list[int]] = defaultdict(list)
    negative: dict[int, list[int]] = defaultdict(list)
    for index, clause in enumerate(cnf.clauses):
        for literal in clause:
            if abs(literal) not in cnf.names:
                (positive if literal > 0 else negative)[abs(literal)].append(index)
    order = {what.name: variable for variable, what in reversed(meaning.items())}
    rules: list[Rule] = []
    replaced: set[int] = set()
    gone: set[int] = set()
    for index, clause in enumerate(cnf.clauses):
        if not all(literal in positive and positive[literal] == [index] for literal in clause):
            continue
        rows = [
            _row(variable, [cnf.clauses[place] for place in negative[variable]], cnf, meaning) for variable in clause
        ]
        names = _columns(rows, order)
        if names:
            line = cnf.lines[index]
            cells = tuple(tuple(Name(row[name], line, 1) for name in names) for row in rows if row is not None)
            rules.append(Rule(Tuples(tuple(Name(name, line, 1) for name in names), cells), line=line))
            replaced.add(index)
            replaced.update(place for variable in clause for place in negative[variable])
            gone.update(clause)
    return rules, replaced, gone


def _row(
    variable: int, clauses: list[tuple[int, ...]], cnf: Clauses, meaning: dict[int, _Literal]
) -> dict[str, str] | None:
    """The options that follow from an unnamed variable; None unless they follow as from a row of a table."""
    row: dict[str, str] = {}
    for clause in clauses:
        others = [literal for literal in clause if literal != -variable]
        if len(clause) != 2 or len(others) != 1 or abs(others[0]) not in cnf.names:
            return None
        what = meaning[abs(others[0])]
        if others[0] < 0 and not what.only:
            return None  # one option less leaves several others
        option = what.option or "1"
        value = option if others[0] > 0 else "0"
        if row.setdefault(what.name, value) != value:
            return None
    return row


def _columns(rows: list[dict[str, str] | None], order: dict[str, int]) -> list[str]:
    """The names that every row gives an option, if they are the same and no two rows agree; else none."""
    first = rows[0] if rows else None
    if not first or any(row is None or row.keys() != first.keys() for row in rows):
        return []
    names = sorted(first, key=lambda name: order[name])
    distinct = {tuple(row[name] for name in names) for row in rows if row is not None}
    return names if len(distinct) == len(rows) else []
