"""Rankings of more items than a permanent can be computed for: uniform reference, Plackett–Luce draws, a base that
bounds nothing."""

import math

import numpy as np
import pytest
import torch

from jebm_core import fit, guess_roles, read_examples, read_table
from jebm_core.distributions import LinearDistribution, UniformRankings
from jebm_core.divergences import KL
from jebm_core.errors import SpecError
from jebm_core.evaluation.partition import audit_partition
from jebm_core.interactions import Scores
from jebm_core.losses import estimated_log_partition, score_draws
from jebm_core.model import ConditionalModel, PositionsBase
from jebm_core.proposals import ListingProposal, PlackettLuceProposal
from jebm_core.settings import FitSettings
from jebm_core.spaces import Rankings

LARGE = Rankings([f"item {i}" for i in range(18)])
SMALL = Rankings(("a", "b", "c", "d"))


def small_model(seed: int, spread: float = 1.0) -> ConditionalModel:
    theta = spread * torch.randn(5, 16, generator=torch.Generator().manual_seed(seed))
    return ConditionalModel(KL(), LinearDistribution(SMALL, torch.zeros(5, 16)), Scores(SMALL, theta, None))


def test_uniform_rankings_score_and_draw_what_they_say():
    q = UniformRankings(LARGE, 3, torch.device("cpu"))
    y = q.sample(50, generator=torch.Generator().manual_seed(0))
    assert y.shape == (50, 3, 18)
    assert LARGE.contains(y).all()
    torch.testing.assert_close(q.log_prob(y), torch.full((50, 3), -math.lgamma(19)))
    assert (q.log_prob(torch.zeros(1, 3, 18, dtype=torch.int64)) == -math.inf).all()
    assert q.log_prob_of(y[:2, 0]).shape == (2, 3)
    torch.testing.assert_close(q.marginals().sum(-1), torch.full((3,), 18.0))
    with pytest.raises(SpecError, match="at most 16 items"):
        q.log_normalizer(torch.zeros(3, 324))


def test_plackett_luce_draws_estimate_the_log_partition():
    p = small_model(1)
    exact = estimated_log_partition(score_draws(p, ListingProposal(SMALL).draw(p, 0)))
    draws = PlackettLuceProposal().draw(p, 20_000, generator=torch.Generator().manual_seed(2))
    scored = score_draws(p, draws)
    weight = (draws.log_weight + scored.affinity).exp()
    error = weight.std(0) * math.sqrt(len(weight))  # of the sum over draws
    # Five contexts, two-sided: |z| above 4.06 happens once in 4000 tests with correct code (seed 2).
    assert ((weight.sum(0) - exact.exp()).abs() < 4.06 * error).all()


def test_positions_base_is_zero_without_energy_and_follows_it():
    zero = small_model(1, spread=0.0)
    torch.testing.assert_close(PositionsBase()(zero)[0], torch.zeros(5), atol=1e-5, rtol=0)
    p = small_model(3)
    exact = estimated_log_partition(score_draws(p, ListingProposal(SMALL).draw(p, 0)))
    assert (PositionsBase()(p)[0] - exact).abs().mean() < exact.std()


def test_eighteen_items_train_and_are_audited():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    ranks = (-(x @ rng.normal(size=(2, 18)) + rng.gumbel(size=(120, 18)))).argsort(1).argsort(1) + 1
    header = ",".join(["x_a", "x_b", *(f"r_{i}" for i in range(18))])
    lines = [",".join([*(f"{v:.4f}" for v in a), *map(str, b)]) for a, b in zip(x, ranks, strict=True)]
    table = read_table("large.csv", content="\n".join([header, *lines]).encode())
    result = fit(read_examples(table, guess_roles(table)), FitSettings(epochs=6, samples=16))
    assert result.model.record.summary["proposal"] == "plackett-luce"
    context = result.model.context(table)
    audit = audit_partition(result.model.model, context.rows(slice(0, 20)))
    assert audit.method == "importance"
    draws, effective = result.model.sample(context.rows(slice(0, 2)), 3, generator=torch.Generator().manual_seed(0))
    assert LARGE.contains(draws).all()
    assert (effective > 1).all()
