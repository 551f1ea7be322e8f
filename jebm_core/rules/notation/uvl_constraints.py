"""Constraints of UVL: ``!A | B``, ``A <=> B & C``, ``sum(cost) <= 100``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, final

from jebm_core.errors import RuleError
from jebm_core.rules.language import And, Chosen, Count, Formula, Implies, Name, Not, Or, Total
from jebm_core.rules.notation.builder import MOST_DIGITS, short
from jebm_core.rules.notation.names import nearest

DEEPEST = 50
"""Parentheses and negations inside one another."""

_TOKEN = re.compile(
    r"""(?P<number>-?(?:\d+(?:\.\d+)?|\.\d+)(?![\w.]))"""
    r"""|(?P<sign><=>|=>|<=|>=|==|!=|[!&|()<>])"""
    r"""|(?P<name>"[^"]*"|[^\W\d][\w\#§%?\\]*)"""
    r"""|(?P<other>\S+?(?=[\s()"!&|]|$))"""
)
_TURNED = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "==": "==", "!=": "!="}
_EXAMPLE = "!A | B & sum(cost) <= 100"


@final
@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def unsupported(found: str, line: int, source: str) -> RuleError:
    """The error for a construct that stands for something else than features that are chosen or not."""
    return RuleError(
        "{source}, line {line}: {found!r} can't be read; expected features that are chosen or not, groups, logical "
        "constraints and sums of numeric attributes. Say it with these, or leave it out.",
        line=line,
        source=source,
        found=found,
    )


def read_constraint(
    text: str, line: int, column: int, features: Mapping[str, Name], attributes: Mapping[str, object], source: str
) -> Formula:
    """Read one constraint.

    Args:
        text: what stands in the line.
        line, column: where it begins.
        features: the known features.
        attributes: the numeric attributes that features have.
        source: what the file is called in messages.

    Raises:
        RuleError: something that is no constraint, or one about more than chosen features and sums.

    >>> read_constraint("A => !B", 1, 1, {"A": Name("A"), "B": Name("B")}, {}, "m.uvl").conclusion
    Not(part=Chosen(name=Name(text='B', line=1, column=7), options=()))
    """
    tokens = [
        _Token(str(match.lastgroup), match[0], column + match.start()) for match in _TOKEN.finditer(text) if match[0]
    ]
    return _Reader(text, tokens, line, column, features, attributes, source).whole()


@final
class _Reader:
    """Reads tokens from left to right; & binds more than |, then =>, then <=>, each from left to right."""

    def __init__(
        self,
        text: str,
        tokens: list[_Token],
        line: int,
        column: int,
        features: Mapping[str, Name],
        attributes: Mapping[str, object],
        source: str,
    ) -> None:
        self._text, self._column = text, column
        self._tokens = [*tokens, _Token("end", "", column + len(text))]
        self._line, self._source = line, source
        self._features, self._attributes = features, attributes
        self._place = 0

    def whole(self) -> Formula:
        formula = self._equivalence(0)
        if self._next.kind != "end":
            raise self._goes_on()
        return formula

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _took(self, text: str) -> bool:
        if self._next.kind == "sign" and self._next.text == text:
            self._place += 1
            return True
        return False

    def _equivalence(self, depth: int) -> Formula:
        left = self._implication(depth)
        while self._took("<=>"):
            right = self._implication(depth)
            plain = all(isinstance(part, Chosen) for part in (left, right))
            both = And((Implies(left, right), Implies(right, left)))
            # Said twice, a large part would grow with every equivalence around it.
            left = both if plain else Not(Count(1, 1, (left, right)))
        return left

    def _implication(self, depth: int) -> Formula:
        left = self._disjunction(depth)
        while self._took("=>"):
            left = Implies(left, self._disjunction(depth))
        return left

    def _disjunction(self, depth: int) -> Formula:
        parts = [self._conjunction(depth)]
        while self._took("|"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _conjunction(self, depth: int) -> Formula:
        parts = [self._unary(depth)]
        while self._took("&"):
            parts.append(self._unary(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _unary(self, depth: int) -> Formula:
        if depth > DEEPEST:
            raise RuleError(
                "{source}, line {line}, column {column}: expected at most {most} brackets or negations inside one "
                "another, found more. Split the rule into several.",
                line=self._line,
                column=self._next.column,
                source=self._source,
                most=DEEPEST,
            )
        if self._took("!"):
            return Not(self._unary(depth + 1))
        if self._took("("):
            formula = self._equivalence(depth + 1)
            if not self._took(")"):
                raise self._unexpected("')'")
            return formula
        token = self._next
        if token.kind == "number":
            self._place += 1
            number = self._as_number(token)
            sign = self._comparison()
            return self._compared(self._sum(), _TURNED[sign], number)
        if token.kind == "name" and token.text == "sum" and self._tokens[self._place + 1].text == "(":
            attribute = self._sum()
            sign = self._comparison()
            return self._compared(attribute, sign, self._number())
        if token.kind == "name":
            return Chosen(self._feature())
        raise self._no_feature()

    def _feature(self) -> Name:
        token = self._next
        self._place += 1
        after = self._next
        text = token.text.strip('"')
        if after.kind == "other" or after.text in _TURNED or after.text == "(":
            raise self._unsupported(token)
        if text not in self._features:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a feature such as {meant!r}, found {found!r}. "
                "Correct the name, or add the feature.",
                line=self._line,
                column=token.column,
                source=self._source,
                meant=nearest(text, self._features) or next(iter(self._features)),
                found=text,
            )
        return Name(text, self._line, token.column)

    def _sum(self) -> Name:
        begin = self._place
        if self._next.text == "sum" and self._tokens[begin + 1].text == "(" and self._tokens[begin + 2].kind == "name":
            token = self._tokens[begin + 2]
            self._place += 3
            text = token.text.strip('"')
            if not self._took(")"):
                raise self._unsupported(self._tokens[begin])
            if text not in self._attributes:
                raise RuleError(
                    "{source}, line {line}, column {column}: expected a numeric attribute of a feature, found "
                    "{found!r}. Correct the name, or give features the attribute, for example: A {{{found} 5}}.",
                    line=self._line,
                    column=token.column,
                    source=self._source,
                    found=text,
                )
            return Name(text, self._line, token.column)
        raise self._unexpected("'sum(attribute)'")

    def _comparison(self) -> str:
        token = self._next
        if token.text not in _TURNED:
            raise self._unexpected("'<=', '>=', '<', '>', '==', '!='")
        self._place += 1
        return token.text

    def _number(self) -> Decimal:
        token = self._next
        if token.kind != "number":
            raise self._no_number()
        self._place += 1
        return self._as_number(token)

    def _as_number(self, token: _Token) -> Decimal:
        number = Decimal(token.text)
        if not short(number):
            raise RuleError(
                "{source}, line {line}, column {column}: expected a number of at most {most} digits, found {found}. "
                "Shorten the number.",
                **self._at(token),
                most=MOST_DIGITS,
                found=token.text[:40],
            )
        return number

    @staticmethod
    def _compared(attribute: Name, sign: str, number: Decimal) -> Formula:
        match sign:
            case "<=":
                return Total(attribute, None, number)
            case ">=":
                return Total(attribute, number, None)
            case "==":
                return Total(attribute, number, number)
            case "!=":
                return Not(Total(attribute, number, number))
            case "<":
                return Not(Total(attribute, number, None))
            case _:
                return Not(Total(attribute, None, number))

    def _unsupported(self, token: _Token) -> RuleError:
        return unsupported(self._text[token.column - self._column :][:40], self._line, self._source)

    def _at(self, token: _Token) -> dict[str, Any]:
        return {"line": self._line, "column": token.column, "source": self._source}

    def _goes_on(self) -> RuleError:
        token = self._next
        if token.kind == "other":
            return self._unsupported(token)
        return RuleError(
            "{source}, line {line}, column {column}: expected the constraint to end there, or to go on with '&', '|', "
            "'=>' or '<=>', found {found!r}. For example: {example}.",
            **self._at(token),
            found=token.text,
            example=_EXAMPLE,
        )

    def _no_feature(self) -> RuleError:
        token = self._next
        if token.kind == "other":
            return self._unsupported(token)
        if token.kind == "end":
            return RuleError(
                "{source}, line {line}, column {column}: expected a feature, '!' or '(', but the constraint ends "
                "there. For example: {example}.",
                **self._at(token),
                example=_EXAMPLE,
            )
        return RuleError(
            "{source}, line {line}, column {column}: expected a feature, '!' or '(', found {found!r}. For example: "
            "{example}.",
            **self._at(token),
            found=token.text,
            example=_EXAMPLE,
        )

    def _no_number(self) -> RuleError:
        token = self._next
        if token.kind == "other":
            return self._unsupported(token)
        if token.kind == "end":
            return RuleError(
                "{source}, line {line}, column {column}: expected a number, but the constraint ends there. For "
                "example: {example}.",
                **self._at(token),
                example=_EXAMPLE,
            )
        return RuleError(
            "{source}, line {line}, column {column}: expected a number, found {found!r}. For example: {example}.",
            **self._at(token),
            found=token.text,
            example=_EXAMPLE,
        )

    def _unexpected(self, expected: str) -> RuleError:
        """The error where only some signs can follow, each in quotes."""
        token = self._next
        if token.kind == "other":
            return self._unsupported(token)
        if token.kind == "end":
            return RuleError(
                "{source}, line {line}, column {column}: expected {expected}, but the constraint ends there. For "
                "example: {example}.",
                **self._at(token),
                expected=expected,
                example=_EXAMPLE,
            )
        return RuleError(
            "{source}, line {line}, column {column}: expected {expected}, found {found!r}. For example: {example}.",
            **self._at(token),
            expected=expected,
            found=token.text,
            example=_EXAMPLE,
        )
