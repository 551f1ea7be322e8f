"""Numbers about candidate generators that need neither a page nor a model: shares of the data, paired differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.text.numbers import Interval
from jebm_core.tables import OutputSchema

FEWEST_PAIRS: Final = 8
"""Rows that two generators must both be able to draw before a difference between them is stated."""
RESAMPLES: Final = 2000


def space_size(schema: OutputSchema) -> int:
    """Return how many combinations there are without any rule; exact.

    >>> space_size(OutputSchema("rankings", ("a", "b", "c"), ("r_a", "r_b", "r_c"), ()))
    6
    """
    if schema.kind == "rankings":
        return math.factorial(len(schema.names))
    if schema.kind == "subsets":
        return 2 ** len(schema.names)
    return math.prod(len(options) for options in schema.options)


def data_shares(schema: OutputSchema, values: npt.NDArray[np.int64]) -> list[float]:
    """Return how often rows hold each item, option of a slot, or item in a place, in the order of the rules' own.

    >>> schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ())
    >>> data_shares(schema, np.array([[1, 0], [1, 1]]))
    [1.0, 0.5]
    """
    if schema.kind == "subsets":
        return values.mean(axis=0).tolist()
    places = schema.kind == "rankings"
    sizes = [len(schema.names) if places else len(schema.options[slot]) for slot in range(len(schema.names))]
    return [float((values[:, place] == code).mean()) for place, size in enumerate(sizes) for code in range(size)]


def distinct_combinations(values: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many different combinations the rows hold, and how many of them are valid."""
    return len(np.unique(values, axis=0)), len(np.unique(values[valid], axis=0))


@dataclass(frozen=True)
class Paired:
    """How much one generator gains on another, row by row, in nats.

    Attributes:
        rows: held-out rows that both can draw.
        gain: mean of log q of the first minus that of the second, with its bootstrap interval; None with too few rows.
    """

    rows: int
    gain: Interval | None

    @property
    def is_clear(self) -> bool:
        """Whether chance alone hardly explains the difference."""
        return self.gain is not None and (self.gain.low > 0 or self.gain.high < 0)


def paired(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], seed: int = 0) -> Paired:
    """Compare two generators on the rows that both can draw.

    >>> found = paired(np.full(20, -1.0), np.full(20, -3.0))
    >>> found.rows, found.gain
    (20, Interval(value=2.0, low=2.0, high=2.0))
    """
    both = np.isfinite(first) & np.isfinite(second)
    difference = first[both] - second[both]
    rows = len(difference)
    if rows < FEWEST_PAIRS:
        return Paired(rows, None)
    drawn = np.random.default_rng(seed).integers(rows, size=(RESAMPLES, rows))
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return Paired(rows, Interval(float(difference.mean()), float(low), float(high)))


def mean_over(values: npt.NDArray[np.float64], rows: npt.NDArray[np.bool_]) -> float | None:
    """Return the mean over some rows, or nothing where there are none.

    >>> mean_over(np.array([1.0, 3.0]), np.array([False, False])) is None
    True
    """
    return float(values[rows].mean()) if rows.any() else None


def order_of(coverage: Sequence[float], mean_log_q: Sequence[float | None]) -> list[int]:
    """Return the generators from the best: first by the share of past rows covered, then by mean log q.

    >>> order_of([1.0, 0.9, 1.0], [-5.0, -1.0, -4.0])
    [2, 0, 1]
    """
    worst = -math.inf
    return sorted(
        range(len(coverage)),
        key=lambda i: (-round(coverage[i], 4), -(worst if (value := mean_log_q[i]) is None else value)),
    )
