"""Finish τ after joint training: δ alone, with g fixed, on many contexts.

Joint training sees g through dropout and x only at the training rows. With g fixed the objective is convex in τ(x),

    min_δ E_x[ τ(x) + Z_q(x) e^{−τ(x)} − 1 ],

and needs no labels, so contexts need not be rows of the data: each is a random mix of two training rows. The same
proposal estimates Z_q.
Used after training and whenever g changes (a temperature, say).
"""

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from jebm_core.losses import estimated_log_partition, score_draws, total_mass
from jebm_core.model import Context, JointModel
from jebm_core.networks import ConstantCorrection
from jebm_core.proposals import ListingProposal, Proposal
from jebm_core.references import Reference

CHUNK = 256
"""Contexts at a time while log Z is estimated, at most."""
_ELEMENTS = 2**25  # numbers in a temporary tensor


def mixed_contexts(
    reference: Reference, context: Context, count: int, *, generator: torch.Generator | None = None
) -> Context:
    """Random convex combinations of pairs of rows, near one of the two: what unseen rows look like between the
    seen ones."""
    device = context.x.device
    first, second = (torch.randint(len(context.x), (count,), device=device, generator=generator) for _ in range(2))
    weight = torch.rand((count, 1), device=device, generator=generator).square() / 2
    return Context(
        torch.lerp(context.x[first], context.x[second], weight),
        reference.complete(torch.lerp(context.reference[first], context.reference[second], weight)),
    )


@torch.no_grad()
def _targets(
    model: JointModel,
    context: Context,
    proposal: Proposal,
    samples: int,
    generator: torch.Generator | None,
    on_chunk: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(inputs of δ, base, log Ẑ) for these contexts, in chunks."""
    parts = []
    size = max(1, min(CHUNK, _ELEMENTS // (samples * model.space.num_statistics)))
    for start in range(0, len(context.x), size):
        part = context.rows(slice(start, start + size))
        p = model.unnormalised(part)
        base, features = model.base(p)
        inputs = torch.cat([part.x, (features - model.feature_mean) / model.feature_scale], -1)
        scored = score_draws(p, proposal.draw(p, samples, generator=generator))
        parts.append((inputs, base, estimated_log_partition(scored)))
        if on_chunk is not None:
            on_chunk(len(parts), math.ceil(len(context.x) / size))
    inputs, base, log_z = (torch.cat(column) for column in zip(*parts, strict=True))
    return inputs, base, log_z


def _objective(tau: Float[Tensor, " batch"], log_z: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """E[τ − log Ẑ + e^{log Ẑ − τ} − 1]: the joint objective less what δ can't change; zero where τ = log Ẑ."""
    gap = log_z - tau
    return (torch.exp(gap) - 1 - gap).mean()


def refine_log_partition(
    model: JointModel,
    train: Context,
    valid: Context,
    proposal: Proposal,
    *,
    samples: int,
    contexts: int = 4096,
    steps: int = 1500,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    generator: torch.Generator | None = None,
    on_chunk: Callable[[int, int], None] | None = None,
) -> tuple[float, float]:
    """Train δ alone; the best on held-out contexts is kept, so it is never worse there than before.

    ``on_chunk(done, of)`` hears of progress and may raise `Cancelled`.

    Ẑ_q is estimated once for a pool of mixed contexts; it enters the objective linearly, so its noise is averaged,
    not learned as a bias.
    Cost: contexts · samples scores, then ``steps`` steps of the small network alone.

    Returns:
        The held-out objective (nats) before and after.
    """
    model.eval()
    if isinstance(model.correction, ConstantCorrection) and train.is_single:
        return _solve_constant(model, train.condensed(), proposal, samples * contexts // CHUNK, generator)
    pool = mixed_contexts(model.reference, train, contexts, generator=generator)
    inputs, base, log_z = _targets(model, pool, proposal, samples, generator, on_chunk)
    held = _targets(model, valid, proposal, 4 * samples, generator, on_chunk)

    def held_out_objective() -> float:
        with torch.no_grad():
            return _objective(held[1] + model.correction(held[0]), held[2]).item()

    before = best = held_out_objective()
    kept = copy.deepcopy(model.correction.state_dict())
    optimizer = torch.optim.AdamW(model.correction.parameters(), lr=learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for step in range(steps):
        index = torch.randint(len(base), (batch_size,), device=base.device, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        _objective(base[index] + model.correction(inputs[index]), log_z[index]).backward()
        torch.nn.utils.clip_grad_norm_(model.correction.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            found = held_out_objective()
            if found < best:
                best, kept = found, copy.deepcopy(model.correction.state_dict())
    model.correction.load_state_dict(kept)
    return before, best


@torch.no_grad()
def _solve_constant(
    model: JointModel, context: Context, proposal: Proposal, samples: int, generator: torch.Generator | None
) -> tuple[float, float]:
    """Without features there is one τ, and the objective's minimum over it is known: τ = log Ẑ of all draws."""
    rounds = 1 if isinstance(proposal, ListingProposal) else 32
    estimates = [_targets(model, context, proposal, samples, generator) for _ in range(rounds)]
    base, log_z = estimates[0][1], torch.stack([found[2] for found in estimates]).logsumexp(0) - math.log(rounds)
    before = _objective(base + model.correction(estimates[0][0]), log_z).item()
    model.correction.value.copy_((log_z - base).squeeze(0))  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return before, 0.0


@torch.no_grad()
def residual_interval(
    model: JointModel,
    context: Context,
    proposal: Proposal,
    *,
    samples: int,
    generator: torch.Generator | None = None,
    chunk: int = 32,
) -> tuple[float, float] | None:
    """The 2.5 % and 97.5 % quantiles of τ − log Z over held-out contexts, in nats; None where a number is not finite.

    With few contexts the extremes stand for the tails (conformal quantiles). (0, 0) where τ is exact. For
    divergences other than KL the gap is
    −log of the total mass: what log p is wrong by.
    """
    if model.base.is_exact(model.unnormalised(context.rows(slice(0, 1)))):
        return 0.0, 0.0
    context = context.condensed()
    gaps: list[Tensor] = []
    for start in range(0, len(context.x), chunk):
        p = model(context.rows(slice(start, start + chunk)))
        scored = score_draws(p, proposal.draw(p, samples, generator=generator))
        if p.divergence.name == "kl":
            gaps.append(p.log_partition - estimated_log_partition(scored))
        else:
            gaps.append(-total_mass(p, scored).log())
    gap = torch.cat(gaps).double()
    if not torch.isfinite(gap).all():
        return None
    tail = 0.025 * (1 - 1 / len(gap))
    return float(gap.quantile(tail)), float(gap.quantile(1 - tail))
