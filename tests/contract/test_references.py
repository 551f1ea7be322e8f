"""Every reference and every distribution that one returns, against sums over the listing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from jebm_core.distributions import (
    LinearDistribution,
    MixtureDistribution,
    PointsDistribution,
    ReferenceDistribution,
    sample_categorical,
)
from jebm_core.references import CandidateReference, MarginalReference, MixtureReference, Reference, UniformReference
from jebm_core.spaces import OutputSpace
from jebm_core.trees import Forest, TreeMixture
from tests import oracle
from tests.contract.cases import (
    PRODUCTS,
    REFERENCES,
    RULED,
    RULED_REFERENCES,
    SMALL,
    TREES,
    WEIGHING,
    distinct_outputs,
    final_classes,
    reference_inputs,
    some_outputs,
    some_trees,
)
from tests.oracle import FALSE_ALARM, everywhere, seeded, uniform

BATCH = 2


def _points(space: OutputSpace) -> PointsDistribution:
    points = distinct_outputs(space)
    return PointsDistribution(space, points, uniform(8, BATCH, len(points), spread=2.0))


DISTRIBUTIONS: dict[str, Callable[[OutputSpace], ReferenceDistribution]] = {
    "points": _points,
    "linear": lambda space: LinearDistribution(space, uniform(7, BATCH, space.num_statistics, spread=3.0)),
    "mixture": lambda space: MixtureDistribution(
        [_points(space), LinearDistribution(space, uniform(9, BATCH, space.num_statistics))],
        uniform(10, BATCH, 2),
    ),
}


def _from(build: Callable[[OutputSpace], Reference]) -> Callable[[OutputSpace], ReferenceDistribution]:
    def distribution(space: OutputSpace) -> ReferenceDistribution:
        reference = build(space)
        return reference(reference_inputs(reference, BATCH))

    return distribution


def _trees(space: OutputSpace) -> TreeMixture:
    """Other tables in each context."""
    trees = some_trees(space)
    forest = Forest(trees.parent)
    shape = (BATCH, *trees.log_tables.shape[:2], 1, trees.log_tables.shape[-1])
    tables = (trees.log_tables + uniform(11, *shape)).log_softmax(-1)
    return TreeMixture(space, forest, tables, uniform(12, BATCH, forest.num_trees))


def _tilted_trees(space: OutputSpace) -> ReferenceDistribution:
    return _trees(space).tilt(uniform(13, BATCH, space.num_statistics, spread=2.0))


ALL = DISTRIBUTIONS | {f"{name} reference": _from(build) for name, build in REFERENCES.items()}
OF_PRODUCTS = {"trees": _trees, "tilted trees": _tilted_trees} | {
    f"{name} reference": _from(build) for name, build in TREES.items()
}
WEIGHED = {f"weighed {name} reference": _from(build) for name, build in RULED_REFERENCES.items()}
CASES = [
    pytest.param(build, space, id=f"{name}, {place}")
    for builds, spaces in ((ALL, SMALL | RULED), (WEIGHED, WEIGHING), (OF_PRODUCTS, PRODUCTS))
    for name, build in builds.items()
    for place, space in spaces.items()
]
every_case = pytest.mark.parametrize(("build", "space"), CASES)
every_space = pytest.mark.parametrize("space", SMALL.values(), ids=SMALL)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with oracle.double_precision():
        yield


def listed(q: ReferenceDistribution) -> Tensor:
    return q.log_prob(everywhere(q.space, BATCH))


def test_every_reference_and_distribution_has_a_case():
    space = SMALL["subsets"]
    weighed = next(iter(RULED_REFERENCES.values()))(WEIGHING["subsets"])
    plain = {type(build(space)).__name__ for build in (REFERENCES | TREES).values()}
    references = plain | {type(weighed).__name__}
    assert final_classes(Reference) == references
    found = {type(build(space)).__name__ for build in (*DISTRIBUTIONS.values(), *OF_PRODUCTS.values())}
    found |= {type(weighed(reference_inputs(weighed, BATCH))).__name__}
    assert final_classes(ReferenceDistribution) - {"UniformRankings"} == found  # that one: tests/test_large_rankings.py


@every_case
def test_probabilities_sum_to_one(build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace):
    torch.testing.assert_close(listed(build(space)).exp().sum(0), torch.ones(BATCH))


@every_case
def test_shared_points_have_the_density_of_own_draws(
    build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace
):
    q = build(space)
    points = everywhere(space, BATCH)
    torch.testing.assert_close(q.log_prob_of(space.listing()), listed(q))
    torch.testing.assert_close(q.log_prob(points.expand(3, *points.shape)), listed(q).expand(3, -1, -1))
    torch.testing.assert_close(q.log_prob(points[0]), listed(q)[0])


@every_case
def test_tilts_agree_with_the_listing(build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace):
    q = build(space)
    theta = uniform(21, BATCH, space.num_statistics, spread=3.0).requires_grad_()
    tilted = listed(q) + space.statistics(space.listing()) @ theta.T
    normalizer = q.log_normalizer(theta)
    torch.testing.assert_close(normalizer, tilted.logsumexp(0))
    expected = tilted.log_softmax(0)
    torch.testing.assert_close(listed(q.tilt(theta)), expected)
    torch.testing.assert_close(q.tilt(theta).log_prob_of(space.listing()), expected)
    marginals = oracle.marginals(space, expected.exp().T)
    torch.testing.assert_close(q.tilt(theta).marginals(), marginals)
    (gradient,) = torch.autograd.grad(normalizer.sum(), theta)
    torch.testing.assert_close(gradient, marginals)


@every_case
def test_a_tilt_of_a_tilt_is_the_tilt_of_the_sum(
    build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace
):
    q = build(space)
    first, second = (uniform(seed, BATCH, space.num_statistics, spread=2.0) for seed in (31, 32))
    torch.testing.assert_close(listed(q.tilt(first).tilt(second)), listed(q.tilt(first + second)))
    torch.testing.assert_close(
        q.log_normalizer(first) + q.tilt(first).log_normalizer(second), q.log_normalizer(first + second)
    )
    torch.testing.assert_close(listed(q.tilt(torch.zeros_like(first))), listed(q))


@every_case
def test_draws_fit_the_density(build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace):
    q = build(space).tilt(uniform(41, BATCH, space.num_statistics))
    probabilities = listed(q).exp()
    index = oracle.index_of(space, q.sample(10_000, generator=seeded(42)))  # seed 42; false-alarm rate 1e-4 a row
    assert index.shape == (10_000, BATCH)
    assert (index >= 0).all()
    for row in range(BATCH):
        assert oracle.fit_p_value(index[:, row], probabilities[:, row]) > FALSE_ALARM


@every_case
def test_weighted_draws_have_the_density_that_they_say(
    build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace
):
    q = build(space).tilt(uniform(43, BATCH, space.num_statistics))
    y, log_ratio = q.weighted_sample(10_000, generator=seeded(44))  # seed 44; false-alarm rate 1e-4 a row
    index, log_r = oracle.index_of(space, y), listed(q)
    if log_ratio is not None:
        said = torch.zeros_like(log_r).scatter(0, index, log_ratio)
        torch.testing.assert_close(said.gather(0, index), log_ratio)  # the same each time that a combination is drawn
        log_r = log_r - said  # where nothing was drawn r is as unlikely as q, which differ by a factor of 3 at most
        drawn = torch.zeros_like(log_r).scatter(0, index, 1.0)
        assert ((drawn * log_r.exp()).sum(0) < 1 + 1e-9).all()
    for row in range(BATCH):
        assert oracle.fit_p_value(index[:, row], log_r[:, row].softmax(0)) > FALSE_ALARM


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
@pytest.mark.parametrize("space", [*SMALL.values(), *PRODUCTS.values()], ids=[*SMALL, *(f"{p} 2" for p in PRODUCTS)])
def test_what_calls_itself_a_product_is_one(build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace):
    q = build(space)
    if not q.is_product():
        return
    for theta in (torch.zeros(BATCH, space.num_statistics), uniform(51, BATCH, space.num_statistics, spread=3.0)):
        tilted = q.tilt(theta)
        probabilities = listed(tilted).exp()
        points = space.listing()
        together = torch.ones_like(probabilities)
        for item in range(space.num_items):
            same = (points[:, item].unsqueeze(1) == points[:, item]).double()
            together = together * (same @ probabilities)
        torch.testing.assert_close(probabilities, together)


@every_case
def test_off_a_few_points_q_is_a_share_of_its_background(
    build: Callable[[OutputSpace], ReferenceDistribution], space: OutputSpace
):
    q = build(space)
    background = q.background()
    if background is None:
        return
    below = background.log_share + background.family.log_prob_of(space.listing())
    elsewhere = torch.ones(space.cardinality(), dtype=torch.bool)
    elsewhere[oracle.index_of(space, background.points)] = False
    torch.testing.assert_close(below[elsewhere], listed(q)[elsewhere])
    assert (listed(q) >= below - 1e-9).all()
    again = background.family.tilt(uniform(61, BATCH, space.num_statistics)).background()
    assert again is not None
    assert len(again.points) == 0


@every_space
@pytest.mark.parametrize("smoothing", [0.5, 3.0])
def test_fitted_marginals_are_smoothed_shares(space: OutputSpace, smoothing: float):
    y = some_outputs(space, rows=9)
    reference = MarginalReference.fit(space, y, smoothing=smoothing)
    counts = space.statistics(y).sum(0)
    if space.num_statistics == space.num_items:
        even = torch.full_like(counts, 0.5)
    else:
        sizes = torch.tensor(space.options_per_item())
        even = torch.repeat_interleave(1 / sizes, sizes)
    share = (counts + smoothing * even) / (len(y) + smoothing)
    if space.factorises:
        torch.testing.assert_close(reference(torch.zeros(1, 0)).marginals()[0], share)
    else:  # the share of each item at each position is the weight, which the permanent then normalises
        torch.testing.assert_close(reference.eta, share.log())


@every_space
def test_fitted_candidates_are_counts_mixed_with_the_uniform(space: OutputSpace):
    y = some_outputs(space, rows=9)
    reference = CandidateReference.fit(space, y, smoothing=0.1)
    counts = torch.bincount(oracle.index_of(space, y), minlength=space.cardinality())
    expected = 0.9 * counts / len(y) + 0.1 / space.cardinality()
    torch.testing.assert_close(
        reference(torch.zeros(3, 0)).log_prob_of(space.listing()).exp(), expected.expand(3, -1).T
    )


@every_space
def test_a_mixture_is_the_weighted_sum_of_its_parts(space: OutputSpace):
    parts = [MarginalReference.fit(space, some_outputs(space)), UniformReference(space)]
    mixture = MixtureReference(parts, [0.7, 0.3])
    points, empty = space.listing(), torch.zeros(BATCH, 0)
    each = [part(empty).log_prob_of(points).exp() for part in parts]
    torch.testing.assert_close(mixture(empty).log_prob_of(points).exp(), 0.7 * each[0] + 0.3 * each[1])


@pytest.mark.parametrize(
    ("name", "space"),
    [(name, space) for builds, spaces in ((REFERENCES, SMALL), (TREES, PRODUCTS)) for name in builds
     for space in spaces.values()],
)  # fmt: skip
def test_references_describe_themselves_and_carry_their_numbers(name: str, space: OutputSpace):
    build = (REFERENCES | TREES)[name]
    reference, other = build(space), build(space)
    record = reference.to_json()
    assert name.startswith(str(record["kind"]))
    other.load_state_dict(reference.state_dict())
    inputs = reference_inputs(reference, BATCH)
    points = space.listing()
    assert torch.equal(reference(inputs).log_prob_of(points), other(inputs).log_prob_of(points))


def test_indices_are_drawn_in_proportion_to_their_weights():
    log_weights = torch.tensor([[0.0, -torch.inf, 1.0, 2.0], [5.0, 0.0, -50.0, -torch.inf]])
    index = sample_categorical(log_weights, 20_000, generator=seeded(61))  # seed 61; false-alarm rate 1e-4 a row
    for row in range(2):
        assert oracle.fit_p_value(index[:, row], log_weights[row].softmax(-1)) > FALSE_ALARM
