"""From the syntax tree of the text notation to formulas and conditions; statements are left to `statements`.

Every method of `Builder` is named after the branch of ``grammar.lark`` that it receives, with its children already
built.
"""

import itertools
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast, final

from lark import Token, Transformer, v_args
from lark.tree import Meta

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Chosen,
    Compare,
    Comparison,
    Condition,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    Place,
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.notation.names import written

MOST_DIGITS = 30
"""Digits of a number, and places before or after its point; beyond them lies a slip of the pen."""

_ESCAPED = re.compile(r"\\(.)")
_MEANING = {"\\": "\\", '"': '"', "」": "」", "n": "\n", "r": "\r", "t": "\t"}


@final
@dataclass(frozen=True)
class Number:
    """A number as it was written, and where."""

    value: Decimal
    text: str
    line: int
    column: int


@final
@dataclass(frozen=True)
class Bounds:
    """Numbers from ``low`` to ``high``; None: no bound."""

    low: Number | None
    high: Number | None


def short(number: Decimal) -> bool:
    """Whether a number is finite and of a length that people write.

    >>> short(Decimal("0.25")), short(Decimal("1e999999"))
    (True, False)
    """
    return number.is_finite() and len(number.as_tuple().digits) <= MOST_DIGITS and abs(number.adjusted()) <= MOST_DIGITS


def chain_of(formula: Formula) -> tuple[Above, ...]:
    """The pairs of a formula written as ``A above B above C``: they share the names in between, as objects. Else ()."""
    parts = formula.parts if isinstance(formula, And) else ()
    pairs = tuple(part for part in parts if isinstance(part, Above))
    joined = all(left.second is right.first for left, right in itertools.pairwise(pairs))
    return pairs if joined and len(pairs) == len(parts) else ()


@final
@v_args(inline=True)
class Builder(Transformer):
    """Builds the parts of one text; ``source`` is what the text is called in messages."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source

    def _at(self, place: Token | Name | Number) -> dict[str, Any]:
        return {"line": place.line or 0, "column": place.column or 0, "source": self._source}

    # ---- words and numbers -------------------------------------------------------------------------------------------

    def NAME(self, token: Token) -> Name:
        return Name(str(token), token.line or 0, token.column or 0)

    def STRING(self, token: Token) -> Name:
        for escape in _ESCAPED.finditer(token):
            if escape[1] not in _MEANING:
                raise RuleError(
                    '{source}, line {line}, column {column}: expected \\", \\」, \\\\, \\n, \\r or \\t in a name in '
                    "quotes, found {found}. Write \\\\ where one backslash is meant.",
                    **self._at(token),
                    found=escape[0],
                )
        text = _ESCAPED.sub(lambda escape: _MEANING[escape[1]], token[1:-1])
        if not text:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a name between the quotes, found nothing. "
                "Give the name at least one character.",
                **self._at(token),
            )
        return Name(text, token.line or 0, token.column or 0)

    def numeral(self, token: Token) -> Name:
        return Name(str(token), token.line or 0, token.column or 0)

    def number(self, token: Token) -> Number:
        value = Decimal(token)
        if not short(value):
            raise RuleError(
                "{source}, line {line}, column {column}: expected a number of at most {most} digits, found {found}. "
                "Shorten the number.",
                **self._at(token),
                most=MOST_DIGITS,
                found=token[:40],
            )
        return Number(value, str(token), token.line or 0, token.column or 0)

    def word(self, name: Name) -> str:
        return name.text

    # ---- formulas and conditions -------------------------------------------------------------------------------------

    def chosen(self, name: Name, *options: Name) -> Chosen:
        return Chosen(name, options)

    def avoided(self, name: Name, *options: Name) -> Not:
        return Not(Chosen(name, options))

    def negation(self, part: Formula | Condition) -> Not:
        return Not(part)

    def conjunction(self, *parts: Formula) -> And:
        return And(parts)

    def disjunction(self, *parts: Formula) -> Or:
        return Or(parts)

    def both(self, *parts: Condition) -> And:
        return And(parts)

    def condition(self, *parts: Condition) -> Or:
        return Or(parts)

    def always(self) -> And:
        return And(())

    def never(self) -> Or:
        return Or(())

    def implication(self, premise: Formula, conclusion: Formula) -> Implies:
        return Implies(premise, conclusion)

    def group(self, part: Formula) -> Formula:
        # In parentheses a chain is one formula, and no longer one rule for each of its pairs.
        pairs = chain_of(part)
        return And(tuple(replace(pair, first=replace(pair.first)) for pair in pairs)) if pairs else part

    def count(self, bounds: Bounds, *parts: Formula | None) -> Count:
        low, high = self._whole_bounds(bounds)
        return Count(low, high, tuple(part for part in parts if part is not None))

    open_count = count

    def size(self, bounds: Bounds) -> Size:
        return Size(*self._whole_bounds(bounds))

    def total(self, attribute: Name, bounds: Bounds) -> Total:
        low, high = bounds.low, bounds.high
        return Total(attribute, None if low is None else low.value, None if high is None else high.value)

    def chain(self, *names: Name) -> Formula:
        pairs = tuple(Above(first, second) for first, second in itertools.pairwise(names))
        return pairs[0] if len(pairs) == 1 else And(pairs)

    def adjacent(self, first: Name, second: Name) -> Adjacent:
        return Adjacent(first, second)

    def top(self, name: Name, number: Number) -> Place:
        return Place(name, 1, self._whole(number, 1))

    def bottom(self, name: Name, number: Number) -> Place:
        return Place(name, -self._whole(number, 1), -1)

    def place(self, name: Name, number: Number) -> Place:
        return self.places(name, number, number)

    def places(self, name: Name, first: Number, last: Number) -> Place:
        for number in (first, last):
            if number.value == 0 or number.value != number.value.to_integral_value():
                raise RuleError(
                    "{source}, line {line}, column {column}: expected a place such as 1, the first, or -1, the last, "
                    "found {found}. Count from 1, or backwards from -1.",
                    **self._at(number),
                    found=number.text,
                )
        low, high = int(first.value), int(last.value)
        if (low < 0) == (high < 0):
            self._in_order(first, last)
        return Place(name, low, high)

    def test(self, name: Name, comparison: Token, *values: Number | str) -> Compare:
        plain = tuple(value.value if isinstance(value, Number) else value for value in values)
        if comparison == "in":
            if len({isinstance(value, str) for value in plain}) > 1:
                raise RuleError(
                    "{source}, line {line}, column {column}: expected only numbers or only words in the braces, found "
                    "both. Put a number in quotes where it is meant as a word.",
                    **self._at(comparison),
                )
            return Compare(name, "in", cast(Any, plain))
        if isinstance(plain[0], str) and comparison not in ("==", "!="):
            raise RuleError(
                "{source}, line {line}, column {column}: expected a number after {before!r}, found {found!r}. Compare "
                "words with ==, != or in, for example: {name} == {word}.",
                **self._at(comparison),
                before=str(comparison),
                found=plain[0],
                name=written(name.text),
                word=written(plain[0]),
            )
        return Compare(name, cast(Comparison, str(comparison)), plain[0])

    def no_test(self, name: Name, *values: Number | str) -> Not:
        comparison = Token("IN", "in", line=name.line, column=name.column)
        return Not(self.test(name, comparison, *values))

    # ---- bounds ------------------------------------------------------------------------------------------------------

    def exactly(self, number: Number) -> Bounds:
        return Bounds(number, number)

    def at_least(self, number: Number) -> Bounds:
        return Bounds(number, None)

    def at_most(self, number: Number) -> Bounds:
        return Bounds(None, number)

    def comparison(self, sign: Token, number: Number) -> Bounds:
        return self.at_least(number) if sign == ">=" else self.at_most(number)

    def between(self, low: Number, high: Number) -> Bounds:
        self._in_order(low, high)
        return Bounds(low, high)

    def _in_order(self, low: Number, high: Number) -> None:
        if low.value > high.value:
            raise RuleError(
                "{source}, line {line}, column {column}: expected the lower bound before the upper one, found {found} "
                "and then {after}. Exchange the two.",
                **self._at(low),
                found=low.text,
                after=high.text,
            )

    def _whole(self, number: Number, least: int) -> int:
        if number.value != number.value.to_integral_value() or number.value < least:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a whole number from {least} up, found {found}. "
                "Only whole things are counted.",
                **self._at(number),
                least=least,
                found=number.text,
            )
        return int(number.value)

    def _whole_bounds(self, bounds: Bounds) -> tuple[int, int | None]:
        low = 0 if bounds.low is None else self._whole(bounds.low, 0)
        return low, None if bounds.high is None else self._whole(bounds.high, 0)

    # ---- tables ------------------------------------------------------------------------------------------------------

    def cell(self, name: Name | None = None) -> Name | None:
        return name

    @v_args(inline=True, meta=True)
    def row(self, meta: Meta, *cells: Name | None) -> tuple[int, int, tuple[Name | None, ...]]:
        return meta.line, meta.column, cells

    def heading(self, *names: Name) -> tuple[Name, ...]:
        seen: set[str] = set()
        for name in names:
            if name.text in seen:
                raise RuleError(
                    "{source}, line {line}, column {column}: {found!r} stands a second time in the heading of the "
                    "table. Name each of them once.",
                    **self._at(name),
                    found=name.text,
                )
            seen.add(name.text)
        return names

    def tuples(self, word: Token, names: tuple[Name, ...], *rows: tuple[int, int, tuple[Name | None, ...]]) -> Tuples:
        for line, column, cells in rows:
            if len(cells) != len(names):
                raise RuleError(
                    "{source}, line {line}, column {column}: expected {expected} entries in the row, one for each name "
                    "before the colon, found {found}. Write * where any option will do.",
                    line=line,
                    column=column,
                    source=self._source,
                    expected=len(names),
                    found=len(cells),
                )
        return Tuples(names, tuple(cells for _, _, cells in rows), word == "allowed")
