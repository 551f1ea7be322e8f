"""Pareto-smoothed importance sampling: how heavy the tail of the weights is, and what an average of them is worth.

The mean of S weights w estimates a sum with the noise of its largest draws. The M = min(S/5, 3√S) largest are fitted by
a generalised Pareto distribution; its shape k̂ says how many moments the weights have: above ½ no variance, above 1 no
mean. Up to k̂ = 0.7 an average of realistic size can be relied on; above it the draws don't cover what they are to
estimate, whatever the variance among them says.

Sources: Vehtari, Simpson, Gelman, Yao and Gabry, *Pareto Smoothed Importance Sampling*, JMLR 2024; Zhang and Stephens,
    *Technometrics* 2009 (the fit).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

RELIABLE_K = 0.7
"""Largest k̂ at which an average of weights can be relied on (Vehtari et al. 2024)."""

_MIN_TAIL = 5  # with fewer exceedances there is nothing to fit
_FLAT = 3.0  # a largest weight of at most three times the mean leaves no room for a heavy tail
_NO_VARIANCE = 0.5  # the k̂ from which a tail has infinite variance, so that the variance among draws understates it
_PRIOR_DRAWS, _PRIOR_K = 10.0, 0.5  # the shape is pulled to ½ as if ten exceedances had said so


class ParetoTail(NamedTuple):
    """A generalised Pareto distribution a row, P(X > x) = (1 + k x/σ)^(−1/k).

    Attributes:
        k: shape; +inf where the tail is heavy and too short to fit, 0 where the weights are flat.
        scale: σ, in the units of the exceedances.
    """

    k: Float[Tensor, " row"]
    scale: Float[Tensor, " row"]


class Smoothed(NamedTuple):
    """Weights whose largest values are replaced by the expected order statistics of the fitted tail."""

    log_weights: Float[Tensor, "draw row"]
    pareto_k: Float[Tensor, " row"]


class WeightedEstimate(NamedTuple):
    """log of (a known part + the mean of weights), row by row, in nats.

    Attributes:
        low, high: 95 % interval of the logarithm of what is estimated.
        effective_share: effective sample size over the number of draws; 1 where draws hold no variance.
    """

    value: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]
    effective_share: Float[Tensor, " row"]
    pareto_k: Float[Tensor, " row"]


def pareto_k(log_weights: Float[Tensor, "draw row"]) -> Float[Tensor, " row"]:
    """Shape k̂ of the upper tail of the weights, row by row. Cost O(S log S) a row and the fit, O(M^1.5).

    The scale of the weights is irrelevant, weights of zero (−inf) are allowed, and equal weights (frequent in discrete
    spaces) count once above the cutoff. Flat weights, the largest at most three times the mean, that leave no tail to
    fit have k̂ = 0; a tail that is not flat and too short has +inf.

    >>> pareto_k(torch.zeros(100, 2)).tolist()
    [0.0, 0.0]
    """
    exceedances, _, _ = _tail(log_weights)
    return _shape(log_weights, exceedances).k


def smooth_weights(log_weights: Float[Tensor, "draw row"]) -> Smoothed:
    """Pareto-smoothed weights on the scale of the given ones, never above the largest, and k̂. Rows with nothing to fit
    stay as they are.

    >>> smooth_weights(torch.zeros(100, 1)).log_weights.abs().max().item()
    0.0
    """
    exceedances, cutoff, order = _tail(log_weights)
    fitted = _shape(log_weights, exceedances)
    count = (exceedances > 0).sum(0)
    length = exceedances.shape[0]
    rank = torch.arange(length, device=order.device).unsqueeze(-1) - (length - count)
    upper = 1 - (rank.double() + 0.5) / count.clamp(min=1)
    quantile = fitted.scale * torch.expm1(-fitted.k * upper.clamp(1e-12, 1.0).log()) / fitted.k
    quantile = torch.where(fitted.k.abs() < 1e-6, -fitted.scale * upper.clamp(min=1e-12).log(), quantile)
    largest = _largest(log_weights)
    replaced = (cutoff + quantile).clamp(max=1.0).log() + largest
    can = (exceedances > 0) & (count >= _MIN_TAIL) & torch.isfinite(fitted.k)
    tail = order[-length:]
    old = log_weights.double().gather(0, tail)
    return Smoothed(log_weights.double().scatter(0, tail, torch.where(can, replaced, old)), fitted.k)


def estimate_from_weights(
    log_weights: Float[Tensor, "draw row"], listed: Float[Tensor, " row"] | None = None
) -> WeightedEstimate:
    """log(e^listed + mean of e^log_weights) with a 95 % interval, in nats; −inf or None where nothing is listed.

    With s² = log(1 + relative variance of the estimate), the estimate is taken as log-normal with mean 1: log Ẑ + s²/2
    ± t·s, t the quantile of Student's distribution on S − 1 degrees of freedom. Where k̂ > 0.7 that is too narrow, and
    the interval is widened: downwards to Markov's bound log Ẑ − log 40, valid for every non-negative unbiased estimate,
    and upwards by the mass that the fitted tail holds beyond the largest draw, S⁻¹ E[w | w > max], which is infinite
    from k̂ = 1: no draw bounds what none has seen.

    >>> e = estimate_from_weights(torch.zeros(50, 1))
    >>> e.value.item(), e.effective_share.item()
    (0.0, 1.0)
    """
    weights = log_weights.double()
    draws = weights.shape[0]
    known = torch.full_like(weights[0], -math.inf) if listed is None else listed.double()
    value = torch.logaddexp(weights.logsumexp(0) - math.log(draws), known)
    relative = torch.exp(weights - value).nan_to_num(nan=0.0)  # (−inf) − (−inf) where nothing has any weight
    variance = relative.var(0, correction=0)
    s = torch.log1p(variance / max(draws - 1, 1)).sqrt()
    reach = float(stats.t.ppf(0.975, max(draws - 1, 1))) * s
    low, high = value + s.square() / 2 - reach, value + s.square() / 2 + reach
    exceedances, cutoff, _ = _tail(log_weights)
    tail = _shape(log_weights, exceedances)
    # E[w | w > largest] of a generalised Pareto above its cutoff, in units of the largest weight.
    beyond = 1 + (tail.scale + tail.k * (1 - cutoff)) / (1 - tail.k)
    missed = torch.log1p(beyond / draws * torch.exp(_largest(log_weights) - value))
    uneven = _mean_over_largest(log_weights) * _FLAT < 1  # k̂ is scale-free: among almost equal weights it means nothing
    upwards, downwards = uneven & (tail.k > _NO_VARIANCE), uneven & (tail.k > RELIABLE_K)
    high = torch.where(upwards, torch.where(tail.k < 1, high + missed, math.inf), high)
    low = torch.where(downwards, torch.minimum(low, value - math.log(40.0)), low)
    return WeightedEstimate(value, torch.maximum(low, known), high, 1 / (1 + variance), tail.k)


def fit_generalised_pareto(exceedances: Float[Tensor, "draw row"]) -> ParetoTail:
    """Shape and scale of exceedances that are sorted upwards, by the quasi-Bayesian fit of Zhang and Stephens; zeros
    don't count.

    The likelihood is profiled in b = −k/σ: given b, k is the mean of log(1 − b x). b is averaged over a grid with the
    weights of its profile likelihood. Rows whose exceedances are all zero come back NaN.

    >>> x = torch.linspace(0.0005, 0.9995, 1000).double().unsqueeze(-1)
    >>> bool((fit_generalised_pareto(-x.flip(0).log()).k - 0.0).abs() < 0.05)  # exponential quantiles: k = 0
    True
    """
    x = exceedances.double()
    length = x.shape[0]
    count = (x > 0).sum(0)
    grid = 30 + math.isqrt(length)
    steps = 1 - (grid / (torch.arange(grid, device=x.device, dtype=x.dtype) + 0.5)).sqrt()
    quartile = (length - count + (count / 4 + 0.5).long() - 1).clamp(0, length - 1)
    b = 1 / x[-1] + steps.unsqueeze(-1) / (3 * x.gather(0, quartile.unsqueeze(0)))  # [grid, row]
    shape = torch.log1p(-b.unsqueeze(1) * x).sum(1) / count  # exceedances of zero add nothing to the sum
    profile = count * ((-b / shape).log() - shape - 1)
    b = (profile.softmax(0) * b).sum(0)
    k = torch.log1p(-b * x).sum(0) / count
    return ParetoTail((count * k + _PRIOR_DRAWS * _PRIOR_K) / (count + _PRIOR_DRAWS), -k / b)


def _largest(log_weights: Tensor) -> Tensor:
    """log of the largest weight of each row, 0 where all weights are zero."""
    top = log_weights.double().max(0).values
    return torch.where(top > -math.inf, top, 0.0)


def _mean_over_largest(log_weights: Tensor) -> Tensor:
    """Mean weight in units of the largest, 0 where all weights are zero."""
    return (log_weights.double() - _largest(log_weights)).exp().mean(0)


def _tail(log_weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(exceedances [M, row] upwards, cutoff [row], order [draw, row]) in units of the largest weight of each row."""
    draws = log_weights.shape[0]
    length = max(1, min(math.ceil(0.2 * draws), math.ceil(3 * math.sqrt(draws)), draws - 1))
    ordered, order = (log_weights.double() - _largest(log_weights)).exp().sort(0)
    cutoff = ordered[-length - 1] if draws > 1 else torch.zeros_like(ordered[0])
    return ordered[-length:] - cutoff, cutoff, order


def _shape(log_weights: Tensor, exceedances: Tensor) -> ParetoTail:
    """The fit, with k of 0 or +inf where there is nothing to fit."""
    fitted = fit_generalised_pareto(exceedances)
    mean = _mean_over_largest(log_weights)
    few = (exceedances > 0).sum(0) < _MIN_TAIL
    flat = torch.where((mean * _FLAT >= 1) | (mean == 0), 0.0, math.inf)
    # One rounding error above the cutoff is no exceedance: a spread below 1e-9 of the largest weight is flat as well.
    k = torch.where(few, flat, fitted.k)
    k = torch.where(exceedances[-1] < 1e-9, 0.0, k)
    return ParetoTail(k, torch.where(few, 0.0, fitted.scale))
