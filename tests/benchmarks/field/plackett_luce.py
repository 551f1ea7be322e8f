"""Plackett–Luce models: a score an item, from a linear map or a small network, by maximum likelihood.

log p(y) = Σ_s (w[o_s] − log Σ_{t ≥ s} exp w[o_t]), o_s the item in position s. Cheng, Dembczyński, Hüllermeier, ICML
2010.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.mallows import positions_of
from tests.benchmarks.field.networks import train_network


def log_prob(scores: Tensor, positions: Tensor) -> Tensor:
    """log p in nats of one ranking a row."""
    ordered = scores.gather(1, positions.argsort(1))
    return (ordered - ordered.flip(1).logcumsumexp(1).flip(1)).sum(1)


@dataclass(frozen=True)
class PlackettLuce:
    """Scores [row, item]."""

    scores: np.ndarray

    def answer(self) -> np.ndarray:
        """The order of the scores is the mode, and has the largest expected τ."""
        return positions_of(self.scores)

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p in nats of one ranking a row."""
        return log_prob(torch.from_numpy(self.scores), torch.from_numpy(y)).numpy()


def fit_linear(train: Rows, seed: int) -> Callable[[np.ndarray], PlackettLuce]:
    """Scores linear in the features."""
    torch.manual_seed(seed)
    return _fit(nn.Linear(train.x.shape[1], train.y.shape[1]), train, seed, rate=1e-2)


def fit_network(train: Rows, seed: int) -> Callable[[np.ndarray], PlackettLuce]:
    """Scores from one hidden layer of 64 units."""
    torch.manual_seed(seed)
    width, items = train.x.shape[1], train.y.shape[1]
    return _fit(nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, items)), train, seed, rate=3e-3)


def _fit(network: nn.Module, train: Rows, seed: int, rate: float) -> Callable[[np.ndarray], PlackettLuce]:
    train_network(network, lambda scores, y: -log_prob(scores, y), train, seed, rate)

    @torch.no_grad()
    def predict(x: np.ndarray) -> PlackettLuce:
        return PlackettLuce(network(torch.from_numpy(x).float()).double().numpy())

    return predict
