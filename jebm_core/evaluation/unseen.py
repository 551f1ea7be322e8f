"""Combinations that never occurred: how much probability they hold, and which of them are the most likely.

The probability of everything unseen is estimated in two ways that owe nothing to each other: by the model,
1 − mean_x Σ_{c seen} p(c|x), and without it, by Good and Turing: the share of training rows whose combination occurred
once. Both say how often the next row brings a new combination, if it comes from where the training rows came from.

Intervals here hold the error of the normalisation and the choice of contexts. They don't hold the error of the score
itself, which calibration on held-out combinations shows.

Sources: Good, *Biometrika* 1953; Esty, *Annals of Statistics* 1983 (the interval); McAllester and Schapire, COLT 2000
    (convergence).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation.averages import averages, listed_mass, pieces
from jebm_core.evaluation.calibration import wilson_interval
from jebm_core.evaluation.candidates import (
    Change,
    changes_between,
    labels_of,
    likely_candidates,
    nearest_seen,
    outcome_place,
    some_contexts,
    unseen_others,
    with_options,
)
from jebm_core.evaluation.explanation import Term, contributions_of
from jebm_core.evaluation.likeliest import Likeliest, likeliest
from jebm_core.fitted import FittedModel
from jebm_core.model import ConditionalModel, Context
from jebm_core.tables import Note

MAX_RANKED_LISTING = 2**17
FEW_CONTEXTS, START_AGAIN = 8, 1000
"""A search over many contexts begins with this many of them, and goes on from this many combinations under all."""
FREQUENCY_SMOOTHING = 0.05
_Z = 1.959963984540054
OF_AVERAGE = Note("The interval holds the normalisation and the choice of contexts, not the error of the score itself.")
OF_CONDITIONAL = Note(
    "The log-partition cancels in a conditional probability, so there is no interval of it; "
    "see the calibration of this outcome on held-out rows."
)


@final
@dataclass(frozen=True)
class Share:
    """A share between 0 and 1 with its 95 % interval."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class UnseenEntry:
    """One combination of a ranking.

    Attributes:
        labels: as a person reads it: items present; options of the slots; items from first to last.
        probability: mean over contexts of p(y|x); with an outcome, of P(outcome | the other slots, x).
        low, high: 95 % interval, see the note of the table; None where there is no honest one.
        odds_reference: times as likely as under the reference; odds_random: as a random combination. Of the
            plausibility where there is an outcome. None beyond the range of a floating-point number.
        plausibility: with an outcome, mean over contexts of the probability of the other slots.
        distance: items or slots that differ from the nearest seen combination, or pairs in the other order.
        driver: the part, pair or rule that adds or takes most, in nats and averaged over contexts, against the nearest
            seen combination – with an outcome, of its log-odds (`jebm_core.evaluation.explanation`). None where nothing
            differs, or the nearest one is impossible here.
    """

    rank: int
    labels: tuple[str, ...]
    y: tuple[int, ...]
    seen: bool
    probability: float
    low: float | None
    high: float | None
    odds_reference: float | None
    odds_random: float | None
    plausibility: float | None
    nearest: tuple[str, ...]
    distance: int
    changes: tuple[Change, ...]
    driver: Term | None


@final
@dataclass(frozen=True)
class UnseenTable:
    """Combinations, the likeliest first.

    Attributes:
        listed: every combination was looked at; otherwise ``candidates`` of them were.
        exact: no unseen combination is likelier under the model than these: all were looked at, or a bound says so.
        contexts: rows that the probabilities are averaged over.
    """

    entries: tuple[UnseenEntry, ...]
    listed: bool
    exact: bool
    candidates: int
    contexts: int
    outcome: tuple[str, str] | None
    note: Note

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold."""
        return dataclasses.asdict(self)


def good_turing(counts: Int64[Tensor, " combination"]) -> Share:
    """The probability that the next row has an unseen combination: n₁/N, n_j combinations having occurred j times.

    The interval is Esty's, n₁/N ± 1.96 √(n₁(1 − n₁/N) + 2 n₂)/N, or Wilson's where that is wider: Esty's vanishes where
    every combination, or none, occurred once.

    >>> good_turing(torch.tensor([3, 1, 1])).value
    0.4
    """
    total, once, twice = int(counts.sum()), int((counts == 1).sum()), int((counts == 2).sum())
    share = once / total
    reach = _Z * math.sqrt(once * (1 - share) + 2 * twice) / total
    low, high = wilson_interval(once, total)
    return Share(share, max(0.0, min(low, share - reach)), min(1.0, max(high, share + reach)))


def frequency_log_prob(model: FittedModel, y: Int64[Tensor, "row item"]) -> Float[Tensor, " row"]:
    """The smoothed-frequency baseline in nats: 95 % the training share of the combination, 5 % uniform on the space."""
    keys, order = model.space.key(model.seen.points).sort()
    wanted = model.space.key(y)
    slot = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
    count = torch.where(keys[slot] == wanted, model.seen.counts[order[slot]], 0).double()
    share = (1 - FREQUENCY_SMOOTHING) * count / model.seen.counts.sum()
    uniform = torch.full_like(share, math.log(FREQUENCY_SMOOTHING) - model.space.log_cardinality())
    return torch.logaddexp(share.log(), uniform)


@torch.no_grad()
def seen_mass(
    model: FittedModel, p: ConditionalModel, log_mass: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, " batch"]:
    """Σ_{c seen} p(c|x), at most 1; ``log_mass`` is what p with its learned τ adds up to, 0 without it."""
    total = torch.stack([p.log_prob_of(part).logsumexp(0) for part in pieces(p, model.seen.points)]).logsumexp(0)
    return (total if log_mass is None else total - log_mass).exp().clamp(max=1.0)


def rank_unseen(
    model: FittedModel,
    context: Context,
    n: int = 50,
    *,
    outcome: tuple[str, str] | None = None,
    candidates: Int64[Tensor, "candidate item"] | None = None,
    generator: torch.Generator | None = None,
    seed: int = 0,
) -> UnseenTable:
    """The ``n`` most probable combinations that never occurred, averaged over contexts (at most 64, drawn by seed).

    Spaces of up to 2^17 combinations are listed. Elsewhere a local search starts from draws of the model and the
    one-change neighbours of seen combinations, so that something likelier may be missing – unless ``exact`` says that a
    bound excludes it (`jebm_core.evaluation.likeliest`): under a single context without interactions, or with pairs
    that are weak.

    Args:
        outcome: a slot and its option, such as ("result", "pass"): combinations of the *other* slots are ranked by
            P(option | other slots, x). Only plausible ones count, at least as likely as a random combination; a
            combination of the other slots that occurred with any outcome is seen.
        candidates: rank these instead; seen ones are left out.

    Raises:
        SpecError: ``n`` is below 1, or the outcome is unknown or of a ranking.

    Cost: contexts · candidates scores.
    """
    if n < 1:
        raise SpecError("Expected at least 1 combination to rank, found n={found}; raise it.", found=n)
    context = some_contexts(context, seed)
    space, listed = model.space, candidates is None and model.space.cardinality() <= MAX_RANKED_LISTING
    place = None if outcome is None else outcome_place(space, outcome)
    asked = _Asked(place, outcome, n, normalised=listed, listed=listed, exact=listed, by_score=True)
    if candidates is None and not listed:
        found = _searched(model, context, place, n, generator)
        asked = dataclasses.replace(asked, exact=found.exact, looked=found.looked)
        return _ranked(model, context, found.points, asked)
    points = space.listing(model.device) if candidates is None else candidates
    points = points[~model.seen.contains(points)] if place is None else unseen_others(model, points, place[0])
    return _ranked(model, context, points, asked)


def _searched(
    model: FittedModel, context: Context, place: tuple[int, int] | None, n: int, generator: torch.Generator | None
) -> Likeliest:
    start = torch.cat([likely_candidates(model, context, generator), model.seen.points])
    least, seen = 0.0, model.seen.points.clone()
    if place is not None:
        start[:, place[0]] = seen[:, place[0]] = 0
        start = torch.unique(start, dim=0)
        least = math.exp(_log_random(model, place))
    keys = model.space.key(seen)

    def wanted(points: Int64[Tensor, "candidate item"]) -> Bool[Tensor, " candidate"]:
        return ~torch.isin(model.space.key(points), keys)

    looked, rows = 0, len(context.x)
    with torch.no_grad():
        if rows > FEW_CONTEXTS:  # most of the way under a few of them, the rest under all
            few = model.model(context.rows(torch.linspace(0, rows - 1, FEW_CONTEXTS, device=model.device).long()))
            first = likeliest(model, few, start, START_AGAIN, place=place, wanted=wanted, least=least)
            start, looked = torch.cat([first.points, seen[:START_AGAIN]]), first.looked
        found = likeliest(model, model.model(context), start, n, place=place, wanted=wanted, least=least)
    return dataclasses.replace(found, looked=looked + found.looked)


def _log_random(model: FittedModel, place: tuple[int, int] | None) -> float:
    """log-probability of a combination, or of the other slots, picked at random."""
    options = 1 if place is None else model.space.options_per_item()[place[0]]
    return math.log(options) - model.space.log_cardinality()


def score_candidates(
    model: FittedModel,
    context: Context,
    y: Int64[Tensor, "candidate item"],
    *,
    outcome: tuple[str, str] | None = None,
    seed: int = 0,
) -> UnseenTable:
    """Score a person's own list, in its order; seen combinations are marked and stay, implausible ones too.

    Raises:
        SpecError: a combination outside the space, or an unknown outcome.
    """
    inside = model.space.contains(y)
    if not bool(inside.all()):
        raise SpecError(
            "Expected combinations of the model's {items} items and options, found another on line {line} of the list; "
            "correct it.",
            items=model.space.num_items,
            line=int((~inside).nonzero()[0]) + 1,
        )
    place = None if outcome is None else outcome_place(model.space, outcome)
    context, small = some_contexts(context, seed), model.space.cardinality() <= MAX_RANKED_LISTING
    asked = _Asked(place, outcome, len(y), normalised=small, listed=False, exact=False, by_score=False)
    return _ranked(model, context, y, asked)


@torch.no_grad()
def outcome_probability(
    model: FittedModel, context: Context, y: Int64[Tensor, "row item"], outcome: tuple[str, str]
) -> Float[Tensor, " row"]:
    """P(outcome | the other slots of the row, x) for each row: what `event_reliability` holds against what happened."""
    slot, option = outcome_place(model.space, outcome)
    parts = []
    for rows, part in model.chunks(context):
        choices = with_options(y[rows], slot, model.space.options_per_item()[slot])  # [option, row, item]
        log_p = model.model(part).log_prob(choices)
        parts.append(torch.where(model.space.contains(choices), log_p, -torch.inf).softmax(0)[option])
    return torch.cat(parts)


@dataclass(frozen=True)
class _Asked:
    place: tuple[int, int] | None
    outcome: tuple[str, str] | None
    n: int
    normalised: bool  # the whole space is listed for the normalisation
    listed: bool
    exact: bool
    by_score: bool
    looked: int | None = None


def _ranked(
    model: FittedModel, context: Context, points: Int64[Tensor, "candidate item"], asked: _Asked
) -> UnseenTable:
    """Score, order and describe."""
    space, contexts, place = model.space, len(context.x), asked.place
    with torch.no_grad():
        p = model.model(context)
        log_mass = listed_mass(model, p) if asked.normalised else torch.zeros_like(p.log_partition)
        score, error, plausible, log_q = averages(p, points, place, log_mass)
    log_random = _log_random(model, place)
    order = torch.arange(len(points), device=points.device)
    if asked.by_score:
        if place is not None:
            order = order[plausible >= math.exp(log_random)]
        order = order[score[order].argsort(descending=True, stable=True)[: asked.n]]
    chosen = points[order]
    slot = None if place is None else place[0]
    nearest, distance = nearest_seen(model, chosen, slot)
    interval = (0.0, 0.0) if asked.normalised else model.record.interval
    entries = []
    for rank, i in enumerate(order.tolist()):
        value, mass = float(score[i]), float(plausible[i])
        reach = _Z * float(error[i]) if contexts > 1 else 0.0
        low, high = value * math.exp(interval[0]) - reach, value * math.exp(interval[1]) + reach
        log_p = math.log(mass) if mass > 0 else -math.inf
        entries.append(
            UnseenEntry(
                rank=rank + 1,
                labels=labels_of(space, chosen[rank], slot),
                y=tuple(chosen[rank].tolist()),
                seen=bool(distance[rank] == 0),
                probability=value,
                low=max(0.0, low) if place is None else None,
                high=min(1.0, high) if place is None else None,
                odds_reference=_odds(log_p - float(log_q[i])),
                odds_random=_odds(log_p - log_random),
                plausibility=None if place is None else mass,
                nearest=labels_of(space, nearest[rank], slot),
                distance=int(distance[rank]),
                changes=tuple(changes_between(space, nearest[rank], chosen[rank], slot)),
                driver=_driver(p, chosen[rank], nearest[rank], place) if distance[rank] > 0 else None,
            )
        )
    note = OF_AVERAGE if place is None else OF_CONDITIONAL
    looked = len(points) if asked.looked is None else asked.looked
    return UnseenTable(tuple(entries), asked.listed, asked.exact, looked, contexts, asked.outcome, note)


@torch.no_grad()
def _driver(
    p: ConditionalModel, y: Int64[Tensor, " item"], nearest: Int64[Tensor, " item"], place: tuple[int, int] | None
) -> Term | None:
    found = contributions_of(p, torch.stack([y, nearest]), place)
    return None if found is None else found.driver


def _odds(log_ratio: float) -> float | None:
    return math.exp(log_ratio) if -700 < log_ratio < 700 else None
