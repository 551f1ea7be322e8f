"""Every output space against its own listing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.errors import SpecError
from jebm_core.spaces import Configurations, OutputSpace
from tests import oracle
from tests.contract import cases
from tests.contract.cases import SPACES, configurations, final_classes, rankings, subsets
from tests.contract.wrong import WRONG, Wrong
from tests.oracle import FALSE_ALARM, seeded, uniform

# Built in the test: what torch does on a first call must not count as a draw of the strategy.
small_spaces = st.one_of(
    st.tuples(st.just("subsets"), st.tuples(st.integers(1, 5))),
    st.tuples(st.just("configurations"), st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)),
    st.tuples(st.just("rankings"), st.tuples(st.integers(2, 4))),
)
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with oracle.double_precision():
        yield


def test_every_space_has_a_case():
    assert final_classes(OutputSpace) == {type(space).__name__ for space in SPACES.values()}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_named_in_one_sentence(wrong: Wrong):
    with pytest.raises(SpecError) as caught:
        wrong.call()
    assert str(caught.value) == wrong.sentence


@every_space
def test_listing_holds_each_combination_once(space: OutputSpace):
    points = space.listing()
    assert points.shape == (space.cardinality(), space.num_items)
    assert points.dtype == torch.int64
    assert len(torch.unique(points, dim=0)) == len(points)
    assert space.contains(points).all()
    assert math.isclose(space.log_cardinality(), math.log(len(points)))
    if space.whole is space:  # rules may leave no room for an option
        assert (points.amax(0) == torch.tensor(space.options_per_item()) - 1).all()
        assert (points.amin(0) == 0).all()


@every_space
def test_what_is_not_listed_is_not_contained(space: OutputSpace):
    points = space.listing()
    grid = torch.cartesian_prod(*[torch.arange(-1, n + 1) for n in space.options_per_item()])
    grid = grid.reshape(-1, space.num_items)
    listed = oracle.index_of(space, grid) >= 0
    assert torch.equal(space.contains(grid), listed)
    assert listed.sum() == len(points)


@every_space
def test_statistics_are_zero_or_one_and_tell_combinations_apart(space: OutputSpace):
    points = space.listing()
    phi = space.statistics(points)
    assert phi.shape == (len(points), space.num_statistics)
    assert ((phi == 0) | (phi == 1)).all()
    assert len(torch.unique(phi, dim=0)) == len(points)
    if int(points.max()) < 256:
        assert torch.equal(space.statistics(points.to(torch.uint8)), phi)


@every_space
def test_labels_lead_back_to_the_combination(space: OutputSpace):
    for y in space.listing():
        assert torch.equal(space.encode(space.decode(y)), y)


@every_space
def test_keys_tell_all_combinations_apart(space: OutputSpace):
    keys = space.key(space.listing())
    assert len(torch.unique(keys)) == space.cardinality()
    assert torch.equal(space.key(space.listing().to(torch.uint8)), keys)


@pytest.mark.parametrize("space", [subsets(300), configurations(*[7] * 40)], ids=["subsets", "configurations"])
def test_keys_of_spaces_beyond_an_index_are_hashes(space: OutputSpace):
    sizes = torch.tensor(space.options_per_item())
    y = (torch.rand(5000, space.num_items, generator=seeded(1)) * sizes).long()
    one_changed = y.clone()
    one_changed[:, 3] = (y[:, 3] + 1) % sizes[3]
    both = torch.cat([y, one_changed])
    assert len(torch.unique(space.key(both))) == len(torch.unique(both, dim=0)) == 10000  # a collision: 3e-12
    again = type(space)(*((space.items, space.options) if isinstance(space, Configurations) else (space.items,)))
    assert torch.equal(space.key(y), again.key(y))


def test_keys_up_to_the_last_index_are_exact():
    space = subsets(61)
    top = torch.ones(1, 61, dtype=torch.int64)
    assert space.key(top).item() == 2**61 - 1


def test_sizes_that_no_float_holds():
    assert subsets(5000).log_cardinality() == pytest.approx(5000 * math.log(2))
    assert rankings(200).log_cardinality() == pytest.approx(math.lgamma(201))


@every_space
def test_matches_count_equal_items(space: OutputSpace):
    points = space.listing()
    phi = space.statistics(points)
    counted = (points.unsqueeze(1) == points).sum(-1)
    assert torch.equal(space.matches(phi, phi).round().long(), counted)


@settings(max_examples=30)
@given(shape=small_spaces, seed=st.integers(0, 10**6), spread=st.floats(0.0, 30.0))
def test_linear_family_agrees_with_the_listing(shape: cases.Shape, seed: int, spread: float):
    space = cases.space_of(shape)
    theta = uniform(seed, 3, space.num_statistics, spread=spread).requires_grad_()
    value = space.linear_log_partition(theta)
    expected = oracle.marginals(space, oracle.linear_probabilities(space, theta.detach()))
    torch.testing.assert_close(value, oracle.linear_log_partition(space, theta), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(space.linear_marginals(theta.detach()), expected, rtol=1e-8, atol=1e-10)
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-10)


@settings(max_examples=30)
@given(shape=small_spaces, seed=st.integers(0, 10**6), spread=st.floats(0.0, 30.0))
def test_linear_maximum_is_the_best_of_the_listing(shape: cases.Shape, seed: int, spread: float):
    space = cases.space_of(shape)
    theta = uniform(seed, 2, 3, space.num_statistics, spread=spread)
    y = space.argmax_linear(theta)
    assert y.shape == (2, 3, space.num_items)
    assert space.contains(y).all()
    best = (theta @ space.statistics(space.listing()).T).amax(-1)
    torch.testing.assert_close((space.statistics(y) * theta).sum(-1), best)


@settings(max_examples=15)
@given(shape=small_spaces, seed=st.integers(0, 10**6), spread=st.floats(0.0, 30.0))
def test_single_precision_is_close(shape: cases.Shape, seed: int, spread: float):
    space = cases.space_of(shape)
    theta = uniform(seed, 3, space.num_statistics, spread=spread).float()
    value, exact = space.linear_log_partition(theta), oracle.linear_log_partition(space, theta)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-4)
    assert value.dtype == torch.float32


@every_space
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_draws_fit_the_linear_family(space: OutputSpace, dtype: torch.dtype):
    theta = uniform(11, 2, space.num_statistics, spread=1.5).to(dtype)  # seeds 11, 12; false-alarm rate 1e-4 a row
    y = space.linear_sample(theta, 20_000, generator=seeded(12))
    assert y.shape == (20_000, 2, space.num_items)
    index = oracle.index_of(space, y)
    assert (index >= 0).all()
    probabilities = oracle.linear_probabilities(space, theta)
    for row in range(2):
        assert oracle.fit_p_value(index[:, row], probabilities[row]) > FALSE_ALARM


@every_space
def test_draws_follow_their_generator(space: OutputSpace):
    theta = uniform(5, 4, space.num_statistics)
    first, again = (space.linear_sample(theta, 50, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first, again)


@every_space
def test_extreme_parameters_draw_the_certain_combination(space: OutputSpace):
    theta = 200 * (2 * space.statistics(space.listing()) - 1)
    y = space.linear_sample(theta, 20, generator=seeded(4))
    assert torch.equal(y.long(), oracle.everywhere(space, 20).transpose(0, 1))
