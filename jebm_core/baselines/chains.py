"""Persistent Markov chains: what contrastive divergence draws its negatives from.

They exist here only as the thing that jebm is compared with; no other part of it learns from a chain.

A move redraws one thing from its exact conditional under p, given everything else:

- `Subsets`, `Configurations`: a random item among its values,
- `Rankings`: two random items among the order in which they stand and the other one,

so a move leaves p as it is, whatever g and q are. Under rules what is one move away may all be invalid; there each
sweep ends with one draw from q, accepted by the rule of Metropolis, which can reach everything that is valid.
"""

from typing import final

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.model import ConditionalModel, Context
from jebm_core.references import Reference
from jebm_core.spaces import OutputSpace, Rankings, Ruled

_STARTED = 4096  # contexts whose chains are drawn at once


@torch.no_grad()
def gibbs_sweeps(
    p: ConditionalModel,
    y: Integer[Tensor, "chain batch item"],
    sweeps: int,
    *,
    generator: torch.Generator | None = None,
) -> Int64[Tensor, "chain batch item"]:
    """Move every chain by ``sweeps`` times as many moves as there are items, in random scan.

    Cost: a move scores all other values of one item, for all chains and contexts in one call of g. Source: Geman and
    Geman, 1984; Liu, *Peskun's theorem and a modified discrete-state Gibbs sampler*, 1996, for the random scan.

    >>> from jebm_core.distributions import LinearDistribution
    >>> from jebm_core.divergences import KL
    >>> from jebm_core.interactions import Scores
    >>> from jebm_core.spaces import Subsets
    >>> space, theta = Subsets(("a", "b")), torch.tensor([[30.0, -30.0]])
    >>> p = ConditionalModel(KL(), LinearDistribution(space, torch.zeros(1, 2)), Scores(space, theta, None))
    >>> start = torch.zeros(3, 1, 2, dtype=torch.int64)
    >>> gibbs_sweeps(p, start, 20, generator=torch.Generator().manual_seed(0))[:, 0].tolist()
    [[1, 0], [1, 0], [1, 0]]
    """
    y = y.long()
    weight = _log_weight(p, y)
    for _ in range(sweeps):
        for _ in range(p.space.num_items):
            y, weight = _move(p, y, weight, generator)
        if isinstance(p.space, Ruled):
            y, weight = _jump(p, y, weight, generator)
    return y


def _log_weight(p: ConditionalModel, y: Tensor) -> Tensor:
    """log q + g: log p up to a number that no y changes."""
    return p.reference.log_prob(y) + p.affinity(y)


def _move(
    p: ConditionalModel,
    y: Int64[Tensor, "chain batch item"],
    weight: Float[Tensor, "chain batch"],
    generator: torch.Generator | None,
) -> tuple[Int64[Tensor, "chain batch item"], Float[Tensor, "chain batch"]]:
    """One draw from a conditional of p, as the largest of log-weights with Gumbel noise."""
    others, there = _others(p.space, y, generator)
    if not len(others):
        return y, weight  # every item has but one value
    flat = others.flatten(0, 1)
    found = _log_weight(p, flat).unflatten(0, others.shape[:2])
    if isinstance(p.space, Ruled):
        there = there & p.space.contains(flat).unflatten(0, others.shape[:2])
    weights = torch.cat([weight.unsqueeze(0), torch.where(there, found, -torch.inf)])
    uniform = torch.rand(weights.shape, device=y.device, dtype=weights.dtype, generator=generator)
    choice = (weights - (-uniform.log()).log()).argmax(0, keepdim=True)
    candidates = torch.cat([y.unsqueeze(0), others])
    chosen = candidates.gather(0, choice.unsqueeze(-1).expand(-1, -1, -1, y.shape[-1])).squeeze(0)
    return chosen, weights.gather(0, choice).squeeze(0)


def _others(
    space: OutputSpace, y: Int64[Tensor, "chain batch item"], generator: torch.Generator | None
) -> tuple[Int64[Tensor, "other chain batch item"], Tensor]:
    """(what else the move may lead to, whether each of these exists), for an item or a pair of each chain's own."""
    k = space.num_items
    where, second = torch.rand((2, *y.shape[:-1], 1), device=y.device, generator=generator)
    item = (where * k).long().clamp(max=k - 1)
    if isinstance(space.whole, Rankings):
        other = (item + 1 + (second * (k - 1)).long().clamp(max=k - 2)) % k
        swapped = y.scatter(-1, item, y.gather(-1, other)).scatter(-1, other, y.gather(-1, item))
        return swapped.unsqueeze(0), torch.ones_like(swapped[None, ..., 0], dtype=torch.bool)
    sizes = space.options_per_item()
    size = integers_on(sizes, y.device)[item]
    step = torch.arange(1, max(sizes), device=y.device).view(-1, 1, 1, 1)
    # Counted on from its present value and around, so that a value too many is never out of range.
    value = (y.gather(-1, item) + step) % size
    every = y.expand(len(step), *y.shape)
    return every.scatter(-1, item.expand(value.shape), value), (step < size).squeeze(-1)


def _jump(
    p: ConditionalModel,
    y: Int64[Tensor, "chain batch item"],
    weight: Float[Tensor, "chain batch"],
    generator: torch.Generator | None,
) -> tuple[Int64[Tensor, "chain batch item"], Float[Tensor, "chain batch"]]:
    """A draw from q instead, with probability min(1, e^{g(new) − g(y)}): q itself cancels."""
    new = p.reference.sample(len(y), generator=generator).long()
    g = p.affinity(new)
    uniform = torch.rand(g.shape, device=y.device, dtype=g.dtype, generator=generator)
    accept = uniform.log() < g - p.affinity(y)
    moved = torch.where(accept, p.reference.log_prob(new) + g, weight)
    return torch.where(accept.unsqueeze(-1), new, y), moved


@final
class PersistentChains:
    """Chains that each training row keeps from one step to the next, so that they follow the model as it changes.

    Where one context stands for all rows, so do its chains. Source: Tieleman, *Training restricted Boltzmann machines
    using approximations to the likelihood gradient*, ICML 2008.

    Args:
        context: the training rows; each starts ``chains`` chains with draws from the reference.
        sweeps: what every chain moves by in a step.
    """

    def __init__(
        self,
        reference: Reference,
        context: Context,
        *,
        chains: int,
        sweeps: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.sweeps, self._shared = sweeps, context.is_single
        drawn = [
            reference(inputs).sample(chains, generator=generator)
            for inputs in context.condensed().reference.split(_STARTED)
        ]
        self.states: Integer[Tensor, "chain context item"] = torch.cat(drawn, 1)

    @torch.no_grad()
    def advance(
        self, p: ConditionalModel, index: Int64[Tensor, " row"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "chain batch item"]:
        """Move the chains of these training rows, whose contexts are those of ``p``, and return where they are."""
        place = torch.zeros_like(index[:1]) if self._shared else index
        y = gibbs_sweeps(p, self.states[:, place], self.sweeps, generator=generator)
        self.states[:, place] = y.to(self.states.dtype)
        return y
