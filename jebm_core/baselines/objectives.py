"""From the name of a baseline to what it minimises on a batch."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from jebm_core.baselines.chains import PersistentChains
from jebm_core.baselines.losses import contrastive_loss, likelihood_loss, log_partition_of, noise_contrastive_loss
from jebm_core.baselines.sampler import Adversary, Sampler
from jebm_core.baselines.setups import Name
from jebm_core.model import JointModel
from jebm_core.proposals import ListingProposal, Proposal, TiltProposal
from jebm_core.recipes import Architecture, choose_proposals
from jebm_core.settings import FitSettings
from jebm_core.steps import Plan, Rows, objective_and_info

CHAINS = 4
"""Persistent chains of every training row; of a model without features, as many as the plan has draws."""
SWEEPS = 4
"""Moves of every chain between two steps, in times the number of items."""
SAMPLER_STEPS = 5
"""Steps of the sampler of min-max training for each step of g."""

Objective = Callable[[Rows, Tensor, torch.Generator], Tensor]
"""(some training rows, their places among all of them, the source of draws) → mean loss, differentiable in the model.

What else a baseline keeps from step to step – its chains, its sampler – is its own, and moves with every call.
"""


def make_objective(
    name: Name,
    model: JointModel,
    shape: Architecture,
    train: Rows,
    plan: Plan,
    settings: FitSettings,
    *,
    generator: torch.Generator | None = None,
) -> Objective:
    """What the baseline minimises.

    Args:
        settings: those of the baseline, see `jebm_core.baselines.setups.model_settings`.
        generator: of what is drawn before the first step.
    """
    match name:
        case "independent":
            return _likelihood(model, TiltProposal())
        case "exact":
            linear = model.unnormalised(train.context.rows(slice(0, 1))).is_linear
            return _likelihood(model, TiltProposal() if linear else ListingProposal(model.space, train.y.device))
        case "persistent-cd":
            return _persistent(model, train, plan, generator)
        case "min-max":
            return _adversarial(model, shape, train, plan)
        case "nce":
            return _noise_contrastive(model, plan)
        case _:
            # The strongest of the ladder: a fit would climb it where a guard fails, and nothing here does.
            return _joint(model, choose_proposals(model.space, model, train, settings)[-1], plan)


def measuring_proposal(model: JointModel, train: Rows, settings: FitSettings, *, listed: int) -> Proposal:
    """The strongest way to log Z: a list of spaces of up to ``listed`` combinations, else the end of the ladder."""
    if model.space.cardinality() <= listed:
        return ListingProposal(model.space, train.y.device)
    return choose_proposals(model.space, model, train, dataclasses.replace(settings, proposal="auto"))[-1]


def _likelihood(model: JointModel, proposal: Proposal) -> Objective:
    def objective(rows: Rows, _: Tensor, generator: torch.Generator) -> Tensor:
        p = model.unnormalised(rows.context.condensed())
        return likelihood_loss(p, rows.y, log_partition_of(p, proposal, 1, generator=generator)[0]).mean()

    return objective


def _persistent(model: JointModel, train: Rows, plan: Plan, start: torch.Generator | None) -> Objective:
    count = plan.samples if train.context.is_single else CHAINS
    chains = PersistentChains(model.reference, train.context, chains=count, sweeps=SWEEPS, generator=start)

    def objective(rows: Rows, index: Tensor, generator: torch.Generator) -> Tensor:
        p = model.unnormalised(rows.context.condensed())
        return contrastive_loss(p, rows.y, chains.advance(p, index, generator=generator)).mean()

    return objective


def _adversarial(model: JointModel, shape: Architecture, train: Rows, plan: Plan) -> Objective:
    sampler = Sampler(model.space, shape.features, shape.hidden).to(train.y.device)
    pace = {"steps": SAMPLER_STEPS, "learning_rate": plan.learning_rate, "clip": plan.clip}
    adversary = Adversary(sampler, draws=plan.samples, **pace)

    def objective(rows: Rows, _: Tensor, generator: torch.Generator) -> Tensor:
        context = rows.context.condensed()
        p = model.unnormalised(context)
        return contrastive_loss(p, rows.y, adversary.advance(p, context.x, generator=generator)).mean()

    return objective


def _noise_contrastive(model: JointModel, plan: Plan) -> Objective:
    def objective(rows: Rows, _: Tensor, generator: torch.Generator) -> Tensor:
        p = model(rows.context.condensed())
        noise = p.reference.sample(plan.samples, generator=generator)
        return noise_contrastive_loss(p, rows.y, noise).mean()

    return objective


def _joint(model: JointModel, proposal: Proposal, plan: Plan) -> Objective:
    def objective(rows: Rows, _: Tensor, generator: torch.Generator) -> Tensor:
        return objective_and_info(model, rows, proposal, plan.samples, generator)[0]

    return objective
