"""Build the reference that an architecture names, and say which one data deserve."""

import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.references import (
    CandidateReference,
    MarginalReference,
    PredictedReference,
    Reference,
    RuledReference,
    StackedReference,
    UniformReference,
)
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace, Rankings, Ruled
from jebm_core.tree_references import TiltedTreeReference, TreeReference
from jebm_core.trees import Trees, takes_trees

POINTS = ("candidates", "edits", "table")
"""References that are a table of combinations, smoothed by the uniform distribution."""
SMOOTHING = 0.05
EDITS = 0.3
"""Share of its weight that an observed combination gives to those one change away."""
MAX_TREES = 256
"""Statistics up to which trees are learned where nothing else is asked for: every pair is counted."""
MAX_ANCHORS = 256
"""Observed combinations that are listed in the base and the proposal; the most frequent ones where there are more."""


def anchors_of(y: Int64[Tensor, "row item"], *, most: int = MAX_ANCHORS) -> Int64[Tensor, "anchor item"]:
    """Distinct observed combinations, the most frequent first."""
    points, counts = torch.unique(y, dim=0, return_counts=True)
    return points[counts.argsort(descending=True, stable=True)[:most]]


def choose_reference(space: OutputSpace, features: int, settings: FitSettings) -> str:
    """The reference in place of ``auto``.

    Weights in rules say what q is. Where there are features, classifiers say more about single items than a network
    learns from few rows, so that g only has to learn what they miss; but they speak of items that can be tilted. Where
    there are none, trees say how items go together. The published method is left as published.
    """
    plain = plain_reference(space, settings)
    published = settings.proposal == "reference" or settings.log_partition != "auto"
    weighs = isinstance(space, Ruled) and (space.rules.problem.weights or space.rules.problem.preferences)
    if settings.reference != "auto" or published or weighs:
        return plain
    if features:
        return "stacked" if space.exact_linear else plain
    return "trees" if takes_trees(space) and space.num_items > 1 and space.num_statistics <= MAX_TREES else plain


def plain_reference(space: OutputSpace, settings: FitSettings) -> str:
    """The same where nothing is to be learned first. Marginals of rankings cost a permanent and gain nothing over a
    learned bias."""
    if settings.reference != "auto":
        return settings.reference
    if isinstance(space, Ruled) and (space.rules.problem.weights or space.rules.problem.preferences):
        return "uniform"
    return "uniform" if isinstance(space.whole, Rankings) else "marginals"


def make_reference(
    space: OutputSpace,
    kind: str,
    y: Int64[Tensor, "row item"] | None,
    *,
    candidates: int = 0,
    trees: int = 0,
    table: Int64[Tensor, "candidate item"] | None = None,
) -> Reference:
    """The reference of an architecture; without ``y`` its tensors are placeholders for a state dict. Rules that weigh
    or depend on x come on top."""
    inner = _unweighted(space, kind, y, candidates, trees, table)
    return RuledReference(inner) if isinstance(space, Ruled) and space.rules.weighted is not None else inner


def _unweighted(
    space: OutputSpace, kind: str, y: Tensor | None, candidates: int, trees: int, table: Tensor | None
) -> Reference:
    placeholder = torch.zeros(candidates, space.num_items, dtype=torch.int64)
    if kind in POINTS:
        if y is not None:
            return point_reference(space, kind, y, table)
        return CandidateReference(space, placeholder, torch.ones(candidates), smoothing=SMOOTHING)
    match kind:
        case "trees":
            return TreeReference(space, _some_trees(space, trees))
        case "stacked":
            tilted = TiltedTreeReference(space, _some_trees(space, trees)) if trees else None
            return StackedReference(space, placeholder, torch.zeros(candidates), torch.ones(candidates), trees=tilted)
        case "uniform":
            return UniformReference(space)
        case "marginals":
            return MarginalReference(space) if y is None else MarginalReference.fit(space, y)
        case _:  # η(x) comes from a classifier or another model
            return PredictedReference(space)


def _some_trees(space: OutputSpace, count: int) -> Trees:
    """So many trees without their numbers."""
    options = max(space.options_per_item())
    tables = torch.zeros(count, space.num_items, options, options)
    return Trees(torch.zeros(count, space.num_items, dtype=torch.int64), tables, torch.zeros(count))


def point_reference(space: OutputSpace, kind: str, y: Tensor, table: Tensor | None) -> CandidateReference:
    """The reference that is a table of combinations, fitted."""
    if kind == "table":
        if table is None:
            raise SpecError(
                "Reference table: expected a table of candidates, found none; give one (--candidates FILE)."
            )
        return CandidateReference.fit(space, table, smoothing=SMOOTHING)
    return CandidateReference.fit(space, y, smoothing=SMOOTHING, edits=EDITS if kind == "edits" else 0.0)
