"""Sums over all rankings, against listing them, against an independent recursion, and against counts of draws."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jaxtyping import Float, Int64
from scipy.stats import chi2
from torch import Tensor

from jebm_core import permanents
from jebm_core.errors import SpecError
from jebm_core.permanents import MAX_EXACT_ITEMS, log_permanent, position_marginals, sample_permanent

INF = math.inf


def all_rankings(k: int) -> Int64[Tensor, "ranking item"]:
    return torch.tensor(list(itertools.permutations(range(k))))


def listed_scores(theta: Float[Tensor, "*batch item position"]) -> Float[Tensor, "*batch ranking"]:
    """Total score of every ranking, in the order of ``all_rankings``."""
    k = theta.shape[-1]
    return theta[..., torch.arange(k), all_rankings(k)].sum(-1)


def log_space_recursion(theta: np.ndarray) -> float:
    """Log-permanent of one matrix, set by set in a dictionary, with every sum formed in log space."""
    k = len(theta)
    reached = {0: 0.0}
    for position in range(k):
        larger: dict[int, float] = {}
        for members, value in reached.items():
            for item in range(k):
                if not members >> item & 1:
                    bigger = members | 1 << item
                    larger[bigger] = np.logaddexp(larger.get(bigger, -INF), value + theta[item, position])
        reached = larger
    return reached[2**k - 1]


def uniform_scores(seed: int, *shape: int, spread: float) -> Float[Tensor, "..."]:
    """Scores in ±spread nats."""
    return (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1) * spread


@examples(max_examples=40)
@given(
    k=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 1.0, 30.0, 100.0, 1000.0]),
    hole=st.floats(0, 0.8),
)
def test_value_gradient_and_marginals_agree_with_listing(k: int, seed: int, spread: float, hole: float) -> None:
    theta = uniform_scores(seed, 3, k, k, spread=spread)
    forbidden = torch.rand(3, k, k, generator=torch.Generator().manual_seed(seed + 1)) < hole
    theta = theta.masked_fill(forbidden, -INF).requires_grad_()
    scores = listed_scores(theta.detach())
    expected = scores.logsumexp(-1)
    possible = expected > -INF

    value = log_permanent(theta)
    (gradient,) = torch.autograd.grad((value * torch.tensor([1.0, 2.0, -3.0])).sum(), theta)
    torch.testing.assert_close(value.detach(), expected, rtol=1e-14, atol=1e-11)

    probabilities = (scores[possible] - expected[possible, None]).exp()
    one_hot = torch.nn.functional.one_hot(all_rankings(k), k).double()
    listed = torch.einsum("br,rij->bij", probabilities, one_hot)
    marginals = position_marginals(theta)
    torch.testing.assert_close(marginals[possible], listed, rtol=0, atol=1e-11)
    torch.testing.assert_close(gradient, marginals * torch.tensor([1.0, 2.0, -3.0])[:, None, None], equal_nan=True)
    assert marginals[~possible].isnan().all()


@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_seven_items_agree_with_listing(spread: float) -> None:
    theta = uniform_scores(7, 4, 7, 7, spread=spread)
    torch.testing.assert_close(log_permanent(theta), listed_scores(theta).logsumexp(-1), rtol=1e-14, atol=1e-11)


@pytest.mark.parametrize("spread", [1.0, 30.0, 100.0])
def test_eleven_items_agree_with_a_recursion_in_log_space(spread: float) -> None:
    theta = uniform_scores(11, 2, 11, 11, spread=spread)
    theta[1, :, 0] += 50 * spread  # a column that everyone wants …
    theta[1, 3, 1:] -= 5 * spread  # … and a row that has no good place elsewhere
    expected = torch.tensor([log_space_recursion(matrix.numpy()) for matrix in theta], dtype=torch.float64)
    torch.testing.assert_close(log_permanent(theta), expected, rtol=1e-13, atol=1e-10)


def test_early_layers_that_underflow_beside_each_other_do_not_matter() -> None:
    # The best rankings start with very bad partial ones: sums scaled layer by layer would lose them (e^-2000 beside 1).
    k = 8
    theta = torch.zeros(k, k, dtype=torch.float64)
    theta[:4, :4] = -1000.0 * torch.eye(4, dtype=torch.float64) - 500.0
    theta[4:, 4:] = 5000.0
    torch.testing.assert_close(log_permanent(theta), listed_scores(theta).logsumexp(-1), rtol=1e-14, atol=0)


@pytest.mark.parametrize("k", [6, 11])
def test_single_precision_input_costs_only_the_rounding_of_the_result(k: int) -> None:
    theta = uniform_scores(3, 64, k, k, spread=15.0).float()  # a range of 30 nats
    exact, rounded = log_permanent(theta.double()), log_permanent(theta)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, exact.float())
    centred = theta - (exact / k).float()[:, None, None]  # value near 0, where single precision can show the error
    assert (log_permanent(centred) - log_permanent(centred.double())).abs().max() < 1e-5
    torch.testing.assert_close(position_marginals(theta).sum(-2), torch.ones(64, k), rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", range(1, MAX_EXACT_ITEMS + 1))
def test_equal_scores_count_the_rankings(k: int) -> None:
    theta = torch.zeros(k, k, dtype=torch.float64)
    assert log_permanent(theta).item() == pytest.approx(math.lgamma(k + 1), abs=1e-12)


@examples(max_examples=30)
@given(
    k=st.integers(1, 9), seed=st.integers(0, 2**31), spread=st.sampled_from([0.0, 3.0, 1000.0]), hole=st.floats(0, 0.6)
)
def test_duals_bound_every_score_and_meet_a_best_ranking(k: int, seed: int, spread: float, hole: float) -> None:
    theta = uniform_scores(seed, 4, k, k, spread=spread).round(decimals=1)  # rounded so that ties occur
    forbidden = torch.rand(4, k, k, generator=torch.Generator().manual_seed(seed + 1)) < hole
    theta = theta.masked_fill(forbidden, -INF)
    u, v = permanents._assignment_duals(theta)
    slack = theta + u[:, :, None] + v[:, None, :]
    assert slack.max() <= 1e-9
    possible = log_permanent(theta) > -INF
    # An exact permanent of the pattern of zeros: some ranking lies on it.
    on_pattern = torch.where(slack >= -1e-9, 0.0, -INF)
    assert (log_permanent(on_pattern)[possible] > -1e-9).all()


def test_one_item() -> None:
    theta = torch.tensor([[[2.5]], [[-INF]]])
    assert log_permanent(theta).tolist() == [2.5, -INF]
    assert sample_permanent(theta, 2).tolist() == [[[0], [-1]], [[0], [-1]]]
    assert position_marginals(theta)[0].item() == 1.0


def test_impossible_and_broken_matrices_stay_apart_from_the_others() -> None:
    theta = torch.zeros(5, 4, 4)
    theta[0, 2] = -INF  # item 2 fits nowhere
    theta[1, :3, :2] = -INF  # three items for two positions
    theta[2, 1, 1] = torch.nan
    theta[3, 0, 2] = INF
    value = log_permanent(theta)
    assert value[:2].tolist() == [-INF, -INF]
    assert value[2:4].isnan().all()
    assert value[4].item() == pytest.approx(math.log(24))
    marginals = position_marginals(theta)
    assert marginals[:4].isnan().all()
    torch.testing.assert_close(marginals[4], torch.full((4, 4), 0.25))
    draws = sample_permanent(theta, 7)
    assert (draws[:, :4] == -1).all()
    assert (draws[:, 4].sort(-1).values == torch.arange(4)).all()


def test_second_derivative_is_refused() -> None:
    theta = torch.zeros(3, 3, requires_grad=True)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        torch.autograd.grad(log_permanent(theta), theta, create_graph=True)


@pytest.mark.parametrize("batch", [(), (0,), (2, 0), (5,), (2, 3)])
def test_any_batch_shape(batch: tuple[int, ...]) -> None:
    theta = uniform_scores(1, *batch, 4, 4, spread=2.0)
    torch.testing.assert_close(log_permanent(theta), listed_scores(theta).logsumexp(-1))
    assert position_marginals(theta).shape == theta.shape
    assert sample_permanent(theta, 3).shape == (3, *batch, 4)
    assert sample_permanent(theta, 0).shape == (0, *batch, 4)
    assert log_permanent(theta.requires_grad_()).shape == batch


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    theta = uniform_scores(5, 7, 5, 5, spread=20.0)
    whole = log_permanent(theta), position_marginals(theta)
    draws = sample_permanent(theta, 9, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(permanents, "_CACHE_ELEMENTS", 10)
    torch.testing.assert_close((log_permanent(theta), position_marginals(theta)), whole, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(sample_permanent(theta, 9, generator=torch.Generator().manual_seed(1)), draws)
    monkeypatch.setattr(permanents, "_BUFFER_BYTES", 600)  # two matrices, and one draw of them, at a time
    torch.testing.assert_close((log_permanent(theta), position_marginals(theta)), whole, rtol=1e-13, atol=1e-13)
    assert (sample_permanent(theta, 9).sort(-1).values == torch.arange(5)).all()


def test_no_table_of_sums_outlives_the_forward_pass() -> None:
    theta = torch.zeros(4, 10, 10, requires_grad=True)
    value = log_permanent(theta)
    assert value.grad_fn is not None
    assert [saved.shape for saved in value.grad_fn.saved_tensors] == [theta.shape]  # type: ignore[attr-defined]


def test_draws_follow_the_listed_probabilities() -> None:
    # Chi-square over 24 rankings (23 degrees of freedom), three matrices, seed 20260101: false alarms 3 × 1e-4.
    theta = uniform_scores(40, 3, 4, 4, spread=1.5)
    theta[2, 0, 0] = theta[2, 3, 1] = -INF
    draws = sample_permanent(theta, 20_000, generator=torch.Generator().manual_seed(20260101))
    number = {ranking: index for index, ranking in enumerate(itertools.permutations(range(4)))}
    probabilities = listed_scores(theta).softmax(-1).numpy()
    for column, expected in enumerate(probabilities):
        counts = np.bincount([number[tuple(row)] for row in draws[:, column].tolist()], minlength=24)
        possible = expected > 0
        assert counts[~possible].sum() == 0
        statistic = ((counts - 20_000 * expected)[possible] ** 2 / (20_000 * expected[possible])).sum()
        assert statistic < chi2.ppf(1 - 1e-4, possible.sum() - 1)


def test_draws_of_many_items_have_the_exact_marginals() -> None:
    # 121 shares of 4000 draws within 5 standard errors and one count, seed 5: false alarms about 121 × 6e-7, below 1e-3
    # for the skewed ones among them.
    theta = uniform_scores(6, 11, 11, spread=2.0)
    draws = sample_permanent(theta, 4000, generator=torch.Generator().manual_seed(5))
    shares = torch.nn.functional.one_hot(draws, 11).double().mean(0)
    expected = position_marginals(theta)
    assert ((shares - expected).abs() <= 5 * (expected * (1 - expected) / 4000).sqrt() + 1 / 4000).all()


def test_draws_depend_on_the_generator_alone() -> None:
    theta = uniform_scores(8, 2, 6, 6, spread=1.0)
    state = torch.get_rng_state()
    first, second = (sample_permanent(theta, 5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_draws_at_a_spread_of_hundreds_of_nats_find_the_best_ranking() -> None:
    theta = uniform_scores(9, 3, 7, 7, spread=100.0)
    scores = listed_scores(theta)
    best = all_rankings(7)[scores.argmax(-1)]
    sure = (scores.amax(-1) - scores.logsumexp(-1)) > -1e-6
    assert sure.any()
    assert (sample_permanent(theta, 50)[:, sure] == best[sure]).all()


@pytest.mark.parametrize("k", [1, 5, 12])
def test_shapes_without_values(k: int) -> None:
    theta = torch.empty(2, 3, k, k, device="meta", requires_grad=True)
    value = log_permanent(theta)
    value.sum().backward()
    assert theta.grad is not None
    assert (value.shape, theta.grad.shape) == ((2, 3), theta.shape)
    assert position_marginals(theta).shape == theta.shape
    assert sample_permanent(theta, 4).shape == (4, 2, 3, k)


def test_graphics_processor_agrees(gpu: str) -> None:
    theta = uniform_scores(2, 16, 11, 11, spread=30.0)
    torch.testing.assert_close(log_permanent(theta.to(gpu)).cpu(), log_permanent(theta), rtol=1e-13, atol=1e-10)
    torch.testing.assert_close(position_marginals(theta.to(gpu)).cpu(), position_marginals(theta), rtol=0, atol=1e-10)
    draws = sample_permanent(theta.to(gpu), 20)
    assert (draws.sort(-1).values == torch.arange(11, device=gpu)).all()


@pytest.mark.parametrize("shape", [(3, 4), (0, 0), (2, MAX_EXACT_ITEMS + 1, MAX_EXACT_ITEMS + 1)])
def test_matrices_that_cannot_be_summed_are_refused(shape: tuple[int, ...]) -> None:
    for function in (log_permanent, position_marginals, lambda theta: sample_permanent(theta, 1)):
        with pytest.raises(SpecError, match=f"{shape[-2]} by {shape[-1]}"):
            function(torch.zeros(shape))


def test_negative_number_of_samples_is_refused() -> None:
    with pytest.raises(SpecError, match="found -1"):
        sample_permanent(torch.zeros(2, 2), -1)
