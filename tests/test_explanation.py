"""Contributions add up to the difference of log-probabilities; gradients to the change of the score; flips are the
smallest that listing finds."""

import functools
import itertools

import pytest
import torch

from jebm_core.divergences import divergence_from_name
from jebm_core.errors import SpecError
from jebm_core.evaluation import explanation, flips
from jebm_core.evaluation.attribution import TOLERANCE, baseline_context, feature_contributions
from jebm_core.evaluation.explanation import part_contributions
from jebm_core.evaluation.flips import Decision, compare, smallest_flip
from jebm_core.fitted import FittedModel
from jebm_core.fitting import fit
from jebm_core.model import Context, JointModel, ZeroBase
from jebm_core.networks import (
    Affinity,
    FullPairwiseHead,
    InteractionHead,
    LowRankPairwiseHead,
    PreferenceHead,
    SetHead,
    Trunk,
    UnaryHead,
    correction_network,
)
from jebm_core.recipes import describe_space
from jebm_core.references import MarginalReference, Reference, RuledReference, UniformReference
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.seen import Seen
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.spaces.distance import distance_features, distance_of_agreement
from tests.test_evaluate import examples_of

HEADS = ["none", "pairs", "lowrank", "set", "preferences"]
KINDS = ["subsets", "configurations", "rankings"]
EXCLUDES = '"size"=q excludes colour=q'
RULES = f"""prefer 1.5: colour=q requires "size"=p
where x_a > 0: prefer 0.5: "size"=r
{EXCLUDES}"""


@functools.cache
def small(kind: str) -> FittedModel:
    """What is read of tables; its numbers are replaced."""
    torch.set_num_threads(1)
    return fit(examples_of(kind, 60, 0), FitSettings(epochs=1, affinity="unary", reference="uniform")).model


def head(name: str, space: OutputSpace, width: int) -> InteractionHead | None:
    match name:
        case "pairs":
            return FullPairwiseHead(space, width, constant=False)
        case "lowrank":
            return LowRankPairwiseHead(space, width, rank=3, constant=False)
        case "set":
            return SetHead(space, width, width=5)
        case "preferences":
            return PreferenceHead(space, width)
    return None


def random_model(
    kind: str, interaction: str, *, divergence: str = "kl", space: OutputSpace | None = None, rules: str = ""
) -> FittedModel:
    """A model of random numbers, with the table reading of a small fit."""
    base = small(kind)
    record = base.record
    torch.manual_seed(3)
    reference: Reference
    if rules:
        compiled = compile_rules(bind(parse_rules(rules), record.schema, features=record.features))
        schema = record.schema
        space = describe_space(schema.kind, schema.names, schema.options, compiled)
        reference = MarginalReference(space, torch.randn(space.num_statistics))
        reference = reference if compiled.weighted is None else RuledReference(reference)
    else:
        space = base.space
        eta = torch.randn(space.num_statistics)
        reference = UniformReference(space) if kind == "rankings" else MarginalReference(space, eta)
    trunk = Trunk(1, (16,), dropout=0.5)
    affinity = Affinity(space, trunk, UnaryHead(space, trunk.width), head(interaction, space, trunk.width))
    with torch.no_grad():
        for parameter in affinity.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    model = JointModel(
        space=space,
        reference=reference,
        divergence=divergence_from_name(divergence),
        affinity=affinity,
        base=ZeroBase(),
        correction=correction_network("constant", 1),
    )
    points = space.listing()
    return FittedModel(
        model, record, seen=Seen(space, points[::3], torch.ones(len(points[::3])).long()), independent=None
    )


def contexts(rows: int = 3, flags: int = 0) -> Context:
    x = torch.linspace(-1.5, 2.0, rows).unsqueeze(1)
    return Context(x, (torch.arange(rows * flags).reshape(rows, flags) % 2).float())


def exact(model: FittedModel, context: Context) -> tuple[torch.Tensor, torch.Tensor]:
    points = model.space.listing()
    p = model.model(context)
    log_w = (p.reference.log_prob_of(points) + p.affinity_of(points)).double()
    return points, log_w - log_w.logsumexp(0)


CASES = [
    (kind, name)
    for kind, name in itertools.product(KINDS, HEADS)
    if (name == "preferences") <= (kind == "rankings") and (kind != "rankings" or name in ("none", "preferences"))
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_terms_add_up_to_the_difference_of_listed_probabilities(kind: str, name: str) -> None:
    model, context = random_model(kind, name), contexts()
    points, log_p = exact(model, context)
    scores = model.model.affinity(context.x)
    for a, b in [(0, 5), (7, 2), (3, len(points) - 1)]:
        found = part_contributions(model, context, points[a], points[b])
        assert found.total == pytest.approx(float((log_p[a] - log_p[b]).mean()), abs=2e-4)
        assert sum(term.value for term in found.terms) == pytest.approx(found.total, abs=2e-4)
        of_g = sum(term.value for term in found.terms if term.kind != "reference")
        g = scores.value_of(points[[a, b]]).double().mean(1)
        assert of_g == pytest.approx(float(g[0] - g[1]), abs=2e-4)
        kinds = {term.kind for term in found.terms}
        assert ("pair" in kinds) == (name in ("pairs", "lowrank", "preferences"))
        assert ("together" in kinds) == (name == "set")
        assert "link" not in kinds
        assert [abs(term.value) for term in found.terms] == sorted((abs(t.value) for t in found.terms), reverse=True)
        assert found.driver == found.terms[0]
    assert part_contributions(model, context, points[0], points[0]).terms == ()


def test_a_term_is_what_listing_says_of_it() -> None:
    # Of two items, a pair's term is the interaction of the four combinations they make.
    model, context = random_model("subsets", "pairs"), contexts(1)
    g = {tuple(y): v for y, v in zip(model.space.listing().tolist(), model.model.affinity(context.x).value_of(
        model.space.listing()).squeeze(1).tolist(), strict=True)}  # fmt: skip
    empty = (0,) * 6
    one = [tuple(int(i == j) for j in range(6)) for i in range(6)]
    both = (1, 1, 0, 0, 0, 0)
    found = part_contributions(model, context, torch.tensor(both), torch.tensor(empty))
    values = {(term.kind, term.items): term.value for term in found.terms}
    assert values["part", ("a",)] == pytest.approx(g[one[0]] - g[empty], abs=1e-4)
    assert values["pair", ("a", "b")] == pytest.approx(g[both] - g[one[0]] - g[one[1]] + g[empty], abs=1e-4)
    pair = next(term for term in found.terms if term.kind == "pair")
    assert (pair.before, pair.after) == (("0", "0"), ("1", "1"))


def test_other_divergences_have_a_link() -> None:
    model, context = random_model("subsets", "pairs", divergence="jensen-shannon"), contexts()
    with torch.no_grad():
        model.model.correction.value.fill_(20.0)  # well inside the domain
    points = model.space.listing()
    found = part_contributions(model, context, points[9], points[4])
    log_p = model.model(context).log_prob_of(points[[9, 4]]).double()
    assert found.total == pytest.approx(float((log_p[0] - log_p[1]).mean()), abs=1e-4)
    assert sum(term.value for term in found.terms) == pytest.approx(found.total, abs=2e-4)
    assert "link" in {term.kind for term in found.terms}


def test_an_outcome_is_driven_by_its_pairs() -> None:
    model, context = random_model("configurations", "pairs"), contexts()
    points, log_p = exact(model, context)
    p = {tuple(y): row for y, row in zip(points.tolist(), log_p, strict=True)}
    y, before = torch.tensor([0, 1, 0]), torch.tensor([2, 1, 1])
    found = part_contributions(model, context, y, before, outcome=("result", "q"))
    odds = (p[0, 1, 1] - p[0, 1, 0]) - (p[2, 1, 1] - p[2, 1, 0])
    assert found.total == pytest.approx(float(odds.mean()), abs=2e-4)
    assert sum(term.value for term in found.terms) == pytest.approx(found.total, abs=2e-4)
    assert [term.items for term in found.terms if term.kind == "pair"] == [("size", "result")]
    assert not [term for term in found.terms if term.kind == "part"]


def test_preferences_of_rules_are_terms() -> None:
    model = random_model("configurations", "pairs", rules=RULES)
    context = contexts(4, flags=1)
    assert model.model.reference.input_width == 1
    points = model.space.listing()
    q = model.model(context).reference
    place = {tuple(y): i for i, y in enumerate(points.tolist())}
    a, b = place[0, 1, 0], place[2, 0, 1]
    found = part_contributions(model, context, points[a], points[b])
    assert sum(term.value for term in found.terms) == pytest.approx(found.total, abs=2e-4)
    rules = {term.items[0]: term.value for term in found.terms if term.kind == "rule"}
    assert len(rules) == 1  # "if size=p" holds for nothing else than both alike; the second holds for b in half
    assert next(iter(rules.values())) == pytest.approx(-0.25, abs=1e-5)
    log_q = q.log_prob_of(points[[a, b]]).double()
    of_q = sum(term.value for term in found.terms if term.kind in ("rule", "reference"))
    assert of_q == pytest.approx(float((log_q[0] - log_q[1]).mean()), abs=1e-4)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_features_add_up_to_the_change_of_the_score(kind: str, name: str) -> None:
    model, row = random_model(kind, name), contexts(1)
    points = model.space.listing()
    for versus in (None, points[4]):
        found = feature_contributions(model, row, points[1], versus=versus)
        base = baseline_context(model, row)
        ends = model.model.affinity(torch.cat([row.x, base.x])).value_of(points[[1, 4]]).double()
        ends = ends[0] if versus is None else ends[0] - ends[1]
        assert found.change == pytest.approx(float(ends[0] - ends[1]), abs=1e-4)
        assert abs(found.gap) <= TOLERANCE * max(1.0, abs(found.change))
        assert sum(v for _, v in found.features) + found.gap == pytest.approx(found.change, abs=1e-6)
        assert [name for name, _ in found.features] == ["x_a"]
        assert found.reference == pytest.approx(0.0, abs=1e-6)  # this q ignores x


def test_features_of_a_linear_score_are_weight_times_step() -> None:
    model = random_model("subsets", "none")
    trunk = Trunk(1, (), dropout=0.0)
    torch.manual_seed(0)
    model.model.affinity = Affinity(model.space, trunk, UnaryHead(model.space, 1)).requires_grad_(False)
    row, y = contexts(1), torch.tensor([1, 0, 1, 0, 0, 0])
    base = baseline_context(model, row, contexts(5))
    found = feature_contributions(model, row, y, base)
    weight = model.model.affinity.linear.linear.weight[[0, 2], 0].sum()
    assert found.features[0][1] == pytest.approx(float(weight * (row.x - base.x)), abs=1e-6)
    assert base.x.item() == pytest.approx(contexts(5).x.mean().item())


def listed_flip(
    model: FittedModel, context: Context, y: torch.Tensor, decision: Decision
) -> tuple[int | None, float, float | None]:
    """(distance, probability before, probability of the best at that distance), by listing everything."""
    points, log_p = exact(model, context)
    p = log_p.exp()
    if decision.outcome is None:
        value = p.mean(1)
        distance = distance_of_agreement(
            model.space, distance_features(model.space, points) @ distance_features(model.space, y.unsqueeze(0))[0]
        )
    else:
        slot, option = 2, {"p": 0, "q": 1}[decision.outcome[1]]
        rest = (points[:, None, :slot] == points[None, :, :slot]).all(-1).double()
        value = ((rest * (points[:, slot] == option)) @ p / (rest @ p)).mean(1)
        distance = (points[:, :slot] != y[:slot]).sum(-1)
    here = (points == y).all(-1)
    before = float(value[here][0] if decision.outcome is None or here.any() else value[distance == 0][0])
    across = (value >= decision.threshold) != (before >= decision.threshold)
    if not across.any():
        return None, before, None
    nearest = int(distance[across].min())
    there = value[across & (distance == nearest)]
    return nearest, before, float(there.max() if before < decision.threshold else there.min())


@pytest.mark.parametrize(
    ("kind", "name", "rules"),
    [
        ("subsets", "pairs", ""),
        ("subsets", "set", "a requires b\nsize at least 2"),
        ("configurations", "lowrank", ""),
        ("configurations", "pairs", EXCLUDES),
        ("configurations", "pairs", "result=q excludes colour=q"),
        ("rankings", "preferences", ""),
    ],
)
def test_flips_are_the_smallest_that_listing_finds(kind: str, name: str, rules: str) -> None:
    model, context = random_model(kind, name, rules=rules), contexts()
    points = model.space.listing()
    outcomes = [None, ("result", "q")] if kind == "configurations" else [None]
    met = set()
    for outcome, threshold, start in itertools.product(outcomes, (0.001, 0.02, 0.3, 0.5, 0.9), (0, 5, 11)):
        decision = Decision(threshold, outcome)
        found = smallest_flip(model, context, points[start], decision)
        distance, before, after = listed_flip(model, context, points[start], decision)
        assert found.certified
        assert found.before == pytest.approx(before, abs=1e-6)
        assert found.distance == distance
        met.add(distance)
        if distance is not None:
            assert found.after == pytest.approx(after, abs=1e-6)
            assert found.changes
            if outcome is None:
                assert bool(model.space.contains(torch.tensor(found.y)))
    assert None in met
    assert len(met) > 1


def test_a_search_that_is_cut_short_says_how_far_it_came() -> None:
    model, context = random_model("subsets", "pairs"), contexts()
    y = model.space.listing()[3]
    cut = smallest_flip(model, context, y, Decision(0.999), most_distance=2)
    assert (cut.y, cut.certified, cut.exhausted, cut.looked) == (None, False, 2, 6 + 15)
    late = smallest_flip(model, context, y, Decision(0.999), seconds=0.0)
    assert (late.certified, late.exhausted) == (False, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ratio_of_two_combinations(kind: str) -> None:
    model = random_model(kind, "none")
    points, log_p = exact(model, contexts())
    found = compare(model, contexts(), points[0], points[1])
    p = log_p[:2].exp().mean(1)
    assert (found.before, found.after) == (pytest.approx(float(p[0]), abs=1e-6), pytest.approx(float(p[1]), abs=1e-6))
    assert found.ratio == pytest.approx(float(p[1] / p[0]), rel=1e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.ratio < found.high
    single = compare(model, contexts(1), points[0], points[1])
    assert (single.low, single.high) == (None, None)
    same = compare(model, contexts(), points[2], points[2])
    assert (same.ratio, same.low, same.high) == (1.0, 1.0, 1.0)


def test_the_interval_of_a_ratio_covers_it() -> None:
    # 300 samples of 40 contexts against the mean of very many: true coverage of 0.95 gives below 0.90 with chance 3e-4.
    model = random_model("subsets", "pairs")
    points, generator = model.space.listing(), torch.Generator().manual_seed(1)
    draw = lambda n: Context(torch.randn(n, 1, generator=generator) / 2, torch.zeros(n, 0))  # noqa: E731
    _, log_p = exact(model, draw(20_000))
    truth = float(log_p[11].exp().mean() / log_p[8].exp().mean())
    found = [compare(model, draw(40), points[8], points[11]) for _ in range(300)]
    covered = sum(one.low <= truth <= one.high for one in found)  # pyright: ignore[reportOptionalOperand]
    assert covered / 300 > 0.90


def test_refusals() -> None:
    model, context = random_model("configurations", "pairs", rules=EXCLUDES), contexts()
    good, bad = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 0])
    for ask in (
        lambda: part_contributions(model, context, good, bad),
        lambda: feature_contributions(model, contexts(1), bad),
        lambda: compare(model, context, good, bad),
        lambda: smallest_flip(model, context, bad, Decision(0.5)),
        lambda: smallest_flip(model, context, bad, Decision(0.5, ("result", "q"))),
    ):
        with pytest.raises(SpecError, match="correct it"):
            ask()
    with pytest.raises(SpecError, match=r"found 1\.0; a probability can cross no other"):
        smallest_flip(model, context, good, Decision(1.0))
    with pytest.raises(SpecError, match="one context to explain, found 3"):
        feature_contributions(model, context, good)
    with pytest.raises(SpecError, match="result=perhaps"):
        part_contributions(model, context, good, good, outcome=("result", "perhaps"))
    assert isinstance(random_model("rankings", "none").space, Rankings)
    assert explanation.Kind is not None
    assert flips.SECONDS > 0
