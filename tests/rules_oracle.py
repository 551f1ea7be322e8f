"""The slow, obvious meaning of rules: every combination is listed, and every formula is evaluated on it.

A combination is a frozenset of names (subsets), a dict from slot to option (configurations), or a tuple of names from
first to last (rankings). Nothing here shares code with the compiler.
"""

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Chosen,
    Compare,
    Condition,
    Count,
    Formula,
    Implies,
    Not,
    Or,
    Place,
    RuleSet,
    Size,
    Total,
    Tuples,
)

Combination: TypeAlias = frozenset[str] | dict[str, str] | tuple[str, ...]


def combinations_of(rules: RuleSet) -> Iterator[Combination]:
    """Every combination of what is declared, valid or not; hidden variables are variables like the others."""
    names = [variable.name.text for variable in rules.variables]
    match rules.kind:
        case "subsets":
            for bits in itertools.product((False, True), repeat=len(names)):
                yield frozenset(itertools.compress(names, bits))
        case "configurations":
            options = [[option.text for option in variable.options] for variable in rules.variables]
            for chosen in itertools.product(*options):
                yield dict(zip(names, chosen, strict=True))
        case "rankings":
            yield from itertools.permutations(names)
        case None:
            raise ValueError("nothing is declared, so there is nothing to list")


def holds(formula: Formula, combination: Combination, rules: RuleSet) -> bool:
    """Whether a formula holds for a combination; the rule set gives the numbers of attributes and what is hidden."""
    match formula:
        case Chosen(name, options):
            value = _value(combination, name.text)
            return value in [option.text for option in options] if options else value == "1"
        case Not(part):
            return not holds(part, combination, rules)
        case And(parts):
            return all(holds(part, combination, rules) for part in parts)
        case Or(parts):
            return any(holds(part, combination, rules) for part in parts)
        case Implies(premise, conclusion):
            return holds(conclusion, combination, rules) or not holds(premise, combination, rules)
        case Count(low, high, parts):
            return _between(low, sum(holds(part, combination, rules) for part in parts), high)
        case Size(low, high):
            visible = [variable.name.text for variable in rules.variables if not variable.hidden]
            return _between(low, sum(_value(combination, name) == "1" for name in visible), high)
        case Total(attribute, low, high):
            (values,) = (known.values for known in rules.attributes if known.name == attribute)
            total = Fraction(0)
            for name, option, value in values:
                if _value(combination, name.text) == ("1" if option is None else option.text):
                    total += Fraction(value)
            return _between(None if low is None else Fraction(low), total, None if high is None else Fraction(high))
        case Tuples(names, rows, allowed):
            found = [_value(combination, name.text) for name in names]
            inside = any(
                all(cell is None or cell.text == value for cell, value in zip(row, found, strict=True)) for row in rows
            )
            return inside == allowed
        case Above(first, second):
            return _place(combination, first.text) < _place(combination, second.text)
        case Adjacent(first, second):
            return abs(_place(combination, first.text) - _place(combination, second.text)) == 1
        case Place(name, low, high):
            size = len(combination)
            first, last = (end if end > 0 else size + 1 + end for end in (low, high))
            return first <= _place(combination, name.text) <= last


def applies(condition: Condition | None, context: Mapping[str, Decimal | str]) -> bool:
    """Whether a condition holds in a context; no condition always does."""
    match condition:
        case None:
            return True
        case Not(part):
            return not applies(part, context)
        case And(parts):
            return all(applies(part, context) for part in parts)
        case Or(parts):
            return any(applies(part, context) for part in parts)
        case Compare(name, comparison, value):
            found = context[name.text]
            compared = {
                "==": lambda: found == value,
                "!=": lambda: found != value,
                "<": lambda: found < value,
                "<=": lambda: found <= value,
                ">": lambda: found > value,
                ">=": lambda: found >= value,
                "in": lambda: found in value,
            }
            return compared[comparison]()


def models(rules: RuleSet) -> list[Combination]:
    """The combinations that obey every rule which allows no exception and applies in every context."""
    hard = [rule.formula for rule in rules.rules if rule.weight is None and rule.where is None]
    return [
        combination
        for combination in combinations_of(rules)
        if all(holds(formula, combination, rules) for formula in hard)
    ]


def _value(combination: Combination, name: str) -> str:
    """What a slot has, and of an item whether it is in the set: "1" or "0"."""
    if isinstance(combination, dict):
        return combination[name]
    return "1" if name in combination else "0"


def _place(combination: Combination, name: str) -> int:
    assert isinstance(combination, tuple)
    return combination.index(name) + 1


def _between(low, value, high) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)
