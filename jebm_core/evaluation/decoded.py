"""Answers, marginals and ranks of the observed combination for every row, from weighted combinations of the model.

The combinations are all of them where the space is small, else draws; their weights are normalised by themselves, so
that nothing here owes anything to τ, but for the mass of seen combinations of a large space. Rows with the same context
are computed once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from jebm_core import decoding, metrics
from jebm_core.draws import enough_draws
from jebm_core.evaluation import unseen
from jebm_core.evaluation.calibration import event_indicators
from jebm_core.evaluation.depth import TOP, top_masses
from jebm_core.fitted import DRAWS, FittedModel
from jebm_core.losses import score_draws
from jebm_core.model import ConditionalModel, Context
from jebm_core.proposals import ListingProposal, Proposal

MAX_LISTED = 2**24
"""Contexts times combinations up to which the whole space stands for the model instead of draws."""
_ELEMENTS = 2**25
_TIE = 1e-4  # nats; two sums of the same numbers in another order differ by less


class _Weighed(NamedTuple):
    """Combinations that stand for p(·|x): normalised weights and densities, and the log of what p adds up to with τ."""

    y: Integer[Tensor, "draw batch item"]
    log_weight: Float[Tensor, "draw batch"]
    log_density: Float[Tensor, "draw batch"]
    log_mass: Float[Tensor, " batch"]
    effective: Float[Tensor, " batch"]


@torch.no_grad()
def decode_rows(
    model: FittedModel, context: Context, y: Int64[Tensor, "row item"], seed: int, tell: Callable[[float], None]
) -> dict[str, np.ndarray]:
    """Everything that weighted combinations say, a number a row; NaN where a score does not apply to the space.

    Returns:
        ``events`` [row, event]: stated probabilities. ``top``, ``right``: probability of the most probable combination
        and whether it is the observed one. ``pit``: probability of all that is more probable than the observed
        combination, and a random part of its own. ``top_mass``, ``top_held`` [row, k of `TOP`]: probability of the
        k most probable together, and whether the observed one is of them. ``seen``: of all that occurred in
        training. ``f1``, ``f1_map``, ``hamming_loss``, ``kendall_tau``, ``brier``, ``brier_joint``, ``effective``;
        ``listed``: one number, 1 or 0.
    """
    space, kind = model.space, model.record.schema.kind
    distinct, of_row = distinct_contexts(context)
    contexts = len(distinct.x)
    listed = contexts * space.cardinality() <= MAX_LISTED
    proposal = ListingProposal(space, model.device) if listed else model.proposal()
    proposal, draws = enough_draws(model.model(distinct.rows(slice(0, 16))), proposal, DRAWS)
    count = space.cardinality() if isinstance(proposal, ListingProposal) else draws + len(model.seen)
    size = max(1, min(512, _ELEMENTS // (space.num_items * count)))
    generator = torch.Generator(model.device).manual_seed(seed)
    uniform = torch.from_numpy(np.random.default_rng(seed).random(len(y)).astype(np.float32)).to(model.device)

    answers: dict[str, list[Tensor]] = {}
    pit, p_true = torch.zeros(len(y), device=model.device), torch.zeros(len(y), device=model.device)
    top = torch.zeros(2, len(y), len(TOP), device=model.device)
    is_listing = torch.tensor([isinstance(proposal, ListingProposal)])

    def keep(**values: Tensor) -> None:
        for key, value in values.items():
            answers.setdefault(key, []).append(value)

    for start in range(0, contexts, size):
        tell(start / contexts)
        p = model.model(distinct.rows(slice(start, start + size)))
        w = _weigh(p, proposal, draws, generator)
        weight = w.log_weight.exp()
        if isinstance(proposal, ListingProposal):
            events = weight.T @ event_indicators(space, w.y[:, 0])
        else:
            events = torch.einsum("mb,mbe->be", weight, event_indicators(space, w.y))
        best = decoding.decode_map(w.y, w.log_density)
        keep(map=best.y, top=best.expected_utility, events=events.clamp(0, 1), effective=w.effective)
        # Draws estimate the total with noise, which would bias a sum of exact terms: there τ divides.
        total = w.log_mass if isinstance(proposal, ListingProposal) else None
        keep(seen=unseen.seen_mass(model, p, total), purity=(weight * w.log_density.exp()).sum(0))
        if kind == "subsets":
            keep(f1=decoding.decode_f1(w.y, w.log_weight).y)
        if kind == "rankings":
            keep(kendall=decoding.decode_kendall(w.y, w.log_weight).y)
        else:
            keep(hamming=decoding.decode_hamming(w.y, w.log_weight, max(space.options_per_item())).y)

        here = ((of_row >= start) & (of_row < start + size)).nonzero().squeeze(-1)
        local = of_row[here] - start
        density = _observed_density(model, context.rows(here), y[here]) - w.log_mass[local]
        above, tied = _mass_above(w, local, density, distinct=contexts == len(y))
        p_true[here] = density.exp()
        mass, held = top_masses(w.y, w.log_density, y[here], local)
        top[0, here], top[1, here] = mass, held.to(mass)
        pit[here] = above + uniform[here] * (tied if bool(is_listing) else density.exp())

    found = {key: torch.cat(parts)[of_row] for key, parts in answers.items()}
    indicators = event_indicators(space, y)
    nothing = torch.full_like(pit, math.nan)
    rows: dict[str, Tensor] = {key: found[key] for key in ("events", "top", "effective", "seen")}
    rows |= {"pit": pit, "listed": is_listing, "top_mass": top[0], "top_held": top[1]}
    rows["right"] = metrics.subset_accuracy(y, found["map"])
    rows["f1"] = metrics.example_f1(y, found["f1"]) if "f1" in found else nothing
    rows["f1_map"] = metrics.example_f1(y, found["map"]) if "f1" in found else nothing
    rows["hamming_loss"] = metrics.hamming_loss(y, found["hamming"]) if "hamming" in found else nothing
    rows["kendall_tau"] = metrics.kendall_tau(y, found["kendall"]) if "kendall" in found else nothing
    squares = (found["events"] - indicators).square().sum(1)
    rows["brier"] = squares / (space.num_items if kind == "configurations" else indicators.shape[1])
    rows["brier_joint"] = 1 - 2 * p_true + found["purity"]
    return {key: value.cpu().double().numpy() for key, value in rows.items()}


def _weigh(p: ConditionalModel, proposal: Proposal, num_samples: int, generator: torch.Generator) -> _Weighed:
    """Draws and listed points as one set; the learned τ cancels from weights and densities."""
    scored = score_draws(p, proposal.draw(p, num_samples, generator=generator))
    draws, ratio, tau = scored.draws, p.divergence.log_density_ratio, p.log_partition
    own_ratio, shared = ratio(scored.affinity - tau), draws.points_log_weight + ratio(scored.points_affinity - tau)
    weight = torch.cat([shared, draws.log_weight + own_ratio])
    log_mass = weight.logsumexp(0)
    density, y = shared, draws.points.unsqueeze(1).expand(-1, weight.shape[1], -1)
    effective = torch.full_like(log_mass, float(len(draws.points)))
    if draws.num_random:
        density = torch.cat([shared, p.reference.log_prob(draws.y) + own_ratio])
        y = torch.cat([y.long(), draws.y.long()]) if len(y) else draws.y.long()
        relative = torch.exp(draws.log_weight + own_ratio - log_mass + math.log(draws.num_random))
        effective = draws.num_random / (1 + relative.var(0, correction=0))
    return _Weighed(y, weight - log_mass, density - log_mass, log_mass, effective)


def _mass_above(
    w: _Weighed, local: Int64[Tensor, " row"], density: Float[Tensor, " row"], *, distinct: bool
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """Probability of what is more probable than the observed combination, and of what is exactly as probable."""
    if distinct:
        d, weight = w.log_density[:, local], w.log_weight[:, local].exp()
        upper = (weight * (d > density + _TIE)).sum(0)
        return upper, (weight * (d >= density - _TIE)).sum(0) - upper
    d, order = w.log_density.T.sort(-1, descending=True)
    mass = torch.nn.functional.pad(w.log_weight.T.gather(1, order).exp().cumsum(1), (1, 0))
    rising = (-d).contiguous()  # what a search needs
    first = torch.empty_like(density)
    last = torch.empty_like(density)
    for column in local.unique().tolist():  # rows of one context are looked up together
        mine = (local == column).nonzero().squeeze(-1)
        ends = torch.stack([-density[mine] - _TIE, -density[mine] + _TIE])
        places = torch.searchsorted(rising[column], ends[0]), torch.searchsorted(rising[column], ends[1], right=True)
        first[mine], last[mine] = mass[column][places[0]], mass[column][places[1]]
    return first, last - first


def _observed_density(model: FittedModel, context: Context, y: Int64[Tensor, "row item"]) -> Float[Tensor, " row"]:
    """log p(y|x) with the learned τ, some rows at a time."""
    return model.log_prob(context, y).value if len(y) else torch.zeros(0, device=y.device)


def distinct_contexts(context: Context) -> tuple[Context, Int64[Tensor, " row"]]:
    """Each context once, and which of them each row has. Rows stay in order where all are distinct."""
    both = torch.cat([context.x, context.reference], 1)
    if both.shape[1] == 0:
        return context.condensed(), torch.zeros(len(both), dtype=torch.int64, device=both.device)
    unique, of_row = both.unique(dim=0, return_inverse=True)
    if len(unique) == len(both):
        return context, torch.arange(len(both), device=both.device)
    width = context.x.shape[1]
    return Context(unique[:, :width], unique[:, width:]), of_row
