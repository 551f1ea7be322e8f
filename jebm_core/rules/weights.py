"""Numbers in rules: attributes as whole numbers, and probabilities as log-weights."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from typing import TYPE_CHECKING, final

from jebm_core.errors import RuleError
from jebm_core.rules.language import Condition, Probability, RuleSet
from jebm_core.rules.places import place_of

if TYPE_CHECKING:
    from jebm_core.rules.lookup import Lookup


@final
@dataclass(frozen=True)
class LogWeight:
    """What an option of a variable adds to log q, in nats, where the condition of that number (if any) holds."""

    variable: int
    option: int
    value: float
    condition: int | None = None


def scaled_bounds(
    values: Sequence[Decimal], low: Decimal | None, high: Decimal | None
) -> tuple[Callable[[Decimal], int], int | None, int | None]:
    """(from a value to a whole number, bounds in the same unit): decimals become exact whole numbers.

    The unit is the largest in which every value is whole; bounds are rounded inwards, which changes nothing.

    >>> scale, low, high = scaled_bounds([Decimal("0.5"), Decimal("2")], None, Decimal("3.3"))
    >>> scale(Decimal("2")), low, high
    (4, None, 6)
    """
    digits = max((-int(value.as_tuple().exponent) for value in values), default=0)
    unit = Decimal(1).scaleb(-max(0, digits))
    whole = [int(value / unit) for value in values]
    step = math.gcd(*whole) or 1
    lowest = None if low is None else int((low / unit / step).to_integral_value(ROUND_CEILING))
    highest = None if high is None else int((high / unit / step).to_integral_value(ROUND_FLOOR))
    return lambda value: int(value / unit) // step, lowest, highest


def log_weights(rules: RuleSet, lookup: "Lookup", number: Callable[[Condition | None], int | None]) -> list[LogWeight]:
    """Probabilities as log-weights: log-odds of items, log-probabilities of options; what a slot's named options leave
    is shared evenly by the others.

    Raises:
        RuleError: nothing is left for the options that are not named, or a name that is not an output.
    """
    found: list[LogWeight] = []
    given_before: set[tuple[int, Condition | None]] = set()
    by_slot = groupby(rules.probabilities, key=lambda p: (p.name, p.where))
    for (name, where), entries in by_slot:
        variable, given = lookup.variable(name), list(entries)
        if variable >= len(lookup.schema.names):
            raise RuleError(
                "{place}: expected the probability of a column of the table, found {name!r}, which the table does not "
                "have. Leave it out, or add the column.",
                **place_of(name, rules.source),
                name=name.text,
            )
        if (variable, where) in given_before:
            raise RuleError(
                "{place}: expected one probability of {name!r}, found a second. Keep one.",
                **place_of(name, rules.source),
                name=name.text,
            )
        given_before.add((variable, where))
        found.extend(_of_slot(rules, lookup, variable, given, number(where)))
    return found


def _of_slot(
    rules: RuleSet, lookup: "Lookup", variable: int, given: Sequence[Probability], condition: int | None
) -> list[LogWeight]:
    size = lookup.sizes[variable]
    if given[0].option is None:
        p = float(given[0].value)
        return [LogWeight(variable, 1, math.log(p) - math.log1p(-p), condition)]
    named = {lookup.option(entry.name, entry.option): float(entry.value) for entry in given if entry.option is not None}
    rest = 1 - math.fsum(named.values())
    others = [option for option in range(size) if option not in named]
    if others and rest <= 1e-12:
        raise RuleError(
            "{place}: the probabilities of {name!r} add up to 1, which leaves nothing for {option!r}. Name every "
            "option, or forbid those that are impossible.",
            **place_of(given[0].name, rules.source),
            name=given[0].name.text,
            option=lookup.options_of(variable)[others[0]],
        )
    weights = [LogWeight(variable, option, math.log(p), condition) for option, p in named.items()]
    return weights + [LogWeight(variable, option, math.log(rest / len(others)), condition) for option in others]
