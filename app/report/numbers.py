"""Numbers of a report: each with its value, its text in the language of the report, its unit and its interval."""

import string
from collections.abc import Sequence

from app.components import place
from app.components.language import _, sentence
from app.report.model import Kind, Number, Statement
from app.text import Signed, Templated, translate
from app.text import numbers as written
from app.text.numbers import Interval


def counted(value: float, kind: Kind = "count") -> Number:
    """A whole number."""
    return Number(value, written.count(value, place.language()), kind=kind)


def plain(value: float | None, digits: int = 2, unit: str = "") -> Number:
    """A number with its translated unit and without an interval."""
    lang = place.language()
    return Number(value, written.decimal(value, lang, digits) + _spaced(unit), unit)


def ranged(value: Sequence[float], unit: str = "", digits: int = 1, kind: Kind = "number") -> Number:
    """A number with its interval, (value, low, high); the unit stands once, behind the interval's end as well."""
    lang, one = place.language(), Interval(*value)
    if unit:
        text = written.with_interval(one, unit, lang, digits)
    else:
        first, low, high = (written.decimal(part, lang, digits) for part in value)
        text = _("{value} ({low} to {high})").format(value=first, low=low, high=high)
    return Number(value[0], text, unit, kind, value[1], value[2])


def share(value: float | None, digits: int = 0, kind: Kind = "share") -> Number:
    """A share of one as per cent, without an interval."""
    return Number(value, written.percent(value, place.language(), digits), "%", kind)


def share_ranged(value: Sequence[float], digits: int = 0, kind: Kind = "share") -> Number:
    """A share of one with its interval as per cent."""
    text = written.percent_interval(Interval(*value), place.language(), digits)
    return Number(value[0], text, "%", kind, value[1], value[2])


def span(seconds: float | None) -> Number:
    """A span of time."""
    return Number(seconds, written.duration(seconds, place.language()), "s", "seconds")


def exact(number: int) -> Number:
    """An exact number, however large."""
    return Number(float(number) if number < 2**1000 else None, written.whole(number, place.language()), kind="count")


def money(value: Sequence[float], currency: str) -> Number:
    """An amount with its interval."""
    largest = max(abs(part) for part in value)
    return ranged(value, currency, 0 if largest >= 100 else 2, "money")


def say(template: str, **values: Number | str) -> Statement:
    """A translated sentence with its numbers and words put in."""
    texts = {name: value.text if isinstance(value, Number) else value for name, value in values.items()}
    found = {name: value for name, value in values.items() if isinstance(value, Number)}
    return Statement(template.format(**texts), found)


def told(item: object) -> Statement:
    """A sentence of `jebm_core` in the language of the report, with the numbers that its template names."""
    text = sentence(item)
    if not isinstance(item, Templated):
        return Statement(text)
    found = {}
    for _text, name, form, _conversion in string.Formatter().parse(translate(item.template, place.language())):
        value = item.values.get(name or "")
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = format(Signed(value) if isinstance(value, float) else value, form or "")
            found[str(name)] = Number(value, shown, kind="count" if value == int(value) else "number")
    return Statement(text, found)


def _spaced(unit: str) -> str:
    return "" if not unit else unit if place.language() == "ja" else written.NBSP + unit
