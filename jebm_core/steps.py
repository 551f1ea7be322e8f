"""One step of joint training, eagerly or as a CUDA graph.

The step minimises `jebm_core.losses.joint_objective` with AdamW and clipped gradients.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from jebm_core.distributed import ALONE, Group, counted_seed
from jebm_core.losses import (
    Scored,
    effective_share,
    estimated_log_partition,
    joint_objective,
    score_draws,
    total_mass,
)
from jebm_core.model import ConditionalModel, Context, JointModel, ZeroBase
from jebm_core.networks import ConstantCorrection
from jebm_core.proposals import Proposal


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
    skipped: Float[Tensor, ""]  # 1 where a number was not finite, and nothing was learned


@dataclass(frozen=True)
class Plan:
    """How long and how hard to train.

    Attributes:
        passes: over the training rows in an epoch, between two looks at the held-out ones.
        samples: draws a context in a step; four times as many on held-out rows.
        patience: epochs without a better held-out objective before stopping.
        x_pace: learning rate of weights that multiply x, over that of all others.
        decay: AdamW weight decay of the affinity; biases and δ have none.
        settling: epochs over training and held-out rows together after early stopping, the learning rate falling to
            zero. Only where the objective is convex and its gradient exact: nothing is left to watch there.
        penalty: λ of λ/2·‖w‖² on weights of pairs that no x changes, as a part of the objective: a Gaussian prior.
    """

    epochs: int = 200
    batch_size: int = 128
    passes: int = 1
    samples: int = 32
    learning_rate: float = 1e-3
    x_pace: float = 1.0
    decay: float = 1e-2
    patience: int = 12
    settling: int = 0
    penalty: float = 0.0
    clip: float = 5.0
    seconds: float = math.inf


def objective_and_info(
    model: JointModel, rows: Rows, proposal: Proposal, samples: int, generator: torch.Generator | None
) -> tuple[Float[Tensor, ""], StepInfo]:
    """Mean joint objective over the rows. Where the base is exact, E_q e^{g−τ} = 1 without any draw."""
    p = model(rows.context.condensed())
    if model.base.is_exact(p):
        loss = (p.log_partition - p.affinity(p.as_draws(rows.y)).flatten()).mean()
        one = torch.ones_like(loss.detach())
        return loss, StepInfo(loss.detach(), one, one, torch.zeros_like(one))
    scored = score_draws(p, proposal.draw(p, samples, generator=generator))
    if rows.context.is_single:
        settle_constant(model, p, scored)
    loss = joint_objective(p, rows.y, scored).mean()
    with torch.no_grad():
        detached = scored._replace(affinity=scored.affinity.detach(), points_affinity=scored.points_affinity.detach())
        share, mass = effective_share(detached).mean(), total_mass(p, detached).mean()
        info = StepInfo(loss.detach(), share, mass, torch.zeros_like(share))
    return loss, info


@torch.no_grad()
def settle_constant(model: JointModel, p: ConditionalModel, scored: Scored) -> None:
    """Put τ where the objective's minimum over it is known: one number for all rows, and every combination listed.

    Otherwise τ follows by gradients, and stays a little behind g.
    """
    listed = scored.draws.y.shape[0] == 0 and p.divergence.name == "kl"
    if listed and isinstance(model.correction, ConstantCorrection):
        log_z = estimated_log_partition(scored)
        model.correction.value.add_((log_z - p.log_partition).squeeze(0))
        p.log_partition = log_z


def training_step(
    model: JointModel,
    optimizer: torch.optim.Optimizer,
    rows: Rows,
    proposal: Proposal,
    *,
    samples: int,
    clip: float = 5.0,
    penalty: float = 0.0,
    generator: torch.Generator | None = None,
    group: Group = ALONE,
    key: tuple[int, ...] = (),
) -> StepInfo:
    """One doubly stochastic gradient step.

    Where the objective or its gradient is not finite (e^g of a draw overflowed), weights and optimizer stay as they
    were and the step counts as skipped. ``found_inf`` is how PyTorch's own gradient scaler tells a fused optimizer
    so, without waiting for the device.

    Args:
        group: the processes that share the batch; all have the same rows, and take the same step.
        key: what counts the steps of a run, for the random numbers of such a group.
    """
    optimizer.zero_grad(set_to_none=True)
    if group.joined:
        info = shared_gradient(model, rows, proposal, samples, penalty, generator, group, key)
    else:
        loss, info = objective_and_info(model, rows, proposal, samples, generator)
        penalised(loss, model, penalty).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip, foreach=rows.y.device.type != "meta")
    skipped = 1 - (norm.isfinite() & info.objective.isfinite()).to(norm.dtype)
    if optimizer.defaults.get("fused"):  # all but those on the meta device, which has no numbers
        optimizer.found_inf = skipped  # pyright: ignore[reportAttributeAccessIssue]
    optimizer.step()
    return info._replace(skipped=skipped)


def penalised(loss: Float[Tensor, ""], model: JointModel, penalty: float) -> Float[Tensor, ""]:
    """The objective with the prior on weights of pairs that no x changes."""
    interaction = model.affinity.interaction
    pairs = None if interaction is None else interaction.constant_pairs()
    return loss + penalty / 2 * pairs.square().sum() if penalty and pairs is not None else loss


def shared_gradient(
    model: JointModel,
    rows: Rows,
    proposal: Proposal,
    samples: int,
    penalty: float,
    generator: torch.Generator | None,
    group: Group,
    key: tuple[int, ...],
) -> StepInfo:
    """The gradient of the whole batch, of which this process computes its parts: see `jebm_core.distributed`.

    A weight that no part uses has the gradient zero here, and none in `training_step` alone.
    """
    weights = [w for w in model.parameters() if w.requires_grad]
    sizes = [w.numel() for w in weights]
    single = rows.context.is_single
    total = torch.zeros(sum(sizes) + 3, dtype=torch.float64, device=rows.y.device)
    for number, part in group.parts(len(rows.y), whole=single):
        group.seed(generator, *key, number)
        torch.manual_seed(counted_seed(*key, number, 1))  # dropout draws from the global generator
        loss, info = objective_and_info(model, rows.rows(part), proposal, samples, generator)
        loss = penalised(loss, model, penalty)
        found = torch.autograd.grad(loss, weights, materialize_grads=True)
        count = part.stop - part.start
        total += count * torch.cat([*(g.flatten() for g in found), torch.stack(info[:3])]).double()
    group.sum_(total)
    total /= len(rows.y) * (group.size if single else 1)
    *gradients, figures = total.to(weights[0].dtype).split([*sizes, 3])
    for w, gradient in zip(weights, gradients, strict=True):
        w.grad = gradient.view_as(w)
    objective, effective, mass = figures
    return StepInfo(objective, effective, mass, torch.zeros_like(mass))


def make_optimizer(model: JointModel, plan: Plan) -> torch.optim.AdamW:
    """AdamW with weight decay on the affinity's matrices only.

    A log-partition that is a network alone has to follow g by itself, and learns five times as fast.
    """
    named = list(model.affinity.named_parameters())
    matrices = [(name.endswith(("factors", "embedding")), w) for name, w in named if w.ndim > 1]
    others = [w for _, w in named if w.ndim <= 1]
    x_rate = plan.x_pace * plan.learning_rate
    pace = 5.0 if isinstance(model.base, ZeroBase) else 1.0
    groups = [
        {"params": [w for of_items, w in matrices if of_items], "weight_decay": plan.decay},
        {"params": [w for of_items, w in matrices if not of_items], "weight_decay": plan.decay, "lr": x_rate},
        {"params": others, "weight_decay": 0.0},
        {"params": list(model.correction.parameters()), "weight_decay": 0.0, "lr": pace * plan.learning_rate},
    ]
    device = next(model.parameters()).device.type
    return torch.optim.AdamW(groups, lr=plan.learning_rate, fused=device != "meta", capturable=device == "cuda")


@final
class CapturedStep:
    """`training_step` as one CUDA graph, for batches of one size.

    At these sizes a GPU waits for the host, which launches hundreds of small kernels a step; a graph launches them all
    at once. The first `WARM` batches are ordinary steps, which fill every cache; then a step is captured, and from
    there on each batch is copied into the graph's own tensors and the graph is replayed. Its random numbers go on from
    the same generators. Source: PyTorch, *CUDA semantics: CUDA Graphs* (side stream, static inputs).
    """

    WARM = 3

    def __init__(
        self,
        model: JointModel,
        optimizer: torch.optim.Optimizer,
        proposal: Proposal,
        *,
        samples: int,
        clip: float,
        penalty: float = 0.0,
        generator: torch.Generator,
    ) -> None:
        self._step = lambda rows: training_step(
            model, optimizer, rows, proposal, samples=samples, clip=clip, penalty=penalty, generator=generator
        )
        self._generator = generator
        self._stream = torch.cuda.Stream()
        self._warmed = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, rows: Rows) -> StepInfo:
        if self._graph is None:
            if self._warmed < self.WARM:
                self._warmed += 1
                self._stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._stream):
                    info = self._step(rows)
                torch.cuda.current_stream().wait_stream(self._stream)
                return info
            self._rows = Rows(Context(rows.context.x.clone(), rows.context.reference.clone()), rows.y.clone())
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(graph, stream=self._stream):
                self._info = self._step(self._rows)
            self._graph = graph
        self._rows.context.x.copy_(rows.context.x)
        self._rows.context.reference.copy_(rows.context.reference)
        self._rows.y.copy_(rows.y)
        self._graph.replay()
        return StepInfo(*(value.clone() for value in self._info))
