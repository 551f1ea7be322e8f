"""The text notation: ``A requires B and C``, one statement a line.

The grammar is ``grammar.lark``. A statement ends with its line or with a semicolon; it goes on in the next line after a
comma or a colon and inside parentheses or braces.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import cast

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedToken
from lark.exceptions import VisitError

from jebm_core.errors import RuleError
from jebm_core.rules.language import Condition, Formula, RuleSet
from jebm_core.rules.notation.builder import Builder
from jebm_core.rules.notation.misreadings import misread_character, misread_token
from jebm_core.rules.notation.names import check_names
from jebm_core.rules.notation.statements import assemble, read_statement

MOST_CHARACTERS = 1_000_000
DEEPEST = 50
"""Brackets in brackets, or a *not* before a *not*."""

# Japanese keyboards write these; each is one character for one, so that columns stay what a person counts.
_PLAIN = str.maketrans("、，：；（）｛｝＝＜＞！＊", ",,:;(){}=<>!*")
_OUTSIDE = re.compile(r'"(?:\\.|[^"\\\n])*"?|「(?:\\.|[^」\\\n])*」?|#[^\n]*|(?P<plain>[^"「#]+)')
_OPENING = frozenset(("LPAR", "LBRACE"))
_CLOSING = frozenset(("RPAR", "RBRACE"))
_GOES_ON = frozenset(("COMMA", "COLON"))


@lru_cache(maxsize=1)
def _grammar() -> Lark:
    return Lark(
        Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        start=["rule_set", "just_formula", "just_condition"],
        propagate_positions=True,
    )


def parse_rules(text: str, source: str = "rules") -> RuleSet:
    """Read rules in the text notation. Where the text declares names, every name that it uses must be declared.

    Args:
        text: statements, at most a million characters.
        source: what the text is called in messages, a file name for instance.

    Raises:
        RuleError: something that can't be read; the sentence says where and what was expected there.

    >>> rules = parse_rules("items A, B, C\\nA requires B  # always\\nprefer 1.5: exactly 1 of B, C")
    >>> [variable.name.text for variable in rules.variables], [rule.line for rule in rules.rules]
    (['A', 'B', 'C'], [2, 3])
    """
    tree = _parsed(text, source, "rule_set")
    rules = assemble((part for child in tree.children for part in read_statement(cast(Tree, child), source)), source)
    check_names(rules)
    return rules


def parse_formula(text: str, source: str = "formula") -> Formula:
    """Read one formula, such as ``A and not B``.

    Raises:
        RuleError: something that can't be read.

    >>> parse_formula("A or B") == parse_formula("(A) or (B)")
    True
    """
    return cast(Formula, _parsed(text, source, "just_formula").children[0])


def parse_condition(text: str, source: str = "condition") -> Condition:
    """Read one condition, such as ``region == "JP" and load > 5``.

    Raises:
        RuleError: something that can't be read.

    >>> parse_condition("load > 5").name.text
    'load'
    """
    return cast(Condition, _parsed(text, source, "just_condition").children[0])


def _parsed(text: str, source: str, start: str) -> Tree:
    """The syntax tree, its formulas and conditions built."""
    if len(text) > MOST_CHARACTERS:
        raise RuleError(
            "{source} holds {found} characters; expected at most {most}. Split the rules, or give large tables as "
            "DIMACS CNF.",
            source=source,
            found=len(text),
            most=MOST_CHARACTERS,
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reading = _grammar().parse_interactive("", start=start)
    tokens: list[Token] = []
    try:
        for token in _laid_out(_grammar().lex(_plain(text)), source):
            tokens.append(token)
            reading.feed_token(token)
        tree = reading.feed_eof()
    except UnexpectedCharacters as error:
        raise misread_character(text, error.pos_in_stream, error.line, error.column, source) from None
    except UnexpectedToken:
        raise misread_token(text, tokens, reading.accepts(), source) from None
    try:
        return Builder(source).transform(tree)
    except VisitError as error:
        raise error.orig_exc from None


def _plain(text: str) -> str:
    """The text with full-width punctuation as ASCII, outside quotes and comments."""
    if text.translate(_PLAIN) == text:
        return text
    return _OUTSIDE.sub(lambda part: part[0].translate(_PLAIN) if part["plain"] else part[0], text)


def _laid_out(tokens: Iterator[Token], source: str) -> Iterator[Token]:
    """The tokens with one separator after every statement and none inside a statement."""
    depth = negations = 0
    last: Token | None = None
    for token in tokens:
        if token.type == "_SEP":
            between_statements = last is None or last.type == "_SEP"
            goes_on = token == "\n" and (depth > 0 or (last is not None and last.type in _GOES_ON))
            if between_statements or goes_on:
                continue
        depth = max(0, depth + (token.type in _OPENING) - (token.type in _CLOSING))
        negations = negations + 1 if token.type == "NOT" else 0
        if max(depth, negations) > DEEPEST:
            raise RuleError(
                "{source}, line {line}, column {column}: expected at most {most} brackets or negations inside one "
                "another, found more. Split the rule into several.",
                line=token.line or 0,
                column=token.column or 0,
                source=source,
                most=DEEPEST,
            )
        last = token
        yield token
    if last is not None and last.type != "_SEP":
        yield Token(
            "_SEP", "", last.end_pos, last.end_line, last.end_column, last.end_line, last.end_column, last.end_pos
        )
