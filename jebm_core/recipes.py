"""From settings and data to a model, its proposals and a plan: every ``auto`` is decided here, and only here."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.divergences import divergence_from_name
from jebm_core.errors import SpecError
from jebm_core.model import AnchoredBase, Base, JointModel, MeanFieldBase, PositionsBase, TiltBase, ZeroBase
from jebm_core.networks import (
    Affinity,
    FullPairwiseHead,
    InteractionHead,
    LowRankPairwiseHead,
    PermutahedronHead,
    PreferenceHead,
    SetHead,
    Trunk,
    UnaryHead,
    correction_network,
)
from jebm_core.proposals import (
    AnchoredProposal,
    ListingProposal,
    MeanFieldProposal,
    PlackettLuceProposal,
    Proposal,
    ReferenceProposal,
    TiltProposal,
)
from jebm_core.reference_recipes import POINTS, anchors_of, make_reference, plain_reference, point_reference
from jebm_core.references import CandidateReference, MixtureReference, Reference, StackedReference
from jebm_core.rules.compiled import CompiledRules
from jebm_core.settings import FitSettings
from jebm_core.spaces import MAX_LISTING, Configurations, OutputSpace, Rankings, Ruled, Subsets
from jebm_core.steps import Plan, Rows
from jebm_core.tree_references import TiltedTreeReference, TreeReference

_ITEMS_ALONE = {"stacked": "predicted", "trees": "marginals"}
QUADRATIC = ("pairwise", "pairwise-constant", "lowrank", "lowrank-constant")
"""Affinities whose interactions are pairs."""
MAX_FULL_STATISTICS = 48
"""Linear statistics up to which every pair may have a weight of its own, if there are as many rows as pairs; else
pairs share low-rank factors."""
MAX_CONSTANT_STATISTICS = 256
"""The same for weights that no x changes; beyond it there are no pairs unless they are asked for."""
MAX_LISTED_TRAINING = 2**10
"""Size of the space up to which training lists every combination by default."""
MAX_LISTED_ONCE = 2**18
"""The same where there are no features: one list serves all rows of a batch."""
MAX_FULL_LISTED = 2 * 10**10
"""Combinations · statistics² up to which pairs have weights of their own where one list serves all rows."""
PAIR_VARIANCE = 0.025
"""Prior variance of the weight of a pair that no x changes."""
RANK = 16


@final
@dataclass(frozen=True)
class Architecture:
    """The shape of a `JointModel` without its numbers: what `build_model` needs, and what a saved model stores."""

    features: int
    hidden: tuple[int, ...]
    dropout: float
    affinity: str
    rank: int
    reference: str
    divergence: str
    base: str
    anchors: int
    correction: str
    candidates: int = 0
    trees: int = 0

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Architecture":
        """The architecture that `to_json` described."""
        return cls(**{**record, "hidden": tuple(record["hidden"])})


def choose_architecture(
    space: OutputSpace,
    train: Rows,
    settings: FitSettings,
    table: Int64[Tensor, "candidate item"] | None = None,
    fitted: Reference | None = None,
) -> Architecture:
    """Decide every ``auto`` that shapes the model.

    Args:
        table: the candidates of the reference ``table``.
        fitted: the reference where classifiers predict it.

    Raises:
        SpecError: settings that don't fit the space or each other, with what to choose instead.
    """
    affinity = _choose_affinity(space, train, settings, fitted)
    reference = plain_reference(space, settings)
    if fitted is not None:
        learned = {StackedReference: "stacked", TreeReference: "trees"}
        reference = learned.get(type(fitted), "predicted")
    trees = _trees_of(fitted)
    base = _choose_base(space, affinity, reference, settings, trees=trees > 0)
    if base == "anchored" and train.context.is_single and lists_by_default(space, train, settings):
        base = "tilt"  # τ is one number, which the list gives exactly
    anchors = len(anchors_of(train.y)) if base == "anchored" else 0
    correction = settings.log_partition if settings.log_partition in ("constant", "linear", "residual") else "mlp"
    candidates = len(point_reference(space, reference, train.y, table).points) if reference in POINTS else 0
    candidates = len(fitted.points) if isinstance(fitted, StackedReference) else candidates
    features = train.context.x.shape[1]
    hidden = (256, 256) if features else ()
    correction = correction if features else "constant"  # without features there is one τ, a number
    return Architecture(
        features,
        hidden,
        0.5,
        affinity,
        RANK,
        reference,
        settings.divergence,
        base,
        anchors,
        correction,
        candidates,
        trees,
    )


def _choose_affinity(space: OutputSpace, train: Rows, settings: FitSettings, fitted: Reference | None) -> str:
    ranking = isinstance(space.whole, Rankings)
    if settings.affinity == "auto":
        if ranking:
            return "birkhoff"
        statistics = space.num_statistics
        pairs = statistics * (statistics - 1) / 2
        if statistics > MAX_CONSTANT_STATISTICS and not train.context.is_single:
            # Weak pairs of so many items add up to modes of very many of them, which no draw near the data shows.
            return "unary"
        affordable = statistics <= MAX_FULL_STATISTICS and pairs <= len(train.y)
        if train.context.is_single and lists_by_default(space, train, settings):
            affordable = space.cardinality() * statistics**2 <= MAX_FULL_LISTED
        if isinstance(fitted, StackedReference) and _trees_of(fitted) and pairs > len(train.y):
            # Trees have the pairs that so few rows can tell of; without others the log-partition is exact.
            return "unary"
        whole = isinstance(fitted, StackedReference | TreeReference)
        if whole or (fitted is not None and not affordable):
            # What x says of items is in the reference, and of combinations that come back in its table or trees. How
            # items go together beyond that is learned from all rows at once, or not at all.
            return "pairwise-constant"
        return "pairwise" if affordable else "lowrank"
    if ranking:
        fits = ("permutahedron", "birkhoff", "preference", "unary")
    else:
        fits = ("unary", "pairwise", "pairwise-constant", "lowrank", "lowrank-constant", "set")
    if settings.affinity not in fits:
        raise SpecError(
            "Affinity {found!r} does not apply to {space}; choose one of {known}.",
            found=settings.affinity,
            space=type(space).__name__.lower(),
            known=", ".join(sorted(fits)),
        )
    return settings.affinity


def _trees_of(reference: Reference | None) -> int:
    """How many trees the reference is made of; where there are any, no tilt of it stands for items alone."""
    if isinstance(reference, TreeReference | TiltedTreeReference):
        return reference.num_trees
    return _trees_of(reference.trees) if isinstance(reference, StackedReference) else 0


def _choose_base(space: OutputSpace, affinity: str, reference: str, settings: FitSettings, *, trees: bool) -> str:
    if settings.divergence != "kl" or settings.log_partition in ("constant", "linear", "mlp", "residual"):
        return "zero"  # other divergences: τ is a multiplier, not a log-partition, and has no closed form
    if settings.proposal == "reference" and settings.log_partition == "auto":
        return "zero"  # the published method, as published
    if not space.exact_linear:
        return "positions" if reference == "uniform" else "zero"
    if affinity not in QUADRATIC or reference in POINTS or trees:
        return "tilt"
    return "anchored"


def build_model(
    space: OutputSpace,
    shape: Architecture,
    y: Int64[Tensor, "row item"] | None = None,
    table: Int64[Tensor, "candidate item"] | None = None,
    fitted: Reference | None = None,
) -> JointModel:
    """A model with fresh weights; ``y`` are the training outputs that the reference and the anchors are fitted to,
    ``table`` the candidates of the reference of that name, ``fitted`` the reference where it is ready."""
    trunk = Trunk(shape.features, shape.hidden, dropout=shape.dropout)
    width = trunk.width
    interaction: InteractionHead | None = None
    match shape.affinity:
        case "pairwise" | "pairwise-constant":
            interaction = FullPairwiseHead(space, width, constant=shape.affinity.endswith("constant"))
        case "lowrank" | "lowrank-constant":
            interaction = LowRankPairwiseHead(
                space, width, rank=shape.rank, constant=shape.affinity.endswith("constant")
            )
        case "set":
            interaction = SetHead(space, width)
        case "preference":
            interaction = PreferenceHead(space, width)
        case _:
            pass
    if isinstance(space.whole, Rankings) and shape.affinity != "unary":
        linear = PermutahedronHead(space, width, birkhoff=shape.affinity == "birkhoff")
    else:
        linear = UnaryHead(space, width)
    base = _build_base(space, shape, y)
    return JointModel(
        space=space,
        reference=fitted
        or make_reference(space, shape.reference, y, candidates=shape.candidates, trees=shape.trees, table=table),
        divergence=divergence_from_name(shape.divergence),
        affinity=Affinity(space, trunk, linear, interaction),
        base=base,
        correction=correction_network(shape.correction, shape.features + base.num_features),
    )


def _build_base(space: OutputSpace, shape: Architecture, y: Tensor | None) -> Base:
    match shape.base:
        case "anchored":
            empty = torch.zeros(shape.anchors, space.num_items, dtype=torch.int64)
            return AnchoredBase(empty if y is None else anchors_of(y, most=shape.anchors))
        case "meanfield":
            return MeanFieldBase()
        case "tilt":
            return TiltBase()
        case "positions":
            return PositionsBase()
        case _:
            return ZeroBase()


def choose_proposals(space: OutputSpace, model: JointModel, train: Rows, settings: FitSettings) -> Sequence[Proposal]:
    """The ladder of proposals, the chosen one first; a guard that fails climbs it."""
    device = train.y.device
    anchors = anchors_of(train.y)
    quadratic = isinstance(model.affinity.interaction, FullPairwiseHead | LowRankPairwiseHead)
    trees = _trees_of(model.reference) > 0
    family = space.exact_linear and not (trees or isinstance(model.reference, CandidateReference | MixtureReference))
    ladder: dict[str, Proposal] = {"reference": ReferenceProposal()}
    if space.exact_linear:
        ladder["tilt"] = TiltProposal()
    if isinstance(space.whole, Rankings):
        ladder["plackett-luce"] = PlackettLuceProposal()
    if (family and quadratic) or (space.factorises and model.affinity.interaction is None and not trees):
        ladder["meanfield"] = MeanFieldProposal()
        ladder["anchored"] = AnchoredProposal(space, anchors)
    if settings.proposal == "listing" or lists_by_default(space, train, settings):
        return [ListingProposal(space, device)]
    if settings.proposal != "auto":
        if settings.proposal not in ladder:
            raise SpecError(
                "Proposal {found!r} does not apply to this space, reference and affinity; choose one of auto, {known}.",
                found=settings.proposal,
                known=", ".join([*ladder, "listing"] if space.cardinality() <= MAX_LISTING else ladder),
            )
        chosen = ladder.pop(settings.proposal)
        return [chosen] if settings.proposal == "reference" else [chosen, *_stronger(settings.proposal, ladder)]
    if "anchored" in ladder:
        # Flips around observed combinations cover modes that one tilt misses; with very many items they cover too
        # little to pay.
        first = "anchored" if space.num_statistics <= MAX_FULL_STATISTICS else "meanfield"
        if space.num_statistics > MAX_CONSTANT_STATISTICS:
            return [ladder[first]]
        return [ladder.pop(first), *_stronger(first, ladder)]
    return [ladder["tilt"]] if space.exact_linear else [ladder["plackett-luce"]]


def _stronger(name: str, ladder: Mapping[str, Proposal]) -> list[Proposal]:
    order = ("tilt", "meanfield", "anchored")
    after = order[order.index(name) + 1 :] if name in order else ()
    return [ladder[other] for other in after if other in ladder]


def lists_by_default(space: OutputSpace, train: Rows, settings: FitSettings) -> bool:
    """Whether training lists every combination without being told to."""
    most = MAX_LISTED_ONCE if train.context.is_single else MAX_LISTED_TRAINING
    return settings.proposal == "auto" and space.cardinality() <= most


def choose_plan(space: OutputSpace, train: Rows, settings: FitSettings, shape: Architecture | None = None) -> Plan:
    """Epochs, batch and draws from the size of the data: at least about 10 steps an epoch, and never more than the
    budget allows. Where one list serves all rows, a step takes them all and costs the same."""
    rows = len(train.y)
    batch = 128 if rows >= 1000 else 64
    if rows > 20_000:
        batch = 512
    samples = settings.samples or (1000 if settings.proposal == "reference" else 32)
    seconds = settings.time_budget or float("inf")
    if train.context.is_single and lists_by_default(space, train, settings):
        # Exact gradients: large steps, and a prior on the weights of pairs, which nothing else holds back. Rows with
        # the same combination are no independent evidence for pairs, so distinct ones are counted.
        penalty = 1 / (PAIR_VARIANCE * len(torch.unique(train.y, dim=0)))
        exact = {"batch_size": rows, "passes": 5, "samples": 2, "learning_rate": 0.02}
        return Plan(settings.epochs or 80, **exact, patience=10, settling=8, penalty=penalty, seconds=seconds)
    if train.context.is_single:  # one context stands for the whole batch: large ones cost the same
        batch = max(batch, min(1024, rows // 4))
        samples = settings.samples or 32 * samples
    # One context costs next to nothing in a step; there early stopping is what ends the training.
    passes = 4_000_000 if train.context.is_single else 300_000
    epochs = settings.epochs or max(20, min(300, passes // rows))
    x_pace, penalty = 1.0, 0.0
    if shape is not None and shape.reference in ("predicted", "stacked") and shape.affinity.endswith("constant"):
        # The reference says already what x changes: weights of x would learn the rows by heart while the pairs, which
        # learn from all rows at once, are still at their beginning. These get their prior.
        x_pace, penalty = 0.1, 1 / (PAIR_VARIANCE * rows)
    return Plan(epochs, batch, samples=samples, x_pace=x_pace, penalty=penalty, seconds=seconds)


def independent_architecture(shape: Architecture) -> Architecture:
    """The same network without interactions, on what q knows of items alone: independent items, exactly normalised."""
    plain = dataclasses.replace(shape, affinity="unary", base="tilt", anchors=0, correction="constant", divergence="kl")
    alone = _ITEMS_ALONE.get(shape.reference)
    return plain if alone is None else dataclasses.replace(plain, reference=alone, candidates=0, trees=0)


def joins_items(space: OutputSpace, shape: Architecture) -> bool:
    """Whether the model is more than its `independent_architecture`: it has pairs, or q knows how items go together."""
    return shape.affinity in QUADRATIC or (shape.reference in _ITEMS_ALONE and not isinstance(space.whole, Rankings))


def describe_space(
    kind: str, names: Sequence[str], options: Sequence[Sequence[str]], rules: CompiledRules | None = None
) -> OutputSpace:
    """The space that a table's outputs live in, cut down by rules where there are any."""
    match kind:
        case "subsets":
            whole: OutputSpace = Subsets(names)
        case "configurations":
            whole = Configurations(names, options)
        case _:
            whole = Rankings(names)
    return whole if rules is None else Ruled(whole, rules)
