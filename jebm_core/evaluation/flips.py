"""What if one part were another: two combinations compared, and the smallest change that turns a decision round."""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation.averages import in_contexts, listed_mass, pieces
from jebm_core.evaluation.candidates import (
    Change,
    changes_between,
    outcome_place,
    some_contexts,
)
from jebm_core.fitted import FittedModel
from jebm_core.model import ConditionalModel, Context
from jebm_core.spaces import OutputSpace, Rankings

SECONDS = 5.0
"""Time that a search may take by default."""
MAX_LISTED_MASS = 2**17
_BLOCK = 2**13
_MAX_SHELL = 2**17
_Z = 1.959963984540054


@final
@dataclass(frozen=True)
class Comparison:
    """Two combinations under the same contexts.

    Attributes:
        before, after: mean over contexts of p(y|x); with an outcome, of P(outcome | the other slots, x).
        ratio: after / before; None beyond the range of a floating-point number.
        low, high: 95 % interval of the ratio for the choice of contexts; None in a single one. The log-partition
            cancels in one context, so nothing stands for its error; the error of the score itself is in no interval.
    """

    before: float
    after: float
    ratio: float | None
    low: float | None
    high: float | None
    contexts: int


@final
@dataclass(frozen=True)
class Decision:
    """Whether a probability reaches a threshold: p(y|x), or P(outcome | the other slots, x), averaged over contexts."""

    threshold: float
    outcome: tuple[str, str] | None = None


@final
@dataclass(frozen=True)
class Flip:
    """What a search for the smallest change found.

    Attributes:
        y: the combination on the other side; None where none was found.
        distance: how many parts (rankings: neighbouring pairs traded) it differs in.
        before, after: the probability that the decision is about.
        certified: no smaller change does it; where none was found, that no change whatever does.
        exhausted: every combination up to this distance was looked at.
        looked: combinations scored.
    """

    y: tuple[int, ...] | None
    distance: int | None
    changes: tuple[Change, ...]
    before: float
    after: float | None
    certified: bool
    exhausted: int
    looked: int


@torch.no_grad()
def compare(
    model: FittedModel,
    context: Context,
    before: Int64[Tensor, " item"],
    after: Int64[Tensor, " item"],
    *,
    outcome: tuple[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """The probability of two combinations and its ratio, averaged over contexts (at most 64, drawn by seed).

    The interval is that of the ratio of two means, exp(log ratio ± 1.96 s/√n) with s the standard deviation over
    contexts of a_i/ā − b_i/b̄: both are averaged over the same contexts.

    Raises:
        SpecError: a combination outside the space, or an unknown outcome.
    """
    asked = _Question(model, context, outcome, seed)
    points = torch.stack([before, after])
    asked.require_possible(points)
    score = asked.in_contexts(points)
    first, second = (float(mean) for mean in score.mean(1))
    low = high = ratio = None
    if first > 0 and second > 0 and abs(math.log(second) - math.log(first)) < 700:
        ratio = math.exp(math.log(second) - math.log(first))
        if score.shape[1] > 1:
            spread = (score[1] / second - score[0] / first).std(correction=1)
            reach = _Z * float(spread) / math.sqrt(score.shape[1])
            low, high = ratio * math.exp(-reach), ratio * math.exp(min(reach, 600.0))
    return Comparison(first, second, ratio, low, high, score.shape[1])


@torch.no_grad()
def smallest_flip(
    model: FittedModel,
    context: Context,
    y: Int64[Tensor, " item"],
    decision: Decision,
    *,
    most_distance: int | None = None,
    seconds: float = SECONDS,
    seed: int = 0,
) -> Flip:
    """The smallest change of ``y`` that takes its probability across the threshold, whichever side it is on.

    All combinations at distance 1, then 2, … that the rules allow are scored, so that what is found first can't be
    undercut; among those of one distance the one furthest across is taken. An outcome's slot stays as it is.

    Args:
        context: one row, or several (at most 64, drawn by seed) to average over.
        most_distance: stop after this distance; all items if not given.
        seconds: stop after this time, at the end of a block of combinations.

    Raises:
        SpecError: a combination outside the space, an unknown outcome, or a threshold that is not between 0 and 1.

    Cost: contexts · combinations looked at.
    """
    if not 0 < decision.threshold < 1:
        raise SpecError(
            "Expected a threshold above 0 and below 1, found {found}; a probability can cross no other.",
            found=decision.threshold,
        )
    asked = _Question(model, context, decision.outcome, seed)
    asked.require_possible(y.unsqueeze(0))
    before = float(asked.in_contexts(y.unsqueeze(0)).mean())
    upwards = before < decision.threshold
    slot = None if asked.place is None else asked.place[0]
    furthest = _furthest(model.space, slot)
    until, looked, exhausted = time.monotonic() + seconds, 0, 0
    best: tuple[float, Tensor] | None = None
    last = furthest if most_distance is None else min(most_distance, furthest)
    for distance, blocks in itertools.takewhile(lambda one: one[0] <= last, _shells(model.space, y, slot)):
        complete = True
        for block in blocks:
            if looked and time.monotonic() > until:
                complete = False
                break
            points, score = asked.means(block)
            looked += len(points)
            crossed = (score >= decision.threshold) == upwards
            if bool(crossed.any()):
                side = torch.where(crossed, score if upwards else -score, -math.inf)
                place = int(side.argmax())
                if best is None or float(side[place]) > best[0]:
                    best = (float(side[place]), points[place])
        if best is not None:
            found = best[1]
            changes = tuple(changes_between(model.space, y, found, slot))
            reached = distance if complete else exhausted
            return Flip(tuple(found.tolist()), distance, changes, before, abs(best[0]), True, reached, looked)
        if not complete:
            break
        exhausted = distance
    return Flip(None, None, (), before, None, exhausted >= furthest, exhausted, looked)


@final
class _Question:
    """The probability that is asked about, of one combination after another."""

    def __init__(self, model: FittedModel, context: Context, outcome: tuple[str, str] | None, seed: int) -> None:
        self.model, context = model, some_contexts(context, seed)
        self.place = None if outcome is None else outcome_place(model.space, outcome)
        self.p: ConditionalModel = model.model(context)
        listed = self.place is None and model.space.cardinality() <= MAX_LISTED_MASS
        self.log_mass = listed_mass(model, self.p) if listed else torch.zeros_like(self.p.log_partition)

    def in_contexts(self, points: Int64[Tensor, "candidate item"]) -> Float[Tensor, "candidate batch"]:
        return in_contexts(self.p, points, self.place, self.log_mass).score

    def means(
        self, points: Int64[Tensor, "candidate item"]
    ) -> tuple[Int64[Tensor, "some item"], Float[Tensor, " some"]]:
        """(those that are possible in every context, what is asked of each)."""
        found, scores = [points[:0]], [self.log_mass.new_zeros(0).double()]
        for part in pieces(self.p, points):
            inside = part if self.place is not None else part[self.model.space.contains(part)]
            score, log_p, _ = in_contexts(self.p, inside, self.place, self.log_mass)
            kept = log_p.isfinite().all(1)
            found.append(inside[kept])
            scores.append(score[kept].mean(1))
        return torch.cat(found), torch.cat(scores)

    def require_possible(self, points: Int64[Tensor, "candidate item"]) -> None:
        if not bool(self.model.space.whole.contains(points).all()) or len(self.means(points)[0]) < len(points):
            raise SpecError("Expected combinations that the model's space and rules allow, found another; correct it.")


def _furthest(space: OutputSpace, slot: int | None) -> int:
    """The largest distance there is."""
    if isinstance(space.whole, Rankings):
        return space.num_items * (space.num_items - 1) // 2
    return len(_free(space, slot))


def _free(space: OutputSpace, slot: int | None) -> list[int]:
    """The items that can be changed."""
    return [item for item, size in enumerate(space.options_per_item()) if item != slot and size > 1]


def _shells(
    space: OutputSpace, y: Int64[Tensor, " item"], slot: int | None
) -> Iterator[tuple[int, Iterator[Int64[Tensor, "block item"]]]]:
    """(distance, all combinations at that distance in blocks): of the space without its rules."""
    if isinstance(space.whole, Rankings):
        yield from _traded(space, y)
        return
    items = _free(space, slot)
    for distance in range(1, len(items) + 1):
        yield distance, _changed(y, items, space.options_per_item(), distance)


def _changed(
    y: Int64[Tensor, " item"], items: list[int], sizes: tuple[int, ...], distance: int
) -> Iterator[Int64[Tensor, "block item"]]:
    """Every choice of ``distance`` items, each with every other value."""
    start = y.tolist()
    each = (
        (chosen, steps)
        for chosen in itertools.combinations(items, distance)
        for steps in itertools.product(*(range(1, sizes[item]) for item in chosen))
    )
    while block := list(itertools.islice(each, _BLOCK)):
        chosen = torch.tensor([c for c, _ in block], device=y.device)
        new = [[(start[item] + step) % sizes[item] for item, step in zip(*one, strict=True)] for one in block]
        yield y.repeat(len(block), 1).scatter(1, chosen, torch.tensor(new, device=y.device))


def _traded(
    space: OutputSpace, y: Int64[Tensor, " item"]
) -> Iterator[tuple[int, Iterator[Int64[Tensor, "block item"]]]]:
    """Rankings by Kendall's distance: neighbours of neighbours, each once; no further than memory should hold."""
    inner, shell = y[:0].reshape(0, len(y)), y.unsqueeze(0)
    for distance in range(1, _furthest(space, None) + 1):
        near = [torch.where(shell == a, a + 1, torch.where(shell == a + 1, a, shell)) for a in range(len(y) - 1)]
        found = torch.unique(torch.cat(near), dim=0)
        inner, shell = shell, found[~torch.isin(space.key(found), space.key(inner))]
        yield distance, iter(shell.split(_BLOCK))
        if len(shell) > _MAX_SHELL:
            return
