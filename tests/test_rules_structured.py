"""Rules as JSON and YAML: what is written reads back, the text notation may stand inside, mistakes name their path."""

import json
from decimal import Decimal

import pytest
import yaml
from hypothesis import given, settings

from jebm_core.errors import RuleError
from jebm_core.rules.language import Attribute, Chosen, Compare, Name, Place, Rule, RuleSet, Tuples, Variable
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.structured import from_structured, read_structured, to_structured
from tests.rules_strategies import rule_sets


@given(rule_sets())
@settings(max_examples=250)
def test_what_is_written_reads_back(rules):
    record = to_structured(rules)
    assert from_structured(record, "r") == rules
    assert read_structured(json.dumps(record, ensure_ascii=False), "r.json") == rules


@given(rule_sets())
@settings(max_examples=50)
def test_yaml_reads_back(rules):
    text = yaml.safe_dump(to_structured(rules), allow_unicode=True, sort_keys=False)
    assert read_structured(text, "r.yaml") == rules


def test_every_form_says_what_its_text_says():
    slots = """
        kind: configurations
        slots:
          Motor: [servo, stepper]
          Gear: [planetary, worm, 3]
        hidden: [Gear]
        attributes:
          cost: {Motor: {servo: 120, stepper: 80.5}}
        probabilities:
          - {slot: Motor, is: {servo: 0.5, stepper: 0.25}}
          - {slot: Motor, is: {servo: 1}, where: load > 5}
        rules:
          - {if: {slot: Motor, is: servo}, then: {slot: Gear, in: [planetary, 3]}}
          - Motor = servo excludes Gear = 3, Gear = worm
          - {at most: 1, of: [Motor = servo, {not: Gear = worm}], prefer: 1.5, where: {feature: region, "==": JP}}
          - {rule: where region == "JP": prefer 2: Motor = servo}
          - {total: cost, at least: 10, at most: 300}
          - {any: [{all: []}, always, {any: []}]}
          - {allowed: [Motor, Gear], rows: [[servo, 3], [stepper, null]]}
          - {forbidden: [Motor], rows: [[servo]], where: {not: {all: [{feature: load, in: [1, 2.5]}, "load < 3"]}}}
    """.replace(
        '{rule: where region == "JP": prefer 2: Motor = servo}', "'where region == \"JP\": prefer 2: Motor = servo'"
    )
    text = """
        slot Motor: servo, stepper; hidden slot Gear: planetary, worm, 3
        attribute cost: Motor = servo 120, Motor = stepper 80.5
        probability Motor: servo 0.5, stepper 0.25
        where load > 5: probability Motor: servo 1
        if Motor = servo then Gear in {planetary, 3}
        Motor = servo excludes Gear = 3, Gear = worm
        where region == JP: prefer 1.5: at most 1 of Motor = servo, not Gear = worm
        where region == JP: prefer 2: Motor = servo
        total cost between 10 and 300
        always or always or never
        allowed Motor, Gear: (servo, 3), (stepper, *)
        where not (load in {1, 2.5} and load < 3): forbidden Motor: (servo)
    """
    read = read_structured(slots, "r.yaml")
    assert read == parse_rules(text)
    assert [variable.hidden for variable in read.variables] == [False, True]
    assert read_structured(
        """
        items: [A, long name]
        attributes: {cost: [[A, null, 3], [long name, null, "1.5"]]}
        probabilities: [{item: long name, is: 0.3}]
        rules: [{item: long name}, {size: {exactly: 1}}, {exactly: 1, of: [A, {item: long name}]},
                {at least: 0, of: []}]
        """,
        "r.yaml",
    ) == parse_rules(
        'items A, "long name"\nattribute cost: A 3, "long name" 1.5\nprobability "long name": 0.3\n'
        '"long name"\nsize exactly 1\nexactly 1 of A, "long name"\nat least 0 of {}'
    )
    assert read_structured(
        "{ranking: [A, B, C], rules: [{above: [A, B]}, {next to: [B, C]}, {item: A, places: [1, -2]}]}", "r.yaml"
    ) == parse_rules("ranking A, B, C\nA above B\nB next to C\nA in places 1 to -2")


def test_numbers_keep_their_digits():
    precise = Decimal("0.1234567890123456789")
    load = Compare(Name("load"), ">", precise)
    rules = RuleSet(
        "subsets",
        (Variable(Name("A")),),
        (Attribute(Name("cost"), ((Name("A"), None, precise),)),),
        (),
        (Rule(Chosen(Name("A")), precise, load),),
    )
    record = to_structured(rules)
    assert record["rules"] == [
        {"rule": "A", "prefer": "0.1234567890123456789", "where": "load > 0.1234567890123456789"}
    ]
    assert from_structured(record, "r") == rules
    assert (
        read_structured('{"rules": [{"rule": "A", "prefer": 0.1234567890123456789}]}', "r").rules[0].weight == precise
    )


def test_what_has_no_text_still_has_a_record():
    rules = RuleSet(rules=(Rule(Place(Name("A"), -2, 1)),))
    assert from_structured(to_structured(rules), "r") == rules
    # What allows nothing has another text.
    assert from_structured(to_structured(RuleSet(rules=(Rule(Tuples((Name("A"),), ())),))), "r") == parse_rules("never")


MISTAKES = [
    ("[A]", "$", "expected keys with values, found ['A']. For example: {if: A, then: B}."),
    ("", "$", "expected keys with values, found None. For example: {if: A, then: B}."),
    ("ruls: []", "$", "expected a word such as 'rules', found 'ruls'. "
     "Known here are: kind, items, slots, ranking, hidden, attributes, probabilities, rules."),
    ("items: [A]\nranking: [B]", "$", "expected one of items, slots and ranking, and a kind that fits (subsets, "
     "configurations, rankings), found items, ranking. Put rules about other things into a file of their own."),
    ("kind: rankings\nitems: [A]", "$", "expected one of items, slots and ranking, and a kind that fits (subsets, "
     "configurations, rankings), found items, kind: rankings. Put rules about other things into a file of their own."),
    ("items: []", "items", "expected a list with 1 or more parts, found []. For example: [A, B]."),
    ("items: A", "items", "expected a list with 1 or more parts, found 'A'. For example: [A, B]."),
    ("items: [A, A]", "items", "expected different names, found 'A' a second time. Leave one of the two out."),
    ("items: [no]", "items", "expected a name, found False. "
     "Put a name that reads like a number, a date or a truth value in quotes."),
    ("items: [0.75]", "items", "expected a name, found 0.75. "
     "Put a name that reads like a number, a date or a truth value in quotes."),
    ("slots: {M: [a, a]}", "slots.M", "expected different names, found 'a' a second time. Leave one of the two out."),
    ("slots: {M: []}", "slots.M", "expected a list with 1 or more parts, found []. For example: [A, B]."),
    ("items: [A]\nhidden: [B]", "hidden", "expected a word such as 'A', found 'B'. Known here are: A."),
    ("items: [A]\nattributes: {cost: {A: x}}", "attributes.cost.A",
     "expected a number of at most 30 digits, found 'x'. For example: 2.5."),
    ("attributes: {cost: {A: .inf}}", "attributes.cost.A",
     "expected a number of at most 30 digits, found inf. For example: 2.5."),
    ("attributes: {cost: [[A, null, 1], [A, null, 2]]}", "attributes.cost[1]",
     "expected one number each, found a second one for 'A'. Leave one of the two out."),
    ("attributes: {cost: {}}", "attributes.cost",
     "expected a list with 1 or more parts, found []. For example: [A, B]."),
    ("probabilities: [{item: A, is: 1}]", "probabilities[0].is", "expected probabilities above 0, of an item below 1, "
     "and of a slot at most 1 in all, found 1. What always or never holds is a rule of its own."),
    ("probabilities: [{slot: M, is: {a: 0.6, b: 0.6}}]", "probabilities[0].is", "expected probabilities above 0, of an "
     "item below 1, and of a slot at most 1 in all, found 1.2. What always or never holds is a rule of its own."),
    ("probabilities: [{slot: M, is: {a: 0}}]", "probabilities[0].is", "expected probabilities above 0, of an "
     "item below 1, and of a slot at most 1 in all, found 0. What always or never holds is a rule of its own."),
    ("probabilities: [{item: A}]", "probabilities[0]", "expected the key 'is', found item. Add the key."),
    ("probabilities: [{item: A, is: 0.1}, {item: A, is: 0.2}]", "probabilities[1]", "expected one entry each, found a "
     "second one for the probability of 'A'. Give all options of a slot in one entry, and leave out what is "
     "said twice."),
    ("rules: [{if: A}]", "rules[0]", "expected the key 'then', found if. Add the key."),
    ("rules: [{if: A, than: B}]", "rules[0]",
     "expected a word such as 'then', found 'than'. Known here are: if, then, prefer, where."),
    ("rules: [{exactli: 1}]", "rules[0]", "expected a word such as 'exactly', found 'exactli'. Known here are: item, "
     "slot, not, all, any, if, of, size, total, allowed, forbidden, above, next to, places, is, in, then, exactly, at "
     "least, at most, …."),
    ("rules: [{exactly: 1}]", "rules[0]", "expected one of the keys item, slot, not, all, any, if, of, size, total, "
     "allowed, forbidden, above, next to, found exactly. For example: {if: A, then: B}."),
    ("rules: [{of: [A]}]", "rules[0]", "expected one of the keys exactly, at least and at most, found none of "
                                       "them. For example: {at least: 1, at most: 2, of: [A, B, C]}."),
    ("rules: [{exactly: 1, at most: 2, of: [A]}]", "rules[0]", "expected exactly alone, or else at least and "
                                                               "at most, found exactly: 1, at most: 2. Leave "
                                                               "out exactly, or the others."),
    ("rules: [{size: {at least: 3, at most: 2}}]", "rules[0].size", "expected at least to be no more than at "
                                                                    "most, found at least: 3, at most: 2. "
                                                                    "Exchange the two numbers."),
    ("rules: [{exactly: -1, of: [A]}]", "rules[0].exactly", "expected a whole number from 0 up, found -1. Only whole "
                                                    "things are counted."),
    ("rules: [{exactly: 1.5, of: [A]}]", "rules[0].exactly",
     "expected a whole number, found 1.5. Only whole things are counted."),
    ("rules: [{exactly: true, of: [A]}]", "rules[0].exactly",
     "expected a number of at most 30 digits, found True. For example: 2.5."),
    ("rules: [{above: [A]}]", "rules[0].above",
     "expected a list of 2 values, found ['A']. For example: [A, B]."),
    ("rules: [{item: A, places: [0, 2]}]", "rules[0].places", "expected the first and the last place, counted "
     "from 1 or "
     "backwards from -1, found [0, 2]. For example: [1, 3] or [-2, -1]."),
    ("rules: [{allowed: [A, A], rows: []}]", "rules[0].allowed",
     "expected different names in the heading of the table, found A, A. Name each of them once."),
    ("rules: [{allowed: [A, B], rows: [[x]]}]", "rules[0].rows[0]",
     "expected a list of 2 values, one for each name of the table (A, B), found ['x']. Write null where any "
     "option will do."),
    ("rules: [{rule: A, prefer: 0}]", "rules[0].prefer", "expected a weight above 0, found 0. A preference for the "
     "opposite is written with not, for example: {not: A, prefer: 1.5}."),
    ("rules: [{rule: 'prefer 2: A', prefer: 1}]", "rules[0]", "expected the text of a rule, which says prefer "
     "and where "
     "at most once, found 'prefer 2: A'. For example: {rule: A requires B, prefer: 1.5}."),
    ("rules: ['items A']", "rules[0]", "expected the text of a rule, which says prefer and where at most once, found "
     "'items A'. For example: {rule: A requires B, prefer: 1.5}."),
    ("rules: ['']", "rules[0]", "expected the text of a rule, which says prefer and where at most once, found ''. "
     "For example: {rule: A requires B, prefer: 1.5}."),
    ("rules: [{not: {all: [A, A or]}}]", "rules[0].not.all[1], line 1, column 5", "expected a name after 'or', but the "
     "statement ends there. It goes on in the next line only after a comma or a colon and inside brackets, for "
     "example: "
     "A and B or C."),
    ("rules: ['A requirs B']", "rules[0], line 1, column 3", "expected 'requires', 'excludes', 'and', 'or', "
     "'=', '!=', … "
     "after 'A', found 'requirs'; did you mean requires? For example: A requires B and C."),
    ("rules: [{rule: A, where: {feature: load, in: [1, x]}}]", "rules[0].where.in", "expected only numbers, or only "
     "words after ==, != or in, found [1, 'x']. Numbers stand without quotes."),
    ("rules: [{rule: A, where: {feature: load, '<': x}}]", "rules[0].where.<", "expected only numbers, or only "
     "words after ==, != or in, found 'x'. Numbers stand without quotes."),
    ("items: [A, B]\nrules: [{if: A, then: C}]", "rules[0]",
     "expected a declared name such as A, found 'C'. Correct the name, or declare it."),
    ("slots: {M: [servo]}\nrules: [M = serv]", "rules[0]",
     "expected an option of 'M' such as servo, found 'serv'. Correct the option, or declare it."),
    ("slots: {M: [servo]}\nrules: [M]", "rules[0]", "expected one of the options of the slot 'M' (servo), "
                                                    "found its name alone. Write for example: M = servo."),
    ("items: [A]\nrules: [{total: cost, at most: 3}]", "rules[0]",
     "expected a declared attribute, found 'cost', and none is declared. Give the numbers under attributes."),
    ("items: [A]\nattributes: {cost: {B: 3}}", "attributes.cost",
     "expected a declared name such as A, found 'B'. Correct the name, or declare it."),
    ("{rules: [" + "{not: " * 60 + "A" + "}" * 60 + "]}", "rules[0]" + ".not" * 48,
     "expected at most 50 levels inside one another, found more. Split the rule into several."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "sentence"), MISTAKES)
def test_mistakes_name_their_path(text, path, sentence):
    with pytest.raises(RuleError) as caught:
        read_structured(text, "r.yaml")
    assert str(caught.value) == f"r.yaml, {path}: {sentence}"


def test_a_table_without_rows_allows_nothing_or_forbids_nothing():
    text = "rules: [{allowed: [A], rows: []}, {forbidden: [A], rows: []}]"
    assert read_structured(text, "r") == parse_rules("never\nalways")


def test_a_mistake_without_a_place_has_none(monkeypatch):
    monkeypatch.setattr("yaml.SafeLoader.get_single_data", lambda _: (_ for _ in ()).throw(yaml.YAMLError()))
    with pytest.raises(RuleError) as caught:
        read_structured("a: b", "r")
    assert str(caught.value) == (
        "r: expected YAML or JSON, found text that is neither. Check indentation, brackets and quotes."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "items: [A",
            "r, line 1, column 10: expected a bracket or a quote to be closed, found the end of the file. "
            "Close what is open.",
        ),
        ("items: [A]\nitems: [B]", "r, line 2, column 1: the key 'items' is given a second time. "
         "Leave one of the two out, or change a name."),
        ('{"items": ["A"], "items": ["B"]}', "r: the key 'items' is given a second time. "
         "Leave one of the two out, or change a name."),
        ("items: &a [A]\nrules: *a", "r, line 1, column 8: expected plain values, found the reference '&a'. "
         "Write the value itself, or put quotes around it."),
        ("rules: *a", "r, line 1, column 8: expected plain values, found the reference '*a'. "
         "Write the value itself, or put quotes around it."),
        ("items: [2024-99-99]", "r, line 1, column 9: expected a value, found 2024-99-99, which looks like a "
                                "number or a date and is none. Put it in quotes."),
        ("rules: !!python/object:os.system []", "r, line 1, column 8: expected plain values, found one with "
                                                "the type python/object:os.system. Leave the type out, or put "
                                                "quotes around it."),
        ("items: [A]\nrules: ['A\x01']", "r, line 2, column 11: expected text, found the character U+0001, which YAML "
         "does not allow. Take it out, or write it in double quotes as \\x01 is written."),
        ("\x01", "r, line 1, column 1: expected text, found the character U+0001, which YAML does not allow. Take it "
         "out, or write it in double quotes as \\x01 is written."),
        ("items:\n\t- A", "r, line 2, column 1: expected spaces, found a tab, with which YAML is not indented. Put "
         "spaces in its place."),
        ("items: [A]\nrules: if: A", "r, line 2, column 10: expected one key in the line, found a further colon. Put "
         "text with a colon in quotes, or check the indentation."),
        ("items: [A]\n---\nitems: [B]", "r, line 2, column 1: expected YAML or JSON, found text that is neither. Check "
         "indentation, brackets and quotes there."),
        ("[" * 200, "r has more than 100 levels inside one another. Split its rules into several."),
        ('{"a":' + "[" * 100_000, "r has more than 100 levels inside one another. Split its rules into several."),
        ("a: " + "x" * 1_000_000, "r holds 1000003 characters of YAML; expected at most 1000000. "
         "Save it as JSON, which is read faster, or split the rules."),
    ],
)  # fmt: skip
def test_text_that_is_no_yaml(text, sentence):
    with pytest.raises(RuleError) as caught:
        read_structured(text, "r")
    assert str(caught.value) == sentence
