"""Weighted combinations that stand for p(·|x): what predictions, marginals and samples are computed from."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.annealed import AnnealedProposal
from jebm_core.losses import score_draws
from jebm_core.model import ConditionalModel
from jebm_core.proposals import ListingProposal, Proposal

WANTED = 256
"""Effective sample size that answers should rest on."""
MOST = 16
"""How many times the usual number of draws a row may get for it."""
ANNEALED = 512
"""Annealed draws a row, at least."""


class WeightedDraws(NamedTuple):
    """Combinations with normalised weights: Σ_m exp(log_weight) = 1 for every row.

    ``effective`` is the effective sample size (the number of combinations where all are listed).
    """

    y: Int64[Tensor, "draw batch item"]
    log_weight: Float[Tensor, "draw batch"]
    effective: Float[Tensor, " batch"]
    listed: bool


def draw_weighted(
    p: ConditionalModel, proposal: Proposal, num_samples: int, generator: torch.Generator | None
) -> WeightedDraws:
    """Draws and listed points of a proposal as one set with normalised weights (f-divergences other than KL
    included)."""
    scored = score_draws(p, proposal.draw(p, num_samples, generator=generator))
    draws = scored.draws
    if p.divergence.name == "kl":
        own, shared = draws.log_weight + scored.affinity, draws.points_log_weight + scored.points_affinity
    else:
        tau = p.log_partition
        own = draws.log_weight + p.divergence.log_density_ratio(scored.affinity - tau)
        shared = draws.points_log_weight + p.divergence.log_density_ratio(scored.points_affinity - tau)
    log_weight = torch.cat([shared, own])
    total = log_weight.logsumexp(0)
    y = draws.y.long()
    if draws.points.shape[0]:
        points = draws.points.unsqueeze(1).expand(-1, log_weight.shape[1], -1)
        y = torch.cat([points, y]) if y.shape[0] else points
    relative = torch.exp(own - total + math.log(max(1, own.shape[0])))
    noise = relative.var(0, correction=0) if own.shape[0] else torch.zeros_like(total)
    effective = (own.shape[0] or draws.points.shape[0]) / (1 + noise)
    return WeightedDraws(y, log_weight - total, effective, listed=own.shape[0] == 0)


@torch.no_grad()
def enough_draws(p: ConditionalModel, proposal: Proposal, num_samples: int) -> tuple[Proposal, int]:
    """What answers should be drawn with so that about half of the rows rest on an effective 256 draws: the proposal
    where it does; else annealed draws where there are such, or up to `MOST` times as many as usual.

    Judged by one set of draws for these contexts, with random numbers of its own.
    """
    if isinstance(proposal, ListingProposal) or not len(p.scores.theta):
        return proposal, num_samples
    generator = torch.Generator(p.scores.theta.device).manual_seed(0)
    effective = draw_weighted(p, proposal, num_samples, generator).effective.median().item()
    times = math.ceil(min(WANTED, num_samples) / max(effective, 1.0))
    if times > 1 and AnnealedProposal.applies(p):
        return AnnealedProposal(), max(ANNEALED, num_samples // 2)
    return proposal, num_samples * min(MOST, max(1, times))
