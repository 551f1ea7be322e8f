"""From weighted draws of p(y|x) to the action with the highest expected value."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from jebm_core.decisions.values import ValueTable
from jebm_core.decoding.candidates import distinct_weights
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.spaces import OutputSpace, Ruled


@final
@dataclass(frozen=True)
class Decisions:
    """One answer a row.

    Attributes:
        y: the answer with the highest expected value.
        expected_value: E[V(y, truth)] under the model, in the currency of the values.
        not_acting: the same of leaving the row alone.
        p_exact: P(truth = y | x). share_right: expected share of parts (items, slots) that are right.
        supported: whether y is possible under the model's reference and rules.
    """

    y: Int64[np.ndarray, "row item"]
    expected_value: Float[np.ndarray, " row"]
    not_acting: Float[np.ndarray, " row"]
    p_exact: Float[np.ndarray, " row"]
    share_right: Float[np.ndarray, " row"]
    supported: Bool[np.ndarray, " row"]

    def confidence(self, loss: str) -> Float[np.ndarray, " row"]:
        """1 − the expected loss: ``exact`` (the answer isn't right as a whole) or ``items`` (share of wrong parts)."""
        return self.p_exact if loss == "exact" else self.share_right


def losses(loss: str, answer: Int64[np.ndarray, "row item"], truth: Int64[np.ndarray, "row item"]) -> np.ndarray:
    """What each answer lost, between 0 and 1.

    >>> losses("items", np.array([[1, 0]]), np.array([[1, 1]])), losses("exact", np.array([[1]]), np.array([[1]]))
    (array([0.5]), array([0.]))
    """
    wrong = answer != truth
    return wrong.any(1).astype(np.float64) if loss == "exact" else wrong.mean(1)


@torch.no_grad()
def decide(
    model: FittedModel,
    context: Context,
    values: ValueTable,
    *,
    generator: torch.Generator | None = None,
    independent: bool = False,
) -> Decisions:
    """argmax_c E[V(c, y)], c over every drawn combination and the best combination of a plain sum.

    V is a sum over parts and a bonus for c = y, and only drawn combinations have a chance of that bonus: so no
    combination does better under these draws. With rules in the space only drawn combinations are candidates, since
    those keep every rule.

    Args:
        independent: decide by the network without interactions.

    Cost: O(draw · item) a row.
    """
    rows = len(context.x)
    if context.is_single and rows > 1:
        alike = decide(model, context.condensed(), values, generator=generator, independent=independent)
        return Decisions(*(np.repeat(part, rows, axis=0) for part in _parts(alike)))
    found: list[tuple[np.ndarray, ...]] = []
    for _, draws in model.weighted_draws(context, generator=generator, independent=independent):
        found.append(_decide_rows(model.space, values, draws.y, draws.log_weight, draws.listed))
    y, value, idle, p_exact, right = (np.concatenate(parts) for parts in zip(*found, strict=True))
    supported = model.supports(context, torch.from_numpy(y).to(model.device)).cpu().numpy()
    return Decisions(y, value, idle, p_exact, right, supported)


def candidate_values(
    space: OutputSpace,
    values: ValueTable,
    y: Int64[Tensor, "draw batch item"],
    log_weight: Float[Tensor, "draw batch"],
    *,
    distinct: bool = False,
) -> Float[Tensor, "draw batch"]:
    """E[V(c, ·)] of each draw as an answer; −∞ for a draw that repeats an earlier one.

    Args:
        distinct: the draws are one listing without repeats, the same for every row.
    """
    return _candidates(space, values, y, log_weight, distinct)[0]


def _decide_rows(
    space: OutputSpace, values: ValueTable, y: Tensor, log_weight: Tensor, distinct: bool
) -> tuple[np.ndarray, ...]:
    worth, mass, marginals = _candidates(space, values, y, log_weight, distinct)
    best, draw = worth.max(0)
    batch = torch.arange(y.shape[1], device=y.device)
    answer, value, p_exact = y[draw, batch].cpu().numpy(), best.cpu().numpy(), mass[draw, batch].cpu().numpy()
    share, options = marginals.cpu().numpy(), space.options_per_item()
    if not isinstance(space, Ruled):
        gains, constant = values.gains(share, options)
        other, total = values.best_sum(gains, options)
        key = space.key(y[:, :1] if distinct else y)
        match = key == space.key(torch.from_numpy(other).to(y.device))
        chance = (log_weight.double().softmax(0) * match).sum(0).cpu().numpy()
        total = total + constant + values.exact_bonus * chance
        # Within rounding of each other the plain sum's answer wins: its ties go to fewer items.
        better = total >= value - 1e-9 * (1 + np.abs(value))
        answer = np.where(better[:, None], other, answer)
        value, p_exact = np.where(better, total, value), np.where(better, chance, p_exact)
    if values.not_acting is not None:
        idle = np.full(len(value), values.not_acting)
    else:
        idle = -(share @ values.entries[:, 2]) if values.kind == "subsets" else np.zeros(len(value))
    chosen = space.statistics(torch.from_numpy(answer)).double().numpy()
    right = (chosen * share).sum(1)
    if values.kind == "subsets":
        right += ((1 - chosen) * (1 - share)).sum(1)
    return answer, value, idle, np.clip(p_exact, 0, 1), np.clip(right / space.num_items, 0, 1)


def _candidates(
    space: OutputSpace, values: ValueTable, y: Tensor, log_weight: Tensor, distinct: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Value of each draw, the probability that it is the truth, and the marginals [row, statistic]."""
    weight = log_weight.double().softmax(0)  # single precision sums to 1 up to 1e-6 only
    phi = space.statistics(y[:, 0] if distinct else y).double()
    marginals = weight.T @ phi if distinct else torch.einsum("db,dbs->bs", weight, phi)
    gains, constant = (
        torch.from_numpy(part).to(y.device) for part in values.gains(marginals.cpu().numpy(), space.options_per_item())
    )
    worth = phi @ gains.T if distinct else torch.einsum("dbs,bs->db", phi, gains)
    if values.kind == "subsets":
        costs = torch.from_numpy(values.size_costs()).to(y.device)
        worth = worth - (costs[y[:, 0].sum(-1)].unsqueeze(1) if distinct else costs[y.sum(-1)])
    mass = weight if distinct else distinct_weights(y, weight)
    return torch.where(mass < 0, -torch.inf, worth + constant + values.exact_bonus * mass), mass, marginals


def _parts(found: Decisions) -> tuple[np.ndarray, ...]:
    return found.y, found.expected_value, found.not_acting, found.p_exact, found.share_right, found.supported
