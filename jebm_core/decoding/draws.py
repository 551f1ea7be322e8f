"""What every decoder takes and gives: weighted draws in, one combination per row out.

Draws of row b are y[0, b], …, y[D − 1, b] with unnormalised log-weights in nats. They stand for the distribution
P_b(y) = Σ_d w_db · 1[y_db = y], w_b = softmax(log_weight[:, b]). A draw may occur more than once and may weigh −∞.
A complete listing with log-probabilities as weights is the special case in which P_b is the model itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from jebm_core.errors import SpecError

_CHUNK_BYTES = 100_000_000


@final
@dataclass(frozen=True)
class Decoded:
    """One decoded combination per row.

    Attributes:
        y: the combination, in the encoding of the draws.
        expected_utility: the expected utility of ``y`` under the weighted draws. NaN (0 from ``decode_map``) where a
            row's draws all weigh −∞: such a row has no distribution and its ``y`` means nothing.
        exact: True if no combination that the decoder may return does better under these draws, False if ``y`` comes
            from a local search or from a limited list of candidates. The draws themselves stay an estimate either way.
    """

    y: Int64[Tensor, "batch item"]
    expected_utility: Float[Tensor, " batch"]
    exact: bool


def normalised_weights(
    y: Int[Tensor, "draw batch item"], log_weight: Float[Tensor, "draw batch"]
) -> Float[Tensor, "draw batch"]:
    """The weights softmax(log_weight) over draws, in single precision or better.

    Args:
        y: the draws, used for their shape alone.
        log_weight: unnormalised log-weights in nats; −∞ is allowed.

    Returns:
        Weights that sum to 1 over the draws; NaN for a row whose draws all weigh −∞.

    Raises:
        SpecError: the shapes disagree, or there is no draw or no item.

    Cost: O(draws · batch).

    >>> weight = normalised_weights(torch.zeros(3, 2, 4, dtype=torch.int64), torch.randn(3, 2))
    >>> torch.allclose(weight.sum(0), torch.ones(2))
    True
    """
    if y.dim() != 3 or log_weight.shape != y.shape[:2]:
        raise SpecError(
            "Expected draws of shape (draw, batch, item) with log-weights of shape (draw, batch); found {y} and "
            "{log_weight}. Give one log-weight for each draw of each row.",
            y=tuple(y.shape),
            log_weight=tuple(log_weight.shape),
        )
    if y.shape[0] == 0 or y.shape[2] == 0:
        raise SpecError(
            "Expected at least one draw and one item to decode from; found {draws} draws of {items} items. "
            "Draw from the model first.",
            draws=y.shape[0],
            items=y.shape[2],
        )
    return torch.softmax(log_weight.to(torch.promote_types(log_weight.dtype, torch.float32)), dim=0)


def batch_slices(batch: int, bytes_per_row: int) -> Iterator[slice]:
    """Slices of the batch axis that keep the working memory of a slice near 100 MB.

    Args:
        batch: the number of rows; an empty batch gives one empty slice, so that callers may concatenate.
        bytes_per_row: working memory of one row.

    Yields:
        Slices that cover ``range(batch)`` once, in order.

    >>> [(rows.start, rows.stop) for rows in batch_slices(5, 40_000_000)]
    [(0, 2), (2, 4), (4, 6)]
    """
    step = max(1, _CHUNK_BYTES // max(1, bytes_per_row))
    for start in range(0, max(1, batch), step):
        yield slice(start, start + step)
