"""Every base of the log-partition: lower bounds that hold, exactness where it is claimed, finite gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jebm_core.divergences import KL
from jebm_core.interactions import Scores
from jebm_core.losses import estimated_log_partition, score_draws
from jebm_core.model import AnchoredBase, Base, ConditionalModel, MeanFieldBase, TiltBase, ZeroBase
from jebm_core.networks import correction_network
from jebm_core.proposals import AnchoredProposal
from jebm_core.references import RuledReference, UniformReference
from jebm_core.settings import LOG_PARTITIONS
from jebm_core.spaces import OutputSpace
from tests import oracle
from tests.contract import cases
from tests.contract.cases import (
    BASES,
    CORRECTIONS,
    INTERACTION_HEADS,
    PRODUCTS,
    REFERENCES,
    RULED,
    RULED_PAIRS,
    SMALL,
    WEIGHING,
    conditional_model,
    distinct_outputs,
    final_classes,
    randomised,
    space_of,
)
from tests.oracle import double_precision, listed, seeded, uniform

every_product = pytest.mark.parametrize("space", PRODUCTS.values(), ids=PRODUCTS)
PAIRED = PRODUCTS | RULED_PAIRS
every_paired = pytest.mark.parametrize("space", PAIRED.values(), ids=PAIRED)
strong_models = given(
    shape=st.one_of(
        st.tuples(st.just("subsets"), st.tuples(st.integers(1, 6))),
        st.tuples(st.just("configurations"), st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)),
    ),
    head=st.sampled_from(["pairwise", "pairwise-constant", "lowrank", "lowrank-constant"]),
    seed=st.integers(0, 10**6),
    spread=st.floats(0.0, 12.0),
    anchors=st.integers(1, 20),
)


def test_every_base_and_correction_has_a_case():
    space = SMALL["subsets"]
    assert final_classes(Base) - {"PositionsBase"} == {  # that one: tests/test_large_rankings.py
        type(build(space)).__name__ for build in BASES.values()
    }
    assert set(CORRECTIONS) == set(LOG_PARTITIONS) - {"auto", "corrected"}


@settings(max_examples=60)
@strong_models
def test_bounds_never_exceed_the_log_partition(shape: cases.Shape, head: str, seed: int, spread: float, anchors: int):
    with double_precision():
        space = space_of(shape)
        p = conditional_model(space, head, seed=seed, spread=spread)
        points = distinct_outputs(space, anchors, seed)
        whole = listed(p)
        exact = whole.log_partition
        mean_field, anchored = MeanFieldBase()(p)[0], AnchoredBase(points)(p)[0]
        seen = (whole.log_q + whole.g)[oracle.index_of(space, points)].logsumexp(0)
        slack = 1e-9 * (1 + exact.abs())
        assert (mean_field <= exact + slack).all()
        assert (anchored <= exact + slack).all()
        assert (anchored >= seen - slack).all()
        # Where the anchors have all but 1e-3 of the mean-field distribution, the rest is left out of the bound.
        assert (anchored >= mean_field - 0.01 - 1e-3 * (exact - seen) - slack).all()


@settings(max_examples=25)
@strong_models
def test_bounds_hold_in_single_precision(shape: cases.Shape, head: str, seed: int, spread: float, anchors: int):
    space = space_of(shape)
    p = conditional_model(space, head, seed=seed, spread=spread)
    exact = listed(p).log_partition
    for base in (MeanFieldBase(), AnchoredBase(distinct_outputs(space, anchors, seed))):
        assert (base(p)[0] <= exact + 1e-4 * (1 + exact.abs())).all()


@every_paired
@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_values_features_and_gradients_are_finite(name: str, space: OutputSpace, spread: float):
    p = conditional_model(space, "pairwise", spread=spread)
    p.scores.theta.requires_grad_()
    base = BASES[name](space)
    value, features = base(p)
    assert value.shape == (3,)
    assert features.shape == (3, base.num_features)
    assert not features.requires_grad
    assert torch.isfinite(features).all()
    if name != "zero":
        (gradient,) = torch.autograd.grad(value.sum(), p.scores.theta)
        assert torch.isfinite(gradient).all()


def with_leaf(p: ConditionalModel) -> Tensor:
    theta = p.scores.theta
    theta.requires_grad_()
    return theta


@every_paired
@pytest.mark.parametrize("head", [None, "pairwise", "lowrank"])
def test_anchors_that_cover_the_space_give_the_log_partition(space: OutputSpace, head: str | None):
    with double_precision():
        p = conditional_model(space, head, spread=3.0)
        theta = with_leaf(p)
        value, features = AnchoredBase(space.listing())(p)
        exact = listed(p).log_partition
        torch.testing.assert_close(value, exact)
        assert torch.isfinite(features).all()
        found, expected = (torch.autograd.grad(v.sum(), theta, retain_graph=True)[0] for v in (value, exact))
        torch.testing.assert_close(found, expected)


@every_product
def test_gradient_of_the_mean_field_bound_is_its_marginals(space: OutputSpace):
    with double_precision():
        p = conditional_model(space, "pairwise")
        theta = with_leaf(p)
        (gradient,) = torch.autograd.grad(MeanFieldBase()(p)[0].sum(), theta)
        torch.testing.assert_close(gradient, p.mean_field.marginals)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("space", (SMALL | RULED).values(), ids=SMALL | RULED)
def test_tilt_base_is_exact_without_interactions(space: OutputSpace, reference: str):
    with double_precision():
        p = conditional_model(space, None, spread=4.0, reference=REFERENCES[reference](space))
        theta = with_leaf(p)
        value, exact = TiltBase()(p)[0], listed(p).log_partition
        torch.testing.assert_close(value, exact)
        found, expected = (torch.autograd.grad(v.sum(), theta, retain_graph=True)[0] for v in (value, exact))
        torch.testing.assert_close(found, expected)


@every_paired
@pytest.mark.parametrize("name", BASES)
def test_what_calls_itself_exact_is(name: str, space: OutputSpace):
    with double_precision():
        for head in (None, "pairwise"):
            p = conditional_model(space, head, spread=3.0)
            base = BASES[name](space)
            if base.is_exact(p):
                torch.testing.assert_close(base(p)[0], listed(p).log_partition)
        assert not base.is_exact(conditional_model(space, "pairwise"))


def test_the_zero_base_leaves_everything_to_the_network():
    p = conditional_model(SMALL["subsets"], None)
    assert torch.equal(ZeroBase()(p)[0], torch.zeros(3))
    assert not ZeroBase().is_exact(p)


@every_product
def test_mean_field_is_the_exact_expectation_of_its_tilt(space: OutputSpace):
    """L(m) = E_m[g] − KL(q_θ̃ ‖ q), each by listing."""
    with double_precision():
        p = conditional_model(space, "pairwise", spread=2.0)
        field, whole = p.mean_field, listed(p)
        log_m = oracle.linear_probabilities(space, field.theta + p.reference.eta).T.log()  # pyright: ignore
        mean = (log_m.exp() * whole.g).sum(0)
        divergence = (log_m.exp() * (log_m - whole.log_q)).sum(0)
        torch.testing.assert_close(field.mean_affinity, mean)
        torch.testing.assert_close(field.bound, mean - divergence)
        log_tilted = whole.log_q + space.statistics(whole.points) @ field.theta.T
        torch.testing.assert_close(field.log_normalizer, log_tilted.logsumexp(0))


@pytest.mark.parametrize("kind", CORRECTIONS)
@pytest.mark.parametrize("width", [1, 5])
def test_corrections_start_at_zero_and_learn(kind: str, width: int):
    with double_precision():
        network = correction_network(kind, width)
        x = uniform(1, 4, width)
        assert torch.equal(network(x), torch.zeros(4))
        value = randomised(network, 2)(x)
    assert value.shape == (4,)
    assert torch.isfinite(value).all()
    assert bool(value.std() > 0) == (kind != "constant")
    torch.testing.assert_close(value, torch.cat([network(row) for row in x.split(1)]))


@pytest.mark.parametrize("kind", ["subsets", "configurations"])
def test_contexts_without_a_possible_anchor_keep_every_number_finite(kind: str):
    """Rules that depend on x may rule out every observed combination of a context."""
    space = WEIGHING[kind]
    reference = RuledReference(UniformReference(space))
    flags = torch.zeros(3, reference.input_width)
    flags[1:] = 1.0
    theta = uniform(3, 3, space.num_statistics).requires_grad_()
    pairs = INTERACTION_HEADS["pairwise-constant"].build(space)(torch.zeros(3, 3))
    p = ConditionalModel(KL(), reference(flags), Scores(space, theta, pairs))
    impossible = space.listing()[(reference(flags).log_prob_of(space.listing()) == -torch.inf)[:, 1]]
    assert len(impossible)
    value, features = AnchoredBase(impossible)(p)
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    assert torch.isfinite(value).all()
    assert torch.isfinite(features).all()
    assert torch.isfinite(gradient).all()
    draws = AnchoredProposal(space, impossible).draw(p, 400, generator=seeded(1))
    found = estimated_log_partition(score_draws(p, draws))
    torch.testing.assert_close(found, listed(p).log_partition.float(), rtol=0, atol=0.3)  # seed 1; about 6 errors wide
