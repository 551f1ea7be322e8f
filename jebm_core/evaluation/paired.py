"""Is one run better than another, and is the difference real? Row by row, on rows that neither was fitted to.

With s_i and s′_i the scores of two runs on the same held-out row i, the gain is

    ḡ = (1/n) Σ_i (s_i − s′_i)        (turned round where more is better)

Its interval is the percentile bootstrap: n rows are drawn with replacement, both runs on the same draw, and the gain is
computed again. What makes a row hard for both cancels in the difference, so that pairs tell far smaller differences
apart than two intervals side by side. Calibration errors are no means over rows; they are computed anew from each draw.

Where no rows are shared, `unpaired` combines two intervals instead, and says less.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int64

from jebm_core.errors import SpecError
from jebm_core.evaluation.calibration import Resamples, event_names, resampled_error
from jebm_core.evaluation.measured import Measured
from jebm_core.fitted import FittedModel
from jebm_core.tables import Examples

LOWER_IS_BETTER = ("nll", "log_partition", "ece_marginal", "ece_joint", "brier", "hamming_loss", "reference")
HIGHER_IS_BETTER = ("f1", "kendall_tau", "right")
RECORDED = {"right": "subset_accuracy", "reference": "nll_reference"}
"""What a score is called in an evaluation record, where it has another name there."""
RESAMPLES = 2000
FEWEST_PAIRS = 8
"""Rows that two runs must share before a difference between them is stated."""
_NUMBERS = 2**24  # of counts held at once


@final
@dataclass(frozen=True, eq=False)
class RowScores:
    """Held-out rows of a run, scored one by one.

    Attributes:
        table: SHA-256 of the file; columns: of the outputs.
        rows: places of the rows in that file, in growing order; y: what was observed there.
        means: scores whose mean counts, a number a row, NaN where there is none: ``nll`` −log p and ``reference``
            −log q of the candidate generator, in nats; ``log_partition`` |τ − log Z| in nats, for the divergence KL;
            ``f1``, ``kendall_tau``, ``hamming_loss``, ``right`` (whether the likeliest combination was it), ``brier``.
        events: names; stated: probability of each event; happened: whether it did.
        top: probability of the likeliest combination.
    """

    table: str
    columns: tuple[str, ...]
    rows: Int64[np.ndarray, " row"]
    y: Int64[np.ndarray, "row item"]
    means: Mapping[str, Float[np.ndarray, " row"]]
    events: tuple[str, ...]
    stated: Float[np.ndarray, "row event"]
    happened: Bool[np.ndarray, "row event"]
    top: Float[np.ndarray, " row"]

    def at(self, places: Int64[np.ndarray, " some"]) -> "RowScores":
        """Some of the rows, by their places here."""
        return RowScores(
            self.table,
            self.columns,
            self.rows[places],
            self.y[places],
            {name: values[places] for name, values in self.means.items()},
            self.events,
            self.stated[places],
            self.happened[places],
            self.top[places],
        )


@final
@dataclass(frozen=True)
class Gain:
    """What the second run gains on the first by one score; positive is better, whichever way the score counts.

    Attributes:
        rows: pairs behind it; 0 where rows were not paired.
        low, high: of the gain.
    """

    name: str
    rows: int
    first: float
    second: float
    gain: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether chance alone hardly explains it."""
        return self.low > 0 or self.high < 0


@final
@dataclass(frozen=True)
class Paired:
    """Two runs on the rows that both held out.

    Attributes:
        rows: how many; only_first, only_second: rows besides that only one of them has.
    """

    rows: int
    only_first: int
    only_second: int
    gains: tuple[Gain, ...]


def row_scores(model: FittedModel, examples: Examples, measured: Measured) -> RowScores:
    """Arrange what `measure(model, examples)` found by the rows of the file."""
    rows, audited = measured.rows, measured.audited.cpu().numpy()

    def of_all(values: np.ndarray) -> np.ndarray:
        found = np.full(len(measured.places), np.nan)
        found[audited] = values
        return found

    means = {name: rows[name] for name in ("f1", "kendall_tau", "hamming_loss", "right", "brier")}
    means |= {"nll": of_all(measured.nll["nll"]), "reference": of_all(measured.nll["nll_reference"])}
    if model.model.divergence.name == "kl":  # −log p differs by exactly as much as the log-partition does
        means["log_partition"] = np.abs(of_all(measured.nll["nll_learned"]) - means["nll"])
    return RowScores(
        examples.table.sha256,
        model.record.schema.columns,
        np.asarray(examples.keep)[measured.places].astype(np.int64),
        measured.y.cpu().numpy(),
        means,
        tuple(event_names(model.space)),
        rows["events"],
        measured.happened,
        rows["top"],
    )


def paired(
    first: RowScores, second: RowScores, *, alpha: float = 0.05, resamples: int = RESAMPLES, seed: int = 0
) -> Paired:
    """What the second run gains on the first, on the rows that both have.

    Args:
        alpha: share of intervals that may miss the truth; for k comparisons at once give 0.05 / k.

    Raises:
        SpecError: other data or outputs, or fewer than `FEWEST_PAIRS` rows in common.

    Cost: resamples · rows · bins.
    """
    if (first.table, first.columns) != (second.table, second.columns):
        raise SpecError("The runs were judged on other data or other outputs, so their rows can't be paired.")
    common, left, right = np.intersect1d(first.rows, second.rows, return_indices=True)
    if len(common) < FEWEST_PAIRS:
        raise SpecError(
            "The runs held out {count} rows in common, and {least} or more are needed to pair them. Train one again "
            "with the split of the other.",
            count=len(common),
            least=FEWEST_PAIRS,
        )
    a, b = first.at(left), second.at(right)
    if not np.array_equal(a.y, b.y):
        raise SpecError("The runs read the outputs of the same rows differently, so their rows can't be paired.")
    gains = [
        _of_means(name, a.means[name], b.means[name], alpha, resamples, seed)
        for name in (*LOWER_IS_BETTER, *HIGHER_IS_BETTER)
        if name in a.means and name in b.means
    ]
    if a.events == b.events:
        gains.append(_of_errors("ece_marginal", (a.stated, a.happened), (b.stated, b.happened), alpha, resamples, seed))
    tops = [(x.top[:, None], x.means["right"][:, None] == 1) for x in (a, b)]
    gains.append(_of_errors("ece_joint", tops[0], tops[1], alpha, resamples, seed))
    order = (*LOWER_IS_BETTER, *HIGHER_IS_BETTER)
    known = sorted((gain for gain in gains if gain is not None), key=lambda gain: order.index(gain.name))
    return Paired(len(common), len(first.rows) - len(common), len(second.rows) - len(common), tuple(known))


def unpaired(name: str, first: tuple[float, float, float], second: tuple[float, float, float]) -> Gain:
    """The gain from two scores and their intervals (value, low, high), as if their rows were independent.

    The limits are those of Zou and Donner (2008): distances of the two intervals' ends, put together like the sides of
    a right angle.

    >>> found = unpaired("nll", (2.0, 1.7, 2.3), (1.0, 0.6, 1.4))
    >>> found.gain, round(found.low, 3), round(found.high, 3)
    (1.0, 0.5, 1.5)
    """
    whole, part = (first, second) if name in LOWER_IS_BETTER else (second, first)
    gain = whole[0] - part[0]
    low = gain - float(np.hypot(whole[0] - whole[1], part[2] - part[0]))
    high = gain + float(np.hypot(whole[2] - whole[0], part[0] - part[1]))
    return Gain(name, 0, first[0], second[0], gain, low, high)


def _of_means(name: str, first: np.ndarray, second: np.ndarray, alpha: float, resamples: int, seed: int) -> Gain | None:
    both = np.isfinite(first) & np.isfinite(second)
    rows = int(both.sum())
    if rows < FEWEST_PAIRS:
        return None
    gains = _turned(name, first[both] - second[both])
    again = np.concatenate([counts @ gains / rows for counts in _draws(rows, resamples, seed)])
    low, high = np.quantile(again, [alpha / 2, 1 - alpha / 2])
    ends = float(first[both].mean()), float(second[both].mean())
    return Gain(name, rows, *ends, float(gains.mean()), float(low), float(high))


def _of_errors(
    name: str,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    alpha: float,
    resamples: int,
    seed: int,
) -> Gain:
    rows, old, new, again = len(first[0]), 0.0, 0.0, []
    for counts in _draws(rows, resamples, seed):
        draws = Resamples(counts, counts)  # the signs are for another question
        (old, old_again), (new, new_again) = (resampled_error(stated, true, draws) for stated, true in (first, second))
        again.append(old_again - new_again)
    gains = np.concatenate(again)
    # A draw adds noise that errors don't cancel: its excess is taken off, as for the error itself.
    excess = float(gains.mean()) - (old - new)
    low, high = np.quantile(gains, [alpha / 2, 1 - alpha / 2]) - excess
    return Gain(name, rows, old, new, old - new, float(min(low, old - new)), float(max(high, old - new)))


def _turned(name: str, values: np.ndarray) -> np.ndarray:
    return values if name in LOWER_IS_BETTER else -values


def _draws(rows: int, resamples: int, seed: int) -> Iterable[np.ndarray]:
    """How often each row occurs in each draw, some draws at a time; the same ones for every score of as many rows."""
    if rows * resamples <= _NUMBERS:
        return (_drawn_at_once(rows, resamples, seed),)
    return _drawn_in_parts(rows, resamples, seed, max(1, _NUMBERS // rows))


@lru_cache(maxsize=1)
def _drawn_at_once(rows: int, resamples: int, seed: int) -> np.ndarray:
    return next(iter(_drawn_in_parts(rows, resamples, seed, resamples)))


def _drawn_in_parts(rows: int, resamples: int, seed: int, size: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for start in range(0, resamples, size):
        yield random.multinomial(rows, np.full(rows, 1 / rows), size=min(size, resamples - start)).astype(np.float64)
