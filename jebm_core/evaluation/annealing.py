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

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.distributions import Background, LinearDistribution, ReferenceDistribution
from jebm_core.interactions import FullQuadratic, LowRankQuadratic, linear_energy
from jebm_core.model import ConditionalModel
from jebm_core.spaces import Configurations, OutputSpace, Rankings, Subsets

MAX_MOVES = 64
"""Metropolis moves a temperature are as many as items, up to this."""

_BLOCK = 24  # statistics whose fields follow item by item before the others catch up in one product


def anneal(
    p: ConditionalModel,
    *,
    num_chains: int = 64,
    temperatures: int = 100,
    generator: torch.Generator | None = None,
    on_temperature: Callable[[float], None] | None = None,
) -> Float[Tensor, "chain row"]:
    """log w of independent chains in float64: their mean in exp is an unbiased estimate of Z_q(x).

    Args:
        temperatures: T, evenly spaced; one sweep each.
        on_temperature: told the share of temperatures that are done; may raise to stop.

    Cost: O(T · chains · rows · statistics²) with the Gibbs sweep; memory O(rows · statistics · (chains + statistics)).

    >>> from jebm_core.divergences import KL
    >>> from jebm_core.interactions import Scores
    >>> space, zeros = Subsets(("a", "b")), torch.zeros(3, 2)
    >>> scores = Scores(space, zeros, FullQuadratic(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])))
    >>> anneal(ConditionalModel(KL(), LinearDistribution(space, zeros), scores), num_chains=8, temperatures=5).shape
    torch.Size([8, 3])
    """
    with torch.no_grad():
        if p.background is not None and len(p.background.points):
            return _beside_points(p, p.background, num_chains, temperatures, generator, on_temperature)
        couplings = _couplings(p)
        if couplings is None:
            return _metropolis(p, num_chains, temperatures, generator, on_temperature)
        return _gibbs(p, couplings, num_chains, temperatures, generator, on_temperature)


def _beside_points(
    p: ConditionalModel,
    background: Background,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None,
    on_temperature: Callable[[float], None] | None,
) -> Tensor:
    """Chains for the background b alone; what q has more on its points is summed:

    Z_q = share · Z_b + Σ_points e^{g(x,y)} (q(y) − share · b(y)).
    """
    alone = ConditionalModel(p.divergence, background.family, p.scores)
    log_w = background.log_share + anneal(
        alone, num_chains=num_chains, temperatures=temperatures, generator=generator, on_temperature=on_temperature
    )
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


class _Couplings(NamedTuple):
    """h = ⟨linear, φ⟩ + ½ φᵀ matrix φ, with a matrix that is zero within each item."""

    linear: Float[Tensor, "row statistic"]
    matrix: Float[Tensor, "one_or_row statistic statistic"]


def _couplings(p: ConditionalModel) -> _Couplings | None:
    """h where the Gibbs sweep applies, else None."""
    h = p.scores.interaction
    if not isinstance(p.reference, LinearDistribution) or not isinstance(p.space, Subsets | Configurations):
        return None
    match h:
        case FullQuadratic():
            return _Couplings(torch.zeros_like(p.scores.theta), h.matrix)
        case LowRankQuadratic():
            apart = h.item_of.unsqueeze(-1) != h.item_of
            # Within an item φ_a φ_b is φ_a for a = b, else 0: this part of h is linear, and is the field at φ = 0.
            linear = h.field(torch.zeros_like(p.scores.theta))
            return _Couplings(linear, (h.factors.T * h.scale.unsqueeze(-2)) @ h.factors * apart)
        case _:
            return None


def _gibbs(
    p: ConditionalModel,
    couplings: _Couplings,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None,
    on_temperature: Callable[[float], None] | None,
) -> Tensor:
    """Chains with Gibbs sweeps; tensors are [row, statistic, chain], a matrix product serves all chains of a row."""
    start = p.mean_field
    y = start.tilted.sample(num_chains, generator=generator)
    phi = p.space.statistics(y).permute(1, 2, 0).contiguous()
    eta = p.reference.eta  # pyright: ignore[reportAttributeAccessIssue] # _couplings has made sure of it
    matrix = couplings.matrix
    offset, slope = eta + start.theta, p.scores.theta + couplings.linear - start.theta
    blocks = _blocks(p.space)
    log_weight = start.log_normalizer.double().unsqueeze(-1).expand(-1, num_chains).clone()
    for t in range(1, temperatures + 1):
        field = matrix @ phi
        gain = ((field / 2 + slope.unsqueeze(-1)) * phi).sum(1)
        log_weight += gain.double() / temperatures
        if t < temperatures:  # a move after the last weight would change nothing
            beta = t / temperatures
            _sweep(p.space, phi, field.mul_(beta), beta * matrix, offset + beta * slope, blocks, generator)
        if on_temperature is not None:
            on_temperature(t / temperatures)
    return log_weight.T


def _sweep(
    space: OutputSpace,
    phi: Tensor,
    field: Tensor,
    matrix: Tensor,
    linear: Tensor,
    blocks: Sequence[Sequence[tuple[int, int]]],
    generator: torch.Generator | None,
) -> None:
    """Draw every item in turn from its conditional given all others, in place.

    ``field`` and ``matrix`` come multiplied by β.
    """
    uniform = torch.rand(phi.shape, device=phi.device, dtype=phi.dtype, generator=generator)
    subsets = isinstance(space, Subsets)
    # A Bernoulli draw compares its log-odds with a logistic number, a categorical one takes the largest of logits with
    # Gumbel numbers.
    noise = uniform.logit() if subsets else -(-uniform.log()).log()
    logits = field.add_(linear.unsqueeze(-1))
    for block in blocks:
        first, last = block[0][0], block[-1][1]
        before = phi[:, first:last].clone()
        for a, b in block:
            if subsets:
                new = (logits[:, a:b] > noise[:, a:b]).to(phi.dtype)
            else:
                choice = (logits[:, a:b] + noise[:, a:b]).argmax(1, keepdim=True)
                new = torch.zeros_like(phi[:, a:b]).scatter(1, choice, 1.0)
            change = new - phi[:, a:b]
            phi[:, a:b] = new
            if b < last:
                logits[:, b:last] += matrix[:, b:last, a:b] * change if subsets else matrix[:, b:last, a:b] @ change
        if last < phi.shape[1]:  # items before the block are done for this sweep
            logits[:, last:] += matrix[:, last:, first:last] @ (phi[:, first:last] - before)


def _blocks(space: OutputSpace) -> list[list[tuple[int, int]]]:
    """Ranges of statistics of each item, in blocks of about `_BLOCK` statistics."""
    sizes = [1] * space.num_items if isinstance(space, Subsets) else list(space.options_per_item())
    ends = list(accumulate(sizes))
    blocks: list[list[tuple[int, int]]] = [[]]
    for size, end in zip(sizes, ends, strict=True):
        if blocks[-1] and end - blocks[-1][0][0] > _BLOCK:
            blocks.append([])
        blocks[-1].append((end - size, end))
    return blocks


def _metropolis(
    p: ConditionalModel,
    num_chains: int,
    temperatures: int,
    generator: torch.Generator | None,
    on_temperature: Callable[[float], None] | None,
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

    def score(y: Tensor) -> tuple[Tensor, Tensor]:
        """(log q + ⟨θ̃, φ⟩, D) of each chain."""
        phi = space.statistics(y)
        tilt = linear_energy(phi, start.theta)
        return p.reference.log_prob(y) + tilt, p.scores.value(y, phi) - tilt

    y = pool[0]
    log_r, excess = score(y)
    log_weight = start.log_normalizer.double().expand(num_chains, -1).clone()
    for t in range(1, temperatures + 1):
        log_weight += excess.double() / temperatures
        if t < temperatures:
            beta = t / temperatures
            for move in range(moves + 1):
                y_new = pool[t] if move == moves else _neighbour(space, y, options, generator)
                log_r_new, excess_new = score(y_new)
                log_ratio = beta * (excess_new - excess)
                if move < moves:  # a draw from q_θ̃ has log r in its proposal already
                    log_ratio = log_ratio + log_r_new - log_r
                uniform = torch.rand(log_ratio.shape, device=y.device, dtype=log_ratio.dtype, generator=generator)
                accept = uniform.log() < log_ratio
                y = torch.where(accept.unsqueeze(-1), y_new, y)
                log_r, excess = torch.where(accept, log_r_new, log_r), torch.where(accept, excess_new, excess)
        if on_temperature is not None:
            on_temperature(t / temperatures)
    return log_weight


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
