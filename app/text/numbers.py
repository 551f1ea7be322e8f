"""Numbers as readers of each language expect them, always with their interval and unit.

Babel knows the separators; the spacing follows the habit of each language: "4.2 %" in English, "4.2%" in Japanese.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from babel.dates import format_datetime
from babel.numbers import format_decimal

from app.text import Language

NBSP = "\N{NO-BREAK SPACE}"
MISSING = "–"


@dataclass(frozen=True)
class Interval:
    """A number with the bounds it is believed to lie between (95 % unless the place that shows it says otherwise)."""

    value: float
    low: float
    high: float


def count(number: float, lang: Language) -> str:
    """Return a whole number with the separators of the language.

    >>> count(12345, "en")
    '12,345'
    """
    return format_decimal(round(number), locale=lang, format="#,##0")


def decimal(number: float | None, lang: Language, digits: int = 2) -> str:
    """Return a number with a fixed number of decimals; a missing one is a dash, never a zero.

    >>> decimal(0.0812, "en"), decimal(None, "en")
    ('0.08', '–')
    """
    if number is None or not math.isfinite(number):
        return MISSING
    shown = format_decimal(number, locale=lang, format="#,##0." + "0" * digits if digits else "#,##0")
    return shown.replace("-", "\N{MINUS SIGN}")


def percent(share: float | None, lang: Language, digits: int = 1) -> str:
    """Return a share of one as per cent. Shares that would round to 0 or 100 without being so are said as bounds.

    >>> percent(0.042, "ja"), percent(0.0001, "ja"), percent(0.99999, "ja")
    ('4.2%', '<0.1%', '>99.9%')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    step = 10.0**-digits
    shown, mark = 100.0 * share, ""
    if share > 0.0 and shown <= step / 2:
        shown, mark = step, "<"
    elif share < 1.0 and shown >= 100.0 - step / 2:
        shown, mark = 100.0 - step, ">"
    return mark + decimal(shown, lang, digits) + _unit("%", lang)


def percent_interval(share: Interval, lang: Language, digits: int = 1) -> str:
    """Return a share with its interval.

    >>> percent_interval(Interval(0.042, 0.036, 0.049), "ja")
    '4.2%（3.6〜4.9%）'
    """
    low, high = (decimal(100.0 * bound, lang, digits) for bound in (share.low, share.high))
    return percent(share.value, lang, digits) + _bracket(low, high + _unit("%", lang), lang)


def percent_range(share: Interval, lang: Language, digits: int = 1) -> str:
    """Return only the bounds of a share, for a place where the number itself stands beside them.

    >>> percent_range(Interval(0.042, 0.036, 0.049), "ja")
    '3.6〜4.9%'
    """
    low, high = (decimal(100.0 * bound, lang, digits) for bound in (share.low, share.high))
    return _range(low, high + _unit("%", lang), lang)


def with_interval(number: Interval, unit: str, lang: Language, digits: int = 2) -> str:
    """Return a number with its interval and an already translated unit.

    >>> with_interval(Interval(0.08, 0.05, 0.1), "nat", "en").replace(NBSP, " ")
    '0.08 nat (0.05–0.10 nat)'
    """
    value, low, high = (decimal(part, lang, digits) for part in (number.value, number.low, number.high))
    return value + _unit(unit, lang) + _bracket(low, high + _unit(unit, lang), lang)


def one_in(share: float, lang: Language) -> str:
    """Return a small share as odds against one case.

    >>> one_in(1 / 24, "en")
    '1 in 24'
    """
    if not share > 0.0:
        return MISSING
    among = count(1.0 / share, lang)
    return f"1 in {among}" if lang == "en" else f"{among}件に1件"


def size(number_of_bytes: int, lang: Language) -> str:
    """Return a file size in the largest unit that keeps it above one.

    >>> size(2_500_000, "ja")
    '2.5 MB'
    """
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number_of_bytes >= divisor:
            return decimal(number_of_bytes / divisor, lang, 1) + " " + unit
    return count(number_of_bytes, lang) + " B"


def duration(seconds: float | None, lang: Language) -> str:
    """Return a span of time in its two largest units.

    >>> duration(130, "en").replace(NBSP, " "), duration(130, "ja"), duration(7320, "ja")
    ('2 min 10 s', '2分10秒', '2時間2分')
    """
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    units = {"en": ("h", "min", "s"), "ja": ("時間", "分", "秒")}[lang]
    parts = [(hours, units[0]), (minutes, units[1]), (rest, units[2])]
    shown = [part for part in parts if part[0]][: 2 if hours or minutes else 1]
    gap, between = ("", "") if lang == "ja" else (NBSP, " ")  # a line breaks between the two, if at all
    return between.join(f"{number}{gap}{unit}" for number, unit in shown) or f"0{gap}{units[2]}"


def combinations(log_number: float, lang: Language) -> str:
    """Return how many combinations there are, from the natural logarithm of their number.

    >>> combinations(math.log(16384), "en"), combinations(math.log(10) * 23, "en")
    ('16,384', '10²³')
    """
    if log_number < math.log(1e12):
        return count(math.exp(log_number), lang)
    return "10" + _raised(math.floor(log_number / math.log(10) + 1e-9))


def whole(number: int, lang: Language) -> str:
    """Return an exact number: in full up to twenty digits, beyond that by its leading digits and its power of ten.

    >>> whole(12064, "en"), whole(2**64, "ja"), whole(2**100, "en").replace(NBSP, " ")
    ('12,064', '18,446,744,073,709,551,616', '1.27 × 10³⁰')
    """
    if number < 10**20:
        return format_decimal(number, locale=lang, format="#,##0")
    power, rest = divmod(math.log10(number), 1.0)
    head = decimal(min(10.0**rest, 9.99), lang)
    return f"{head}{NBSP}×{NBSP}10" + _raised(int(power))


def about(number: int, lang: Language) -> str:
    """Return an estimated number: three leading digits, and the sign that says so.

    >>> about(1234567, "en").replace(NBSP, " "), about(87, "ja")
    ('≈ 1,230,000', '≈87')
    """
    spare = max(0, len(str(number)) - 3) if number < 10**20 else 0
    return "≈" + ("" if lang == "ja" else NBSP) + whole(number // 10**spare * 10**spare, lang)


def share_of(part: int, total: int, lang: Language) -> str:
    """Return one exact number as a share of another; a small one as odds.

    >>> share_of(12064, 112500, "en").replace(NBSP, " "), share_of(1, 2**20, "ja"), share_of(5, 5, "ja")
    ('10.7 %', '1,048,576件に1件', '100%')
    """
    if part == total:
        return percent(1.0, lang, 0)
    if 1000 * part >= total:
        return percent(part / total, lang)
    if not part:
        return percent(0.0, lang, 0)
    among = whole(total // part, lang)
    return f"1 in {among}" if lang == "en" else f"{among}件に1件"


def moment(when: float | datetime, lang: Language) -> str:
    """Return a point in time, in the clock of this machine.

    >>> len(moment(0.0, "en")) > 8
    True
    """
    stamp = when if isinstance(when, datetime) else datetime.fromtimestamp(when, tz=UTC)
    return format_datetime(stamp.astimezone(), format="medium", locale=lang)


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _unit(unit: str, lang: Language) -> str:
    return unit if lang == "ja" else NBSP + unit


def _range(low: str, high: str, lang: Language) -> str:
    return f"{low}〜{high}" if lang == "ja" else f"{low}–{high}"


def _bracket(low: str, high: str, lang: Language) -> str:
    between = _range(low, high, lang)
    return f"（{between}）" if lang == "ja" else f" ({between})"
