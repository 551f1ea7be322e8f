"""Intervals of ranked combinations that hold the model's own uncertainty: what its replicates say in its place.

A probability is held against those of the replicates on a scale without bounds: log p of a whole combination, the
log-odds of an outcome given the other slots (`jebm_core.replicates`).
"""

import dataclasses
import math
from collections.abc import Sequence

import torch

from jebm_core.evaluation.unseen import UnseenEntry, UnseenTable, score_candidates
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.replicates import half_width
from jebm_core.tables import Note

OF_BOTH = Note(
    "The interval holds the normalisation, the choice of contexts, and how much the model itself moves when it is "
    "fitted to random halves of the rows."
)


def widened(table: UnseenTable, members: Sequence[tuple[FittedModel, Context]], *, seed: int = 0) -> UnseenTable:
    """The table with intervals that hold the model's own uncertainty.

    Args:
        table: of `rank_unseen` or `score_candidates`.
        members: replicates, each with its own encoding of the contexts that the table was asked for.
        seed: of that question.

    Cost: a score a replicate, context and entry.
    """
    if not members or not table.entries:
        return table
    y = torch.tensor([entry.y for entry in table.entries])
    found = []
    for model, context in members:
        scored = score_candidates(model, context, y.to(model.device), outcome=table.outcome, seed=seed)
        found.append([entry.probability for entry in scored.entries])
    value = torch.tensor([entry.probability for entry in table.entries], dtype=torch.float64)
    others, outcome = torch.tensor(found, dtype=torch.float64), table.outcome is not None
    centre = value.logit() if outcome else value.log()
    width = half_width(centre, others.logit() if outcome else others.log())
    entries = [
        _widened(entry, float(at), float(reach) if math.isfinite(reach) else math.inf, outcome)
        for entry, at, reach in zip(table.entries, centre, width, strict=True)
    ]
    return dataclasses.replace(table, entries=tuple(entries), note=OF_BOTH)


def _widened(entry: UnseenEntry, centre: float, reach: float, outcome: bool) -> UnseenEntry:
    if outcome:
        return dataclasses.replace(entry, low=_share(centre - reach), high=_share(centre + reach))
    p = entry.probability
    below = math.log(p / entry.low) if entry.low else math.inf  # pyright: ignore[reportOperatorIssue]
    above = math.log(entry.high / p) if entry.high and p > 0 else math.inf
    low = p * math.exp(-math.hypot(below, reach))
    return dataclasses.replace(entry, low=low, high=min(1.0, p * math.exp(min(math.hypot(above, reach), 700.0))))


def _share(log_odds: float) -> float:
    """The probability of these log-odds; any float is safe."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0
