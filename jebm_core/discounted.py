"""Listed combinations less likely than a distribution says, all by the same factor, and all others more likely.

What learned from combinations tends to believe that they come back more often than they do: the same error that
Good–Turing estimates and the discounts of language models correct. One number corrects it, fitted out of fold
(`jebm_core.stacking`): there the probability of the never seen is right on average, but for the number's prior.
"""

from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from jebm_core.distributions import PointsDistribution, ReferenceDistribution
from jebm_core.spaces.factored import PointStatistics


@final
class DiscountedDistribution(ReferenceDistribution):
    """q′(y) = q(y) e^{γ 1[y ∈ A]} / N,    N = 1 + (e^γ − 1) q(A),    A a list of combinations.

    Closed under tilts, since they change q alone:

        A_q′(θ) = A_q(θ) + log N(θ) − log N,    N(θ) = 1 + (e^γ − 1) q_θ(A).

    Cost beside that of q: one score for each pair of a context and a listed combination.

    Args:
        q: the distribution that is corrected.
        points: A, distinct.
        log_discount: γ, below 0 where q expects too many of them.
        log_mass: log N, where it is known already.

    >>> from jebm_core.distributions import LinearDistribution
    >>> from jebm_core.spaces import Subsets
    >>> space = Subsets(("a", "b"))
    >>> uniform, seen = LinearDistribution(space, torch.zeros(1, 2)), torch.tensor([[1, 1]])
    >>> q = DiscountedDistribution(uniform, seen, torch.tensor(0.5).log())
    >>> [round(p, 3) for p in q.log_prob(space.listing().unsqueeze(1)).exp().flatten().tolist()]
    [0.286, 0.286, 0.286, 0.143]
    """

    def __init__(
        self,
        q: ReferenceDistribution,
        points: Integer[Tensor, "point item"],
        log_discount: Float[Tensor, ""],
        log_mass: Float[Tensor, " batch"] | None = None,
    ) -> None:
        self.space, self.q, self.points, self.log_discount = q.space, q, points, log_discount
        if log_mass is not None:
            self.log_mass = log_mass

    @cached_property
    def log_mass(self) -> Float[Tensor, " batch"]:
        """log N."""
        return self._log_mass(self._listed)

    def _log_mass(self, listed: Float[Tensor, "point batch"]) -> Float[Tensor, " batch"]:
        return torch.log1p(torch.expm1(self.log_discount) * listed.exp().sum(0))

    @cached_property
    def _listed(self) -> Float[Tensor, "point batch"]:
        return self.q.log_prob_of(self.points)

    @cached_property
    def _table(self) -> PointsDistribution:
        return PointsDistribution(self.space, self.points, self.log_discount.new_zeros(1, len(self.points)))

    def _discount(self, y: Integer[Tensor, "*sample item"]) -> Float[Tensor, "*sample"]:
        return torch.where(self._table.contains(y), self.log_discount, 0.0)

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        return self.q.log_prob(y) + self._discount(y) - self.log_mass

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        return self.q.log_prob_of(points, phi) + self._discount(points).unsqueeze(-1) - self.log_mass

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        # Rejection: a draw of q stays with probability q′/q over its largest value, e^γ or 1; what goes is drawn again,
        # as many a context as the context that lacks most.
        y = self.q.sample(num_samples, generator=generator)
        missing = ~self._stays(y, generator)
        while not y.is_meta and (lacking := int(missing.sum(0).max())):
            more = self.q.sample(lacking, generator=generator)
            rank = (missing.cumsum(0) - 1).clamp_min(0)
            y = torch.where(missing.unsqueeze(-1), more.gather(0, rank.unsqueeze(-1).expand_as(y)), y)
            missing = missing & ~self._stays(more, generator).gather(0, rank)
        return y

    def weighted_sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> tuple[Integer[Tensor, "sample batch item"], Float[Tensor, "sample batch"]]:
        y = self.q.sample(num_samples, generator=generator)
        return y, self._discount(y) - self.log_mass

    def _stays(
        self, y: Integer[Tensor, "sample batch item"], generator: torch.Generator | None
    ) -> Bool[Tensor, "sample batch"]:
        log_ratio = self._discount(y) - self.log_discount.clamp_min(0.0)
        return torch.rand(y.shape[:-1], device=y.device, generator=generator) < log_ratio.exp()

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        energy = theta @ self._phi.T
        value = self.q.log_normalizer(theta)
        tilted = self._log_mass(self._listed + energy.T - value)
        return value + tilted - self.log_mass

    @cached_property
    def _phi(self) -> Float[Tensor, "point statistic"]:
        return self.space.statistics(self.points)

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "DiscountedDistribution":
        return DiscountedDistribution(self.q.tilt(theta), self.points, self.log_discount)

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        more = torch.expm1(self.log_discount) * (self._listed.exp().T @ self._phi)
        return (self.q.marginals() + more) / self.log_mass.exp().unsqueeze(-1)

    def is_product(self) -> bool:
        return False

    def background(self) -> None:
        return None  # listed combinations may be less likely than what surrounds them, so it would bound nothing
