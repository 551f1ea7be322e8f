"""Label powerset: every set that occurred in training is a class of one softmax regression."""

from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.distributions import Listing
from tests.benchmarks.field.independent import STRENGTHS, folds, logistic

EVEN = 0.05
"""Share of the even distribution over all subsets, without which a new set would be impossible."""


def fit_powerset(train: Rows, seed: int) -> Callable[[np.ndarray], Listing]:
    """Logistic regression over observed sets, with the penalty of the least −log p over three folds."""
    pairs = folds(train)

    def loss(strength: float) -> float:
        return sum(_loss(_fit(train.part(inside), strength), train.part(outside)) for inside, outside in pairs)

    return _fit(train, min(STRENGTHS, key=loss))


def _fit(train: Rows, strength: float) -> Callable[[np.ndarray], Listing]:
    subsets, code = np.unique(train.y, axis=0, return_inverse=True)
    regression = logistic(strength).fit(train.x, code.reshape(-1))

    def predict(x: np.ndarray) -> Listing:
        scores = regression.decision_function(x)
        if scores.ndim == 1:  # two classes have one score
            scores = np.stack([np.zeros_like(scores), scores], 1)
        return Listing(subsets, log_softmax(scores.astype(np.float64), 1), EVEN)

    return predict


def _loss(predict: Callable[[np.ndarray], Listing], outside: Rows) -> float:
    return -predict(outside.x).log_prob(outside.y).sum()
