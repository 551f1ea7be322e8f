"""One answer a row from a distribution over subsets, by three rules that are the same for every method.

half  every item whose probability is above 0.5
map   the most probable subset
f1    the subset with the largest expected F1, exactly: the general F-measure maximiser of Waegeman, Dembczyński,
      Jachnik, Cheng, Hüllermeier (JMLR 2014), which needs P(item i is present and the size is s)
"""

from typing import Protocol

import numpy as np

RULES = ("half", "map", "f1")


class Distribution(Protocol):
    """What a method says of each row."""

    def marginals(self) -> np.ndarray:
        """P(y_i = 1) [row, item]."""

    def mode(self) -> np.ndarray:
        """The most probable subset [row, item]."""

    def with_size(self) -> np.ndarray:
        """P(y_i = 1, |y| = s) [row, item, s − 1], s from 1."""

    def log_prob(self, y: np.ndarray) -> np.ndarray:
        """log p(y) in nats [row] of one subset a row."""


def sizes_without_each(p: np.ndarray) -> np.ndarray:
    """P(s of the other items are present) [row, item, s], s from 0, of independent items with probabilities p.

    Splits the items in halves and multiplies the one half into what is left of the other: nothing is divided or
    subtracted, so that no digit is lost. Cost O(item² · log item) a row.
    """
    rows, items = p.shape
    found = np.zeros((rows, items, items))
    start = np.zeros((rows, items))
    start[:, 0] = 1

    def descend(sizes: np.ndarray, first: int, last: int) -> None:
        if last - first == 1:
            found[:, first] = sizes
            return
        middle = (first + last) // 2
        descend(_with_items(sizes, p[:, middle:last]), first, middle)
        descend(_with_items(sizes, p[:, first:middle]), middle, last)

    descend(start, 0, items)
    return found


def _with_items(sizes: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The distribution of the size once these independent items have been added."""
    for item in range(p.shape[1]):
        present = p[:, item, None]
        grown = np.zeros_like(sizes)
        grown[:, 1:] = sizes[:, :-1]
        sizes = (1 - present) * sizes + present * grown
    return sizes


def maximise_f1(with_size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The subset with the largest expected F1 and that F1, where F1 of two empty subsets is 0.

    E[F1] of a subset of l items is the sum of Σ_s P(y_i = 1, |y| = s) · 2 / (s + l) over its items. Ties go to the
    smaller subset, then to the lower item numbers.

    Args:
        with_size: P(y_i = 1, |y| = s) [row, item, s − 1].
    """
    rows, items, _ = with_size.shape
    count = np.arange(1, items + 1)
    gain = with_size @ (2 / (count[:, None] + count)).astype(with_size.dtype)  # [row, item, l − 1]
    order = np.argsort(-gain, axis=1, kind="stable")
    by_size = np.take_along_axis(gain, order, 1).cumsum(1).diagonal(axis1=1, axis2=2)
    f1 = np.concatenate([np.zeros((rows, 1), by_size.dtype), by_size], 1)
    best = f1.argmax(1)
    column = order[np.arange(rows), :, np.maximum(best - 1, 0)]
    answer = np.zeros((rows, items), dtype=np.int64)
    np.put_along_axis(answer, column, (np.arange(items) < best[:, None]).astype(np.int64), 1)
    return answer, f1.max(1)


def example_f1(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """2·|truth ∩ answer| / (|truth| + |answer|) row by row, 0 where both are empty."""
    return 2 * (truth * answer).sum(1) / np.maximum(truth.sum(1) + answer.sum(1), 1)


def score_subsets(said: Distribution, truth: np.ndarray) -> dict[str, np.ndarray]:
    """F1 of the answer by each rule, and joint −log p in nats, a number a row."""
    answers = {
        "half": (said.marginals() > 0.5).astype(np.int64),
        "map": said.mode(),
        "f1": maximise_f1(said.with_size())[0],
    }
    return {**{rule: example_f1(truth, answers[rule]) for rule in RULES}, "nll": -said.log_prob(truth)}
