"""Names in rules: how they are written, which are declared, and which comes nearest to a misspelt one."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, final

from jebm_core.errors import Phrase, RuleError
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Chosen,
    Condition,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    Place,
    RuleSet,
    Total,
    Tuples,
)
from jebm_core.rules.notation.words import KEYWORDS
from jebm_core.rules.places import place_of

NUMERAL = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BARE = re.compile(r"[^\W\d][\w.\-]*")
_MOST_SHOWN = 6
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def written(text: str, *, option: bool = False) -> str:
    """The name as it stands in rules: in quotes where it needs them. A number needs none where an option stands.

    >>> written("A"), written("洗浄"), written("long name"), written("or"), written("75"), written("75", option=True)
    ('A', '洗浄', '"long name"', '"or"', '"75"', '75')
    """
    bare = _BARE.fullmatch(text) is not None and text not in KEYWORDS
    if bare or (option and NUMERAL.fullmatch(text) is not None):
        return text
    return '"' + "".join(_ESCAPES.get(mark, mark) for mark in text) + '"'


def nearest(found: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that comes nearest to a misspelt one, or None; capitals count as small letters.

    >>> nearest("Requirs", ["requires", "excludes"]), nearest("servo", ["worm"])
    ('requires', None)
    """
    spelling: dict[str, str] = {}
    for word in known:
        spelling.setdefault(word.casefold(), word)
    match = difflib.get_close_matches(found.casefold(), spelling, n=1, cutoff=cutoff)
    return spelling[match[0]] if match else None


@final
@dataclass(frozen=True)
class Mention:
    """A name that a rule, an attribute or a probability uses, and what it is used as.

    Attributes:
        options: what it is asked to be: options of a slot; empty where an item is meant.
        use: "value" as an item or as a slot with options; "ranked" in a ranking; "column" of a table of allowed rows.
        place: the part of the rule set, for messages about names that have no line.
    """

    name: Name
    options: tuple[Name, ...]
    use: Literal["value", "ranked", "column", "attribute"]
    place: str


def mentions(part: Formula | Condition, place: str = "") -> Iterator[Mention]:
    """Every use of a name in a formula, in the order of writing.

    >>> [mention.name.text for mention in mentions(Implies(Chosen(Name("A")), Not(Chosen(Name("B")))))]
    ['A', 'B']
    """
    match part:
        case Chosen(name, options):
            yield Mention(name, options, "value", place)
        case Not(inner):
            yield from mentions(inner, place)
        case And(parts) | Or(parts) | Count(parts=parts):
            for inner in parts:
                yield from mentions(inner, place)
        case Implies(premise, conclusion):
            yield from mentions(premise, place)
            yield from mentions(conclusion, place)
        case Total(attribute):
            yield Mention(attribute, (), "attribute", place)
        case Tuples(names, rows):
            for column, name in enumerate(names):
                cells = tuple(cell for row in rows if (cell := row[column]) is not None)
                yield Mention(name, cells, "column", place)
        case Above(first, second) | Adjacent(first, second):
            yield Mention(first, (), "ranked", place)
            yield Mention(second, (), "ranked", place)
        case Place(name):
            yield Mention(name, (), "ranked", place)
        case _:
            return


def _all_mentions(rules: RuleSet) -> Iterator[Mention]:
    for attribute in rules.attributes:
        for name, option, _ in attribute.values:
            yield Mention(name, () if option is None else (option,), "value", f"attributes.{attribute.name.text}")
    for index, probability in enumerate(rules.probabilities):
        options = () if probability.option is None else (probability.option,)
        yield Mention(probability.name, options, "value", f"probabilities[{index}]")
    for index, rule in enumerate(rules.rules):
        yield from mentions(rule.formula, f"rules[{index}]")


def check_names(rules: RuleSet) -> None:
    """Check that every name that is used is declared, and every option too; nothing where nothing is declared.

    Raises:
        RuleError: a name, an option or an attribute that is not declared, or a slot without an option.

    >>> check_names(RuleSet())
    """
    if rules.kind is None:
        return
    options = {variable.name.text: [option.text for option in variable.options] for variable in rules.variables}
    sets = {name: frozenset(known) for name, known in options.items()}
    attributes = {attribute.name.text for attribute in rules.attributes}
    for mention in _all_mentions(rules):
        name = mention.name.text
        if mention.use == "attribute":
            if name not in attributes:
                raise _unknown_name(rules, mention, options)
        elif name not in options:
            raise _unknown_name(rules, mention, options)
        else:
            known = sets[name]
            if mention.use == "column" and not known:
                known = frozenset(("0", "1"))  # an item in a table: left out or chosen
            elif mention.use == "value" and bool(mention.options) != bool(known):
                raise _otherwise(rules, mention, options[name])
            for option in mention.options:
                if option.text not in known:
                    raise _unknown_option(rules, mention, option, sorted(known))


def _unknown_name(rules: RuleSet, mention: Mention, options: dict[str, list[str]]) -> RuleError:
    name = mention.name
    owner = next((slot for slot, known in options.items() if name.text in known), None)
    if mention.use == "attribute":
        known = [attribute.name.text for attribute in rules.attributes]
        if not known:
            return _no_attribute(rules, mention)
        meant = written(nearest(name.text, known) or known[0])
    elif owner is not None:
        meant = f"{written(owner)} = {written(name.text, option=True)}"
    else:
        meant = written(nearest(name.text, options) or next(iter(options), "A"))
    if name.line:
        return RuleError(
            "{source}, line {line}, column {column}: expected a declared name such as {meant}, found {found!r}. "
            "Correct the name, or declare it.",
            line=name.line,
            column=name.column,
            source=rules.source,
            found=name.text,
            meant=meant,
        )
    return RuleError(
        "{source}, {path}: expected a declared name such as {meant}, found {found!r}. Correct the name, or declare it.",
        source=rules.source,
        path=mention.place,
        found=name.text,
        meant=meant,
    )


def _no_attribute(rules: RuleSet, mention: Mention) -> RuleError:
    name = mention.name
    if name.line:
        return RuleError(
            "{source}, line {line}, column {column}: expected a declared attribute, found {found!r}, and none is "
            "declared. Declare it, for example: attribute {name}: A 3, B 5.5.",
            line=name.line,
            column=name.column,
            source=rules.source,
            found=name.text,
            name=written(name.text),
        )
    return RuleError(
        "{source}, {path}: expected a declared attribute, found {found!r}, and none is declared. Give the numbers "
        "under attributes.",
        source=rules.source,
        path=mention.place,
        found=name.text,
    )


def _unknown_option(rules: RuleSet, mention: Mention, option: Name, known: list[str]) -> RuleError:
    meant = written(nearest(option.text, known) or known[0], option=True)
    if option.line:
        return RuleError(
            "{source}, line {line}, column {column}: expected an option of {slot!r} such as {meant}, found {found!r}. "
            "Correct the option, or declare it.",
            line=option.line,
            column=option.column,
            source=rules.source,
            slot=mention.name.text,
            found=option.text,
            meant=meant,
        )
    return RuleError(
        "{source}, {path}: expected an option of {slot!r} such as {meant}, found {found!r}. Correct the option, or "
        "declare it.",
        source=rules.source,
        path=mention.place,
        slot=mention.name.text,
        found=option.text,
        meant=meant,
    )


def _otherwise(rules: RuleSet, mention: Mention, options: list[str]) -> RuleError:
    """A slot that is used like an item, or the other way round."""
    name = mention.name
    place = place_of(name, rules.source)
    if not name.line:
        place |= {"place": Phrase("{source}, {path}", {"source": rules.source, "path": mention.place})}
    if options:
        return RuleError(
            "{place}: expected one of the options of the slot {slot!r} ({known}), found its name alone. Write for "
            "example: {example}.",
            **place,
            slot=name.text,
            known=", ".join(options[:_MOST_SHOWN]) + (", …" if len(options) > _MOST_SHOWN else ""),
            example=f"{written(name.text)} = {written(options[0], option=True)}",
        )
    return RuleError(
        "{place}: expected the item {found!r} alone, since an item is chosen or not, found it with an option. Write: "
        "{example}.",
        **place,
        found=name.text,
        example=written(name.text),
    )
