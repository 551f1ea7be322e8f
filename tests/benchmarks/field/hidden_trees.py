"""Hidden Chow–Liu trees by SPFlow: each item has a hidden variable on the tree of the largest mutual information.

Liu, Van den Broeck, NeurIPS 2021; a circuit like any other, so that log p is exact.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.field.circuits import Circuit, set_apart
from tests.benchmarks.field.data import Rows

HIDDEN = (12, 32)
EPOCHS, PATIENCE, BATCH, RATE, DECAY = 8, 2, 256, 0.1, 0.7
"""Passes over the rows at most, and without a better one; rows a step, its rate, and the share left after a pass."""
JITTER = 0.3


def fit_tree(train: Rows, seed: int) -> Callable[[np.ndarray], Circuit]:
    """A hidden Chow–Liu tree with as many hidden values as 10 % of the training rows prefer, stopped early by them."""
    rest, held = (torch.from_numpy(part).float() for part in set_apart(train.y, seed))
    done = [_train(rest, held, hidden, seed) for hidden in HIDDEN]
    found = Circuit(min(done, key=lambda one: one[0])[1])
    return lambda x: found


def _train(rest: Tensor, held: Tensor, hidden: int, seed: int) -> tuple[float, Any]:
    """The least −log p of held-out rows, and the circuit that had it."""
    root = _tree(rest, hidden, seed)
    optimiser = torch.optim.Adam(root.parameters(), lr=RATE)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimiser, DECAY)
    best, waited, kept = float("inf"), 0, copy.deepcopy(root.state_dict())
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(rest)).split(BATCH):
            optimiser.zero_grad()
            (-root.log_likelihood(rest[rows]).mean()).backward()
            optimiser.step()
        slower.step()
        now = -float(Circuit(root).log_prob(held.numpy()).mean())
        waited = 0 if now < best - 1e-3 else waited + 1
        if now < best:
            best, kept = now, copy.deepcopy(root.state_dict())
        if waited == PATIENCE:
            break
    root.load_state_dict(kept)
    return best, root


def _tree(rest: Tensor, hidden: int, seed: int) -> Any:
    """SPFlow's tree; its even weights are shaken, since alike hidden values would stay alike."""
    from spflow.modules.sums import Sum
    from spflow.zoo.hclt import learn_hclt_binary

    torch.manual_seed(seed)
    root = learn_hclt_binary(rest, num_hidden_cats=hidden, init="uniform")
    for node in root.modules():
        if isinstance(node, Sum):
            node.log_weights = (node.log_weights + JITTER * torch.randn_like(node.log_weights)).log_softmax(
                node.sum_dim
            )
    return root
