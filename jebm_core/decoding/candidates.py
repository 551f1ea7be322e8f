"""Decoders that choose among the draws themselves: the most probable one, and the best under a user's utility."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from jebm_core.decoding.draws import Decoded, normalised_weights
from jebm_core.errors import SpecError

Utility = Callable[[Tensor, Tensor], Tensor]
"""``utility(candidates[candidate, item], y[draw, batch, item]) -> value[candidate, draw, batch]``: what it is worth to
have answered each candidate where each draw is the truth. Finite; larger is better."""

_UTILITY_BYTES = 100_000_000

# SplitMix64's odd constants, as signed 64-bit integers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def decode_map(y: Int[Tensor, "draw batch item"], log_density: Float[Tensor, "draw batch"]) -> Decoded:
    """The draw with the largest model probability: argmax_d log p(y_d | x).

    ``log_density`` is log p(y|x) of the model, **not** an importance weight: a draw's weight counts draws, so a value
    that was drawn twice would stand with half of its weight. Pass log q + g − τ.

    Args:
        y: draws; repeats do no harm. With a complete listing the answer is the mode of the model.
        log_density: log-probability of each draw under the model, nats.

    Returns:
        The draw and exp(log_density), the probability of being exactly right. ``exact`` is True: no draw is more
        probable. A combination that was never drawn can be. Where every draw has log-density −∞ the probability is 0.

    Raises:
        SpecError: the shapes disagree, or there is no draw or no item.

    Cost: O(draws) for each row.

    >>> decoded = decode_map(torch.tensor([[[0, 1]], [[1, 1]]]), torch.tensor([[0.3], [0.7]]).log())
    >>> decoded.y.tolist(), round(decoded.expected_utility[0].item(), 4)
    ([[1, 1]], 0.7)
    """
    normalised_weights(y, log_density)  # for its checks of the shapes
    best, draw = log_density.max(0)
    index = draw[None, :, None].expand(1, -1, y.shape[2])
    return Decoded(y=y.gather(0, index).squeeze(0).to(torch.int64), expected_utility=best.exp(), exact=True)


def decode_table(
    y: Int[Tensor, "draw batch item"],
    log_weight: Float[Tensor, "draw batch"],
    utility: Utility,
    *,
    max_candidates: int = 64,
) -> Decoded:
    """The candidate c that maximises E[utility(c, y)] = Σ_d w_d · utility(c, y_d) for a utility of the user.

    The candidates of a row are its ``max_candidates`` distinct draws of largest total weight (the first drawn wins a
    tie), so the answer keeps every rule that the draws keep. It is not exact: a combination outside the candidates
    may be worth more.

    Args:
        y: draws; a candidate is one of them.
        log_weight: unnormalised log-weights, nats.
        utility: called with the candidates of one row, shape (candidate, item), and the draws of that row, shape
            (draw, 1, item); returns shape (candidate, draw, 1). It should work on the device of its inputs.
        max_candidates: the cap on candidates for each row.

    Returns:
        The best candidate and its expected utility, in the utility's unit; ``exact`` is False.

    Raises:
        SpecError: the shapes disagree, there is no draw or no item, ``max_candidates`` is below 1, or the utility
            returned another shape.

    Cost: one or more calls of the utility for each row, each on at most about 100 MB of (candidate, draw, item)
    entries.

    >>> def all_or_nothing(candidates, y):
    ...     return (candidates[:, None, None] == y).all(-1).float()
    >>> draws = torch.tensor([[[0, 1]], [[1, 1]], [[0, 1]]])
    >>> decode_table(draws, torch.tensor([[0.0], [0.5], [0.0]]), all_or_nothing).y.tolist()
    [[0, 1]]
    """
    weight = normalised_weights(y, log_weight)
    if max_candidates < 1:
        raise SpecError(
            "Expected at least 1 candidate for decoding by a table; found max_candidates={found}. Raise it.",
            found=max_candidates,
        )
    draws, _, items = y.shape
    heaviest = distinct_weights(y, weight).argsort(dim=0, descending=True, stable=True)[:max_candidates]
    step = max(1, _UTILITY_BYTES // (8 * draws * items))
    answers = [y.new_zeros((0, items))]
    values = [weight.new_zeros(0)]
    for row in range(y.shape[1]):
        truth, row_weight = y[:, row : row + 1], weight[:, row]
        candidates = truth[heaviest[:, row], 0]
        worth = torch.cat([_expected(utility, part, truth, row_weight) for part in candidates.split(step)])
        value, best = worth.max(0, keepdim=True)
        answers.append(candidates.index_select(0, best))
        values.append(value)
    return Decoded(y=torch.cat(answers).to(torch.int64), expected_utility=torch.cat(values), exact=False)


def distinct_weights(
    y: Int[Tensor, "draw batch item"], weight: Float[Tensor, "draw batch"]
) -> Float[Tensor, "draw batch"]:
    """The total weight of each distinct value, on its first draw; −1 on the later draws of the same value.

    Equal draws are found by a 64-bit linear hash, since comparing all pairs costs draws² and an exact ``unique`` has
    a shape that depends on the data. A collision (chance about draws²·2⁻⁶⁴) would join two values.

    Args:
        y: draws.
        weight: a weight for each draw, at least 0.

    Returns:
        Weights in the order of the draws.

    Cost: O(draws·(item + log draws)) for each row.

    >>> distinct_weights(torch.tensor([[[0, 1]], [[1, 1]], [[0, 1]]]), torch.tensor([[0.25], [0.5], [0.25]])).tolist()
    [[0.5], [0.5], [-1.0]]
    """
    key = (y.to(torch.int64) * _scrambled(y.shape[2], y.device)).sum(-1)
    ordered, order = key.sort(dim=0, stable=True)
    starts = torch.cat([torch.ones_like(ordered[:1]), (ordered[1:] != ordered[:-1]).to(torch.int64)])
    group = starts.cumsum(0) - 1
    total = torch.zeros_like(weight).scatter_add(0, group, weight.gather(0, order))
    on_first = torch.where(starts == 1, total.gather(0, group), -1.0)
    return torch.zeros_like(weight).scatter(0, order, on_first)


def _scrambled(count: int, device: torch.device) -> Int64[Tensor, " count"]:
    # SplitMix64's mixing of 1, 2, …: as good as random here, and made on the device, where a generator would either
    # differ between devices or wait for a copy from the host.
    value = torch.arange(1, count + 1, device=device) * _GOLDEN
    value = (value ^ (value >> 30)) * _MIX_1
    value = (value ^ (value >> 27)) * _MIX_2
    return value | 1


def _expected(
    utility: Utility,
    candidates: Int[Tensor, "candidate item"],
    truth: Int[Tensor, "draw 1 item"],
    weight: Float[Tensor, " draw"],
) -> Float[Tensor, " candidate"]:
    worth = utility(candidates, truth)
    expected_shape = (candidates.shape[0], truth.shape[0], 1)
    if worth.shape != expected_shape:
        raise SpecError(
            "Expected the utility to return shape (candidate, draw, batch) = {expected}; found {found}. Compare each "
            "candidate with each draw of each row.",
            expected=expected_shape,
            found=tuple(worth.shape),
        )
    return worth[:, :, 0].to(weight.dtype) @ weight
