"""The joint objective, per example, and what a person watches while it falls.

    ℓ(x, y) = τ(x) + E_{y'∼q}[f*(g(x,y') − τ(x))] − g(x, y)

For KL, ℓ = τ + E_q e^{g−τ} − 1 − g ≥ log Z_q − g for every τ: an upper bound of the negative log-likelihood up to
−log q(y|x), tight where
τ = log Z_q. The caller reduces over examples.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from jebm_core.model import ConditionalModel
from jebm_core.proposals import Draws


class Scored(NamedTuple):
    """Draws with their affinities: what every estimate is a function of."""

    draws: Draws
    affinity: Float[Tensor, "sample batch"]
    points_affinity: Float[Tensor, "point batch"]


def score_draws(p: ConditionalModel, draws: Draws) -> Scored:
    """Evaluate g on the draws, once."""
    own = p.scores.value(draws.y, draws.phi, draws.linear) if draws.y.shape[0] else draws.log_weight
    shared = p.affinity_of(draws.points, draws.points_phi) if draws.points.shape[0] else draws.points_log_weight
    return Scored(draws, own, shared)


def joint_objective(p: ConditionalModel, y: Integer[Tensor, "row item"], scored: Scored) -> Float[Tensor, " row"]:
    """ℓ(x, y) estimated from weighted draws; unbiased with unbiased gradients. A row a context, or all rows of one.

    Where the proposal knows E_r[g], its difference from the mean over the draws is subtracted: a term of value
    zero whose gradient has mean zero
    and is almost the noise of the sampled term when r is close to p.
    """
    draws, f = scored.draws, p.divergence
    tau = p.log_partition
    expectation = torch.full_like(tau, f.limit)
    if draws.y.shape[0]:
        expectation = expectation + f.weighted_conjugate(draws.log_weight, scored.affinity - tau).sum(0)
    if draws.points.shape[0]:
        expectation = expectation + f.weighted_conjugate(draws.points_log_weight, scored.points_affinity - tau).sum(0)
    loss = tau + expectation - p.affinity(p.as_draws(y)).flatten()
    if draws.mean_affinity is not None and f.name == "kl":
        variate = scored.affinity.mean(0) - draws.mean_affinity
        loss = loss - (variate - variate.detach())
    return loss


def estimated_log_partition(scored: Scored) -> Float[Tensor, " batch"]:
    """log Ẑ_q(x) = log Σ_m e^{a_m + g_m} in nats: the estimate that owes nothing to τ."""
    own = scored.draws.log_weight + scored.affinity
    shared = scored.draws.points_log_weight + scored.points_affinity
    return torch.cat([own, shared]).logsumexp(0)


def effective_share(scored: Scored) -> Float[Tensor, " batch"]:
    """Effective sample size over the number of draws, in (0, 1]: 1 / (1 + Var(S e^{a+g}) / Ẑ²).

    Listed points add no variance. For draws alone it is (Σw)² / (S Σw²), the usual effective sample size.
    """
    own = scored.draws.log_weight + scored.affinity
    samples = own.shape[0]
    if samples == 0:
        return torch.ones_like(own.sum(0))
    relative = torch.exp(
        own - estimated_log_partition(scored) + math.log(samples)
    )  # S·w/Ẑ: mean is the share of Ẑ that was drawn
    return 1 / (1 + relative.var(0, correction=0))


def total_mass(p: ConditionalModel, scored: Scored) -> Float[Tensor, " batch"]:
    """E_q[(f*)′(g − τ)]: what the model's probabilities add up to; 1 where τ is right."""
    f, tau = p.divergence, p.log_partition
    own = torch.exp(scored.draws.log_weight + f.log_density_ratio(scored.affinity - tau))
    shared = torch.exp(scored.draws.points_log_weight + f.log_density_ratio(scored.points_affinity - tau))
    return own.sum(0) + shared.sum(0)
