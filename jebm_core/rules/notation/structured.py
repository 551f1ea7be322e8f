"""The structured notation: rules as lists and tables, for JSON and YAML.

    kind: configurations
    slots:
      Motor: [servo, stepper]
      Gear: [planetary, worm]
    attributes:
      cost: {Motor: {servo: 120, stepper: 80}}
    probabilities:
      - {slot: Motor, is: {servo: 0.5}}
    rules:
      - {if: {slot: Motor, is: servo}, then: {slot: Gear, in: [planetary]}}
      - {at most: 1, of: [Motor = servo, Gear = worm], prefer: 1.5, where: region == "JP"}
      - total cost at most 300

Text stands for what it says in the text notation, as a rule, as a formula or as a condition.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import groupby
from typing import Any, get_args

from jebm_core.errors import RuleError
from jebm_core.rules.language import Attribute, Kind, Name, Probability, Rule, RuleSet, Variable
from jebm_core.rules.notation.names import check_names
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.plain_values import (
    Spot,
    as_list,
    as_list_of,
    as_name,
    as_number,
    as_table,
    check_keys,
    required,
    shown,
)
from jebm_core.rules.notation.structured_formulas import read_condition, read_formula, without_lines
from jebm_core.rules.notation.structured_writing import condition_record, formula_record, plain_number
from jebm_core.rules.notation.yaml_text import read_plain

_DECLARING: dict[str, Kind] = {"items": "subsets", "slots": "configurations", "ranking": "rankings"}
_KEYS = ("kind", *_DECLARING, "hidden", "attributes", "probabilities", "rules")


def read_structured(text: str, source: str) -> RuleSet:
    """Read rules in YAML or JSON.

    Raises:
        RuleError: text that is neither, or something in it that is no rule.

    >>> read_structured("items: [A, B]\\nrules: [A requires B]", "r.yaml").kind
    'subsets'
    """
    return from_structured(read_plain(text, source), source)


# ---- reading ---------------------------------------------------------------------------------------------------------


def from_structured(record: object, source: str) -> RuleSet:
    """Read rules from plain values: dict, list, str, int, float, Decimal, bool and None.

    Raises:
        RuleError: something that is no rule; the sentence names the path to it, such as ``rules[3].then``.

    >>> from_structured({"rules": [{"exactly": 1, "of": ["A", "B"]}]}, "r.json").rules[0].formula.high
    1
    """
    top = Spot(source)
    table = as_table(record, top)
    check_keys(table, _KEYS, top)
    kind, variables = _variables(table, top)
    attributes = tuple(
        Attribute(Name(name), tuple(_worths(values, top.at("attributes").at(name))))
        for name, values in as_table(table.get("attributes", {}), top.at("attributes")).items()
    )
    probabilities: list[Probability] = []
    for index, share in enumerate(as_list(table.get("probabilities", []), top.at("probabilities"))):
        probabilities += _probabilities(share, probabilities, top.at("probabilities").at(index))
    rules = [
        rule
        for index, value in enumerate(as_list(table.get("rules", []), top.at("rules")))
        for rule in _rules(value, top.at("rules").at(index))
    ]
    found = RuleSet(kind, variables, attributes, tuple(probabilities), tuple(rules), source)
    check_names(found)
    return found


def _variables(table: dict[str, Any], top: Spot) -> tuple[Kind | None, tuple[Variable, ...]]:
    declaring = [key for key in _DECLARING if key in table]
    kind = _DECLARING[declaring[0]] if declaring else None
    if len(declaring) > 1 or ("kind" in table and table["kind"] != kind):
        raise RuleError(
            "{source}, {path}: expected one of items, slots and ranking, and a kind that fits ({kinds}), found "
            "{found}. Put rules about other things into a file of their own.",
            **top.place,
            kinds=", ".join(get_args(Kind)),
            found=", ".join([*declaring, *([f"kind: {table['kind']}"] if "kind" in table else [])]),
        )
    if kind is None:
        return None, ()
    key = declaring[0]
    options: dict[str, tuple[Name, ...]] = {}
    if key == "slots":
        for name, values in as_table(table[key], top.at(key)).items():
            options[name] = _different(values, top.at(key).at(name))
    else:
        options = {name.text: () for name in _different(table[key], top.at(key))}
    if not options:
        as_list([], top.at(key), 1)
    hidden = {name.text for name in _different(table["hidden"], top.at("hidden"))} if "hidden" in table else set()
    for name in hidden:
        check_keys([name], options, top.at("hidden"))
    return kind, tuple(Variable(Name(name), known, name in hidden) for name, known in options.items())


def _different(value: object, spot: Spot) -> tuple[Name, ...]:
    names = tuple(as_name(name, spot) for name in as_list(value, spot, 1))
    if len(set(names)) < len(names):
        raise RuleError(
            "{source}, {path}: expected different names, found {found!r} a second time. Leave one of the two out.",
            **spot.place,
            found=next(name.text for index, name in enumerate(names) if name in names[:index]),
        )
    return names


def _worths(value: object, spot: Spot) -> Iterator[tuple[Name, Name | None, Decimal]]:
    """Numbers by item, or by slot and option; as a list where the order matters."""
    if isinstance(value, list | tuple):
        seen: set[tuple[Name, Name | None]] = set()
        for index, entry in enumerate(as_list(value, spot, 1)):
            here = spot.at(index)
            name, option, number = as_list_of(3, entry, here, "[Motor, servo, 120] or [A, null, 3]")
            key = (as_name(name, here), None if option is None else as_name(option, here))
            if key in seen:
                raise RuleError(
                    "{source}, {path}: expected one number each, found a second one for {found!r}. Leave one of the "
                    "two out.",
                    **here.place,
                    found=key[0].text,
                )
            seen.add(key)
            yield *key, as_number(number, here)
        return
    table = as_table(value, spot)
    if not table:
        as_list([], spot, 1)
    for name, part in table.items():
        if isinstance(part, dict):
            for option, number in as_table(part, spot.at(name)).items():
                yield Name(name), Name(option), as_number(number, spot.at(name).at(option))
        else:
            yield Name(name), None, as_number(part, spot.at(name))


def _probabilities(value: object, before: list[Probability], spot: Spot) -> Iterator[Probability]:
    table = as_table(value, spot)
    told = "slot" if "slot" in table else "item"
    check_keys(table, (told, "is", "where"), spot)
    name = as_name(required(table, told, spot), spot.at(told))
    where = read_condition(table["where"], spot.at("where")) if "where" in table else None
    if any((known.name, known.where) == (name, where) for known in before):
        raise RuleError(
            "{source}, {path}: expected one entry each, found a second one for the probability of {found!r}. Give all "
            "options of a slot in one entry, and leave out what is said twice.",
            **spot.place,
            found=name.text,
        )
    here, given = spot.at("is"), required(table, "is", spot)
    options = as_table(given, here) if told == "slot" else {"": given}
    total = Decimal(0)
    for option, part in options.items():
        number = as_number(part, here.at(option) if option else here)
        total += number
        if number <= 0 or total > 1 or (number == 1 and told == "item"):
            raise RuleError(
                "{source}, {path}: expected probabilities above 0, of an item below 1, and of a slot at most 1 in all, "
                "found {found}. What always or never holds is a rule of its own.",
                **here.place,
                found=number if number <= 0 or told == "item" else total,
            )
        yield Probability(name, Name(option) if option else None, number, where)


def _rules(value: object, spot: Spot) -> Iterator[Rule]:
    """The rules of one entry: text may hold several."""
    if isinstance(value, str):
        value = {"rule": value}
    table = as_table(value, spot)
    weight = as_number(table["prefer"], spot.at("prefer")) if "prefer" in table else None
    if weight is not None and weight <= 0:
        raise RuleError(
            "{source}, {path}: expected a weight above 0, found {found}. A preference for the opposite is written with "
            "not, for example: {{not: A, prefer: 1.5}}.",
            **spot.at("prefer").place,
            found=weight,
        )
    where = read_condition(table["where"], spot.at("where")) if "where" in table else None
    if "rule" not in table:
        yield Rule(read_formula(table, spot, ("prefer", "where")), weight, where)
        return
    check_keys(table, ("rule", "prefer", "where"), spot)
    text = table["rule"]
    said = parse_rules(text, f"{spot.source}, {spot.path}") if isinstance(text, str) else None
    bound = [rule for rule in said.rules if rule.weight is not None or rule.where is not None] if said else []
    if (
        said is None
        or not said.rules
        or said.kind
        or said.attributes
        or said.probabilities
        or (bound and (weight or where))
    ):
        raise RuleError(
            "{source}, {path}: expected the text of a rule, which says prefer and where at most once, found {found}. "
            "For example: {{rule: A requires B, prefer: 1.5}}.",
            **spot.place,
            found=shown(text),
        )
    for rule in said.rules:
        yield Rule(without_lines(rule.formula), rule.weight or weight, without_lines(rule.where or where))


# ---- writing ---------------------------------------------------------------------------------------------------------


def to_structured(rules: RuleSet) -> dict[str, Any]:
    """The rules as plain values, which `from_structured` reads back to an equal rule set.

    >>> to_structured(RuleSet("subsets", (Variable(Name("A")), Variable(Name("B")))))
    {'kind': 'subsets', 'items': ['A', 'B']}
    """
    record: dict[str, Any] = {}
    if rules.kind is not None:
        record["kind"] = rules.kind
        key = next(key for key, kind in _DECLARING.items() if kind == rules.kind)
        if rules.kind == "configurations":
            record[key] = {v.name.text: [option.text for option in v.options] for v in rules.variables}
        else:
            record[key] = [variable.name.text for variable in rules.variables]
    parts = {
        "hidden": [variable.name.text for variable in rules.variables if variable.hidden],
        "attributes": {attribute.name.text: _worths_record(attribute) for attribute in rules.attributes},
        "probabilities": list(_probability_records(rules.probabilities)),
        "rules": [_rule_record(rule) for rule in rules.rules],
    }
    return record | {key: part for key, part in parts.items() if part}


def _worths_record(attribute: Attribute) -> dict[str, Any] | list[Any]:
    record: dict[str, Any] = {}
    for name, option, value in attribute.values:
        if option is None:
            record[name.text] = plain_number(value)
        else:
            record.setdefault(name.text, {})[option.text] = plain_number(value)
    order = [(name, option) for name, part in record.items() for option in (part if isinstance(part, dict) else [None])]
    if order == [(name.text, option and option.text) for name, option, _ in attribute.values]:
        return record
    return [[name.text, option and option.text, plain_number(value)] for name, option, value in attribute.values]


def _probability_records(probabilities: Iterable[Probability]) -> Iterator[dict[str, Any]]:
    for (name, where), group in groupby(probabilities, lambda share: (share.name, share.where)):
        shares = {share.option: plain_number(share.value) for share in group}
        if None in shares:
            record: dict[str, Any] = {"item": name.text, "is": shares[None]}
        else:
            record = {"slot": name.text, "is": {option.text: share for option, share in shares.items() if option}}
        yield record if where is None else record | {"where": condition_record(where)}


def _rule_record(rule: Rule) -> dict[str, Any]:
    found = formula_record(rule.formula)
    record = {"rule": found} if isinstance(found, str) else found
    if rule.weight is not None:
        record |= {"prefer": plain_number(rule.weight)}
    if rule.where is not None:
        record |= {"where": condition_record(rule.where)}
    return record
