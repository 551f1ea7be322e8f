"""An energy of single items, pairs and a small network, by ebmkit: trained by pseudo-likelihood, normalised by itself.

The pseudo-likelihood needs no normalisation; log Z comes afterwards, from all subsets where there are few, else from
ebmkit's annealed importance sampling with Gibbs-with-gradients moves, on average from below: to the peer's advantage.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.distributions import all_subsets

MOST_LISTED = 16
EPOCHS, FEW_EPOCHS, MANY_ITEMS = 40, 8, 32
"""At most so many passes over the rows; fewer where a step evaluates more than so many items in turn."""
PATIENCE, BATCH, VALIDATION = 5, 256, 0.1
CHAINS, TEMPERATURES = 64, 5000


class Energy(nn.Module):
    """−log p up to a constant: −b·y − Σ_{i<j} W_ij y_i y_j − f(y), f with one hidden layer of 64 units."""

    def __init__(self, items: int) -> None:
        super().__init__()
        self.b, self.w = nn.Parameter(torch.zeros(items)), nn.Parameter(torch.zeros(items, items))
        self.f = nn.Sequential(nn.Linear(items, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, y: Tensor) -> Tensor:
        return -(y @ self.b + ((y @ self.w.triu(1)) * y).sum(1) + self.f(y).squeeze(1))


@dataclass(frozen=True)
class Normalised:
    """An energy with its log Z in nats."""

    energy: Energy
    log_z: float

    @torch.no_grad()
    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p in nats, a row each."""
        return (-self.energy(torch.from_numpy(y).float()) - self.log_z).double().numpy()


def fit_energy(train: Rows, seed: int) -> Callable[[np.ndarray], Normalised]:
    """Stopped early by the pseudo-likelihood of 10 % of the training rows."""
    from ebm import PseudoLikelihood

    torch.manual_seed(seed)
    items, objective = train.y.shape[1], PseudoLikelihood()
    y = torch.from_numpy(train.y[np.random.default_rng(seed).permutation(len(train.y))]).float()
    held = round(VALIDATION * len(y))
    energy = Energy(items)
    optimiser = torch.optim.AdamW(energy.parameters(), lr=3e-3)
    best, waited, kept = float("inf"), 0, copy.deepcopy(energy.state_dict())
    for _ in range(FEW_EPOCHS if items > MANY_ITEMS else EPOCHS):
        for rows in (torch.randperm(len(y) - held) + held).split(BATCH):
            optimiser.zero_grad()
            objective(energy, y[rows]).loss.backward()
            optimiser.step()
        with torch.no_grad():
            now = float(objective(energy, y[:held]).loss)
        if now < best - 1e-5:
            best, waited, kept = now, 0, copy.deepcopy(energy.state_dict())
        else:
            waited += 1
            if waited == PATIENCE:
                break
    energy.load_state_dict(kept)
    found = Normalised(energy, log_partition(energy.eval(), y))
    return lambda x: found


def log_partition(energy: Energy, y: Tensor) -> float:
    """log Z: by listing up to `MOST_LISTED` items, else annealed from independent items with the shares of ``y``."""
    if y.shape[1] <= MOST_LISTED:
        with torch.no_grad():
            return float((-energy(torch.from_numpy(all_subsets(y.shape[1])).float())).logsumexp(0))
    from ebm import GibbsWithGradients, ais_log_z

    share = y.mean(0).clamp(0.5 / len(y), 1 - 0.5 / len(y))
    base: Any = torch.distributions.Independent(torch.distributions.Bernoulli(share, validate_args=False), 1)
    done = ais_log_z(
        energy, (y.shape[1],), base=base, n_temps=TEMPERATURES, n_chains=CHAINS, sampler=GibbsWithGradients(1)
    )
    return done.log_z
