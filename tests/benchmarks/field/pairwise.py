"""An energy-based model with pairs that depend on x, by exact maximum likelihood: every step sums over all subsets."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.distributions import Listing, all_subsets
from tests.benchmarks.field.networks import train_network

MOST_ITEMS = 14


def fit_pairwise(train: Rows, seed: int) -> Callable[[np.ndarray], Listing]:
    """Score u(x)·y + Σ_{i<j} U_ij(x) y_i y_j, both from one hidden layer of 128 units with dropout 0.3.

    Raises:
        ValueError: too many items to sum over all subsets.
    """
    items = train.y.shape[1]
    if items > MOST_ITEMS:
        raise ValueError(f"expected at most {MOST_ITEMS} items, found {items}")
    subsets = all_subsets(items)
    listed = statistics(torch.from_numpy(subsets))
    torch.manual_seed(seed)
    width = train.x.shape[1]
    network = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, listed.shape[1]))

    def loss(theta: Tensor, y: Tensor) -> Tensor:
        return (theta @ listed.T).logsumexp(1) - (theta * statistics(y)).sum(1)

    train_network(network, loss, train, seed)

    @torch.no_grad()
    def predict(x: np.ndarray) -> Listing:
        scores = (network(torch.from_numpy(x).float()) @ listed.T).double()
        return Listing(subsets, scores.log_softmax(1).numpy())

    return predict


def statistics(y: Tensor) -> Tensor:
    """y and the products of its pairs [subset, item + pair]."""
    first, second = torch.triu_indices(y.shape[1], y.shape[1], offset=1)
    return torch.cat([y, y[:, first] * y[:, second]], 1).float()
