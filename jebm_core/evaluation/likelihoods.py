"""−log p of labelled rows under a model and its baselines, with the audit that the model's rests on."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation import unseen
from jebm_core.evaluation.audit import ROW_KEYS, PartitionAudit
from jebm_core.evaluation.decoded import distinct_contexts
from jebm_core.evaluation.neighbours import neighbour_log_prob
from jebm_core.evaluation.partition import audit_partition
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.recipes import joins_items
from jebm_core.spaces import Rankings


@torch.no_grad()
def likelihoods(
    model: FittedModel, context: Context, y: Int64[Tensor, "row item"], seed: int, tell: Callable[[float], None]
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None, dict[str, list[float]]]:
    """−log p of the model and its baselines, a number a row, and the audit that the first rests on."""
    distinct, of_row = distinct_contexts(context)
    audit: PartitionAudit | None = None
    try:
        audit = audit_partition(model.model, distinct, seed=seed, on_progress=tell)
    except SpecError:  # another divergence than KL on a large space: nothing can normalise it
        if model.model.divergence.name == "kl":
            raise
    learned: list[Tensor] = []
    exact: dict[str, list[Tensor]] = {"nll": [], "audit_low": [], "audit_high": []}
    reference: list[Tensor] = []
    for rows, part in model.chunks(context):
        p, points = model.model(part), y[rows].unsqueeze(0)
        log_q, g = p.reference.log_prob(points).squeeze(0), p.affinity(points).squeeze(0)
        reference.append(log_q)
        learned.append(log_q + p.divergence.log_density_ratio(g - p.log_partition))
        for key, values in zip(
            exact, (None, None, None) if audit is None else (audit.audited, audit.low, audit.high), strict=True
        ):
            if values is None:
                exact[key].append(torch.full_like(g, math.nan))
            else:
                gap = g - values.to(g)[of_row[rows]]
                exact[key].append(log_q + p.divergence.log_density_ratio(gap))
    nll = {key: -torch.cat(parts) for key, parts in exact.items()}
    nll["nll_learned"], nll["nll_reference"] = -torch.cat(learned), -torch.cat(reference)
    nll["nll_frequency"] = -unseen.frequency_log_prob(model, y)
    nll["nll_neighbours"] = -neighbour_log_prob(model, y)
    nll["nll_independent"] = torch.full_like(nll["nll"], math.nan)
    if model.independent is not None:
        parts = [model.independent(c).log_prob(y[r].unsqueeze(0)).squeeze(0) for r, c in model.chunks(context)]
        nll["nll_independent"] = -torch.cat(parts)
    elif not (joins_items(model.space, model.record.architecture) or isinstance(model.space.whole, Rankings)):
        nll["nll_independent"] = nll["nll"]
    values = {key: value.cpu().double().numpy() for key, value in nll.items()}
    if audit is None:
        return values, None, {key: [] for key in ROW_KEYS}
    per_context = {key: getattr(audit, key).tolist() for key in ROW_KEYS}
    return values, audit.summary(healthy=model.record.is_healthy).to_json(), per_context
