"""Rules bound to what they speak of: names become variables, options and conditions; every rule becomes a formula.

What they speak of is a table's outputs, or, without a table, what the file itself declares. A name that a column
carries is that column, with or without its prefix; declared variables that no column carries are *hidden*: they take
part in the rules, and are then projected away.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import final

from jebm_core.errors import RuleError
from jebm_core.rules.bound import Before, Beside, Between, Bound, Every, Negation, Rows, Some, Sum, variables_of
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Chosen,
    Condition,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    Place,
    Rule,
    RuleSet,
    Size,
    Total,
    Tuples,
)
from jebm_core.rules.lookup import Lookup, declared_schema, merged_schema
from jebm_core.rules.places import place_of
from jebm_core.rules.weights import LogWeight, log_weights, scaled_bounds
from jebm_core.tables import OutputSchema


@final
@dataclass(frozen=True)
class Demand:
    """A formula that must hold – where the condition of that number does, if there is one.

    ``rule`` is the place of the rule in the set; −1 for what a declaration says.
    """

    formula: Bound
    rule: int
    condition: int | None = None


@final
@dataclass(frozen=True)
class Preference:
    """A formula that makes a combination e^weight times as likely."""

    formula: Bound
    weight: float
    rule: int
    condition: int | None = None


@final
@dataclass(frozen=True)
class Problem:
    """Bound rules.

    Attributes:
        schema: names, columns and options of the outputs; options that only the rules name are among them.
        sizes: options of every variable: of the outputs (of the places, for rankings), then of the hidden ones.
        conditions: what demands, preferences and weights refer to by number.
    """

    rules: RuleSet
    schema: OutputSchema
    sizes: tuple[int, ...]
    demands: tuple[Demand, ...]
    preferences: tuple[Preference, ...]
    weights: tuple[LogWeight, ...]
    conditions: tuple[Condition, ...]

    @property
    def outputs(self) -> int:
        """How many variables are outputs; the others are hidden."""
        return len(self.schema.names)

    @property
    def is_ranking(self) -> bool:
        """Whether the variables are places and their options items."""
        return self.schema.kind == "rankings"

    @property
    def is_plain(self) -> bool:
        """Whether the rules only say what is valid, and say it for every context."""
        return not (self.preferences or self.weights or any(d.condition is not None for d in self.demands))


def bind(rules: RuleSet, schema: OutputSchema | None = None, *, features: Sequence[str] | None = None) -> Problem:
    """Bind rules to the outputs of a table, or to their own declarations where there is no table.

    Args:
        features: the table's feature columns, for conditions; None where they can't be checked.

    Raises:
        RuleError: an unknown name or option with the nearest known one, a rule of another kind of output, an
            impossible bound, or nothing to bind to.
    """
    target = declared_schema(rules) if schema is None else merged_schema(rules, schema)
    return _Binder(rules, target, features).problem()


@final
class _Binder:
    def __init__(self, rules: RuleSet, schema: OutputSchema, features: Sequence[str] | None) -> None:
        self.rules, self.schema = rules, schema
        self.lookup = Lookup(rules, schema, features)
        self.conditions: dict[Condition, int] = {}

    def problem(self) -> Problem:
        demands = [Demand(formula, -1) for formula in self.lookup.declared_options()]
        preferences = []
        for place, rule in enumerate(self.rules.rules):
            condition = self.condition(rule.where)
            formula = self.bound(rule.formula)
            if rule.weight is None:
                demands.append(Demand(formula, place, condition))
            else:
                self._require_visible(formula, rule)
                preferences.append(Preference(formula, float(rule.weight), place, condition))
        weights = log_weights(self.rules, self.lookup, self.condition)
        return Problem(
            self.rules,
            self.schema,
            self.lookup.sizes,
            tuple(demands),
            tuple(preferences),
            tuple(weights),
            tuple(self.conditions),
        )

    def condition(self, where: Condition | None) -> int | None:
        """The number of a condition; None for always."""
        if where is None:
            return None
        self.lookup.check_condition(where)
        return self.conditions.setdefault(where, len(self.conditions))

    def bound(self, formula: Formula) -> Bound:
        match formula:
            case Chosen(name, options):
                return self.lookup.chosen(name, options)
            case Not(part):
                return Negation(self.bound(part))  # pyright: ignore[reportArgumentType]
            case And(parts):
                return Every(tuple(self.bound(part) for part in parts))  # pyright: ignore[reportArgumentType]
            case Or(parts):
                return Some(tuple(self.bound(part) for part in parts))  # pyright: ignore[reportArgumentType]
            case Implies(premise, conclusion):
                return Some((Negation(self.bound(premise)), self.bound(conclusion)))
            case Count(low, high, parts):
                return Between(low, high, tuple(self.bound(part) for part in parts))
            case Size(low, high):
                return Between(low, high, self.lookup.members())
            case Total(attribute, low, high):
                return self._total(attribute, low, high)
            case Tuples(names, rows, allowed):
                return self._tuples(names, rows, allowed)
            case Above(first, second):
                return Before(self.lookup.ranked(first), self.lookup.ranked(second))
            case Place(name, low, high):
                return self.lookup.placed(name, low, high)
            case Adjacent(first, second):
                return Beside(self.lookup.ranked(first), self.lookup.ranked(second))

    def _total(self, attribute: Name, low: Decimal | None, high: Decimal | None) -> Bound:
        values = self.lookup.attribute(attribute)
        scale, lowest, highest = scaled_bounds([v for row in values.values() for v in row], low, high)
        weights = tuple((variable, tuple(scale(value) for value in row)) for variable, row in sorted(values.items()))
        return Sum(lowest, highest, weights)

    def _tuples(self, names: Sequence[Name], rows: Sequence[Sequence[Name | None]], allowed: bool) -> Bound:
        variables = tuple(self.lookup.variable(name) for name in names)
        coded = []
        for row in rows:
            cells = zip(names, row, strict=True)
            coded.append(tuple(-1 if cell is None else self.lookup.option(name, cell) for name, cell in cells))
        found = Rows(variables, tuple(coded))
        return found if allowed else Negation(found)

    def _require_visible(self, formula: Bound, rule: Rule) -> None:
        hidden = [v for v in variables_of(formula) if v >= len(self.schema.names)]
        if hidden:
            raise RuleError(
                "{place}: expected a preference about columns of the table, found {name!r}, which the table does not "
                "have. Leave the preference out, or add the column.",
                **place_of(rule, self.rules.source),
                name=self.lookup.names[hidden[0]],
            )
