"""DIMACS CNF: names and slots are recognised, tables in disguise are tables, and writing keeps every count."""

import itertools
import math
import time
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    And,
    Attribute,
    Chosen,
    Count,
    Name,
    Not,
    Or,
    Rule,
    RuleSet,
    Size,
    Total,
    Tuples,
    Variable,
)
from jebm_core.rules.notation.counting import decisions, spelled_out
from jebm_core.rules.notation.dimacs import read_dimacs, write_dimacs
from jebm_core.rules.notation.dimacs_text import read_clauses
from jebm_core.rules.notation.parser import parse_rules
from tests.rules_oracle import combinations_of, holds, models
from tests.rules_strategies import rule_sets

PLAIN = rule_sets(("subsets", "configurations"), soft=False, where=False, probabilities=False)


def solutions(text):
    """Every model of a CNF as the frozenset of its true variables, by trying all of them."""
    cnf = read_clauses(text, "r.cnf")
    found = []

    def extend(variable, chosen, clauses):
        if any(not clause for clause in clauses):
            return
        if variable > cnf.count:
            found.append(frozenset(chosen))
            return
        for literal in (variable, -variable):
            rest = [tuple(part for part in clause if part != -literal) for clause in clauses if literal not in clause]
            extend(variable + 1, [*chosen, variable] if literal > 0 else chosen, rest)

    extend(1, [], cnf.clauses)
    return found, cnf


def labels(model, cnf):
    """What a model says about the named variables."""
    return frozenset(name for variable, (name, _) in cnf.names.items() if variable in model)


def expected(rules):
    """The valid combinations of a rule set, by the names that a CNF gives to what they choose."""
    return Counter(
        frozenset(f"{slot}={option}" for slot, option in found.items()) if isinstance(found, dict) else found
        for found in models(rules)
    )


@given(PLAIN)
@settings(max_examples=150)
def test_every_valid_combination_is_exactly_one_model(rules):
    try:
        text = write_dimacs(rules)
    except RuleError as error:
        assume("can't be written as DIMACS CNF, where " not in str(error))
        raise
    found, cnf = solutions(text)
    assert Counter(labels(model, cnf) for model in found) == expected(rules)


@given(PLAIN)
@settings(max_examples=60)
def test_what_is_written_reads_back_with_the_same_combinations(rules):
    try:
        read = read_dimacs(write_dimacs(rules), "r.cnf")
    except RuleError as error:
        assume("can't be written as DIMACS CNF, where " not in str(error))
        raise
    assume(sum(variable.hidden for variable in read.variables) <= 8)
    names = {variable.name.text for variable in rules.variables}
    assert [v.name for v in read.variables if not v.hidden] == [v.name for v in rules.variables]
    visible = [
        {slot: option for slot, option in found.items() if slot in names}
        if isinstance(found, dict)
        else frozenset(found & names)
        for found in models(read)
    ]
    wanted = models(rules)
    assert len(visible) == len(wanted)
    assert all(found in wanted for found in visible)


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_clauses_may_span_lines_and_comments_stand_anywhere():
    text = "c a file\np cnf 3 3\nc 1 pump\n1 2\n-3 0 -1\n0\nc 2 long name\n\n0\n%\n0\n"
    rules = read_dimacs(text, "r.cnf")
    pump, name = Chosen(Name("pump")), Chosen(Name("long name"))
    assert rules == RuleSet(
        "subsets",
        tuple(Variable(Name(text)) for text in ("pump", "long name", "#3")),
        rules=(Rule(Or((pump, name, Not(Chosen(Name("#3")))))), Rule(Not(pump)), Rule(Or(()))),
    )
    assert [rule.line for rule in rules.rules] == [4, 5, 9]
    assert [variable.hidden for variable in rules.variables] == [False, False, True]
    assert (rules.variables[0].name.line, rules.source) == (3, "r.cnf")


def test_comments_that_begin_with_another_number_name_nothing():
    assert read_dimacs("c 2024 models\nc 1 A\np cnf 1 0\n", "r").variables == (Variable(Name("A")),)


def test_types_of_kconfig_are_left_out():
    text = 'c 1 NET choice_bool\nc 2 PATH nonbool "/usr/lib"\nc 3 IPV6 tristate\np cnf 3 0\n'
    assert [v.name.text for v in read_dimacs(text, "r").variables] == ["NET", 'PATH "/usr/lib"', "IPV6"]
    text = "c 1 long name bool\nc 2 other name boolean\np cnf 2 0\n"
    assert [v.name.text for v in read_dimacs(text, "r").variables] == ["long name", "other name"]
    text = "c 1 A bool\nc 2 B\np cnf 2 0\n"
    assert [v.name.text for v in read_dimacs(text, "r").variables] == ["A bool", "B"]


MOTOR = "c 1 Motor=servo\nc 2 Motor=stepper\nc 3 Motor=linear\nc 4 brake\n"
ONE = "1 2 3 0\n-1 -2 0\n-3 -1 0\n-2 -3 0\n"


def test_slots_have_exactly_one_option_without_clauses():
    rules = read_dimacs(f"{MOTOR}p cnf 5 7\n{ONE}-4 1 3 0\n-1 -3 4 0\n1 2 0\n", "r.cnf")
    motor, brake = Name("Motor"), Name("brake")
    servo, stepper, linear = (Name(text) for text in ("servo", "stepper", "linear"))
    braked = Chosen(brake, (Name("1"),))
    assert rules == RuleSet(
        "configurations",
        (
            Variable(motor, (servo, stepper, linear)),
            Variable(brake, (Name("0"), Name("1"))),
            Variable(Name("#5"), (Name("0"), Name("1"))),
        ),
        rules=(
            Rule(Or((Not(braked), Chosen(motor, (servo, linear))))),
            Rule(Or((Not(Chosen(motor, (servo,))), Not(Chosen(motor, (linear,))), braked))),
            Rule(Chosen(motor, (servo, stepper))),
        ),
    )
    assert [variable.hidden for variable in rules.variables] == [False, False, True]


def table(rows, extra="", names=MOTOR, clauses=ONE, first=5):
    """A table in disguise: variables from ``first`` on, one for each row."""
    lines = [" ".join(str(first + place) for place in range(len(rows))) + " 0"]
    lines += [f"-{first + place} {literal} 0" for place, row in enumerate(rows) for literal in row]
    body = clauses + "\n".join(lines) + "\n" + extra
    return f"{names}p cnf {first + len(rows) - 1} {body.count(' 0')}\n{body}"


def test_a_table_in_disguise_is_a_table():
    text = table([(1, 4), (2, -4), (3, 4)])
    rules = read_dimacs(text, "r.cnf")
    cells = [[Name(option), Name(brake)] for option, brake in (("servo", "1"), ("stepper", "0"), ("linear", "1"))]
    assert rules.rules == (Rule(Tuples((Name("Motor"), Name("brake")), tuple(map(tuple, cells)))),)
    assert [variable.name.text for variable in rules.variables] == ["Motor", "brake"]
    assert rules.rules[0].line == 10
    found, _ = solutions(text)
    assert len(models(rules)) == len(found) == 3


@pytest.mark.parametrize(
    ("rows", "extra"),
    [
        ([(1, 4), (2,)], ""),  # other slots
        ([(1, 4), (1, 4)], ""),  # the same row twice
        ([(-1, 4), (2, -4)], ""),  # not an option but all others
        ([(1, 2, 4), (2, -4)], ""),  # two options at once
        ([(1, 4), (2, -4)], "5 4 0\n"),  # a row that is asked for elsewhere too
        ([(1, 4), (2, -4)], "-5 -6 0\n"),  # a row that excludes another one
        ([(1, 4), (2, 6)], ""),  # a row that depends on another one
        ([(), ()], ""),  # no rows at all
    ],
)
def test_what_only_looks_like_a_table_stays_hidden(rows, extra):
    text = table(rows, extra)
    rules = read_dimacs(text, "r.cnf")
    assert not any(isinstance(rule.formula, Tuples) for rule in rules.rules)
    assert sum(variable.hidden for variable in rules.variables) == len(rows)
    found, _ = solutions(text)
    assert len(models(rules)) == len(found)


def test_tables_of_items_are_tables_too():
    rules = parse_rules("items A, B, C, D\n" + "allowed A, B, C, D: " + ", ".join(
        f"({a}, {b}, {c}, {d})" for a, b, c, d in itertools.product("01", repeat=4) if f"{a}{b}{c}{d}".count("1") != 2
    ))  # fmt: skip
    assert read_dimacs(write_dimacs(rules), "r.cnf") == rules


def test_large_files_are_read_quickly_and_hide_nothing(shared_data):
    text = (shared_data / "configuration" / "renault_medium" / "constraints.cnf").read_text(encoding="utf-8")
    started = time.process_time()
    rules = read_dimacs(text, "constraints.cnf")
    assert time.process_time() - started < 5
    assert not any(variable.hidden for variable in rules.variables)
    assert sum(len(variable.options) for variable in rules.variables) == 426
    tables = [rule.formula for rule in rules.rules if isinstance(rule.formula, Tuples)]
    assert (len(tables), sum(len(found.rows) for found in tables)) == (31, 6000)


def test_feature_models_have_the_variables_and_clauses_of_their_header(shared_data):
    with (shared_data / "feature_models" / "counts.csv").open(encoding="utf-8") as file:
        header, *rows = [line.rstrip("\n").split(",") for line in file]
    assert len(rows) == 7
    for row in rows:
        entry = dict(zip(header, row, strict=True))
        rules = read_dimacs((shared_data / entry["file"]).read_text(encoding="utf-8"), entry["name"])
        assert rules.kind == "subsets"
        assert (len(rules.variables), len(rules.rules)) == (int(entry["n_vars"]), int(entry["n_clauses"]))
        assert not any(variable.hidden for variable in rules.variables)


# ---- mistakes in a file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "r has no header; expected a line 'p cnf VARIABLES CLAUSES' and then the clauses. Give a DIMACS "
         "CNF file."),
        ("1 0\np cnf 1 1\n", "r, line 1: expected the header 'p cnf VARIABLES CLAUSES' before the first clause, found "
         "'1 0'. Add the header."),
        ("p cnf 1\n", "r, line 1: expected one header 'p cnf VARIABLES CLAUSES' with two whole numbers, found "
         "'p cnf 1'. Correct the header."),
        ("p sat 1 1\n", "r, line 1: expected one header 'p cnf VARIABLES CLAUSES' with two whole numbers, found "
         "'p sat 1 1'. Correct the header."),
        ("p cnf 1 0\np cnf 1 0\n", "r, line 2: expected one header 'p cnf VARIABLES CLAUSES' with two whole numbers, "
         "found 'p cnf 1 0'. Correct the header."),
        ("p cnf 9999999 0\n", "r, line 1: expected at most 1000000 variables, found 9999999. Split the rules into "
         "several files."),
        ("p cnf 2 1\n1 3 0\n", "r, line 2: expected variables from 1 to 2, negated by a minus sign, and 0 at "
         "the end of "
         "a clause, found '3'. Correct the clause or the header."),
        ("p cnf 2 1\n1 x2 0\n", "r, line 2: expected variables from 1 to 2, negated by a minus sign, and 0 at the end "
         "of a clause, found 'x2'. Correct the clause or the header."),
        ("p cnf 2 1\n1\n2\n", "r, line 2: expected 0 at the end of the clause that begins here, found the end of the "
         "file. Add it, or look whether the file was cut off."),
        ("\np cnf 2 2\n1 0\n", "r, line 2: the header announces 2 clauses, but the file holds 1. Correct the "
         "header, or "
         "look whether the file was cut off."),
        ("c 1 A\nc 1 B\np cnf 1 0\n", "r, line 2: variable 1 is called 'B' here and 'A' in line 1. Give it one name."),
        ("c 1 A\nc 2 A\np cnf 2 0\n", "r, line 2: the name 'A' is that of variable 2 and of variable 1. Names must "
         "differ."),
        ("c 1 A=x\nc 2 A\np cnf 2 1\n1 0\n", "r, line 2: expected a name of its own, or a slot and its option such as "
         "Motor=servo, found 'A'. Change the name."),
        ("c 1 A=\np cnf 1 1\n1 0\n", "r, line 1: expected a name of its own, or a slot and its option such as "
         "Motor=servo, found 'A='. Change the name."),
        ("c 1 A=x\nc 2 A=y\np cnf 2 1\n-1 -2 0\n", "r: the file does not say that slot 'A' has one of its 2 "
         "options. Add "
         "the clause '1 2 0'."),
        ("c 1 A=x\nc 2 A=y\nc 3 A=z\np cnf 3 3\n1 2 3 0\n-1 -2 0\n-2 -3 0\n", "r: the file does not say that slot 'A' "
         "has at most one of 'x' and 'z'. Add the clause '-1 -3 0'."),
    ],
)  # fmt: skip
def test_mistakes_in_a_file(text, sentence):
    with pytest.raises(RuleError) as caught:
        read_dimacs(text, "r")
    assert str(caught.value) == sentence


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_small_formulas_become_clauses_over_the_names():
    rules = parse_rules(
        "slot Motor: servo, stepper, linear\nslot brake: 0, 1\nif Motor in {servo, linear} then brake = 1\n"
        "at most 1 of Motor = servo, brake = 1, Motor = linear\nforbidden Motor, brake: (stepper, *), (servo, 0)"
    )
    assert write_dimacs(rules) == (
        "c 1 Motor=servo\nc 2 Motor=stepper\nc 3 Motor=linear\nc 4 brake=0\nc 5 brake=1\np cnf 5 13\n"
        "1 2 3 0\n-1 -2 0\n-1 -3 0\n-2 -3 0\n4 5 0\n-4 -5 0\n"
        "-1 5 0\n-3 5 0\n-1 -5 0\n-1 -3 0\n-3 -5 0\n-2 0\n-1 -4 0\n"
    )


def test_totals_of_thousands_of_items_are_written():
    names = tuple(Name(f"i{number}") for number in range(2000))
    cost = Attribute(Name("cost"), tuple((name, None, Decimal("0.5")) for name in names))
    demands = (Rule(Total(Name("cost"), None, Decimal("2.5"))), Rule(Size(3, None)))
    text = write_dimacs(RuleSet("subsets", tuple(map(Variable, names)), (cost,), (), demands))
    assert text.count("\n") < 100_000


def test_a_sum_with_too_many_steps_is_refused():
    names = tuple(Name(f"i{number}") for number in range(60))
    cost = Attribute(Name("cost"), tuple((name, None, Decimal(7) ** place) for place, name in enumerate(names[:30])))
    rules = RuleSet(
        "subsets",
        tuple(map(Variable, names)),
        (cost,),
        rules=(Rule(Total(Name("cost"), None, Decimal(10) ** 24), line=7),),
        source="r.txt",
    )
    with pytest.raises(RuleError) as caught:
        write_dimacs(rules)
    assert str(caught.value) == (
        "r.txt, rule 1 (total cost at most 1000000000000000000000000): the sum has more than 200000 steps, too "
        "many for "
        "DIMACS CNF. Round its numbers, or leave the rule out."
    )
    assert caught.value.line == 7


@pytest.mark.parametrize(
    ("text", "sentence", "line"),
    [
        ("A requires B", "r declares no names, which DIMACS CNF needs. Declare them with items or slot.", 0),
        ("ranking A, B\nA above B", "r is about a ranking, which can't be written as DIMACS CNF. Keep it as "
         "text or JSON.", 0),
        ("items A\n\nprobability A: 0.5", "r gives a probability of 'A', which can't be written as DIMACS CNF. "
         "Leave the "
         "probabilities out.", 3),
        ("items A\nA\nprefer 2: not A", "r, rule 2 (prefer 2: not A): a preference can't be written as DIMACS "
         "CNF, which "
         "knows no exceptions. Leave the rule out, or take prefer away.", 3),
        ("items A\nwhere x == 1: A", "r, rule 1 (where x == 1: A): a rule for some contexts can't be written as DIMACS "
         "CNF, which knows no contexts. Leave the rule out, or take where away.", 2),
        ('items "A=B"', "r: the name 'A=B' can't be written as DIMACS CNF, where a name is one line without "
                        "white space at either end, holds no = but that of an option, and not all names end in "
                        "a type such as bool. Change the name.", 0),
        ('items "A "', "r: the name 'A ' can't be written as DIMACS CNF, where a name is one line without "
                       "white space at either end, holds no = but that of an option, and not all names end in "
                       "a type such as bool. Change the name.", 0),
        ('items "A\\nB"', "r: the name 'A\\nB' can't be written as DIMACS CNF, where a name is one line "
                          "without white space at either end, holds no = but that of an option, and not all "
                          "names end in a type such as bool. Change the name.", 0),
        ('items "A bool"', "r: the name 'A bool' can't be written as DIMACS CNF, where a name is one line "
                           "without white space at either end, holds no = but that of an option, and not all "
                           "names end in a type such as bool. Change the name.", 0),
    ],
)  # fmt: skip
def test_what_cnf_has_no_words_for(text, sentence, line):
    with pytest.raises(RuleError) as caught:
        write_dimacs(parse_rules(text, "r"))
    assert str(caught.value) == sentence
    assert caught.value.line == line


# ---- counting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(5))
def test_counts_spelled_out_say_the_same(size):
    rules = RuleSet("subsets", tuple(Variable(Name(f"i{place}")) for place in range(size)))
    parts = tuple(Chosen(variable.name) for variable in rules.variables)
    for low, high in itertools.product(range(size + 2), [None, *range(size + 2)]):
        found = spelled_out(low, high, parts, 1000)
        assert found is not None
        for combination in combinations_of(rules):
            assert holds(found, combination, rules) == holds(Count(low, high, parts), combination, rules)
    assert spelled_out(1, None, parts, 0) is None or size == 0


def test_decisions_share_equal_sums():
    steps = [[(place, 1), (-place, 0)] for place in range(1, 101)]
    found = decisions(steps, 50, 50, 10_000)
    assert found is not None
    root, nodes = found
    assert len(nodes) < 51 * 51 + 1
    # The number of ways through the nodes is that of choosing 50 of 100.
    ways = {True: 1, False: 0}
    for node in reversed(nodes):
        ways[node] = sum(ways[child] for _, child in nodes[node])
    assert ways[root] == math.comb(100, 50)
    assert decisions(steps, 50, 50, 100) is None


def test_and_of_nothing_is_no_clause():
    rules = RuleSet("subsets", (Variable(Name("A")),), rules=(Rule(And(())), Rule(Or((And(()), Chosen(Name("A")))))))
    assert write_dimacs(rules) == "c 1 A\np cnf 1 0\n"
