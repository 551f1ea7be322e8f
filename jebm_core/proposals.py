"""Proposals r(y|x): where the draws of training and audits come from. Never part of the model.

Every proposal turns a batch of contexts into `Draws`: weighted combinations with

    E_{y∼q(·|x)}[F(y)] ≈ Σ_m e^{a_m} F(y_m),        unbiased for every F,

where a = log q − log r − log S for S i.i.d. draws from r, and a = log q for combinations that are listed. A
proposal may do both:
`AnchoredProposal` lists the observed combinations and draws only the rest. Draws are detached: gradients stay unbiased.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from jebm_core import plackett_luce
from jebm_core.distributions import PointsDistribution, ReferenceDistribution, sample_categorical
from jebm_core.interactions import linear_energy
from jebm_core.kernels import kernel_around
from jebm_core.model import ConditionalModel
from jebm_core.spaces import OutputSpace
from jebm_core.spaces.factored import FactoredStatistics, PointStatistics

_LONG_LIST = 2**12
"""Combinations from which the products with their statistics are what a step costs."""


@dataclass(frozen=True)
class Draws:
    """Weighted combinations for a batch of contexts.

    Attributes:
        y: draws of each context's own; may be empty.
        log_weight: a for each of them.
        points: combinations shared by every context (listed, zero variance); may be empty.
        points_log_weight: a for each point in each context.
        mean_affinity: E_r[g] where the proposal knows it in closed form, differentiable in g: a control variate.
        phi: φ(y), where the proposal has computed it already.
        linear: ⟨θ, φ(y)⟩, differentiable, likewise.
        points_phi: φ(points), likewise.
    """

    y: Integer[Tensor, "sample batch item"]
    log_weight: Float[Tensor, "sample batch"]
    points: Integer[Tensor, "point item"]
    points_log_weight: Float[Tensor, "point batch"]
    mean_affinity: Float[Tensor, " batch"] | None = None
    phi: Float[Tensor, "sample batch statistic"] | None = None
    linear: Float[Tensor, "sample batch"] | None = None
    points_phi: PointStatistics | None = None

    @property
    def num_random(self) -> int:
        """How many draws are random, that is, not listed."""
        return self.y.shape[0]


class Proposal(ABC):
    """A way of drawing. Instances hold settings only."""

    name: str

    @abstractmethod
    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        """``num_samples`` draws a context (fewer where everything is listed)."""


@final
class ReferenceProposal(Proposal):
    """r = q: the published method. Its noise is χ²(p‖q), up to 2^k."""

    name = "reference"

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        y = p.reference.sample(num_samples, generator=generator)
        weight = torch.full(y.shape[:2], -math.log(num_samples), device=y.device, dtype=p.scores.theta.dtype)
        return Draws(y, weight, y.new_zeros(0, p.space.num_items), weight.new_zeros(0, y.shape[1]))


@final
class TiltProposal(Proposal):
    """r = q_θ, or what costs less to draw from and is close to it: exact for the linear part of g; what remains is the
    noise of e^h."""

    name = "tilt"

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        theta = p.scores.theta
        with torch.no_grad():
            y, log_ratio = p.reference.tilt(theta).weighted_sample(num_samples, generator=generator)
            log_normalizer = p.reference.log_normalizer(theta).detach()
        phi = p.space.statistics(y)
        linear = linear_energy(phi, p.scores.theta)
        # log q − log q_θ = A_q(θ) − ⟨θ, φ⟩: q itself cancels.
        log_weight = log_normalizer - linear.detach() - math.log(num_samples)
        if log_ratio is not None:
            log_weight = log_weight + log_ratio
        none = y.new_zeros(0, p.space.num_items)
        return Draws(y, log_weight, none, log_weight.new_zeros(0, y.shape[1]), phi=phi, linear=linear)


@final
class PlackettLuceProposal(Proposal):
    """Rankings of any number of items: a Plackett–Luce distribution whose scores follow the linear energy.

    θ is projected on one score an item, s_i = Σ_p w_p θ_ip / Σ_p w_p² with w falling evenly from 1 to −1, and
    scaled by the mean of
    |w_p − w_q|, so that a pair of items stands in the right order about as often as under exp⟨θ, φ⟩. Exact
    density; no permanent.
    """

    name = "plackett-luce"

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        k = p.space.num_items
        weights = torch.linspace(1, -1, k, device=p.scores.theta.device)
        matrix = p.scores.theta.detach().unflatten(-1, (k, k))
        scores = (matrix @ weights) / weights.square().sum() * (2 * (k + 1) / (3 * (k - 1)))
        y = plackett_luce.sample(scores, num_samples, generator=generator)
        log_r = plackett_luce.log_prob(scores, y)
        log_weight = (p.reference.log_prob(y) - log_r).detach() - math.log(num_samples)
        return Draws(y, log_weight, y.new_zeros(0, k), log_weight.new_zeros(0, y.shape[1]))


@final
class MeanFieldProposal(Proposal):
    """r = b_θ̃ at the mean-field fixed point of θ plus interactions; the points on which q is more than its background
    b are listed."""

    name = "meanfield"

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        field = p.mean_field
        y = field.tilted.sample(num_samples, generator=generator)
        # off the points, log q − log r = log share + A_b(θ̃) − ⟨θ̃, φ⟩: the background itself cancels.
        phi = p.space.statistics(y)
        # Both linear energies in one pass over φ, which is what this step spends its time on.
        both = torch.bmm(phi.transpose(0, 1), torch.stack([p.scores.theta, field.theta], -1))
        log_weight = (field.log_normalizer - both[..., 1].T - math.log(num_samples)).detach()
        mean = field.mean_affinity if p.is_certified else None  # under rules the closed form is not E_r[g]
        points, listed = y.new_zeros(0, p.space.num_items), log_weight.new_zeros(0, y.shape[1])
        if p.background is not None and len(p.background.points):
            points, mean = p.background.points, None
            listed = p.reference.log_prob_of(points).detach()
            on_point = PointsDistribution(p.space, points, listed.T).contains(y)
            log_weight = torch.where(on_point, -math.inf, log_weight + p.background.log_share.detach())
        return Draws(y, log_weight, points, listed, mean, phi, both[..., 0].T)


@final
class ListingProposal(Proposal):
    """Every combination once: no noise. For spaces that can be listed."""

    name = "listing"

    def __init__(self, space: OutputSpace, device: torch.device | str = "cpu") -> None:
        self._points = space.listing(device)
        # Kept where it is small: half of a step would go into counting it again.
        small = len(self._points) * space.num_statistics <= 2**27
        self._phi = _statistics_of(space, self._points) if small else None
        self._known: tuple[ReferenceDistribution, Tensor] | None = None

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        points = self._points
        if self._known is not None and self._known[0] is p.reference:  # trees are the same in every step
            log_q = self._known[1]
        else:
            log_q = p.reference.log_prob_of(points, self._phi).detach()
            self._known = (p.reference, log_q) if log_q.shape[1] == 1 else None
        batch = log_q.shape[1]
        none = points.new_zeros(0, batch, points.shape[1])
        return Draws(none, log_q.new_zeros(0, batch), points, log_q, points_phi=self._phi)


def _statistics_of(space: OutputSpace, points: Int64[Tensor, "point item"]) -> PointStatistics:
    """φ of a list that every step goes through; factored where that pays."""
    phi = space.statistics(points)
    factored = None if phi.is_meta or len(phi) < _LONG_LIST else FactoredStatistics.of(phi)
    return phi if factored is None else factored


@final
class AnchoredProposal(Proposal):
    """Observed combinations (anchors) listed; the rest drawn from a mixture of the mean-field tilt and flips
    around anchors.

    r = ρ q_θ̃ + (1−ρ) Σ_c π_c(x) K(·|c),    π_c ∝ (q(c) e^{g(x,c)})^κ,

    where K re-draws each item independently with probability ε (under rules: given that the result is valid). The
    density is exact. Draws that fall on an anchor get weight zero: anchors are counted in full already. It covers every
    mode near a combination that has been seen, which one tilt cannot.
    """

    name = "anchored"

    def __init__(
        self, space: OutputSpace, anchors: Int64[Tensor, "anchor item"], *, tilt_share: float = 0.25, flips: float = 1.5
    ) -> None:
        self.space, self.anchors, self.tilt_share = space, anchors, tilt_share
        self.flip = min(flips / space.num_items, 0.5)
        self._kernel = kernel_around(space, anchors, self.flip)

    def draw(self, p: ConditionalModel, num_samples: int, *, generator: torch.Generator | None = None) -> Draws:
        with torch.no_grad():
            log_q = p.reference.log_prob_of(self.anchors)
            scores = 0.5 * (log_q + p.affinity_of(self.anchors))  # κ = ½ spreads over more modes than p itself
            possible = (log_q > -math.inf).any(0)  # rules may leave no anchor in a context; then any centre will do
            scores = torch.where(possible, scores, 0.0)[: self._kernel.centres]
            seed_weight = scores.log_softmax(0).T
            from_tilt = max(1, round(self.tilt_share * num_samples))
            tilted = p.mean_field.tilted
            centre = sample_categorical(seed_weight, num_samples - from_tilt, generator=generator)
            around_anchors = self._kernel.draw(centre, generator=generator)
            y = torch.cat([tilted.sample(from_tilt, generator=generator).long(), around_anchors])
            phi = self.space.statistics(y)
            around = (self._kernel.log_density(phi) + seed_weight).logsumexp(-1)
            share = from_tilt / num_samples
            flipped = math.log1p(-share) if share < 1 else -math.inf
            log_r = torch.logaddexp(math.log(share) + tilted.log_prob(y), flipped + around)
            on_anchor = PointsDistribution(self.space, self.anchors, log_q.T).contains(y)
            log_weight = p.reference.log_prob(y) - log_r - math.log(num_samples)
            log_weight = torch.where(on_anchor, -math.inf, log_weight)
        return Draws(y, log_weight, self.anchors, log_q, phi=phi)
