"""UVL: trees, groups and constraints become rules; what is written has the same combinations; the rest is named."""

from decimal import Decimal

import pytest
from hypothesis import assume, given, settings

from jebm_core.errors import RuleError
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.uvl import read_uvl, write_uvl
from tests.rules_oracle import applies, models
from tests.rules_strategies import rule_sets

PLAIN = rule_sets(("subsets", "configurations"), soft=False, where=False, probabilities=False)


def chosen_features(found):
    """What is chosen of a combination, by the names of the features that stand for it."""
    if isinstance(found, dict):
        return frozenset(found) | frozenset(f"{slot}={option}" for slot, option in found.items())
    return found


@given(PLAIN)
@settings(max_examples=200)
def test_what_is_written_reads_back_with_the_same_combinations(rules):
    try:
        read = read_uvl(write_uvl(rules), "m.uvl")
    except RuleError as error:
        assume("can't be written as UVL, where names" not in str(error))
        raise
    assume(len(read.variables) <= 13)
    names = [variable.name.text for variable in rules.variables]
    names += [f"{v.name.text}={option.text}" for v in rules.variables for option in v.options]
    found = [chosen_features(combination) & frozenset(names) for combination in models(read)]
    wanted = [chosen_features(combination) for combination in models(rules)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, wanted))


TREE = """\
namespace pumps
include
\tBoolean.group-cardinality
\tArithmetic.*
// a comment with a "quote
features
\tPump {abstract true, note 'a, {b}', "mass in kg" 2.5}
\t\tmandatory
\t\t\tMotor {cost 5,
\t\t\t\tabstract}
\t\t\t\talternative
\t\t\t\t\tServo /* two
lines */ {cost -1.5}
\t\t\t\t\tBoolean "0.75 kW"
\t\toptional
\t\t\tBrake
\t\tor
\t\t\tHand
\t\t\tRemote
\t\t[1..2]
\t\t\tRed
\t\t\tBlue
\t\t\tGreen
\t\t[0..*]
\t\t\tX
\t\t[2]
\t\t\tY
\t\t\tZ
constraints
\tServo => Brake
\t!(Hand & Remote) | "0.75 kW"
\tRed <=> Blue
\tRed & X <=> Y | Z
\tsum(cost) <= 10 & 3.5 < sum("mass in kg")
"""

SAID = """\
items Pump, Motor, Servo, "0.75 kW", Brake, Hand, Remote, Red, Blue, Green, X, Y, Z
attribute "mass in kg": Pump 2.5
attribute cost: Motor 5, Servo -1.5
Pump
Motor requires Pump
Pump requires Motor
Servo requires Motor
"0.75 kW" requires Motor
Motor requires exactly 1 of {Servo, "0.75 kW"}
Brake requires Pump
Hand requires Pump
Remote requires Pump
Pump requires at least 1 of {Hand, Remote}
Red requires Pump
Blue requires Pump
Green requires Pump
Pump requires between 1 and 2 of {Red, Blue, Green}
X requires Pump
Pump requires at least 0 of {X}
Y requires Pump
Z requires Pump
Pump requires exactly 2 of {Y, Z}
Servo requires Brake
not (Hand and Remote) or "0.75 kW"
(Red requires Blue) and (Blue requires Red)
not exactly 1 of {Red and X, Y or Z}
total cost at most 10 and not total "mass in kg" at most 3.5
"""


def test_trees_groups_and_constraints_are_rules():
    rules = read_uvl(TREE, "m.uvl")
    assert rules == parse_rules(SAID)
    assert rules.source == "m.uvl"
    lines = {variable.name.text: (variable.name.line, variable.name.column) for variable in rules.variables}
    assert (lines["Pump"], lines["Servo"], lines["0.75 kW"]) == ((7, 2), (12, 6), (14, 14))
    assert [rule.line for rule in rules.rules[-5:]] == [30, 31, 32, 33, 34]


def test_spaces_and_windows_line_ends_are_fine():
    tabs = TREE.replace("\t\t\t\tabstract", "  abstract")
    assert read_uvl(tabs.replace("\t", "    ").replace("\n", "\r\n"), "m.uvl") == read_uvl(TREE, "m.uvl")


@pytest.mark.parametrize(
    ("constraint", "formula"),
    [
        ("A => B => C", "(A requires B) requires C"),
        ("A | B & C => A", "A or B and C requires A"),
        ("!!A", "not not A"),
        ("A & (B & C)", "A and (B and C)"),
        ("A <=> B <=> C", "not exactly 1 of {(A requires B) and (B requires A), C}"),
        ("sum(cost) == 3", "total cost exactly 3"),
        ("sum(cost) != 3", "not total cost exactly 3"),
        ("sum(cost) >= -3.5", "total cost at least -3.5"),
        ("sum(cost) > 3", "not total cost at most 3"),
        ("sum(cost) < 3", "not total cost at least 3"),
        ("3 >= sum(cost)", "total cost at most 3"),
        ("(A => sum(cost) <= 3) | B", "(A requires total cost at most 3) or B"),
    ],
)
def test_constraints(constraint, formula):
    model = "features\n A\n  optional\n   B {cost 1}\n   C\nconstraints\n " + constraint
    assert read_uvl(model, "m").rules[-1].formula == parse_rules(formula).rules[0].formula


def test_feature_models_have_the_features_of_their_clauses(shared_data):
    files = sorted((shared_data / "feature_models").glob("*/model.uvl"))
    assert len(files) == 5
    for file in files:
        rules = read_uvl(file.read_text(encoding="utf-8"), file.parent.name)
        clauses = file.with_suffix(".dimacs").read_text(encoding="utf-8")
        assert len(rules.variables) == sum(line.startswith("c ") for line in clauses.splitlines())
        assert read_uvl(write_uvl(rules), "again").variables[1:] == rules.variables


# ---- mistakes in a file ----------------------------------------------------------------------------------------------

ONLY = (
    "expected features that are chosen or not, groups, logical constraints and sums of numeric attributes. "
    "Say it with these, or leave it out."
)


def model(constraint):
    return f"features\n\tA\n\t\toptional\n\t\t\tB {{cost 5}}\nconstraints\n\t{constraint}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "m has no features; expected a line 'features' and below it, indented, the root feature. Give a "
         "UVL file."),
        ("features\n", "m has no features; expected a line 'features' and below it, indented, the root feature. Give a "
         "UVL file."),
        ("featurs\n\tA\n", "m, line 1: expected one section each of features and constraints at the margin, found "
         "'featurs'; did you mean features? Everything inside a section is indented."),
        ("features\n\tA\nfeatures\n\tB\n", "m, line 3: expected one section each of features and constraints at the "
         "margin, found 'features'; did you mean features? Everything inside a section is indented."),
        ("features\nA\n", "m, line 2: expected one section each of features and constraints at the margin, found "
         "'A'; did you mean features? Everything inside a section is indented."),
        ("features\n\tA\n\tB\n", "m, line 3: expected one root feature, found 'B' beside it. Indent it more, or "
         "put one "
         "feature above both."),
        ("features\n\tA\n\t\tB\n", "m, line 3: expected a group (mandatory, optional, or, alternative, [1..2]) below a "
         "feature, found 'B'; did you mean optional? Features stand below a group."),
        ("features\n\tA\n\t\tmandatry\n\t\t\tB\n", "m, line 3: expected a group (mandatory, optional, or, alternative, "
         "[1..2]) below a feature, found 'mandatry'; did you mean mandatory? Features stand below a group."),
        ("features\n\tA\n\t\toptional\n", "m, line 3: expected features below the group 'optional', found none. "
         "Add them "
         "with more indentation, or leave the group out."),
        ("features\n\tA\n\t\t[2..1]\n\t\t\tB\n", "m, line 3: expected the lower bound before the upper one, found "
         "'[2..1]'. Exchange the two."),
        ("features\n\tA\n\t\toptional\n\t\t\tB\n    \t\tC\n", "m, line 5: expected one root feature, found 'C' beside "
         "it. Indent it more, or put one feature above both."),
        ("features\n\tA\n\t\toptional\n\t\t\t\tB\n\t\t\tC\n", "m, line 5: expected the indentation of the lines beside "
         "it, found another one before 'C'. Indent with the same tabs or spaces."),
        ("features\n\tA\n\t\toptional\n\t\t\tB\n\t\t\tB\n", "m, line 5, column 4: 'B' is declared a second time, after "
         "line 4. Leave one of the two out, or change a name."),
        ("features\n\tA b\n", "m, line 2: expected a feature, found 'A b'. A name with characters other than letters, "
         "digits and _ stands in double quotes, for example: \"0.75 kW\" {cost 5}."),
        ("features\n\tA {cost 5, cost 6}\n", "m, line 2: attribute 'cost' of 'A' is given a second time. Leave "
         "one of the "
         "two out."),
        ("features\n\tA {cost 5\n", "m, line 2: a bracket that opens here is not closed. Close it with }, ) or ]."),
        ("imports\n\tother.model as o\nfeatures\n\tA\n", "m, line 2: 'imports other.model as o' can't be read; "
         "" + ONLY),
        ("features\n\tInteger A\n", "m, line 2: 'Integer A' can't be read; " + ONLY),
        ("features\n\tString A\n", "m, line 2: 'String A' can't be read; " + ONLY),
        ("features\n\tA cardinality [1..2]\n", "m, line 2: 'A cardinality [1..2]' can't be read; " + ONLY),
        ("features\n\tA {constraint B => C}\n", "m, line 2: 'constraint B => C' can't be read; " + ONLY),
        ("features\n\tA {cost 1234567890123456789012345678901}\n",
         "m, line 2: 'cost 1234567890123456789012345678901' can't be read; " + ONLY),
        (model("A == 'x'"), "m, line 6: \"A == 'x'\" can't be read; " + ONLY),
        (model("A.cost + B.cost < 5"), "m, line 6: 'A.cost + B.cost < 5' can't be read; " + ONLY),
        (model("B => avg(cost) < 5"), "m, line 6: 'avg(cost) < 5' can't be read; " + ONLY),
        (model("sum(cost, A) < 5"), "m, line 6: 'sum(cost, A) < 5' can't be read; " + ONLY),
        (model("sum(cost) + 1 < 5"), "m, line 6: '+ 1 < 5' can't be read; " + ONLY),
        (model("A => C"), "m, line 6, column 7: expected a feature such as 'A', found 'C'. Correct the name, or "
         "add the "
         "feature."),
        (model("sum(cots) < 5"), "m, line 6, column 6: expected a numeric attribute of a feature, found 'cots'. "
         "Correct "
         "the name, or give features the attribute, for example: A {cots 5}."),
        (model("A =>"), "m, line 6, column 6: expected a feature, '!' or '(', but the constraint ends there. "
                        "For example: !A | B & sum(cost) <= 100."),
        (model("A B"), "m, line 6, column 4: expected the constraint to end there, or to go on with '&', '|', "
                       "'=>' or '<=>', found 'B'. For example: !A | B & sum(cost) <= 100."),
        (model("A & | B"), "m, line 6, column 6: expected a feature, '!' or '(', found '|'. For example: !A | "
                           "B & sum(cost) <= 100."),
        (model("(A B)"), "m, line 6, column 5: expected ')', found 'B'. For example: !A | B & sum(cost) <= 100."),
        (model("sum(cost) A"), "m, line 6, column 12: expected '<=', '>=', '<', '>', '==', '!=', found 'A'. "
                               "For example: !A | B & sum(cost) <= 100."),
        (model("sum(cost) < A"), "m, line 6, column 14: expected a number, found 'A'. For example: !A | B & "
                                 "sum(cost) <= 100."),
        (model("sum(cost) <"), "m, line 6, column 13: expected a number, but the constraint ends there. For example: "
         "!A | B & sum(cost) <= 100."),
        (model("sum(cost)"), "m, line 6, column 11: expected '<=', '>=', '<', '>', '==', '!=', but the constraint ends "
         "there. For example: !A | B & sum(cost) <= 100."),
        (model("sum(cost) < " + "1" * 31), "m, line 6, column 14: expected a number of at most 30 digits, found "
         + "1" * 31 + ". Shorten the number."),
        (model("5 < A"), "m, line 6, column 6: expected 'sum(attribute)', found 'A'. For example: !A | B & "
                         "sum(cost) <= 100."),
        (model("!" * 60 + "A"), "m, line 6, column 53: expected at most 50 brackets or negations inside one another, "
         "found more. Split the rule into several."),
    ],
)  # fmt: skip
def test_mistakes_in_a_file(text, sentence):
    with pytest.raises(RuleError) as caught:
        read_uvl(text, "m")
    assert str(caught.value) == sentence


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_slots_are_alternatives_and_counts_are_sums():
    rules = parse_rules(
        """
        slot Motor: servo, "0.75 kW"
        slot or: 0, 1
        attribute cost: Motor = servo 2.50
        if Motor = servo then or = 1
        """.replace("slot or", 'slot "or"').replace("then or", 'then "or"')
        + "total cost between 1 and 3\nMotor != servo\nalways\n"
        + "exactly 3 of Motor = servo, Motor != servo, "
        + ", ".join('"or" = 1 and Motor = servo' for _ in range(1)).join("()")
        + ', "or" = 1, "or" = 0, not "or" = 1, "or" = 1'
    )
    assert write_uvl(rules) == (
        "features\n"
        "\troot\n"
        "\t\toptional\n"
        "\t\t\tformula {count 1}\n"
        "\t\tmandatory\n"
        "\t\t\tMotor\n"
        "\t\t\t\talternative\n"
        '\t\t\t\t\t"Motor=servo" {cost 2.50}\n'
        '\t\t\t\t\t"Motor=0.75 kW"\n'
        '\t\t\t"or"\n'
        "\t\t\t\talternative\n"
        '\t\t\t\t\t"or=0" {count 1}\n'
        '\t\t\t\t\t"or=1" {count 1}\n'
        "constraints\n"
        '\t"Motor=servo" => "or=1"\n'
        "\t(sum(cost) >= 1) & (sum(cost) <= 3)\n"
        '\t!"Motor=servo"\n'
        "\troot\n"
        '\tformula <=> ("or=1" & "Motor=servo")\n'
        "\tsum(count) == 1\n"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ranking A, B\nA above B", "r is about a ranking, which can't be written as UVL. Keep it as text or JSON."),
        ("items A\nprefer 2: not A", "r, rule 1 (prefer 2: not A): a preference can't be written as UVL, which "
         "knows no "
         "exceptions. Leave the rule out, or take prefer away."),
        ("items A\nwhere x == 1: A", "r, rule 1 (where x == 1: A): a rule for some contexts can't be written as UVL, "
         "which knows no contexts. Leave the rule out, or take where away."),
        ("items A\nprobability A: 0.5", "r gives a probability of 'A', which can't be written as UVL. Leave the "
         "probabilities out."),
        ('items "say \\"no\\""', "r: the name 'say \"no\"' can't be written as UVL, where names differ, also "
         "from names "
         "such as Motor=servo, and hold neither quotes nor line ends. Change the name."),
        ('slot M: a\nslot "M=a": b', "r: the name 'M=a' can't be written as UVL, where names differ, also from names "
         "such as Motor=servo, and hold neither quotes nor line ends. Change the name."),
    ],
)  # fmt: skip
def test_what_uvl_has_no_words_for(text, sentence):
    with pytest.raises(RuleError) as caught:
        write_uvl(parse_rules(text, "r"))
    assert str(caught.value) == sentence


def test_names_that_are_taken_get_a_number():
    text = write_uvl(parse_rules("items root, root_2\nroot requires root_2"))
    assert "\troot_3\n" in text
    assert len(models(read_uvl(text, "m"))) == 3


def test_the_oracle_evaluates_conditions():
    condition = parse_rules("where (region in {JP, DE} or load > 5) and not load == 7: A").rules[0].where
    answers = [applies(condition, {"region": region, "load": Decimal(load)}) for region, load in (
        ("JP", 1), ("US", 1), ("US", 6), ("JP", 7),
    )]  # fmt: skip
    assert answers == [True, False, True, False]
    assert applies(None, {})
    assert RuleSet().kind is None


def test_slots_come_back_as_slots_with_the_same_combinations():
    text = """
        slot Motor: servo, "0.75 kW", stepper
        slot Housing: steel, zinc
        attribute cost: Motor = servo 120, Motor = stepper 35.5, Housing = steel 80
        if Motor = servo then Housing = steel
        total cost at most 190
        not (Motor = stepper and Housing = zinc)
        """
    rules = parse_rules(text, "r.rules")
    again = read_uvl(write_uvl(rules), "r.uvl")
    assert again.kind == "configurations"
    assert [v.name.text for v in again.variables] == ["Motor", "Housing"]
    assert {tuple(sorted(c.items())) for c in models(again)} == {tuple(sorted(c.items())) for c in models(rules)}
    assert len(models(again)) == 3


def test_a_feature_beside_slots_keeps_them_items():
    uvl = write_uvl(parse_rules("slot M: a, b", "r"))
    assert read_uvl(uvl, "r.uvl").kind == "configurations"
    more = uvl.replace("mandatory", "optional\n\t\t\textra\n\t\tmandatory", 1)
    assert read_uvl(more, "r.uvl").kind == "subsets"
