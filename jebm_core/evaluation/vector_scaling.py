"""Recalibration by a temperature and a shift for every part: p(y|x) ∝ q(y|x) exp(g(x,y)/T + ⟨b, ψ(y)⟩).

ψ are the parts that the head of g is linear in: the statistics of the space, or for rankings the weight of the position
of each item. With β = 1/T, the mean over labelled rows of

    log Z(x; β, b) − β g(x, y) − ⟨b, ψ(y)⟩,   and ‖b‖² / 2n for a normal prior of variance one around no shift,

is convex in (β, b). A temperature alone makes every part bolder or meeker at once; a shift mends parts that are stated
too often or too rarely. It has many more numbers, so few rows may choose them badly: judge it on other rows.

Source: Guo and others, *ICML* 2017, whose vector scaling has a scale for each class as well; here scores are of whole
    combinations, and one scale keeps their interactions in proportion.
"""

import copy
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.optimize import minimize
from torch import Tensor, nn

from jebm_core.evaluation.measured import possible_rows
from jebm_core.evaluation.recalibration import (
    HIGHEST,
    LOWEST,
    renormalised,
    require_scores,
    scale_affinity,
    scored_pieces,
)
from jebm_core.fitted import DRAWS, FittedModel
from jebm_core.networks import LinearHead, PermutahedronHead, UnaryHead
from jebm_core.spaces import OutputSpace
from jebm_core.tables import Examples

MAX_ELEMENTS = 2**26
"""Numbers of ψ that are held at once; more rows than fit are thinned evenly."""


@final
@dataclass(frozen=True)
class VectorScaling:
    """What rows ask for: T, and the shift b of each part. n rows chose them."""

    temperature: float
    shift: Float[Tensor, " part"]
    n: int


@torch.no_grad()
def choose_vector(model: FittedModel, examples: Examples, *, seed: int = 0) -> VectorScaling:
    """T and b of least mean −log p on these rows, which should not have been fitted to.

    Raises:
        SpecError: the divergence is not KL.
        TableError: the rules of the model call every row impossible.

    Cost: the scores of the draws once, then some tens of sums over draws and parts.
    """
    require_scores(model)
    context, y, _ = possible_rows(model, examples)
    head, space = model.model.affinity.linear, model.space
    parts = num_parts(head, space)
    most = max(16, MAX_ELEMENTS // (parts * (DRAWS + 1)))
    if len(y) > most:
        kept = torch.linspace(0, len(y) - 1, most, device=y.device).round().long()
        context, y = context.rows(kept), y[kept]
    pieces = []
    for piece in scored_pieces(model, context, y, seed):
        own = parts_of(head, space, piece.draws)
        shared = parts_of(head, space, piece.points)
        pieces.append((piece, own, shared))
    observed = parts_of(head, space, y).double().mean(0)
    mean_g = torch.cat([piece.observed for piece, _, _ in pieces]).double().mean()
    n = len(y)

    def loss(values: Float[np.ndarray, " number"]) -> tuple[float, Float[np.ndarray, " number"]]:
        at = torch.from_numpy(values).to(y.device)
        beta, shift = at[0], at[1:]
        total, slope = at.new_zeros(()), torch.zeros_like(at)
        for piece, own, shared in pieces:
            bias = torch.cat([(shared.double() @ shift)[:, None].expand(-1, piece.columns), own.double() @ shift])
            log_weight = piece.log_weight + beta * piece.affinity + bias
            total = total + log_weight.logsumexp(0).sum()
            share = log_weight.softmax(0)
            slope[0] += (share * piece.affinity).sum()
            of_points, of_draws = share[: len(shared)], share[len(shared) :]
            slope[1:] += of_points.sum(1) @ shared.double() + torch.einsum("mb,mbp->p", of_draws, own.double())
        value = total / n - beta * mean_g - shift @ observed + shift.square().sum() / (2 * n)
        slope = slope / n - torch.cat([mean_g[None], observed])
        slope[1:] += shift / n
        return value.item(), slope.cpu().numpy()

    start = np.concatenate([[1.0], np.zeros(parts)])
    bounds = [(1 / HIGHEST, 1 / LOWEST), *[(None, None)] * parts]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return VectorScaling(1 / float(found[0]), torch.from_numpy(found[1:]).float(), n)


def with_vector(model: FittedModel, scaling: VectorScaling, examples: Examples, *, seed: int = 0) -> FittedModel:
    """The model at the temperature and with the shift, folded into the weights of g, and renormalised on the contexts
    of these rows. Errors and cost as `renormalised`."""
    affinity = copy.deepcopy(model.model.affinity)
    scale_affinity(affinity, 1 / scaling.temperature)
    shift_head(affinity.linear, scaling.shift)
    summary = {"temperature": scaling.temperature * model.record.summary.get("temperature", 1.0)}
    return renormalised(model, affinity, examples, summary, seed=seed)


def num_parts(head: LinearHead, space: OutputSpace) -> int:
    """How many parts ψ has."""
    return space.num_items if isinstance(head, PermutahedronHead) else space.num_statistics


def parts_of(head: LinearHead, space: OutputSpace, y: Int64[Tensor, "*batch item"]) -> Float[Tensor, "*batch part"]:
    """ψ(y): what a shift of the head's outputs adds to g."""
    return head.weights[y] if isinstance(head, PermutahedronHead) else space.statistics(y)


@torch.no_grad()
def shift_head(head: LinearHead, shift: Float[Tensor, " part"]) -> None:
    """Add ⟨b, ψ(y)⟩ to g, in the weights of its head."""
    match head:
        case UnaryHead():
            layer = head.linear
        case PermutahedronHead():
            layer = head.scores
        case other:
            raise TypeError(f"a head of another kind: {type(other).__name__}")
    bias = layer.bias if isinstance(layer, nn.Linear) else layer.value
    assert isinstance(bias, Tensor)
    bias.add_(shift.to(bias))
