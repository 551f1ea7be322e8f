"""Recalibration by temperature: p_T(y|x) ∝ q(y|x) exp(g(x,y)/T), with its own log-partition.

With β = 1/T, the mean of −log p_T over labelled rows, log Z(x; β) − β g(x, y) − log q(y|x), is convex in β; its minimum
is found by halving the interval of its slope, E_β[g] − g. T > 1 makes the scores weaker. A normalised probability is
never rescaled: log Z is computed again for the new scores, and τ is fitted to it and audited.
"""

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from jebm_core.errors import SpecError
from jebm_core.evaluation.measured import possible_rows
from jebm_core.fitted import DRAWS, FittedModel
from jebm_core.losses import score_draws
from jebm_core.model import Context
from jebm_core.networks import (
    Affinity,
    FullPairwiseHead,
    LowRankPairwiseHead,
    PermutahedronHead,
    PreferenceHead,
    SetHead,
    UnaryHead,
)
from jebm_core.proposals import Proposal
from jebm_core.refinement import refine_log_partition, residual_interval
from jebm_core.tables import Examples

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are looked at."""
_HALVINGS = 40


@final
@dataclass(frozen=True)
class Temperature:
    """The temperature that rows ask for, with a 95 % interval (sandwich estimate of the variance of 1/T)."""

    value: float
    low: float
    high: float
    n: int


class Piece(NamedTuple):
    """Some rows with the scores of their draws; log-weights and scores have the listed points first.

    Attributes:
        columns: contexts among them: one where all rows share it.
        observed: g of the rows' own combinations.
    """

    points: Int64[Tensor, "point item"]
    draws: Int64[Tensor, "draw column item"]
    log_weight: Float[Tensor, "candidate column"]
    affinity: Float[Tensor, "candidate column"]
    observed: Float[Tensor, " row"]

    @property
    def columns(self) -> int:
        """Contexts of this piece."""
        return self.affinity.shape[1]


def require_scores(model: FittedModel) -> None:
    """Raise `SpecError` where scores have no temperature."""
    if model.model.divergence.name != "kl":
        raise SpecError(
            "Expected a model of the divergence kl to recalibrate, found {found}; its scores have no temperature. Fit "
            "with --divergence kl.",
            found=model.model.divergence.name,
        )


def scored_pieces(model: FittedModel, context: Context, y: Int64[Tensor, "row item"], seed: int) -> Iterator[Piece]:
    """The rows 64 at a time, each with draws of its own."""
    generator = torch.Generator(model.device).manual_seed(seed)
    for rows, part in model.chunks(context, 64):
        p = model.model(part)
        scored = score_draws(p, model.proposal().draw(p, DRAWS, generator=generator))
        draws, g = scored.draws, p.affinity(y[rows].unsqueeze(0)).squeeze(0).double()
        weight = torch.cat([draws.points_log_weight.expand_as(scored.points_affinity), draws.log_weight]).double()
        affinity = torch.cat([scored.points_affinity, scored.affinity]).double()
        yield Piece(draws.points, draws.y, weight, affinity, g)


@torch.no_grad()
def choose_temperature(model: FittedModel, examples: Examples, *, seed: int = 0) -> Temperature:
    """The temperature with the smallest mean −log p_T on these rows, which should not have been fitted to.

    Raises:
        SpecError: the divergence is not KL.
        TableError: the rules of the model call every row impossible.

    Cost: the scores of the draws once, then 40 sums over them.
    """
    require_scores(model)
    context, y, _ = possible_rows(model, examples)
    pieces = list(scored_pieces(model, context, y, seed))
    g = torch.cat([piece.observed for piece in pieces])

    def slopes(beta: float) -> tuple[Tensor, Tensor]:
        means, variances = [], []
        for piece in pieces:
            share = (piece.log_weight + beta * piece.affinity).softmax(0)
            mean = (share * piece.affinity).sum(0)
            means.append(mean.expand(len(piece.observed)))
            variances.append((share * (piece.affinity - mean).square()).sum(0))
        return torch.cat(means) - g, torch.cat(variances)

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if slopes(middle)[0].mean() < 0 else (low, middle)
    beta = math.sqrt(low * high)
    slope, curvature = slopes(beta)
    spread = float(slope.std()) / max(float(curvature.mean()), 1e-12) / math.sqrt(len(g)) if len(g) > 1 else math.inf
    reach = 1.959963984540054 * spread
    return Temperature(1 / beta, 1 / (beta + reach), 1 / (beta - reach) if beta > reach else math.inf, len(g))


@torch.no_grad()
def scale_affinity(affinity: Affinity, factor: float) -> None:
    """Multiply g by a number, in its weights."""
    last: list[nn.Module | None] = []
    match affinity.linear:
        case UnaryHead() as head:
            last.append(head.linear)
        case PermutahedronHead() as head:
            last += [head.scores, head.free]
        case other:
            raise TypeError(f"a head of another kind: {type(other).__name__}")
    match affinity.interaction:
        case FullPairwiseHead() | LowRankPairwiseHead() as head:
            last.append(head.linear)
            head.constant.mul_(factor)
        case PreferenceHead() as head:
            last.append(head.linear)
        case SetHead() as head:
            last.append(head.readout[-1])
        case None:
            pass
        case other:
            raise TypeError(f"an interaction of another kind: {type(other).__name__}")
    for layer in last:
        for parameter in () if layer is None else layer.parameters():
            parameter.mul_(factor)


def with_temperature(model: FittedModel, temperature: float, examples: Examples, *, seed: int = 0) -> FittedModel:
    """The model at a temperature, folded into the weights of g, and renormalised on the contexts of these rows."""
    affinity = copy.deepcopy(model.model.affinity)
    scale_affinity(affinity, 1 / temperature)
    summary = {"temperature": temperature * model.record.summary.get("temperature", 1.0)}
    return renormalised(model, affinity, examples, summary, seed=seed)


def renormalised(
    model: FittedModel, affinity: Affinity, examples: Examples, summary: dict[str, Any], *, seed: int = 0
) -> FittedModel:
    """The model with another g: τ is fitted again on the contexts of these rows, whose labels are not used, and its
    interval is measured on every fifth of them, which the fit leaves out.

    Args:
        summary: what the record is to say besides.

    Raises:
        SpecError: the new scores have log-partitions that are not finite.

    Cost: that of finishing τ after a fit.
    """
    joint = copy.deepcopy(model.model)
    joint.affinity = affinity
    context, _, _ = possible_rows(model, examples)
    held = torch.arange(len(context.x), device=model.device) % 5 == 0
    train, valid = (context, context) if len(context.x) < 5 else (context.rows(~held), context.rows(held))
    proposal: Proposal = model.proposal()
    generator = torch.Generator(model.device).manual_seed(seed)
    exact = joint.base.is_exact(joint.unnormalised(Context(*(part[:1] for part in context))))
    if not exact:
        joint.correction.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            refine_log_partition(joint, train, valid, proposal, samples=128, contexts=1024, generator=generator)
    interval = residual_interval(joint, valid.rows(slice(0, 256)), proposal, samples=512, generator=generator)
    if interval is None:
        raise SpecError("Expected finite log-partitions of the recalibrated scores, found others; fit the model again.")
    record = dataclasses.replace(model.record, interval=interval, summary=model.record.summary | summary)
    return FittedModel(
        joint,
        record,
        seen=model.seen,
        independent=model.independent,
        classifier=model.classifier,
        generator=model.generator,
    )


def halves(examples: Examples, seed: int) -> tuple[Examples, Examples]:
    """(rows that the temperature is chosen on, rows that it is judged on), drawn by seed."""
    chosen = np.zeros(len(examples.keep), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(chosen))[: len(chosen) // 2]] = True
    return examples.part(chosen), examples.part(~chosen)
