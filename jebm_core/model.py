"""The joint model: reference, affinity, divergence and log-partition, and the conditional distribution they define.

    p(y|x) = q(y|x) (f*)′(g(x,y) − τ(x)),      τ(x) = base(x) + δ(x)

The *base* is what can be said about the log-partition in closed form, from g itself; δ is a network that learns
what the base misses.

- `ZeroBase`: 0; τ is a network alone. Always.
- `PositionsBase`: Σ_i log mean_p e^{θ_ip}, items placed alone. Rankings of any size, uniform q.
- `TiltBase`: A_q(θ), exact without interactions. Where q tilts exactly.
- `MeanFieldBase`: the evidence lower bound L(m) at the mean-field fixed point. Quadratic h.
- `AnchoredBase`: log(Z on observed combinations + e^(bound on all others)). As above.

Where items are independent under q the last two are certified lower bounds of log Z_q(x) for every x. Under rules the
same formulas leave out how items covary: still close, and δ learns the rest, but bounds of nothing.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn

from jebm_core.distributions import Background, ReferenceDistribution
from jebm_core.divergences import FDivergence
from jebm_core.interactions import QuadraticInteraction, Scores
from jebm_core.networks import Affinity
from jebm_core.references import Reference
from jebm_core.spaces import OutputSpace
from jebm_core.spaces.factored import PointStatistics

MEAN_FIELD_STEPS = 6
MEAN_FIELD_DAMPING = 0.5


class Context(NamedTuple):
    """What is known about each row: features, and the inputs of the reference (width 0 where q ignores x)."""

    x: Float[Tensor, "batch feature"]
    reference: Float[Tensor, "batch width"]

    def rows(self, index: Tensor | slice) -> "Context":
        """Some of the rows."""
        return Context(self.x[index], self.reference[index])

    def to(self, device: torch.device | str) -> "Context":
        """On another device."""
        return Context(self.x.to(device), self.reference.to(device))

    @property
    def is_single(self) -> bool:
        """Whether nothing is known about any row, so that all are alike."""
        return not (self.x.shape[1] or self.reference.shape[1])

    def condensed(self) -> "Context":
        """One row where all are alike; else all rows."""
        return self.rows(slice(0, 1)) if self.is_single else self


@dataclass(frozen=True)
class MeanField:
    """The tilt b_θ̃ of q's background b that best covers p, and what it certifies.

    Attributes:
        theta: θ̃ = θ + U m at the damped fixed point, detached.
        tilted: b_θ̃.
        marginals: m = E_{b_θ̃}[φ], detached.
        mean_affinity: E_{b_θ̃}[g], differentiable in g.
        log_normalizer: A_b(θ̃), detached.
        bound: L(m) = log share + E_{b_θ̃}[g] − KL(b_θ̃ ‖ b) ≤ log Z_q(x), differentiable in g.
    """

    theta: Float[Tensor, "batch statistic"]
    tilted: ReferenceDistribution
    marginals: Float[Tensor, "batch statistic"]
    mean_affinity: Float[Tensor, " batch"]
    log_normalizer: Float[Tensor, " batch"]
    bound: Float[Tensor, " batch"]


@final
class ConditionalModel:
    """p(·|x) for a batch of contexts. Made by `JointModel`; every log is in nats."""

    def __init__(self, divergence: FDivergence, reference: ReferenceDistribution, scores: Scores) -> None:
        self.divergence, self.reference, self.scores = divergence, reference, scores
        self.space = scores.space
        self.log_partition: Tensor = scores.theta.new_zeros(scores.theta.shape[0])

    def as_draws(self, y: Integer[Tensor, "row item"]) -> Integer[Tensor, "sample batch item"]:
        """One combination a row in the form of draws: one of each context – or, where one context stands for all rows
        of a model without features, all of that one. Flattened, results are one a row again."""
        return y.unsqueeze(1) if self.scores.theta.shape[0] == 1 else y.unsqueeze(0)

    def affinity(self, y: Integer[Tensor, "sample batch item"]) -> Float[Tensor, "sample batch"]:
        """g(x, y)."""
        return self.scores.value(y)

    def affinity_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        """g(x, y) for the same points in every context; ``phi`` = φ(points) saves computing it again."""
        return self.scores.value_of(points, phi)

    def log_prob(self, y: Integer[Tensor, "sample batch item"]) -> Float[Tensor, "sample batch"]:
        """log p(y|x) = log q + log (f*)′(g − τ) with the learned τ."""
        return self.reference.log_prob(y) + self.divergence.log_density_ratio(self.affinity(y) - self.log_partition)

    def log_prob_of(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch"]:
        """log p of the same points in every context."""
        ratio = self.divergence.log_density_ratio(self.affinity_of(points) - self.log_partition)
        return self.reference.log_prob_of(points) + ratio

    @property
    def is_linear(self) -> bool:
        """Whether log Z_q is A_q(θ): no interactions, the divergence whose τ is a log-partition, and no rule that only
        draws are checked against."""
        linear = self.scores.interaction is None and self.divergence.name == "kl" and self.space.exact_linear
        return linear and not self.space.checks_draws

    @property
    def has_mean_field(self) -> bool:
        """Whether pairs are the only interactions, and a few points and tilts of q are all it takes to meet them."""
        quadratic = self.scores.interaction is None or isinstance(self.scores.interaction, QuadraticInteraction)
        return quadratic and self.background is not None

    @cached_property
    def background(self) -> Background | None:
        """The family that q is off a few points; computed once a batch."""
        return self.reference.background()

    @property
    def is_certified(self) -> bool:
        """Whether E[g] under every tilt of q is closed-form, so that the mean-field value is a lower bound. Under rules
        items depend on one another; there the same value leaves their covariance out, and bounds nothing."""
        return self.has_mean_field and self.background is not None and self.background.family.is_product()

    @cached_property
    def mean_field(self) -> MeanField:
        """The mean-field tilt, computed once a batch. Needs `has_mean_field`."""
        theta, h = self.scores.theta, self.scores.interaction
        if self.background is None:
            raise TypeError("a reference without a background has no mean-field tilt")
        family = self.background.family
        tilt, m = theta.detach(), None
        if isinstance(h, QuadraticInteraction):
            with torch.no_grad():
                m = family.tilt(tilt).marginals()
                for _ in range(MEAN_FIELD_STEPS):
                    tilt = theta + h.field(m)
                    m = torch.lerp(m, family.tilt(tilt).marginals(), MEAN_FIELD_DAMPING)
                tilt = theta.detach() + h.field(m)
        tilted = family.tilt(tilt)
        m = tilted.marginals().detach()
        mean_affinity = (theta * m).sum(-1)
        if isinstance(h, QuadraticInteraction):
            mean_affinity = mean_affinity + h.mean(m)
        log_normalizer = family.log_normalizer(tilt).detach()
        bound = self.background.log_share + mean_affinity - (tilt * m).sum(-1) + log_normalizer
        return MeanField(tilt, tilted, m, mean_affinity, log_normalizer, bound)


class Base(nn.Module, ABC):
    """What is known of log Z_q(x) without a network."""

    num_features: int

    @abstractmethod
    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        """(value, features): the base in nats, and numbers about its tightness that δ may use."""

    @abstractmethod
    def is_exact(self, p: ConditionalModel) -> bool:
        """Whether the value is log Z_q(x) itself, so that no correction is needed."""


@final
class ZeroBase(Base):
    """No base: τ(x) = δ(x)."""

    num_features = 0

    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        theta = p.scores.theta
        return theta.new_zeros(theta.shape[0]), theta.new_zeros(theta.shape[0], 0)

    def is_exact(self, p: ConditionalModel) -> bool:
        return False


@final
class TiltBase(Base):
    """A_q(θ(x)) = log E_q exp⟨θ(x), φ⟩: the log-partition of the linear part."""

    num_features = 1

    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        value = p.reference.log_normalizer(p.scores.theta)
        return value, value.detach().unsqueeze(-1)

    def is_exact(self, p: ConditionalModel) -> bool:
        return p.is_linear


@final
class PositionsBase(Base):
    """Σ_i log mean_p e^{θ_ip}: the log-partition if every item chose its position alone. For `Rankings` of any
    size, uniform q.

    Zero for θ = 0, and growing with θ about as log Z does; it bounds nothing.
    """

    num_features = 1

    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        items = p.space.num_items
        value = p.scores.theta.unflatten(-1, (items, items)).logsumexp(-1).sum(-1) - items * math.log(items)
        return value, value.detach().unsqueeze(-1)

    def is_exact(self, p: ConditionalModel) -> bool:
        return False


@final
class MeanFieldBase(Base):
    """L(m) at the mean-field fixed point."""

    num_features = 3

    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        bound = p.mean_field.bound
        linear = p.reference.log_normalizer(p.scores.theta)
        features = torch.stack([bound, linear - bound, p.mean_field.mean_affinity], -1)
        return bound, features.detach()

    def is_exact(self, p: ConditionalModel) -> bool:
        return p.is_linear


@final
class AnchoredBase(Base):
    """log(Z_A + e^{L_rest}): exact on a set A of observed combinations, bounded on all others.

    With w(y) = q(y) e^{g(x,y)}, w_b the same of q's background, m the mean-field tilt and M = m(A),

        Z_A = Σ_{y∈A} w(y),     L_rest = (L(m) − Σ_{y∈A} m(y) log(w_b(y)/m(y))) / (1 − M) + log(1 − M).

    All points on which q is more than its background must be in A. Then L_rest is the evidence lower bound of m
    restricted to the complement of A, so the value is a certified lower bound of log Z_q(x) wherever L(m) is one – and,
    by Gibbs' inequality, not below L(m) or log Z_A (where M > 0.999 the rest is left out: log Z_A alone). Cost: one
    score a pair of context and anchor.
    """

    num_features = 6
    anchors: Tensor

    def __init__(self, anchors: Int64[Tensor, "anchor item"]) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors)

    def forward(self, p: ConditionalModel) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch feature"]]:
        mean_field = p.mean_field
        affinity, background = p.affinity_of(self.anchors), p.background
        log_w = log_w_b = p.reference.log_prob_of(self.anchors) + affinity
        if background is not None and len(background.points):
            log_w_b = background.log_share + background.family.log_prob_of(self.anchors) + affinity
        log_m = mean_field.tilted.log_prob_of(self.anchors).detach()
        share = log_m.exp()
        rest = (1 - share.sum(0)).clamp(min=0.0)
        covered = rest < 1e-3  # nothing left to bound, and the difference below would be all rounding
        safe = torch.where(covered, 1.0, rest)
        # Under rules an anchor may be impossible in a context: it has no share, and nothing to add.
        gain = torch.where(log_m > -math.inf, share * (log_w_b - log_m), 0.0).sum(0)
        bound = (mean_field.bound - gain) / safe + safe.log()
        bound = torch.where(covered, -math.inf, bound)
        value = torch.cat([log_w, bound.unsqueeze(0)]).logsumexp(0)
        log_z, largest = log_w.logsumexp(0).detach(), log_w.max(0).values
        log_z = torch.where(log_z > -math.inf, log_z, bound.detach() - 10.0)
        largest = torch.where(largest > -math.inf, largest, log_z)
        linear = p.reference.log_normalizer(p.scores.theta)
        features = [
            mean_field.bound,
            torch.where(covered, -10.0, bound - log_z),
            rest,
            linear - value,
            log_z - largest,
            mean_field.mean_affinity - value,
        ]
        return value, torch.stack(features, -1).detach()

    def is_exact(self, p: ConditionalModel) -> bool:
        return p.is_linear


@final
class JointModel(nn.Module):
    """q, g, f and τ together. ``model(context)`` is p(·|x) with the learned log-partition.

    Args:
        correction: δ, from x (after ``Context``) and the base's features to a number; see
            `networks.correction_network`.
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        *,
        space: OutputSpace,
        reference: Reference,
        divergence: FDivergence,
        affinity: Affinity,
        base: Base,
        correction: nn.Module,
    ) -> None:
        super().__init__()
        self.space, self.reference, self.divergence = space, reference, divergence
        self.affinity, self.base, self.correction = affinity, base, correction
        self.register_buffer("feature_mean", torch.zeros(base.num_features))
        self.register_buffer("feature_scale", torch.ones(base.num_features))

    def unnormalised(self, context: Context) -> ConditionalModel:
        """p(·|x) before its log-partition: enough to draw proposals and to audit."""
        return ConditionalModel(self.divergence, self.reference(context.reference), self.affinity(context.x))

    def forward(self, context: Context) -> ConditionalModel:
        p = self.unnormalised(context)
        base, features = self.base(p)
        if self.base.is_exact(p):
            p.log_partition = base
        else:
            features = (features - self.feature_mean) / self.feature_scale
            p.log_partition = base + self.correction(torch.cat([context.x, features], -1))
        return p

    @torch.no_grad()
    def fit_feature_scale(self, context: Context) -> None:
        """Standardise the base's features over these contexts; δ sees numbers of order one."""
        if not self.base.num_features:
            return
        _, features = self.base(self.unnormalised(context))
        self.feature_mean.copy_(features.mean(0))
        self.feature_scale.copy_(features.std(0, correction=0).clamp(min=1e-3))
