"""Reference distributions q(y|x): the normalised base measure from which candidates are drawn.

A `Reference` is a module; given its inputs for a batch of contexts it returns a
`jebm_core.distributions.ReferenceDistribution`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from jebm_core.discounted import DiscountedDistribution
from jebm_core.distributions import (
    LinearDistribution,
    MixtureDistribution,
    PointsDistribution,
    ReferenceDistribution,
    UniformRankings,
)
from jebm_core.errors import SpecError
from jebm_core.spaces import OutputSpace, Rankings, Ruled
from jebm_core.spaces.neighbours import one_change_away
from jebm_core.weighted import WeightedDistribution, WeightedRules, flags_of

COMPLETED = 4096
"""Rows whose inputs are completed at once (`Reference.complete`)."""


class Reference(nn.Module, ABC):
    """q(·|x) as a module.

    Attributes:
        space: the output space.
        input_width: how many numbers a row a reference needs (0 where q does not depend on x).
    """

    space: OutputSpace
    input_width: int

    @abstractmethod
    def forward(self, inputs: Float[Tensor, "batch width"]) -> ReferenceDistribution:
        """q(·|x) from the reference's own inputs; a width of 0 still carries the batch size."""

    def complete(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch more"]:
        """The inputs with what is costly to compute from them, so that it is done once a row, not once a batch. What
        was computed before is computed again: inputs may have changed since."""
        return inputs

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """The constructor's settings, without tensors: those are in ``state_dict``."""


@final
class UniformReference(Reference):
    """Every combination equally likely: log q = −log |𝒴|."""

    input_width = 0

    def __init__(self, space: OutputSpace) -> None:
        super().__init__()
        self.space = space

    def forward(self, inputs: Float[Tensor, "batch width"]) -> ReferenceDistribution:
        whole = self.space.whole
        if isinstance(whole, Rankings) and not self.space.exact_linear:
            return UniformRankings(whole, inputs.shape[0], inputs.device)
        return LinearDistribution(self.space, inputs.new_zeros(inputs.shape[0], self.space.num_statistics))

    def to_json(self) -> dict[str, object]:
        return {"kind": "uniform"}


@final
class MarginalReference(Reference):
    """Independent marginals of the data, smoothed: η = log(smoothed frequency) of every statistic.

    For `Rankings`, η is the log of the smoothed share of each item at each position, normalised exactly by the
    permanent.
    """

    input_width = 0
    eta: Tensor

    def __init__(self, space: OutputSpace, eta: Float[Tensor, " statistic"] | None = None) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("eta", torch.zeros(space.num_statistics) if eta is None else eta)

    @classmethod
    def fit(cls, space: OutputSpace, y: Int64[Tensor, "row item"], *, smoothing: float = 1.0) -> "MarginalReference":
        """Add ``smoothing`` pseudo-observations, spread evenly over the options of each item, to the observed
        counts."""
        # Of the whole space: an option that rules leave no room for keeps a finite weight, which the rules make void.
        even = space.whole.linear_marginals(torch.zeros(space.num_statistics, device=y.device))
        counts = space.statistics(y).sum(0) + smoothing * even
        share = counts / (len(y) + smoothing)
        if set(space.options_per_item()) == {2} and space.num_statistics == space.num_items:
            return cls(space, torch.logit(share))  # one statistic for two options: subsets
        return cls(space, share.log())

    def forward(self, inputs: Float[Tensor, "batch width"]) -> LinearDistribution:
        return LinearDistribution(self.space, self.eta.expand(inputs.shape[0], -1))

    def to_json(self) -> dict[str, object]:
        return {"kind": "marginals"}


@final
class PredictedReference(Reference):
    """Independent items with x-dependent natural parameters that another model predicted: η(x) is the input itself.

    Training rows must carry out-of-fold predictions (see `jebm_core.classifiers`), or q would look better than it is.
    """

    def __init__(self, space: OutputSpace) -> None:
        super().__init__()
        self.space = space
        self.input_width = space.num_statistics

    def forward(self, inputs: Float[Tensor, "batch width"]) -> LinearDistribution:
        return LinearDistribution(self.space, inputs[:, : self.input_width])

    def to_json(self) -> dict[str, object]:
        return {"kind": "predicted"}


@final
class StackedReference(Reference):
    """Predicted marginals, how items go together in trees, and what observed combinations have beyond both:

        q(y|x) ∝ e^{γ 1[y ∈ table]} (α Σ_t π_t(x) 1[y = y_t] + (1 − α) ((1 − β) q_η(x)(y) + β q_trees(y|x))),
        π_t(x) = (1 − ε) softmax_t(s ⟨η(x), φ(y_t)⟩ + b_t) + ε f_t,

    with η(x) the input, as in `PredictedReference`, y_t a table of observed combinations and f_t their shares among the
    training rows, q_trees trees that x tilts (`jebm_core.tree_references`), and s, b, α, β, ε, γ fitted to out-of-fold
    η (`jebm_core.stacking`). On combinations that keep coming back it knows how the items go together; on all others it
    is what classifiers and trees say. s < 1 where the classifiers count the same evidence several times; ε is how often
    they are wrong however sure they are; γ < 0 where all of them expect observed combinations back too often. The table
    may be empty, and there may be no trees; γ needs both.
    """

    points: Tensor
    bias: Tensor
    frequency: Tensor
    scale: Tensor
    share: Tensor
    surprise: Tensor
    tree_share: Tensor
    log_discount: Tensor

    def __init__(
        self,
        space: OutputSpace,
        points: Int64[Tensor, "point item"],
        bias: Float[Tensor, " point"],
        frequency: Float[Tensor, " point"],
        *,
        scale: float = 1.0,
        share: float = 0.5,
        surprise: float = 0.01,
        trees: Reference | None = None,
        tree_share: float = 0.0,
        log_discount: float = 0.0,
    ) -> None:
        super().__init__()
        self.space = space
        self.input_width = space.num_statistics
        self.register_buffer("points", points)
        self.register_buffer("bias", bias)
        self.register_buffer("frequency", frequency)
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("share", torch.tensor(share))
        self.register_buffer("surprise", torch.tensor(surprise))
        self.trees = trees
        self.register_buffer("tree_share", torch.tensor(tree_share))
        self.register_buffer("log_discount", torch.tensor(log_discount))
        self.discounts = len(points) > 0 and (trees is not None or isinstance(space.whole, Rankings))

    @torch.no_grad()
    def complete(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch more"]:
        if self.trees is not None:
            inputs = self.trees.complete(inputs)
        if not self.discounts:
            return inputs
        masses = [self._discounted(self._mixture(part)).log_mass for part in inputs.split(COMPLETED)]
        return torch.cat([inputs, torch.cat(masses).unsqueeze(-1)], -1)

    def forward(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution | DiscountedDistribution:
        width = self.input_width + (self.trees is not None)
        mixture, known = self._mixture(inputs[:, :width]), inputs[:, width:]
        if not self.discounts:
            return mixture
        return self._discounted(mixture, known[:, 0] if known.shape[1] else None)

    def _discounted(self, q: MixtureDistribution, log_mass: Tensor | None = None) -> DiscountedDistribution:
        return DiscountedDistribution(q, self.points, self.log_discount, log_mass)

    def _mixture(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution:
        eta = inputs[:, : self.input_width]
        components: list[ReferenceDistribution] = [LinearDistribution(self.space, eta)]
        shares = [torch.ones_like(self.share)]
        if self.trees is not None:
            components.append(self.trees(inputs))
            shares = [1 - self.tree_share, self.tree_share]
        if len(self.points):
            phi = self.space.statistics(self.points)
            expected = (self.scale * (eta @ phi.T) + self.bias).log_softmax(-1) + torch.log1p(-self.surprise)
            log_pi = torch.logaddexp(expected, self.frequency.log() + self.surprise.log())
            components.insert(0, PointsDistribution(self.space, self.points, log_pi))
            shares = [self.share, *((1 - self.share) * share for share in shares)]
        return MixtureDistribution(components, torch.stack(shares).log().expand(len(inputs), -1))

    def to_json(self) -> dict[str, object]:
        return {"kind": "stacked", "points": len(self.points), "trees": self.trees is not None}


@final
class RuledReference(Reference):
    """Rules that weigh, or hold in some contexts only, on top of another reference over the same space:

    q(y|x) ∝ inner(y|x) · exp(weights and preferences of the rules) · 1[y obeys the rules that apply to x].

    Its inputs are those of ``inner``, then the conditions as 0 and 1.
    """

    eta: Tensor
    eta_where: Tensor
    preferred: Tensor
    preferred_where: Tensor

    def __init__(self, inner: Reference) -> None:
        super().__init__()
        space = inner.space
        if not isinstance(space, Ruled) or isinstance(inner, CandidateReference | MixtureReference | StackedReference):
            raise SpecError(
                "Expected the reference uniform, marginals or a classifier under rules that weigh combinations or "
                "depend on x, found {found}; choose one of these.",
                found=inner.to_json()["kind"],
            )
        self.space, self.inner = space, inner
        self.rules = WeightedRules(space)
        self.input_width = inner.input_width + self.rules.conditions
        always, where = self.rules.base_weights()
        self.register_buffer("eta", always, persistent=False)
        self.register_buffer("eta_where", where, persistent=False)
        always, where = self.rules.preference_weights()
        self.register_buffer("preferred", always, persistent=False)
        self.register_buffer("preferred_where", where, persistent=False)

    def forward(self, inputs: Float[Tensor, "batch width"]) -> WeightedDistribution:
        flags = flags_of(inputs, self.rules.conditions)
        weight = flags.to(inputs.dtype)
        inner: LinearDistribution = self.inner(inputs[:, : self.inner.input_width])
        eta = inner.eta + self.eta + weight @ self.eta_where
        return WeightedDistribution(self.rules, eta, flags, self.preferred + weight @ self.preferred_where)

    def to_json(self) -> dict[str, object]:
        return {"kind": "ruled", "inner": self.inner.to_json()}


@final
class CandidateReference(Reference):
    """A table of candidates with weights, smoothed by the uniform distribution: (1−ε) Σ_t w_t δ_{y_t} + ε/|𝒴|."""

    input_width = 0
    points: Tensor
    log_weights: Tensor

    def __init__(
        self,
        space: OutputSpace,
        points: Int64[Tensor, "point item"],
        weights: Float[Tensor, " point"],
        *,
        smoothing: float,
    ) -> None:
        super().__init__()
        if not 0 < smoothing < 1:
            raise SpecError(
                "Expected a smoothing share above 0 and below 1, found {found}; without it unlisted combinations "
                "are impossible.",
                found=smoothing,
            )
        self.space, self.smoothing = space, smoothing
        self.register_buffer("points", points)
        self.register_buffer("log_weights", weights.log())

    @classmethod
    def fit(
        cls, space: OutputSpace, y: Int64[Tensor, "row item"], *, smoothing: float = 0.05, edits: float = 0.0
    ) -> "CandidateReference":
        """Distinct rows of ``y``, weighted by how often each occurs.

        Args:
            edits: the share of the weight that each row gives to the combinations one change away that the space
                contains, evenly: more candidates where data are few, and none that break a rule.
        """
        points, counts = torch.unique(y, dim=0, return_counts=True)
        weights = counts / counts.sum()
        if edits:
            near, origin = one_change_away(space, points)
            each = torch.bincount(origin, minlength=len(points))
            given = edits * weights[origin] / each[origin]
            kept = torch.where(each > 0, 1 - edits, 1.0) * weights  # a row that nothing valid is next to keeps its own
            points, place = torch.unique(torch.cat([points, near]), dim=0, return_inverse=True)
            weights = torch.zeros(len(points), device=y.device).index_add(0, place, torch.cat([kept, given]))
        return cls(space, points, weights, smoothing=smoothing)

    def forward(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution:
        batch = inputs.shape[0]
        table = PointsDistribution(self.space, self.points, self.log_weights.expand(batch, -1))
        uniform = LinearDistribution(self.space, inputs.new_zeros(batch, self.space.num_statistics))
        shares = inputs.new_tensor([1 - self.smoothing, self.smoothing]).log()
        return MixtureDistribution([table, uniform], shares.expand(batch, -1))

    def to_json(self) -> dict[str, object]:
        return {"kind": "candidates", "smoothing": self.smoothing, "points": len(self.points)}


@final
class MixtureReference(Reference):
    """Σ_m α_m q_m(·|x) of other references; their inputs stand side by side."""

    log_weights: Tensor

    def __init__(self, components: Sequence[Reference], weights: Sequence[float]) -> None:
        super().__init__()
        if len(components) != len(weights) or not components or min(weights) <= 0:
            raise SpecError(
                "Expected one positive weight for each of {count} references, found {found}.",
                count=len(components),
                found=list(weights),
            )
        self.space = components[0].space
        self.components = nn.ModuleList(components)
        self.input_width = sum(c.input_width for c in components)
        self.register_buffer("log_weights", torch.tensor(weights, dtype=torch.get_default_dtype()).log())

    def forward(self, inputs: Float[Tensor, "batch width"]) -> MixtureDistribution:
        widths = [c.input_width for c in self.components]  # pyright: ignore[reportAttributeAccessIssue]
        parts = [c(part) for c, part in zip(self.components, inputs.split(widths, -1), strict=True)]  # pyright: ignore[reportArgumentType]
        return MixtureDistribution(parts, self.log_weights.expand(inputs.shape[0], -1))

    def to_json(self) -> dict[str, object]:
        parts = [c.to_json() for c in self.components]  # pyright: ignore[reportCallIssue]
        return {"kind": "mixture", "components": parts, "weights": self.log_weights.exp().tolist()}
