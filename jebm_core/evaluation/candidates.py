"""Where candidates for unseen combinations come from, and how one is described to a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.spaces import Configurations, OutputSpace, Rankings, Subsets
from jebm_core.spaces.neighbours import one_change_away

MAX_CONTEXTS = 64
MAX_CANDIDATES = 2**17


@final
@dataclass(frozen=True)
class Change:
    """What one item, slot or rank was in the nearest seen combination, and what it is here."""

    item: str
    before: str
    after: str


def some_contexts(context: Context, seed: int) -> Context:
    """At most `MAX_CONTEXTS`; a single one where all are the same, as in an unconditional model."""
    if len(context.x) == 0:
        raise SpecError("Expected at least one context, found none; choose some rows.")
    both = torch.cat([context.x, context.reference], 1)
    if bool((both == both[0]).all()):
        return context.rows(slice(0, 1))
    if len(context.x) <= MAX_CONTEXTS:
        return context
    chosen = np.sort(np.random.default_rng(seed).choice(len(context.x), MAX_CONTEXTS, replace=False))
    return context.rows(torch.from_numpy(chosen).to(context.x.device))


def likely_candidates(model: FittedModel, context: Context, generator: torch.Generator | None) -> Tensor:
    """Draws and one-change neighbours of seen combinations, the most frequent first, each once."""
    space = model.space
    draws = torch.cat([d.y.reshape(-1, space.num_items) for _, d in model.weighted_draws(context, generator=generator)])
    pool = torch.cat([draws.long(), one_change_away(space, model.seen.points, MAX_CANDIDATES)[0]])[:MAX_CANDIDATES]
    return torch.unique(pool, dim=0)


def outcome_place(space: OutputSpace, outcome: tuple[str, str]) -> tuple[int, int]:
    """(slot, option) as numbers; of an item of subsets the options are 0 and 1."""
    if isinstance(space.whole, Rankings):
        raise SpecError("Expected a slot or an item as the outcome, found a ranking; an outcome needs other outputs.")
    whole = space.whole
    known = whole.options if isinstance(whole, Configurations) else (("0", "1"),) * space.num_items
    if outcome[0] not in space.items or outcome[1] not in known[space.items.index(outcome[0])]:
        raise SpecError(
            "Expected a slot and one of its options as the outcome, found {slot}={option}; slots are {slots}.",
            slot=outcome[0],
            option=outcome[1],
            slots=", ".join(space.items),
        )
    slot = space.items.index(outcome[0])
    return slot, known[slot].index(outcome[1])


def with_options(y: Tensor, slot: int, options: int) -> Int64[Tensor, "option row item"]:
    """Each row with every option in one slot."""
    choices = y.unsqueeze(0).repeat(options, 1, 1)
    choices[:, :, slot] = torch.arange(options, device=y.device).unsqueeze(-1)
    return choices


def unseen_others(model: FittedModel, points: Tensor, slot: int) -> Tensor:
    """Distinct combinations of the other slots (with option 0 in this one) that never occurred with any outcome."""
    points = points.clone()
    points[:, slot] = 0
    points = torch.unique(points, dim=0)
    seen = model.seen.points.clone()
    seen[:, slot] = 0
    return points[~torch.isin(model.space.key(points), model.space.key(seen))]


def nearest_seen(model: FittedModel, y: Tensor, skip: int | None) -> tuple[Tensor, Tensor]:
    """(nearest seen combination, distance), the outcome's slot left out of the count."""
    if skip is None or not len(y):
        distance, index = model.seen.nearest(y) if len(y) else (y.new_zeros(0), y.new_zeros(0))
        return model.seen.points[index], distance
    other = [i for i in range(y.shape[1]) if i != skip]
    differs = (y[:, None, other] != model.seen.points[None, :, other]).sum(-1)
    best = differs.min(1)
    return model.seen.points[best.indices], best.values


def labels_of(space: OutputSpace, y: Tensor, skip: int | None) -> tuple[str, ...]:
    """As a person reads it, without the slot or item ``skip``."""
    if skip is None:
        return space.decode(y)
    if isinstance(space.whole, Subsets):
        kept = y.clone()
        kept[skip] = 0
        return space.decode(kept)
    labels = space.decode(y)
    return labels[:skip] + labels[skip + 1 :]


def changes_between(space: OutputSpace, before: Tensor, after: Tensor, skip: int | None) -> Iterator[Change]:
    """What differs, slot by slot, item by item or rank by rank (1 = first)."""
    for i, (a, b) in enumerate(zip(before.tolist(), after.tolist(), strict=True)):
        if a != b and i != skip:
            yield Change(space.items[i], value_label(space, i, a), value_label(space, i, b))


def value_label(space: OutputSpace, item: int, value: int) -> str:
    """What an item's value is called: its option, 0 or 1, or its rank (1 = first)."""
    whole = space.whole
    if isinstance(whole, Configurations):
        return whole.options[item][value]
    return str(value + 1) if isinstance(whole, Rankings) else str(value)
