"""Gibbs sweeps: every item of many combinations drawn anew from its conditional distribution, given all others.

For p(y|x) ∝ exp(⟨η + θ, φ(y)⟩ + ½ φ(y)ᵀ U φ(y)) over `Subsets` or `Configurations` with independent items in q.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from jebm_core.distributions import LinearDistribution
from jebm_core.interactions import FullQuadratic, LowRankQuadratic
from jebm_core.model import ConditionalModel
from jebm_core.spaces import Configurations, OutputSpace, Subsets

BLOCK = 24
"""Statistics whose fields follow item by item before the others catch up in one product."""


class Couplings(NamedTuple):
    """h = ⟨linear, φ⟩ + ½ φᵀ matrix φ, with a matrix that is zero within each item."""

    linear: Float[Tensor, "row statistic"]
    matrix: Float[Tensor, "one_or_row statistic statistic"]


def couplings_of(p: ConditionalModel) -> Couplings | None:
    """h where the Gibbs sweep applies, else None."""
    h = p.scores.interaction
    if not isinstance(p.reference, LinearDistribution) or not isinstance(p.space, Subsets | Configurations):
        return None
    match h:
        case FullQuadratic():
            return Couplings(torch.zeros_like(p.scores.theta), h.matrix)
        case LowRankQuadratic():
            apart = h.item_of.unsqueeze(-1) != h.item_of
            # Within an item φ_a φ_b is φ_a for a = b, else 0: this part of h is linear, and is the field at φ = 0.
            linear = h.field(torch.zeros_like(p.scores.theta))
            return Couplings(linear, (h.factors.T * h.scale.unsqueeze(-2)) @ h.factors * apart)
        case _:
            return None


def anneal_by_gibbs(
    p: ConditionalModel,
    couplings: Couplings,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None = None,
    on_temperature: Callable[[float], None] | None = None,
    *,
    ends: Float[Tensor, "row statistic chain"] | None = None,
) -> tuple[Float[Tensor, "row statistic chain"], Float[Tensor, "chain row"]]:
    """Chains from the mean-field tilt of q to p, a sweep a temperature (see `jebm_core.evaluation.annealing`): where
    they end, and log w in float64, with E[w F(y)] = E_q[e^g F] for every F.

    Tensors are [row, statistic, chain] inside: a matrix product serves all chains of a row.

    Args:
        ends: φ of draws from p. The chains then run from there back to the tilt, by the reversal of the same sweeps,
            and E[1/w] = 1/Z_q(x).
    """
    start, backwards = p.mean_field, ends is not None
    if ends is None:
        y = start.tilted.sample(num_chains, generator=generator)
        ends = p.space.statistics(y).permute(1, 2, 0)
    phi = ends.clone(memory_format=torch.contiguous_format)
    eta = p.reference.eta  # pyright: ignore[reportAttributeAccessIssue] # couplings_of has made sure of it
    matrix = couplings.matrix
    offset, slope = eta + start.theta, p.scores.theta + couplings.linear - start.theta
    blocks = blocks_of(p.space)
    log_weight = start.log_normalizer.double().unsqueeze(-1).expand(-1, num_chains).clone()
    for t in range(1, temperatures + 1):
        field = matrix @ phi
        gain = ((field / 2 + slope.unsqueeze(-1)) * phi).sum(1)
        log_weight += gain.double() / temperatures
        if t < temperatures:  # a move after the last weight would change nothing
            beta = (temperatures - t if backwards else t) / temperatures
            linear = offset + beta * slope
            sweep(p.space, phi, field.mul_(beta), beta * matrix, linear, blocks, generator, backwards=backwards)
        if on_temperature is not None:
            on_temperature(t / temperatures)
    return phi, log_weight.T


def sweep(
    space: OutputSpace,
    phi: Tensor,
    field: Tensor,
    matrix: Tensor,
    linear: Tensor,
    blocks: Sequence[Sequence[tuple[int, int]]],
    generator: torch.Generator | None,
    *,
    backwards: bool = False,
) -> None:
    """Draw every item in turn from its conditional given all others, in place.

    ``field`` and ``matrix`` come multiplied by β. A draw of one item is reversible, a sweep isn't: its reversal draws
    the same items in the opposite order (``backwards``).
    """
    uniform = torch.rand(phi.shape, device=phi.device, dtype=phi.dtype, generator=generator)
    subsets = isinstance(space, Subsets)
    # A Bernoulli draw compares its log-odds with a logistic number, a categorical one takes the largest of logits with
    # Gumbel numbers.
    noise = uniform.logit() if subsets else -(-uniform.log()).log()
    logits = field.add_(linear.unsqueeze(-1))
    for block in reversed(blocks) if backwards else blocks:
        first, last = block[0][0], block[-1][1]
        before = phi[:, first:last].clone()
        for a, b in reversed(block) if backwards else block:
            if subsets:
                new = (logits[:, a:b] > noise[:, a:b]).to(phi.dtype)
            else:
                choice = (logits[:, a:b] + noise[:, a:b]).argmax(1, keepdim=True)
                new = torch.zeros_like(phi[:, a:b]).scatter(1, choice, 1.0)
            change = new - phi[:, a:b]
            phi[:, a:b] = new
            rest = slice(first, a) if backwards else slice(b, last)
            if rest.start < rest.stop:
                if subsets:
                    logits[:, rest].addcmul_(matrix[:, rest, a:b], change)
                else:
                    logits[:, rest] += matrix[:, rest, a:b] @ change
        rest = slice(0, first) if backwards else slice(last, phi.shape[1])
        if rest.start < rest.stop:  # items on the other side are done for this sweep
            logits[:, rest] += matrix[:, rest, first:last] @ (phi[:, first:last] - before)


def blocks_of(space: OutputSpace) -> list[list[tuple[int, int]]]:
    """Ranges of statistics of each item, in blocks of about `BLOCK` statistics."""
    sizes = [1] * space.num_items if isinstance(space, Subsets) else list(space.options_per_item())
    ends = list(accumulate(sizes))
    blocks: list[list[tuple[int, int]]] = [[]]
    for size, end in zip(sizes, ends, strict=True):
        if blocks[-1] and end - blocks[-1][0][0] > BLOCK:
            blocks.append([])
        blocks[-1].append((end - size, end))
    return blocks
