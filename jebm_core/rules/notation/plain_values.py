"""Plain values (JSON, YAML) as names, numbers, lists and tables; messages name a path such as ``rules[3].then``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, final

from jebm_core.errors import RuleError
from jebm_core.rules.language import Name
from jebm_core.rules.notation.builder import MOST_DIGITS, short
from jebm_core.rules.notation.names import nearest

DEEPEST = 50
"""Levels inside one another."""


@final
@dataclass(frozen=True)
class Spot:
    """Where a value stands: the source, and the path to it."""

    source: str
    path: str = ""
    depth: int = 0

    def at(self, step: str | int) -> "Spot":
        """The spot of a part of the value here.

        >>> Spot("r.json").at("rules").at(3).at("then").path
        'rules[3].then'
        """
        path = f"{self.path}[{step}]" if isinstance(step, int) else f"{self.path}.{step}".lstrip(".")
        if self.depth >= DEEPEST:
            raise RuleError(
                "{source}, {path}: expected at most {most} levels inside one another, found more. Split the rule into "
                "several.",
                source=self.source,
                path=self.path,
                most=DEEPEST,
            )
        return Spot(self.source, path, self.depth + 1)

    @property
    def place(self) -> dict[str, Any]:
        """The values of every message that name the spot."""
        return {"source": self.source, "path": self.path or "$"}


def as_table(value: object, spot: Spot) -> dict[str, Any]:
    """A table from names to values; a whole number as a key counts as the text of it."""
    if not isinstance(value, Mapping):
        raise RuleError(
            "{source}, {path}: expected keys with values, found {found}. For example: {{if: A, then: B}}.",
            **spot.place,
            found=shown(value),
        )
    return {as_name(key, spot).text: part for key, part in value.items()}


def as_list(value: object, spot: Spot, least: int = 0) -> list[Any]:
    """A list of at least so many parts."""
    if not isinstance(value, list | tuple) or len(value) < least:
        raise RuleError(
            "{source}, {path}: expected a list with {least} or more parts, found {found}. For example: [A, B].",
            **spot.place,
            least=least,
            found=shown(value),
        )
    return list(value)


def as_list_of(count: int, value: object, spot: Spot, example: str) -> list[Any]:
    """A list of exactly so many values; ``example`` shows one."""
    if not isinstance(value, list | tuple) or len(value) != count:
        raise RuleError(
            "{source}, {path}: expected a list of {count} values, found {found}. For example: {example}.",
            **spot.place,
            count=count,
            found=shown(value),
            example=example,
        )
    return list(value)


def as_name(value: object, spot: Spot) -> Name:
    """A name; a whole number counts as the text of it."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise RuleError(
            "{source}, {path}: expected a name, found {found}. Put a name that reads like a number, a date or a truth "
            "value in quotes.",
            **spot.place,
            found=shown(value),
        )
    return Name(str(value))


def as_number(value: object, spot: Spot) -> Decimal:
    """A number of usual length; text is read as one where a number must stand."""
    number = None
    if isinstance(value, int | float | Decimal | str) and not isinstance(value, bool):
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            number = None
    if number is None or not short(number):
        raise RuleError(
            "{source}, {path}: expected a number of at most {most} digits, found {found}. For example: 2.5.",
            **spot.place,
            most=MOST_DIGITS,
            found=shown(value),
        )
    return number


def as_whole(value: object, spot: Spot) -> int:
    """A whole number."""
    number = as_number(value, spot)
    if number != number.to_integral_value():
        raise RuleError(
            "{source}, {path}: expected a whole number, found {found}. Only whole things are counted.",
            **spot.place,
            found=shown(value),
        )
    return int(number)


def check_keys(record: Iterable[str], known: Iterable[str], spot: Spot) -> None:
    """Refuse a word, a key as a rule, that is not known here."""
    known = tuple(known)
    for key in record:
        if key not in known:
            raise RuleError(
                "{source}, {path}: expected a word such as {meant!r}, found {found!r}. Known here are: {known}.",
                **spot.place,
                meant=nearest(key, known) or known[0],
                found=key,
                known=", ".join(known[:20]) + (", …" if len(known) > 20 else ""),
            )


def required(record: Mapping[str, Any], key: str, spot: Spot) -> Any:
    """The value of a key that must be there."""
    if key not in record:
        raise RuleError(
            "{source}, {path}: expected the key {key!r}, found {found}. Add the key.",
            **spot.place,
            key=key,
            found=", ".join(record) or "{}",
        )
    return record[key]


def shown(value: object) -> str:
    """The beginning of a value, for messages.

    >>> shown([1, 2])
    '[1, 2]'
    """
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
