"""Annealed importance sampling: log Z_q(x) from chains that move from a tilt of the reference to the model.

    f_β(y) = q_θ̃(y)^(1−β) (q(y) e^{g(x,y)})^β ∝ q(y) exp(⟨θ̃, φ(y)⟩ + β D(y)),      D(y) = g(x,y) − ⟨θ̃, φ(y)⟩

runs from q_θ̃, drawn exactly (the mean-field tilt where h is quadratic, else the tilt), to the model. A chain of T
temperatures has the weight

    log w = A_q(θ̃) + Σ_t (β_t − β_{t−1}) D(y_{t−1}),      E[w] = Z_q(x) for every number of chains, temperatures and
    moves,

where y_t is moved from y_{t−1} by a kernel that leaves f_{β_t} as it is. Kernels:

- `Subsets` and `Configurations` with quadratic h and independent items in q: a Gibbs sweep over the items, for all
  chains and rows at once. The fields U φ follow each item inside a block of items, and each block in one matrix
  product.
- a reference with a table of points of its own: chains for its background, the points summed.
- everything else: Metropolis moves of one item (two items swap in a ranking), and one draw from q_θ̃ a temperature,
  which jumps between modes.

Source: Neal, *Annealed importance sampling*, Statistics and Computing 2001.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.distributions import Background, LinearDistribution, ReferenceDistribution
from jebm_core.gibbs import anneal_by_gibbs, couplings_of
from jebm_core.interactions import FullQuadratic, LowRankQuadratic, linear_energy
from jebm_core.model import ConditionalModel
from jebm_core.spaces import OutputSpace, Rankings

MAX_MOVES = 64
"""Metropolis moves a temperature are as many as items, up to this."""


def anneal(
    p: ConditionalModel,
    *,
    num_chains: int = 64,
    temperatures: int = 100,
    generator: torch.Generator | None = None,
    on_temperature: Callable[[float], None] | None = None,
    ends: Int64[Tensor, "chain row item"] | None = None,
) -> Float[Tensor, "chain row"]:
    """log w of independent chains in float64: their mean in exp is an unbiased estimate of Z_q(x).

    Args:
        temperatures: T, evenly spaced; one sweep each.
        on_temperature: told the share of temperatures that are done; may raise to stop.
        ends: draws from p, one for each chain and row. The chains then start there and run back by the reversal of
            every move, and the mean of 1/w is an unbiased estimate of 1/Z_q(x); see
            `jebm_core.evaluation.bidirectional`.

    Cost: O(T · chains · rows · statistics²) with the Gibbs sweep; memory O(rows · statistics · (chains + statistics)).

    >>> from jebm_core.divergences import KL
    >>> from jebm_core.interactions import Scores
    >>> from jebm_core.spaces import Subsets
    >>> space, zeros = Subsets(("a", "b")), torch.zeros(3, 2)
    >>> scores = Scores(space, zeros, FullQuadratic(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])))
    >>> anneal(ConditionalModel(KL(), LinearDistribution(space, zeros), scores), num_chains=8, temperatures=5).shape
    torch.Size([8, 3])
    """
    with torch.no_grad():
        if p.background is not None and len(p.background.points):
            return _beside_points(p, p.background, num_chains, temperatures, generator, on_temperature, ends)
        couplings = couplings_of(p)
        if couplings is None:
            return _metropolis(p, num_chains, temperatures, generator, on_temperature, ends)
        phi = None if ends is None else p.space.statistics(ends).permute(1, 2, 0)
        return anneal_by_gibbs(p, couplings, num_chains, temperatures, generator, on_temperature, ends=phi)[1]


def _beside_points(
    p: ConditionalModel,
    background: Background,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None,
    on_temperature: Callable[[float], None] | None,
    ends: Tensor | None,
) -> Tensor:
    """Chains for the background b alone; what q has more on its points is summed:

    Z_q = share · Z_b + S,      S = Σ_points e^{g(x,y)} (q(y) − share · b(y)).

    Where chains run back from a draw of p, that draw is one of b e^g with probability share · b(y)/q(y). Else it
    stands for S, and the chain runs forward: a path has the density of a forward path times (share · w + S)/Z_q, so
    that E[1/(share · w + S)] = 1/Z_q. A chain takes each way then, and one of them counts.
    """
    alone = ConditionalModel(p.divergence, background.family, p.scores)

    def run(back: Tensor | None, first: float, width: float) -> Tensor:
        def part(share: float) -> None:
            if on_temperature is not None:
                on_temperature(first + width * share)

        how = {"num_chains": num_chains, "temperatures": temperatures, "generator": generator}
        return background.log_share + anneal(alone, on_temperature=part, ends=back, **how)

    if ends is None:
        log_w = run(None, 0.0, 1.0)
    else:
        log_kept = background.log_share + background.family.log_prob(ends) - p.reference.log_prob(ends)
        uniform = torch.rand(log_kept.shape, device=ends.device, generator=generator)
        log_w = torch.where(uniform.log() < log_kept, run(ends, 0.0, 0.5), run(None, 0.5, 0.5))
    log_q = p.reference.log_prob_of(background.points).double()
    below = (background.log_share + background.family.log_prob_of(background.points)).double()
    more = log_q + torch.log1p(-torch.exp((below - log_q).clamp(max=0.0)))
    return torch.logaddexp(log_w, (more + p.affinity_of(background.points)).logsumexp(0))


def elements_per_row(p: ConditionalModel, *, num_chains: int, temperatures: int) -> int:
    """About how many numbers `anneal` holds for one row: the caller chooses how many rows to anneal at once."""
    space, family = p.space, p.reference if p.background is None else p.background.family
    if isinstance(p.scores.interaction, FullQuadratic | LowRankQuadratic) and isinstance(family, LinearDistribution):
        return space.num_statistics * (space.num_statistics + 4 * num_chains)
    return num_chains * (8 * space.num_statistics + 2 * temperatures * space.num_items)


def _metropolis(
    p: ConditionalModel,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None,
    on_temperature: Callable[[float], None] | None,
    ends: Tensor | None,
) -> Tensor:
    """Chains that need nothing of q and g but their values; tensors are [chain, row, ...]."""
    start = _start(p)
    space = p.space
    moves = min(space.num_items, MAX_MOVES)
    # All draws from q_θ̃ at once: over rankings the table that they are drawn from costs more than the draws.
    pool = (
        start.tilted.sample(num_chains * temperatures, generator=generator)
        .long()
        .unflatten(0, (temperatures, num_chains))
    )
    options = torch.tensor(space.options_per_item(), device=pool.device)

    def neighbour(y: Tensor) -> Tensor:
        return _neighbour(space, y, options, generator)

    def state(y: Tensor) -> State:
        phi = space.statistics(y)
        tilt = linear_energy(phi, start.theta)
        log_r = p.reference.log_prob(y) + tilt
        if space is not space.whole:  # a move of one item may break rules that a reference takes for granted
            log_r = torch.where(space.contains(y), log_r, -torch.inf)
        return State(y, log_r, p.scores.value(y, phi) - tilt)

    at, backwards = state(pool[0] if ends is None else ends), ends is not None
    log_weight = start.log_normalizer.double().expand(num_chains, -1).clone()
    for t in range(1, temperatures + 1):
        log_weight += at.excess.double() / temperatures
        if t < temperatures:
            beta = (temperatures - t if backwards else t) / temperatures
            at = moved(at, state, neighbour, pool[t], beta, moves, generator, backwards=backwards)
        if on_temperature is not None:
            on_temperature(t / temperatures)
    return log_weight


class State(NamedTuple):
    """Where chains are: y, log q + ⟨θ̃, φ⟩ and D."""

    y: Int64[Tensor, "chain row item"]
    log_r: Float[Tensor, "chain row"]
    excess: Float[Tensor, "chain row"]


def moved(
    at: State,
    state: Callable[[Tensor], State],
    neighbour: Callable[[Tensor], Tensor],
    drawn: Int64[Tensor, "chain row item"],
    beta: float,
    moves: int,
    generator: torch.Generator | None = None,
    *,
    backwards: bool = False,
) -> State:
    """The moves of one temperature, which leave f_β as it is.

    Every one is reversible, all in a row aren't: moves of one item come first and the jump to ``drawn`` from q_θ̃ last,
    and in their reversal (``backwards``) the jump first.
    """
    jumps = [True, *[False] * moves] if backwards else [*[False] * moves, True]
    for jump in jumps:
        new = state(drawn if jump else neighbour(at.y))
        log_ratio = beta * (new.excess - at.excess)
        if not jump:  # a draw from q_θ̃ has log r in its proposal already
            log_ratio = log_ratio + new.log_r - at.log_r
        uniform = torch.rand(log_ratio.shape, device=at.y.device, dtype=log_ratio.dtype, generator=generator)
        accept = uniform.log() < log_ratio
        at = State(
            torch.where(accept.unsqueeze(-1), new.y, at.y),
            torch.where(accept, new.log_r, at.log_r),
            torch.where(accept, new.excess, at.excess),
        )
    return at


class _Start(NamedTuple):
    """q_θ̃, where chains begin."""

    theta: Float[Tensor, "row statistic"]
    tilted: ReferenceDistribution
    log_normalizer: Float[Tensor, " row"]


def _start(p: ConditionalModel) -> _Start:
    """The mean-field tilt of q's background, or the tilt where q has none."""
    if p.background is not None:
        return _Start(p.mean_field.theta, p.mean_field.tilted, p.mean_field.log_normalizer)
    theta = p.scores.theta
    return _Start(theta, p.reference.tilt(theta), p.reference.log_normalizer(theta))


def _neighbour(
    space: OutputSpace,
    y: Int64[Tensor, "chain row item"],
    options: Int64[Tensor, " item"],
    generator: torch.Generator | None,
) -> Int64[Tensor, "chain row item"]:
    """Another value for one random item, or, in a ranking, two random items that trade places; symmetric."""
    where, step = torch.rand((2, *y.shape[:-1], 1), device=y.device, generator=generator)
    k = space.num_items
    item = (where * k).long().clamp(max=k - 1)
    if isinstance(space.whole, Rankings):
        other = (item + 1 + (step * (k - 1)).long().clamp(max=k - 2)) % k
        return y.scatter(-1, item, y.gather(-1, other)).scatter(-1, other, y.gather(-1, item))
    size = options[item]
    forward = 1 + torch.minimum((step * (size - 1)).long(), (size - 2).clamp(min=0))
    return y.scatter(-1, item, (y.gather(-1, item) + forward) % size)
