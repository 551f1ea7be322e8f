"""The loop that every baseline is trained by: that of `jebm_core.training`, without guards on τ.

After every epoch the likelihood of the held-out rows is computed with a log-partition that owes nothing to τ, and the
best model is kept. An epoch whose log-partition rests on too few effective draws is never the best one: where draws
miss the model its likelihood looks better than it is.
"""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from jebm_core.baselines.losses import log_partition_of
from jebm_core.baselines.objectives import Objective
from jebm_core.errors import Cancelled
from jebm_core.model import Context, JointModel
from jebm_core.proposals import AnchoredProposal, ListingProposal, Proposal
from jebm_core.steps import Plan, Rows, make_optimizer
from jebm_core.training import MIN_EFFECTIVE_DRAWS, StopReason, TrainingState

MEASURED = 512
"""Draws a held-out row, where its log-partition is estimated."""
SINGLE = 32
"""How many times the draws where one context stands for all rows."""
_ELEMENTS = 2**25


class Measured(NamedTuple):
    """Held-out rows under a model.

    Attributes:
        nll: mean −log p(y|x) in nats, with the exact or estimated log-partition.
        effective_share: what the draws are worth, 0 to 1, median over rows; 1 where nothing is drawn.
        total_mass: what the probabilities add up to with the learned τ, median over rows; None without one.
    """

    nll: float
    effective_share: float
    total_mass: float | None


class EpochResult(NamedTuple):
    """One epoch: the mean loss of its steps, and the held-out rows after it."""

    epoch: int
    loss: float
    held_out: Measured
    seconds: float


def measuring_draws(rows: Rows) -> int:
    """Draws a context from which its log-partition is estimated."""
    return MEASURED * (SINGLE if rows.context.is_single else 1)


@torch.no_grad()
def measure(
    model: JointModel, rows: Rows, proposal: Proposal, *, learned: bool, generator: torch.Generator | None = None
) -> Measured:
    """Score held-out rows in evaluation mode; ``learned`` says whether τ is looked at, too.

    Cost: ``measuring_draws`` scores a context, or the listing.
    """
    was_training = model.training
    model.eval()
    samples, space = measuring_draws(rows), model.space
    anchors = len(proposal.anchors) if isinstance(proposal, AnchoredProposal) else 0
    listed = isinstance(proposal, ListingProposal)
    each = space.cardinality() if listed else samples * max(space.num_statistics, anchors)
    size = len(rows.y) if rows.context.is_single else max(1, min(256, _ELEMENTS // each))
    nll, share, mass = [], [], []
    for part in torch.arange(len(rows.y), device=rows.y.device).split(size):
        batch = rows.rows(part)
        context = batch.context.condensed()
        p = model(context) if learned else model.unnormalised(context)
        log_z, effective = log_partition_of(p, proposal, samples, generator=generator)
        own = p.as_draws(batch.y)
        nll.append((log_z - p.affinity(own) - p.reference.log_prob(own)).flatten())
        share.append(effective)
        mass.append((log_z - p.log_partition).exp())
    model.train(was_training)
    return Measured(
        torch.cat(nll).mean().item(),
        torch.cat(share).median().item(),
        torch.cat(mass).median().item() if learned else None,
    )


@final
class Loop:
    """Epochs until a `StopReason`, with the optimizer, the clipping and the patience of `jebm_core.training.Trainer`.

    Args:
        measuring: the proposal behind the held-out likelihood.
        learned: whether the baseline learns τ.
        generator: of all draws; the caller has used it for what is drawn before the first step.
        seed: of shuffling and dropout.
        clock: seconds so far; what the time budget is held against.
    """

    def __init__(
        self,
        model: JointModel,
        train: Rows,
        valid: Rows,
        objective: Objective,
        measuring: Proposal,
        plan: Plan,
        *,
        learned: bool,
        generator: torch.Generator,
        seed: int,
        clock: Callable[[], float],
    ) -> None:
        self.model, self.train, self.valid, self.plan = model, train, valid, plan
        self.objective, self.measuring, self.learned = objective, measuring, learned
        self.generator, self.seed, self.clock = generator, seed, clock
        self.shuffler = torch.Generator().manual_seed(seed)
        self.optimizer = make_optimizer(model, plan)
        self.state = TrainingState()

    def step(self, rows: Rows, index: Tensor) -> Tensor:
        """One step on these training rows; the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.objective(rows, index, self.generator)
        interaction = self.model.affinity.interaction
        pairs = None if interaction is None else interaction.constant_pairs()
        descended = loss
        if self.plan.penalty and pairs is not None:
            descended = loss + self.plan.penalty / 2 * pairs.square().sum()
        descended.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        return loss.detach()

    def begin(self) -> None:
        """The model before any step is the first candidate, as in a fit."""
        self._keep(self._measured())

    def epoch(self) -> EpochResult:
        """The passes over the training rows, then the held-out rows."""
        state, plan = self.state, self.plan
        started = self.clock()
        self.model.train()
        order = torch.randperm(len(self.train.y), generator=self.shuffler).to(self.train.y.device)
        losses: list[Tensor] = []
        devices = [self.train.y.device] if self.train.y.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(hash((self.seed, state.epoch)) % 2**31)  # dropout draws from the global generator
            for part in order.repeat(plan.passes).split(plan.batch_size):
                losses.append(self.step(self.train.rows(part), part))
        found = self._measured()
        state.epoch += 1
        state.seconds += self.clock() - started
        return EpochResult(state.epoch, torch.stack(losses).mean().item(), found, state.seconds)

    def judge(self, result: EpochResult) -> StopReason | None:
        """Keep the best model; None to go on."""
        state, plan, found = self.state, self.plan, result.held_out
        if not (math.isfinite(result.loss) and math.isfinite(found.nll)):
            return StopReason.NON_FINITE
        state.since_best = 0 if self._keep(found) else state.since_best + 1
        if state.since_best >= plan.patience:
            return StopReason.CONVERGED if state.best_model else StopReason.PROPOSAL_LOST
        if state.epoch >= plan.epochs:
            return StopReason.EXHAUSTED
        return StopReason.OUT_OF_TIME if state.seconds >= plan.seconds else None

    def _measured(self) -> Measured:
        return measure(self.model, self.valid, self.measuring, learned=self.learned, generator=self.generator)

    def _keep(self, found: Measured) -> bool:
        """Keep the model if it is the best so far."""
        covered = found.effective_share * measuring_draws(self.valid) >= MIN_EFFECTIVE_DRAWS
        better = covered and math.isfinite(found.nll) and found.nll < self.state.best
        if better:
            self.state.best, self.state.best_model = found.nll, copy.deepcopy(self.model.state_dict())
        return better

    def run(
        self, *, on_epoch: Callable[[EpochResult], None], should_stop: Callable[[], bool] | None = None
    ) -> StopReason:
        """Epochs until a reason to stop; the best model is restored. Raises `Cancelled` between epochs."""
        self.begin()
        while True:
            result = self.epoch()
            reason = self.judge(result)
            on_epoch(result)
            if reason:
                break
            if should_stop is not None and should_stop():
                raise Cancelled("Training was cancelled.")
        if self.state.best_model:
            self.model.load_state_dict(self.state.best_model)
            if reason in (StopReason.CONVERGED, StopReason.EXHAUSTED):
                self._settle()
        self.model.eval()
        return reason

    def _settle(self) -> None:
        """The last epochs of a plan with exact gradients, on every row there is, as in a fit."""
        context, held_out = self.train.context, self.valid.context
        everything = Context(torch.cat([context.x, held_out.x]), torch.cat([context.reference, held_out.reference]))
        rows = Rows(everything, torch.cat([self.train.y, self.valid.y]))
        index = torch.arange(len(rows.y), device=rows.y.device)
        self.model.train()
        paces = [group["lr"] for group in self.optimizer.param_groups]
        for epoch in range(self.plan.settling):
            for group, pace in zip(self.optimizer.param_groups, paces, strict=True):
                group["lr"] = pace * (1 - epoch / self.plan.settling)
            for _ in range(self.plan.passes):
                self.step(rows, index)
