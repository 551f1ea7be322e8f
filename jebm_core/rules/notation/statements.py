"""From the statements of one file to its rule set: what is declared fits together and nothing is said twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast, final

from lark import Tree

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    And,
    Attribute,
    Condition,
    Formula,
    Kind,
    Name,
    Not,
    Probability,
    Rule,
    RuleSet,
    Variable,
)
from jebm_core.rules.notation.builder import Number, chain_of
from jebm_core.rules.notation.names import written

WORD_OF_KIND: dict[Kind, str] = {"subsets": "items", "configurations": "slot", "rankings": "ranking"}
"""The word that declares variables of a kind."""


@final
@dataclass(frozen=True)
class Declared:
    """The variables of one declaration."""

    kind: Kind
    variables: tuple[Variable, ...]


def read_statement(tree: Tree, source: str) -> Iterator[Declared | Attribute | Probability | Rule]:
    """What one statement says, from its branch of ``grammar.lark`` whose formulas are already built."""
    children: list[Any] = tree.children
    match str(tree.data), children:
        case "items", [hidden, *names]:
            yield Declared("subsets", tuple(Variable(name, hidden=hidden is not None) for name in names))
        case "slot", [hidden, name, *options]:
            seen: set[str] = set()
            for option in options:
                if option.text in seen:
                    raise RuleError(
                        "{source}, line {line}, column {column}: slot {slot!r} has the option {found!r} a second time. "
                        "Leave one of the two out, or change a name.",
                        line=option.line,
                        column=option.column,
                        source=source,
                        slot=name.text,
                        found=option.text,
                    )
                seen.add(option.text)
            yield Declared("configurations", (Variable(name, tuple(options), hidden is not None),))
        case "ranking", names:
            yield Declared("rankings", tuple(Variable(name) for name in names))
        case "attribute", [name, *worths]:
            values = []
            for item, *option, number in (worth.children for worth in worths):
                values.append((item, option[0] if option else None, number.value))
            yield Attribute(name, tuple(values))
        case "probability", [where, name, *shares]:
            yield from _probabilities(_condition(where), name, shares, source)
        case "rule", [where, prefer, demand]:
            yield from _rules(tree.meta.line, _condition(where), prefer, demand, source)


def _condition(where: Tree | None) -> Condition | None:
    return None if where is None else cast(Condition, where.children[0])


def _rules(line: int, where: Condition | None, prefer: Tree | None, demand: Any, source: str) -> Iterator[Rule]:
    weight = None
    if prefer is not None:
        number = cast(Number, prefer.children[0])
        weight = number.value
        if weight <= 0:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a weight above 0 after prefer, found {found}. "
                "A preference for the opposite is written with not, for example: prefer 1.5: not A.",
                line=number.line,
                column=number.column,
                source=source,
                found=number.text,
            )
    if isinstance(demand, Tree):  # excludes
        premise, *others = cast(list[Formula], demand.children)
        demands = [Not(And((premise, other))) for other in others]
    else:
        demands = chain_of(demand) or (demand,)
    for formula in demands:
        yield Rule(formula, weight, where, line)


def _probabilities(where: Condition | None, name: Name, shares: list[Any], source: str) -> Iterator[Probability]:
    if isinstance(shares[0], Number):
        number = shares[0]
        if not 0 < number.value < 1:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a probability above 0 and below 1, found {found}. "
                "What always or never holds is a rule of its own, for example: not {name}.",
                line=number.line,
                column=number.column,
                source=source,
                found=number.text,
                name=written(name.text),
            )
        yield Probability(name, None, number.value, where)
        return
    total = Decimal(0)
    seen: set[str] = set()
    for option, number in (share.children for share in shares):
        if not 0 < number.value <= 1:
            raise RuleError(
                "{source}, line {line}, column {column}: expected a probability above 0 and of at most 1, found "
                "{found}. An option that never occurs is a rule of its own, for example: {name} != {option}.",
                line=number.line,
                column=number.column,
                source=source,
                found=number.text,
                name=written(name.text),
                option=written(option.text, option=True),
            )
        if option.text in seen:
            raise RuleError(
                "{source}, line {line}, column {column}: the probability of {slot} = {found} is given a second time. "
                "Leave one of the two numbers out.",
                line=option.line,
                column=option.column,
                source=source,
                slot=written(name.text),
                found=written(option.text, option=True),
            )
        seen.add(option.text)
        total += number.value
        yield Probability(name, option, number.value, where)
    if total > 1:
        raise RuleError(
            "{source}, line {line}, column {column}: expected probabilities of {slot!r} that add up to at most 1, "
            "found {total}. Make some of them smaller.",
            line=name.line,
            column=name.column,
            source=source,
            slot=name.text,
            total=total,
        )


def assemble(statements: Iterable[Declared | Attribute | Probability | Rule], source: str) -> RuleSet:
    """The rule set that the statements make together. Statements about one attribute are joined.

    Raises:
        RuleError: declarations of several kinds, or something that is declared or given twice.

    >>> assemble([Declared("subsets", (Variable(Name("A")),))], "rules").kind
    'subsets'
    """
    declared: list[Declared] = []
    attributes: list[Attribute] = []
    probabilities: list[Probability] = []
    rules: list[Rule] = []
    for statement in statements:
        match statement:
            case Declared():
                declared.append(statement)
            case Attribute():
                attributes.append(statement)
            case Probability():
                probabilities.append(statement)
            case Rule():
                rules.append(statement)
    variables = _variables(declared, source)
    _once_each(probabilities, source)
    return RuleSet(
        declared[0].kind if declared else None,
        variables,
        _joined(attributes, source),
        tuple(probabilities),
        tuple(rules),
        source,
    )


def _variables(declared: list[Declared], source: str) -> tuple[Variable, ...]:
    first: dict[str, Name] = {}
    for declaration in declared:
        for variable in declaration.variables:
            name = variable.name
            if declaration.kind != declared[0].kind:
                raise RuleError(
                    "{source}, line {line}, column {column}: {found!r} is declared with {word!r}, but line {first} "
                    "declares with {other!r}. A file declares items, slots or a ranking, so put them into files of "
                    "their own.",
                    line=name.line,
                    column=name.column,
                    source=source,
                    found=name.text,
                    word=WORD_OF_KIND[declaration.kind],
                    first=declared[0].variables[0].name.line,
                    other=WORD_OF_KIND[declared[0].kind],
                )
            if name.text in first:
                raise RuleError(
                    "{source}, line {line}, column {column}: {found!r} is declared a second time, after line {first}. "
                    "Leave one of the two out, or change a name.",
                    line=name.line,
                    column=name.column,
                    source=source,
                    found=name.text,
                    first=first[name.text].line,
                )
            first[name.text] = name
    return tuple(variable for declaration in declared for variable in declaration.variables)


def _joined(attributes: list[Attribute], source: str) -> tuple[Attribute, ...]:
    names: dict[str, Name] = {}
    values: dict[str, list] = {}
    first: dict[tuple[str, str, str | None], Name] = {}
    for attribute in attributes:
        names.setdefault(attribute.name.text, attribute.name)
        values.setdefault(attribute.name.text, []).extend(attribute.values)
        for name, option, _ in attribute.values:
            key = (attribute.name.text, name.text, None if option is None else option.text)
            if key in first:
                raise RuleError(
                    "{source}, line {line}, column {column}: attribute {attribute!r} of {found!r} is given a second "
                    "time, after line {first}. Leave one of the two numbers out.",
                    line=name.line,
                    column=name.column,
                    source=source,
                    attribute=attribute.name.text,
                    found=name.text if option is None else f"{name.text}={option.text}",
                    first=first[key].line,
                )
            first[key] = name
    return tuple(Attribute(names[text], tuple(values[text])) for text in names)


def _once_each(probabilities: list[Probability], source: str) -> None:
    first: dict[tuple[str, Condition | None], Name] = {}
    for probability in probabilities:
        name = probability.name
        known = first.setdefault((name.text, probability.where), name)
        if (known.line, known.column) != (name.line, name.column):
            raise RuleError(
                "{source}, line {line}, column {column}: the probability of {found!r} is given a second time, after "
                "line {first}. Give all options of a slot in one statement, and leave out what is said twice.",
                line=name.line,
                column=name.column,
                source=source,
                found=name.text,
                first=known.line,
            )
