"""Rules as text in the canonical spelling, which `parser` reads back."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Attribute,
    Chosen,
    Compare,
    Condition,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    Place,
    Probability,
    Rule,
    RuleSet,
    Size,
    Total,
    Tuples,
    Variable,
)
from jebm_core.rules.notation.names import written

WIDEST = 100
"""Characters of a line; a longer list goes on in the next one."""

# How tightly a formula binds: what binds less than its place asks for stands in parentheses.
_ALONE, _EXPRESSION, _OR, _AND, _ATOM = range(5)


def to_text(rules: RuleSet) -> str:
    """The rules in the text notation: declarations, attributes, probabilities, then rules, in their order.

    Reading the text gives an equal rule set, as long as the rule set could have been read from text: a conjunction or
    disjunction of one part becomes that part.

    Raises:
        RuleError: something that the text has no words for, such as a table without rows.

    >>> print(to_text(RuleSet("subsets", (Variable(Name("A")), Variable(Name("long name"))))), end="")
    items A, "long name"
    """
    statements = [
        *_declarations(rules),
        *(_attribute(attribute) for attribute in rules.attributes),
        *_probabilities(rules.probabilities),
        *(_wrapped(*_statement(rule)) for rule in rules.rules),
    ]
    return "".join(f"{statement}\n" for statement in statements)


def describe(rule: Rule) -> str:
    """One rule in the text notation, on one line.

    >>> a, b = Chosen(Name("A")), Chosen(Name("B"))
    >>> describe(Rule(Implies(a, Not(b)), Decimal("1.5"), Compare(Name("region"), "==", "JP")))
    'where region == JP: prefer 1.5: A requires not B'
    """
    head, parts = _statement(rule)
    return head + ", ".join(parts)


def part_text(part: Formula | Condition) -> str:
    """A formula or condition in the text notation, on one line.

    >>> part_text(Or((Compare(Name("load"), ">", Decimal(5)), Not(Compare(Name("region"), "in", ("JP", "New York"))))))
    'load > 5 or region not in {JP, "New York"}'
    """
    return _bound(part)[0]


# ---- statements ------------------------------------------------------------------------------------------------------


def _wrapped(head: str, parts: list[str]) -> str:
    """A list after its head, on as many lines as it needs; lines end with a comma."""
    lines = [head]
    for index, part in enumerate(parts):
        shown = part if index == len(parts) - 1 else f"{part},"
        if index and len(lines[-1]) + 1 + len(shown) > WIDEST:
            lines.append(f"    {shown}")
        else:
            lines[-1] += f" {shown}" if index else shown
    return "\n".join(lines)


def _declarations(rules: RuleSet) -> Iterator[str]:
    if rules.kind == "configurations":
        for variable in rules.variables:
            hidden = "hidden " if variable.hidden else ""
            yield _wrapped(f"{hidden}slot {written(variable.name.text)}: ", [_option(o) for o in variable.options])
        return
    word = "ranking" if rules.kind == "rankings" else "items"
    for hidden, variables in groupby(rules.variables, lambda variable: variable.hidden):
        yield _wrapped(f"hidden {word} " if hidden else f"{word} ", [_plain(variable) for variable in variables])


def _plain(variable: Variable) -> str:
    return written(variable.name.text)


def _attribute(attribute: Attribute) -> str:
    if not attribute.values:
        raise RuleError(
            "Attribute {attribute!r} has no numbers; expected at least one. Give a number, or leave the attribute out.",
            attribute=attribute.name.text,
        )
    worths = [
        f"{written(name.text)}{'' if option is None else f' = {_option(option)}'} {value}"
        for name, option, value in attribute.values
    ]
    return _wrapped(f"attribute {written(attribute.name.text)}: ", worths)


def _probabilities(probabilities: Iterable[Probability]) -> Iterator[str]:
    # All options of a slot make one statement, and an item a statement of its own.
    for (name, where), group in groupby(probabilities, lambda probability: (probability.name, probability.where)):
        shares = [
            f"{share.value}" if share.option is None else f"{_option(share.option)} {share.value}" for share in group
        ]
        yield _wrapped(f"{_where(where)}probability {written(name.text)}: ", shares)


def _where(condition: Condition | None) -> str:
    return "" if condition is None else f"where {_text(condition, _OR)}: "


def _statement(rule: Rule) -> tuple[str, list[str]]:
    """The head of a rule and the list that it ends with."""
    head = _where(rule.where) + ("" if rule.weight is None else f"prefer {rule.weight}: ")
    match rule.formula:
        case Not(And((Chosen() as first, Chosen() as second))):
            return head, [f"{_text(first, _OR)} excludes {_text(second, _ATOM)}"]
        case Tuples(names, _, allowed):
            word = "allowed" if allowed else "forbidden"
            return f"{head}{word} {', '.join(written(name.text) for name in names)}: ", _rows(rule.formula)
        case Count(low, high, parts) if parts:
            texts = [_text(part, _ATOM) for part in parts]
            if not texts[0].startswith("("):
                return f"{head}{_bounds(low, high)} of ", texts
    return head, [_text(rule.formula, _EXPRESSION)]


def _rows(table: Tuples) -> list[str]:
    if not table.rows and table.allowed:
        raise RuleError(
            "A table of allowed combinations has no rows, so nothing is allowed; expected at least one row. Write "
            "never instead of the table."
        )
    if not table.rows:
        raise RuleError(
            "A table of forbidden combinations has no rows, so nothing is forbidden; expected at least one row. Write "
            "always instead of the table."
        )
    return [f"({', '.join('*' if cell is None else _option(cell) for cell in row)})" for row in table.rows]


# ---- formulas and conditions -----------------------------------------------------------------------------------------


def _text(part: Formula | Condition, place: int) -> str:
    """The part as text, in parentheses where it binds less than its place asks for."""
    text, binding = _bound(part)
    return f"({text})" if binding < place else text


def _bound(part: Formula | Condition) -> tuple[str, int]:
    match part:
        case And(()):
            return "always", _ATOM
        case Or(()):
            return "never", _ATOM
        case And((only,)) | Or((only,)):
            return _bound(only)
        case And(parts):
            return " and ".join(_text(inner, _ATOM) for inner in parts), _AND
        case Or(parts):
            return " or ".join(_text(inner, _AND) for inner in parts), _OR
        case Implies(premise, conclusion):
            before, after = _text(premise, _OR), _text(conclusion, _OR)
            plain = isinstance(premise, Chosen) and not premise.options
            return (f"{before} requires {after}" if plain else f"if {before} then {after}"), _EXPRESSION
        case Not(inner):
            return _negation(inner), _ATOM
        case Compare(name, comparison, value):
            return _test(name, comparison, value), _ATOM
        case Tuples(names, _, allowed):
            word = "allowed" if allowed else "forbidden"
            return f"{word} {', '.join(written(name.text) for name in names)}: {', '.join(_rows(part))}", _ALONE
        case _:
            return _atom(part), _ATOM


def _negation(inner: Formula | Condition) -> str:
    match inner:
        case Chosen(name, (option,)):
            return f"{written(name.text)} != {_option(option)}"
        case Chosen(name, options) if options:
            return f"{written(name.text)} not in {_braces(map(_option, options))}"
        case Compare(name, "in", value):
            return _test(name, "not in", value)
        case _:
            return f"not {_text(inner, _ATOM)}"


def _atom(part: Chosen | Count | Size | Total | Above | Place | Adjacent) -> str:
    match part:
        case Chosen(name, ()):
            return written(name.text)
        case Chosen(name, (option,)):
            return f"{written(name.text)} = {_option(option)}"
        case Chosen(name, options):
            return f"{written(name.text)} in {_braces(map(_option, options))}"
        case Count(low, high, parts):
            return f"{_bounds(low, high)} of {_braces(_text(inner, _EXPRESSION) for inner in parts)}"
        case Size(low, high):
            return f"size {_bounds(low, high)}"
        case Total(attribute, low, high):
            return f"total {written(attribute.text)} {_bounds(low, high)}"
        case Above(first, second):
            return f"{written(first.text)} above {written(second.text)}"
        case Adjacent(first, second):
            return f"{written(first.text)} next to {written(second.text)}"
        case Place(name, low, high):
            return f"{written(name.text)} in {_places(low, high)}"


def _test(name: Name, comparison: str, value: Decimal | str | tuple[Decimal | str, ...]) -> str:
    values = value if isinstance(value, tuple) else (value,)
    texts = [written(word) if isinstance(word, str) else str(word) for word in values]
    return f"{written(name.text)} {comparison} {_braces(texts) if isinstance(value, tuple) else texts[0]}"


def _bounds(low: int | Decimal | None, high: int | Decimal | None) -> str:
    if low is None and high is None:
        raise RuleError("A total has no bound; expected a lower or an upper one. Give a bound, or leave the total out.")
    if low == high:
        return f"exactly {low}"
    if high is None:
        return f"at least {low}"
    if low is None or (low == 0 and isinstance(low, int)):
        return f"at most {high}"
    return f"between {low} and {high}"


def _places(low: int, high: int) -> str:
    if low == high and low > 0:
        return f"place {low}"
    if low == 1 and high > 0:
        return f"top {high}"
    if high == -1 and low < 0:
        return f"bottom {-low}"
    return f"place {low}" if low == high else f"places {low} to {high}"


def _option(name: Name) -> str:
    return written(name.text, option=True)


def _braces(texts: Iterable[str]) -> str:
    return "{" + ", ".join(texts) + "}"
