"""How good an answer or a probability was, once the truth is known.

Every function that can be computed row by row returns one value per row: the caller takes the mean, a bootstrap
interval or a paired difference. ``item_f1``, ``micro_f1`` and ``macro_f1`` need all rows at once. Scores between 0 and
1 and Kendall's τ are better when larger; ``hamming_loss`` and the Brier scores are better when smaller.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def example_f1(
    y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"], empty_value: float = 0.0
) -> Float[Tensor, " batch"]:
    """F1 between two subsets, 2·|true ∩ pred| / (|true| + |pred|), row by row.

    Args:
        y_true: observed subsets, entries 0 and 1.
        y_pred: answers, entries 0 and 1.
        empty_value: the value where both subsets are empty; 0.0 and 1.0 are both in use, so say which.

    Returns:
        Values between 0 and 1.

    Cost: O(batch·item).

    >>> example_f1(torch.tensor([[1, 1, 0], [0, 0, 0]]), torch.tensor([[1, 1, 0], [0, 0, 0]])).tolist()
    [1.0, 0.0]
    """
    return _f1((y_true * y_pred).sum(1), y_true.sum(1) + y_pred.sum(1), empty_value)


def item_f1(
    y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"], empty_value: float = 0.0
) -> Float[Tensor, " item"]:
    """F1 of each item over all rows, 2·TP / (2·TP + FP + FN).

    Args:
        y_true: observed subsets, entries 0 and 1.
        y_pred: answers, entries 0 and 1.
        empty_value: the value for an item that is neither observed nor answered in any row.

    Returns:
        Values between 0 and 1.

    Cost: O(batch·item).

    >>> item_f1(torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 1], [1, 0]])).tolist()
    [1.0, 0.0]
    """
    return _f1((y_true * y_pred).sum(0), y_true.sum(0) + y_pred.sum(0), empty_value)


def macro_f1(
    y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"], empty_value: float = 0.0
) -> Float[Tensor, ""]:
    """The mean of ``item_f1``: rare items count as much as common ones.

    >>> macro_f1(torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 1], [1, 0]])).item()
    0.5
    """
    return item_f1(y_true, y_pred, empty_value).mean()


def micro_f1(
    y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"], empty_value: float = 0.0
) -> Float[Tensor, ""]:
    """F1 over all cells of the table together: common items count the most.

    >>> round(micro_f1(torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 1], [1, 0]])).item(), 4)
    0.8
    """
    return _f1((y_true * y_pred).sum(), y_true.sum() + y_pred.sum(), empty_value)


def subset_accuracy(y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"]) -> Float[Tensor, " batch"]:
    """1 where the whole combination is right, else 0. For every kind of output.

    >>> subset_accuracy(torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 1], [1, 0]])).tolist()
    [0.0, 1.0]
    """
    return (y_true == y_pred).all(1).to(torch.get_default_dtype())


def hamming_loss(y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"]) -> Float[Tensor, " batch"]:
    """The share of items, slots or places that are wrong, row by row; smaller is better.

    >>> hamming_loss(torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 1], [1, 0]])).tolist()
    [0.5, 0.0]
    """
    return (y_true != y_pred).to(torch.get_default_dtype()).mean(1)


def kendall_tau(
    positions_true: Int[Tensor, "batch item"], positions_pred: Int[Tensor, "batch item"]
) -> Float[Tensor, " batch"]:
    """Kendall's τ = (concordant pairs − discordant pairs) / (item·(item − 1)/2), row by row.

    Rankings have no ties; were there any, a tied pair would count 0 and this would be τ-a.

    Args:
        positions_true: the place of each item, 0 = most preferred (any common start gives the same τ).
        positions_pred: the answered place of each item.

    Returns:
        Values between −1 and 1; 1 where there is one item, since there is one ranking of it.

    Cost: O(batch·item²) time, O(batch·item) memory.

    >>> kendall_tau(torch.tensor([[0, 1, 2]]), torch.tensor([[2, 1, 0]])).tolist()
    [-1.0]
    """
    batch, items = positions_true.shape
    if items == 1:
        return torch.ones(batch, device=positions_true.device)
    agreement = torch.zeros(batch, device=positions_true.device, dtype=torch.int64)
    for i in range(items - 1):
        true = torch.sign(positions_true[:, i + 1 :] - positions_true[:, i : i + 1])
        pred = torch.sign(positions_pred[:, i + 1 :] - positions_pred[:, i : i + 1])
        agreement = agreement + (true * pred).sum(1)
    return agreement / (items * (items - 1) / 2)


def brier_marginal(
    y_true: Int[Tensor, "batch item"], probability: Float[Tensor, "batch item"]
) -> Float[Tensor, " batch"]:
    """The Brier score of marginal probabilities of subsets, mean over items of (P(y_i = 1) − y_i)²; smaller is better.

    Args:
        y_true: observed subsets, entries 0 and 1.
        probability: P(y_i = 1 | x).

    Returns:
        Values between 0 and 1. For two options this is half of ``brier_options``.

    Cost: O(batch·item).

    >>> brier_marginal(torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.5]])).tolist()
    [0.125]
    """
    return (probability - y_true).square().mean(1)


def brier_options(
    y_true: Int[Tensor, "batch item"], probability: Float[Tensor, "batch item option"]
) -> Float[Tensor, " batch"]:
    """The Brier score of marginal probabilities of configurations, mean over slots of Σ_o (P(y_i = o) − 1[y_i = o])².

    Args:
        y_true: observed configurations, entries 0, …, option − 1.
        probability: P(y_i = o | x), zero for options that a slot does not have.

    Returns:
        Values between 0 and 2; smaller is better.

    Cost: O(batch·item·option).

    >>> brier_options(torch.tensor([[2]]), torch.tensor([[[0.0, 0.5, 0.5]]])).tolist()
    [0.5]
    """
    option = torch.arange(probability.shape[2], device=probability.device)
    observed = (y_true[:, :, None] == option).to(probability.dtype)
    return (probability - observed).square().sum(2).mean(1)


def brier_top(
    y_true: Int[Tensor, "batch item"], y_pred: Int[Tensor, "batch item"], probability: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """The Brier score of "this answer is exactly right", (P(y = pred) − 1[true = pred])²; smaller is better.

    Args:
        y_true: observed combinations.
        y_pred: answered combinations.
        probability: the model's probability of the answer.

    Returns:
        Values between 0 and 1.

    Cost: O(batch·item).

    >>> brier_top(torch.tensor([[1, 0]]), torch.tensor([[1, 0]]), torch.tensor([0.5])).tolist()
    [0.25]
    """
    return (probability - (y_true == y_pred).all(1).to(probability.dtype)).square()


def brier_joint(
    log_prob_true: Float[Tensor, " batch"],
    log_prob_draws: Float[Tensor, "draw batch"],
    log_weight: Float[Tensor, "draw batch"],
) -> Float[Tensor, " batch"]:
    """The Brier score of the whole distribution, Σ_y (p(y) − 1[y = true])² = 1 − 2·p(true) + E_{y∼p}[p(y)].

    The last term is an average over draws: unbiased for i.i.d. draws of p with equal weights, exact for a complete
    listing weighted by its own log-probabilities. A row's estimate from draws may leave the range.

    Args:
        log_prob_true: log p(observed | x), nats.
        log_prob_draws: log p of each draw, nats.
        log_weight: unnormalised log-weights under which the draws stand for p, nats.

    Returns:
        Values between 0 and 2; smaller is better.

    Cost: O(draws·batch).

    >>> log_prob = torch.tensor([[0.25], [0.75]]).log()  # the listing of two outputs; the second was observed
    >>> round(brier_joint(log_prob[1], log_prob, log_prob).item(), 4)
    0.125
    """
    purity = (torch.softmax(log_weight, dim=0) * log_prob_draws.exp()).sum(0)
    return 1 - 2 * log_prob_true.exp() + purity


def _f1(both: Int[Tensor, "*shape"], total: Int[Tensor, "*shape"], empty_value: float) -> Float[Tensor, "*shape"]:
    f1 = 2 * both / total.clamp_min(1)
    return torch.where(total == 0, torch.full_like(f1, empty_value), f1)
