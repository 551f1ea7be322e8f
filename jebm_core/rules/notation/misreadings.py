"""Text that is no rule: from the place where reading stopped to a sentence that says what was expected there."""

import re
from collections.abc import Sequence, Set

from lark import Token

from jebm_core.errors import RuleError
from jebm_core.rules.notation.names import nearest
from jebm_core.rules.notation.words import (
    AFTER_NAMES,
    BEGINNINGS,
    COMMON,
    EXAMPLES,
    FOREIGN,
    KEYWORDS,
    PLAIN_EXAMPLE,
    SHOWN,
    SYMBOLS,
)

_MOST_SHOWN = 6
_LONGEST = 60
_OTHER_QUOTES = frozenset("'`‘’“”‚„«»『』＂＇")
_NUMBERISH = re.compile(r"-?\.?[0-9][\w.\-]*")


def misread_character(text: str, place: int, line: int, column: int, source: str) -> RuleError:
    """The error for a character at which no word begins."""
    found = text[place]
    if (sign := _foreign(text, place)) is not None:
        return _other_language(*sign, line, column, source)
    if found in '"「':
        return RuleError(
            "{source}, line {line}, column {column}: the quote that opens here is not closed in its line. Close it "
            "with {close}.",
            line=line,
            column=column,
            source=source,
            close='"' if found == '"' else "」",
        )
    if found in _OTHER_QUOTES:
        return RuleError(
            "{source}, line {line}, column {column}: expected a word, found the quotation mark {found}. Names stand in "
            'double quotes, for example: "0.75 kW".',
            line=line,
            column=column,
            source=source,
            found=found,
        )
    word = _NUMBERISH.match(text, place)
    if word is not None:
        return RuleError(
            "{source}, line {line}, column {column}: expected a number or a name, found {found!r}. A name that begins "
            'with a digit stands in double quotes: "{found}".',
            line=line,
            column=column,
            source=source,
            found=word[0][:_LONGEST],
        )
    return RuleError(
        "{source}, line {line}, column {column}: expected a word, found the character {found!r}. A name with "
        'characters other than letters, digits, _ . - stands in double quotes, for example: "0.75 kW".',
        line=line,
        column=column,
        source=source,
        found=found,
    )


def misread_token(text: str, tokens: Sequence[Token], accepted: Set[str], source: str) -> RuleError:
    """The error for the last of the tokens, where only the accepted kinds could follow the others."""
    failing = tokens[-1] if tokens else Token("_SEP", "", 0, 1, 1, 1, 1, 0)
    started = max((index + 1 for index, token in enumerate(tokens[:-1]) if token.type == "_SEP"), default=0)
    statement = tokens[started:-1]
    line, column, place = failing.line or 1, failing.column or 1, failing.start_pos or 0
    found = _slice(text, failing)
    if failing.type != "_SEP" and (sign := _foreign(text, place)) is not None:
        shift = place - text.rindex(sign[0], 0, place + 2)
        return _other_language(*sign, line, column - shift, source)
    opened = _unclosed(statement)
    closing = opened is not None and opened.type.replace("L", "R", 1) in accepted
    if opened is not None and closing and (failing.type == "_SEP" or opened.line != line):
        return RuleError(
            "{source}, line {line}, column {column}: the {open} that opens here is not closed before line {last}, "
            "column {after}. Close it with {close} where its list ends.",
            line=opened.line or 0,
            column=opened.column or 0,
            source=source,
            open=str(opened),
            last=line,
            after=column,
            close=")" if opened == "(" else "}",
        )
    if not tokens:
        return RuleError(
            "{source} is empty; expected a formula, for example: {example}.", source=source, example=PLAIN_EXAMPLE
        )
    if not statement and accepted == {"$END"}:
        return RuleError(
            "{source}, line {line}, column {column}: expected one formula and nothing after it, found {found!r}. Join "
            "formulas with and or or.",
            line=line,
            column=column,
            source=source,
            found=found,
        )
    if not statement:
        return RuleError(
            "{source}, line {line}, column {column}: expected a statement, found {found!r}. Begin with a name or with "
            "a word such as if, exactly or items, for example: {example}.",
            line=line,
            column=column,
            source=source,
            found=found,
            example=EXAMPLES.get(str(failing), PLAIN_EXAMPLE),
        )
    if statement[-1] in KEYWORDS and failing.type in AFTER_NAMES and "NUMBER" in accepted and "NAME" not in accepted:
        return RuleError(
            "{source}, line {line}, column {column}: expected a number after {before!r}, a word of the rule language, "
            'found {found!r}. As a name it stands in double quotes: "{before}".',
            line=line,
            column=column,
            source=source,
            before=str(statement[-1]),
            found=found,
        )
    if statement[-1] in KEYWORDS and failing.type in AFTER_NAMES and "NAME" not in accepted:
        return RuleError(
            "{source}, line {line}, column {column}: expected {expected} after {before!r}, a word of the rule "
            'language, found {found!r}. As a name it stands in double quotes: "{before}".',
            line=line,
            column=column,
            source=source,
            expected=_listed(_literals(accepted)),
            before=str(statement[-1]),
            found=found,
        )
    return _misspelt(text, statement, failing, found, accepted, source) or _unexpected(
        text, statement, failing, found, accepted, source
    )


def _misspelt(
    text: str, statement: Sequence[Token], failing: Token, found: str, accepted: Set[str], source: str
) -> RuleError | None:
    """The error for a word of the language that is not written as it should be, if that is what happened."""
    words = _literals(accepted)
    meant = None
    if failing.type in ("EQ", "EQUAL"):
        meant = "=" if "=" in words else "==" if "==" in words else None
    elif failing.type not in ("_SEP", "STRING"):
        meant = nearest(found, words)
    if meant is not None:
        return RuleError(
            "{source}, line {line}, column {column}: expected {expected} after {before!r}, found {found!r}; did you "
            "mean {meant}? For example: {example}.",
            line=failing.line or 0,
            column=failing.column or 0,
            source=source,
            expected=_listed(words),
            before=_slice(text, statement[-1]),
            found=found,
            meant=meant,
            example=EXAMPLES.get(meant) or _example(statement, words),
        )
    first = statement[-1]
    led = len(statement) == 1 or statement[-2].type in ("COLON", "IF", "THEN", "NOT", "AND", "OR", "LPAR", "LBRACE")
    meant = nearest(first, BEGINNINGS, cutoff=0.7) if first.type == "NAME" and led else None
    if meant is None:
        return None
    return RuleError(
        "{source}, line {line}, column {column}: expected a word of the rule language, since {after!r} follows, found "
        "{found!r}; did you mean {meant}? For example: {example}.",
        line=first.line or 0,
        column=first.column or 0,
        source=source,
        after=found,
        found=str(first),
        meant=meant,
        example=EXAMPLES[meant],
    )


def _unexpected(
    text: str, statement: Sequence[Token], failing: Token, found: str, accepted: Set[str], source: str
) -> RuleError:
    """The error for a word at which nothing is misspelt."""
    words = _literals(accepted)
    ends = failing.type == "_SEP" and failing != ";"
    place = {"line": failing.line or 0, "column": failing.column or 0, "source": source}
    before = _slice(text, statement[-1])
    example = _example(statement, words)
    if "NAME" in accepted and ends:
        return RuleError(
            "{source}, line {line}, column {column}: expected a name after {before!r}, but the statement ends there. "
            "It goes on in the next line only after a comma or a colon and inside brackets, for example: {example}.",
            **place,
            before=before,
            example=example,
        )
    if "NAME" in accepted:
        return RuleError(
            "{source}, line {line}, column {column}: expected a name after {before!r}, found {found!r}. A name that is "
            "a word of the rule language stands in double quotes. For example: {example}.",
            **place,
            before=before,
            found=found,
            example=example,
        )
    if "NUMBER" in accepted and ends:
        return RuleError(
            "{source}, line {line}, column {column}: expected a number after {before!r}, but the statement ends there. "
            "For example: {example}.",
            **place,
            before=before,
            example=example,
        )
    if "NUMBER" in accepted:
        return RuleError(
            "{source}, line {line}, column {column}: expected a number after {before!r}, found {found!r}. "
            "For example: {example}.",
            **place,
            before=before,
            found=found,
            example=example,
        )
    if ends:
        return RuleError(
            "{source}, line {line}, column {column}: expected {expected} after {before!r}, but the statement ends "
            "there. For example: {example}.",
            **place,
            expected=_listed(words),
            before=before,
            example=example,
        )
    if not words:
        return RuleError(
            "{source}, line {line}, column {column}: expected the statement to end after {before!r}, found {found!r}. "
            "Put a formula that is part of another one in parentheses, or begin a new line.",
            **place,
            before=before,
            found=found,
        )
    if accepted & {"_SEP", "$END"}:
        return RuleError(
            "{source}, line {line}, column {column}: expected the statement to end after {before!r} or to go on with "
            "{expected}, found {found!r}. For example: {example}.",
            **place,
            before=before,
            expected=_listed(words),
            found=found,
            example=example,
        )
    return RuleError(
        "{source}, line {line}, column {column}: expected {expected} after {before!r}, found {found!r}. "
        "For example: {example}.",
        **place,
        expected=_listed(words),
        before=before,
        found=found,
        example=example,
    )


def _other_language(found: str, meant: str, line: int, column: int, source: str) -> RuleError:
    return RuleError(
        "{source}, line {line}, column {column}: expected {meant!r}, found {found!r}, which is a sign of other "
        "languages. For example: {example}.",
        line=line,
        column=column,
        source=source,
        meant=meant,
        found=found,
        example=EXAMPLES[meant],
    )


def _foreign(text: str, place: int) -> tuple[str, str] | None:
    """A sign of another language at or just before the place, and the word that stands for it here."""
    for start, length in ((place - 1, 2), (place, 2), (place, 1)):
        sign = text[max(start, 0) : start + length]
        if sign in FOREIGN:
            return sign, FOREIGN[sign]
    return None


def _unclosed(statement: Sequence[Token]) -> Token | None:
    opened: list[Token] = []
    for token in statement:
        if token.type in ("LPAR", "LBRACE"):
            opened.append(token)
        elif token.type in ("RPAR", "RBRACE") and opened:
            opened.pop()
    return opened[-1] if opened else None


def _literals(accepted: Set[str]) -> list[str]:
    """The accepted words and signs, most telling first."""
    words = {SYMBOLS.get(kind, kind.lower()) for kind in accepted if kind in SYMBOLS or kind.lower() in KEYWORDS}
    return sorted(words, key=lambda word: (SHOWN.index(word) if word in SHOWN else len(SHOWN), word))


def _example(statement: Sequence[Token], words: Sequence[str]) -> str:
    """An example of the last telling word of the statement, else of one that could follow."""
    said = [str(token) for token in reversed(statement) if token.type != "STRING" and token in EXAMPLES]
    hints = [*(word for word in said if word not in COMMON), *said, *(word for word in words if word in EXAMPLES)]
    return EXAMPLES[hints[0]] if hints else PLAIN_EXAMPLE


def _listed(words: Sequence[str]) -> str:
    shown = [f"{word!r}" for word in words[:_MOST_SHOWN]]
    return ", ".join([*shown, "…"] if len(words) > _MOST_SHOWN else shown)


def _slice(text: str, token: Token) -> str:
    """What stands in the text, cut where it is long."""
    found = text[token.start_pos : token.end_pos]
    return found if len(found) <= _LONGEST else f"{found[:_LONGEST]}…"
