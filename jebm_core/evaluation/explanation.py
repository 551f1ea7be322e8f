"""Which parts, pairs and rules make one combination more probable than another: an exact sum.

g = ⟨θ(x), φ(y)⟩ + h(x, y) is a sum over parts and pairs of parts where h is one over pairs, and the log-partition is
the same for both combinations. So for any y and y′, and for every x,

    log p(y|x) − log p(y′|x) = Σ_parts Δ⟨θ_i, φ_i⟩ + Σ_{i<j} Δ(φ_iᵀ U_ij φ_j) + Σ_rules Δw + Δ log q,

with nothing left over. What ½ φᵀ U φ holds within an item counts as its part; a set network is no sum over pairs, and
is one term, *together*; of divergences other than KL, log (f*)′ is not linear in g − τ, and what that adds is one term,
*link*. Preferences of rules are terms of their own, taken out of log q. Over several contexts every term is a mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation.averages import allowed_log_prob
from jebm_core.evaluation.candidates import outcome_place, some_contexts, value_label
from jebm_core.fitted import FittedModel
from jebm_core.interactions import FullQuadratic, LowRankQuadratic, PreferenceInteraction, item_of_statistic
from jebm_core.model import ConditionalModel, Context
from jebm_core.rules.notation.expressible import shortened
from jebm_core.rules.notation.printer import describe
from jebm_core.weighted import WeightedDistribution

Kind = Literal["part", "pair", "rule", "together", "reference", "link"]


@final
@dataclass(frozen=True)
class Term:
    """One addend of the difference of two log-probabilities.

    Attributes:
        items: the item of a part, the two of a pair, the text of a rule; nothing for the other kinds.
        before, after: values of the items in y′ and in y.
        value: in nats; above 0 where it makes y more probable than y′.
    """

    kind: Kind
    items: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    value: float


@final
@dataclass(frozen=True)
class Contributions:
    """The terms, the largest in size first, and what they add up to, in nats. Terms that are 0 are left out."""

    terms: tuple[Term, ...]
    total: float
    contexts: int

    @property
    def driver(self) -> Term | None:
        """The largest term in size; none where nothing differs."""
        return self.terms[0] if self.terms else None


def part_contributions(
    model: FittedModel,
    context: Context,
    y: Int64[Tensor, " item"],
    before: Int64[Tensor, " item"],
    *,
    outcome: tuple[str, str] | None = None,
    seed: int = 0,
) -> Contributions:
    """What makes ``y`` more or less probable than ``before``: log p(y|x) − log p(before|x) as a sum.

    Args:
        context: one row, or several (at most 64, drawn by seed) to average over.
        outcome: a slot and its option: the log-odds of the option against the likeliest other one, given the other
            slots, are explained instead. Everything that does not involve the outcome cancels in them.

    Raises:
        SpecError: a combination outside the space or impossible in a context, or an unknown outcome.

    Cost: contexts · statistics² · items.
    """
    context, both = some_contexts(context, seed), torch.stack([y, before])
    if not bool(model.space.contains(both).all()) and outcome is None:
        raise SpecError("Expected two combinations of the model's space to compare, found another; correct it.")
    with torch.no_grad():
        found = contributions_of(
            model.model(context), both, None if outcome is None else outcome_place(model.space, outcome)
        )
    if found is None:
        raise SpecError(
            "Expected two combinations that are possible in these contexts, found one with probability 0; there is "
            "nothing to compare it with."
        )
    return found


def contributions_of(
    p: ConditionalModel, both: Int64[Tensor, "two item"], place: tuple[int, int] | None
) -> Contributions | None:
    """As `part_contributions`, of the first against the second; None where one of them is impossible in a context."""
    points, sign = both, [1.0, -1.0]
    if place is not None:
        points, sign = _with_outcome(p, both, place)
    coefficients = torch.tensor(sign, device=points.device)
    log_p, log_q = allowed_log_prob(p, points), p.reference.log_prob_of(points)
    if not bool(torch.isfinite(log_p).all() & torch.isfinite(log_q).all()):
        return None
    terms = _terms(p, points, coefficients, both, place)
    rules = _rule_terms(p, points, coefficients)
    total = _weigh(log_p, coefficients)
    of_q = _weigh(log_q.expand_as(log_p), coefficients)
    terms += rules
    terms.append(Term("reference", (), (), (), of_q - math.fsum(term.value for term in rules)))
    if p.divergence.name != "kl":
        terms.append(Term("link", (), (), (), total - of_q - _weigh(p.affinity_of(points), coefficients)))
    kept = sorted((term for term in terms if term.value != 0), key=lambda term: -abs(term.value))
    return Contributions(tuple(kept), total, log_p.shape[1])


def rivals(
    p: ConditionalModel, y: Int64[Tensor, " item"], place: tuple[int, int]
) -> tuple[Int64[Tensor, " item"], Int64[Tensor, " item"]]:
    """(y with the outcome, y with the likeliest other option in its slot): the two that log-odds compare."""
    slot, option = place
    others = [o for o in range(p.space.options_per_item()[slot]) if o != option]
    choices = y.repeat(len(others) + 1, 1)
    choices[:, slot] = torch.tensor([option, *others], device=y.device)
    likeliest = int(allowed_log_prob(p, choices[1:]).double().exp().mean(1).argmax())
    return choices[0], choices[1 + likeliest]


def _with_outcome(p: ConditionalModel, both: Tensor, place: tuple[int, int]) -> tuple[Tensor, list[float]]:
    """The log-odds of the first less those of the second, against one and the same other option."""
    _, rival = rivals(p, both[0], place)
    points = both.repeat_interleave(2, 0)
    points[:, place[0]] = torch.tensor([place[1], int(rival[place[0]])] * 2, device=both.device)
    return points, [1.0, -1.0, -1.0, 1.0]


def _terms(
    p: ConditionalModel, points: Tensor, coefficients: Tensor, both: Tensor, place: tuple[int, int] | None
) -> list[Term]:
    space = p.space
    parts, pairs, together = _energies(p, points)
    part = (coefficients.double() @ parts.double()).tolist()
    pair = torch.einsum("n,nij->ij", coefficients.double(), pairs.double()).tolist()
    y, before = both.tolist()
    slot = -1
    if place is not None:
        slot = place[0]
        y[slot] = before[slot] = place[1]

    def term(kind: Kind, items: Sequence[int], value: float) -> Term:
        names = tuple(space.items[i] for i in items)
        labels = [tuple(value_label(space, i, row[i]) for i in items) for row in (before, y)]
        return Term(kind, names, labels[0], labels[1], value)

    changed = [i for i, (a, b) in enumerate(zip(y, before, strict=True)) if a != b]
    found = [] if place is not None else [term("part", (i,), part[i]) for i in changed]
    for i in range(space.num_items):
        for j in range(i + 1, space.num_items):
            involved = (i in changed or j in changed) and (place is None or slot in (i, j))
            if involved and pair[i][j] != 0:
                found.append(term("pair", (i, j), pair[i][j]))
    if together is not None:
        found.append(Term("together", (), (), (), _weigh(together, coefficients)))
    return found


def _rule_terms(p: ConditionalModel, points: Tensor, coefficients: Tensor) -> list[Term]:
    if not isinstance(p.reference, WeightedDistribution):
        return []
    added = p.reference.added_by_preferences(points).double()
    each = torch.einsum("n,nbk->k", coefficients.double(), added) / added.shape[1]
    problem = p.reference.rules.problem
    texts = [shortened(describe(problem.rules.rules[preference.rule])) for preference in problem.preferences]
    return [Term("rule", (text,), (), (), value) for text, value in zip(texts, each.tolist(), strict=True) if value]


def _energies(
    p: ConditionalModel, points: Int64[Tensor, "point item"]
) -> tuple[Float[Tensor, "point item"], Float[Tensor, "point item item"], Float[Tensor, "point batch"] | None]:
    """g in pieces: of each item and of each pair of items (above the diagonal), averaged over contexts, in which both
    are linear; and of all items together."""
    space, h = p.space, p.scores.interaction
    phi = space.statistics(points)
    belongs = torch.nn.functional.one_hot(item_of_statistic(space, points.device), space.num_items).to(phi)
    own = phi.unsqueeze(-1) * belongs  # [point, statistic, item]
    parts = torch.einsum("nsi,s->ni", own, p.scores.theta.mean(0))
    pairs, together = phi.new_zeros(len(points), space.num_items, space.num_items), None
    if isinstance(h, FullQuadratic):
        pairs = own.mT @ h.matrix.mean(0) @ own
    elif isinstance(h, LowRankQuadratic):
        factors = h.factors @ own
        pairs = (factors.mT * h.scale.mean(0)) @ factors
    elif isinstance(h, PreferenceInteraction):
        above = (points[:, h.second] - points[:, h.first]).sign().to(phi)
        pairs[:, h.first, h.second] = above * h.weights.mean(0)
    elif h is not None:
        together = h.value_of(points, phi)
    return parts + pairs.diagonal(dim1=-2, dim2=-1) / 2, pairs.triu(1), together


def _weigh(values: Float[Tensor, "point batch"], coefficients: Float[Tensor, " point"]) -> float:
    return float((coefficients.double().unsqueeze(-1) * values.double()).sum(0).mean())
