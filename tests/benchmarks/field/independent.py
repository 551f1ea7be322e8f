"""Methods that predict each item by itself, or whose joint distribution is the product of what they say of each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.distributions import Product

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse strengths of the ridge penalty that logistic regressions choose among."""
FOLDS = 3
TREES, FEW_TREES, MANY_ITEMS = (25, 50, 100, 200), (25, 50, 100), 100
"""Numbers of boosted trees to choose among; fewer for more than so many items, since each has trees of its own."""

Subsets = Callable[[np.ndarray], Product]


def fit_each(make: Callable[[], Any], train: Rows) -> list[Any]:
    """One fitted classifier an item; a number where the item never varies: how often it would be present."""
    fitted = []
    for item in train.y.T:
        constant = (item == item[0]).all()
        fitted.append((item.sum() + 0.5) / (len(item) + 1) if constant else make().fit(train.x, item))
    return fitted


def predict_each(
    fitted: list[Any], x: np.ndarray, predict: Callable[[Any, np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """P(y_i = 1) [row, item]; ``predict`` says how to ask one classifier, where not by its ``predict_proba``."""
    ask = predict or (lambda one, x: one.predict_proba(x))
    columns = [np.full(len(x), one) if isinstance(one, float) else ask(one, x)[:, 1] for one in fitted]
    return np.stack(columns, 1)


def folds(train: Rows) -> list[tuple[np.ndarray, np.ndarray]]:
    """Three times the training rows that are inside and outside of a fold."""
    from sklearn.model_selection import KFold

    return list(KFold(FOLDS, shuffle=True, random_state=0).split(train.x))


def logistic(strength: float) -> Any:
    """One logistic regression, not fitted yet."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000)


def choose_strength(train: Rows) -> float:
    """The strength, one for all items, with the least −log p over three folds of the training rows."""

    def loss(strength: float) -> float:
        total = 0.0
        for inside, outside in folds(train):
            fitted = fit_each(partial(logistic, strength), train.part(inside))
            said = Product(predict_each(fitted, train.x[outside]))
            total -= said.log_prob(train.y[outside]).sum()
        return total

    return min(STRENGTHS, key=loss)


def fit_shares(train: Rows, seed: int) -> Subsets:
    """Independent items without features: how often each was present."""
    share = (train.y.sum(0) + 0.5) / (len(train.y) + 1)
    return lambda x: Product(np.tile(share, (len(x), 1)))


def fit_logistic(train: Rows, seed: int) -> Subsets:
    """Binary relevance: a logistic regression an item."""
    fitted = fit_each(partial(logistic, choose_strength(train)), train)
    return lambda x: Product(predict_each(fitted, x))


def fit_forest(train: Rows, seed: int) -> Subsets:
    """One random forest of 300 trees for all items."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, random_state=seed).fit(train.x, train.y)

    def predict(x: np.ndarray) -> Product:
        columns = []
        for said, classes in zip(forest.predict_proba(x), forest.classes_, strict=True):
            columns.append(said @ classes)  # the share of class 1, also where there is one class
        return Product(np.stack(columns, 1))

    return predict


def fit_network(train: Rows, seed: int) -> Subsets:
    """A network of one hidden layer with 128 units, stopped early on 10 % of the training rows."""
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier((128,), early_stopping=True, max_iter=500, random_state=seed).fit(train.x, train.y)
    return lambda x: Product(network.predict_proba(x))


def fit_lightgbm(train: Rows, seed: int) -> Subsets:
    """Boosted trees, one LightGBM an item; how many trees, three folds of the training rows say."""
    from lightgbm import LGBMClassifier

    def make(trees: int) -> Any:
        shared = {"subsample": 0.8, "subsample_freq": 1, "colsample_bytree": 0.5, "n_jobs": 1, "verbose": -1}
        return LGBMClassifier(n_estimators=trees, learning_rate=0.05, num_leaves=15, random_state=seed, **shared)

    return _fit_boosted(make, lambda one, x, trees: one.predict_proba(x, num_iteration=trees), train)


def fit_xgboost(train: Rows, seed: int) -> Subsets:
    """Boosted trees, one XGBoost an item; how many trees, three folds of the training rows say."""
    from xgboost import XGBClassifier

    def make(trees: int) -> Any:
        shared = {"subsample": 0.8, "colsample_bytree": 0.5, "n_jobs": 1}
        return XGBClassifier(n_estimators=trees, learning_rate=0.05, max_depth=4, random_state=seed, **shared)

    return _fit_boosted(make, lambda one, x, trees: one.predict_proba(x, iteration_range=(0, trees)), train)


def _fit_boosted(
    make: Callable[[int], Any], predict: Callable[[Any, np.ndarray, int], np.ndarray], train: Rows
) -> Subsets:
    """The number of trees, one for all items, with the least −log p over the folds; then all training rows."""
    candidates = FEW_TREES if train.y.shape[1] > MANY_ITEMS else TREES
    loss = dict.fromkeys(candidates, 0.0)
    for inside, outside in folds(train):
        fitted = fit_each(partial(make, max(candidates)), train.part(inside))
        for trees in candidates:
            said = predict_each(fitted, train.x[outside], partial(_first, predict, trees))
            loss[trees] -= Product(said).log_prob(train.y[outside]).sum()
    chosen = min(candidates, key=lambda trees: loss[trees])
    fitted = fit_each(partial(make, chosen), train)
    return lambda x: Product(predict_each(fitted, x))


def _first(predict: Callable[[Any, np.ndarray, int], np.ndarray], trees: int, one: Any, x: np.ndarray) -> np.ndarray:
    return predict(one, x, trees)
