"""The best unseen combinations of large spaces: the search and its certificate against listing."""

import itertools

import numpy as np
import pytest
import torch

from jebm_core.evaluation import likeliest, rank_unseen, unseen
from jebm_core.evaluation.likeliest import neighbours
from jebm_core.evaluation.ordered import best_assignments, best_choices
from jebm_core.fitted import FittedModel
from jebm_core.references import StackedReference
from jebm_core.seen import Seen
from tests.test_explanation import EXCLUDES, contexts, exact, random_model

NAMES = [("subsets", "none"), ("subsets", "pairs"), ("subsets", "lowrank"), ("configurations", "none"),
         ("configurations", "pairs"), ("rankings", "none")]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_choices_come_in_the_order_of_their_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = [rng.normal(size=size).round(seed).tolist() for size in (3, 2, 1, 4, 2)]  # ties too
    found = list(best_choices(scores))
    assert sorted(tuple(y) for _, y in found) == sorted(itertools.product(*(range(len(s)) for s in scores)))
    assert [value for value, _ in found] == sorted((value for value, _ in found), reverse=True) or np.allclose(
        [value for value, _ in found], sorted((value for value, _ in found), reverse=True)
    )
    for value, y in found:
        assert value == pytest.approx(sum(item[o] for item, o in zip(scores, y, strict=True)))


@pytest.mark.parametrize("seed", range(3))
def test_assignments_come_in_the_order_of_their_sums(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(5, 5)).round(seed)
    found = list(best_assignments(scores))
    assert sorted(tuple(y) for _, y in found) == sorted(itertools.permutations(range(5)))
    values = [value for value, _ in found]
    assert np.allclose(values, sorted(values, reverse=True))
    assert np.allclose(values, [scores[range(5), y].sum() for _, y in found])


def stacked(model: FittedModel) -> FittedModel:
    """With a table of combinations in q, one of which is unseen and likely."""
    points = torch.cat([model.seen.points[:5], model.space.listing()[[37 % model.space.cardinality()]]])
    q = StackedReference(model.space, points, torch.zeros(6), torch.full((6,), 1 / 6), share=0.4, log_discount=-0.7)
    model.model.reference = q.requires_grad_(False)
    eta = torch.linspace(-1, 1, model.space.num_statistics)
    inner = q.forward
    q.forward = lambda inputs: inner(eta.expand(len(inputs), -1))  # pyright: ignore[reportAttributeAccessIssue]
    return model


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize(
    ("kind", "name", "rules", "table"),
    [
        *((kind, name, "", False) for kind, name in NAMES),
        ("subsets", "pairs", "", True),
        ("subsets", "none", "", True),
        ("rankings", "none", "", True),
        ("subsets", "none", "a requires b\nsize at least 2", False),
        ("subsets", "pairs", "a requires b\nsize at least 2", False),
        ("configurations", "none", EXCLUDES, False),
        ("rankings", "none", "a above b", False),
    ],
)
def test_a_certified_list_is_that_of_listing(
    kind: str, name: str, rules: str, table: bool, search: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(kind, name, rules=rules)
    model = stacked(model) if table else model
    monkeypatch.setattr(likeliest, "_BLOCK", 4)
    if not search:  # the bound alone
        monkeypatch.setattr(likeliest, "neighbours", lambda space, y, place: y[:0])
    points, log_p = exact(model, contexts(1))
    found = likeliest.likeliest(
        model,
        model.model(contexts(1)),
        points[:1],
        6,
        wanted=lambda y: ~model.seen.contains(y),
    )
    assert found.exact
    unseen_ones = ~model.seen.contains(points)
    best = log_p[unseen_ones, 0].argsort(descending=True)[:6]
    assert found.points.tolist() == points[unseen_ones][best].tolist()
    if name == "none" and not table and not rules and not search:
        assert found.looked < len(points)


@pytest.mark.parametrize("name", ["none", "pairs", "set"])
def test_a_search_over_contexts_finds_the_best_but_certifies_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("subsets", name)
    model.model.correction.value.fill_(float(model.model.unnormalised(contexts(1)).log_partition.mean()))
    monkeypatch.setattr(unseen, "MAX_RANKED_LISTING", 0)
    found = rank_unseen(model, contexts(3), 6, generator=torch.Generator().manual_seed(0))
    assert not found.exact
    points, p = model.space.listing(), model.model(contexts(3))
    mean = p.log_prob_of(points).double().exp().mean(1)
    best = mean[~model.seen.contains(points)].sort(descending=True).values[:6]
    assert [entry.probability for entry in found.entries] == pytest.approx(best.tolist(), rel=1e-4)


def test_an_outcome_is_searched_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model, context = random_model("configurations", "pairs"), contexts(1)
    model = FittedModel(
        model.model,
        model.record,
        seen=Seen(model.space, model.seen.points[:2], model.seen.counts[:2]),
        independent=None,
    )
    for parameter in [*model.model.affinity.parameters(), model.model.reference.eta]:
        parameter.mul_(0.05)
    listed = rank_unseen(model, context, 5, outcome=("result", "q"))
    log_mass = model.model(context).log_prob_of(model.space.listing()).logsumexp(0)
    model.model.correction.value.add_(float(log_mass))  # plausible is what is so with the learned log-partition
    monkeypatch.setattr(unseen, "MAX_RANKED_LISTING", 0)
    found = rank_unseen(model, context, 5, outcome=("result", "q"), generator=torch.Generator().manual_seed(0))
    assert listed.exact
    assert not found.exact
    assert [entry.y for entry in found.entries] == [entry.y for entry in listed.entries]
    assert len(found.entries) >= 2


def test_a_bound_that_decides_nothing_is_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("subsets", "pairs")
    monkeypatch.setattr(unseen, "MAX_RANKED_LISTING", 0)
    monkeypatch.setattr(likeliest, "MAX_ENUMERATED", 8)
    monkeypatch.setattr(likeliest, "_BLOCK", 8)
    assert not rank_unseen(model, contexts(1), 20, generator=torch.Generator().manual_seed(0)).exact


def test_neighbours_flip_or_swap() -> None:
    space = random_model("subsets", "none").space
    y = torch.tensor([[1, 1, 0, 0, 0, 0]])
    found = neighbours(space, y, None)
    assert len(found) == 6 + 2 * 4
    assert {int(row.sum()) for row in found} == {1, 2, 3}
    rankings = random_model("rankings", "none").space
    swapped = neighbours(rankings, torch.arange(4).unsqueeze(0), None)
    assert len(swapped) == 6
    assert bool(rankings.contains(swapped).all())
