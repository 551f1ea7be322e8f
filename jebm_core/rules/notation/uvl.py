"""UVL, the Universal Variability Language: a tree of features, groups among them, constraints across them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import final

from jebm_core.errors import RuleError
from jebm_core.rules.language import Attribute, Chosen, Count, Implies, Name, Rule, RuleSet, Variable
from jebm_core.rules.notation.builder import short
from jebm_core.rules.notation.names import NUMERAL, nearest
from jebm_core.rules.notation.uvl_constraints import read_constraint, unsupported
from jebm_core.rules.notation.uvl_slots import with_slots
from jebm_core.rules.notation.uvl_text import Line, entries, logical_lines
from jebm_core.rules.notation.uvl_writing import write_uvl

__all__ = ["read_uvl", "write_uvl"]

_SECTIONS = ("features", "constraints", "namespace", "include", "imports")
_GROUPS: dict[str, tuple[int, int | None] | None] = {
    "mandatory": None,
    "optional": None,
    "or": (1, None),
    "alternative": (1, 1),
}
_CARDINALITY = re.compile(r"\[\s*(\d+)\s*(?:\.\.\s*(\d+|\*)\s*)?\]")
_FEATURE = re.compile(
    r"""(?:(?P<type>Boolean|Integer|Real|String)\s+)?(?P<name>"[^"]+"|[^\W\d][\w#§%?\\]*)"""
    r"""(?P<cardinality>\s+cardinality\s*\[[^\]]*\])?\s*(?P<attributes>\{.*\})?"""
)


@final
@dataclass
class _Level:
    """A line that deeper ones may belong to: a feature, or a group with the feature above it."""

    line: Line
    feature: Name
    group: str | None
    inner: str | None = None
    members: list[Name] = field(default_factory=list)


def read_uvl(text: str, source: str) -> RuleSet:
    """Read a UVL file. Every feature becomes an item – or, where features are named ``Slot=option``, slots with their
    options –, the numeric attributes of features become attributes.

    The root is always chosen; a feature requires the one above it; groups and constraints become rules. Attributes
    that are no numbers are left out, since they never forbid anything. What UVL can say beyond chosen features and
    sums – typed features, feature cardinalities, strings, imports – is refused with its line.

    Raises:
        RuleError: something that is no UVL, or that stands for more than features that are chosen or not.

    >>> rules = read_uvl("features\\n  Pump\\n    alternative\\n      Vane\\n      Gear {cost 5}\\n", "m.uvl")
    >>> [variable.name.text for variable in rules.variables], len(rules.rules)
    (['Pump', 'Vane', 'Gear'], 4)
    """
    sections = _sections(list(logical_lines(text, source)), source)
    features: dict[str, Name] = {}
    attributes: dict[str, list[tuple[Name, None, Decimal]]] = {}
    rules = list(_tree(sections["features"], features, attributes, source))
    for line in sections["constraints"]:
        formula = read_constraint(line.text, line.number, line.column, features, attributes, source)
        rules.append(Rule(formula, line=line.number))
    found = RuleSet(
        "subsets",
        tuple(map(Variable, features.values())),
        tuple(Attribute(Name(name), tuple(values)) for name, values in attributes.items()),
        rules=tuple(rules),
        source=source,
    )
    return with_slots(found)


def _sections(lines: list[Line], source: str) -> dict[str, list[Line]]:
    """The lines of the features and of the constraints."""
    sections: dict[str, list[Line]] = {}
    section = ""
    for line in lines:
        if line.indent:
            if section == "imports":
                raise unsupported(f"imports {line.text}", line.number, source)
            sections.get(section, []).append(line)
            continue
        section = line.text.split()[0].rstrip(":")
        if section not in _SECTIONS or section in sections or (section != "namespace" and section != line.text):
            raise RuleError(
                "{source}, line {line}: expected one section each of features and constraints at the margin, found "
                "{found!r}; did you mean {meant}? Everything inside a section is indented.",
                line=line.number,
                source=source,
                found=line.text[:40],
                meant=nearest(section, _SECTIONS) or "features",
            )
        sections[section] = []
    if not sections.get("features"):
        raise RuleError(
            "{source} has no features; expected a line 'features' and below it, indented, the root feature. Give a UVL "
            "file.",
            source=source,
        )
    return {"constraints": [], **sections}


def _tree(
    lines: list[Line],
    features: dict[str, Name],
    attributes: dict[str, list[tuple[Name, None, Decimal]]],
    source: str,
) -> Iterator[Rule]:
    levels: list[_Level] = []
    for line in lines:
        closed = []
        while levels and not (line.indent.startswith(levels[-1].line.indent) and line.indent != levels[-1].line.indent):
            closed.append(levels.pop())
        yield from (rule for level in closed for rule in _group_rules(level, source))
        above = levels[-1] if levels else None
        if above is None and features:
            raise RuleError(
                "{source}, line {line}: expected one root feature, found {found!r} beside it. Indent it more, or put "
                "one feature above both.",
                line=line.number,
                source=source,
                found=line.text[:40],
            )
        if above is not None and (above.inner or line.indent) != line.indent:
            raise RuleError(
                "{source}, line {line}: expected the indentation of the lines beside it, found another one before "
                "{found!r}. Indent with the same tabs or spaces.",
                line=line.number,
                source=source,
                found=line.text[:40],
            )
        if above is None:
            name = _feature(line, features, attributes, source)
            levels.append(_Level(line, name, None))
            yield Rule(Chosen(name), line=line.number)
        elif above.group is None:
            above.inner = line.indent
            levels.append(_Level(line, above.feature, _group(line, source)))
        else:
            above.inner = line.indent
            name = _feature(line, features, attributes, source)
            above.members.append(name)
            levels.append(_Level(line, name, None))
            yield Rule(Implies(Chosen(name), Chosen(above.feature)), line=line.number)
            if above.group == "mandatory":
                yield Rule(Implies(Chosen(above.feature), Chosen(name)), line=line.number)
    yield from (rule for level in reversed(levels) for rule in _group_rules(level, source))


def _group(line: Line, source: str) -> str:
    """The word or the cardinality of a group."""
    if line.text not in _GROUPS and _CARDINALITY.fullmatch(line.text) is None:
        raise RuleError(
            "{source}, line {line}: expected a group (mandatory, optional, or, alternative, [1..2]) below a feature, "
            "found {found!r}; did you mean {meant}? Features stand below a group.",
            line=line.number,
            source=source,
            found=line.text[:40],
            meant=nearest(line.text, _GROUPS) or "optional",
        )
    return line.text


def _group_rules(level: _Level, source: str) -> Iterator[Rule]:
    """How many of the members of a group are chosen where the feature above is."""
    if level.group is None:
        return
    if not level.members:
        raise RuleError(
            "{source}, line {line}: expected features below the group {found!r}, found none. Add them with more "
            "indentation, or leave the group out.",
            line=level.line.number,
            source=source,
            found=level.group,
        )
    bounds = _GROUPS.get(level.group)
    cardinality = _CARDINALITY.fullmatch(level.group)
    if cardinality is not None:
        low = int(cardinality[1])
        bounds = (low, low if cardinality[2] is None else None if cardinality[2] == "*" else int(cardinality[2]))
        if bounds[1] is not None and low > bounds[1]:
            raise RuleError(
                "{source}, line {line}: expected the lower bound before the upper one, found {found!r}. Exchange the "
                "two.",
                line=level.line.number,
                source=source,
                found=level.group,
            )
    if bounds is not None:
        count = Count(*bounds, tuple(map(Chosen, level.members)))
        yield Rule(Implies(Chosen(level.feature), count), line=level.line.number)


def _feature(
    line: Line,
    features: dict[str, Name],
    attributes: dict[str, list[tuple[Name, None, Decimal]]],
    source: str,
) -> Name:
    match = _FEATURE.fullmatch(line.text)
    if match is None:
        raise RuleError(
            "{source}, line {line}: expected a feature, found {found!r}. A name with characters other than letters, "
            'digits and _ stands in double quotes, for example: "0.75 kW" {{cost 5}}.',
            line=line.number,
            source=source,
            found=line.text[:40],
        )
    if match["cardinality"] or match["type"] not in (None, "Boolean"):
        raise unsupported(line.text[:40], line.number, source)
    name = Name(match["name"].strip('"'), line.number, line.column + match.start("name"))
    if name.text in features:
        raise RuleError(
            "{source}, line {line}, column {column}: {found!r} is declared a second time, after line {first}. Leave "
            "one of the two out, or change a name.",
            line=name.line,
            column=name.column,
            source=source,
            found=name.text,
            first=features[name.text].line,
        )
    features[name.text] = name
    seen: set[str] = set()
    for key, value in entries(match["attributes"] or "{}"):
        if key in ("constraint", "constraints"):
            raise unsupported(f"{key} {value}"[:40], line.number, source)
        if key in seen:
            raise RuleError(
                "{source}, line {line}: attribute {attribute!r} of {found!r} is given a second time. Leave one of the "
                "two out.",
                line=line.number,
                source=source,
                attribute=key,
                found=name.text,
            )
        seen.add(key)
        if NUMERAL.fullmatch(value):
            if not short(Decimal(value)):
                raise unsupported(f"{key} {value}"[:40], line.number, source)
            attributes.setdefault(key, []).append((name, None, Decimal(value)))
    return name
