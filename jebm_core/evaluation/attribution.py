"""Which features of a row speak for a combination: integrated gradients of the score.

Along the straight line from a baseline x° to x,

    c_j = (x_j − x°_j) ∫₀¹ ∂_j f(x° + t (x − x°)) dt,      Σ_j c_j = f(x) − f(x°),

with f(x) = g(x, y), or g(x, y) − g(x, y′) where a second combination is given: then the log-partition cancels, and the
sum with the reference's part is what x changes of log p(y|x)/p(y′|x). Encoded columns are added up to the user's
feature columns.

A reference may depend on x through classifiers that have no gradient. What it adds, log q(y|x) − log q(y|x°), is one
number of all features together and isn't shared out among them.

Source: Sundararajan, Taly and Yan, *Axiomatic attribution for deep networks*, ICML 2017.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context

TOLERANCE = 1e-3
"""Nats, and share of the change where that is larger, that contributions may miss of it; see `FeatureContributions`."""
_NODES = 8
_MOST_PANELS = 256


@final
@dataclass(frozen=True)
class FeatureContributions:
    """What each feature adds, in nats, the largest in size first.

    Attributes:
        features: (the user's feature column, its contribution).
        reference: log q(y|x) − log q(y|x°), less the same of y′.
        change: f(x) − f(x°), without the reference.
        gap: what the contributions miss of ``change``: the error of the integral. It is at most `TOLERANCE` unless the
            score has more kinks than the finest rule resolves.
    """

    features: tuple[tuple[str, float], ...]
    reference: float
    change: float
    gap: float

    @property
    def total(self) -> float:
        """What x changes against x°: of log q + g, or of log p(y|x)/p(y′|x)."""
        return self.change + self.reference


def baseline_context(model: FittedModel, row: Context, others: Context | None = None) -> Context:
    """Where features say nothing: their mean over ``others``; without them every encoded column is 0, which is the
    training mean of a number and no level of a text.

    The reference's inputs are what its classifiers, or the model that is the reference, say there. Conditions of rules
    stay those of ``row``: they hold or don't, and have no mean.
    """
    x = torch.zeros_like(row.x) if others is None else others.x.mean(0, keepdim=True)
    conditions = row.reference.shape[1]
    inputs = None
    if model.generator is not None:
        inner = model.generator
        zeros = np.zeros((1, inner.record.architecture.features), dtype=np.float32)
        inputs = inner.natural_parameters(inner.context_of(zeros))
        if others is not None:
            inputs = others.reference[:, : inputs.shape[1]].mean(0, keepdim=True)
    made = model.context_of(x.cpu().numpy(), None, inputs)
    conditions -= made.reference.shape[1]
    return Context(made.x, torch.cat([made.reference, row.reference[:, row.reference.shape[1] - conditions :]], 1))


def feature_contributions(
    model: FittedModel,
    row: Context,
    y: Int64[Tensor, " item"],
    baseline: Context | None = None,
    *,
    versus: Int64[Tensor, " item"] | None = None,
) -> FeatureContributions:
    """What each feature of one row adds to the score of ``y``, or of ``y`` over ``versus``.

    Args:
        row: a single context.
        baseline: what to compare it with; `baseline_context` without others if not given.

    Raises:
        SpecError: several contexts, or a combination outside the space.

    Cost: a pass of the network a node, 64 nodes at first and 2,048 at most.
    """
    points = y.unsqueeze(0) if versus is None else torch.stack([y, versus])
    if len(row.x) != 1:
        raise SpecError("Expected one context to explain, found {found}; choose one row.", found=len(row.x))
    if not bool(model.space.contains(points).all()):
        raise SpecError("Expected a combination of the model's space to explain, found another; correct it.")
    baseline = baseline_context(model, row) if baseline is None else baseline
    step = row.x - baseline.x
    ends = _scores(model, torch.cat([row.x, baseline.x]), points)
    change = float((ends[0] - ends[1]).detach())
    encoded, panels = torch.zeros_like(step[0]).double(), 8
    while step.numel():
        encoded = _integral(model, baseline.x, step, points, panels) * step[0].double()
        if abs(change - float(encoded.sum())) <= TOLERANCE * max(1.0, abs(change)) or panels >= _MOST_PANELS:
            break
        panels *= 2
    found, start = [], 0
    for column in model.record.encoder.columns:
        stop = start + len(column.encoded)
        found.append((column.name, float(encoded[start:stop].sum())))
        start = stop
    found.sort(key=lambda one: -abs(one[1]))
    gap = change - math.fsum(value for _, value in found)
    return FeatureContributions(tuple(found), _of_reference(model, row, baseline, points), change, gap)


def _scores(
    model: FittedModel, x: Float[Tensor, "node feature"], points: Int64[Tensor, "one_or_two item"]
) -> Float[Tensor, " node"]:
    g = model.model.affinity(x).value_of(points).double()
    return g[0] if len(g) == 1 else g[0] - g[1]


def _integral(
    model: FittedModel,
    start: Float[Tensor, "1 feature"],
    step: Float[Tensor, "1 feature"],
    points: Int64[Tensor, "one_or_two item"],
    panels: int,
) -> Float[Tensor, " feature"]:
    """∫₀¹ of the gradient, by the Gauss–Legendre rule in each of several panels: ReLU networks have kinks."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    at = (np.arange(panels)[:, None] + (nodes + 1) / 2) / panels
    weight = torch.from_numpy(np.tile(weights / (2 * panels), panels)).to(step.device)
    with torch.enable_grad():
        x = (start + torch.from_numpy(at.reshape(-1, 1)).to(step) * step).requires_grad_()
        (gradient,) = torch.autograd.grad(_scores(model, x, points).sum(), x)
    return weight @ gradient.double()


@torch.no_grad()
def _of_reference(
    model: FittedModel, row: Context, baseline: Context, points: Int64[Tensor, "one_or_two item"]
) -> float:
    inputs = torch.cat([row.reference, baseline.reference])
    log_q = model.model.reference(inputs).log_prob_of(points).double().expand(-1, 2)
    each = log_q[:, 0] - log_q[:, 1]
    return float(each[0] if len(each) == 1 else each[0] - each[1])
