"""Slow, obvious twins that list every combination in double precision, and the statistics that tests share.

Nothing here knows a closed form: a sum over 𝒴 is a sum over its listing, a maximum over distributions is found by
bisection on f alone, an expectation of draws is held against the listing.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor

from jebm_core.divergences import FDivergence
from jebm_core.model import ConditionalModel
from jebm_core.spaces import OutputSpace

FALSE_ALARM = 1e-4
"""Probability with which a statistical test fails although the code is right, if its seed were drawn anew."""


@contextmanager
def double_precision() -> Iterator[None]:
    """Everything that follows the default dtype computes in float64, so that tolerances can be tight."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def uniform(seed: int, *shape: int, spread: float = 1.0) -> Tensor:
    """Numbers in ±spread, in the default dtype."""
    return (2 * torch.rand(shape, generator=seeded(seed)) - 1) * spread


# ---- sums over the listing -------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """A conditional model written out: one row a combination, one column a context, in float64."""

    points: Tensor
    log_q: Tensor
    g: Tensor

    @property
    def log_partition(self) -> Tensor:
        """log Z_q(x)."""
        return (self.log_q + self.g).logsumexp(0)


def everywhere(space: OutputSpace, batch: int) -> Tensor:
    """The listing as draws of each context's own: [combination, batch, item]."""
    return space.listing().unsqueeze(1).expand(-1, batch, -1)


def listed(p: ConditionalModel) -> Listed:
    """q and g of every combination, one at a time through the path that scores draws."""
    batch = p.scores.theta.shape[0]
    points = everywhere(p.space, batch)
    return Listed(p.space.listing(), p.reference.log_prob(points).double(), p.affinity(points).double())


def linear_log_partition(space: OutputSpace, theta: Tensor) -> Tensor:
    """A(θ) under the counting measure."""
    return (theta.double() @ space.statistics(space.listing()).double().T).logsumexp(-1)


def linear_probabilities(space: OutputSpace, theta: Tensor) -> Tensor:
    """p ∝ exp⟨θ, φ⟩ of each listed combination: [*batch, combination]."""
    return (theta.double() @ space.statistics(space.listing()).double().T).softmax(-1)


def marginals(space: OutputSpace, probabilities: Tensor) -> Tensor:
    """E[φ] from [*batch, combination]."""
    return probabilities.double() @ space.statistics(space.listing()).double()


def joint_objective(f: FDivergence, whole: Listed, tau: Tensor, g_observed: Tensor) -> Tensor:
    """τ + Σ_y q(y) f*(g(y) − τ) − g(observed), differentiable."""
    return tau + (whole.log_q.exp() * f.conjugate(whole.g - tau)).sum(0) - g_observed


# ---- f-divergences from f alone --------------------------------------------------------------------------------------


def slope(f: FDivergence, u: Tensor) -> Tensor:
    """f′(u) by automatic differentiation."""
    u = u.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(f.generator(u).sum(), u)
    return gradient


def best_ratio(f: FDivergence, v: Tensor) -> Tensor:
    """argmax_{u ≥ 0} uv − f(u), by bisection for f′(u) = v on log u in ±70."""
    low, high = torch.full_like(v, -70.0), torch.full_like(v, 70.0)
    for _ in range(52):
        middle = (low + high) / 2
        rising = slope(f, middle.exp()) < v
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    return ((low + high) / 2).exp()


def maximum(f: FDivergence, log_q: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """max_p ⟨p, g⟩ − D_f(p, q) over the simplex, and its multiplier τ, by bisection for Σ_y q(y) u(g(y) − τ) = 1."""
    low, high = g.amin(0), g.amax(0)
    for _ in range(40):
        middle = (low + high) / 2
        too_much = (log_q.exp() * best_ratio(f, g - middle)).sum(0) > 1
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    tau = (low + high) / 2
    ratio = best_ratio(f, g - tau)
    return (log_q.exp() * (ratio * g - f.generator(ratio))).sum(0), tau


# ---- draws against the listing ---------------------------------------------------------------------------------------


def index_of(space: OutputSpace, y: Tensor) -> Tensor:
    """Where each combination stands in the listing, by comparing all items; −1 where it does not."""
    same = (y.long().unsqueeze(-2) == space.listing()).all(-1)
    return torch.where(same.any(-1), same.int().argmax(-1), -1)


def fit_p_value(index: Tensor, probabilities: Tensor) -> float:
    """Chi-square goodness of fit of draws, given by their place in the listing; rare combinations share a cell."""
    expected = probabilities.double() * index.numel()
    observed = torch.bincount(index.reshape(-1), minlength=len(expected)).double()
    if bool((observed[probabilities == 0] > 0).any()):
        return 0.0
    rare = expected < 5
    cells = [(observed[~rare], expected[~rare])]
    if bool(expected[rare].sum() > 5):
        cells.append((observed[rare].sum()[None], expected[rare].sum()[None]))
    seen, hoped = (torch.cat(c) for c in zip(*cells, strict=True))
    if len(seen) < 2:
        return 1.0
    return float(stats.chi2.sf(((seen - hoped).square() / hoped).sum().item(), len(seen) - 1))


def z_scores(samples: Tensor, truth: Tensor) -> Tensor:
    """(mean − truth) / standard error over the first axis; 0 where neither varies nor differs."""
    difference = samples.double().mean(0) - truth.double()
    error = samples.double().std(0) / math.sqrt(len(samples))
    exact = (error < 1e-9) & (difference.abs() < 1e-7)
    return torch.where(exact, 0.0, difference / error)


def z_limit(count: int) -> float:
    """The |z| that ``count`` tests together exceed with probability `FALSE_ALARM` (Bonferroni)."""
    return float(stats.norm.isf(FALSE_ALARM / (2 * max(1, count))))
