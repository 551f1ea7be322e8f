"""Rules as files for other tools: the names of the table are declared, since other notations know no table."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from jebm_core.rules.language import Attribute, Chosen, Compare, Name, Probability, RuleSet, Tuples, Variable
from jebm_core.rules.notation.dimacs import write_dimacs
from jebm_core.rules.notation.structured import to_structured
from jebm_core.rules.notation.uvl import write_uvl
from jebm_core.tables import OutputSchema
from jebm_core.tables.roles import PREFIXES

FORMATS: Final = ("uvl", "cnf", "json")


def exported(rules: RuleSet, schema: OutputSchema, form: str) -> str:
    """Return the content of a file that other tools read.

    Raises:
        RuleError: the notation has no words for something in the rules.
    """
    given = declared(rules, schema)
    if form == "uvl":
        return write_uvl(given)
    if form == "cnf":
        return write_dimacs(given)
    return json.dumps(to_structured(given), ensure_ascii=False, indent=1) + "\n"


def declared(rules: RuleSet, schema: OutputSchema) -> RuleSet:
    """Return the rules with every output declared under one spelling; declarations of other names stay.

    >>> from jebm_core.rules.notation.parser import parse_rules
    >>> from jebm_core.rules.notation.printer import to_text
    >>> schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ())
    >>> print(to_text(declared(parse_rules("y_a requires b"), schema)), end="")
    items a, b
    a requires b
    """
    known: dict[str, str] = {}
    for name, column in zip(schema.names, schema.columns, strict=True):
        bare = [column.removeprefix(prefix) for prefix in PREFIXES.values()]
        for spelling in (name, column, *bare, *(prefix + name for prefix in PREFIXES.values())):
            known.setdefault(spelling, name)
    options = schema.options if schema.kind == "configurations" else ((),) * len(schema.names)
    outputs = [Variable(Name(name), tuple(map(Name, own))) for name, own in zip(schema.names, options, strict=True)]
    others = [variable for variable in rules.variables if variable.name.text not in known]
    renamed = _renamed(rules, known)
    return dataclasses.replace(renamed, kind=schema.kind, variables=(*outputs, *others))


def _renamed(part: Any, known: Mapping[str, str]) -> Any:
    """Return a part of the rules with names of outputs in one spelling; options, attributes and features stay."""
    if isinstance(part, Name):
        return dataclasses.replace(part, text=known.get(part.text, part.text))
    if isinstance(part, tuple):
        return tuple(_renamed(one, known) for one in part)
    if isinstance(part, Compare) or not dataclasses.is_dataclass(part) or isinstance(part, type):
        return part
    if isinstance(part, Chosen | Probability):
        return dataclasses.replace(part, name=_renamed(part.name, known))
    if isinstance(part, Tuples):
        return dataclasses.replace(part, names=_renamed(part.names, known))
    if isinstance(part, Attribute):
        values = tuple((_renamed(name, known), option, value) for name, option, value in part.values)
        return dataclasses.replace(part, values=values)
    kept = {"attribute", "where"}
    fields = {f.name: _renamed(getattr(part, f.name), known) for f in dataclasses.fields(part) if f.name not in kept}
    return dataclasses.replace(part, **fields)
