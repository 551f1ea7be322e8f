"""Formulas whose names have become numbers: variables 0, 1, … and their options.

An item of a subset is a variable with the options 0 (left out) and 1 (chosen); a slot has its options; in a ranking a
*place* is a variable and its options are the items.
"""

from dataclasses import dataclass
from typing import TypeAlias, final


@final
@dataclass(frozen=True)
class Takes:
    """The variable has one of the options."""

    variable: int
    options: frozenset[int]


@final
@dataclass(frozen=True)
class Negation:
    """The part does not hold."""

    part: "Bound"


@final
@dataclass(frozen=True)
class Every:
    """All parts hold."""

    parts: "tuple[Bound, ...]"


@final
@dataclass(frozen=True)
class Some:
    """At least one part holds."""

    parts: "tuple[Bound, ...]"


@final
@dataclass(frozen=True)
class Between:
    """From ``low`` to ``high`` (None: any number) of the parts hold."""

    low: int
    high: int | None
    parts: "tuple[Bound, ...]"


@final
@dataclass(frozen=True)
class Sum:
    """The weights of what the variables have add up to ``low`` … ``high``, both included; None: no bound."""

    low: int | None
    high: int | None
    weights: tuple[tuple[int, tuple[int, ...]], ...]


@final
@dataclass(frozen=True)
class Rows:
    """The variables have the options of one of the rows; −1 in a row stands for any option."""

    variables: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]


@final
@dataclass(frozen=True)
class Before:
    """In a ranking, the first item stands in an earlier place than the second."""

    first: int
    second: int


@final
@dataclass(frozen=True)
class Beside:
    """In a ranking, the items stand in places next to one another."""

    first: int
    second: int


Bound: TypeAlias = Takes | Negation | Every | Some | Between | Sum | Rows | Before | Beside

TRUE, FALSE = Every(()), Some(())


def variables_of(formula: Bound) -> frozenset[int]:
    """The variables that a formula speaks of; empty for orders of a ranking, which speak of all."""
    match formula:
        case Takes(variable, _):
            return frozenset((variable,))
        case Negation(part):
            return variables_of(part)
        case Every(parts) | Some(parts) | Between(_, _, parts):
            return frozenset().union(*(variables_of(part) for part in parts))
        case Sum(_, _, weights):
            return frozenset(variable for variable, _ in weights)
        case Rows(variables, _):
            return frozenset(variables)
    return frozenset()
