"""Lines of the rule language, made of the names of a table: for the form that adds a rule, and for the examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from app.text import marked
from jebm_core.rules.notation.names import written
from jebm_core.tables import Examples, OutputSchema
from jebm_core.tables.roles import FEATURE_PREFIX

Part = tuple[str, str]
"""A slot with one of its options, or an item with an empty option."""


def parts_of(schema: OutputSchema) -> list[Part]:
    """Return everything that a rule can name: options of slots, or items."""
    if schema.kind == "configurations":
        slots = zip(schema.names, schema.options, strict=True)
        return [(slot, option) for slot, options in slots for option in options]
    return [(name, "") for name in schema.names]


def spelled(part: Part) -> str:
    """Return a part as rules spell it.

    >>> spelled(("motor", "servo 1.5 kW")), spelled(("A", ""))
    ('motor = "servo 1.5 kW"', 'A')
    """
    name, option = part
    return f"{written(name)} = {written(option, option=True)}" if option else written(name)


def _all_of(parts: Sequence[Part]) -> str:
    """Return that every item is chosen, and in every named slot one of its options."""
    said = []
    for name, group in groupby(sorted(parts, key=lambda part: part[0]), key=lambda part: part[0]):
        options = [written(option, option=True) for _name, option in group if option]
        if len(options) > 1:
            said.append(f"{written(name)} in {{{', '.join(options)}}}")
        else:
            said.append(f"{written(name)} = {options[0]}" if options else written(name))
    return " and ".join(said)


def requires(premise: Part, conclusions: Sequence[Part]) -> str:
    """Return that one part needs others; options of one slot are alternatives.

    >>> requires(("motor", "servo"), [("sensor", "Hall"), ("sensor", "resolver")])
    'if motor = servo then sensor in {Hall, resolver}'
    >>> requires(("A", ""), [("B", ""), ("C", "")])
    'A requires B and C'
    """
    if premise[1]:
        return f"if {spelled(premise)} then {_all_of(conclusions)}"
    return f"{spelled(premise)} requires {_all_of(conclusions)}"


def excludes(premise: Part, others: Sequence[Part]) -> str:
    """Return that one part never goes with any of the others.

    >>> excludes(("A", ""), [("B", ""), ("C", "")]), excludes(("motor", "servo"), [("sensor", "Hall")])
    ('A excludes B, C', 'motor = servo excludes sensor = Hall')
    """
    return f"{spelled(premise)} excludes {', '.join(map(spelled, others))}"


def bounded(bound: str, number: int, parts: Sequence[Part]) -> str:
    """Return that so many of the parts are chosen; ``bound`` is ``at most``, ``at least`` or ``exactly``.

    >>> bounded("at most", 1, [("A", ""), ("B", "")])
    'at most 1 of A, B'
    """
    return f"{bound} {number} of {', '.join(map(spelled, parts))}"


def never(parts: Sequence[Part]) -> list[str]:
    """Return that none of the parts is ever chosen, a line a slot or item.

    >>> never([("motor", "servo"), ("A", "")])
    ['not A', 'motor != servo']
    """
    lines = []
    for name, group in groupby(sorted(parts), key=lambda part: part[0]):
        options = [written(option, option=True) for _name, option in group if option]
        if not options:
            lines.append(f"not {written(name)}")
        elif len(options) == 1:
            lines.append(f"{written(name)} != {options[0]}")
        else:
            lines.append(f"{written(name)} not in {{{', '.join(options)}}}")
    return lines


def where(feature: str, comparison: str, value: float | str, line: str) -> str:
    """Return a line that holds only in some conditions.

    >>> where("x_region", "==", "New York", "not A"), where("x_load", ">", 5.0, "A")
    ('where region == "New York": not A', 'where load > 5: A')
    """
    shown = written(value) if isinstance(value, str) else f"{value:.10g}"
    return f"where {written(feature.removeprefix(FEATURE_PREFIX))} {comparison} {shown}: {line}"


@dataclass(frozen=True)
class Example:
    """One line of the rule language with what it says (a message id)."""

    says: str
    line: str


def examples_for(schema: OutputSchema, examples: Examples | None) -> list[Example]:
    """Return what can be written, each with the table's own names; what the lines say need not be true."""
    found = {"configurations": _of_slots, "subsets": _of_items, "rankings": _of_rankings}[schema.kind](schema)
    feature = None if examples is None else _feature(examples)
    if feature is not None:
        line = found[0].line
        found.append(Example(marked("Only under a condition of the case"), where(*feature, line)))
    return found


def _feature(examples: Examples) -> tuple[str, str, float | str] | None:
    """Return a condition on the first feature that words or numbers allow."""
    for name in examples.roles.features:
        column = examples.table.frame[name].dropna()
        if column.empty:
            continue
        if pd.api.types.is_numeric_dtype(column):
            return name, ">=", float(f"{column.median():.3g}")
        return name, "==", str(column.iloc[0])
    return None


def _of_slots(schema: OutputSchema) -> list[Example]:
    slots = [name for name, options in zip(schema.names, schema.options, strict=True) if len(options) > 1] * 2
    options = dict(zip(schema.names, schema.options, strict=True))
    if not slots:
        return [Example(marked("Never this option"), never([parts_of(schema)[0]])[0])]
    first, second = slots[0], slots[1]
    a, b, c = (first, options[first][0]), (second, options[second][0]), (second, options[second][1])
    last = (slots[-1], options[slots[-1]][0])
    return [
        Example(marked("One option needs others of another slot"), requires(a, [b, c])),
        Example(marked("Two options never go together"), excludes(a, [b])),
        Example(marked("Never this option"), never([c])[0]),
        Example(marked("At most so many of these"), bounded("at most", 1, [a, b, last])),
        Example(marked("Only these pairs; * is any option"), _table(a, b, (first, options[first][1]))),
        Example(marked("A sum stays within bounds"), _sum(a, b)),
        Example(marked("A preference, not a must: e times as likely for each 1"), f"prefer 1: {spelled(a)}"),
    ]


def _table(a: Part, b: Part, other: Part) -> str:
    first, second, third = (written(option, option=True) for _name, option in (a, b, other))
    return f"allowed {written(a[0])}, {written(b[0])}: ({first}, {second}), ({third}, *)"


def _sum(a: Part, b: Part) -> str:
    worth = ", ".join(f"{spelled(part)} {value}" for part, value in ((a, 20), (b, 35)))
    return f"attribute cost: {worth}\ntotal cost at most 50"


def _of_items(schema: OutputSchema) -> list[Example]:
    names = [(name, "") for name in schema.names] * 4
    a, b, c, d = names[:4]
    return [
        Example(marked("One item needs others"), requires(a, [b])),
        Example(marked("Two items never go together"), excludes(a, [c])),
        Example(marked("If one, then one of two others"), f"if {spelled(a)} then {spelled(b)} or {spelled(d)}"),
        Example(marked("At most so many of these"), bounded("at most", 2, [a, b, c])),
        Example(marked("So many items in all"), f"size between 1 and {max(2, len(schema.names) // 2)}"),
        Example(
            marked("A sum stays within bounds"),
            f"attribute cost: {spelled(a)} 20, {spelled(b)} 35\ntotal cost at most 50",
        ),
        Example(marked("How often an item is chosen before the rules"), f"probability {spelled(a)}: 0.3"),
        Example(marked("A preference, not a must: e times as likely for each 1"), f"prefer 1: {spelled(a)}"),
    ]


def _of_rankings(schema: OutputSchema) -> list[Example]:
    a, b, c = ([written(name) for name in schema.names] * 3)[:3]
    return [
        Example(marked("One above another"), f"{a} above {b}"),
        Example(marked("Among the first"), f"{a} in top {max(1, len(schema.names) // 2)}"),
        Example(marked("Next to one another"), f"{a} next to {c}"),
        Example(marked("Not in the last place"), f"not {c} in bottom 1"),
        Example(marked("A preference, not a must: e times as likely for each 1"), f"prefer 1: {b} above {c}"),
    ]
