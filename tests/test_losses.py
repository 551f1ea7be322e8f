"""The joint objective and the figures beside it, against sums over the listing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jebm_core.losses import effective_share, estimated_log_partition, joint_objective, score_draws, total_mass
from jebm_core.model import ConditionalModel
from jebm_core.proposals import AnchoredProposal, ListingProposal, ReferenceProposal
from jebm_core.spaces import OutputSpace
from tests import oracle
from tests.contract.cases import DIVERGENCES, PRODUCTS, conditional_model, distinct_outputs, subsets
from tests.oracle import double_precision, listed, seeded, uniform

every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES, ids=str)
every_space = pytest.mark.parametrize("space", PRODUCTS.values(), ids=PRODUCTS)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with double_precision():
        yield


def objective(p: ConditionalModel, tau: Tensor, y: Tensor) -> Tensor:
    p.log_partition = tau
    return joint_objective(p, y, score_draws(p, ListingProposal(p.space).draw(p, 1)))


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), shift=st.floats(-20, 20), spread=st.floats(0, 10))
def test_objective_bounds_the_likelihood_for_every_log_partition(seed: int, shift: float, spread: float):
    with double_precision():
        p = conditional_model(subsets(4), "pairwise", seed=seed, spread=spread)
        whole = listed(p)
        y = p.space.listing()[seed % 16].expand(3, -1)
        exact = whole.log_partition - whole.g[seed % 16]  # −log p(y|x), up to −log q(y|x)
        assert (objective(p, whole.log_partition + shift, y) >= exact - 1e-9).all()
        torch.testing.assert_close(objective(p, whole.log_partition, y), exact)


@every_space
@every_divergence
def test_objective_is_least_where_probabilities_sum_to_one(divergence: str, space: OutputSpace):
    f = DIVERGENCES[divergence]
    p = conditional_model(space, "pairwise", divergence=f, spread=0.5)
    whole = listed(p)
    value, tau = oracle.maximum(f, whole.log_q, whole.g)
    tau.requires_grad_()
    y = space.listing()[1].expand(3, -1)
    loss = objective(p, tau, y)
    torch.testing.assert_close(loss, value - whole.g[1], rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), tau)
    mass = total_mass(p, score_draws(p, ListingProposal(space).draw(p, 1)))
    torch.testing.assert_close(gradient, 1 - mass)
    torch.testing.assert_close(mass, torch.ones(3), rtol=1e-6, atol=1e-6)
    for step in (-0.3, -0.01, 0.01, 0.3):
        assert (objective(p, tau.detach() + step, y) >= loss - 1e-9).all()


@every_divergence
def test_mass_is_what_probabilities_add_up_to(divergence: str):
    f = DIVERGENCES[divergence]
    p = conditional_model(subsets(4), "pairwise", divergence=f, spread=0.5)
    p.log_partition = listed(p).g.amax(0) - f.upper + 0.2 if f.upper < 100 else uniform(1, 3)
    expected = p.log_prob(oracle.everywhere(p.space, 3)).exp().sum(0)
    torch.testing.assert_close(p.log_prob_of(p.space.listing()).exp().sum(0), expected)
    torch.testing.assert_close(total_mass(p, score_draws(p, ListingProposal(p.space).draw(p, 1))), expected)


@pytest.mark.parametrize("name", ["kl", "chi2", "hellinger"])
def test_gradient_over_parameters_is_that_of_the_listing(name: str):
    f = DIVERGENCES[name]
    p = conditional_model(subsets(3), "pairwise", divergence=f, spread=0.5)
    theta, tau = p.scores.theta.requires_grad_(), (listed(p).g.detach().amax(0) + 0.1).requires_grad_()
    y = p.space.listing()[2].expand(3, -1)
    whole = listed(p)
    slow = oracle.joint_objective(f, whole, tau, whole.g[2])
    for found, expected in zip(
        torch.autograd.grad(objective(p, tau, y).sum(), (theta, tau)),
        torch.autograd.grad(slow.sum(), (theta, tau)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_effective_share_is_the_effective_sample_size():
    p = conditional_model(subsets(5), "pairwise", spread=2.0)
    scored = score_draws(p, ReferenceProposal().draw(p, 40, generator=seeded(1)))
    weight = (scored.draws.log_weight + scored.affinity).exp()
    torch.testing.assert_close(effective_share(scored), weight.sum(0).square() / (40 * weight.square().sum(0)))
    torch.testing.assert_close(estimated_log_partition(scored), weight.sum(0).log())


def test_listed_points_add_no_noise():
    space = subsets(4)
    p = conditional_model(space, "pairwise", spread=2.0)
    assert torch.equal(effective_share(score_draws(p, ListingProposal(space).draw(p, 1))), torch.ones(3))
    everything = AnchoredProposal(space, space.listing()).draw(p, 20, generator=seeded(2))
    scored = score_draws(p, everything)
    torch.testing.assert_close(effective_share(scored), torch.ones(3))
    torch.testing.assert_close(estimated_log_partition(scored), listed(p).log_partition)
    few = score_draws(p, AnchoredProposal(space, distinct_outputs(space)).draw(p, 20, generator=seeded(3)))
    own = (few.draws.log_weight + few.affinity).exp()
    total = estimated_log_partition(few).exp()
    torch.testing.assert_close(effective_share(few), 1 / (1 + (20 * own / total).var(0, correction=0)))
