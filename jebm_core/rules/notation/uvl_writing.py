"""Rules as UVL, for tools that know features, groups and constraints."""

import itertools
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import final

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    And,
    Chosen,
    Compare,
    Condition,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    RuleSet,
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.notation.counting import spelled_out
from jebm_core.rules.notation.expressible import check_plain

MOST_CLAUSES = 20
"""Clauses that a count may become; a larger one becomes a sum."""

_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = frozenset(
    (
        *("features", "constraints", "namespace", "include", "imports", "as", "cardinality", "constraint", "true"),
        *("mandatory", "optional", "or", "alternative", "Boolean", "Integer", "Real", "String", "false"),
        *("sum", "avg", "len", "floor", "ceil"),
    )
)


def write_uvl(rules: RuleSet) -> str:
    """Write items or slots and their rules as UVL.

    Items are optional features below a root. A slot is a mandatory feature with one alternative feature for each
    option, called ``slot=option``. Counts and totals become ``sum(attribute)``; a count of formulas first gets a
    feature for each formula, which is chosen exactly where the formula holds.

    Raises:
        RuleError: what UVL has no words for (rankings, preferences, contexts, probabilities), or a name that its
            quotes can't hold.

    >>> from jebm_core.rules.notation.parser import parse_rules
    >>> lines = write_uvl(parse_rules("items A, B\\nA requires B")).splitlines()
    >>> [line.strip() for line in lines]
    ['features', 'root', 'optional', 'A', 'B', 'constraints', 'A => B']
    """
    check_plain(rules, "UVL")
    return "".join(f"{line}\n" for line in _Uvl(rules).lines())


@final
class _Uvl:
    """A UVL file as it comes to be: counts may add features and attributes."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._attributes: dict[str, list[str]] = {}
        self._keys = {attribute.name.text for attribute in rules.attributes}
        self._helpers: dict[Formula, str] = {}
        self._constraints: list[str] = []
        self._taken: set[str] = set()
        for variable in rules.variables:
            options = [f"{variable.name.text}={option.text}" for option in variable.options]
            for name in (variable.name.text, *options):
                self._check(name, self._taken)
                self._taken.add(name)
        for key in self._keys:
            self._check(key, set())
        self._root = _fresh("root", self._taken)
        for attribute in rules.attributes:
            for name, option, value in attribute.values:
                self._give(_feature(name, option), attribute.name.text, value)

    def _check(self, name: str, taken: set[str]) -> None:
        if name in taken or any(mark in name for mark in '"\n\r'):
            raise RuleError(
                "{source}: the name {name!r} can't be written as UVL, where names differ, also from names such as "
                "Motor=servo, and hold neither quotes nor line ends. Change the name.",
                source=self._rules.source,
                name=name,
            )

    def lines(self) -> Iterator[str]:
        """The lines of the file."""
        for rule in self._rules.rules:
            self._constraints.append(self._outer(rule.formula))
        yield "features"
        yield f"\t{self._named(self._root)}"
        items = [variable.name.text for variable in self._rules.variables if not variable.options]
        slots = [variable for variable in self._rules.variables if variable.options]
        if items or self._helpers:
            yield "\t\toptional"
            yield from (f"\t\t\t{self._named(item)}" for item in (*items, *self._helpers.values()))
        if slots:
            yield "\t\tmandatory"
        for slot in slots:
            yield f"\t\t\t{self._named(slot.name.text)}"
            yield "\t\t\t\talternative"
            yield from (f"\t\t\t\t\t{self._named(_feature(slot.name, option))}" for option in slot.options)
        if self._constraints:
            yield "constraints"
            yield from (f"\t{constraint}" for constraint in self._constraints)

    def _give(self, feature: str, key: str, value: int | Decimal) -> None:
        self._attributes.setdefault(feature, []).append(f"{_quoted(key)} {value:f}")

    def _named(self, feature: str) -> str:
        """The line of a feature: its name and its attributes."""
        attributes = self._attributes.get(feature)
        return _quoted(feature) + (f" {{{', '.join(attributes)}}}" if attributes else "")

    # ---- formulas ----------------------------------------------------------------------------------------------------

    def _outer(self, formula: Formula) -> str:
        """The formula as a constraint of its own."""
        text = self._inner(formula)
        return text[1:-1] if text.startswith("(") else text

    def _inner(self, formula: Formula) -> str:
        """The formula as a part of another one: in parentheses unless nothing binds more tightly."""
        match formula:
            case Chosen(name, options):
                return self._joined([_quoted(_feature(name, option)) for option in options or (None,)], " | ")
            case Not(part):
                return f"!{self._inner(_formula(part))}"
            case And(parts):
                return self._joined([self._inner(_formula(part)) for part in parts], " & ")
            case Or(parts):
                return self._joined([self._inner(_formula(part)) for part in parts], " | ")
            case Implies(premise, conclusion):
                return f"({self._inner(premise)} => {self._inner(conclusion)})"
            case Tuples(names, rows, allowed):
                held = Or(tuple(_row(names, row, self._slots()) for row in rows))
                return self._inner(held if allowed else Not(held))
            case Count(low, high, parts):
                simple = spelled_out(low, high, parts, MOST_CLAUSES)
                return self._count(low, high, parts) if simple is None else self._inner(simple)
            case Size(low, high):
                items = [Chosen(variable.name) for variable in self._rules.variables if not variable.hidden]
                return self._inner(Count(low, high, tuple(items)))
            case Total(attribute, low, high):
                given = any(known.name == attribute and known.values for known in self._rules.attributes)
                return self._between(attribute.text if given else None, low, high)
            case _:
                raise TypeError(f"{formula} is about a ranking")

    def _joined(self, texts: list[str], sign: str) -> str:
        """Several parts in parentheses; the root is always chosen and stands for what holds or does not."""
        if not texts:
            return _quoted(self._root) if sign == " & " else f"!{_quoted(self._root)}"
        return texts[0] if len(texts) == 1 else f"({sign.join(texts)})"

    def _between(self, key: str | None, low: int | Decimal | None, high: int | Decimal | None) -> str:
        """That the sum of an attribute, 0 without one, lies between the bounds."""
        if key is None:
            inside = (low is None or low <= 0) and (high is None or high >= 0)
            return self._joined([], " & " if inside else " | ")
        total = f"sum({_quoted(key)})"
        if low is not None and low == high:
            return f"({total} == {low:f})"
        bounds = ((">=", low), ("<=", high))
        texts = [f"({total} {sign} {bound:f})" for sign, bound in bounds if bound is not None]
        return self._joined(texts, " & ")

    def _count(self, low: int, high: int | None, parts: tuple[Formula, ...]) -> str:
        """A count as the sum of an attribute of its own."""
        weights: dict[str, int] = {}
        always = 0  # how many are counted where none of the features is chosen
        for part in parts:
            weight = 1
            while isinstance(part, Not):
                part, weight = _formula(part.part), -weight
            always += weight < 0
            feature = self._helper(part)
            weights[feature] = weights.get(feature, 0) + weight
        key = _fresh("count", self._keys)
        given = {feature: weight for feature, weight in weights.items() if weight}
        for feature, weight in given.items():
            self._give(feature, key, Decimal(weight))
        return self._between(
            key if given else None, Decimal(low - always), None if high is None else Decimal(high - always)
        )

    def _helper(self, formula: Formula) -> str:
        """The feature that is chosen exactly where a formula holds."""
        if isinstance(formula, Chosen) and len(formula.options) <= 1:
            return _feature(formula.name, *formula.options)
        if formula not in self._helpers:
            text = self._inner(formula)
            helper = self._helpers[formula] = _fresh("formula", self._taken)
            self._constraints.append(f"{_quoted(helper)} <=> {text}")
        return self._helpers[formula]

    def _slots(self) -> frozenset[str]:
        return frozenset(variable.name.text for variable in self._rules.variables if variable.options)


def _row(names: tuple[Name, ...], row: tuple[Name | None, ...], slots: frozenset[str]) -> And:
    """The row of a table as a formula."""
    cells: list[Formula] = []
    for name, option in zip(names, row, strict=True):
        if option is not None and name.text in slots:
            cells.append(Chosen(name, (option,)))
        elif option is not None:
            cells.append(Chosen(name) if option.text == "1" else Not(Chosen(name)))
    return And(tuple(cells))


def _feature(name: Name, option: Name | None = None) -> str:
    return name.text if option is None else f"{name.text}={option.text}"


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) and name not in _RESERVED else f'"{name}"'


def _fresh(name: str, taken: set[str]) -> str:
    """The name, or the first one numbered from 2 that is not taken; it is taken from then on."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    found = next(candidate for candidate in itertools.chain([name], numbered) if candidate not in taken)
    taken.add(found)
    return found


def _formula(part: Formula | Condition) -> Formula:
    assert not isinstance(part, Compare), "a rule is about what is chosen, not about its context"
    return part
