"""Rules compiled, against the listing of every combination: counts, sums, draws, maxima, conflicts and violations."""

import csv
import itertools
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jebm_core.errors import Cancelled, RuleError
from jebm_core.recipes import describe_space
from jebm_core.references import RuledReference, UniformReference
from jebm_core.rules.bound import Between, Sum, Takes
from jebm_core.rules.budget import Budget
from jebm_core.rules.compiled import CompiledRules, compile_rules
from jebm_core.rules.compiler import Compiler
from jebm_core.rules.conditions import condition_flags
from jebm_core.rules.explain import conflict, effects, fixed_options, violations
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.files import read_rule_file
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.structured import from_structured
from jebm_core.rules.paths import PathSampler
from jebm_core.rules.problem import bind
from jebm_core.spaces import Ruled
from jebm_core.tables import OutputSchema
from tests import oracle
from tests.oracle import FALSE_ALARM, seeded, uniform
from tests.rules_oracle import Combination, applies, combinations_of, holds, models
from tests.rules_strategies import rule_sets

plain = rule_sets(soft=False, where=False, probabilities=False)
slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def y_of(combination: Combination, schema: OutputSchema) -> tuple[int, ...]:
    """A combination as the space writes it."""
    if isinstance(combination, tuple):
        return tuple(combination.index(name) for name in schema.names)
    if isinstance(combination, dict):
        chosen = zip(schema.names, schema.options, strict=True)
        return tuple(options.index(combination[name]) for name, options in chosen)
    return tuple(int(name in combination) for name in schema.names)


def suited(rules: RuleSet) -> bool:
    """Nothing hidden (for the tests of projection), and no places in the wrong order (a sentence of their own)."""
    if any(variable.hidden for variable in rules.variables):
        return False
    try:
        bind(rules)
    except RuleError as error:
        return "expected place" not in str(error)
    return True


def ruled(compiled: CompiledRules) -> Ruled:
    schema = compiled.problem.schema
    space = describe_space(schema.kind, schema.names, schema.options, compiled)
    assert isinstance(space, Ruled)
    return space


def compiled_or_empty(rules: RuleSet, valid: list[Combination]) -> CompiledRules | None:
    """The rules compiled; where nothing is valid, a sentence is all there may be."""
    if valid:
        return compile_rules(bind(rules))
    with pytest.raises(RuleError, match=r"no combination obeys|go in a circle"):
        compile_rules(bind(rules))
    return None


@settings(slowly, max_examples=1000)
@given(plain)
def test_what_is_valid_is_what_the_listing_says(rules: RuleSet):
    assume(suited(rules))
    valid = models(rules)
    compiled = compiled_or_empty(rules, valid)
    if compiled is None:
        return
    assert compiled.total == compiled.diagram.count() == len(valid)
    space, schema = ruled(compiled), compiled.problem.schema
    assert sorted(map(tuple, space.listing().tolist())) == sorted(y_of(c, schema) for c in valid)


@settings(slowly, max_examples=150)
@given(plain, st.integers(0, 10**6), st.sampled_from([1.0, 20.0, 400.0]))
def test_sums_marginals_and_maxima_agree_with_the_listing(rules: RuleSet, seed: int, spread: float):
    assume(suited(rules) and bool(models(rules)))
    space = ruled(compile_rules(bind(rules)))
    with oracle.double_precision():
        theta = uniform(seed, 3, space.num_statistics, spread=spread).requires_grad_()
        points = space.listing()
        energy = theta @ space.statistics(points).T
        value = space.linear_log_partition(theta)
        torch.testing.assert_close(value, energy.logsumexp(-1), rtol=1e-10, atol=1e-9)
        (gradient,) = torch.autograd.grad(value.sum(), theta)
        expected = energy.detach().softmax(-1) @ space.statistics(points)
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(space.linear_marginals(theta.detach()), expected, rtol=1e-8, atol=1e-9)
        best = space.argmax_linear(theta.detach())
        assert space.contains(best).all()
        found = (theta * space.statistics(best)).sum(-1)
        torch.testing.assert_close(found, energy.max(-1).values)
        y, values = space.best_linear(theta[0].detach(), 7)
        assert len(torch.unique(y, dim=0)) == len(y) == min(7, len(points))
        torch.testing.assert_close(values, energy[0].detach().sort(descending=True).values[:7])
        torch.testing.assert_close(space.statistics(y) @ theta[0].detach(), values)


def test_single_precision_never_decides_silently():
    """With weights this far apart a pass in single precision is wrong by many nats; ours is right to a rounding."""
    space = ruled(compile_rules(bind(parse_rules("items a, b, c, d, e, f, g, h\nsize between 2 and 5\na requires b"))))
    theta = uniform(1, 4, 8, spread=300.0)
    exact = (theta.double() @ space.statistics(space.listing()).double().T).logsumexp(-1)
    torch.testing.assert_close(space.linear_log_partition(theta).double(), exact, rtol=1e-6, atol=1e-4)


TWO = ("items a, b, c, d\na requires b\nsize at least 1", "slot s: u, v, w\nslot t: p, q\ns = u requires t = q")


@pytest.mark.parametrize("text", [*TWO, "ranking a, b, c, d\na above b\nnot c next to d"])
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_of_alias_tables_fit_the_density(text: str, seed: int):
    space = ruled(compile_rules(bind(parse_rules(text))))
    theta = uniform(seed, space.num_statistics, spread=1.5).double()
    sampler = PathSampler(space.circuit, theta)
    y = space._outputs(sampler.sample(40_000, generator=seeded(seed)))  # seeds 0 and 1; false-alarm rate 1e-4 each
    index = oracle.index_of(space, y)
    assert (index >= 0).all()
    assert oracle.fit_p_value(index, oracle.linear_probabilities(space, theta)) > FALSE_ALARM


def test_slots_of_many_options_are_drawn_evenly():
    options = ", ".join(f"o{i}" for i in range(300))
    space = ruled(
        compile_rules(bind(parse_rules(f"slot big: {options}\nslot small: a, b\nbig = o7 requires small = a")))
    )
    y = space.linear_sample(torch.zeros(1, space.num_statistics), 60_000, generator=seeded(3))[:, 0].long()
    counts = torch.bincount(oracle.index_of(space, y), minlength=space.cardinality())
    assert space.cardinality() == counts.count_nonzero() == 599
    even = torch.full((599,), 1 / 599, dtype=torch.float64)
    assert oracle.fit_p_value(oracle.index_of(space, y), even) > FALSE_ALARM  # seed 3


# ---- weights, conditions, hidden variables ---------------------------------------------------------------------------

contexts = st.fixed_dictionaries(
    {"region": st.sampled_from(["JP", "EU", "New York"]), "load": st.integers(-2, 9).map(Decimal)}
)


def weight_of(combination: Combination, rules: RuleSet, context: dict[str, Decimal | str]) -> float | None:
    """The unnormalised log-weight of a combination in a context; None where a rule forbids it there."""
    total = 0.0
    for rule in rules.rules:
        if not applies(rule.where, context):
            continue
        if holds(rule.formula, combination, rules):
            total += float(rule.weight or 0)
        elif rule.weight is None:
            return None
    for p in rules.probabilities:
        if applies(p.where, context):
            total += _probability_weight(combination, rules, p, context)
    return total


def _probability_weight(combination, rules, entry, context) -> float:
    name = entry.name.text
    if entry.option is None:
        return math.log(float(entry.value) / (1 - float(entry.value))) if name in combination else 0.0
    if combination[name] == entry.option.text:
        return math.log(float(entry.value))
    alike = [p for p in rules.probabilities if p.name == entry.name and p.where == entry.where]
    named = [p.option.text for p in alike]
    if combination[name] in named or entry is not alike[0]:  # what is left is shared evenly, counted once
        return 0.0
    others = next(v for v in rules.variables if v.name.text == name).options
    rest = 1 - math.fsum(float(p.value) for p in alike)
    return math.log(rest / (len(others) - len(named)))


@settings(slowly, max_examples=200)
@given(rule_sets(kinds=("subsets", "configurations", "rankings")), st.lists(contexts, min_size=2, max_size=2))
def test_weighted_rules_are_normalised_in_every_context(rules: RuleSet, where: list[dict[str, Decimal | str]]):
    assume(suited(rules))
    try:
        problem = bind(rules, features=["x_region", "x_load"])
    except RuleError:  # a statement that gives everything to the options it names, or says a thing twice
        assume(False)
        raise
    assume(bool(models(rules)) and not problem.is_plain)
    compiled = compile_rules(problem)
    space, schema = ruled(compiled), compiled.problem.schema
    frame = pd.DataFrame([{"x_region": c["region"], "x_load": float(c["load"])} for c in where])
    with oracle.double_precision():
        reference = RuledReference(UniformReference(space))
        flags = torch.from_numpy(condition_flags(compiled.problem.conditions, frame)).double()
        q = reference(flags)
        everything = list(combinations_of(rules))
        y = torch.tensor([y_of(c, schema) for c in everything])
        weights = [[weight_of(c, rules, context) for context in where] for c in everything]
        expected = torch.tensor([[-math.inf if w is None else w for w in row] for row in weights])
        for place in range(len(where)):
            if bool((expected[:, place] > -math.inf).any()):
                log_prob = q.log_prob(y.unsqueeze(1).expand(-1, len(where), -1))[:, place]
                torch.testing.assert_close(log_prob, expected[:, place].log_softmax(0), rtol=1e-9, atol=1e-9)


@settings(slowly, max_examples=200)
@given(rule_sets(kinds=("subsets", "configurations"), soft=False, where=False, probabilities=False), st.data())
def test_variables_that_no_column_carries_are_projected_away(rules: RuleSet, data: st.DataObject):
    assume(suited(rules) and len(rules.variables) > 1)
    names = [variable.name.text for variable in rules.variables]
    kept = sorted(data.draw(st.sets(st.sampled_from(names), min_size=1)), key=names.index)
    options = {v.name.text: tuple(o.text for o in v.options) for v in rules.variables}
    schema = OutputSchema(rules.kind, tuple(kept), tuple("c_" + n for n in kept), tuple(options[n] for n in kept))
    valid = models(rules)
    assume(bool(valid))
    compiled = compile_rules(bind(rules, schema))
    space = ruled(compiled)
    assert compiled.total == len(valid)
    assert {tuple(y) for y in space.listing().tolist()} == {y_of(c, schema) for c in valid}


def test_a_table_may_have_options_that_the_rules_exclude_and_the_other_way_round():
    rules = parse_rules("slot Motor: servo, stepper\nslot Gear: worm, spur")
    schema = OutputSchema("configurations", ("Motor", "Gear"), ("c_Motor", "c_Gear"), (("old", "servo"), ("spur",)))
    compiled = compile_rules(bind(rules, schema))
    assert compiled.problem.schema.options == (("old", "servo", "stepper"), ("spur", "worm"))
    assert compiled.total == 4  # what the declarations leave: old is no motor any more
    broken = violations(compiled.problem, np.array([[0, 0], [1, 1]]))
    assert broken[:, -1].tolist() == [True, False]


# ---- explaining ------------------------------------------------------------------------------------------------------


@settings(slowly, max_examples=150)
@given(plain)
def test_violations_are_the_rules_that_do_not_hold(rules: RuleSet):
    assume(suited(rules))
    problem = bind(rules)
    everything = list(combinations_of(rules))
    broken = violations(problem, np.array([y_of(c, problem.schema) for c in everything]))
    expected = [[not holds(rule.formula, c, rules) for rule in rules.rules] for c in everything]
    assert broken[:, :-1].tolist() == expected


@settings(slowly, max_examples=150)
@given(plain)
def test_conflicts_are_minimal_and_effects_are_counts(rules: RuleSet):
    assume(suited(rules) and bool(rules.rules))
    problem, valid = bind(rules), models(rules)
    if not valid:
        guilty = [demand.rule for demand in conflict(problem, problem.demands, Budget())]
        chosen = [rule for place, rule in enumerate(rules.rules) if place in guilty]

        def possible(some) -> bool:
            return any(all(holds(r.formula, c, rules) for r in some) for c in combinations_of(rules))

        assert not possible(chosen)
        assert all(possible([r for r in chosen if r is not left_out]) for left_out in chosen)
        return
    found = effects(problem)
    assert found is not None
    for effect in found:
        others = [rule for place, rule in enumerate(rules.rules) if place != effect.rule]
        count = sum(all(holds(r.formula, c, rules) for r in others) for c in combinations_of(rules))
        assert effect.count_without == count
        assert effect.is_redundant(len(valid)) == (count == len(valid))


def test_what_is_forced_and_what_is_impossible():
    compiled = compile_rules(bind(parse_rules("items a, b, c, d\na\na requires b\nb excludes c")))
    assert fixed_options(compiled.problem, compiled.diagram) == (["a", "b"], ["c"])
    compiled = compile_rules(bind(parse_rules("slot s: u, v\nslot t: p, q, r\ns = u\ns = u requires t != p")))
    assert fixed_options(compiled.problem, compiled.diagram) == (["s=u"], ["s=v", "t=p"])
    compiled = compile_rules(bind(parse_rules("ranking a, b\na above b")))
    assert fixed_options(compiled.problem, compiled.diagram)[0] == ["a in place 1", "b in place 2"]


# ---- sentences -------------------------------------------------------------------------------------------------------

WRONG = {
    "items a, b\na\nnot a": "rules: no combination obeys all the rules; these 2 can't hold together: line 2: a; "
    "line 3: not a. Change or remove one of them.",
    "items a, b\na and not a\nb": "rules, line 2: no combination obeys this rule: a and not a. Change it, or take it "
    "out.",
    "ranking a, b\nsize at least 1": "rules: expected a rule about the order, since the outputs are a ranking, found "
    "one about size, which every ranking has in common. Take it out.",
    "ranking a, b\na in places 2 to 3": "rules, line 2, column 1: expected places from 1 to 2, or from -1 to -2 "
    "counted from the last, the first before the last, for 'a', found 2 to 3. Correct them.",
    "items a, b\nsize at least 3": "rules, line 2: no combination obeys this rule: size at least 3. Change it, "
    "or take it out.",
    "ranking a, b, c\na above b\nb above c\nc above a": "rules: the order rules go in a circle: a above b "
    "above c above a. Take one of them out.",
    "ranking a, b\na in place 3": "rules, line 2, column 1: expected a place from 1 to 2, or from -1 to -2 "
    "counted from the last, for 'a', found 3. Correct it.",
    "slot s: u, v\nsize at least 1": "rules: expected a rule about slots, found one about size, which counts "
    "items. Count the options that you mean, for example: at most 2 of {A = "
    "a, B = b}.",
    "ranking a, b\nb": "rules, line 2, column 1: expected a rule about the order, since the outputs are a "
    "ranking, found 'b' as something that is chosen. Write for example “A above B” or “A in "
    "top 3”, or take the rule out.",
    "items a, b\na above b": "rules, line 2, column 1: expected a rule about what is chosen, since the outputs "
    "are subsets, found one about the place of 'a' in an order. Take the rule out, or "
    "choose columns with ranks as targets.",
    "a requires b": "rules: expected declarations such as “items A, B” or “slot Motor: servo, stepper”, or a table "
    "whose columns the names are; found neither. Declare the names, or give a table.",
    "slot s: u, v\nprobability s: u 1": "rules, line 2, column 13: the probabilities of 's' add up to 1, which "
    "leaves nothing for 'v'. Name every option, or forbid those that are "
    "impossible.",
}


@pytest.mark.parametrize("text", WRONG)
def test_rules_that_cannot_be_met_are_one_sentence(text: str):
    with pytest.raises(RuleError) as caught:
        compile_rules(bind(parse_rules(text)))
    assert str(caught.value) == WRONG[text]


def test_rules_from_json_have_no_line():
    for rules, sentence in (
        (["a", "not a"], "r: no combination obeys all the rules; these 2 can't hold together: a; not a. Change or "
         "remove one of them."),
        (["a and not a"], "r: no combination obeys this rule: a and not a. Change it, or take it out."),
        (["a above b"], "r: expected a rule about what is chosen, since the outputs are subsets, found one about the "
         "place of 'a' in an order. Take the rule out, or choose columns with ranks as targets."),
    ):  # fmt: skip
        with pytest.raises(RuleError) as caught:
            compile_rules(bind(from_structured({"items": ["a", "b"], "rules": rules}, "r")))
        assert str(caught.value) == sentence


SLOTS = OutputSchema("configurations", ("s", "t"), ("c_s", "c_t"), (("u", "v"), ("p", "q")))
WRONG_BESIDE_A_TABLE = {
    "s requires t = p": "rules, line 1, column 1: expected one of the options of the slot 's' (u, v), found "
    "its name alone. Write for example: s = u.",
    "s = uu requires t = p": "rules, line 1, column 5: 'uu' is not a known option of 's'; the nearest is 'u'. "
    "Correct the name, or declare it.",
    "probability s: u 0.5\nprobability c_s: u 0.6": "rules, line 2, column 13: expected one probability of "
    "'c_s', found a second. Keep one.",
    "total cost at most 3": "rules, line 1, column 7: expected a declared attribute, found 'cost', and none is "
    "declared. Declare it, for example: attribute cost: A 3, B 5.5.",
    "ranking a, b": "rules: expected rules for configurations, which the table has, found declarations of rankings. "
    "Choose other target columns, or other rules.",
    "slot s: u, v\nslot z: a, b\nprefer 2: z = a or s = u": "rules, line 3: expected a preference about "
    "columns of the table, found 'z', which the table "
    "does not have. Leave the preference out, or add "
    "the column.",
}


@pytest.mark.parametrize("text", WRONG_BESIDE_A_TABLE)
def test_rules_that_do_not_suit_a_table_are_one_sentence(text: str):
    with pytest.raises(RuleError) as caught:
        bind(parse_rules(text), SLOTS)
    assert str(caught.value) == WRONG_BESIDE_A_TABLE[text]


def test_names_that_a_table_does_not_have():
    schema = OutputSchema("subsets", ("rock", "jazz"), ("y_rock", "y_jazz"), ((), ()))
    with pytest.raises(RuleError) as caught:
        bind(parse_rules("rock requires jaz"), schema)
    assert str(caught.value) == (
        "rules, line 1, column 15: 'jaz' is not a known item; the nearest is 'jazz'. Correct the name, or declare it."
    )
    with pytest.raises(
        RuleError,
        match=r"the condition needs the feature 'speed', which the table does not "
        r"have; the nearest is 'load'",
    ):
        bind(parse_rules("where speed > 5: rock requires jazz"), schema, features=["x_load"])
    assert bind(parse_rules("y_rock requires c_jazz\nwhere load > 5: rock"), schema, features=["x_load"]).demands


def test_rules_too_entangled_say_where_and_what_to_do():
    text = "items " + ", ".join(f"i{k}" for k in range(40)) + "\n"
    random = np.random.default_rng(1)
    costs = ", ".join(f"i{k} {cost}" for k, cost in enumerate(random.integers(1, 100_000, 40)))
    problem = bind(parse_rules(f"{text}attribute cost: {costs}\ntotal cost between 900000 and 900500"))
    with pytest.raises(RuleError, match=r"too entangled to be summed exactly .* seen at line 3\. Leave out wide"):
        compile_rules(problem, Budget(width=2_000), leave_out=())


def test_compiling_can_be_stopped_and_tells_how_far_it_is():
    told: list[float] = []
    problem = bind(parse_rules("items a, b, c, d\na requires b\nsize at least 1\nat most 2 of c, d, a"))
    compile_rules(problem, Budget(on_progress=told.append))
    assert told[-1] == 1.0
    with pytest.raises(Cancelled):
        compile_rules(problem, Budget(should_stop=lambda: True))


def test_ten_thousand_rules_are_compiled_or_refused_in_a_sentence():
    random = np.random.default_rng(0)
    items = "items " + ", ".join(f"i{k}" for k in range(60))
    near = [f"i{a} excludes i{a + b}" for a in range(58) for b in (1, 2)]
    many = near + [f"if i{a} and i{a + 3} then not i{a + 5}" for a in random.integers(0, 55, 10_000 - len(near))]
    assert compile_rules(bind(parse_rules("\n".join([items, *many])))).total > 0
    anywhere = [random.choice(60, 4, replace=False) for _ in range(2_000)]
    wide = [f"if i{a} and i{b} and i{c} then not i{d}" for a, b, c, d in anywhere]
    with pytest.raises(RuleError, match="too entangled"):
        compile_rules(bind(parse_rules("\n".join([items, *wide]))), Budget(width=20_000, seconds=5.0), leave_out=())


# ---- sizes of the real world -----------------------------------------------------------------------------------------


def test_feature_models_have_the_published_counts(shared_data: Path):
    for row in csv.DictReader((shared_data / "feature_models" / "counts.csv").read_text().splitlines()):
        path = shared_data / row["file"]
        assert compile_rules(bind(read_rule_file(path))).total == int(row["exact_count"]), row["name"]
        if row["uvl"] == "True":
            assert compile_rules(bind(read_rule_file(path.with_suffix(".uvl")))).total == int(row["exact_count"])


def test_the_constraint_file_of_renault_is_summed_and_projected_exactly(shared_data: Path):
    folder = shared_data / "configuration" / "renault_medium"
    columns = [c for c in pd.read_parquet(folder / "data.parquet").columns if c.startswith("c_")]
    schema = OutputSchema("configurations", tuple(c[2:] for c in columns), tuple(columns), tuple(() for _ in columns))
    compiled = compile_rules(bind(read_rule_file(folder / "constraints.cnf"), schema))
    assert (compiled.total, compiled.diagram.count()) == (278_744, 247_080)


def test_sums_with_large_weights_and_counts_of_formulas():
    """Diagrams of the two kinds of counting, against the obvious loop."""
    weights = {0: (0, 7), 1: (0, 11, 3), 2: (0, 2), 3: (-5, 4)}
    sizes = [2, 3, 2, 2]
    compiler = Compiler(sizes, range(4), Budget())
    everything = list(itertools.product(*map(range, sizes)))
    for low, high in ((0, 9), (None, 4), (10, None), (-5, -1), (3, 2)):
        diagram = compiler.finished(compiler.diagram(Sum(low, high, tuple(weights.items()))))
        expected = [
            c
            for c in everything
            if (low is None or sum(weights[v][o] for v, o in enumerate(c)) >= low)
            and (high is None or sum(weights[v][o] for v, o in enumerate(c)) <= high)
        ]
        assert sorted(map(tuple, diagram.listing().tolist())) == expected
    nested = (Takes(0, frozenset({1})), Between(1, 1, (Takes(1, frozenset({1, 2})), Takes(2, frozenset({1})))))
    for low, high in ((0, 0), (1, None), (2, 2), (1, 1), (3, None)):
        diagram = compiler.finished(compiler.diagram(Between(low, high, nested)))
        held = [(c[0] == 1) + ((c[1] > 0) + (c[2] == 1) == 1) for c in everything]
        count = sum(low <= n and (high is None or n <= high) for n in held)
        assert diagram.count() == count
