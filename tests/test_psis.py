"""Pareto-smoothed importance sampling against distributions whose tails are known."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from jebm_core.evaluation.psis import (
    RELIABLE_K,
    estimate_from_weights,
    fit_generalised_pareto,
    pareto_k,
    smooth_weights,
)


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pareto(alpha: float, num: int, rows: int, seed: int) -> Tensor:
    """log of Pareto(α) weights: no moment of order α or more, so k = 1/α."""
    return torch.rand(num, rows, dtype=torch.float64, generator=draws(seed)).log().neg() / alpha


@pytest.mark.parametrize("k", [-0.3, 0.0, 0.4, 0.9, 1.5])
def test_fit_recovers_a_generalised_pareto_distribution(k):
    # 60 rows of 800 draws: the error of a row is about (1 + k)/√800 < 0.09 and the mean over rows within 0.012; the
    # limits are at least 4 of these (chance of a false alarm below 1e-4).
    x = torch.from_numpy(stats.genpareto.rvs(k, scale=2.0, size=(800, 60), random_state=7)).sort(0).values
    fitted = fit_generalised_pareto(x)
    assert abs(fitted.k.mean().item() - k) < 0.05
    assert (fitted.k - k).abs().max().item() < 0.4
    assert abs(fitted.scale.mean().item() - 2.0) < 0.1


def test_fit_is_near_the_maximum_of_the_likelihood_of_scipy():
    x = stats.genpareto.rvs(0.5, size=600, random_state=3)
    fitted = fit_generalised_pareto(torch.from_numpy(x).sort().values.unsqueeze(-1))
    ours = stats.genpareto.logpdf(x, fitted.k.item(), scale=fitted.scale.item()).sum()
    shape, _, scale = stats.genpareto.fit(x, floc=0)
    assert ours > stats.genpareto.logpdf(x, shape, scale=scale).sum() - 0.5


def slow_fit(x: list[float]) -> tuple[float, float]:
    """Zhang and Stephens for one sorted sample, number by number."""
    n, grid = len(x), 30 + int(len(x) ** 0.5)
    quartile = x[int(n / 4 + 0.5) - 1]
    b = [1 / x[-1] + (1 - math.sqrt(grid / (j - 0.5))) / (3 * quartile) for j in range(1, grid + 1)]
    k = [sum(math.log1p(-t * v) for v in x) / n for t in b]
    likelihood = [n * (math.log(-t / s) - s - 1) for t, s in zip(b, k, strict=True)]
    weights = [1 / sum(math.exp(other - own) for other in likelihood) for own in likelihood]
    mean = sum(w * t for w, t in zip(weights, b, strict=True))
    shape = sum(math.log1p(-mean * v) for v in x) / n
    return (n * shape + 10 * 0.5) / (n + 10), -shape / mean


@pytest.mark.parametrize("n", [5, 13, 100])
def test_fit_agrees_with_its_slow_twin(n):
    x = torch.from_numpy(stats.genpareto.rvs(0.8, size=(n, 4), random_state=n)).sort(0).values
    fitted = fit_generalised_pareto(x)
    expected = torch.tensor([slow_fit(row) for row in x.T.tolist()], dtype=torch.float64)
    torch.testing.assert_close(torch.stack([fitted.k, fitted.scale], -1), expected)


def test_zeros_in_front_do_not_count():
    x = torch.from_numpy(stats.genpareto.rvs(0.4, size=(200, 3), random_state=5)).sort(0).values
    alone = fit_generalised_pareto(x)
    padded = fit_generalised_pareto(torch.cat([torch.zeros(50, 3), x]))
    torch.testing.assert_close(padded.k, alone.k, atol=0.02, rtol=0)  # the grid of b has another size


@pytest.mark.parametrize("alpha", [0.8, 1.25, 2.0, 5.0])
def test_k_of_pareto_weights_is_one_over_alpha(alpha):
    # 190 exceedances a row and 50 rows: standard error of the mean (1 + k)/√(190·50) < 0.025; the prior pulls k by
    # (k − ½)·10/200 < 0.04. Limit 0.15, false alarms below 1e-5.
    assert abs(pareto_k(pareto(alpha, 4000, 50, seed=1)).mean().item() - 1 / alpha) < 0.15


def test_k_ignores_scale_and_order():
    log_weights = pareto(1.5, 500, 4, seed=2)
    expected = pareto_k(log_weights)
    torch.testing.assert_close(pareto_k(log_weights + 300), expected)
    torch.testing.assert_close(pareto_k(log_weights.flip(0) - 300), expected)


def test_light_tails_are_reliable_and_heavy_tails_are_not():
    # k̂ of log-normal weights with σ = ½ is near 0.2 ± 0.1 at 1000 draws; of σ = 4 near 1.1 ± 0.2.
    normal = torch.randn(1000, 40, dtype=torch.float64, generator=draws(3))
    assert (pareto_k(normal / 2) < RELIABLE_K).all()
    assert (pareto_k(normal * 4) > RELIABLE_K).double().mean() > 0.9


def test_ties_zeros_and_short_tails():
    flat = torch.zeros(400)
    one_in_400 = torch.zeros(400).index_fill(0, torch.tensor([7]), 20.0)
    half_zero = torch.cat([torch.zeros(200), torch.full((200,), -math.inf)])
    nothing = torch.full((400,), -math.inf)
    k = pareto_k(torch.stack([flat, one_in_400, half_zero, nothing], -1))
    assert k.tolist() == [0.0, math.inf, 0.0, 0.0]
    assert pareto_k(torch.zeros(1, 2)).tolist() == [0.0, 0.0]


def test_smoothing_keeps_the_bulk_and_the_largest_and_lowers_the_error():
    log_weights = pareto(1.6, 1000, 200, seed=4)
    smoothed = smooth_weights(log_weights)
    torch.testing.assert_close(smoothed.pareto_k, pareto_k(log_weights))
    body = log_weights < log_weights.sort(0).values[-95]
    torch.testing.assert_close(smoothed.log_weights[body], log_weights[body])
    assert (smoothed.log_weights.max(0).values <= log_weights.max(0).values + 1e-9).all()
    truth = math.log(1.6 / 0.6)
    error = [
        (w.logsumexp(0) - math.log(1000) - truth).square().mean().item() for w in (smoothed.log_weights, log_weights)
    ]
    assert error[0] < error[1]  # seed 4; lower in every one of twenty other seeds


def test_smoothed_order_statistics_match_the_slow_formula():
    log_weights = pareto(2.0, 400, 1, seed=8)
    smoothed, k = smooth_weights(log_weights)
    w = log_weights[:, 0].exp() / log_weights.exp().max()
    tail = w.sort().values[-60:]  # min(400/5, 3·20)
    cutoff = w.sort().values[-61]
    fitted = fit_generalised_pareto((tail - cutoff).unsqueeze(-1))
    expected = [
        cutoff.item() + stats.genpareto.ppf((j + 0.5) / 60, k.item(), scale=fitted.scale.item()) for j in range(60)
    ]
    expected = torch.tensor(expected, dtype=torch.float64).clamp(max=1.0).log() + log_weights.max()
    torch.testing.assert_close(smoothed[:, 0].sort().values[-60:], expected)


@pytest.mark.parametrize(("sigma", "num"), [(0.1, 64), (0.7, 64), (0.7, 1000), (1.5, 4000)])
def test_interval_covers_at_its_rate(sigma, num):
    # Log-normal weights have mean e^{σ²/2}. 600 rows at 95 %: fewer than 0.91 covered has probability below 1e-4; the
    # delta method itself loses about one point at σ = 1.5.
    estimate = estimate_from_weights(sigma * torch.randn(num, 600, dtype=torch.float64, generator=draws(11)))
    truth = sigma**2 / 2
    assert ((estimate.low <= truth) & (truth <= estimate.high)).double().mean() > 0.91


def test_interval_of_a_heavy_tail_says_so():
    # σ = 3 at 500 draws: the plain 95 % interval holds the truth in about two thirds of the rows.
    estimate = estimate_from_weights(3 * torch.randn(500, 400, dtype=torch.float64, generator=draws(12)))
    assert ((estimate.low <= 4.5) & (estimate.high >= 4.5)).double().mean() > 0.88
    assert (estimate.pareto_k > RELIABLE_K).double().mean() > 0.9
    assert torch.isinf(estimate.high).any()


def test_almost_equal_weights_have_a_narrow_interval_whatever_their_shape():
    log_weights = 1e-3 * pareto(0.5, 64, 50, seed=13).clamp(max=100)
    estimate = estimate_from_weights(log_weights)
    assert (estimate.high - estimate.low).max() < 0.1
    assert (estimate.effective_share > 0.99).all()


def test_listed_part_adds_no_noise():
    noise = torch.randn(200, 5, dtype=torch.float64, generator=draws(14))
    listed = torch.tensor([-math.inf, 0.0, 5.0, 20.0, 40.0], dtype=torch.float64)
    estimate = estimate_from_weights(noise, listed)
    torch.testing.assert_close(estimate.value, torch.logaddexp(noise.logsumexp(0) - math.log(200), listed))
    width = estimate.high - estimate.low
    assert (width[1:] < width[:-1]).all()
    assert (estimate.low >= listed).all()
    assert (estimate.effective_share[1:] >= estimate.effective_share[:-1]).all()


def test_all_weights_on_listed_points():
    estimate = estimate_from_weights(torch.full((50, 2), -math.inf), torch.tensor([1.0, 2.0]))
    assert estimate.low.tolist() == estimate.value.tolist() == estimate.high.tolist() == [1.0, 2.0]
    assert estimate.effective_share.tolist() == [1.0, 1.0]


def test_works_on_the_meta_device():
    log_weights = torch.zeros(100, 3, device="meta")
    assert estimate_from_weights(log_weights).high.shape == (3,)
    assert smooth_weights(log_weights).log_weights.shape == (100, 3)
