"""Joint training of g and τ: a step that steps, a loop that loops, and two guards on held-out contexts.

The step minimises `jebm_core.losses.joint_objective` with AdamW and clipped gradients. After every epoch the
held-out rows are scored with fresh draws, and two guards are watched (*a collapsed proposal lies silently*):

- effective sample size: how many of the draws the estimate is really worth;
- total mass: what the model's probabilities add up to; 1 where τ is right.

A run that loses either goes on with four times the draws, then with the next, stronger proposal it was given; when
there is none left it stops and says why. A number that is not finite stops the run. Nothing is clamped into health.
"""

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from jebm_core.errors import Cancelled
from jebm_core.losses import effective_share, estimated_log_partition, joint_objective, score_draws, total_mass
from jebm_core.model import Context, JointModel, ZeroBase
from jebm_core.proposals import Proposal

MIN_EFFECTIVE_DRAWS = 4.0
"""Held-out median effective sample size below which a proposal counts as lost."""
MASS_TOLERANCE = 0.5
"""Held-out median |total mass − 1| above which the log-partition counts as lost."""
MORE_DRAWS = 4
"""How many times the draws a failing proposal gets before the next one takes over."""
PATIENT_EPOCHS = 3
"""How many epochs in a row a guard must fail before it acts: the first epochs are allowed to be rough."""


class StopReason(Enum):
    """Why training ended. The value is the sentence that a person reads."""

    CONVERGED = "The held-out objective stopped improving."
    EXHAUSTED = "The planned number of epochs was reached."
    OUT_OF_TIME = "The time budget was used up."
    NON_FINITE = (
        "A number stopped being finite; the last good model was kept. "
        "Try a smaller learning rate, or the divergence kl."
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
        return self in (StopReason.CONVERGED, StopReason.EXHAUSTED, StopReason.OUT_OF_TIME)


class Rows(NamedTuple):
    """Observed examples as tensors."""

    context: Context
    y: Int64[Tensor, "row item"]

    def rows(self, index: Tensor | slice) -> "Rows":
        """Some of them."""
        return Rows(self.context.rows(index), self.y[index])

    def to(self, device: torch.device | str) -> "Rows":
        """On another device."""
        return Rows(self.context.to(device), self.y.to(device))


class StepInfo(NamedTuple):
    """What a person looks at after a step; tensors, so that nothing waits for the device."""

    objective: Float[Tensor, ""]
    effective_share: Float[Tensor, ""]
    total_mass: Float[Tensor, ""]


class HeldOut(NamedTuple):
    """Held-out rows scored with fresh draws."""

    objective: float
    nll: float
    effective_share: float
    total_mass: float


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train.

    Attributes:
        samples: draws a context in a step; four times as many on held-out rows.
        patience: epochs without a better held-out objective before stopping.
        decay: AdamW weight decay of the affinity; biases and δ have none.
    """

    epochs: int = 200
    batch_size: int = 128
    samples: int = 32
    learning_rate: float = 1e-3
    decay: float = 1e-2
    patience: int = 12
    clip: float = 5.0
    seconds: float = math.inf


@dataclass
class TrainingState:
    """Everything the next epoch needs; what a checkpoint stores."""

    epoch: int = 0
    proposal: int = 0
    factor: int = 1
    best: float = math.inf
    since_best: int = 0
    lost: int = 0
    seconds: float = 0.0
    best_model: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochInfo:
    """One epoch, for progress and history."""

    epoch: int
    objective: float
    held_out: HeldOut
    proposal: str
    seconds: float


def objective_and_info(
    model: JointModel, rows: Rows, proposal: Proposal, samples: int, generator: torch.Generator | None
) -> tuple[Float[Tensor, ""], StepInfo]:
    """Mean joint objective over the rows. Where the base is exact, E_q e^{g−τ} = 1 without any draw."""
    p = model(rows.context)
    if model.base.is_exact(p):
        loss = (p.log_partition - p.affinity(rows.y.unsqueeze(0)).squeeze(0)).mean()
        one = torch.ones_like(loss.detach())
        return loss, StepInfo(loss.detach(), one, one)
    scored = score_draws(p, proposal.draw(p, samples, generator=generator))
    loss = joint_objective(p, rows.y, scored).mean()
    with torch.no_grad():
        detached = scored._replace(affinity=scored.affinity.detach(), points_affinity=scored.points_affinity.detach())
        info = StepInfo(loss.detach(), effective_share(detached).mean(), total_mass(p, detached).mean())
    return loss, info


def training_step(
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    rows: Rows,
    proposal: Proposal,
    *,
    samples: int,
    clip: float = 5.0,
    generator: torch.Generator | None = None,
    precision: torch.dtype | None = None,
) -> StepInfo:
    """One doubly stochastic gradient step. ``precision`` runs the networks in a lower precision on a GPU."""
    optimizer.zero_grad(set_to_none=True)
    with nullcontext() if precision is None else torch.autocast(rows.y.device.type, dtype=precision):
        loss, info = objective_and_info(model, rows, proposal, samples, generator)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip, foreach=rows.y.device.type != "meta")
    optimizer.step()
    return info


@torch.no_grad()
def held_out(
    model: JointModel,
    rows: Rows,
    proposal: Proposal,
    *,
    samples: int,
    generator: torch.Generator | None = None,
    chunk: int = 256,
) -> HeldOut:
    """Score held-out rows with fresh draws: objective, negative log-likelihood with the *estimated* log-partition,
    and the two guards."""
    model.eval()
    objective, nll, share, mass = [], [], [], []
    for part in torch.arange(len(rows.y), device=rows.y.device).split(chunk):
        batch = rows.rows(part)
        p = model(batch.context)
        log_q = p.reference.log_prob(batch.y.unsqueeze(0)).squeeze(0)
        g = p.affinity(batch.y.unsqueeze(0)).squeeze(0)
        if model.base.is_exact(p):
            objective.append(p.log_partition - g - log_q)
            nll.append(objective[-1])
            share.append(torch.ones_like(g))
            mass.append(torch.ones_like(g))
            continue
        scored = score_draws(p, proposal.draw(p, samples, generator=generator))
        objective.append(joint_objective(p, batch.y, scored) - log_q)
        nll.append(estimated_log_partition(scored) - g - log_q)
        share.append(effective_share(scored))
        mass.append(total_mass(p, scored))
    model.train()
    return HeldOut(
        torch.cat(objective).mean().item(),
        torch.cat(nll).mean().item(),
        torch.cat(share).median().item(),
        torch.cat(mass).median().item(),
    )


def make_optimizer(model: JointModel, plan: Plan) -> torch.optim.AdamW:
    """AdamW with weight decay on the affinity's matrices only.

    A log-partition that is a network alone has to follow g by itself, and learns five times as fast.
    """
    decayed = [w for w in model.affinity.parameters() if w.ndim > 1]
    others = [w for w in model.affinity.parameters() if w.ndim <= 1]
    pace = 5.0 if isinstance(model.base, ZeroBase) else 1.0
    groups = [
        {"params": decayed, "weight_decay": plan.decay},
        {"params": others, "weight_decay": 0.0},
        {"params": list(model.correction.parameters()), "weight_decay": 0.0, "lr": pace * plan.learning_rate},
    ]
    fused = next(model.parameters()).device.type != "meta"
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=fused)


@final
class Trainer:
    """Runs epochs until a `StopReason`. All of its state is in ``state``, the model, the optimizer and the generator.

    Args:
        proposals: from the cheapest to the strongest; a failing guard moves on to the next.
        seed: of shuffling, draws and dropout.
        clock: seconds so far; what the time budget is held against.
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
    ) -> None:
        self.model, self.train, self.valid, self.plan = model, train, valid, plan
        self.proposals, self.clock = tuple(proposals), clock
        self.optimizer = make_optimizer(model, plan)
        self.state = TrainingState()
        self.generator = torch.Generator(train.y.device).manual_seed(seed)
        self.shuffler = torch.Generator().manual_seed(seed)
        self.seed = seed

    @property
    def proposal(self) -> Proposal:
        """The proposal in use."""
        return self.proposals[self.state.proposal]

    @property
    def samples(self) -> int:
        """Draws a context in a step."""
        return self.plan.samples * self.state.factor

    def epoch(self) -> EpochInfo:
        """One pass over the training rows, then the held-out rows."""
        state, plan = self.state, self.plan
        started = self.clock()
        self.model.train()
        order = torch.randperm(len(self.train.y), generator=self.shuffler).to(self.train.y.device)
        objectives: list[Tensor] = []
        devices = [self.train.y.device] if self.train.y.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(hash((self.seed, state.epoch)) % 2**31)  # dropout draws from the global generator
            for part in order.split(plan.batch_size):
                batch = self.train.rows(part)
                info = training_step(
                    self.model,
                    self.optimizer,
                    batch,
                    self.proposal,
                    samples=self.samples,
                    clip=plan.clip,
                    generator=self.generator,
                )
                objectives.append(info.objective)
        found = held_out(self.model, self.valid, self.proposal, samples=4 * self.samples, generator=self.generator)
        state.epoch += 1
        state.seconds += self.clock() - started
        return EpochInfo(state.epoch, torch.stack(objectives).mean().item(), found, self.proposal.name, state.seconds)

    def judge(self, info: EpochInfo) -> StopReason | None:
        """Keep the best model, watch the guards; None to go on."""
        state, plan, found = self.state, self.plan, info.held_out
        if not (math.isfinite(info.objective) and math.isfinite(found.objective)):
            return StopReason.NON_FINITE
        draws = found.effective_share * 4 * self.samples
        failing = draws < MIN_EFFECTIVE_DRAWS or abs(found.total_mass - 1) > MASS_TOLERANCE
        state.lost = state.lost + 1 if failing else 0
        if state.lost >= PATIENT_EPOCHS:
            if state.factor > 1 and state.proposal + 1 == len(self.proposals):
                return StopReason.PROPOSAL_LOST if draws < MIN_EFFECTIVE_DRAWS else StopReason.MASS_LOST
            if state.factor == 1:
                state.factor = MORE_DRAWS
            else:
                state.proposal, state.factor = state.proposal + 1, 1
            state.lost = 0
            state.best, state.since_best = (
                math.inf,
                0,
            )  # figures of the lost proposal can't be compared with the next one's
            return None
        if not failing and found.objective < state.best:
            state.best, state.since_best = found.objective, 0
            state.best_model = copy.deepcopy(self.model.state_dict())
        else:
            state.since_best += 1
        if state.since_best >= plan.patience and state.best_model:
            return StopReason.CONVERGED
        if state.epoch >= plan.epochs:
            return StopReason.EXHAUSTED
        return StopReason.OUT_OF_TIME if state.seconds >= plan.seconds else None

    def run(
        self, *, on_epoch: Callable[[EpochInfo], None] | None = None, should_stop: Callable[[], bool] | None = None
    ) -> StopReason:
        """Epochs until a reason to stop; the best model is restored. Raises `Cancelled` between epochs."""
        while True:
            info = self.epoch()
            reason = self.judge(info)
            if on_epoch is not None:
                on_epoch(info)
            if reason:
                break
            if should_stop is not None and should_stop():
                raise Cancelled("Training was cancelled.")
        if self.state.best_model:
            self.model.load_state_dict(self.state.best_model)
        self.model.eval()
        return reason
