"""Methods that predict one ranking, made a distribution by Mallows' model around it; and Kendall's distance and τ.

Mallows: log p(y) = −θ·d(y, centre) − log Z(θ) with d the number of pairs in the other order and
Z(θ) = Π_j (1 − e^{−jθ}) / (1 − e^{−θ}), j from 1 to the number of items. Mallows 1957; Fligner and Verducci 1986.
θ is fitted by maximum likelihood to rankings of training rows that were predicted without the row itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.optimize import minimize_scalar

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.independent import folds

TREES = 300
_WIDEST, _NARROWEST = 1e-4, 20.0


def kendall_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of items in the other order, row by row; positions without ties."""
    first, second = np.triu_indices(a.shape[1], 1)
    return ((a[:, first] < a[:, second]) != (b[:, first] < b[:, second])).sum(1)


def kendall_tau(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 − 2·(share of pairs in the other order), row by row."""
    return 1 - 2 * kendall_distance(a, b) / comb(a.shape[1], 2)


def log_normaliser(theta: float, items: int) -> float:
    """log Z(θ), θ > 0."""
    j = np.arange(1, items + 1)
    return float((np.log(-np.expm1(-j * theta)) - np.log(-np.expm1(-theta))).sum())


def fit_dispersion(distance: np.ndarray, items: int) -> float:
    """θ of maximum likelihood for distances from the centre, and half a pair more: no ranking is certain."""
    mean = (float(distance.sum()) + 0.5) / (len(distance) + 1)
    found = minimize_scalar(
        lambda theta: theta * mean + log_normaliser(theta, items), bounds=(_WIDEST, _NARROWEST), method="bounded"
    )
    return float(found.x)


@dataclass(frozen=True)
class Mallows:
    """A centre a row and one dispersion for all."""

    centre: np.ndarray
    theta: float

    def answer(self) -> np.ndarray:
        """The centre is the mode, and has the largest expected τ."""
        return self.centre

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p in nats of one ranking a row."""
        items = y.shape[1]
        return -self.theta * kendall_distance(y, self.centre) - log_normaliser(self.theta, items)


def positions_of(scores: np.ndarray) -> np.ndarray:
    """Positions from 0 for scores of which the largest is preferred; ties go to the lower item number."""
    return (-scores).argsort(1, kind="stable").argsort(1)


def kemeny_embedding(positions: np.ndarray) -> np.ndarray:
    """+1 where item i stands before item j, else −1, for every pair i < j."""
    first, second = np.triu_indices(positions.shape[1], 1)
    return np.where(positions[:, first] < positions[:, second], 1.0, -1.0)


def borda(embedded: np.ndarray, items: int) -> np.ndarray:
    """The ranking by Σ_j (how much i is preferred to j)."""
    first, second = np.triu_indices(items, 1)
    scores = np.zeros((len(embedded), items))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        scores[:, i] += embedded[:, pair]
        scores[:, j] -= embedded[:, pair]
    return positions_of(scores)


def fit_forest(train: Rows, seed: int) -> Callable[[np.ndarray], Mallows]:
    """A random forest of 300 trees on positions; items in order of their predicted mean position."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, oob_score=True, random_state=seed).fit(train.x, train.y)
    out_of_bag = positions_of(-forest.oob_prediction_)
    theta = fit_dispersion(kendall_distance(train.y, out_of_bag), train.y.shape[1])
    return lambda x: Mallows(positions_of(-forest.predict(x)), theta)


def fit_kernel_ridge(train: Rows, seed: int) -> Callable[[np.ndarray], Mallows]:
    """Kernel ridge regression on the Kemeny embedding, decoded by Borda; width and penalty by three folds."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, cross_val_predict

    items, width, pairs = train.y.shape[1], train.x.shape[1], folds(train)
    embedded = kemeny_embedding(train.y)
    grid = {"alpha": [0.01, 0.03, 0.1, 0.3, 1.0], "gamma": [of / width for of in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)]}
    search = GridSearchCV(KernelRidge(kernel="rbf"), grid, scoring="neg_mean_squared_error", cv=pairs)
    chosen = search.fit(train.x, embedded).best_estimator_
    held_out = borda(cross_val_predict(KernelRidge(**chosen.get_params()), train.x, embedded, cv=pairs), items)
    theta = fit_dispersion(kendall_distance(train.y, held_out), items)
    return lambda x: Mallows(borda(chosen.predict(x), items), theta)
