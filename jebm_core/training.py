"""Joint training of g and τ: a loop that loops over `jebm_core.steps`, and two guards on held-out contexts.

After every epoch the held-out rows are scored with fresh draws, and two guards are watched (*a collapsed proposal lies
silently*):

- effective sample size: how many of the draws the estimate is really worth;
- total mass: what the model's probabilities add up to; 1 where τ is right.

A run that loses either goes on with four times the draws, then with the next, stronger proposal it was given; when
there is none left it stops, with the last model that passed, and says why. A step whose numbers are not finite is
skipped and counted; an epoch with such a step that fails a guard is not waited for: the run goes back to the last
model that passed, or else to its start, and on with the next means. Nothing is clamped into health.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import final

import torch
from torch import Tensor

from jebm_core.distributed import ALONE, Group
from jebm_core.errors import Cancelled
from jebm_core.held_out import HeldOut, held_out
from jebm_core.model import Context, JointModel
from jebm_core.proposals import Proposal
from jebm_core.steps import CapturedStep, Plan, Rows, StepInfo, make_optimizer, training_step

MIN_EFFECTIVE_DRAWS = 4.0
"""Held-out median effective sample size below which a proposal counts as lost."""
MASS_TOLERANCE = 0.5
"""Held-out median |total mass − 1| above which the log-partition counts as lost."""
MORE_DRAWS = 4
"""How many times the draws a failing proposal gets before the next one takes over."""
PATIENT_EPOCHS = 3
"""How many epochs in a row a guard must fail before it acts: the first epochs are allowed to be rough."""


_HELD_OUT, _FINISHED, _SETTLING = -1, -2, 2**40  # in the place of a step's number, where a group counts its seeds


class StopReason(Enum):
    """Why training ended. The value is the sentence that a person reads."""

    CONVERGED = "The held-out objective stopped improving."
    EXHAUSTED = "The planned number of epochs was reached."
    OUT_OF_TIME = "The time budget was used up."
    NON_FINITE = (
        "The score ran away from the draws until numbers overflowed; the model from before that was kept. "
        "Use another proposal, more samples a step, or a better reference."
    )
    LIMITED = (
        "Training went as far as the proposal covers the model: the last model whose log-partition the draws vouch for "
        "was kept."
    )
    PROPOSAL_LOST = (
        "The proposal no longer covers the model: the effective sample size on held-out rows fell below 4 draws. "
        "Use another proposal, more samples a step, or a better reference."
    )
    MASS_LOST = (
        "The probabilities no longer add up: total mass on held-out rows left the range 0.5 to 1.5. "
        "Use another proposal, more samples a step, or a better reference."
    )

    @property
    def is_healthy(self) -> bool:
        """Whether the model may be used without a warning."""
        return self in (StopReason.CONVERGED, StopReason.EXHAUSTED, StopReason.OUT_OF_TIME, StopReason.LIMITED)


@dataclass
class TrainingState:
    """Everything the next epoch needs; what a checkpoint stores.

    Attributes:
        vouched: whether the guards have held after some epoch of training.
        sound: whether they held for the model that is kept.
        skipped: steps that were not taken, because a number was not finite.
        best_model: the model to keep; what training started from, while nothing is better.
    """

    epoch: int = 0
    proposal: int = 0
    factor: int = 1
    best: float = math.inf
    since_best: int = 0
    lost: int = 0
    seconds: float = 0.0
    vouched: bool = False
    sound: bool = False
    skipped: int = 0
    best_model: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochInfo:
    """One epoch, for progress and history."""

    epoch: int
    objective: float
    held_out: HeldOut
    proposal: str
    seconds: float
    skipped: int = 0


@final
class Trainer:
    """Runs epochs until a `StopReason`. All of its state is in ``state``, the model, the optimizer and the generator.

    Args:
        proposals: from the cheapest to the strongest; a failing guard moves on to the next.
        seed: of shuffling, draws and dropout.
        clock: seconds so far; what the time budget is held against. That of the first process counts for all.
        group: the processes that train this model together.
    """

    def __init__(
        self,
        model: JointModel,
        train: Rows,
        valid: Rows,
        proposals: Sequence[Proposal],
        plan: Plan,
        *,
        seed: int,
        clock: Callable[[], float],
        group: Group = ALONE,
    ) -> None:
        self.model, self.train, self.valid, self.plan = model, train, valid, plan
        self.proposals, self.clock, self.group = tuple(proposals), clock, group
        self.optimizer = make_optimizer(model, plan)
        self.state = TrainingState()
        self.generator = torch.Generator(train.y.device).manual_seed(seed)
        self.shuffler = torch.Generator().manual_seed(seed)
        self.seed = seed
        self._captured: tuple[Proposal, int, CapturedStep] | None = None

    @property
    def proposal(self) -> Proposal:
        """The proposal in use."""
        return self.proposals[self.state.proposal]

    @property
    def samples(self) -> int:
        """Draws a context in a step."""
        return self.plan.samples * self.state.factor

    def epoch(self) -> EpochInfo:
        """The passes over the training rows, then the held-out rows."""
        state, plan = self.state, self.plan
        started = self.clock()
        self.model.train()
        order = torch.randperm(len(self.train.y), generator=self.shuffler).to(self.train.y.device)
        steps: list[StepInfo] = []
        devices = [self.train.y.device] if self.train.y.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(hash((self.seed, state.epoch)) % 2**31)  # dropout draws from the global generator
            for number, part in enumerate(order.repeat(plan.passes).split(plan.batch_size)):
                steps.append(self.step(self.train.rows(part), number))
        found = self.held_out()
        state.epoch += 1
        self.group.require_same(self.model.parameters(), state.epoch)
        taken = torch.stack([step.skipped for step in steps]) == 0
        skipped = int((~taken).sum().item())
        state.skipped += skipped
        state.seconds += self.group.first(self.clock() - started)
        objective = torch.stack([step.objective for step in steps])[taken].mean().item()
        return EpochInfo(state.epoch, objective, found, self.proposal.name, state.seconds, skipped)

    def held_out(self) -> HeldOut:
        """The held-out rows with four times the draws."""
        how = {"generator": self.generator, "group": self.group, "key": (self.seed, self.state.epoch, _HELD_OUT)}
        return held_out(self.model, self.valid, self.proposal, samples=4 * self.samples, **how)

    def step(self, batch: Rows, number: int = 0) -> StepInfo:
        """One step; on a GPU, where the batch is a full one of this process alone, as a CUDA graph."""
        how = {
            "samples": self.samples,
            "clip": self.plan.clip,
            "penalty": self.plan.penalty,
            "generator": self.generator,
        }
        if not batch.y.is_cuda or len(batch.y) != self.plan.batch_size or self.group.joined:
            key = (self.seed, self.state.epoch, number)
            return training_step(self.model, self.optimizer, batch, self.proposal, **how, group=self.group, key=key)
        if self._captured is None or self._captured[:2] != (self.proposal, self.samples):
            captured = CapturedStep(self.model, self.optimizer, self.proposal, **how)
            self._captured = (self.proposal, self.samples, captured)
        return self._captured[2](batch)

    def judge(self, info: EpochInfo) -> StopReason | None:
        """Keep the best model, watch the guards; None to go on."""
        state, plan, found = self.state, self.plan, info.held_out
        if not state.best_model:
            return StopReason.NON_FINITE  # it was not finite before any step
        failing = self._fails(found)
        state.lost = state.lost + 1 if failing else 0
        state.vouched |= not failing
        overflowed = failing and (info.skipped > 0 or not math.isfinite(found.objective))
        if overflowed:
            self.go_back()
        if overflowed or state.lost >= PATIENT_EPOCHS:
            if state.factor > 1 and state.proposal + 1 == len(self.proposals):
                return self._lost(found)
            if state.factor == 1:
                state.factor = MORE_DRAWS
            else:
                state.proposal, state.factor = state.proposal + 1, 1
            # figures of the lost proposal can't be compared with the next one's
            state.lost, state.best, state.since_best = 0, math.inf, 0
            return self._out_of_plan(found)
        if not failing and found.objective < state.best:
            state.best, state.since_best, state.sound = found.objective, 0, True
            state.best_model = copy.deepcopy(self.model.state_dict())
        else:
            state.since_best += 1
        if state.since_best >= plan.patience and state.sound:
            return StopReason.CONVERGED
        return self._out_of_plan(found)

    def _out_of_plan(self, found: HeldOut) -> StopReason | None:
        """Whether epochs or time are used up."""
        state = self.state
        if state.epoch < self.plan.epochs and state.seconds < self.plan.seconds:
            return None
        if not state.sound:
            return self._lost(found)
        return StopReason.EXHAUSTED if state.epoch >= self.plan.epochs else StopReason.OUT_OF_TIME

    def _lost(self, found: HeldOut) -> StopReason:
        """Why there is no going on with these proposals."""
        if self.state.vouched:
            return StopReason.LIMITED
        if not math.isfinite(found.objective):
            return StopReason.NON_FINITE
        draws = found.effective_share * 4 * self.samples
        return StopReason.PROPOSAL_LOST if draws < MIN_EFFECTIVE_DRAWS else StopReason.MASS_LOST

    def go_back(self) -> None:
        """To the model that is kept, with an optimizer that remembers nothing of the way that was lost."""
        self.model.load_state_dict(self.state.best_model)
        self.optimizer = make_optimizer(self.model, self.plan)
        self._captured = None

    def run(
        self, *, on_epoch: Callable[[EpochInfo], None] | None = None, should_stop: Callable[[], bool] | None = None
    ) -> StopReason:
        """Epochs until a reason to stop; the best model is restored. Raises `Cancelled` between epochs."""
        self.group.require_same(self.model.parameters(), self.state.epoch)
        if self.state.epoch == 0:
            self.begin()
        while True:
            info = self.epoch()
            reason = self.judge(info)
            if on_epoch is not None:
                on_epoch(info)
            if reason:
                break
            if should_stop is not None and self.group.any(should_stop()):
                raise Cancelled("Training was cancelled.")
        if self.state.best_model:
            self.model.load_state_dict(self.state.best_model)
            if reason in (StopReason.CONVERGED, StopReason.EXHAUSTED):
                self.settle()
        self.model.eval()
        self.group.seed(self.generator, self.seed, _FINISHED)
        return reason

    def begin(self) -> None:
        """The model before any step is the first candidate: what training ends with is no worse on held-out rows."""
        found = self.held_out()
        if math.isfinite(found.objective):
            self.state.best_model, self.state.sound = copy.deepcopy(self.model.state_dict()), not self._fails(found)
            self.state.best = found.objective if self.state.sound else math.inf

    def _fails(self, found: HeldOut) -> bool:
        """Whether a guard says that the draws or the log-partition are lost."""
        draws = found.effective_share * 4 * self.samples
        holds = math.isfinite(found.objective) and draws >= MIN_EFFECTIVE_DRAWS
        return not holds or not abs(found.total_mass - 1) <= MASS_TOLERANCE

    def settle(self) -> None:
        """The last epochs of the plan, on every row there is: held-out rows have said when to stop."""
        context, held_out = self.train.context, self.valid.context
        everything = Context(torch.cat([context.x, held_out.x]), torch.cat([context.reference, held_out.reference]))
        rows = Rows(everything, torch.cat([self.train.y, self.valid.y]))
        self.model.train()
        paces = [group["lr"] for group in self.optimizer.param_groups]
        for epoch in range(self.plan.settling):
            for group, pace in zip(self.optimizer.param_groups, paces, strict=True):
                group["lr"] = pace * (1 - epoch / self.plan.settling)
            for number in range(self.plan.passes):
                self.step(rows, _SETTLING + epoch * self.plan.passes + number)
