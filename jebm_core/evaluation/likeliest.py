"""The most probable combinations of spaces that are too large to list: a local search, and a certificate.

The search starts from draws and what is next to seen combinations, and scores what is one change away from the best so
far until nothing better turns up. Nothing it finds is certain to be the best.

Under a single context a certificate is often possible. Around an origin y° let ψ_d be what changing one item to one
other option does to φ, and off the points that q has a table of, with w = η + θ,

    s(y) = ⟨w, φ⟩ + ½ φᵀUφ,     s(y) − s(y°) = Σ_d a_d + Σ_{d<e} b_de ≤ Σ_d (a_d + ½ Σ_j max(0, max_{e in j} b_de)),

a sum over the items that differ. Combinations are taken in the order of that sum, the largest first, until it falls
below the n-th best that is known: no other can be better. Without pairs the bound is the score itself, and the list is
exact after about n steps. Orders of items without preferences are taken by Murty's method, combinations under rules by
best-first search in their diagram.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.discounted import DiscountedDistribution
from jebm_core.distributions import LinearDistribution, UniformRankings
from jebm_core.evaluation.averages import in_contexts, pieces
from jebm_core.evaluation.ordered import best_assignments, best_choices
from jebm_core.fitted import FittedModel
from jebm_core.interactions import FullQuadratic, LowRankQuadratic
from jebm_core.model import ConditionalModel
from jebm_core.rules.dnnf import Dnnf
from jebm_core.spaces import OutputSpace, Rankings, Ruled, Subsets

SECONDS = 2.0
"""Time of the local search; the certificate has at most as much again."""
MAX_ENUMERATED = 2**16
_BLOCK = 2**10
_MOST_SWAPS = 1000
_MOST_BEAM = 200
_SCORES_AT_ONCE = 2**19
_ROUNDING = 1e-4


@final
@dataclass(frozen=True)
class Likeliest:
    """Combinations, the best first.

    Attributes:
        exact: no other combination is better.
        looked: how many were scored.
    """

    points: Int64[Tensor, "candidate item"]
    exact: bool
    looked: int


class _Pool(NamedTuple):
    points: Int64[Tensor, "candidate item"]
    value: Float[Tensor, " candidate"]
    new: Tensor  # that none of its neighbours has been asked for


@torch.no_grad()
def likeliest(
    model: FittedModel,
    p: ConditionalModel,
    start: Int64[Tensor, "candidate item"],
    n: int,
    *,
    place: tuple[int, int] | None = None,
    wanted: Callable[[Tensor], Tensor],
    least: float = 0.0,
    seconds: float = SECONDS,
) -> Likeliest:
    """The ``n`` best by mean probability over the contexts of ``p``, or by that of an outcome.

    Args:
        start: where the search begins.
        place: the outcome's slot and option; combinations of the other slots then have option 0 there.
        wanted: which combinations count, such as those that never occurred; others are stepping stones.
        least: probability that the other slots must have, with an outcome.

    Cost: contexts · (n · neighbours) scores, a few times.
    """
    scoring = _Scoring(p, place, least)
    beam, until = min(max(2 * n, 64), _MOST_BEAM), time.monotonic() + seconds
    around = len(neighbours(p.space, start[:1], place))
    pool = scoring.pool(start)
    at_once = max(1, _SCORES_AT_ONCE // max(1, around * len(p.log_partition)))
    while time.monotonic() < until:
        keep = wanted(pool.points)
        ahead = torch.zeros_like(keep)
        order = pool.value.argsort(descending=True, stable=True)
        ahead[order[:beam]] = True
        ahead[order[keep[order]][:beam]] = True
        chosen = ahead & pool.new & pool.value.isfinite()
        if not bool(chosen.any()):
            break
        # A part at a time, the best first: later ones may no longer be among the best by then.
        best = order[chosen[order]][:at_once]
        pool.new[best] = False
        found = scoring.pool(_unknown(p.space, neighbours(p.space, pool.points[best], place), pool.points))
        pool = _Pool(*(torch.cat(pair) for pair in zip(pool, found, strict=True)))
    chosen = wanted(pool.points) & pool.value.isfinite()
    points, value = pool.points[chosen], pool.value[chosen]
    best = value.argsort(descending=True, stable=True)[:n]
    points, value, origin = points[best], value[best], pool.points[pool.value.argmax()]
    if place is not None or len(p.log_partition) != 1:
        return Likeliest(points, False, scoring.looked)
    ordered = _by_bound(model, p, origin)
    if ordered is None:
        return Likeliest(points, False, scoring.looked)
    return _certified(scoring, ordered, points, value, n, wanted, time.monotonic() + seconds)


def neighbours(
    space: OutputSpace, y: Int64[Tensor, "point item"], place: tuple[int, int] | None
) -> Int64[Tensor, "neighbour item"]:
    """One change away, rules or not: another option, an item for another one, or two ranks that trade places."""
    found = []
    if isinstance(space.whole, Rankings):
        for a, b in itertools.islice(itertools.combinations(range(space.num_items), 2), _MOST_SWAPS):
            found.append(torch.where(y == a, b, torch.where(y == b, a, y)))
        return torch.unique(torch.cat(found), dim=0)
    for item, size in enumerate(space.options_per_item()):
        for step in range(1, size if place is None or item != place[0] else 1):
            changed = y.clone()
            changed[:, item] = (changed[:, item] + step) % size
            found.append(changed)
    if isinstance(space.whole, Subsets):
        free = [item for item in range(space.num_items) if place is None or item != place[0]]
        swaps = torch.tensor(list(itertools.islice(itertools.combinations(free, 2), 2 * _MOST_SWAPS)), device=y.device)
        if len(swaps):
            row, swap = (y[:, swaps[:, 0]] != y[:, swaps[:, 1]]).nonzero(as_tuple=True)
            where = swaps[swap]
            found.append(y[row].scatter(1, where, y[row].gather(1, where).flip(1)))
    return torch.unique(torch.cat(found), dim=0) if found else y[:0]


@final
class _Scoring:
    """What candidates are worth: log of the mean probability, or the outcome's probability where that is plausible."""

    def __init__(self, p: ConditionalModel, place: tuple[int, int] | None, least: float) -> None:
        self.p, self.place, self.least, self.looked = p, place, least, 0
        self.log_mass = torch.zeros_like(p.log_partition)

    def pool(self, points: Int64[Tensor, "candidate item"]) -> _Pool:
        if self.place is None:
            points = points[self.p.space.contains(points)]
        self.looked += len(points)
        value = [self._value(part) for part in pieces(self.p, points)]
        values = torch.cat(value) if value else self.log_mass.new_zeros(0).double()
        return _Pool(points, values, torch.ones_like(values, dtype=torch.bool))

    def _value(self, points: Int64[Tensor, "candidate item"]) -> Float[Tensor, " candidate"]:
        score, log_p, _ = in_contexts(self.p, points, self.place, self.log_mass)
        if self.place is None:
            return log_p.double().logsumexp(1) - np.log(log_p.shape[1])
        value, mass = score.mean(1), log_p.double().exp().mean(1)
        return torch.where((mass >= self.least) & value.isfinite(), value, -torch.inf)


def _unknown(space: OutputSpace, points: Tensor, known: Tensor) -> Tensor:
    return points[~torch.isin(space.key(points), space.key(known))]


def _certified(
    scoring: _Scoring,
    ordered: Iterator[tuple[float, list[int]]],
    points: Int64[Tensor, "candidate item"],
    value: Float[Tensor, " candidate"],
    n: int,
    wanted: Callable[[Tensor], Tensor],
    until: float,
) -> Likeliest:
    """Take combinations by their bound until it falls below the n-th best known, or too many were taken."""
    space = scoring.p.space
    for taken in range(0, MAX_ENUMERATED, _BLOCK):
        block = list(itertools.islice(ordered, _BLOCK))
        least = float(value[n - 1]) if len(value) >= n else -np.inf
        # Rounding of single-precision scores must not pass for a certificate.
        inside = [y for bound, y in block if bound + _ROUNDING * max(1.0, abs(bound)) >= least]
        if inside:
            found = scoring.pool(_unknown(space, torch.tensor(inside, device=points.device), points))
            chosen = wanted(found.points) & found.value.isfinite()
            points = torch.cat([points, found.points[chosen]])
            value = torch.cat([value, found.value[chosen]])
            best = value.argsort(descending=True, stable=True)[:n]
            points, value = points[best], value[best]
        if len(inside) < len(block) or len(block) < _BLOCK:
            return Likeliest(points, True, scoring.looked)
        if taken and time.monotonic() > until:
            break
    return Likeliest(points, False, scoring.looked)


def _by_bound(
    model: FittedModel, p: ConditionalModel, origin: Int64[Tensor, " item"]
) -> Iterator[tuple[float, list[int]]] | None:
    """Combinations off the points of q's table, with an upper bound of log p that falls; None where there is none."""
    h, background, log_mass = p.scores.interaction, p.background, 0.0
    if isinstance(p.reference, DiscountedDistribution):  # off its list q is what it was, over N
        background, log_mass = p.reference.q.background(), float(p.reference.log_mass[0])
    pairs = isinstance(h, FullQuadratic | LowRankQuadratic)
    if p.divergence.name != "kl" or (h is not None and not pairs):
        return None
    family = None if background is None else background.family
    theta = p.scores.theta[0].double()
    if isinstance(p.reference, UniformRankings):
        weight, share = theta, float(p.reference.log_prob_of(origin.unsqueeze(0)))
    elif isinstance(family, LinearDistribution) and background is not None:
        weight = theta + family.eta[0].double()
        share = float(background.log_share[0] - family.log_partition[0])
    else:
        return None
    share -= float(p.log_partition[0]) + log_mass
    tables = [] if background is None or not len(background.points) else background.points.tolist()
    whole = p.space.whole
    if isinstance(whole, Rankings) and isinstance(p.space, Ruled):
        return None if pairs else _chained(tables, _in_diagram(p.space, weight, share))
    if isinstance(whole, Rankings):
        square = weight.unflatten(0, (whole.num_items, whole.num_items)).cpu().numpy()
        return _chained(tables, ((value + share, y) for value, y in best_assignments(square)))
    if isinstance(p.space, Ruled) and not pairs:
        return _chained(tables, _in_diagram(p.space, weight, share))
    return _chained(tables, _around(p, weight, share, origin))


def _chained(
    tables: list[list[int]], ordered: Iterator[tuple[float, list[int]]] | None
) -> Iterator[tuple[float, list[int]]] | None:
    """Points of a table first: no bound is known of them."""
    return None if ordered is None else itertools.chain(((np.inf, y) for y in tables), ordered)


def _in_diagram(space: Ruled, weight: Tensor, share: float) -> Iterator[tuple[float, list[int]]] | None:
    """By the linear score, best-first in the diagram; again from the start with twice as many when they run out."""
    if isinstance(space.rules.diagram, Dnnf):
        return None

    def ordered() -> Iterator[tuple[float, list[int]]]:
        given, k = 0, _BLOCK
        while True:
            points, values = space.best_linear(weight, k)
            yield from zip((values[given:] + share).tolist(), points[given:].tolist(), strict=True)
            if len(points) < k:
                return
            given, k = k, 2 * k

    return ordered()


def _around(
    p: ConditionalModel, weight: Float[Tensor, " statistic"], share: float, origin: Int64[Tensor, " item"]
) -> Iterator[tuple[float, list[int]]]:
    """By the bound around an origin; see the head of the module."""
    space, h = p.space.whole, p.scores.interaction
    matrix = weight.new_zeros(len(weight), len(weight))
    if isinstance(h, FullQuadratic):
        matrix = h.matrix[0].double()
    elif isinstance(h, LowRankQuadratic):
        matrix = (h.factors.T.double() * h.scale[0].double()) @ h.factors.double()
    sizes = space.options_per_item()
    moves = [(item, option) for item, size in enumerate(sizes) for option in range(size) if option != origin[item]]
    changed = origin.repeat(len(moves), 1)
    item_of = torch.tensor([item for item, _ in moves], device=origin.device)
    options = torch.tensor([option for _, option in moves], device=origin.device)
    changed.scatter_(1, item_of.unsqueeze(1), options.unsqueeze(1))
    phi = space.statistics(origin).double()
    psi = space.statistics(changed).double() - phi
    gain = psi @ (weight + matrix @ phi) + ((psi @ matrix) * psi).sum(1) / 2
    both = (psi @ matrix @ psi.T).clamp_min(0.0)
    largest = both.new_zeros(len(moves), len(sizes)).scatter_reduce(
        1, item_of.expand(len(moves), -1), both, "amax", include_self=True
    )
    largest[torch.arange(len(moves), device=origin.device), item_of] = 0.0
    bound = (gain + largest.sum(1) / 2).tolist()
    scores = [[0.0] * size for size in sizes]
    for (item, option), value in zip(moves, bound, strict=True):
        scores[item][option] = value
    start = float(phi @ weight + (phi @ matrix @ phi) / 2) + share
    return ((value + start, y) for value, y in best_choices(scores))
