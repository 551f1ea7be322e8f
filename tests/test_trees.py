"""Mixtures of trees: what expectation–maximisation finds, against counts, brute force and a known truth."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from jebm_core import FitSettings, evaluate, fit, guess_roles, load, read_examples, read_table
from jebm_core.errors import Cancelled, SpecError
from jebm_core.evaluation.annealing import anneal
from jebm_core.evaluation.partition import audit_partition
from jebm_core.model import Context
from jebm_core.preparation import Given, prepare
from jebm_core.references import StackedReference
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.spaces import OutputSpace, Subsets
from jebm_core.tables import Examples
from jebm_core.tree_learning import MIXTURES, PRIOR, _Learner, best_tree, fit_trees
from jebm_core.tree_references import TiltedTreeReference, TreeReference
from jebm_core.trees import Forest, TreeMixture, Trees
from tests.contract.cases import configurations, distinct_outputs, some_trees, subsets
from tests.oracle import seeded, uniform

SPACES = {"subsets": subsets(5), "configurations": configurations(3, 2, 4)}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def distribution(space: OutputSpace, trees: Trees) -> TreeMixture:
    return TreeReference(space, trees)(torch.zeros(1, 0))


def draws(space: OutputSpace, rows: int, seed: int = 0, trees: int = 2) -> tuple[Tensor, TreeMixture]:
    """Rows of a known mixture, and the mixture."""
    truth = distribution(space, some_trees(space, trees))
    return truth.sample(rows, generator=seeded(seed)).squeeze(1), truth


def test_a_forest_knows_who_comes_before_whom():
    forest = Forest(torch.tensor([[1, 1, 0, 2], [0, 0, 0, 0]])).on(torch.device("cpu"))
    assert [level.tolist() for level in forest.levels] == [[1, 4], [0, 5, 6, 7], [2], [3]]
    assert forest.above.tolist() == [1, 1, 0, 2, 4, 4, 4, 4]
    assert forest.order[0].tolist() == [1, 0, 2, 3]


@every_space
def test_counts_of_pairs_are_counts(space: OutputSpace):
    y, _ = draws(space, 60)
    weight = uniform(3, 60).abs()
    joint, share = _Learner(space, y, y).counts(weight.float())
    options = max(space.options_per_item())
    for i, j in itertools.product(range(space.num_items), repeat=2):
        for a, b in itertools.product(range(options), repeat=2):
            expected = weight[(y[:, i] == a) & (y[:, j] == b)].sum().item()
            assert joint[i, a, j, b].item() == pytest.approx(expected, abs=1e-4)
    for i, a in itertools.product(range(space.num_items), range(options)):
        assert share[i, a].item() == pytest.approx(weight[y[:, i] == a].sum().item(), abs=1e-4)


def spanning_trees(items: int) -> list[set[frozenset[int]]]:
    edges = [frozenset(pair) for pair in itertools.combinations(range(items), 2)]
    found = []
    for chosen in itertools.combinations(edges, items - 1):
        reached = {0}
        for _ in range(items):
            reached |= {i for edge in chosen if edge & reached for i in edge}
        if len(reached) == items:
            found.append(set(chosen))
    return found


@every_space
@pytest.mark.parametrize("seed", range(5))
def test_the_best_tree_is_the_best_of_all_trees(space: OutputSpace, seed: int):
    y, _ = draws(space, 200, seed)
    joint, share = _Learner(space, y, y).counts(torch.ones(len(y)))
    parent = best_tree(joint, share)
    p = joint.double().numpy() / len(y)
    alone = share.double().numpy() / len(y)

    def information(i: int, j: int) -> float:
        expected = np.outer(alone[i], alone[j])
        seen = p[i, :, j] > 0
        return float((p[i, :, j][seen] * np.log(p[i, :, j][seen] / expected[seen])).sum())

    def total(edges: set[frozenset[int]]) -> float:
        return sum(information(*sorted(edge)) for edge in edges)

    found = {frozenset((i, int(j))) for i, j in enumerate(parent) if i != j}
    assert len(found) == space.num_items - 1
    assert total(found) == pytest.approx(max(map(total, spanning_trees(space.num_items))), abs=1e-5)


@every_space
def test_tables_are_shares_with_a_prior(space: OutputSpace):
    y, _ = draws(space, 80)
    learner = _Learner(space, y, y)
    parent, tables = learner.tree(torch.ones(80))
    for item, above in enumerate(parent.tolist()):
        if item == above:
            continue
        for a in range(space.options_per_item()[above]):
            rows = y[y[:, above] == a]
            for b in range(space.options_per_item()[item]):
                count, even = (rows[:, item] == b).sum().item(), 1 / space.options_per_item()[item]
                overall = (count + even) / (len(rows) + 1)
                expected = (count + PRIOR * overall) / (len(rows) + PRIOR)
                assert tables[item, a, b].exp().item() == pytest.approx(expected, abs=1e-5)
    rows_sum = tables.exp().sum(-1)
    torch.testing.assert_close(rows_sum, torch.ones_like(rows_sum))


@every_space
def test_every_step_makes_the_rows_likelier(space: OutputSpace, monkeypatch: pytest.MonkeyPatch):
    """Without a prior, expectation–maximisation never goes back; the rows themselves are held out here."""
    monkeypatch.setattr("jebm_core.tree_learning.PRIOR", 1e-6)
    y, _ = draws(space, 500)
    learner = _Learner(space, y, y)
    losses: list[float] = []
    original = _Learner._log_probs

    def watched(self: _Learner, trees: Trees, rows: Tensor) -> Tensor:
        found = original(self, trees, rows)
        losses.append(-found.logsumexp(1).mean().item())
        return found

    monkeypatch.setattr(_Learner, "_log_probs", watched)
    learner.mixture(3, seed=1)
    assert len(losses) > 6
    # weights of trees have one pseudo-row each: hence the tolerance
    assert all(after <= before + 2e-3 for before, after in itertools.pairwise(losses))


@every_space
def test_a_mixture_is_found_again(space: OutputSpace, monkeypatch: pytest.MonkeyPatch):
    """6,000 rows of two trees: new rows are nearly as likely as under the truth. Seeds 0 and 1."""
    monkeypatch.setattr("jebm_core.tree_learning.SIZES", (2, 5))
    y, truth = draws(space, 6_000, 0)
    new, _ = draws(space, 4_000, 1)
    trees = fit_trees(space, y[:5_000], y[5_000:], seed=0)
    gap = (truth.log_prob(new.unsqueeze(1)) - distribution(space, trees).log_prob(new.unsqueeze(1))).mean()
    one = distribution(space, Trees(*(part[:1] for part in _Learner(space, y, y).mixture(1, 0)[1])))
    assert -0.01 < gap.item() < 0.02
    assert (truth.log_prob(new.unsqueeze(1)) - one.log_prob(new.unsqueeze(1))).mean() > 0.025  # one tree is not enough
    assert len(trees.parent) % MIXTURES == 0


def test_independent_items_need_one_tree():
    y = (torch.rand(3000, 6, generator=seeded(4)) < torch.linspace(0.1, 0.9, 6)).long()
    trees = fit_trees(subsets(6), y[:2500], y[2500:], seed=0)
    assert len(trees.parent) == 1


def test_items_that_never_vary_and_few_rows_are_no_trouble():
    y = torch.zeros(12, 4, dtype=torch.int64)
    y[:6, 1] = 1
    trees = fit_trees(subsets(4), y[:9], y[9:], seed=0)
    q = distribution(subsets(4), trees)
    assert q.log_prob_of(subsets(4).listing()).exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    assert torch.isfinite(q.log_prob_of(subsets(4).listing())).all()


def test_the_same_seed_gives_the_same_trees():
    y, _ = draws(subsets(5), 400)
    first, again, other = (fit_trees(subsets(5), y[:300], y[300:], seed=seed) for seed in (0, 0, 7))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first.log_tables.shape != other.log_tables.shape or not torch.equal(first.log_tables, other.log_tables)


@pytest.mark.parametrize("bound", ["MAX_CELLS", "MAX_PAIRS"])
def test_of_very_many_rows_some_are_learned_from(bound: str, monkeypatch: pytest.MonkeyPatch):
    y, _ = draws(subsets(5), 900)
    given: list[int] = []
    original = _Learner.__init__

    def watched(self: _Learner, space: OutputSpace, y: Tensor, held_out: Tensor) -> None:
        given.extend((len(y), len(held_out)))
        original(self, space, y, held_out)

    monkeypatch.setattr(_Learner, "__init__", watched)
    fit_trees(subsets(5), y[:800], y[800:])
    monkeypatch.setattr(f"jebm_core.tree_learning.{bound}", {"MAX_CELLS": 5 * 300, "MAX_PAIRS": 25 * 300}[bound])
    trees = fit_trees(subsets(5), y[:800], y[800:])
    assert given == [800, 100, 300, 100]
    assert torch.isfinite(trees.log_tables).all()


def test_learning_tells_how_far_it_is_and_can_be_stopped():
    y, _ = draws(subsets(5), 3000)
    told: list[tuple[int, int]] = []
    fit_trees(subsets(5), y[:2500], y[2500:], on_part=lambda done, of: told.append((done, of)))
    assert told == [(done, MIXTURES) for done in range(1, MIXTURES)]

    def stop(done: int, of: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fit_trees(subsets(5), *draws(subsets(5), 3000)[0].split(2500), on_part=stop)


# ---- models over trees -----------------------------------------------------------------------------------------------


def examples(space: OutputSpace, rows: int, seed: int) -> Examples:
    y, _ = draws(space, rows, seed)
    prefix = "y" if isinstance(space, Subsets) else "c"
    header = ",".join(f"{prefix}_{item}" for item in space.items)
    body = "\n".join(",".join(str(int(v)) for v in row) for row in y)
    table = read_table("t.csv", content=f"{header}\n{body}\n".encode())
    return read_examples(table, guess_roles(table))


@pytest.fixture(scope="module")
def fitted():
    with torch.random.fork_rng():
        return fit(examples(subsets(19), 600, 2), FitSettings(epochs=12))


def test_without_features_trees_are_the_reference(fitted, tmp_path):
    model = fitted.model
    shape = model.record.architecture
    assert (shape.reference, shape.base, shape.affinity) == ("trees", "tilt", "pairwise-constant")
    assert model.independent is not None
    assert model.independent.reference.to_json()["kind"] == "marginals"
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    context = Context(torch.zeros(3, 0), torch.zeros(3, 0))
    y = examples(subsets(19), 3, 5).outputs.values
    assert torch.equal(
        model.log_prob(context, torch.from_numpy(y)).value, again.log_prob(context, torch.from_numpy(y)).value
    )


def test_the_learned_log_partition_is_the_listed_one(fitted):
    model, context = fitted.model.model, Context(torch.zeros(1, 0), torch.zeros(1, 0))
    exact = audit_partition(model, context, method="exact")
    drawn = audit_partition(model, context, method="importance")
    with torch.no_grad():
        log_w = anneal(model.unnormalised(context), num_chains=64, temperatures=10, generator=seeded(3))
    many = audit_partition(model, Context(torch.zeros(7, 0), torch.zeros(7, 0)), method="importance")
    assert torch.equal(many.audited, drawn.audited.expand(7))
    assert torch.equal(many.learned, drawn.learned.expand(7))
    assert (many.summary().n, many.summary().r2) == (7, None)
    assert drawn.low[0] - 0.01 < exact.audited[0] < drawn.high[0] + 0.01
    assert abs(exact.learned[0] - exact.audited[0]) < 0.01
    assert abs(log_w.logsumexp(0)[0] - np.log(64) - exact.audited[0]) < 0.05  # seed 3


def test_all_rows_of_one_context_are_judged(fitted):
    judged = evaluate(fitted.model, examples(subsets(19), 1500, 8))
    assert (judged.n, judged.n_audited) == (1500, 1500)
    assert judged.nll < judged.nll_independent


@pytest.mark.parametrize(
    ("header", "body", "rules", "found"),
    [
        ("y_a,y_b", "1,0\n0,1\n", "not a", "rules"),
        ("r_a,r_b", "1,2\n2,1\n", None, "rankings"),
    ],
)
def test_trees_say_what_they_are_for(header: str, body: str, rules: str | None, found: str):
    table = read_table("t.csv", content=f"{header}\n{body * 20}".encode())
    given = Given(rules=None if rules is None else parse_rules(rules))
    rows = read_examples(table, guess_roles(table))
    sentence = f"^Reference trees: expected subsets or configurations without rules, found {found}; choose another"
    with pytest.raises(SpecError, match=sentence):
        prepare(rows, FitSettings(reference="trees"), torch.device("cpu"), given)


def test_one_context_is_the_same_distribution_until_the_trees_change():
    space = subsets(5)
    reference = TreeReference(space, some_trees(space))
    one, points = torch.zeros(1, 0), space.listing()
    first = reference(one)
    assert reference(one) is first
    assert torch.equal(reference(torch.zeros(3, 0)).log_prob_of(points)[:, 1:2], first.log_prob_of(points))
    finer = reference.double()(one)
    assert finer is not first
    assert finer.log_prob_of(points).dtype == torch.float64
    other = TreeReference(space, some_trees(space, 3))
    before = other(one).log_prob_of(points)
    changed = {name: value.flip(0) for name, value in other.state_dict().items()}
    other.load_state_dict(changed)
    torch.testing.assert_close(other(one).log_prob_of(points), before)  # trees in another order
    changed["log_weights"] = torch.tensor([0.0, -50.0, -50.0])
    other.load_state_dict(changed)
    assert not torch.allclose(other(one).log_prob_of(points), before)


def test_a_tilt_that_was_first_asked_for_without_gradients_has_them_later():
    space = Subsets(("a", "b", "c"))
    q = distribution(space, some_trees(space)).tilt(torch.zeros(2, 3))
    theta = torch.full((2, 3), 0.5, requires_grad=True)
    with torch.no_grad():
        q.tilt(theta).sample(4)
    assert q.tilt(theta) is q.tilt(theta)  # one walk for the base, the draws and their weights
    (gradient,) = torch.autograd.grad(q.log_normalizer(theta).sum(), theta)
    torch.testing.assert_close(gradient, q.tilt(theta).marginals().detach())


@every_space
def test_completed_inputs_give_the_same_distribution_with_one_walk_less(
    space: OutputSpace, monkeypatch: pytest.MonkeyPatch
):
    trees = TiltedTreeReference(space, some_trees(space), slope=0.7, shift=uniform(5, space.num_statistics))
    points = distinct_outputs(space)
    stacked = StackedReference(
        space,
        points,
        uniform(6, len(points)),
        torch.ones(len(points)) / len(points),
        trees=trees,
        tree_share=0.4,
        log_discount=-0.5,
    )
    theta, y = uniform(7, 3, space.num_statistics), space.listing().unsqueeze(1).expand(-1, 3, -1)
    walks = []
    upwards = TreeMixture.upwards
    monkeypatch.setattr(TreeMixture, "upwards", lambda q, tilt: walks.append(1) or upwards(q, tilt))
    for reference in (trees, stacked):
        inputs = uniform(8, 3, reference.input_width)
        found, counted = [], []
        for given in (inputs, reference.complete(inputs)):
            walks.clear()
            q = reference(given)
            first = q.log_prob(y), q.log_normalizer(theta)
            counted.append(len(walks))
            found.append([*first, q.tilt(theta).log_prob(y), q.sample(50, generator=seeded(3))])
        torch.testing.assert_close(*found)
        assert counted == [2, 1]
