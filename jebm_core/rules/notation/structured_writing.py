"""Formulas and conditions of the structured notation (JSON, YAML), written as plain values."""

from decimal import Decimal
from typing import Any

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
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.notation.names import written
from jebm_core.rules.notation.printer import part_text


def plain_number(number: Decimal) -> int | float | str:
    """The number as JSON and YAML hold it: text where a float would lose digits.

    >>> plain_number(Decimal("2.0")), plain_number(Decimal("0.1")), plain_number(Decimal("0.12345678901234567890"))
    (2, 0.1, '0.12345678901234567890')
    """
    if number == number.to_integral_value():
        return int(number)
    return float(number) if Decimal(repr(float(number))) == number else str(number)


def formula_record(formula: Formula) -> dict[str, Any] | str:
    """The formula as a table of keys; an item is its name where that needs no quotes.

    >>> from jebm_core.rules.language import Name
    >>> formula_record(Implies(Chosen(Name("A")), Chosen(Name("Motor"), (Name("servo"),))))
    {'if': 'A', 'then': {'slot': 'Motor', 'is': 'servo'}}
    """
    match formula:
        case Chosen(name, ()):
            return name.text if written(name.text) == name.text else {"item": name.text}
        case Chosen(name, (option,)):
            return {"slot": name.text, "is": option.text}
        case Chosen(name, options):
            return {"slot": name.text, "in": [option.text for option in options]}
        case Not(part):
            return {"not": formula_record(_formula(part))}
        case And(parts):
            return {"all": [formula_record(_formula(part)) for part in parts]}
        case Or(parts):
            return {"any": [formula_record(_formula(part)) for part in parts]}
        case Implies(premise, conclusion):
            return {"if": formula_record(premise), "then": formula_record(conclusion)}
        case Count(low, high, parts):
            return _bounds(low, high) | {"of": [formula_record(part) for part in parts]}
        case Size(low, high):
            return {"size": _bounds(low, high)}
        case Total(attribute, low, high):
            return {"total": attribute.text} | _bounds(low, high)
        case Tuples(names, rows, allowed):
            heading = [name.text for name in names]
            cells = [[None if cell is None else cell.text for cell in row] for row in rows]
            return {"allowed" if allowed else "forbidden": heading, "rows": cells}
        case Above(first, second):
            return {"above": [first.text, second.text]}
        case Adjacent(first, second):
            return {"next to": [first.text, second.text]}
        case Place(name, low, high):
            return {"item": name.text, "places": [low, high]}


def condition_record(condition: Condition) -> dict[str, Any] | str:
    """The condition as a table of keys.

    >>> from jebm_core.rules.language import Name
    >>> condition_record(Compare(Name("load"), ">", Decimal("2.5")))
    {'feature': 'load', '>': 2.5}
    """
    match condition:
        case Not(part):
            return {"not": condition_record(_condition(part))}
        case And(parts):
            return {"all": [condition_record(_condition(part)) for part in parts]}
        case Or(parts):
            return {"any": [condition_record(_condition(part)) for part in parts]}
        case Compare(name, comparison, value):
            values = value if isinstance(value, tuple) else (value,)
            plain = [plain_number(part) if isinstance(part, Decimal) else part for part in values]
            if any(
                isinstance(part, Decimal) and isinstance(shown, str) for part, shown in zip(values, plain, strict=True)
            ):
                return part_text(condition)  # as text the number would be a word
            return {"feature": name.text, comparison: plain if isinstance(value, tuple) else plain[0]}


def _bounds(low: int | Decimal | None, high: int | Decimal | None) -> dict[str, Any]:
    if low == high and low is not None:
        return {"exactly": _plain(low)}
    record = (
        {} if low is None or (low == 0 and high is not None and isinstance(low, int)) else {"at least": _plain(low)}
    )
    return record if high is None else record | {"at most": _plain(high)}


def _plain(bound: int | Decimal) -> int | float | str:
    return bound if isinstance(bound, int) else plain_number(bound)


def _formula(part: Formula | Condition) -> Formula:
    assert not isinstance(part, Compare)
    return part


def _condition(part: Formula | Condition) -> Condition:
    assert isinstance(part, Compare | Not | And | Or)
    return part
