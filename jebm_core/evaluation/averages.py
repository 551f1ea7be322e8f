"""Probabilities of combinations in each of several contexts, and averaged over them.

Of a whole combination p(y|x); where one slot is the outcome, P(option | the other slots, x), beside the probability of
the other slots.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.evaluation.candidates import with_options
from jebm_core.fitted import FittedModel
from jebm_core.model import ConditionalModel

_ELEMENTS = 2**23


class InContexts(NamedTuple):
    """Of each candidate in each context.

    Attributes:
        score: p(y|x), or P(option | the other slots, x): not a number where these are impossible.
        log_p, log_q: of the combination, or of its other slots, in nats.
    """

    score: Float[Tensor, "candidate batch"]
    log_p: Float[Tensor, "candidate batch"]
    log_q: Float[Tensor, "candidate batch"]


class Averages(NamedTuple):
    """Over the contexts, in double precision: mean score, its standard error, mean probability, log of mean q."""

    score: Float[Tensor, " candidate"]
    error: Float[Tensor, " candidate"]
    probability: Float[Tensor, " candidate"]
    log_q: Float[Tensor, " candidate"]


def in_contexts(
    p: ConditionalModel,
    points: Int64[Tensor, "candidate item"],
    place: tuple[int, int] | None,
    log_mass: Float[Tensor, " batch"],
) -> InContexts:
    """The numbers of a few candidates, all at once.

    Args:
        place: the outcome's slot and option; None for whole combinations.
        log_mass: what p with its learned τ adds up to; 0 where that is not known.
    """
    batch = len(log_mass)
    if place is None:
        log_p, log_q = allowed_log_prob(p, points) - log_mass, p.reference.log_prob_of(points).expand(-1, batch)
        return InContexts(log_p.double().exp(), log_p, log_q)
    choices = with_options(points, place[0], p.space.options_per_item()[place[0]])
    shape = (*choices.shape[:2], batch)
    joint = (allowed_log_prob(p, choices.flatten(0, 1)) - log_mass).reshape(shape)
    log_p = joint.logsumexp(0)
    log_q = p.reference.log_prob_of(choices.flatten(0, 1)).expand(-1, batch).reshape(shape).logsumexp(0)
    return InContexts((joint[place[1]] - log_p).double().exp(), log_p, log_q)


def allowed_log_prob(p: ConditionalModel, points: Int64[Tensor, "candidate item"]) -> Float[Tensor, "candidate batch"]:
    """log p, and −∞ for what rules forbid: linear scores know nothing of rules."""
    log_p = p.log_prob_of(points)
    if p.space.whole is p.space:
        return log_p
    return torch.where(p.space.contains(points).unsqueeze(-1), log_p, -math.inf)


def averages(
    p: ConditionalModel,
    points: Int64[Tensor, "candidate item"],
    place: tuple[int, int] | None,
    log_mass: Float[Tensor, " batch"],
) -> Averages:
    """Each a number a candidate, in pieces that fit into memory. Arguments as `in_contexts`."""
    parts: list[tuple[Tensor, ...]] = []
    batch = len(log_mass)
    for some in pieces(p, points):
        score, log_p, log_q = in_contexts(p, some, place, log_mass)
        spread = score.std(1, correction=1) if batch > 1 else torch.zeros_like(score[:, 0])
        mean_q = log_q.double().logsumexp(1) - math.log(batch)
        parts.append((score.mean(1), spread / math.sqrt(batch), log_p.double().exp().mean(1), mean_q))
    if not parts:
        empty = p.log_partition.new_zeros(0).double()
        return Averages(empty, empty, empty, empty)
    return Averages(*(torch.cat(column) for column in zip(*parts, strict=True)))


def listed_mass(model: FittedModel, p: ConditionalModel) -> Float[Tensor, " batch"]:
    """What p with its learned τ adds up to, by listing; in nats."""
    parts = [p.log_prob_of(some).logsumexp(0) for some in pieces(p, model.space.listing(model.device))]
    return torch.stack(parts).logsumexp(0)


def pieces(p: ConditionalModel, points: Int64[Tensor, "candidate item"]) -> Iterator[Int64[Tensor, "some item"]]:
    """Candidates a piece at a time, none empty."""
    size = max(1, _ELEMENTS // (p.scores.theta.shape[0] + p.space.num_statistics**2))
    yield from (part for part in points.split(size) if len(part))
