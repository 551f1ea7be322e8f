"""Distances between combinations, as inner products: one matrix product compares many with many.

Subsets and configurations: items or slots that differ. Rankings: pairs of items in the other order (Kendall's
distance).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.spaces.base import OutputSpace
from jebm_core.spaces.rankings import Rankings
from jebm_core.spaces.subsets import Subsets


def distance_features(space: OutputSpace, y: Int64[Tensor, "row item"]) -> Float[Tensor, "row feature"]:
    """Vectors whose inner product counts agreements less disagreements (options: agreements alone).

    >>> space = Subsets(("a", "b", "c"))
    >>> y = distance_features(space, torch.tensor([[1, 0, 1], [1, 1, 0]]))
    >>> distance_of_agreement(space, y[0] @ y[1]).item()
    2
    """
    if isinstance(space.whole, Rankings):
        a, b = torch.triu_indices(space.num_items, space.num_items, offset=1, device=y.device)
        return (y[:, b] - y[:, a]).sign().to(torch.get_default_dtype())
    phi = space.statistics(y)
    return 2 * phi - 1 if isinstance(space.whole, Subsets) else phi


def agreement_weights(space: OutputSpace, phi: Float[Tensor, "row statistic"]) -> Float[Tensor, "row statistic"]:
    """Log-weights under which a combination has as much as items that agree with the row, up to a constant.

    >>> space = Subsets(("a", "b"))
    >>> agreement_weights(space, torch.tensor([[1.0, 0.0]])).tolist()
    [[1.0, -1.0]]
    """
    return 2 * phi - 1 if isinstance(space.whole, Subsets) else phi


def distance_of_agreement(space: OutputSpace, agreement: Float[Tensor, "*pair"]) -> Int64[Tensor, "*pair"]:
    """From inner products of `distance_features` to distances."""
    if isinstance(space.whole, Rankings):
        pairs = space.num_items * (space.num_items - 1) / 2
        return ((pairs - agreement) / 2).round().long()
    if isinstance(space.whole, Subsets):
        return ((space.num_items - agreement) / 2).round().long()
    return (space.num_items - agreement).round().long()
