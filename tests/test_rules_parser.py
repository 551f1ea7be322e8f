"""The text notation: every form means what it says, and every mistake gets a sentence that says what to do."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jebm_core.errors import RuleError
from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Attribute,
    Chosen,
    Compare,
    Count,
    Implies,
    Name,
    Not,
    Or,
    Place,
    Probability,
    Rule,
    RuleSet,
    Size,
    Total,
    Tuples,
    Variable,
)
from jebm_core.rules.notation import parser
from jebm_core.rules.notation.parser import parse_condition, parse_formula, parse_rules
from jebm_core.rules.notation.words import BEGINNINGS, EXAMPLES, KEYWORDS, SYMBOLS

A, B, C, D = (Chosen(Name(name)) for name in "ABCD")
MOTOR, GEAR = Name("Motor"), Name("Gear")
SERVO = Chosen(MOTOR, (Name("servo"),))


def names(*texts):
    return tuple(Name(text) for text in texts)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("A", A),
        ("not A", Not(A)),
        ("not not A", Not(Not(A))),
        ("A and B and C", And((A, B, C))),
        ("(A and B) and C", And((And((A, B)), C))),
        ("A or B and not C", Or((A, And((B, Not(C)))))),
        ("(A or B) and C", And((Or((A, B)), C))),
        ("A requires B and (C or D)", Implies(A, And((B, Or((C, D)))))),
        ("A or B requires C", Implies(Or((A, B)), C)),
        ("if A and not B then C or D", Implies(And((A, Not(B))), Or((C, D)))),
        ("not (A requires B)", Not(Implies(A, B))),
        ("Motor = servo", SERVO),
        ("Motor != servo", Not(SERVO)),
        ("not Motor = servo", Not(SERVO)),
        ("Gear in {worm, planetary}", Chosen(GEAR, names("worm", "planetary"))),
        ("Gear not in {worm}", Not(Chosen(GEAR, names("worm")))),
        ("c_v1 = -1 or c_v1=0", Or((Chosen(Name("c_v1"), names("-1")), Chosen(Name("c_v1"), names("0"))))),
        ("if Motor = servo then Gear in {worm}", Implies(SERVO, Chosen(GEAR, names("worm")))),
        ("exactly 1 of A, B, C", Count(1, 1, (A, B, C))),
        ("exactly 1 of {A, B, C}", Count(1, 1, (A, B, C))),
        ("exactly 1 of (A, B, C)", Count(1, 1, (A, B, C))),
        ("exactly 1 of (A or B)", Count(1, 1, (Or((A, B)),))),
        ("exactly 0 of {}", Count(0, 0, ())),
        ("at least 2 of {A, B}", Count(2, None, (A, B))),
        ("at most 3 of A, not B", Count(0, 3, (A, Not(B)))),
        ("between 1 and 2 of A, Motor = servo", Count(1, 2, (A, SERVO))),
        ("if A then at least 2 of {B, C, D}", Implies(A, Count(2, None, (B, C, D)))),
        ("at most 1 of {A requires B, (allowed A: (1)), C or D}",
         Count(0, 1, (Implies(A, B), Tuples(names("A"), (names("1"),)), Or((C, D))))),
        ("exactly 1 of {A, B} or exactly 2 of (B, C)", Or((Count(1, 1, (A, B)), Count(2, 2, (B, C))))),
        ("size at least 5", Size(5, None)),
        ("size >= 5", Size(5, None)),
        ("size <= 5", Size(0, 5)),
        ("size at most 12", Size(0, 12)),
        ("size exactly 3", Size(3, 3)),
        ("size between 5 and 12", Size(5, 12)),
        ("if A then size at most 2 and B", Implies(A, And((Size(0, 2), B)))),
        ("total cost at most 300", Total(Name("cost"), None, Decimal(300))),
        ("total cost at least 10", Total(Name("cost"), Decimal(10), None)),
        ("total cost exactly -5", Total(Name("cost"), Decimal(-5), Decimal(-5))),
        ("total cost between 10 and 20.5", Total(Name("cost"), Decimal(10), Decimal("20.5"))),
        ("allowed Motor, Gear: (servo, planetary), (0.5, *)",
         Tuples((MOTOR, GEAR), (names("servo", "planetary"), (Name("0.5"), None)))),
        ('forbidden Motor, Gear: (servo, "*")', Tuples((MOTOR, GEAR), (names("servo", "*"),), False)),
        ("A above B", Above(Name("A"), Name("B"))),
        ("A next to B", Adjacent(Name("A"), Name("B"))),
        ("A in top 3", Place(Name("A"), 1, 3)),
        ("A in bottom 2", Place(Name("A"), -2, -1)),
        ("A in place 1", Place(Name("A"), 1, 1)),
        ("A in place -1", Place(Name("A"), -1, -1)),
        ("A in places 2 to 4", Place(Name("A"), 2, 4)),
        ("A in places 2 to -2", Place(Name("A"), 2, -2)),
        ("always", And(())),
        ("A requires never", Implies(A, Or(()))),
    ],
)  # fmt: skip
def test_forms(text, formula):
    assert parse_formula(text) == formula
    assert parse_rules(text).rules == (Rule(formula),)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('region == "JP"', Compare(Name("region"), "==", "JP")),
        ("region != JP", Compare(Name("region"), "!=", "JP")),
        ("load <= 5", Compare(Name("load"), "<=", Decimal(5))),
        ('load == "5"', Compare(Name("load"), "==", "5")),
        ("region in {JP, 関東}", Compare(Name("region"), "in", ("JP", "関東"))),
        ("load not in {1, 2.5}", Not(Compare(Name("load"), "in", (Decimal(1), Decimal("2.5"))))),
        ("not a < 1 and b > 2 or c >= 3",
         Or((And((Not(Compare(Name("a"), "<", Decimal(1))), Compare(Name("b"), ">", Decimal(2)))),
             Compare(Name("c"), ">=", Decimal(3))))),
        ("(a == x or always) and never", And((Or((Compare(Name("a"), "==", "x"), And(()))), Or(())))),
    ],
)  # fmt: skip
def test_conditions(text, condition):
    assert parse_condition(text) == condition
    assert parse_rules(f"where {text}: A").rules == (Rule(A, where=condition),)


def test_declarations():
    rules = parse_rules(
        """
        slot Motor: "induction 0.75 kW", servo  # two options
        hidden slot "#7": 0, 1
        attribute cost: Motor = servo 120, Motor="induction 0.75 kW" 80
        attribute mass: Motor=servo 2.5; attribute cost: "#7" = 1 -3e2
        probability Motor: servo 0.5, "induction 0.75 kW" 0.2
        where load > 5: probability "#7": 0 0.25, 1 0.75
        """
    )
    hidden, load = Name("#7"), Compare(Name("load"), ">", Decimal(5))
    servo, induction = names("servo", "induction 0.75 kW")
    assert rules == RuleSet(
        "configurations",
        (Variable(MOTOR, (induction, servo)), Variable(hidden, names("0", "1"))),
        (
            Attribute(
                Name("cost"),
                ((MOTOR, servo, Decimal(120)), (MOTOR, induction, Decimal(80)), (hidden, Name("1"), Decimal(-300))),
            ),
            Attribute(Name("mass"), ((MOTOR, servo, Decimal("2.5")),)),
        ),
        (
            Probability(MOTOR, servo, Decimal("0.5")),
            Probability(MOTOR, induction, Decimal("0.2")),
            Probability(hidden, Name("0"), Decimal("0.25"), load),
            Probability(hidden, Name("1"), Decimal("0.75"), load),
        ),
    )
    assert [variable.hidden for variable in rules.variables] == [False, True]
    items = parse_rules("items A, B\nhidden items 洗浄\nattribute cost: A 3, B 5.5\nprobability A: 0.3")
    assert items.kind == "subsets"
    assert items.variables == tuple(Variable(name) for name in names("A", "B", "洗浄"))
    assert items.attributes[0].values[1] == (Name("B"), None, Decimal("5.5"))
    assert items.probabilities == (Probability(Name("A"), None, Decimal("0.3")),)
    assert parse_rules("ranking S1, S2\nranking S3").variables == tuple(map(Variable, names("S1", "S2", "S3")))
    assert parse_rules("# nothing at all\n\n;;") == RuleSet()


def test_statements_that_make_several_rules():
    assert parse_rules("A or B excludes C, not D").rules == (
        Rule(Not(And((Or((A, B)), C)))),
        Rule(Not(And((Or((A, B)), Not(D))))),
    )
    a, b, c = names("A", "B", "C")
    pairs = (Above(a, b), Above(b, c))
    assert parse_rules("prefer 2: A above B above C").rules == tuple(Rule(pair, Decimal(2)) for pair in pairs)
    # In parentheses, or inside another formula, a chain is one formula.
    assert parse_rules("prefer 2: (A above B above C)").rules == (Rule(And(pairs), Decimal(2)),)
    assert parse_rules("not A above B above C").rules == (Rule(Not(And(pairs))),)
    assert parse_rules("A above B and B above C").rules == (Rule(And(pairs)),)


def test_weights_and_contexts():
    jp = Compare(Name("region"), "==", "JP")
    assert parse_rules('where region == "JP": prefer 1.5: A requires B').rules == (
        Rule(Implies(A, B), Decimal("1.5"), jp),
    )


def test_statements_end_with_the_line_or_a_semicolon_and_go_on_after_a_comma_a_colon_or_inside_brackets():
    rules = parse_rules(
        "A requires (B\n or C\n); C requires D # and so on, \r\nexactly 1 of\tA,\n\n# B,\n C\rwhere x == 1:\n A"
    )
    assert [rule.line for rule in rules.rules] == [1, 3, 4, 8]
    assert rules.rules[2].formula == Count(1, 1, (A, C))


def test_full_width_punctuation_counts_as_its_plain_twin_outside_quotes():
    rules = parse_rules("slot　モーター：　サーボ、「誘導、（大）」；モーター＝サーボ　# 、（")
    assert rules.variables == (Variable(Name("モーター"), names("サーボ", "誘導、（大）")),)
    assert rules.rules == (Rule(Chosen(Name("モーター"), names("サーボ"))),)
    assert (rules.rules[0].line, rules.rules[0].formula.options[0].column) == (1, 30)
    assert parse_formula("モーター！＝サーボ") == Not(Chosen(Name("モーター"), names("サーボ")))
    assert parse_formula("at least 1 of ｛A、（B）｝") == Count(1, None, (A, B))


def test_names_know_where_they_stand():
    rules = parse_rules('\n  A requires\t"long name"')
    premise, conclusion = rules.rules[0].formula.premise.name, rules.rules[0].formula.conclusion.name
    assert (premise.line, premise.column, conclusion.line, conclusion.column) == (2, 3, 2, 14)


def test_escapes_in_quotes():
    text = r'"say \"no\"" or 「\」」 or "a\\b" or "one\ntwo\t"'
    assert [part.name.text for part in parse_formula(text).parts] == ['say "no"', "」", "a\\b", "one\ntwo\t"]


def test_reserved_words_are_those_of_the_grammar():
    terminals = {terminal.name: terminal.pattern for terminal in parser._grammar().terminals}
    fixed = {name: pattern.value for name, pattern in terminals.items() if pattern.type == "str"}
    assert {text for text in fixed.values() if text.isalpha()} == KEYWORDS
    assert {name: text for name, text in fixed.items() if not text.isalpha()} == SYMBOLS
    assert set(BEGINNINGS) <= set(EXAMPLES)


@pytest.mark.parametrize("example", sorted(set(EXAMPLES.values())))
def test_examples_that_messages_give_can_be_read(example):
    parse_rules(example)


@pytest.mark.parametrize(
    ("text", "line", "column", "sentence"),
    [
        (
            "A requirs B",
            1,
            3,
            "expected 'requires', 'excludes', 'and', 'or', '=', '!=', … after 'A', found 'requirs'; did "
            "you mean requires? For example: A requires B and C.",
        ),
        (
            "A B",
            1,
            3,
            "expected the statement to end after 'A' or to go on with 'requires', 'excludes', 'and', "
            "'or', '=', '!=', …, found 'B'. For example: A requires B and C.",
        ),
        (
            "A requires (B or C\nD excludes E",
            1,
            12,
            "the ( that opens here is not closed before line 2, column 1. Close it with ) where its list ends.",
        ),
        (
            "A requires (B or C",
            1,
            12,
            "the ( that opens here is not closed before line 1, column 19. Close it with ) where its list ends.",
        ),
        (
            "itmes A, B",
            1,
            1,
            "expected a word of the rule language, since 'A' follows, found 'itmes'; did you mean items? "
            "For example: items A, B, C.",
        ),
        (
            "A Requires B",
            1,
            3,
            "expected 'requires', 'excludes', 'and', 'or', '=', '!=', … after 'A', found 'Requires'; did "
            "you mean requires? For example: A requires B and C.",
        ),
        (
            "IF A THEN B",
            1,
            1,
            "expected a word of the rule language, since 'A' follows, found 'IF'; did you mean if? For "
            "example: if A and not B then C or D.",
        ),
        (
            "size = L",
            1,
            6,
            "expected 'at', 'exactly', 'between', '<=', '>=' after 'size', a word of the rule language, found '='. "
            'As a name it stands in double quotes: "size".',
        ),
        (
            "A => B",
            1,
            3,
            "expected 'requires', found '=>', which is a sign of other languages. For example: A requires B and C.",
        ),
        (
            "A -> B",
            1,
            3,
            "expected 'requires', found '->', which is a sign of other languages. For example: A requires B and C.",
        ),
        ("A && B", 1, 3, "expected 'and', found '&&', which is a sign of other languages. For example: A and B or C."),
        ("!A", 1, 1, "expected 'not', found '!', which is a sign of other languages. For example: not A."),
        ('A requires "B', 1, 12, 'the quote that opens here is not closed in its line. Close it with ".'),
        (
            "3x or A",
            1,
            1,
            "expected a number or a name, found '3x'. A name that begins with a digit stands in double quotes: \"3x\".",
        ),
        (
            "A ・ B",
            1,
            3,
            "expected a word, found the character '・'. A name with characters other than letters, "
            'digits, _ . - stands in double quotes, for example: "0.75 kW".',
        ),
        (
            "exactly 1 of A and B, C",
            1,
            16,
            "expected the statement to end after 'A' or to go on with ',', found 'and'. For example: if "
            "A then exactly 1 of {B, C, D}.",
        ),
        (
            "exactly 1 off A, B",
            1,
            11,
            "expected 'of' after '1', found 'off'; did you mean of? For example: if A then exactly 1 of {B, C, D}.",
        ),
        ("exactly 1.5 of A, B", 1, 9, "expected a whole number from 0 up, found 1.5. Only whole things are counted."),
        (
            "between 3 and 1 of A, B",
            1,
            9,
            "expected the lower bound before the upper one, found 3 and then 1. Exchange the two.",
        ),
        (
            "A requires",
            1,
            11,
            "expected a name after 'requires', but the statement ends there. It goes on in the next line "
            "only after a comma or a colon and inside brackets, for example: A requires B and C.",
        ),
        (
            "A requires B requires C",
            1,
            14,
            "expected the statement to end after 'B', found 'requires'. Put a formula that is part of "
            "another one in parentheses, or begin a new line.",
        ),
        (
            "items A, B,",
            1,
            12,
            "expected a name after ',', but the statement ends there. It goes on in the next line only "
            "after a comma or a colon and inside brackets, for example: items A, B, C.",
        ),
        (
            "slot Motor:",
            1,
            12,
            "expected a name after ':', but the statement ends there. It goes on in the next line only "
            "after a comma or a colon and inside brackets, for example: slot Motor: servo, stepper.",
        ),
        (
            "slot Motor",
            1,
            11,
            "expected ':' after 'Motor', but the statement ends there. For example: slot Motor: servo, stepper.",
        ),
        (
            "slot Motor: a, a",
            1,
            16,
            "slot 'Motor' has the option 'a' a second time. Leave one of the two out, or change a name.",
        ),
        (
            "items A, A",
            1,
            10,
            "'A' is declared a second time, after line 1. Leave one of the two out, or change a name.",
        ),
        (
            "items A\nslot M: a",
            2,
            6,
            "'M' is declared with 'slot', but line 1 declares with 'items'. A file declares items, slots "
            "or a ranking, so put them into files of their own.",
        ),
        (
            "attribute cost: A 3, B 5; attribute cost: A 4",
            1,
            43,
            "attribute 'cost' of 'A' is given a second time, after line 1. Leave one of the two numbers out.",
        ),
        (
            "prefer 0: A",
            1,
            8,
            "expected a weight above 0 after prefer, found 0. A preference for the opposite is written "
            "with not, for example: prefer 1.5: not A.",
        ),
        (
            "prefer -1: A",
            1,
            8,
            "expected a weight above 0 after prefer, found -1. A preference for the opposite is written "
            "with not, for example: prefer 1.5: not A.",
        ),
        (
            "prefer = A",
            1,
            8,
            "expected a number after 'prefer', a word of the rule language, found '='. As a name it stands in double "
            'quotes: "prefer".',
        ),
        (
            "items A\nexactly = A",
            2,
            9,
            "expected a number after 'exactly', a word of the rule language, found '='. As a name it stands in double "
            'quotes: "exactly".',
        ),
        (
            "'0.75 kW' or A",
            1,
            1,
            'expected a word, found the quotation mark \'. Names stand in double quotes, for example: "0.75 kW".',
        ),
        ("prefer A: A", 1, 8, "expected a number after 'prefer', found 'A'. For example: prefer 1.5: A requires B."),
        (
            "probability A: 1",
            1,
            16,
            "expected a probability above 0 and below 1, found 1. What always or never holds is a rule "
            "of its own, for example: not A.",
        ),
        (
            "probability A: 1.5",
            1,
            16,
            "expected a probability above 0 and below 1, found 1.5. What always or never holds is a rule "
            "of its own, for example: not A.",
        ),
        (
            "probability M: a 0.6, b 0.7",
            1,
            13,
            "expected probabilities of 'M' that add up to at most 1, found 1.3. Make some of them smaller.",
        ),
        (
            "probability M: a 0.6, a 0.2",
            1,
            23,
            "the probability of M = a is given a second time. Leave one of the two numbers out.",
        ),
        (
            "probability A: 0.6\nprobability A: 0.2",
            2,
            13,
            "the probability of 'A' is given a second time, after line 1. Give all options of a slot in "
            "one statement, and leave out what is said twice.",
        ),
        (
            "allowed A, B: (0, 1), (1)",
            1,
            23,
            "expected 2 entries in the row, one for each name before the colon, found 1. Write * where "
            "any option will do.",
        ),
        (
            "allowed A, A: (0, 1)",
            1,
            12,
            "'A' stands a second time in the heading of the table. Name each of them once.",
        ),
        (
            "A in place 0",
            1,
            12,
            "expected a place such as 1, the first, or -1, the last, found 0. Count from 1, or backwards from -1.",
        ),
        (
            "A in places 4 to 2",
            1,
            13,
            "expected the lower bound before the upper one, found 4 and then 2. Exchange the two.",
        ),
        ("A in top 0", 1, 10, "expected a whole number from 1 up, found 0. Only whole things are counted."),
        (
            'where region = "JP": A',
            1,
            14,
            "expected '==', '!=', 'in', 'not', '<', '<=', … after 'region', found '='; did you mean ==? "
            'For example: where region == "JP" and load <= 5: A requires B.',
        ),
        (
            'where region < "JP": A',
            1,
            14,
            "expected a number after '<', found 'JP'. Compare words with ==, != or in, for example: region == JP.",
        ),
        (
            'where region in {"JP", 5}: A',
            1,
            14,
            "expected only numbers or only words in the braces, found both. Put a number in quotes where "
            "it is meant as a word.",
        ),
        (
            "where region: A",
            1,
            13,
            "expected '==', '!=', 'in', 'not', '<', '<=', … after 'region', found ':'. For example: "
            'where region == "JP": A requires B.',
        ),
        (
            'where region == "JP" A',
            1,
            22,
            "expected 'and', 'or', ':' after '\"JP\"', found 'A'. For example: where region == \"JP\": A requires B.",
        ),
        (
            'where region == "JP": items A',
            1,
            23,
            "expected a name after ':', found 'items'. A name that is a word of the rule language stands "
            'in double quotes. For example: where region == "JP": A requires B.',
        ),
        (
            "Motor == servo",
            1,
            7,
            "expected 'requires', 'excludes', 'and', 'or', '=', '!=', … after 'Motor', found '=='; did "
            "you mean =? For example: Motor = servo.",
        ),
        (
            "A = ",
            1,
            4,
            "expected a name after '=', but the statement ends there. It goes on in the next line only "
            "after a comma or a colon and inside brackets, for example: Motor = servo.",
        ),
        (
            '"A\\x" or B',
            1,
            1,
            'expected \\", \\」, \\\\, \\n, \\r or \\t in a name in quotes, found \\x. Write \\\\ where one '
            "backslash is meant.",
        ),
        ('"" or B', 1, 1, "expected a name between the quotes, found nothing. Give the name at least one character."),
        (
            ")",
            1,
            1,
            "expected a statement, found ')'. Begin with a name or with a word such as if, exactly or "
            "items, for example: A requires B.",
        ),
        (
            "5",
            1,
            1,
            "expected a statement, found '5'. Begin with a name or with a word such as if, exactly or "
            "items, for example: A requires B.",
        ),
        (
            "A requires B)",
            1,
            13,
            "expected the statement to end after 'B', found ')'. Put a formula that is part of another "
            "one in parentheses, or begin a new line.",
        ),
        (
            "A or (B; C)",
            1,
            6,
            "the ( that opens here is not closed before line 1, column 8. Close it with ) where its list ends.",
        ),
        (
            "total cost at most 1,000",
            1,
            21,
            "expected the statement to end after '1' or to go on with 'requires', 'excludes', found ','. "
            "For example: total cost at most 300.",
        ),
        (
            "size at laest 5",
            1,
            9,
            "expected 'least', 'most' after 'at', found 'laest'; did you mean least? For example: size "
            "between 5 and 12.",
        ),
        (
            "A abov B",
            1,
            3,
            "expected 'requires', 'excludes', 'and', 'or', '=', '!=', … after 'A', found 'abov'; did you "
            "mean above? For example: A above B.",
        ),
        (
            'whre region == "JP": A',
            1,
            1,
            "expected a word of the rule language, since 'region' follows, found 'whre'; did you mean "
            'where? For example: where region == "JP": A requires B.',
        ),
        (
            "atleast 2 of A, B",
            1,
            1,
            "expected a word of the rule language, since '2' follows, found 'atleast'; did you mean at "
            "least? For example: at least 2 of A, B, C.",
        ),
        (
            "items A, B\nA requires Bx",
            2,
            12,
            "expected a declared name such as B, found 'Bx'. Correct the name, or declare it.",
        ),
        (
            "slot Motor: a, servo\nMotor = serv",
            2,
            9,
            "expected an option of 'Motor' such as servo, found 'serv'. Correct the option, or declare it.",
        ),
        (
            "slot Motor: a, servo\nMotor",
            2,
            1,
            "expected one of the options of the slot 'Motor' (a, servo), found its name alone. Write for "
            "example: Motor = a.",
        ),
        (
            "items A, B\nA = 1",
            2,
            1,
            "expected the item 'A' alone, since an item is chosen or not, found it with an option. Write: A.",
        ),
        (
            "slot Gear: a, b\nGear = a or b",
            2,
            13,
            "expected a declared name such as Gear = b, found 'b'. Correct the name, or declare it.",
        ),
        (
            "items A\nattribute cost: A 1\ntotal cots at most 5",
            3,
            7,
            "expected a declared name such as cost, found 'cots'. Correct the name, or declare it.",
        ),
        (
            "items A\ntotal cost at most 5",
            2,
            7,
            "expected a declared attribute, found 'cost', and none is declared. Declare it, for example: "
            "attribute cost: A 3, B 5.5.",
        ),
        (
            "total cost at most 1e999999999",
            1,
            20,
            "expected a number of at most 30 digits, found 1e999999999. Shorten the number.",
        ),
        (
            "exactly 1 of (A or B), C",
            1,
            22,
            "expected the statement to end after ')' or to go on with 'requires', 'excludes', found ','. "
            "For example: if A then exactly 1 of {B, C, D}.",
        ),
        (
            "if A then exactly 1 of B, C",
            1,
            24,
            "expected '(', '{' after 'of', found 'B'. For example: if A then exactly 1 of {B, C, D}.",
        ),
        (
            "if A then B requires C",
            1,
            13,
            "expected the statement to end after 'B', found 'requires'. Put a formula that is part of "
            "another one in parentheses, or begin a new line.",
        ),
        ("A <> B", 1, 3, "expected '!=', found '<>', which is a sign of other languages. For example: Motor != servo."),
        (
            "where a ≠ 3: A",
            1,
            9,
            "expected '!=', found '≠', which is a sign of other languages. For example: Motor != servo.",
        ),
        (
            "A excludes",
            1,
            11,
            "expected a name after 'excludes', but the statement ends there. It goes on in the next line "
            "only after a comma or a colon and inside brackets, for example: A excludes B, C.",
        ),
        ("A next B", 1, 8, "expected 'to' after 'next', found 'B'. For example: A next to B."),
        (
            "items and, B",
            1,
            7,
            "expected a name after 'items', found 'and'. A name that is a word of the rule language "
            "stands in double quotes. For example: items A, B, C.",
        ),
        (
            "A, B",
            1,
            2,
            "expected the statement to end after 'A' or to go on with 'requires', 'excludes', found ','. "
            "For example: A requires B and C.",
        ),
        (
            "not",
            1,
            4,
            "expected a name after 'not', but the statement ends there. It goes on in the next line only "
            "after a comma or a colon and inside brackets, for example: not A.",
        ),
        (
            "allowed A: 0, 1",
            1,
            12,
            "expected '(' after ':', found '0'. For example: allowed Motor, Gear: (servo, planetary), (stepper, *).",
        ),
        (
            "probability M: a 0",
            1,
            18,
            "expected a probability above 0 and of at most 1, found 0. An option that never occurs is a "
            "rule of its own, for example: M != a.",
        ),
        (
            "probability M: a 1.5",
            1,
            18,
            "expected a probability above 0 and of at most 1, found 1.5. An option that never occurs is "
            "a rule of its own, for example: M != a.",
        ),
        (
            "items size, A",
            1,
            7,
            "expected a name after 'items', found 'size'. A name that is a word of the rule language "
            "stands in double quotes. For example: items A, B, C.",
        ),
        ("exactly -1 of A, B", 1, 9, "expected a whole number from 0 up, found -1. Only whole things are counted."),
        ("size exactly 2.5", 1, 14, "expected a whole number from 0 up, found 2.5. Only whole things are counted."),
        (
            "total cost between 5 and 2",
            1,
            20,
            "expected the lower bound before the upper one, found 5 and then 2. Exchange the two.",
        ),
        (
            "A in place 1.5",
            1,
            12,
            "expected a place such as 1, the first, or -1, the last, found 1.5. Count from 1, or backwards from -1.",
        ),
        (
            "items A\nranking B, C",
            2,
            9,
            "'B' is declared with 'ranking', but line 1 declares with 'items'. A file declares items, "
            "slots or a ranking, so put them into files of their own.",
        ),
        (
            "slot M: a\nslot M: b",
            2,
            6,
            "'M' is declared a second time, after line 1. Leave one of the two out, or change a name.",
        ),
        (
            "attribute cost: M = a 3, M = a 4",
            1,
            26,
            "attribute 'cost' of 'M=a' is given a second time, after line 1. Leave one of the two numbers out.",
        ),
        (
            "where load > 5: prefer -2: A",
            1,
            24,
            "expected a weight above 0 after prefer, found -2. A preference for the opposite is written "
            "with not, for example: prefer 1.5: not A.",
        ),
        (
            "where load > 5 prefer 2: A",
            1,
            16,
            "expected 'and', 'or', ':' after '5', found 'prefer'. For example: where region == \"JP\": A requires B.",
        ),
        ("probability A 0.3", 1, 15, "expected ':' after 'A', found '0.3'. For example: probability A: 0.3."),
        ("attribute cost A 3", 1, 16, "expected ':' after 'cost', found 'A'. For example: attribute cost: A 3, B 5.5."),
        (
            "allowed Motor: servo",
            1,
            16,
            "expected '(' after ':', found 'servo'. For example: allowed Motor, Gear: (servo, "
            "planetary), (stepper, *).",
        ),
        ("「A", 1, 1, "the quote that opens here is not closed in its line. Close it with 」."),
        (
            "exactly 1 of",
            1,
            13,
            "expected a name after 'of', but the statement ends there. It goes on in the next line only "
            "after a comma or a colon and inside brackets, for example: if A then exactly 1 of {B, C, "
            "D}.",
        ),
        (
            "between 1 or 2 of A, B",
            1,
            11,
            "expected 'and' after '1', found 'or'. For example: between 1 and 2 of A, B, C.",
        ),
        (
            "slot Motor: a\nslot Gear: b\nallowed Motor, Gear: (a, c)",
            3,
            26,
            "expected an option of 'Gear' such as b, found 'c'. Correct the option, or declare it.",
        ),
        (
            "items A\nallowed A: (2)",
            2,
            13,
            "expected an option of 'A' such as 0, found '2'. Correct the option, or declare it.",
        ),
        (
            "items A\nattribute cost: B 5",
            2,
            17,
            "expected a declared name such as A, found 'B'. Correct the name, or declare it.",
        ),
        (
            "items A\nprobability B: 0.5",
            2,
            13,
            "expected a declared name such as A, found 'B'. Correct the name, or declare it.",
        ),
        (
            "slot M: a, b\nprobability M: 0.5",
            2,
            13,
            "expected one of the options of the slot 'M' (a, b), found its name alone. Write for example: M = a.",
        ),
        (
            "ranking A, B\nA above D",
            2,
            9,
            "expected a declared name such as A, found 'D'. Correct the name, or declare it.",
        ),
        (
            "items A\nA or not (B and A)",
            2,
            11,
            "expected a declared name such as A, found 'B'. Correct the name, or declare it.",
        ),
        (
            "A ％ B",
            1,
            3,
            "expected a word, found the character '％'. A name with characters other than letters, "
            'digits, _ . - stands in double quotes, for example: "0.75 kW".',
        ),
        ("prefer 1.5 A", 1, 12, "expected ':' after '1.5', found 'A'. For example: prefer 1.5: A requires B."),
        (
            "in or A",
            1,
            1,
            "expected a statement, found 'in'. Begin with a name or with a word such as if, exactly or "
            "items, for example: Gear in {planetary, helical}.",
        ),
        (
            "; A )",
            1,
            5,
            "expected the statement to end after 'A' or to go on with 'requires', 'excludes', found ')'. "
            "For example: A requires B and C.",
        ),
        (
            "A above",
            1,
            8,
            "expected a name after 'above', but the statement ends there. It goes on in the next line "
            "only after a comma or a colon and inside brackets, for example: A above B.",
        ),
        (
            "if A B",
            1,
            6,
            "expected 'and', 'or', 'then', '=', '!=', 'in', … after 'A', found 'B'. For example: if A "
            "and not B then C or D.",
        ),
        (
            "if A then",
            1,
            10,
            "expected a name after 'then', but the statement ends there. It goes on in the next line "
            "only after a comma or a colon and inside brackets, for example: if A and not B then C or D.",
        ),
        ("A in {a b}", 1, 9, "expected ',', '}' after 'a', found 'b'. For example: Gear in {planetary, helical}."),
        (
            "A in servo",
            1,
            6,
            "expected '{', 'top', 'bottom', 'place', 'places' after 'in', found 'servo'. For example: "
            "Gear in {planetary, helical}.",
        ),
        (
            "-x",
            1,
            1,
            "expected a word, found the character '-'. A name with characters other than letters, "
            'digits, _ . - stands in double quotes, for example: "0.75 kW".',
        ),
        (
            "1,5 of A",
            1,
            1,
            "expected a statement, found '1'. Begin with a name or with a word such as if, exactly or "
            "items, for example: A requires B.",
        ),
    ],
)
def test_every_mistake_has_its_sentence(text, line, column, sentence):
    with pytest.raises(RuleError) as caught:
        parse_rules(text)
    assert str(caught.value) == f"rules, line {line}, column {column}: {sentence}"
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (
            parse_formula,
            "A\nB",
            "f.txt, line 2, column 1: expected one formula and nothing after it, found 'B'. "
            "Join formulas with and or or.",
        ),
        (parse_condition, " # a", "f.txt is empty; expected a formula, for example: A requires B."),
    ],
)
def test_one_formula_is_one_formula(read, text, sentence):
    with pytest.raises(RuleError) as caught:
        read(text, "f.txt")
    assert str(caught.value) == sentence


def test_long_and_deep_text_is_refused():
    deep = "(" * 50 + "A" + ")" * 50
    assert parse_rules(deep).rules == (Rule(A),)
    with pytest.raises(RuleError, match=r"^r, line 1, column 51: expected at most 50 brackets or neg"):
        parse_rules(f"({deep})", "r")
    with pytest.raises(RuleError, match=r"^r, line 2, column 201: expected at most 50 brackets or neg"):
        parse_rules("A\n" + "not " * 51 + "A", "r")
    with pytest.raises(RuleError, match=r"^r holds 1000001 characters; expected at most 1000000. Split the"):
        parse_rules(" " * 1_000_001, "r")


def test_long_lists_are_read():
    count = 20_000
    rules = parse_rules("items " + ", ".join(f"i{n}" for n in range(count)) + "\nat least 1 of i0, i1")
    assert len(rules.variables) == count


def refusal(text):
    """The error that the text is refused with, or None."""
    try:
        parse_rules(text)
    except RuleError as error:
        return error
    return None


WORDS = [*sorted(KEYWORDS), *SYMBOLS.values(), "A", "Bc", '"d e"', "3", "-0.5", "\n", ";", "、"]


@given(st.lists(st.sampled_from(WORDS)))
def test_any_sequence_of_words_is_read_or_refused_with_a_sentence(words):
    error = refusal(" ".join(words))
    assert error is None or str(error).startswith(f"rules, line {error.line}, column {error.column}: ")
    assert error is None or (error.line >= 1 and error.column >= 1)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    error = refusal(text)
    assert error is None or error.line >= 1
