"""The exact oracles that list every combination, in chunks, so that memory is bounded for any size of space."""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.distributions import sample_categorical
from jebm_core.interactions import QuadraticInteraction
from jebm_core.model import ConditionalModel
from jebm_core.spaces import OutputSpace

ELEMENTS = 2**23
"""Numbers in a temporary tensor."""
_HALVINGS = 50  # of the interval of a multiplier: 1e-15 of its width


def listed_log_partition(p: ConditionalModel, monitor: Callable[[float], None] | None = None) -> Float[Tensor, " row"]:
    """log Σ_y q(y|x) e^{g(x,y)} over every combination, by a running log-sum-exp in float64.

    Cost O(rows · |𝒴| · statistics) for linear and low-rank scores, statistics² for full pairs; memory bounded for any
    size.
    """
    total = torch.full_like(p.scores.theta[:, 0], -math.inf, dtype=torch.float64)
    size = p.space.cardinality()
    for start, points in _combinations(p.space, _points_at_once(p), p.scores.theta.device):
        log_w = p.reference.log_prob_of(points) + p.affinity_of(points)
        total = torch.logaddexp(total, log_w.double().logsumexp(0))
        if monitor is not None:
            monitor(min(1.0, (start + len(points)) / size))
    return total


def listed_multiplier(p: ConditionalModel, monitor: Callable[[float], None] | None = None) -> Float[Tensor, " row"]:
    """τ with Σ_y q(y|x) (f*)′(g(x,y) − τ) = 1, by bisection over every combination, in float64.

    For KL it is log Z_q(x). (f*)′(0) = 1 and (f*)′ increases, so that the total is at most 1 at τ = max g and at least
    1 at τ = min g; τ is also at least max g less the upper end of the domain of f*. Cost: 50 passes over rows · |𝒴|
    numbers, which are all kept.
    """
    f = p.divergence
    parts = [
        (p.reference.log_prob_of(points).double(), p.affinity_of(points).double())
        for _, points in _combinations(p.space, _points_at_once(p), p.scores.theta.device)
    ]
    log_q, g = torch.cat([a for a, _ in parts]), torch.cat([b.expand_as(a) for a, b in parts])
    possible = log_q > -math.inf
    high = torch.where(possible, g, -math.inf).amax(0)
    low = torch.maximum(torch.where(possible, g, math.inf).amin(0), high - f.upper)
    for step in range(_HALVINGS):
        middle = (low + high) / 2
        too_much = (log_q + f.log_density_ratio(g - middle)).logsumexp(0) > 0
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
        if monitor is not None:
            monitor((step + 1) / _HALVINGS)
    return (low + high) / 2


def listed_draws(
    p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None
) -> Int64[Tensor, "sample row item"]:
    """Exact draws of p(y|x) ∝ q(y|x) e^{g(x,y)} for KL, from the list of every combination; owes nothing to τ.

    Cost O(rows · |𝒴| · statistics); memory rows · |𝒴|.
    """
    parts = [
        (points, (p.reference.log_prob_of(points) + p.affinity_of(points)).double())
        for _, points in _combinations(p.space, _points_at_once(p), p.scores.theta.device)
    ]
    points, log_w = torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])
    return points[sample_categorical(log_w.T, num_samples, generator=generator)]


def _combinations(
    space: OutputSpace, points_at_once: int, device: torch.device
) -> Iterator[tuple[int, Int64[Tensor, "point item"]]]:
    """(how many came before, some combinations) until each has come once, in the order of ``space.listing()``."""
    size = space.cardinality()
    if not space.factorises:
        points = space.listing(device)
        for start in range(0, size, points_at_once):
            yield start, points[start : start + points_at_once]
        return
    sizes = integers_on(space.options_per_item(), device)
    strides = torch.cat([sizes.new_ones(1), sizes[:-1].cumprod(0)])
    for start in range(0, size, points_at_once):
        index = torch.arange(start, min(size, start + points_at_once), device=device)
        yield start, index.unsqueeze(-1) // strides % sizes


def score_width(p: ConditionalModel) -> int:
    """Numbers that g(x, y) is made of: the statistics, and for a network the products of its hidden layer."""
    return p.space.num_statistics + _hidden(p) ** 2


def _hidden(p: ConditionalModel) -> int:
    h = p.scores.interaction
    return 1 if h is None or isinstance(h, QuadraticInteraction) else 64


def _points_at_once(p: ConditionalModel) -> int:
    """How many combinations keep pairs of statistics, and the hidden layer of a network a row, within memory."""
    return max(64, ELEMENTS // max(p.space.num_statistics**2, p.scores.theta.shape[0] * _hidden(p)))
