"""Random rule sets for property tests: every kind, the whole formula language, names that need quotes."""

import random
from decimal import Decimal
from typing import TypeVar

from hypothesis import strategies as st

from jebm_core.rules.language import (
    Above,
    Adjacent,
    And,
    Attribute,
    Chosen,
    Compare,
    Condition,
    Count,
    Formula,
    Implies,
    Kind,
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

T = TypeVar("T")
KINDS: tuple[Kind, ...] = ("subsets", "configurations", "rankings")
# Bare names, words of the language, Japanese, spaces, quotes and signs, and numbers.
NAMES = (
    "A",
    "b_2",
    "x.y-z",
    "or",
    "size",
    "洗浄",
    "研磨・乾燥",
    "long name",
    'say "no"',
    "back\\slash",
    "7",
    "#3",
    "é",
)
OPTIONS = ("servo", "0", "-1", "0.75 kW", "not", "*", "赤", "1e3", "a,b", "M-2")
WORDS = ("JP", "in", "関東", "New York", "5")
NUMBERS = st.decimals(-20, 20, places=2) | st.integers(-9, 9).map(Decimal)


def rule_sets(
    kinds: tuple[Kind, ...] = KINDS, *, soft: bool = True, where: bool = True, probabilities: bool = True
) -> st.SearchStrategy[RuleSet]:
    """Rule sets that declare what they use.

    Args:
        kinds: what may be declared.
        soft: whether rules may have a weight.
        where: whether rules and probabilities may be bound to a condition.
        probabilities: whether items and options may have probabilities.
    """
    return _undisturbed(st.sampled_from(kinds).flatmap(lambda kind: _rule_set(kind, soft, where, probabilities)))


@st.composite
def _undisturbed(draw: st.DrawFn, strategy: st.SearchStrategy[T]) -> T:
    # Type checks of what is built look at a random element of every tuple; Hypothesis wants `random` left alone.
    state = random.getstate()
    try:
        return draw(strategy)
    finally:
        random.setstate(state)


@st.composite
def _rule_set(draw: st.DrawFn, kind: Kind, soft: bool, where: bool, probabilities: bool) -> RuleSet:
    variables = draw(_variables(kind))
    attributes = draw(_attributes(kind, variables))
    parts = _formulas(kind, variables, attributes)
    weights = st.none() | st.sampled_from([Decimal("0.5"), Decimal(2)]) if soft else st.none()
    wheres = st.none() | _conditions() if where else st.none()
    shares = draw(_probabilities(kind, variables, wheres)) if probabilities and kind != "rankings" else ()
    rules = draw(st.lists(st.builds(Rule, parts, weights, wheres), max_size=4))
    return RuleSet(kind, variables, attributes, shares, tuple(rules))


def _names(choices: tuple[str, ...], low: int, high: int) -> st.SearchStrategy[tuple[Name, ...]]:
    return st.lists(st.sampled_from(choices).map(Name), min_size=low, max_size=high, unique=True).map(tuple)


@st.composite
def _variables(draw: st.DrawFn, kind: Kind) -> tuple[Variable, ...]:
    low, high = {"subsets": (1, 7), "configurations": (1, 4), "rankings": (2, 5)}[kind]
    options = _names(OPTIONS, 1, 4) if kind == "configurations" else st.just(())
    return tuple(Variable(name, draw(options)) for name in draw(_names(NAMES, low, high)))


@st.composite
def _attributes(draw: st.DrawFn, kind: Kind, variables: tuple[Variable, ...]) -> tuple[Attribute, ...]:
    if kind == "rankings":
        return ()  # a ranking holds every item, so its totals are always the same
    places = [(variable.name, option) for variable in variables for option in (variable.options or (None,))]
    worths = st.lists(st.sampled_from(places), min_size=1, unique=True)
    return tuple(
        Attribute(name, tuple((*place, draw(NUMBERS)) for place in draw(worths)))
        for name in draw(_names(("cost", "mass in kg", "total"), 0, 2))
    )


@st.composite
def _probabilities(
    draw: st.DrawFn, kind: Kind, variables: tuple[Variable, ...], wheres: st.SearchStrategy[Condition | None]
) -> tuple[Probability, ...]:
    found = []
    for variable in draw(st.lists(st.sampled_from(variables), max_size=3, unique=True)):
        condition = draw(wheres)
        if kind == "subsets":
            found.append(Probability(variable.name, None, draw(st.decimals("0.01", "0.99", places=2)), condition))
        else:
            share = draw(st.decimals("0.01", "0.25", places=2))
            options = draw(st.lists(st.sampled_from(variable.options), min_size=1, unique=True))
            found += [Probability(variable.name, option, share, condition) for option in options]
    return tuple(found)


def formulas(
    kind: Kind, variables: tuple[Variable, ...], attributes: tuple[Attribute, ...] = ()
) -> st.SearchStrategy[Formula]:
    """Formulas about declared variables, at most three formulas inside one another."""
    return _undisturbed(_formulas(kind, variables, attributes))


def _formulas(
    kind: Kind, variables: tuple[Variable, ...], attributes: tuple[Attribute, ...]
) -> st.SearchStrategy[Formula]:
    found = _atoms(kind, variables, attributes)
    for _ in range(2):
        several = st.lists(found, min_size=2, max_size=3).map(tuple)
        found |= st.one_of(
            found.map(Not),
            several.map(And),
            several.map(Or),
            st.builds(Implies, found, found),
            st.builds(lambda bounds, parts: Count(*bounds, parts), _bounds(4), several),
        )
    return found


def _bounds(most: int) -> st.SearchStrategy[tuple[int, int | None]]:
    pairs = st.tuples(st.integers(0, most), st.integers(0, most)).map(lambda pair: (min(pair), max(pair)))
    return pairs | st.tuples(st.integers(0, most), st.none())


def _atoms(
    kind: Kind, variables: tuple[Variable, ...], attributes: tuple[Attribute, ...]
) -> st.SearchStrategy[Formula]:
    names = st.sampled_from([variable.name for variable in variables])
    constants = st.sampled_from([And(()), Or(())])
    if kind == "rankings":
        pairs = st.permutations([variable.name for variable in variables])
        ends = st.integers(1, len(variables)) | st.integers(-len(variables), -1)
        places = st.tuples(ends, ends).filter(lambda ends: ends[0] * ends[1] < 0 or ends[0] <= ends[1])
        return st.one_of(
            pairs.map(lambda order: Above(order[0], order[1])),
            pairs.map(lambda order: Adjacent(order[0], order[1])),
            st.builds(lambda name, ends: Place(name, *ends), names, places),
            constants,
        )
    found = [_chosen(variables), _tuples(variables), constants]
    if kind == "subsets":
        found.append(_bounds(7).map(lambda bounds: Size(*bounds)))
    if attributes:
        pairs = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair)))
        limits = pairs | st.tuples(NUMBERS, st.none()) | st.tuples(st.none(), NUMBERS)
        known = st.sampled_from([attribute.name for attribute in attributes])
        found.append(st.builds(lambda name, bounds: Total(name, *bounds), known, limits))
    return st.one_of(found)


@st.composite
def _chosen(draw: st.DrawFn, variables: tuple[Variable, ...]) -> Chosen:
    variable = draw(st.sampled_from(variables))
    some = st.lists(st.sampled_from(variable.options), min_size=1, unique=True) if variable.options else st.just(())
    return Chosen(variable.name, tuple(draw(some)))


@st.composite
def _tuples(draw: st.DrawFn, variables: tuple[Variable, ...]) -> Tuples:
    columns = draw(st.lists(st.sampled_from(variables), min_size=1, max_size=3, unique=True))
    cells = [st.none() | st.sampled_from(column.options or (Name("0"), Name("1"))) for column in columns]
    rows = draw(st.lists(st.tuples(*cells), min_size=1, max_size=4))
    return Tuples(tuple(column.name for column in columns), tuple(rows), draw(st.booleans()))


def conditions() -> st.SearchStrategy[Condition]:
    """Conditions about the features ``region``, a word, and ``load``, a number."""
    return _undisturbed(_conditions())


def _conditions() -> st.SearchStrategy[Condition]:
    words = st.sampled_from(WORDS)
    region, load = Name("region"), Name("load")
    found = st.one_of(
        st.builds(Compare, st.just(region), st.sampled_from(["==", "!="]), words),
        st.builds(Compare, st.just(region), st.just("in"), st.lists(words, min_size=1, max_size=3).map(tuple)),
        st.builds(Compare, st.just(load), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), NUMBERS),
        st.builds(Compare, st.just(load), st.just("in"), st.lists(NUMBERS, min_size=1, max_size=3).map(tuple)),
        st.sampled_from([And(()), Or(())]),
    )
    for _ in range(2):
        several = st.lists(found, min_size=2, max_size=3).map(tuple)
        found |= found.map(Not) | several.map(And) | several.map(Or)
    return found
