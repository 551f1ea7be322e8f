"""Training small torch networks with early stopping: what the methods that are written here share."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.field.data import Rows

VALIDATION = 0.15
PATIENCE = 20
EPOCHS = 500
BATCH = 64


def train_network(
    network: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    train: Rows,
    seed: int,
    rate: float = 1e-3,
    decay: float = 0.01,
) -> nn.Module:
    """Train with AdamW until `PATIENCE` epochs bring nothing on 15 % of the training rows; the best state is kept.

    Args:
        loss: (output of the network, y) → one number a row, the lower the better.
    """
    order = np.random.default_rng(seed).permutation(len(train.x))
    held = max(1, round(VALIDATION * len(order)))
    x, y = torch.from_numpy(train.x[order]).float(), torch.from_numpy(train.y[order]).long()
    shuffling = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    best, waited, kept = float("inf"), 0, copy.deepcopy(network.state_dict())
    for _ in range(EPOCHS):
        network.train()
        for rows in (torch.randperm(len(x) - held, generator=shuffling) + held).split(BATCH):
            optimiser.zero_grad()
            loss(network(x[rows]), y[rows]).mean().backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            now = float(loss(network(x[:held]), y[:held]).mean())
        if now < best - 1e-4:
            best, waited, kept = now, 0, copy.deepcopy(network.state_dict())
        else:
            waited += 1
            if waited == PATIENCE:
                break
    network.load_state_dict(kept)
    return network.eval()
