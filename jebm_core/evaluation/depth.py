"""Calibration beyond bins: smooth errors, scores in parts, and how often the k most probable hold the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from jebm_core.evaluation.calibration import Reliability, Resamples, reliability, wilson_interval
from jebm_core.evaluation.decomposition import Decompositions, decompose
from jebm_core.evaluation.smooth import SmoothError, smooth_error

TOP = (1, 3, 5, 10)
"""How many of the most probable combinations are held against the truth."""


@final
@dataclass(frozen=True)
class TopReliability:
    """The k most probable combinations: how much they are said to hold together, and how often they held the truth.

    Attributes:
        covered: share of rows whose combination is among them, with its Wilson interval.
    """

    k: int
    stated: float
    covered: float
    low: float
    high: float
    reliability: Reliability


@final
@dataclass(frozen=True)
class CalibrationDepth:
    """Calibration of single events (all pooled) and of the most probable combination, and of the first k."""

    smooth_marginal: SmoothError
    smooth_joint: SmoothError
    scores_marginal: Decompositions
    scores_joint: Decompositions
    top: tuple[TopReliability, ...]


def top_masses(
    y: Integer[Tensor, "draw batch item"],
    log_density: Float[Tensor, "draw batch"],
    observed: Integer[Tensor, "row item"],
    of_row: Integer[Tensor, " row"],
) -> tuple[Float[Tensor, "row top"], Bool[Tensor, "row top"]]:
    """Total probability of the k most probable combinations among the draws, and whether the observed one is of them,
    for each k of `TOP`; a combination that was drawn twice counts once.

    Args:
        of_row: which context each row has.

    Cost: one sort of the draws of each context.
    """
    # A random linear code of 63 bits tells combinations apart; two share one with a chance of about 1e-19 a pair.
    random = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, (y.shape[-1],), generator=random).to(y.device)
    code = (y.long() * factors).sum(-1)
    code, order = code.sort(0)
    density = log_density.gather(0, order)
    density[1:] = density[1:].masked_fill(code[1:] == code[:-1], -torch.inf)
    best, place = density.topk(min(max(TOP), len(density)), dim=0)
    held = (code.gather(0, place)[:, of_row] == (observed.long() * factors).sum(-1)) & (best[:, of_row] > -torch.inf)
    mass, found = best.exp().cumsum(0), held.cumsum(0) > 0
    at = [min(k, len(best)) - 1 for k in TOP]
    return mass[at].T[of_row].clamp(max=1.0), found[at].T


def calibration_depth(rows: Mapping[str, np.ndarray], happened: np.ndarray, resampled: Resamples) -> CalibrationDepth:
    """Everything from the rows of `decode_rows` and which events happened, [row, event]."""
    top, right = rows["top"][:, None].clip(0, 1), rows["right"][:, None] == 1
    found = []
    for place, k in enumerate(TOP):
        mass, inside = rows["top_mass"][:, [place]], rows["top_held"][:, [place]] == 1
        hits = int(inside.sum())
        bounds = wilson_interval(hits, len(inside))
        one = reliability(mass, inside, resampled)
        found.append(TopReliability(k, float(mass.mean()), hits / len(inside), *bounds, one))
    return CalibrationDepth(
        smooth_error(rows["events"], happened, resampled),
        smooth_error(top, right, resampled),
        decompose(rows["events"], happened),
        decompose(top, right),
        tuple(found),
    )
