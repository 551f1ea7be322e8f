"""The combination with the most items expected right."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from jebm_core.decoding.draws import Decoded, batch_slices, normalised_weights


def decode_hamming(
    y: Int[Tensor, "draw batch item"], log_weight: Float[Tensor, "draw batch"], num_options: int
) -> Decoded:
    """The combination h that maximises E[share of items with y_i = h_i] = 1 − expected Hamming loss.

    The expectation is (1/item)·Σ_i P(y_i = h_i), so each item takes its most probable option by itself. For subsets
    and configurations; for rankings the result need not be a ranking. Rules are not looked at either: the modes
    together may break one. Ties go to the lower option.

    Args:
        y: draws with entries 0, …, num_options − 1.
        log_weight: unnormalised log-weights, nats.
        num_options: 2 for subsets; for configurations the largest number of options of any slot.

    Returns:
        The marginal modes and the expected share of items that are right, between 0 and 1; ``exact`` is True.

    Raises:
        SpecError: the shapes disagree, or there is no draw or no item.

    Cost: O(item·(draws + num_options)) for each row; about 100 MB of working memory.

    >>> draws = torch.tensor([[[0, 2]], [[1, 2]], [[1, 0]]])
    >>> decode_hamming(draws, torch.zeros(3, 1), num_options=3).y.tolist()
    [[1, 2]]
    """
    weight = normalised_weights(y, log_weight)
    draws, batch, items = y.shape
    bytes_per_row = (8 + weight.element_size()) * items * (draws + num_options)
    parts = [_decode_rows(y[:, rows], weight[:, rows], num_options) for rows in batch_slices(batch, bytes_per_row)]
    return Decoded(
        y=torch.cat([mode for mode, _ in parts]), expected_utility=torch.cat([right for _, right in parts]), exact=True
    )


def _decode_rows(
    y: Int[Tensor, "draw batch item"], weight: Float[Tensor, "draw batch"], num_options: int
) -> tuple[Int64[Tensor, "batch item"], Float[Tensor, " batch"]]:
    draws, batch, items = y.shape
    option = y.permute(1, 2, 0).to(torch.int64)
    empty = torch.zeros(batch, items, num_options, device=y.device, dtype=weight.dtype)
    mass = empty.scatter_add(2, option, weight.T[:, None, :].expand(batch, items, draws))
    best, mode = mass.max(2)
    return mode, best.mean(1)
