"""Every proposal: its density, its weights, and the gradients made from its draws, against the listing."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from jebm_core.distributions import LinearDistribution
from jebm_core.divergences import KL, FDivergence
from jebm_core.interactions import FullQuadratic, Scores, item_of_statistic
from jebm_core.losses import estimated_log_partition, joint_objective, score_draws
from jebm_core.model import ConditionalModel
from jebm_core.proposals import AnchoredProposal, Draws, ListingProposal, MeanFieldProposal, Proposal
from jebm_core.references import UniformReference
from jebm_core.spaces import OutputSpace
from tests import oracle
from tests.contract.cases import (
    DIVERGENCES,
    INTERACTION_HEADS,
    PRODUCTS,
    PROPOSALS,
    RULED_PAIRS,
    conditional_model,
    distinct_outputs,
    final_classes,
    randomised,
    rankings,
    subsets,
)
from tests.oracle import FALSE_ALARM, seeded, uniform, z_limit, z_scores

every_proposal = pytest.mark.parametrize("name", PROPOSALS)
every_product = pytest.mark.parametrize("space", PRODUCTS.values(), ids=PRODUCTS)
PAIRED = PRODUCTS | RULED_PAIRS
every_paired = pytest.mark.parametrize("space", PAIRED.values(), ids=PAIRED)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with oracle.double_precision():
        yield


def copies(space: OutputSpace, count: int, divergence: FDivergence | None = None) -> tuple[ConditionalModel, Tensor]:
    """One random context ``count`` times, each with leaves of its own: gradients come apart by context."""
    pairs = randomised(INTERACTION_HEADS["pairwise-constant"].build(space), 5)(torch.zeros(1, 3)).matrix
    theta = uniform(6, 1, space.num_statistics).expand(count, -1).clone().requires_grad_()
    matrix = pairs.detach().expand(count, -1, -1).clone().requires_grad_()
    q = LinearDistribution(space, uniform(7, 1, space.num_statistics).expand(count, -1).contiguous())
    p = ConditionalModel(divergence or KL(), q, Scores(space, theta, FullQuadratic(matrix)))
    g = oracle.listed(p).g.detach()
    end = p.divergence.upper
    tau = (g.amax(0) - end + 0.3 if math.isfinite(end) else oracle.listed(p).log_partition.detach() - 0.4).clone()
    p.log_partition = tau.requires_grad_()
    return p, tau


def test_every_proposal_has_a_case():
    space = subsets(3)
    elsewhere = {"PlackettLuceProposal", "AnnealedProposal"}  # tests/test_large_rankings.py, tests/test_annealing.py
    assert final_classes(Proposal) - elsewhere == {type(build(space)).__name__ for build in PROPOSALS.values()}
    assert {name: build(space).name for name, build in PROPOSALS.items()} == {name: name for name in PROPOSALS}


@every_paired
@every_proposal
def test_draws_are_combinations_with_detached_weights(name: str, space: OutputSpace):
    p = conditional_model(space, "pairwise")
    p.scores.theta.requires_grad_()
    draws = PROPOSALS[name](space).draw(p, 12, generator=seeded(1))
    assert draws.y.shape[1:] == (3, space.num_items)
    assert draws.num_random == (0 if name == "listing" else 12)
    assert space.contains(draws.y).all()
    assert space.contains(draws.points).all()
    assert draws.log_weight.shape == draws.y.shape[:2]
    assert draws.points_log_weight.shape == (len(draws.points), 3)
    assert not draws.log_weight.requires_grad
    assert not draws.points_log_weight.requires_grad
    again = PROPOSALS[name](space).draw(p, 12, generator=seeded(1))
    assert torch.equal(draws.y, again.y)
    assert torch.equal(draws.log_weight, again.log_weight)


@every_paired
@pytest.mark.parametrize("name", ["reference", "tilt", "meanfield"])
def test_weights_state_the_density_that_draws_have(name: str, space: OutputSpace):
    """r = q e^{−a} / S sums to one over the combinations, and draws fit it."""
    count = 30_000  # seed 2; false-alarm rate 1e-4
    p = conditional_model(space, "pairwise", batch=1, spread=0.7)
    draws = PROPOSALS[name](space).draw(p, count, generator=seeded(2))
    index = oracle.index_of(space, draws.y)[:, 0]
    log_r = torch.full((space.cardinality(),), -math.inf)
    log_r[index] = (p.reference.log_prob(draws.y) - draws.log_weight)[:, 0] - math.log(count)
    assert len(torch.unique(index)) == space.cardinality(), "a combination was never drawn: use more draws"
    torch.testing.assert_close(log_r.exp().sum().item(), 1.0)
    assert oracle.fit_p_value(index, log_r.exp()) > FALSE_ALARM


def anchored_density(proposal: AnchoredProposal, p: ConditionalModel, from_tilt: float) -> Tensor:
    """r of one context over the listing: tilt and kernel written out, one anchor and one item at a time."""
    space, points = p.space, p.space.listing()
    log_q, g = oracle.listed(p).log_q[:, 0], oracle.listed(p).g[:, 0]
    place = oracle.index_of(space, proposal.anchors)
    seed_weight = (0.5 * (log_q + g)[place]).softmax(0)
    around = torch.zeros(len(points))
    for weight, anchor in zip(seed_weight, proposal.anchors, strict=True):
        kernel = torch.ones(len(points))
        if not space.factorises:
            others = max(1.0, space.num_statistics / space.num_items - 1)
            kernel = ((1 - proposal.flip) / proposal.flip * others) ** (points == anchor).sum(-1)
            around = around + weight * kernel / kernel.sum()
            continue
        for item, size in enumerate(space.options_per_item()):
            move = proposal.flip / (size - 1) if size > 1 else 0.0
            kernel = kernel * torch.where(points[:, item] == anchor[item], 1 - (size - 1) * move, move)
        around = around + weight * kernel
    tilt = oracle.linear_probabilities(space, p.mean_field.theta[0] + p.reference.eta[0])  # pyright: ignore
    return from_tilt * tilt + (1 - from_tilt) * around


@every_paired
@pytest.mark.parametrize("flips", [0.4, 1.5])
def test_anchored_density_is_exact_and_counts_no_anchor_twice(space: OutputSpace, flips: float):
    proposal = AnchoredProposal(space, distinct_outputs(space), flips=flips)
    count = 40_000  # seed 3; false-alarm rate 1e-4
    p = conditional_model(space, "pairwise", batch=1)
    density = anchored_density(proposal, p, 0.25)
    torch.testing.assert_close(density.sum().item(), 1.0)
    draws = proposal.draw(p, count, generator=seeded(3))
    index = oracle.index_of(space, draws.y)[:, 0]
    assert oracle.fit_p_value(index, density) > FALSE_ALARM
    on_anchor = (space.listing().unsqueeze(1) == proposal.anchors).all(-1).any(-1)
    weight = (oracle.listed(p).log_q[:, 0] - density.log()) - math.log(count)
    expected = torch.where(on_anchor, -math.inf, weight)
    torch.testing.assert_close(draws.log_weight[:, 0], expected[index])
    torch.testing.assert_close(draws.points_log_weight, p.reference.log_prob_of(proposal.anchors))


def estimate(draws: Draws, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ_m e^{a_m} F(y_m) of each context: [context, value]."""
    own = (draws.log_weight.exp().unsqueeze(-1) * value(draws.y)).sum(0)
    return own + draws.points_log_weight.exp().T @ value(draws.points)


@every_paired
@every_proposal
def test_weights_integrate_without_bias(name: str, space: OutputSpace):
    """Mass, marginals and pairs of statistics under q; seed 4, false-alarm rate 1e-4 over all of them."""

    def value(y: Tensor) -> Tensor:
        phi = space.statistics(y)
        pairs = (phi.unsqueeze(-1) * phi.unsqueeze(-2)).flatten(-2)
        return torch.cat([torch.ones_like(phi[..., :1]), pairs], -1)

    count = 4000
    p, _ = copies(space, count)
    found = estimate(PROPOSALS[name](space).draw(p, 8, generator=seeded(4)), value)
    truth = oracle.listed(p).log_q[:, 0].exp() @ value(space.listing())
    z = z_scores(found, truth)
    assert z.abs().max() < z_limit(z.numel())


@pytest.mark.parametrize("name", ["reference", "tilt", "listing"])
def test_weights_integrate_without_bias_over_rankings(name: str):
    space = rankings(4)
    q = UniformReference(space)
    p = conditional_model(space, "preference", batch=1, reference=q)
    scores = Scores(space, p.scores.theta.expand(3000, -1), p.scores.interaction)
    p = ConditionalModel(KL(), q(torch.zeros(3000, 0)), scores)
    found = estimate(PROPOSALS[name](space).draw(p, 8, generator=seeded(5)), space.statistics)  # seed 5; 1e-4
    z = z_scores(found, torch.full((16,), 0.25))
    assert z.abs().max() < z_limit(16)


def gradients(p: ConditionalModel, tau: Tensor, loss: Tensor) -> Tensor:
    h = p.scores.interaction
    assert isinstance(h, FullQuadratic)
    of_theta, of_matrix, of_tau = torch.autograd.grad(loss.sum(), (p.scores.theta, h.matrix, tau))
    # A pair's weight stands in both halves of the matrix; how a score reads them is its own business.
    a, b = torch.triu_indices(p.space.num_statistics, p.space.num_statistics, offset=1)
    item = item_of_statistic(p.space)
    a, b = a[item[a] != item[b]], b[item[a] != item[b]]
    return torch.cat([of_theta, of_matrix[:, a, b] + of_matrix[:, b, a], of_tau.unsqueeze(1)], 1)


@pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)
@every_proposal
@pytest.mark.parametrize("kind", ["configurations", "ruled configurations"])
def test_objective_and_gradient_have_the_listed_ones_as_mean(name: str, divergence: FDivergence, kind: str):
    """z-tests of the objective and of every derivative; seed 6, false-alarm rate 1e-4 over all of them."""
    space, count = PAIRED[kind], 2000
    p, tau = copies(space, count, divergence)
    y = space.listing()[5].expand(count, -1)
    whole = oracle.listed(p)
    exact = oracle.joint_objective(divergence, whole, tau, whole.g[5])
    expected = gradients(p, tau, exact)[0]
    draws = PROPOSALS[name](space).draw(p, 16, generator=seeded(6))
    loss = joint_objective(p, y, score_draws(p, draws))
    found = gradients(p, tau, loss)
    z = torch.cat([z_scores(found, expected), z_scores(loss.detach().unsqueeze(1), exact[:1].detach())])
    assert z.abs().max() < z_limit(z.numel())
    if name == "listing":
        torch.testing.assert_close(loss, exact)
        torch.testing.assert_close(found[0], expected)


def test_control_variate_has_no_value_and_less_noise():
    """Without it the gradient is the same in the mean (above) and noisier where the tilt is close to the model."""
    space, count = subsets(4), 3000
    p, tau = copies(space, count)
    draws = MeanFieldProposal().draw(p, 8, generator=seeded(7))
    assert draws.mean_affinity is not None
    bare = Draws(draws.y, draws.log_weight, draws.points, draws.points_log_weight)
    y = space.listing()[3].expand(count, -1)
    with_it, without = (joint_objective(p, y, score_draws(p, d)) for d in (draws, bare))
    torch.testing.assert_close(with_it, without)
    noise = [
        torch.autograd.grad(loss.sum(), p.scores.theta, retain_graph=True)[0].var(0).sum()
        for loss in (with_it, without)
    ]
    assert noise[0] < noise[1]
    variate = score_draws(p, draws).affinity.mean(0) - draws.mean_affinity
    z = z_scores(gradients(p, tau, variate + 0 * tau), torch.zeros(4 + 6 + 1))  # seed 7; false-alarm rate 1e-4
    assert z.abs().max() < z_limit(z.numel())


@every_paired
def test_listing_gives_the_log_partition_itself(space: OutputSpace):
    p = conditional_model(space, "pairwise", spread=3.0)
    draws = ListingProposal(space).draw(p, 1)
    torch.testing.assert_close(estimated_log_partition(score_draws(p, draws)), oracle.listed(p).log_partition)


@every_paired
def test_without_interactions_the_tilt_has_no_noise(space: OutputSpace):
    p = conditional_model(space, None, spread=3.0)
    for name in ("tilt", "meanfield"):
        draws = PROPOSALS[name](space).draw(p, 3, generator=seeded(8))
        torch.testing.assert_close(estimated_log_partition(score_draws(p, draws)), oracle.listed(p).log_partition)
