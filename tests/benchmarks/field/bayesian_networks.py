"""Bayesian networks over items by pyAgrum: structure by greedy hill climbing, tables smoothed by half a row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.benchmarks.field.data import Rows

SMOOTHING = 0.5


@dataclass(frozen=True)
class Network:
    """For each item its probability table, and the items that the axes of the table stand for."""

    tables: tuple[tuple[tuple[int, ...], np.ndarray], ...]

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p in nats, a row each."""
        return sum((np.log(table[tuple(y[:, i] for i in items)]) for items, table in self.tables), np.zeros(len(y)))


def fit_bdeu(train: Rows, seed: int) -> Callable[[np.ndarray], Network]:
    """Structure by the BDeu score."""
    return _fit(train, "useScoreBDeu")


def fit_bic(train: Rows, seed: int) -> Callable[[np.ndarray], Network]:
    """Structure by the BIC score."""
    return _fit(train, "useScoreBIC")


def _fit(train: Rows, score: str) -> Callable[[np.ndarray], Network]:
    import pandas as pd
    import pyagrum

    pyagrum.setNumberOfThreads(1)
    names = [f"y{item}" for item in range(train.y.shape[1])]
    frame, template = pd.DataFrame(train.y, columns=names), pyagrum.BayesNet()
    for name in names:
        template.add(pyagrum.RangeVariable(name, name, 0, 1))
    structure = pyagrum.BNLearner(frame, template)
    getattr(structure, score)()
    structure.useGreedyHillClimbing()
    structure.useNoPrior()
    numbers = pyagrum.BNLearner(frame, template)
    numbers.useSmoothingPrior(SMOOTHING)
    learned = numbers.learnParameters(structure.learnDAG())
    network = Network(tuple(_table(learned.cpt(name)) for name in names))
    return lambda x: network


def _table(cpt: Any) -> tuple[tuple[int, ...], np.ndarray]:
    """The axes of the array run against the order of the names."""
    return tuple(int(name[1:]) for name in reversed(cpt.names)), cpt.toarray()
