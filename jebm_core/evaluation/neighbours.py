"""A baseline without a model: a combination is as likely as it lies near to combinations that occurred.

    p(y) = Σ_c (n_c / N) e^{−β d(y,c)} / Z_c(β),     Z_c(β) = Σ_{y' valid} e^{−β d(y',c)}

with n_c how often c occurred and d the items or slots that differ, or the pairs in the other order. β is the one under
which every training row is likeliest given all other rows. Features play no part. Of more than `MOST_CENTRES`
combinations the most frequent ones are used.

Sources: Aitchison and Aitken, *Biometrika* 1976 (kernels on categories, chosen by leaving out); Mallows, *Biometrika*
    1957 (rankings).
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.fitted import FittedModel
from jebm_core.seen import Seen
from jebm_core.spaces import OutputSpace, Rankings, Subsets
from jebm_core.spaces.distance import agreement_weights, distance_features, distance_of_agreement

MOST_CENTRES = 4096
RATES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
"""What β is chosen from: e^{−β} of a step away."""
_ELEMENTS = 2**24


@torch.no_grad()
def neighbour_log_prob(model: FittedModel, y: Int64[Tensor, "row item"]) -> Float[Tensor, " row"]:
    """log p(y) in nats of each row. Cost: rows · training combinations, and their square once."""
    seen = model.seen
    points, counts = seen.points[:MOST_CENTRES], seen.counts[:MOST_CENTRES]
    every = Seen(model.space, points, counts)
    best = max(RATES, key=lambda rate: _left_out(every, rate))
    return _log_density(every, y, best)


def _log_density(seen: Seen, y: Int64[Tensor, "row item"], rate: float) -> Float[Tensor, " row"]:
    weight = _log_weights(seen, rate) - math.log(int(seen.counts.sum()))
    parts = []
    for rows in y.split(max(1, _ELEMENTS // len(seen))):
        parts.append((weight - rate * _distances(seen, rows)).logsumexp(-1))
    return torch.cat(parts)


def _left_out(seen: Seen, rate: float) -> float:
    """Σ over training rows of log p of the row given all others."""
    weight, total = _log_weights(seen, rate), int(seen.counts.sum())
    if total < 2:
        return -math.inf
    found = 0.0
    for index in torch.arange(len(seen), device=seen.points.device).split(max(1, _ELEMENTS // len(seen))):
        terms = (weight - rate * _distances(seen, seen.points[index])).double().exp()
        own = terms[torch.arange(len(index)), index] / seen.counts[index]
        left = (terms.sum(-1) - own).clamp(min=1e-300) / (total - 1)
        found += float((seen.counts[index] * left.log()).sum())
    return found


def _log_weights(seen: Seen, rate: float) -> Float[Tensor, " combination"]:
    """log (n_c / Z_c(β))."""
    return seen.counts.double().log().float() - _log_normaliser(seen.space, seen.points, rate)


def _log_normaliser(
    space: OutputSpace, points: Int64[Tensor, "combination item"], rate: float
) -> Float[Tensor, " combination"]:
    k = space.num_items
    if isinstance(space.whole, Rankings):  # Π_j (1 + e^{−β} + … + e^{−(j−1)β}); of all orders, should rules leave fewer
        log_z = sum(math.log(sum(math.exp(-rate * step) for step in range(j))) for j in range(1, k + 1))
        return torch.full((len(points),), log_z, device=points.device)
    theta = rate * agreement_weights(space, space.statistics(points))
    agreements = points.sum(-1) if isinstance(space.whole, Subsets) else k  # of a subset with itself: items it has
    return space.linear_log_partition(theta) - rate * agreements


def _distances(seen: Seen, y: Int64[Tensor, "row item"]) -> Float[Tensor, "row combination"]:
    agreement = distance_features(seen.space, y) @ distance_features(seen.space, seen.points).T
    return distance_of_agreement(seen.space, agreement).float()
