"""Unseen combinations: Good–Turing against simulation, the ranking and its conditional against listing."""

import json

import numpy as np
import pytest
import torch

from jebm_core.errors import SpecError
from jebm_core.evaluation import outcome_probability, rank_unseen, score_candidates, unseen
from jebm_core.evaluation.explanation import part_contributions
from jebm_core.evaluation.unseen import frequency_log_prob, good_turing, seen_mass
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.seen import Seen
from jebm_core.spaces.neighbours import one_change_away
from tests.test_evaluate import examples_of, fitted, listed

KINDS = ["subsets", "configurations", "rankings"]


def contexts(kind: str, rows: int = 12) -> tuple[FittedModel, Context, torch.Tensor, torch.Tensor]:
    """(model, some contexts, every combination, mean over the contexts of its exact probability)."""
    model = fitted(kind)
    examples = examples_of(kind, rows, 4, like=model)
    points, log_p, _ = listed(model, examples)
    return model, model.context(examples.table), points, log_p.exp().mean(1)


def seen_flags(model: FittedModel, points: torch.Tensor) -> torch.Tensor:
    known = {tuple(c) for c in model.seen.points.tolist()}
    return torch.tensor([tuple(c) in known for c in points.tolist()])


def without_some(model: FittedModel) -> FittedModel:
    """The same model, told that it never saw combinations whose first two entries are alike (rankings: in order)."""
    first, second = model.seen.points[:, 0], model.seen.points[:, 1]
    keep = first > second if model.record.schema.kind == "rankings" else first != second
    seen = Seen(model.space, model.seen.points[keep], model.seen.counts[keep])
    return FittedModel(model.model, model.record, seen=seen, independent=None)


def test_good_turing_by_hand() -> None:
    found = good_turing(torch.tensor([5, 2, 1, 1, 1]))
    assert found.value == 0.3
    reach = 1.959963984540054 * np.sqrt(3 * 0.7 + 2) / 10
    assert found.high == pytest.approx(max(0.3 + reach, 0.6032), abs=1e-3)
    assert good_turing(torch.tensor([1, 1, 1])).low < 0.5  # three rows say little
    assert good_turing(torch.tensor([100])).high > 0


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_good_turing_covers_the_missing_mass(exponent: float) -> None:
    # 400 samples of 80 rows: a true coverage of 0.95 gives below 0.90 with probability 2e-5.
    rng = np.random.default_rng(1)
    share = (1 + np.arange(60.0)) ** -exponent
    share /= share.sum()
    covered = []
    for _ in range(400):
        counts = rng.multinomial(80, share)
        found = good_turing(torch.from_numpy(counts[counts > 0]))
        covered.append(found.low <= share[counts == 0].sum() <= found.high)
    assert np.mean(covered) > 0.90


@pytest.mark.parametrize("kind", KINDS)
def test_frequency_baseline_is_a_distribution(kind: str) -> None:
    model = fitted(kind)
    points = model.space.listing()
    log_p = frequency_log_prob(model, points)
    assert float(log_p.exp().sum()) == pytest.approx(1.0)
    assert bool((log_p[seen_flags(model, points)].min() > log_p[~seen_flags(model, points)]).all())


@pytest.mark.parametrize("kind", KINDS)
def test_seen_mass_is_the_sum_over_seen(kind: str) -> None:
    model, context, points, mean = contexts(kind)
    p = model.model(context)
    log_mass = p.log_prob_of(points).logsumexp(0)
    assert float(seen_mass(model, p, log_mass).mean()) == pytest.approx(
        float(mean[seen_flags(model, points)].sum()), abs=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ranking_is_that_of_listing(kind: str) -> None:
    model, context, points, mean = contexts(kind)
    model = without_some(model)
    flags = seen_flags(model, points)
    table = rank_unseen(model, context, 5)
    best = mean[~flags].sort(descending=True).values[:5]
    assert [e.probability for e in table.entries] == pytest.approx(best.tolist(), abs=1e-6)
    assert table.listed
    assert [e.rank for e in table.entries] == list(range(1, len(table.entries) + 1))
    for entry in table.entries:
        assert not entry.seen
        assert entry.distance >= 1
        assert entry.changes
        before = torch.tensor(entry.y)
        for change in entry.changes:
            i = model.space.items.index(change.item)
            option = {"p": 0, "q": 1, "r": 2}.get(change.before) if kind == "configurations" else int(change.before)
            before[i] = option if kind != "rankings" else option - 1
        assert entry.driver == part_contributions(model, context, torch.tensor(entry.y), before).driver
        y = model.space.encode(entry.labels)
        assert tuple(y.tolist()) == entry.y
        assert model.seen.nearest(y.unsqueeze(0))[0].item() == entry.distance
        assert entry.odds_random == pytest.approx(entry.probability * len(points), rel=1e-4)
        assert entry.low is not None
        assert entry.high is not None
        assert entry.low < entry.probability < entry.high  # several contexts
    json.dumps(table.to_json(), allow_nan=False)


def test_one_context_is_a_condition() -> None:
    model, context, points, _ = contexts("subsets")
    first = rank_unseen(model, context.rows(slice(0, 1)), 3)
    p = model.model(context.rows(slice(0, 1))).log_prob_of(points).softmax(0).squeeze(1)
    best = p[~seen_flags(model, points)].sort(descending=True).values[:3]
    assert [e.probability for e in first.entries] == pytest.approx(best.tolist(), abs=1e-6)
    assert first.contexts == 1
    assert first.entries[0].low == first.entries[0].high == first.entries[0].probability


def test_large_spaces_are_ranked_by_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    model, context, _, _ = contexts("subsets")
    exact = rank_unseen(model, context, 3)
    monkeypatch.setattr(unseen, "MAX_RANKED_LISTING", 0)
    found = rank_unseen(model, context, 3, generator=torch.Generator().manual_seed(0))
    assert not found.listed
    assert [e.y for e in found.entries] == [e.y for e in exact.entries]
    assert found.entries[0].probability == pytest.approx(exact.entries[0].probability, rel=0.1)  # by the learned τ


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_are_one_change_away(kind: str) -> None:
    space = fitted(kind).space
    y = space.listing()[:1]
    found, origin = one_change_away(space, y)
    assert origin.tolist() == [0] * len(found)
    count = {"subsets": 6, "configurations": 2 + 2 + 1, "rankings": 3}[kind]
    assert len(torch.unique(found, dim=0)) == count
    assert bool(space.contains(found).all())
    assert not bool((found == y).all(-1).any())


def test_outcome_is_the_conditional_of_listing() -> None:
    model, context, points, _ = contexts("configurations")
    model = without_some(model)
    p = model.model(context).log_prob_of(points).softmax(0).double()
    table = rank_unseen(model, context, 9, outcome=("result", "q"))
    assert table.entries
    expected = []
    for a in range(3):
        for b in range(3):
            inside = (points[:, 0] == a) & (points[:, 1] == b)
            joint = p[inside & (points[:, 2] == 1)].sum(0)
            other = p[inside].sum(0)
            if a == b and other.mean() * 9 >= 1:
                expected.append((float((joint / other).mean()), float(other.mean())))
    expected.sort(reverse=True)
    assert [e.probability for e in table.entries] == pytest.approx([c for c, _ in expected], abs=1e-5)
    assert [e.plausibility for e in table.entries] == pytest.approx([m for _, m in expected], abs=1e-5)
    for entry in table.entries:
        assert entry.low is entry.high is None
        assert entry.driver is not None
        assert entry.driver.kind == "reference" or "result" in entry.driver.items
        assert len(entry.labels) == 2
        assert entry.distance == 1
        assert entry.odds_random is not None
        assert entry.odds_random >= 1
    assert "cancels" in str(table.note)


def test_outcome_probability_of_rows() -> None:
    model, context, points, _ = contexts("configurations", 18)
    found = outcome_probability(model, context, points[:18], ("result", "q"))
    other = outcome_probability(model, context, points[:18], ("result", "p"))
    torch.testing.assert_close(found + other, torch.ones(18))
    p = model.model(context).log_prob_of(points).softmax(0)
    pair = (points[:, None, :2] == points[None, :18, :2]).all(-1)
    own = (p * (pair & (points[:, 2:] == 1))).sum(0) / (p * pair).sum(0)
    torch.testing.assert_close(found, own, atol=1e-5, rtol=1e-4)


def test_own_list_keeps_its_order_and_marks_the_seen() -> None:
    model, context, points, mean = contexts("subsets")
    chosen = torch.cat([model.seen.points[:1], points[~seen_flags(model, points)][:2]])
    table = score_candidates(model, context, chosen)
    assert [e.seen for e in table.entries] == [True, False, False]
    assert [e.y for e in table.entries] == [tuple(y) for y in chosen.tolist()]
    place = (points == chosen[0]).all(-1).long().argmax()
    assert table.entries[0].probability == pytest.approx(float(mean[place]), abs=1e-6)


def test_nothing_left_to_rank_is_an_empty_table() -> None:
    model, context, _, _ = contexts("subsets")
    assert rank_unseen(model, context, 5, candidates=model.seen.points).entries == ()


def test_refusals() -> None:
    model, context, points, _ = contexts("configurations")
    with pytest.raises(SpecError, match="n=0"):
        rank_unseen(model, context, 0)
    with pytest.raises(SpecError, match="result=perhaps"):
        rank_unseen(model, context, outcome=("result", "perhaps"))
    with pytest.raises(SpecError, match="line 2"):
        score_candidates(model, context, torch.stack([points[0], points[0] + 9]))
    with pytest.raises(SpecError, match="ranking"):
        rank_unseen(*contexts("rankings")[:2], outcome=("a", "1"))
    with pytest.raises(SpecError, match="context"):
        rank_unseen(model, context.rows(slice(0, 0)))
