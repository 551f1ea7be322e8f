"""Annealed importance sampling against listing, and its Gibbs sweep against the distribution it must keep."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from jebm_core import gibbs
from jebm_core.annealed import AnnealedProposal
from jebm_core.divergences import KL
from jebm_core.draws import draw_weighted, enough_draws
from jebm_core.evaluation import annealing
from jebm_core.evaluation.annealing import anneal
from jebm_core.evaluation.partition import listed_log_partition
from jebm_core.evaluation.psis import estimate_from_weights
from jebm_core.interactions import (
    FullQuadratic,
    Interaction,
    LowRankQuadratic,
    PreferenceInteraction,
    Scores,
    SetInteraction,
    item_of_statistic,
)
from jebm_core.losses import estimated_log_partition, score_draws
from jebm_core.model import ConditionalModel
from jebm_core.proposals import MeanFieldProposal
from jebm_core.references import CandidateReference, LinearDistribution, StackedReference
from jebm_core.spaces import Configurations, OutputSpace, Rankings, Subsets

SUBSETS = Subsets(tuple("abcdefghij"))
SLOTS = Configurations(("r", "s", "t", "u"), (("a",), ("b", "c"), ("d", "e", "f"), ("g", "h", "i", "j", "k")))
RANKINGS = Rankings(tuple("abcde"))
ROWS = 40


def full(space: OutputSpace, rows: int, g: torch.Generator) -> FullQuadratic:
    item = item_of_statistic(space)
    m = torch.randn(rows, space.num_statistics, space.num_statistics, generator=g) * 0.6
    return FullQuadratic((m + m.mT) / 2 * (item.unsqueeze(-1) != item))


def low_rank(space: OutputSpace, rows: int, g: torch.Generator) -> LowRankQuadratic:
    factors = torch.randn(3, space.num_statistics, generator=g) / 2
    return LowRankQuadratic(space, torch.randn(rows, 3, generator=g), factors)


def network(space: OutputSpace, rows: int, g: torch.Generator) -> SetInteraction:
    weight = torch.randn(8, 1, generator=g)

    class Readout(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return z @ weight / 3

    embedding = torch.randn(space.num_statistics, 8, generator=g)
    return SetInteraction(embedding, torch.randn(rows, 8, generator=g), Readout())


def preferences(space: OutputSpace, rows: int, g: torch.Generator) -> PreferenceInteraction:
    first, second = torch.triu_indices(space.num_items, space.num_items, offset=1)
    return PreferenceInteraction(torch.randn(rows, len(first), generator=g) / 2, first, second)


def model(
    space: OutputSpace, make: Callable[..., Interaction] | None, *, seed: int, constant: bool = False
) -> ConditionalModel:
    g = torch.Generator().manual_seed(seed)
    reference = LinearDistribution(space, torch.randn(ROWS, space.num_statistics, generator=g) / 2)
    theta = torch.randn(ROWS, space.num_statistics, generator=g) / 2
    h = None if make is None else make(space, 1 if constant else ROWS, g)
    return ConditionalModel(KL(), reference, Scores(space, theta, h))


CASES = [
    pytest.param(SUBSETS, full, False, id="subsets-full"),
    pytest.param(SUBSETS, full, True, id="subsets-full-constant"),
    pytest.param(SUBSETS, low_rank, False, id="subsets-low-rank"),
    pytest.param(SUBSETS, network, False, id="subsets-network"),
    pytest.param(SLOTS, full, False, id="configurations-full"),
    pytest.param(SLOTS, low_rank, True, id="configurations-low-rank"),
    pytest.param(SLOTS, network, False, id="configurations-network"),
    pytest.param(RANKINGS, preferences, False, id="rankings-preferences"),
    pytest.param(RANKINGS, preferences, True, id="rankings-preferences-constant"),
]


@pytest.mark.parametrize(("space", "make", "constant"), CASES)
def test_intervals_cover_the_listed_value_at_their_rate(space, make, constant):
    # 40 independent rows at 95 %: 32 or fewer covered has probability 8e-4 (2e-3 at 94 %), 2 % at most over the nine
    # cases; the pooled z has a false-alarm rate of about 1e-4 a case. Seeds 5 and 6.
    p = model(space, make, seed=5, constant=constant)
    exact = listed_log_partition(p)
    log_weight = anneal(p, num_chains=48, temperatures=12, generator=torch.Generator().manual_seed(6))
    estimate = estimate_from_weights(log_weight)
    assert ((estimate.low <= exact) & (exact <= estimate.high)).sum() >= 33
    ratio = torch.exp(log_weight - exact)  # mean 1 exactly
    z = (ratio.mean(0) - 1) / (ratio.std(0) / math.sqrt(48) + 1e-5)
    assert abs(z.mean().item()) * math.sqrt(ROWS) < 4


@pytest.mark.parametrize("make", [full, network], ids=["gibbs", "metropolis"])
def test_more_temperatures_leave_less_noise(make):
    p = model(SUBSETS, make, seed=9)
    spread = [
        anneal(p, num_chains=32, temperatures=t, generator=torch.Generator().manual_seed(1)).std(0).mean()
        for t in (2, 40)
    ]
    assert spread[1] < 0.6 * spread[0]


def test_no_interaction_leaves_no_noise():
    p = model(SUBSETS, None, seed=2)
    log_weight = anneal(p, num_chains=4, temperatures=3)
    torch.testing.assert_close(
        log_weight, p.reference.log_normalizer(p.scores.theta).double().expand(4, -1), atol=1e-4, rtol=0
    )


def test_gibbs_and_metropolis_agree_on_the_same_model(monkeypatch):
    p = model(SUBSETS, low_rank, seed=3)
    seed = torch.Generator().manual_seed(3)
    sweeps = estimate_from_weights(anneal(p, num_chains=64, temperatures=20, generator=seed))
    monkeypatch.setattr(annealing, "couplings_of", lambda p: None)
    metropolis = estimate_from_weights(anneal(p, num_chains=64, temperatures=20, generator=seed))
    half = ((sweeps.high - sweeps.low).square() + (metropolis.high - metropolis.low).square()).sqrt() / 2
    # 95 % intervals of a difference, 40 rows: 32 or fewer inside has probability below 1e-3.
    assert ((sweeps.value - metropolis.value).abs() <= half).sum() >= 33


@pytest.mark.parametrize("space", [SUBSETS, SLOTS], ids=["subsets", "configurations"])
def test_a_sweep_keeps_the_distribution(space, monkeypatch):
    # Chains that start exactly at p stay there: E_p[φ] before and after, 3000 chains, 4.5 standard errors a statistic;
    # false alarms below 1e-3 in all. Small blocks make every kind of update happen.
    monkeypatch.setattr(gibbs, "BLOCK", 6)
    g = torch.Generator().manual_seed(4)
    p = model(space, full, seed=8)
    points = space.listing()
    log_p = (p.reference.log_prob_of(points) + p.affinity_of(points)).log_softmax(0)
    index = torch.multinomial(log_p.exp().T, 3000, replacement=True, generator=g)
    phi = space.statistics(points)[index].permute(0, 2, 1).contiguous()
    h = p.scores.interaction
    assert isinstance(h, FullQuadratic)
    assert isinstance(p.reference, LinearDistribution)
    before = phi.clone()
    gibbs.sweep(space, phi, h.matrix @ phi, h.matrix, p.reference.eta + p.scores.theta, gibbs.blocks_of(space), g)
    mean = log_p.exp().T @ space.statistics(points)
    error = (phi.mean(-1) - mean).abs() / ((mean * (1 - mean)).clamp(min=1e-9) / 3000).sqrt().clamp(min=1e-4)
    assert error.max() < 4.5
    assert (phi != before).double().mean() > 0.02
    pairs = torch.einsum("sri,srj->rij", *(phi.permute(2, 0, 1),) * 2) / 3000
    second = torch.einsum("pr,pi,pj->rij", log_p.exp(), *(space.statistics(points),) * 2)
    assert (pairs - second).abs().max() < 5 * 0.5 / math.sqrt(3000)


def test_a_reference_with_candidates_is_annealed():
    g = torch.Generator().manual_seed(2)
    rows = torch.randint(2, (30, 10), generator=g)
    q = CandidateReference.fit(SUBSETS, rows, smoothing=0.3)(torch.zeros(ROWS, 0))
    p = ConditionalModel(KL(), q, Scores(SUBSETS, torch.randn(ROWS, 10, generator=g) / 3, full(SUBSETS, ROWS, g)))
    exact = listed_log_partition(p)
    estimate = estimate_from_weights(anneal(p, num_chains=64, temperatures=20, generator=g))
    # As above: the candidates are summed, chains move in what is left.
    assert ((estimate.low <= exact) & (exact <= estimate.high)).sum() >= 33


def test_progress_is_told_and_may_stop():
    p = model(SUBSETS, full, seed=1)
    told: list[float] = []
    anneal(p, num_chains=2, temperatures=4, on_temperature=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        anneal(p, num_chains=2, temperatures=4, on_temperature=stop)


def test_the_same_seed_gives_the_same_chains():
    p = model(SUBSETS, full, seed=1)
    runs = [anneal(p, num_chains=4, temperatures=5, generator=torch.Generator().manual_seed(7)) for _ in range(2)]
    assert torch.equal(*runs)


@pytest.mark.parametrize("make", [full, low_rank, network])
def test_works_on_the_meta_device(make):
    h = make(SUBSETS, ROWS, torch.Generator().manual_seed(0))
    theta = torch.zeros(ROWS, 10, device="meta")
    for name, value in list(vars(h).items()):
        if isinstance(value, Tensor):
            setattr(h, name, value.to("meta"))
    if isinstance(h, SetInteraction):
        h.readout = torch.nn.Linear(8, 1, device="meta")
    p = ConditionalModel(KL(), LinearDistribution(SUBSETS, theta), Scores(SUBSETS, theta, h))
    assert anneal(p, num_chains=3, temperatures=3).device.type == "meta"


@pytest.mark.parametrize("space", [SUBSETS, SLOTS], ids=["subsets", "configurations"])
@pytest.mark.parametrize("table", [False, True], ids=["family", "with a table"])
def test_annealed_draws_stand_for_the_model(space, table):
    """Marginals of weighted chains against the listing: 40 rows, 2,000 chains, seed 6; 5 standard errors of the least
    effective row."""
    g = torch.Generator().manual_seed(6)
    plain = model(space, full, seed=4)
    eta = plain.reference.eta
    if table:
        points = space.listing()[torch.randperm(space.cardinality(), generator=g)[:5]]
        reference = StackedReference(space, points, torch.zeros(5), torch.full((5,), 0.2), share=0.3, surprise=0.1)
        p = ConditionalModel(KL(), reference(eta), plain.scores)
    else:
        p = plain
    assert AnnealedProposal.applies(p)
    draws = draw_weighted(p, AnnealedProposal(8), 2000, g)
    found = torch.einsum("db,dbs->bs", draws.log_weight.exp(), space.statistics(draws.y))
    every = space.listing()
    expected = (p.reference.log_prob_of(every) + p.affinity_of(every)).softmax(0).T @ space.statistics(every)
    assert (found - expected).abs().max() < 5 * 0.5 / draws.effective.min().sqrt()
    log_z = estimated_log_partition(score_draws(p, AnnealedProposal(8).draw(p, 2000, generator=g)))
    torch.testing.assert_close(log_z, listed_log_partition(p).float(), atol=0.25, rtol=0)


def test_annealed_draws_are_taken_where_a_tilt_is_far_from_the_model():
    near, far = model(SUBSETS, None, seed=5), model(SUBSETS, full, seed=5)
    strong = FullQuadratic(4 * far.scores.interaction.matrix)
    far = ConditionalModel(KL(), far.reference, Scores(SUBSETS, far.scores.theta, strong))
    proposal, draws = enough_draws(near, MeanFieldProposal(), 512)
    assert (proposal.name, draws) == ("meanfield", 512)
    proposal, draws = enough_draws(far, MeanFieldProposal(), 512)
    assert (proposal.name, draws) == ("annealed", 512)
    network_model = model(SUBSETS, network, seed=5)
    assert not AnnealedProposal.applies(network_model)
    assert not AnnealedProposal.applies(model(RANKINGS, preferences, seed=5))
