"""Plain logic compiled by d4, against the listing of every combination and against diagrams."""

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jebm_core.errors import Cancelled, RuleError, SpecError
from jebm_core.recipes import describe_space
from jebm_core.rules import logic
from jebm_core.rules.budget import Budget
from jebm_core.rules.cnf import plain_logic
from jebm_core.rules.compiled import CompiledRules, compile_rules
from jebm_core.rules.compiler import RuleTooLarge
from jebm_core.rules.d4 import is_installed
from jebm_core.rules.dnnf import BrokenCircuit, Dnnf
from jebm_core.rules.dnnf_circuit import DnnfCircuit
from jebm_core.rules.explain import fixed_options
from jebm_core.rules.language import RuleSet
from jebm_core.rules.logic import NotLogicError, compile_logic
from jebm_core.rules.nnf import read_nnf
from jebm_core.rules.notation.dimacs import read_dimacs
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import Problem, bind
from jebm_core.spaces import Ruled
from tests import oracle
from tests.benchmarks.rule_instances import feature_model, instance
from tests.oracle import FALSE_ALARM, seeded, uniform
from tests.rules_oracle import models
from tests.rules_strategies import rule_sets
from tests.test_rules_compiler import suited, y_of

needs_d4 = pytest.mark.skipif(not is_installed(), reason="the extra d4 is not installed: pip install '.[d4]'")
slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
logical = rule_sets(("subsets", "configurations"), soft=False, where=False, probabilities=False)


def by_d4(problem: Problem) -> CompiledRules:
    circuit = compile_logic(problem, Budget())
    return CompiledRules(problem, circuit, circuit.count(), None, 0.0)


def ruled(compiled: CompiledRules) -> Ruled:
    schema = compiled.problem.schema
    space = describe_space(schema.kind, schema.names, schema.options, compiled)
    assert isinstance(space, Ruled)
    return space


@needs_d4
@settings(slowly, max_examples=80)
@given(logical, st.integers(0, 10**6), st.sampled_from([1.0, 20.0, 400.0]))
def test_everything_agrees_with_the_listing(rules: RuleSet, seed: int, spread: float):
    assume(suited(rules))
    problem = bind(rules)
    assume(plain_logic(problem) is not None)
    valid = models(rules)
    compiled = by_d4(problem)
    assert compiled.total == compiled.diagram.count() == len(valid)
    space = ruled(compiled)
    points = space.listing()
    assert sorted(map(tuple, points.tolist())) == sorted(y_of(c, problem.schema) for c in valid)
    everything = space.whole.listing()
    inside = space.contains(everything)
    assert sorted(map(tuple, everything[inside].tolist())) == sorted(map(tuple, points.tolist()))
    assert compiled.diagram.contains(everything.numpy()).tolist() == inside.tolist()
    if not valid:
        return
    assert fixed_options(problem, compiled.diagram) == fixed_options(problem, compile_rules(problem).diagram)
    with oracle.double_precision():
        theta = uniform(seed, 3, space.num_statistics, spread=spread).requires_grad_()
        energy = theta @ space.statistics(points).T
        value = space.linear_log_partition(theta)
        torch.testing.assert_close(value, energy.logsumexp(-1), rtol=1e-10, atol=1e-9)
        (gradient,) = torch.autograd.grad(value.sum(), theta)
        expected = energy.detach().softmax(-1) @ space.statistics(points)
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(space.linear_marginals(theta.detach()), expected, rtol=1e-8, atol=1e-9)
        best = space.argmax_linear(theta.detach())
        assert space.contains(best).all()
        torch.testing.assert_close((theta * space.statistics(best)).sum(-1), energy.max(-1).values)


def medium() -> list[Problem]:
    texts = [feature_model(120, seed) for seed in (0, 1)]
    return [bind(instance("slots")), *(bind(read_dimacs(text, "generated")) for text in texts)]


@needs_d4
@pytest.mark.parametrize("place", range(3))
def test_medium_rules_agree_with_their_diagram(place: int):
    problem = medium()[place]
    ours, theirs = ruled(by_d4(problem)), ruled(compile_rules(problem))
    assert ours.cardinality() == theirs.cardinality() > 10**9
    theta = uniform(place, 5, ours.num_statistics, spread=6.0).double()
    torch.testing.assert_close(ours.linear_log_partition(theta), theirs.linear_log_partition(theta))
    torch.testing.assert_close(ours.linear_marginals(theta), theirs.linear_marginals(theta), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(ours.argmax_linear(theta), theirs.argmax_linear(theta))
    drawn = ours.linear_sample(theta, 200, generator=seeded(place))
    assert theirs.contains(drawn).all()
    other = drawn.clone()
    other[..., 0] = (other[..., 0] + 1) % ours.options_per_item()[0]
    other[..., -1] = (other[..., -1] + 1) % ours.options_per_item()[-1]
    assert ours.contains(other).tolist() == theirs.contains(other).tolist()


DRAWN = (
    "items a, b, c, d, e\na requires b\nexactly 1 of {b, c, d}",
    "slot s: u, v, w\nslot t: p, q\nslot r: k, l, m, n\nif s = u then t = q\nif t = q then r in {k, m}",
    "items a, b, c, d",
)


@needs_d4
@pytest.mark.parametrize("text", DRAWN)
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_fit_the_density(text: str, seed: int):
    space = ruled(by_d4(bind(parse_rules(text))))
    theta = uniform(seed, 3, space.num_statistics, spread=1.5).double()
    together = space.linear_sample(theta, 20_000, generator=seeded(seed))
    vectors = torch.arange(3).repeat(20_000, 1)
    apart = space.prepared(theta)(vectors, seeded(seed + 10))
    alone = space.linear_sample(theta[:1].expand(3, -1), 20_000, generator=seeded(seed + 20))
    for place in range(3):  # seeds 0 and 1, 10 and 11, 20 and 21; false-alarm rate 1e-4 each
        for y, which in ((together, place), (apart, place), (alone, 0)):
            index = oracle.index_of(space, y[:, place])
            assert (index >= 0).all()
            assert oracle.fit_p_value(index, oracle.linear_probabilities(space, theta[which])) > FALSE_ALARM


@needs_d4
def test_what_has_no_weight_is_never_drawn():
    space = ruled(by_d4(bind(parse_rules("slot s: u, v, w\nslot t: p, q, r\nif s = u then t = q"))))
    theta = torch.zeros(1, space.num_statistics, dtype=torch.float64)
    theta[0, 0] = theta[0, 5] = -torch.inf
    y = space.linear_sample(theta, 5_000, generator=seeded(2))[:, 0]
    assert sorted({tuple(row) for row in y.tolist()}) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert space.linear_log_partition(theta).exp().item() == pytest.approx(4)
    theta[:] = -torch.inf
    assert space.linear_log_partition(theta).item() == -torch.inf
    assert not space.linear_marginals(theta).isnan().any()


@needs_d4
def test_slots_of_many_options_are_drawn_evenly():
    options = ", ".join(f"o{i}" for i in range(300))
    space = ruled(by_d4(bind(parse_rules(f"slot big: {options}\nslot small: a, b\nbig = o7 requires small = a"))))
    y = space.linear_sample(torch.zeros(1, space.num_statistics), 60_000, generator=seeded(3))[:, 0]
    even = torch.full((599,), 1 / 599, dtype=torch.float64)
    assert oracle.fit_p_value(oracle.index_of(space, y), even) > FALSE_ALARM  # seed 3


# ---- when it is used -------------------------------------------------------------------------------------------------

ENTANGLED = "items " + ", ".join(f"i{n}" for n in range(24)) + "".join(
    f"\nat least 2 of {{i{n}, i{(7 * n + 3) % 24}, i{(11 * n + 5) % 24}, i{(5 * n + 9) % 24}}}" for n in range(24)
)  # fmt: skip


@needs_d4
def test_a_circuit_takes_over_where_diagrams_are_too_wide():
    problem = bind(parse_rules(ENTANGLED))
    exact = compile_rules(problem)
    compiled = compile_rules(problem, Budget(width=60))
    assert isinstance(compiled.diagram, Dnnf)
    assert compiled.checked is None
    assert compiled.total == compiled.diagram.count() == exact.total
    with pytest.raises(SpecError, match="to list the 2 best combinations"):
        ruled(compiled).best_linear(torch.zeros(24), 2)
    y, value = ruled(compiled).best_linear(torch.ones(24), 1)
    assert (y.tolist(), value.tolist()) == ([[1] * 24], [24.0])


@needs_d4
def test_many_variables_give_way_early(monkeypatch: pytest.MonkeyPatch):
    problem = bind(read_dimacs(feature_model(60), "generated"))
    assert not isinstance(compile_rules(problem).diagram, Dnnf)
    monkeypatch.setattr(logic, "MANY", 50)
    assert not isinstance(compile_rules(problem).diagram, Dnnf)
    monkeypatch.setattr("jebm_core.rules.compiled.NARROW", 3)
    assert isinstance(compile_rules(problem).diagram, Dnnf)


def test_without_the_extra_the_sentence_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logic, "is_installed", lambda: False)
    problem = bind(parse_rules(ENTANGLED, "r.txt"))
    with pytest.raises(RuleError, match=r"r.txt: .* the extra d4 can sum them all the same: run pip install"):
        compile_rules(problem, Budget(width=60), leave_out=())
    total = bind(parse_rules("items a, b, c\nattribute m: a 1, b 2, c 4\ntotal m at most 5", "r.txt"))
    with pytest.raises(RuleError, match="Leave out wide rules"):
        compile_rules(total, Budget(width=1), leave_out=())


@needs_d4
@pytest.mark.parametrize(
    "text",
    [
        "items a, b\nattribute m: a 1, b 2\ntotal m at most 2",
        "ranking a, b, c\na above b",
        "items a, b\nprefer 2: a",
        "items a, b\nhidden items h\na requires h",
    ],
)
def test_what_clauses_do_not_suit_is_left_to_others(text: str):
    with pytest.raises(NotLogicError):
        compile_logic(bind(parse_rules(text)), Budget())


@needs_d4
def test_hidden_variables_without_a_choice_are_left_out():
    text = "items a, b, c\nhidden items h\nif h then a and b\nif a and b then h\nif h then c"
    problem = bind(parse_rules(text))
    compiled = by_d4(problem)
    assert compiled.total == compile_rules(problem).total == 7
    points = ruled(compiled).listing()
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, ruled(compile_rules(problem)).listing().tolist()))


@needs_d4
def test_nothing_valid_is_a_sentence():
    problem = bind(parse_rules("items a, b, c\na requires b\nb requires c\na\nnot c"))
    assert compile_logic(problem, Budget()).count() == 0
    with pytest.raises(RuleError, match="no combination obeys all the rules"):
        compile_rules(problem, Budget(width=1))


@needs_d4
def test_d4_is_stopped():
    problem = bind(read_dimacs(feature_model(300), "generated"))
    with pytest.raises(Cancelled):
        compile_logic(problem, Budget(should_stop=lambda: True))
    with pytest.raises(RuleTooLarge, match="more than 0 s"):
        compile_logic(problem, Budget(seconds=0.0))


BOTH = ((-1, 1), (-2, 2))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no root"),
        ("o 1 0\nt 2 0\n1 2 x 0", "unreadable line"),
        ("o 1 0\nt 2 0\n1 2 1", "unreadable line"),
        ("o 1 0\n1 2 1 0", "unknown node"),
        ("o 1 0\na 2 0\n1 2 0\n2 1 0", "circle"),
        ("o 1 0\nt 2 0\n1 2 1 0\n1 2 2 0", "do not exclude one another"),
        ("o 1 0\nt 2 0\n1 2 1 0\n1 2 -1 2 0\n1 2 -1 -2 0", "more than two parts"),
        ("a 1 0\no 2 0\nt 3 0\n2 3 1 0\n2 3 -1 0\n1 2 1 0", "occurs below it"),
        ("a 1 0\nt 2 0\n1 2 1 0\n1 2 1 0", "occurs twice"),
        (
            "a 1 0\no 2 0\no 3 0\nt 4 0\n2 4 1 0\n2 4 -1 0\n3 4 1 0\n3 4 -1 0\n1 2 0\n1 3 0",
            "share a variable",
        ),
    ],
)
def test_a_circuit_that_is_not_sound_is_refused(text: str, fault: str):
    with pytest.raises(BrokenCircuit, match=fault):
        read_nnf(text, 2, BOTH)


def test_everything_stays_on_its_device():
    text = "o 1 0\nt 2 0\na 3 0\n1 3 1 0\no 4 0\n4 2 2 0\n4 2 -2 3 0\n3 4 0\n3 2 4 0\n1 2 -1 0"
    circuit = read_nnf(text, 4, ((-1, 1), (-2, 2), (-3, 3), (-4, 4)))
    assert circuit.count() == 11
    evaluator = DnnfCircuit(circuit, [[-1, item] for item in range(4)], 4)
    theta = torch.zeros(5, 4, device="meta", requires_grad=True)
    value = evaluator.log_partition(theta)
    value.sum().backward()
    found = (
        value,
        theta.grad,
        evaluator.sample(theta, 3),
        evaluator.best(theta),
        evaluator.contains(torch.zeros(7, 4, dtype=torch.int64, device="meta")),
        evaluator.prepared(theta).draw(torch.zeros(2, 3, dtype=torch.int64, device="meta")),
    )
    assert [tensor.device.type for tensor in found] == ["meta"] * 6
    assert [tuple(tensor.shape) for tensor in found] == [(5,), (5, 4), (3, 5, 4), (5, 4), (7,), (2, 3, 4)]
