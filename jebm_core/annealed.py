"""Annealed draws: a proposal for many items with many interactions, where no tilt of q comes near the model.

A proposal like those of `jebm_core.proposals`, for decisions and marginals: too dear for a step of training.
"""

import math
from typing import final

import torch

from jebm_core.distributions import PointsDistribution
from jebm_core.gibbs import anneal_by_gibbs, couplings_of
from jebm_core.model import ConditionalModel
from jebm_core.proposals import Draws, Proposal

MAX_STATISTICS = 256
"""Statistics up to which Gibbs sweeps are affordable for every row."""


@final
class AnnealedProposal(Proposal):
    """The ends of annealed importance sampling: chains from the mean-field tilt of q's background to the model, with
    their weights, less g. Points on which q is more than its background are listed.

    Cost: O(temperatures · draws · statistics²) a context.
    """

    name = "annealed"

    def __init__(self, temperatures: int = 10) -> None:
        self.temperatures = temperatures

    @staticmethod
    def applies(p: ConditionalModel) -> bool:
        """Whether there are Gibbs sweeps for p, and they are affordable."""
        if p.background is None or p.divergence.name != "kl" or p.space.num_statistics > MAX_STATISTICS:
            return False
        return couplings_of(_off_points(p)) is not None

    @torch.no_grad()
    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        alone, background = _off_points(p), p.background
        couplings = couplings_of(alone)
        if couplings is None or background is None:
            raise TypeError("annealed draws need pairs over independent items; ask applies() first")
        phi, log_w = anneal_by_gibbs(alone, couplings, num_samples, self.temperatures, generator)
        phi = phi.permute(2, 0, 1)
        y = p.space.argmax_linear(phi)
        log_weight = (log_w - math.log(num_samples)).to(phi.dtype) + background.log_share - p.scores.value(y, phi)
        points = background.points
        listed = log_weight.new_zeros(0, log_weight.shape[1])
        if len(points):
            listed = p.reference.log_prob_of(points)
            on_point = PointsDistribution(p.space, points, listed.T).contains(y)
            log_weight = torch.where(on_point, -math.inf, log_weight)
        return Draws(y, log_weight, points, listed, phi=phi)


def _off_points(p: ConditionalModel) -> ConditionalModel:
    """p over q's background alone."""
    if p.background is None:
        return p
    return ConditionalModel(p.divergence, p.background.family, p.scores)
