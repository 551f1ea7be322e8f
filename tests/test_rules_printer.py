"""Rules written as text read back as they were."""

from decimal import Decimal

import pytest
from hypothesis import given, settings

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Attribute,
    Chosen,
    Count,
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
    Variable,
)
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.printer import WIDEST, describe, to_text
from tests.rules_strategies import rule_sets


@given(rule_sets())
@settings(max_examples=250)
def test_text_reads_back_as_it_was(rules):
    assert parse_rules(to_text(rules)) == rules


@given(rule_sets(probabilities=False))
@settings(max_examples=50)
def test_one_rule_reads_back_as_it_was(rules):
    for rule in rules.rules:
        line = describe(rule)
        assert "\n" not in line
        assert parse_rules(line).rules == (rule,)


CANONICAL = """\
slot Motor: "induction 0.75 kW", servo, 3
hidden slot "#7": 0, 1
attribute cost: Motor = servo 120.5, "#7" = 1 -3
probability Motor: servo 0.5, 3 0.25
where region == JP: probability Motor: servo 0.75
if Motor = servo then "#7" = 0
Motor = servo excludes "#7" = 1
Motor != servo
Motor not in {servo, 3}
Motor in {servo, 3} and ("#7" = 0 or not total cost at most 3)
exactly 1 of Motor = servo, not never
at most 1 of {always or never, "#7" = 1}
prefer 1.5: total cost between -1 and 20.5
where region == "New York" and (load < 5 or load not in {1, 2}): prefer 2: Motor = 3
allowed Motor, "#7": (servo, 1), (3, *)
(forbidden Motor: (servo)) or never
"""


def test_canonical_text_stays_as_it_is():
    assert to_text(parse_rules(CANONICAL)) == CANONICAL


RANKING = """\
ranking A, B, C
A above B
not B next to C
A in place 1
B in top 2
C in bottom 2
C in places 2 to -1
A in places -3 to -2
C in bottom 1
B in place -2
"""


def test_canonical_text_of_a_ranking_stays_as_it_is():
    assert to_text(parse_rules(RANKING)) == RANKING


def test_items_are_grouped_by_whether_they_are_hidden_and_stay_in_order():
    text = 'items A, B\nhidden items "#1"\nitems or\n'.replace("or\n", '"or"\n')
    rules = parse_rules(text)
    assert to_text(rules) == text
    assert [variable.hidden for variable in parse_rules(to_text(rules)).variables] == [False, False, True, False]


def test_long_lists_go_on_in_the_next_line():
    names = tuple(Name(f"item_{number}") for number in range(100))
    rows = tuple((Name("1"), None) for _ in range(60))
    rules = RuleSet(
        "subsets",
        tuple(map(Variable, names)),
        (),
        (),
        (Rule(Tuples(names[:2], rows)), Rule(Or(tuple(map(Chosen, names))))),
    )
    text = to_text(rules)
    assert parse_rules(text) == rules
    # A formula without a comma can't be broken.
    assert all(len(line) <= WIDEST for line in text.splitlines() if " or " not in line)


def test_a_conjunction_of_one_part_is_written_as_the_part():
    a = Chosen(Name("A"))
    assert describe(Rule(And((a,)))) == describe(Rule(Or((a,)))) == "A"


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            RuleSet(rules=(Rule(Total(Name("cost"), None, None)),)),
            "A total has no bound; expected a lower or an upper one. Give a bound, or leave the total out.",
        ),
        (
            RuleSet(rules=(Rule(Tuples((Name("A"),), ())),)),
            "A table of allowed combinations has no rows, so nothing is allowed; expected at least one row. "
            "Write never instead of the table.",
        ),
        (
            RuleSet(rules=(Rule(Tuples((Name("A"),), (), allowed=False)),)),
            "A table of forbidden combinations has no rows, so nothing is forbidden; expected at least one row. Write "
            "always instead of the table.",
        ),
        (
            RuleSet(attributes=(Attribute(Name("cost"), ()),)),
            "Attribute 'cost' has no numbers; expected at least one. Give a number, or leave the attribute out.",
        ),
    ],
)
def test_what_the_text_has_no_words_for_is_refused(rules, sentence):
    with pytest.raises(RuleError) as caught:
        to_text(rules)
    assert str(caught.value) == sentence


def test_places_and_bounds_use_the_shortest_words():
    name = Name("A")
    assert [describe(Rule(Place(name, low, high))) for low, high in ((1, 1), (1, 2), (-2, -1), (2, 3))] == [
        "A in place 1",
        "A in top 2",
        "A in bottom 2",
        "A in places 2 to 3",
    ]
    assert describe(Rule(Total(name, Decimal("1.0"), Decimal(1)))) == "total A exactly 1.0"


A, B = Chosen(Name("A")), Chosen(Name("B"))
INNER = (
    A,
    Chosen(Name("M"), (Name("x"),)),
    Chosen(Name("M"), (Name("x"), Name("0"))),
    Not(A),
    Not(Not(A)),
    Not(Chosen(Name("M"), (Name("x"), Name("y")))),
    And((A, B)),
    Or((A, B)),
    And(()),
    Or(()),
    Implies(A, B),
    Implies(Not(A), B),
    Count(1, 2, (A, B)),
    Count(0, None, ()),
    Size(2, 2),
    Total(Name("cost"), Decimal(1), None),
    Tuples((Name("A"), Name("B")), ((Name("0"), None),)),
    Above(Name("A"), Name("B")),
    And((Above(Name("A"), Name("B")), Above(Name("B"), Name("C")))),
    Adjacent(Name("A"), Name("B")),
    Place(Name("A"), 2, -1),
)
OUTER = (
    lambda part: part,
    lambda part: Not(part),
    lambda part: And((part, B)),
    lambda part: And((B, part)),
    lambda part: Or((part, B)),
    lambda part: Or((B, part)),
    lambda part: Implies(part, B),
    lambda part: Implies(B, part),
    lambda part: Count(1, 1, (part,)),
    lambda part: Count(1, None, (part, B)),
    lambda part: Count(0, 1, (B, part)),
    lambda part: Not(And((part, B))),
    lambda part: Not(And((B, part))),
)


@pytest.mark.parametrize("first", OUTER)
@pytest.mark.parametrize("second", OUTER)
def test_every_formula_inside_every_other_reads_back(first, second):
    for inner in INNER:
        rule = Rule(first(second(inner)))
        assert parse_rules(describe(rule)).rules == (rule,)
