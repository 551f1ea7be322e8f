"""Held-out rows scored with fresh draws: the objective, the likelihood, and what the guards of training look at."""

from typing import NamedTuple

import torch

from jebm_core.distributed import ALONE, PARTS, Group
from jebm_core.losses import effective_share, estimated_log_partition, joint_objective, score_draws, total_mass
from jebm_core.model import JointModel
from jebm_core.proposals import Proposal
from jebm_core.steps import Rows, settle_constant

_ELEMENTS = 2**24  # numbers in a temporary tensor


class HeldOut(NamedTuple):
    """Held-out rows scored with fresh draws."""

    objective: float
    nll: float
    effective_share: float
    total_mass: float


@torch.no_grad()
def held_out(
    model: JointModel,
    rows: Rows,
    proposal: Proposal,
    *,
    samples: int,
    generator: torch.Generator | None = None,
    chunk: int = 256,
    group: Group = ALONE,
    key: tuple[int, ...] = (),
) -> HeldOut:
    """Score held-out rows with fresh draws: objective, negative log-likelihood with the *estimated* log-partition,
    and the two guards. Processes of a group share the chunks."""
    model.eval()
    objective, nll, share, mass = [], [], [], []
    single = rows.context.is_single
    chunk = max(1, min(chunk, _ELEMENTS // (samples * model.space.num_statistics)))
    chunk = min(chunk, -(-len(rows.y) // PARTS)) if group.joined else chunk
    chunk = len(rows.y) if single else chunk  # one set of draws serves all rows
    for number, part in enumerate(torch.arange(len(rows.y), device=rows.y.device).split(chunk)):
        if number % group.size != group.rank and not single:
            for figures in (objective, nll, share, mass):
                figures.append(rows.context.x.new_zeros(len(part)))
            continue
        group.seed(generator, *key, number)
        batch = rows.rows(part)
        p = model(batch.context.condensed())
        own = p.as_draws(batch.y)
        log_q, g = p.reference.log_prob(own).flatten(), p.affinity(own).flatten()
        if model.base.is_exact(p):
            objective.append(p.log_partition - g - log_q)
            nll.append(objective[-1])
            share.append(torch.ones_like(g))
            mass.append(torch.ones_like(g))
            continue
        scored = score_draws(p, proposal.draw(p, samples, generator=generator))
        if batch.context.is_single:
            settle_constant(model, p, scored)
        objective.append(joint_objective(p, batch.y, scored) - log_q)
        nll.append(estimated_log_partition(scored) - g - log_q)
        share.append(effective_share(scored).expand_as(g))
        mass.append(total_mass(p, scored).expand_as(g))
    model.train()
    found = torch.stack([torch.cat(figures) for figures in (objective, nll, share, mass)])
    if single:
        group.copy_first_(model.correction)
    else:
        group.sum_(found)
    return HeldOut(found[0].mean().item(), found[1].mean().item(), found[2].median().item(), found[3].median().item())
