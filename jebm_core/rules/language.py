"""What a set of rules says, as plain data: the tree that every notation is read into and written from.

A *formula* holds or does not hold for a combination; a *condition* holds or does not hold for a context x. A `Rule`
demands a formula: always, or only where a condition holds, or – with a weight – as a preference. Nothing here knows
what the names stand for; `jebm_core.rules.problem` binds them.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeAlias, final

Kind = Literal["subsets", "configurations", "rankings"]


@final
@dataclass(frozen=True)
class Name:
    """A name as somebody wrote it, and where (1 = first; 0 = nowhere). Equal names are equal wherever they stand."""

    text: str
    line: int = field(default=0, compare=False)
    column: int = field(default=0, compare=False)


# ---- formulas: about y -----------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Chosen:
    """An item is in the set; or, with options, a slot has one of them."""

    name: Name
    options: tuple[Name, ...] = ()


@final
@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: "Formula | Condition"


@final
@dataclass(frozen=True)
class And:
    """All parts hold; always true without parts."""

    parts: "tuple[Formula | Condition, ...]"


@final
@dataclass(frozen=True)
class Or:
    """At least one part holds; never true without parts."""

    parts: "tuple[Formula | Condition, ...]"


@final
@dataclass(frozen=True)
class Implies:
    """Where the premise holds, the conclusion does: *requires*, *if … then*."""

    premise: "Formula"
    conclusion: "Formula"


@final
@dataclass(frozen=True)
class Count:
    """From ``low`` to ``high`` (None: any number) of the parts hold."""

    low: int
    high: int | None
    parts: "tuple[Formula, ...]"


@final
@dataclass(frozen=True)
class Size:
    """From ``low`` to ``high`` (None: any number) items are in the set."""

    low: int
    high: int | None


@final
@dataclass(frozen=True)
class Total:
    """The attribute, summed over what is chosen, lies between the bounds, both included; None: no bound."""

    attribute: Name
    low: Decimal | None
    high: Decimal | None


@final
@dataclass(frozen=True)
class Tuples:
    """The named slots (or items: options ``0`` and ``1``) take one of the rows together; None in a row: any option.

    With ``allowed`` false they take none of the rows.
    """

    names: tuple[Name, ...]
    rows: tuple[tuple[Name | None, ...], ...]
    allowed: bool = True


@final
@dataclass(frozen=True)
class Above:
    """In a ranking, the first item stands above (before) the second."""

    first: Name
    second: Name


@final
@dataclass(frozen=True)
class Place:
    """In a ranking, the item stands in the places ``low`` to ``high``; 1 is the top, −1 the last place."""

    name: Name
    low: int
    high: int


@final
@dataclass(frozen=True)
class Adjacent:
    """In a ranking, the two items stand next to one another, in either order."""

    first: Name
    second: Name


Formula: TypeAlias = (
    Chosen | Not | And | Or | Implies | Count | Size | Total | Tuples | Above | Place | Adjacent
)  # fmt: skip

# ---- conditions: about x ---------------------------------------------------------------------------------------------

Comparison = Literal["==", "!=", "<", "<=", ">", ">=", "in"]


@final
@dataclass(frozen=True)
class Compare:
    """A feature compared with a value: a number, a word, or with ``in`` several of one kind."""

    name: Name
    comparison: Comparison
    value: "Decimal | str | tuple[Decimal, ...] | tuple[str, ...]"


Condition: TypeAlias = Compare | Not | And | Or

# ---- rules -----------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Rule:
    """A formula that is demanded.

    Attributes:
        weight: None where no exception is allowed; else nats by which a combination that obeys is more likely.
        where: the contexts it applies in; None for all.
        line: where it was written; 0 if nowhere.
    """

    formula: Formula
    weight: Decimal | None = None
    where: Condition | None = None
    line: int = field(default=0, compare=False)


@final
@dataclass(frozen=True)
class Variable:
    """A declared item (no options), slot, or item to be ranked. ``hidden``: it has no name of its own in the source."""

    name: Name
    options: tuple[Name, ...] = ()
    hidden: bool = field(default=False, compare=False)


@final
@dataclass(frozen=True)
class Attribute:
    """Numbers of items or options: (item or slot, option or None, value). What is not named has 0."""

    name: Name
    values: tuple[tuple[Name, Name | None, Decimal], ...]


@final
@dataclass(frozen=True)
class Probability:
    """How often an item is chosen, or an option of a slot, before the rules are applied."""

    name: Name
    option: Name | None
    value: Decimal
    where: Condition | None = None


@final
@dataclass(frozen=True)
class RuleSet:
    """A file of rules.

    Attributes:
        kind: what is declared; None where nothing is, so that the names are those of a table.
        source: what it is called in messages, a file name for instance.
    """

    kind: Kind | None = None
    variables: tuple[Variable, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    probabilities: tuple[Probability, ...] = ()
    rules: tuple[Rule, ...] = ()
    source: str = field(default="rules", compare=False)
