"""The log-partition audit: the learned τ(x) held against log Z_q(x) = log E_{y∼q} e^{g(x,y)} computed in another way.

==================  ==============================================================  =======================
method              how                                                             exact
==================  ==============================================================  =======================
closed form         A_q(θ), no interactions (``permanent`` for rankings)            yes
listing             every combination, in chunks                                    yes, up to 2^22 combinations
annealing           chains from the tilt to the model, `annealing.anneal`           95 % interval
importance          draws from a proposal, `psis.estimate_from_weights`             95 % interval
==================  ==============================================================  =======================

For every divergence but KL, τ isn't the log-partition but the number that makes Σ_y q(y) (f*)′(g(x,y) − τ) = 1;
``listing (multiplier)`` solves for it.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from jebm_core.divergences import KL
from jebm_core.errors import Cancelled, SpecError
from jebm_core.evaluation.annealing import anneal, elements_per_row
from jebm_core.evaluation.audit import PartitionAudit
from jebm_core.evaluation.listing import ELEMENTS, listed_log_partition, listed_multiplier, score_width
from jebm_core.evaluation.psis import WeightedEstimate, estimate_from_weights
from jebm_core.losses import score_draws
from jebm_core.model import AnchoredBase, ConditionalModel, Context, JointModel, MeanFieldBase
from jebm_core.proposals import AnchoredProposal, MeanFieldProposal, PlackettLuceProposal, Proposal, TiltProposal
from jebm_core.spaces import MAX_LISTING, Rankings

MAX_LISTING_WORK = 20_000_000_000
"""rows · |𝒴| · numbers a score is made of, up to which ``auto`` lists: some seconds on one core."""

MIN_DRAWS = 2**16
"""Draws of the method importance over all rows together, at least: few rows get more each."""
_ROWS = 256  # contexts at a time, so that k × k numbers for each fit in memory

Method = Literal["auto", "exact", "ais", "importance"]


class Monitor(NamedTuple):
    """Reports progress within a share of the whole and raises `Cancelled` when asked to stop."""

    on_progress: Callable[[float], None] | None = None
    should_stop: Callable[[], bool] | None = None
    start: float = 0.0
    width: float = 1.0

    def part(self, start: float, stop: float) -> "Monitor":
        """The same for the share of the work between two fractions."""
        return Monitor(self.on_progress, self.should_stop, self.start + start * self.width, (stop - start) * self.width)

    def __call__(self, fraction: float) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Cancelled("The log-partition audit was stopped on request.")
        if self.on_progress is not None:
            self.on_progress(self.start + fraction * self.width)


def audit_partition(
    model: JointModel,
    context: Context,
    *,
    method: Method = "auto",
    proposal: Proposal | None = None,
    seed: int = 0,
    num_samples: int = 4096,
    temperatures: int = 100,
    chains: int = 64,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> PartitionAudit:
    """Hold the learned log-partition against an independent computation at every context.

    Args:
        method: ``auto`` is exact where that is cheap (`MAX_LISTING_WORK`) and anneals elsewhere; ``exact``,
            ``ais`` and ``importance`` insist.
        proposal: for ``importance``; by default the strongest that the model allows.
        num_samples: draws a row for ``importance``.
        temperatures, chains: for annealing.
        on_progress: told the share that is done, between 0 and 1.
        should_stop: asked often; True ends the audit with `Cancelled`.

    Raises:
        SpecError: no method of the kind asked for exists for this model.

    >>> from jebm_core.model import TiltBase
    >>> from jebm_core.networks import Affinity, Trunk, UnaryHead, correction_network
    >>> from jebm_core.references import UniformReference
    >>> from jebm_core.spaces import Subsets
    >>> space, trunk = Subsets(("a", "b")), Trunk(1, (), dropout=0.0)
    >>> g, delta = Affinity(space, trunk, UnaryHead(space, 1)), correction_network("linear", 2)
    >>> parts = {"reference": UniformReference(space), "divergence": KL(), "base": TiltBase()}
    >>> model = JointModel(space=space, affinity=g, correction=delta, **parts)
    >>> audit = audit_partition(model, Context(torch.ones(3, 1), torch.zeros(3, 0)))
    >>> audit.method, audit.summary().verdict
    ('closed form', 'trusted')
    """
    if context.is_single and len(context.x) > 1:  # one audit serves all rows
        how = {"method": method, "proposal": proposal, "seed": seed, "num_samples": num_samples}
        how |= {"temperatures": temperatures, "chains": chains}
        how |= {"on_progress": on_progress, "should_stop": should_stop}
        return audit_partition(model, context.condensed(), **how).repeated(len(context.x))
    monitor = Monitor(on_progress, should_stop)
    with torch.no_grad(), _evaluating(model):
        if context.x.shape[0] == 0:
            raise SpecError("Expected at least one row to audit, found none; choose some rows.")
        p = model.unnormalised(context.rows(slice(0, 1)))
        monitor(0.0)
        chosen = _choose(model, p, context.x.shape[0], method)
        device = p.scores.theta.device
        generator = None if device.type == "meta" else torch.Generator(device).manual_seed(seed)
        match chosen:
            case "closed form" | "permanent":

                def solved(q: ConditionalModel, part: Monitor) -> Tensor:
                    part(1.0)
                    return q.reference.log_normalizer(q.scores.theta)

                estimate = _exactly(_in_rows(model, context, _ROWS, monitor, solved))
            case "listing":
                estimate = _exactly(_in_rows(model, context, _ROWS, monitor, listed_log_partition))
            case "listing (multiplier)":
                rows = max(1, min(_ROWS, 2 * ELEMENTS // model.space.cardinality()))
                estimate = _exactly(_in_rows(model, context, rows, monitor, listed_multiplier))
            case "annealing":
                each = elements_per_row(p, num_chains=chains, temperatures=temperatures)
                rows = max(1, 4 * ELEMENTS // each)

                def annealed(q: ConditionalModel, part: Monitor) -> Tensor:
                    log_w = anneal(
                        q, num_chains=chains, temperatures=temperatures, generator=generator, on_temperature=part
                    )
                    return torch.stack(estimate_from_weights(log_w))

                estimate = WeightedEstimate(*_in_rows(model, context, rows, monitor, annealed))
            case _:
                way = proposal or strongest_proposal(model, p)
                num_samples = max(num_samples, MIN_DRAWS // len(context.x))
                anchors = len(way.anchors) if isinstance(way, AnchoredProposal) else 0
                rows = max(1, ELEMENTS // (num_samples * max(model.space.num_statistics, anchors)))

                def weighted(q: ConditionalModel, part: Monitor) -> Tensor:
                    result = importance_log_partition(q, way, num_samples, generator=generator)
                    part(1.0)
                    return torch.stack(result)

                estimate = WeightedEstimate(*_in_rows(model, context, rows, monitor, weighted))
        learned, bound = torch.cat(
            [_learned_and_bound(model, rows) for rows in map(Context, *(c.split(_ROWS) for c in context))], -1
        )
        monitor(1.0)
        values = [v.to("cpu", torch.float64) for v in (learned, *estimate, bound)]
    learned, audited, low, high, share, k, bound = values
    exact = chosen not in ("annealing", "importance")
    draws = 0 if exact else chains if chosen == "annealing" else num_samples
    return PartitionAudit(learned, audited, low, high, share, k, chosen, exact, bound, draws)


def importance_log_partition(
    p: ConditionalModel, proposal: Proposal, num_samples: int, *, generator: torch.Generator | None = None
) -> WeightedEstimate:
    """log Z_q(x) from weighted draws, with an interval that listed combinations do not widen."""
    draws, own, shared = score_draws(p, proposal.draw(p, num_samples, generator=generator))
    listed = (draws.points_log_weight + shared).double().logsumexp(0)
    if draws.num_random == 0:
        return WeightedEstimate(listed, listed, listed, torch.ones_like(listed), torch.zeros_like(listed))
    return estimate_from_weights((draws.log_weight + own).double() + math.log(draws.num_random), listed)


def _choose(model: JointModel, p: ConditionalModel, rows: int, method: Method) -> str:
    """The method as the audit names it; `SpecError` where there is none."""
    space, kl = model.space, isinstance(model.divergence, KL)
    listable = space.cardinality() <= MAX_LISTING
    if not kl:
        if method in ("ais", "importance") or not listable:
            raise SpecError(
                "Expected the divergence kl, or the method exact on at most {limit} combinations, for a log-partition "
                "audit, found {divergence} with the method {method} on about 10^{power:.0f} combinations; its "
                "multiplier is known by listing alone, so train with kl or audit a smaller space.",
                limit=MAX_LISTING,
                method=method,
                divergence=model.divergence.name,
                power=space.log_cardinality() / math.log(10),
            )
        return "listing (multiplier)"
    match method:
        case "ais":
            return "annealing"
        case "importance":
            return "importance"
        case _:
            if p.is_linear:
                return "permanent" if isinstance(space.whole, Rankings) else "closed form"
            work = rows * space.cardinality() * score_width(p)
            if listable and (method == "exact" or work <= MAX_LISTING_WORK):
                return "listing"
            if method == "auto":
                # Without a background there is no mean field to start chains from, and a step of theirs is dear.
                chains = space.exact_linear and not space.checks_draws and p.background is not None
                return "annealing" if chains else "importance"
    raise SpecError(
        "Expected a model without interactions or a space of at most {limit} combinations for an exact audit, found "
        "interactions over about 10^{power:.0f} combinations; use the method auto or ais.",
        limit=MAX_LISTING,
        power=space.log_cardinality() / math.log(10),
    )


def strongest_proposal(model: JointModel, p: ConditionalModel) -> Proposal:
    """Anchored where the base has anchors, else the mean-field tilt where it is certified, else the tilt."""
    if isinstance(model.base, AnchoredBase):
        return AnchoredProposal(model.space, model.base.anchors)
    if not model.space.exact_linear:
        return PlackettLuceProposal()
    return MeanFieldProposal() if p.has_mean_field else TiltProposal()


def _learned_and_bound(model: JointModel, context: Context) -> Float[Tensor, "two row"]:
    """τ(x), and a lower bound of log Z_q(x) that holds for every x, NaN where the model has none."""
    p = model(context)
    if not isinstance(model.divergence, KL) or not p.is_certified:
        bound = torch.full_like(p.log_partition, math.nan)
    elif isinstance(model.base, AnchoredBase | MeanFieldBase):
        bound = model.base(p)[0]
    else:
        bound = p.mean_field.bound
    return torch.stack([p.log_partition, bound])


def _in_rows(
    model: JointModel,
    context: Context,
    rows: int,
    monitor: Monitor,
    compute: Callable[[ConditionalModel, Monitor], Tensor],
) -> Float[Tensor, "*statistic row"]:
    """Some rows at a time, joined along the last axis."""
    n = context.x.shape[0]
    parts = []
    for start in range(0, n, rows):
        part = monitor.part(start / n, min(1.0, (start + rows) / n))
        parts.append(compute(model.unnormalised(context.rows(slice(start, start + rows))), part))
    return torch.cat(parts, -1)


def _exactly(value: Float[Tensor, " row"]) -> WeightedEstimate:
    """An estimate without noise."""
    nan = torch.full_like(value, math.nan)
    return WeightedEstimate(value, value, value, nan, nan)


@contextmanager
def _evaluating(model: JointModel) -> Iterator[None]:
    """Without dropout, and afterwards as before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
