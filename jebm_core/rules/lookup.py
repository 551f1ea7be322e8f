"""From names to numbers: what the names in a set of rules stand for, or the one sentence that says what is wrong."""

import difflib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import cast, final

from jebm_core.errors import RuleError
from jebm_core.rules.bound import Bound, Some, Takes
from jebm_core.rules.language import And, Compare, Condition, Name, Not, Or, RuleSet, Variable
from jebm_core.rules.places import place_of
from jebm_core.tables import OutputSchema
from jebm_core.tables.roles import FEATURE_PREFIX, PREFIXES

_TRUE = ("1", "True", "true", "TRUE", "yes", "Yes")
_BINARY = ("0", "1")


def declared_schema(rules: RuleSet) -> OutputSchema:
    """The outputs that a file of rules declares: every variable that has a name of its own.

    Raises:
        RuleError: it declares none.
    """
    if rules.kind is None:
        raise RuleError(
            "{source}: expected declarations such as “items A, B” or “slot Motor: servo, stepper”, or a table whose "
            "columns the names are; found neither. Declare the names, or give a table.",
            source=rules.source,
        )
    shown = [variable for variable in rules.variables if not variable.hidden]
    names = tuple(variable.name.text for variable in shown)
    options = tuple(tuple(option.text for option in variable.options) for variable in shown)
    return OutputSchema(rules.kind, names, names, options)


def merged_schema(rules: RuleSet, schema: OutputSchema) -> OutputSchema:
    """A table's outputs, with the options that the rules declare added behind those of the data."""
    if rules.kind is not None and rules.kind != schema.kind and "rankings" in (rules.kind, schema.kind):
        raise RuleError(
            "{source}: expected rules for {kind}, which the table has, found declarations of {declared}. Choose other "
            "target columns, or other rules.",
            source=rules.source,
            kind=schema.kind,
            declared=rules.kind,
        )
    spelled = {name: place for place, names in enumerate(_spellings(schema)) for name in names}
    shown = [variable.name.text for variable in rules.variables if not variable.hidden]
    if shown and not any(name in spelled for name in shown):
        raise RuleError(
            "{source}: expected rules about columns of the table ({expected}), found declarations of other names alone "
            "({found}). Choose other target columns, or other rules.",
            source=rules.source,
            expected=_some(schema.columns),
            found=_some(shown),
        )
    if schema.kind != "configurations":
        return schema
    options = [list(slot) for slot in schema.options]
    for variable in rules.variables:
        place = spelled.get(variable.name.text)
        if place is not None:
            known = set(options[place])
            options[place] += [o.text for o in variable.options if o.text not in known]
    return OutputSchema(schema.kind, schema.names, schema.columns, tuple(tuple(slot) for slot in options))


def _spellings(schema: OutputSchema) -> list[list[str]]:
    """How each output may be called: its name, its column, and both with and without a prefix."""
    found = []
    for name, column in zip(schema.names, schema.columns, strict=True):
        bare = [n.removeprefix(prefix) for n in (name, column) for prefix in PREFIXES.values()]
        found.append([name, column, *bare, *(prefix + name for prefix in PREFIXES.values())])
    return found


@final
class Lookup:
    """The variables of a problem by name: outputs first, then hidden ones."""

    def __init__(self, rules: RuleSet, schema: OutputSchema, features: Sequence[str] | None) -> None:
        self.rules, self.schema, self._features = rules, schema, features
        ranking = schema.kind == "rankings"
        self._place: dict[str, int] = {}
        for spelling in zip(*_spellings(schema), strict=True):
            for place, name in enumerate(spelling):
                self._place.setdefault(name, place)
        self._hidden: list[Variable] = []
        for variable in rules.variables:
            if variable.name.text not in self._place:
                if ranking:
                    raise self._not_ranked(variable.name)
                self._place[variable.name.text] = len(schema.names) + len(self._hidden)
                self._hidden.append(variable)
        self.names = [*schema.names, *(variable.name.text for variable in self._hidden)]
        shown = schema.options if schema.kind == "configurations" else (_BINARY,) * len(schema.names)
        self._options = [*shown, *(tuple(o.text for o in v.options) or _BINARY for v in self._hidden)]
        items = len(schema.names)
        self.sizes = (items,) * items if ranking else tuple(len(options) for options in self._options)

    # ---- variables and options ---------------------------------------------------------------------------------------

    def variable(self, name: Name) -> int:
        """The number of an item or slot."""
        if self.schema.kind == "rankings":
            raise RuleError(
                "{place}: expected a rule about the order, since the outputs are a ranking, found {name!r} as "
                "something that is chosen. Write for example “A above B” or “A in top 3”, or take the rule out.",
                **place_of(name, self.rules.source),
                name=name.text,
            )
        if name.text not in self._place:
            known = [known for known in self.names if not known.startswith("#")]
            raise self._unknown(name, "item" if self.schema.kind == "subsets" else "slot", known or self.names)
        return self._place[name.text]

    def options_of(self, variable: int) -> Sequence[str]:
        """The names of a variable's options."""
        return self._options[variable]

    def option(self, name: Name, option: Name) -> int:
        """The number of an option of a variable."""
        variable = self.variable(name)
        known = self._options[variable]
        if option.text not in known:
            raise RuleError(
                "{place}: {found!r} is not a known option of {slot!r}; the nearest is {near!r}. Correct the name, or "
                "declare it.",
                **place_of(option, self.rules.source),
                found=option.text,
                slot=name.text,
                near=_nearest(option.text, known),
            )
        return known.index(option.text)

    def chosen(self, name: Name, options: Sequence[Name]) -> Takes:
        """An item in the set, or a slot with one of the options."""
        variable = self.variable(name)
        if options:
            return Takes(variable, frozenset(self.option(name, option) for option in options))
        known = tuple(self._options[variable])
        yes = [place for place, option in enumerate(known) if option in _TRUE]
        if len(known) > 2 or len(yes) != 1:
            raise RuleError(
                "{place}: expected one of the options of the slot {slot!r} ({known}), found its name alone. Write for "
                "example: {example}.",
                **place_of(name, self.rules.source),
                slot=name.text,
                known=_some(known),
                example=f"{_quoted(name.text)} = {_quoted(next(iter(known), 'A'))}",
            )
        return Takes(variable, frozenset(yes))

    def members(self) -> tuple[Bound, ...]:
        """All items, for the size of the set."""
        if self.schema.kind == "rankings":
            raise RuleError(
                "{source}: expected a rule about the order, since the outputs are a ranking, found one about size, "
                "which every ranking has in common. Take it out.",
                source=self.rules.source,
            )
        if self.schema.kind == "configurations":
            raise RuleError(
                "{source}: expected a rule about slots, found one about size, which counts items. Count the options "
                "that you mean, for example: at most 2 of {{A = a, B = b}}.",
                source=self.rules.source,
            )
        count = len(self.schema.names)
        shown = [place for place, variable in enumerate(self._hidden, count) if not variable.hidden]
        return tuple(Takes(variable, frozenset((1,))) for variable in [*range(count), *shown])

    def declared_options(self) -> list[Bound]:
        """A slot whose options are declared has one of those, whatever else the data may hold."""
        found: list[Bound] = []
        for variable in self.rules.variables:
            place = self._place[variable.name.text]
            if self.schema.kind == "rankings" or not variable.options or place >= len(self.schema.names):
                continue
            allowed = {option.text for option in variable.options}
            kept = frozenset(i for i, option in enumerate(self._options[place]) if option in allowed)
            if len(kept) < self.sizes[place]:
                found.append(Takes(place, kept))
        return found

    def attribute(self, name: Name) -> dict[int, list[Decimal]]:
        """The value of every option of every variable that has one."""
        if self.schema.kind == "rankings":
            raise RuleError(
                "{place}: expected a rule about the order, since the outputs are a ranking, found a total of {name!r} "
                "over what is chosen. Take the rule out.",
                **place_of(name, self.rules.source),
                name=name.text,
            )
        for attribute in self.rules.attributes:
            if attribute.name == name:
                break
        else:
            known = [attribute.name.text for attribute in self.rules.attributes]
            if known:
                raise self._unknown(name, "attribute", known)
            raise RuleError(
                "{place}: expected a declared attribute, found {found!r}, and none is declared. Declare it, for "
                "example: attribute {name}: A 3, B 5.5.",
                **place_of(name, self.rules.source),
                found=name.text,
                name=_quoted(name.text),
            )
        found: dict[int, list[Decimal]] = {}
        for owner, option, value in attribute.values:
            variable = self.variable(owner)
            row = found.setdefault(variable, [Decimal(0)] * self.sizes[variable])
            if option is not None:
                row[self.option(owner, option)] = value
            else:
                for taken in self.chosen(owner, ()).options:
                    row[taken] = value
        return found

    # ---- rankings ----------------------------------------------------------------------------------------------------

    def ranked(self, name: Name) -> int:
        """The number of an item that is ranked."""
        if self.schema.kind != "rankings":
            raise RuleError(
                "{place}: expected a rule about what is chosen, since the outputs are {kind}, found one about the "
                "place of {name!r} in an order. Take the rule out, or choose columns with ranks as targets.",
                **place_of(name, self.rules.source),
                name=name.text,
                kind=self.schema.kind,
            )
        if name.text not in self._place:
            raise self._not_ranked(name)
        return self._place[name.text]

    def placed(self, name: Name, low: int, high: int) -> Bound:
        """An item in one of some places."""
        item, count = self.ranked(name), len(self.schema.names)
        first, last = (place - 1 if place > 0 else count + place for place in (low, high))
        if low == high and not 0 <= first < count:
            raise RuleError(
                "{place}: expected a place from 1 to {count}, or from -1 to -{count} counted from the last, for "
                "{name!r}, found {found}. Correct it.",
                **place_of(name, self.rules.source),
                count=count,
                name=name.text,
                found=low,
            )
        if not 0 <= first <= last < count:
            raise RuleError(
                "{place}: expected places from 1 to {count}, or from -1 to -{count} counted from the last, the first "
                "before the last, for {name!r}, found {low} to {high}. Correct them.",
                **place_of(name, self.rules.source),
                count=count,
                name=name.text,
                low=low,
                high=high,
            )
        return Some(tuple(Takes(place, frozenset((item,))) for place in range(first, last + 1)))

    # ---- conditions --------------------------------------------------------------------------------------------------

    def check_condition(self, condition: Condition) -> None:
        """Every feature that a condition names is a column."""
        match condition:
            case Compare(name, _, _):
                if self._features is not None and feature_column(name.text, self._features) is None:
                    raise missing_feature(name, self._features, self.rules.source)
            case Not(part):
                self.check_condition(cast(Condition, part))
            case And(parts) | Or(parts):
                for part in parts:
                    self.check_condition(cast(Condition, part))

    # ---- sentences ---------------------------------------------------------------------------------------------------

    def _unknown(self, name: Name, what: str, known: Sequence[str]) -> RuleError:
        return RuleError(
            "{place}: {name!r} is not a known {what}; the nearest is {near!r}. Correct the name, or declare it.",
            **place_of(name, self.rules.source),
            name=name.text,
            what=what,
            near=_nearest(name.text, known),
        )

    def _not_ranked(self, name: Name) -> RuleError:
        return RuleError(
            "{place}: {name!r} is not among the items that are ranked; the nearest is {near!r}. Correct the name, or "
            "add its column to the table.",
            **place_of(name, self.rules.source),
            name=name.text,
            near=_nearest(name.text, self.schema.names),
        )


def feature_column(name: str, features: Iterable[str]) -> str | None:
    """The feature column that a condition means; its prefix may be left out.

    >>> feature_column("load", ["x_region", "x_load"])
    'x_load'
    """
    known = list(features)
    return name if name in known else FEATURE_PREFIX + name if FEATURE_PREFIX + name in known else None


def missing_feature(name: Name, features: Iterable[str], source: str) -> RuleError:
    """The error for a condition on a feature that the table does not have."""
    known = [feature.removeprefix(FEATURE_PREFIX) for feature in features]
    if not known:
        return RuleError(
            "{place}: the condition needs the feature {name!r}, but the table has no feature columns. Add the column, "
            "or take the condition out.",
            **place_of(name, source),
            name=name.text,
        )
    return RuleError(
        "{place}: the condition needs the feature {name!r}, which the table does not have; the nearest is {near!r}. "
        "Correct the name, or add the column.",
        **place_of(name, source),
        name=name.text,
        near=_nearest(name.text, known),
    )


def _nearest(name: str, known: Sequence[str]) -> str:
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'
