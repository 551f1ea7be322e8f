"""Ensembles of classifier chains: each item is predicted from the features and the items before it.

A chain is a joint distribution by the product rule; the ensemble is the even mixture of its chains. Read, Pfahringer,
Holmes, Frank, ECML 2009; Dembczyński, Cheng, Hüllermeier, ICML 2010 (the chain as a probability).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import logit, logsumexp

from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.distributions import LEAST, Drawn, Listing, all_subsets
from tests.benchmarks.field.independent import choose_strength, fit_each, logistic

CHAINS = 10
MOST_LISTED = 14
"""Items up to which every subset is listed; above, decisions rest on draws."""
DRAWS = 100
"""Of every chain, a row."""
_LIMIT = -logit(LEAST)


@dataclass(frozen=True)
class Chain:
    """One chain of logistic regressions: log-odds(item order[j]) = a[j] + x·b[:, j] + Σ_{i < j} y[order[i]]·c[i, j]."""

    order: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    @classmethod
    def fit(cls, train: Rows, order: np.ndarray, strength: float) -> "Chain":
        """Regress each item on the features and the items before it."""
        items, width = len(order), train.x.shape[1]
        a, b, c = np.zeros(items), np.zeros((width, items)), np.zeros((items, items))
        for j, item in enumerate(order):
            seen = np.concatenate([train.x, train.y[:, order[:j]]], 1)
            [one] = fit_each(partial(logistic, strength), Rows(seen, train.y[:, [item]], train.ids))
            if isinstance(one, float):  # the item never varies
                a[j] = logit(one)
            else:
                a[j], b[:, j], c[:j, j] = one.intercept_[0], one.coef_[0, :width], one.coef_[0, width:]
        return cls(order, a, b, c)

    def log_prob(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """log p(y | x) [row, subset] of subsets [row, subset, item] or, the same for all rows, [subset, item]."""
        chosen = y[..., self.order]
        odds = (self.a + x @ self.b)[:, None, :] + chosen @ self.c
        return _log_bernoulli(odds, chosen).sum(-1)

    def listed(self, x: np.ndarray) -> np.ndarray:
        """log p [row, subset] of every subset, in the order of `all_subsets`.

        Grown item by item, so that a beginning that many subsets share is computed once.
        """
        begun = np.zeros((len(x), 1))
        alone = self.a + x @ self.b
        for j in range(len(self.order)):
            coupling = all_subsets(j) @ self.c[:j, j]
            odds = alone[:, j, None] + coupling
            begun = np.concatenate([begun + _log_bernoulli(odds, y) for y in (0, 1)], 1)
        place = all_subsets(len(self.order))[:, self.order] @ (1 << np.arange(len(self.order)))
        return begun[:, place]

    def draw(self, x: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        """Independent draws [row, draw, item]."""
        drawn = np.zeros((len(x), count, len(self.order)), dtype=np.int8)
        alone = self.a + x @ self.b
        for j, item in enumerate(self.order):
            odds = alone[:, j, None] + drawn[..., self.order[:j]] @ self.c[:j, j]
            odds = np.clip(odds, -_LIMIT, _LIMIT)
            drawn[..., item] = random.random(odds.shape) < 1 / (1 + np.exp(-odds))
        return drawn


def _log_bernoulli(odds: np.ndarray, y: np.ndarray | int) -> np.ndarray:
    """log P(y) of log-odds, clipped as every probability is."""
    odds = np.clip(odds, -_LIMIT, _LIMIT)
    return y * odds - np.logaddexp(0, odds)


def fit_chains(train: Rows, seed: int) -> Callable[[np.ndarray], Listing | Drawn]:
    """Ten chains in random orders, with the penalty that suits the items by themselves."""
    random = np.random.default_rng(seed)
    items, strength = train.y.shape[1], choose_strength(train)
    chains = [Chain.fit(train, random.permutation(items), strength) for _ in range(CHAINS)]
    return lambda x: mixture(chains, x, seed)


def mixture(chains: list[Chain], x: np.ndarray, seed: int = 0) -> Listing | Drawn:
    """The even mixture: listed where there are few items, else drawn by seed."""
    items = len(chains[0].order)
    if items <= MOST_LISTED:
        total = np.full((len(x), 2**items), -np.inf)
        for chain in chains:
            np.logaddexp(total, chain.listed(x), out=total)
        return Listing(all_subsets(items), total - np.log(len(chains)))

    def density(y: np.ndarray) -> np.ndarray:
        return logsumexp([chain.log_prob(x, y) for chain in chains], axis=0) - np.log(len(chains))

    random = np.random.default_rng(seed)
    y = np.concatenate([chain.draw(x, DRAWS, random) for chain in chains], 1)
    log_density = np.concatenate([density(y[:, i : i + DRAWS]) for i in range(0, y.shape[1], DRAWS)], 1)
    return Drawn(y, log_density, lambda truth: density(truth[:, None])[:, 0])
