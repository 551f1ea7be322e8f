"""Formulas and conditions of the structured notation (JSON, YAML), read from plain values.

Text in the place of a formula or condition is read as the text notation.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast

from jebm_core.errors import RuleError
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
    Name,
    Not,
    Or,
    Place,
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.notation.parser import parse_condition, parse_formula
from jebm_core.rules.notation.plain_values import (
    Spot,
    as_list,
    as_list_of,
    as_name,
    as_number,
    as_table,
    as_whole,
    check_keys,
    required,
    shown,
)

BOUNDS = ("exactly", "at least", "at most")
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in")
# What each form of a formula consists of, by the key that tells it.
FORMS: dict[str, tuple[str, ...]] = {
    "item": ("places",),
    "slot": ("is", "in"),
    "not": (),
    "all": (),
    "any": (),
    "if": ("then",),
    "of": BOUNDS,
    "size": (),
    "total": BOUNDS,
    "allowed": ("rows",),
    "forbidden": ("rows",),
    "above": (),
    "next to": (),
}
CONDITION_FORMS: dict[str, tuple[str, ...]] = {"feature": COMPARISONS, "not": (), "all": (), "any": ()}
_T = TypeVar("_T")


def without_lines(part: _T) -> _T:
    """The same formula or condition, its names without a place: they stand inside a value, not in a line of a file."""
    found: Any = part
    if isinstance(part, Name):
        found = Name(part.text)
    elif isinstance(part, tuple):
        found = tuple(without_lines(inner) for inner in part)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = {entry.name: without_lines(getattr(part, entry.name)) for entry in dataclasses.fields(part)}
        found = dataclasses.replace(part, **values)
    return cast(_T, found)


def form_of(record: Mapping[str, Any], forms: Mapping[str, tuple[str, ...]], spot: Spot, also: tuple[str, ...]) -> str:
    """The key that tells which form a table has; its other keys belong to that form or to ``also``."""
    told = next((key for key in forms if key in record), None)
    if told is None:
        check_keys(record, (*forms, *dict.fromkeys(key for keys in forms.values() for key in keys), *also), spot)
        raise RuleError(
            "{source}, {path}: expected one of the keys {known}, found {found}. For example: {{if: A, then: B}}.",
            **spot.place,
            known=", ".join(forms),
            found=", ".join(record) or "{}",
        )
    check_keys(record, (told, *forms[told], *also), spot)
    return told


def read_formula(value: object, spot: Spot, also: tuple[str, ...] = ()) -> Formula:
    """The formula that a value stands for; keys in ``also`` are somebody else's."""
    if isinstance(value, str):
        return without_lines(parse_formula(value, f"{spot.source}, {spot.path}"))
    record = as_table(value, spot)
    told = form_of(record, FORMS, spot, also)
    part, here = record[told], spot.at(told)
    match told:
        case "item" if "places" in record:
            return _place(as_name(part, here), record["places"], spot.at("places"))
        case "item":
            return Chosen(as_name(part, here))
        case "slot" if "is" in record:
            check_keys(record, ("slot", "is", *also), spot)
            return Chosen(as_name(part, here), (as_name(record["is"], spot.at("is")),))
        case "slot":
            options = as_list(required(record, "in", spot), spot.at("in"), 1)
            return Chosen(as_name(part, here), tuple(as_name(option, spot.at("in")) for option in options))
        case "not":
            return Not(read_formula(part, here))
        case "all":
            return And(_each(part, here, read_formula))
        case "any":
            return Or(_each(part, here, read_formula))
        case "if":
            return Implies(read_formula(part, here), read_formula(required(record, "then", spot), spot.at("then")))
        case "of":
            low, high = _bounds(record, spot, as_whole)
            return Count(low or 0, high, _each(part, here, read_formula))
        case "size":
            bounds = as_table(part, here)
            check_keys(bounds, BOUNDS, here)
            low, high = _bounds(bounds, here, as_whole)
            return Size(low or 0, high)
        case "total":
            return Total(as_name(part, here), *_bounds(record, spot, as_number))
        case "allowed" | "forbidden":
            return _tuples(record, told, spot)
        case "above":
            first, second = as_list_of(2, part, here, "[A, B]")
            return Above(as_name(first, here), as_name(second, here))
        case _:
            first, second = as_list_of(2, part, here, "[A, B]")
            return Adjacent(as_name(first, here), as_name(second, here))


def read_condition(value: object, spot: Spot) -> Condition:
    """The condition that a value stands for."""
    if isinstance(value, str):
        return without_lines(parse_condition(value, f"{spot.source}, {spot.path}"))
    record = as_table(value, spot)
    told = form_of(record, CONDITION_FORMS, spot, ())
    part, here = record[told], spot.at(told)
    match told:
        case "not":
            return Not(read_condition(part, here))
        case "all":
            return And(_each(part, here, read_condition))
        case "any":
            return Or(_each(part, here, read_condition))
    comparison = next((key for key in COMPARISONS if key in record), "==")
    check_keys(record, ("feature", comparison), spot)
    return _test(as_name(part, here), comparison, required(record, comparison, spot), spot.at(comparison))


def _each(value: object, spot: Spot, read: Callable[[object, Spot], _T]) -> tuple[_T, ...]:
    return tuple(read(part, spot.at(index)) for index, part in enumerate(as_list(value, spot)))


def _bounds(record: Mapping[str, Any], spot: Spot, read: Callable[[object, Spot], _T]) -> tuple[_T | None, _T | None]:
    """The bounds among the keys of a table."""
    given = {key: read(record[key], spot.at(key)) for key in BOUNDS if key in record}
    low: Any = given.get("exactly", given.get("at least"))
    high: Any = given.get("exactly", given.get("at most"))
    found = ", ".join(f"{key}: {bound}" for key, bound in given.items())
    if not given:
        raise RuleError(
            "{source}, {path}: expected one of the keys exactly, at least and at most, found none of them. For "
            "example: {{at least: 1, at most: 2, of: [A, B, C]}}.",
            **spot.place,
        )
    if "exactly" in given and len(given) > 1:
        raise RuleError(
            "{source}, {path}: expected exactly alone, or else at least and at most, found {found}. Leave out exactly, "
            "or the others.",
            **spot.place,
            found=found,
        )
    for key, bound in given.items():
        if read is as_whole and cast(int, bound) < 0:
            raise RuleError(
                "{source}, {path}: expected a whole number from 0 up, found {found}. Only whole things are counted.",
                **spot.at(key).place,
                found=bound,
            )
    if low is not None and high is not None and low > high:
        raise RuleError(
            "{source}, {path}: expected at least to be no more than at most, found {found}. Exchange the two numbers.",
            **spot.place,
            found=found,
        )
    return low, high


def _place(name: Name, value: object, spot: Spot) -> Place:
    low, high = (as_whole(end, spot) for end in as_list_of(2, value, spot, "[1, 3]"))
    if low == 0 or high == 0 or ((low < 0) == (high < 0) and low > high):
        raise RuleError(
            "{source}, {path}: expected the first and the last place, counted from 1 or backwards from -1, found "
            "{found}. For example: [1, 3] or [-2, -1].",
            **spot.place,
            found=shown(value),
        )
    return Place(name, low, high)


def _tuples(record: Mapping[str, Any], told: Literal["allowed", "forbidden"], spot: Spot) -> Tuples | And | Or:
    """A table; one without rows allows nothing, or forbids nothing."""
    names = tuple(as_name(name, spot.at(told)) for name in as_list(record[told], spot.at(told), 1))
    if len(set(names)) < len(names):
        raise RuleError(
            "{source}, {path}: expected different names in the heading of the table, found {found}. Name each of them "
            "once.",
            **spot.at(told).place,
            found=", ".join(name.text for name in names),
        )
    rows = []
    for index, row in enumerate(as_list(required(record, "rows", spot), spot.at("rows"))):
        here = spot.at("rows").at(index)
        if not isinstance(row, list | tuple) or len(row) != len(names):
            raise RuleError(
                "{source}, {path}: expected a list of {count} values, one for each name of the table ({names}), found "
                "{found}. Write null where any option will do.",
                **here.place,
                count=len(names),
                names=", ".join(name.text for name in names),
                found=shown(row),
            )
        rows.append(tuple(None if cell is None else as_name(cell, here) for cell in row))
    if not rows:
        return Or(()) if told == "allowed" else And(())
    return Tuples(names, tuple(rows), told == "allowed")


def _test(name: Name, comparison: str, value: object, spot: Spot) -> Compare:
    values = as_list(value, spot, 1) if comparison == "in" else [value]
    plain = tuple(part if isinstance(part, str) else as_number(part, spot) for part in values)
    words = sum(isinstance(part, str) for part in plain)
    if words not in (0, len(plain)) or (words and comparison not in ("==", "!=", "in")):
        raise RuleError(
            "{source}, {path}: expected only numbers, or only words after ==, != or in, found {found}. Numbers stand "
            "without quotes.",
            **spot.place,
            found=shown(value),
        )
    return Compare(name, cast(Any, comparison), cast(Any, plain if comparison == "in" else plain[0]))
