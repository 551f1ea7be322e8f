"""UVL that spells slots: a feature that is always chosen, above one alternative of features named ``Slot=option``."""

from collections.abc import Iterable
from decimal import Decimal
from typing import cast

from jebm_core.rules.language import (
    And,
    Attribute,
    Chosen,
    Count,
    Formula,
    Implies,
    Name,
    Not,
    Or,
    Rule,
    RuleSet,
    Total,
    Variable,
)

_TRUE = And(())


def with_slots(rules: RuleSet) -> RuleSet:
    """The same rules about slots, where every feature is a slot, an option of one, or always chosen; else as they are.

    >>> from jebm_core.rules.notation.uvl import read_uvl
    >>> uvl = 'features\\n R\\n  mandatory\\n   Motor\\n    alternative\\n     "Motor=servo"\\n     "Motor=stepper"\\n'
    >>> [(v.name.text, [o.text for o in v.options]) for v in read_uvl(uvl, "m.uvl").variables]
    [('Motor', ['servo', 'stepper'])]
    """
    names = {variable.name.text: variable.name for variable in rules.variables}
    slots: dict[str, list[Name]] = {}
    for text, name in names.items():
        slot, sign, _ = text.partition("=")
        if sign and slot in names:
            slots.setdefault(slot, []).append(name)
    options = {name.text for members in slots.values() for name in members}
    always = _always_chosen(rules.rules)
    whole = {
        rule.formula.premise.name.text: rule.formula.conclusion
        for rule in rules.rules
        if isinstance(rule.formula, Implies)
        and isinstance(rule.formula.premise, Chosen)
        and isinstance(rule.formula.conclusion, Count)
    }
    fits = slots and all(text in always for text in names if text not in options)
    if not fits or not all(whole.get(slot) == Count(1, 1, tuple(map(Chosen, of))) for slot, of in slots.items()):
        return rules
    option = {name.text: _option(slot, name) for slot, members in slots.items() for name in members}
    groups = {Count(1, 1, tuple(map(Chosen, members))) for members in slots.values()}
    kept = [Rule(formula, line=rule.line) for rule in rules.rules
            if (formula := _about_slots(rule.formula, option, groups)) != _TRUE]  # fmt: skip
    return RuleSet(
        "configurations",
        tuple(Variable(names[slot], tuple(option[name.text].options[0] for name in of)) for slot, of in slots.items()),
        tuple(Attribute(a.name, tuple(_worth(name, value, option) for name, _, value in a.values if
                                      name.text in option)) for a in rules.attributes),
        rules=tuple(kept),
        source=rules.source,
    )  # fmt: skip


def _always_chosen(rules: Iterable[Rule]) -> set[str]:
    """Features that the tree demands in every product."""
    found = {rule.formula.name.text for rule in rules if isinstance(rule.formula, Chosen)}
    below: dict[str, list[str]] = {}
    for rule in rules:
        match rule.formula:
            case Implies(Chosen(above), Chosen(name)):
                below.setdefault(above.text, []).append(name.text)
            case _:
                pass
    waiting = list(found)
    while waiting:
        for name in below.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _option(slot: str, name: Name) -> Chosen:
    return Chosen(Name(slot, name.line, name.column), (Name(name.text[len(slot) + 1 :], name.line, name.column),))


def _worth(name: Name, value: Decimal, option: dict[str, Chosen]) -> tuple[Name, Name, Decimal]:
    chosen = option[name.text]
    return chosen.name, chosen.options[0], value


def _about_slots(formula: Formula, option: dict[str, Chosen], groups: set[Count]) -> Formula:
    """A formula about options; what is always chosen is true."""

    def inner(part: object) -> Formula:
        return _about_slots(cast(Formula, part), option, groups)

    match formula:
        case Chosen(name):
            return option.get(name.text, _TRUE)
        case Not(part):
            return Not(inner(part))
        case And(parts):
            return And(tuple(inner(part) for part in parts))
        case Or(parts):
            found = tuple(inner(part) for part in parts)
            return _TRUE if _TRUE in found else Or(found)
        case Implies(premise, conclusion):
            before, after = inner(premise), inner(conclusion)
            return after if before == _TRUE or after == _TRUE else Implies(before, after)
        case Count(low, high, parts):
            return _TRUE if formula in groups else Count(low, high, tuple(inner(part) for part in parts))
        case Total():
            return formula
    return formula


__all__ = ["with_slots"]
