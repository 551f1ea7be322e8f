"""Drift: do new rows still come from where the rows came from that a model was judged on?

Four questions, each with a test whose p-value says how often rows of the same kind would differ as much.

* *Inputs*: the distribution of each feature column – Kolmogorov and Smirnov's test for numbers, with Fisher's of how
  many are missing where any is (the smaller p-value doubled), Pearson's χ² for words. The size of a difference is the
  population stability index PSI = Σ_b (a_b − e_b) log(a_b / e_b) over tenths of the earlier rows, or over words, with
  half a row added to each.
* *Outputs*: how often each event happens (`calibration.event_indicators`), Fisher's exact test.
* *Likelihood*: mean −log p of new rows less that of earlier ones, in nats, Mann and Whitney's test on the rows.
* *New combinations*: the share of new rows whose combination no training row had, against what Good and Turing expect
  of the training rows and what the model says itself.

p-values of all columns and events are adjusted together by Holm's method: without any drift, the chance that one of
them is called drifted is at most 5 %. Earlier rows must not be ones that the model was fitted to: their likelihood
would be flattered, and their combinations could not be new.

Sources: Holm, *Scandinavian Journal of Statistics* 1979; Siddiqi, *Credit Risk Scorecards* 2006 (PSI: 0.1 is little,
    0.25 is much).
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy import stats

from jebm_core.errors import TableError
from jebm_core.evaluation.calibration import event_indicators, event_names, wilson_interval
from jebm_core.evaluation.cohorts import ALPHA, MISSING, OTHERS, holm
from jebm_core.evaluation.likelihoods import likelihoods
from jebm_core.evaluation.measured import possible_rows
from jebm_core.evaluation.scores import json_ready
from jebm_core.evaluation.unseen import Share, good_turing, seen_mass
from jebm_core.fitted import FittedModel
from jebm_core.tables import Examples
from jebm_core.tables.cells import is_number
from jebm_core.tables.records import spelled_column

LEAST_ROWS = 20
MOST_WORDS = 20
"""Words of a column that are compared one by one; the rarer ones are taken together."""
MOST_ROWS = 2000
"""Rows of each table whose likelihood is computed, evenly chosen."""
_RESAMPLES = 1000


@final
@dataclass(frozen=True)
class Shift:
    """One column or event.

    Attributes:
        kind: ``numbers``, ``words`` or ``event``.
        before, after: median of numbers, share of the event; NaN for words.
        size: PSI of a column, difference of the shares of an event.
        adjusted: the p-value after Holm's method; drifted: it is at most 5 %.
    """

    name: str
    kind: str
    before: float
    after: float
    size: float
    p_value: float
    adjusted: float
    drifted: bool


@final
@dataclass(frozen=True)
class Drift:
    """New rows against earlier ones.

    Attributes:
        inputs, outputs: each column, each event.
        nll_before, nll_after: mean −log p in nats; nll_change: their difference with its 95 % interval (bootstrap over
            rows) and p-value.
        new_share: share of the new rows with a combination that no training row had.
        expected_new: Good and Turing's estimate of it from the training rows; stated_new: the model's.
    """

    rows_before: int
    rows_after: int
    inputs: tuple[Shift, ...]
    outputs: tuple[Shift, ...]
    nll_before: float
    nll_after: float
    nll_change: tuple[float, float, float, float]
    new_share: Share
    expected_new: Share
    stated_new: float

    @property
    def drifted(self) -> tuple[str, ...]:
        """What has drifted, among inputs, outputs, likelihood and combinations."""
        change, low, _, p = self.nll_change
        found = {
            "inputs": any(one.drifted for one in self.inputs),
            "outputs": any(one.drifted for one in self.outputs),
            "likelihood": change > 0 and low > 0 and p <= ALPHA,
            "combinations": self.new_share.low > self.expected_new.high,
        }
        return tuple(name for name, is_drifted in found.items() if is_drifted)

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold: NaN becomes None."""
        return json_ready(dataclasses.asdict(self) | {"drifted": list(self.drifted)})


@torch.no_grad()
def drift(model: FittedModel, before: Examples, after: Examples, *, seed: int = 0) -> Drift:
    """Compare rows that the model was judged on with new ones.

    Raises:
        TableError: fewer than 20 rows in either table, or all of them impossible under the rules of the model.

    Cost: the likelihood of at most 2,000 rows of each; sorting each column.
    """
    for examples in (before, after):
        if len(examples.keep) < LEAST_ROWS:
            raise TableError(
                "{file}: expected at least {least} complete rows to compare, found {count}; add rows.",
                file=examples.table.name,
                least=LEAST_ROWS,
                count=len(examples.keep),
            )
    inputs = [_column(name, _cells(before, name), _cells(after, name)) for name in model.record.features]
    old, new = (_happened(model, part) for part in (before, after))
    events = [_event(name, old[:, e], new[:, e]) for e, name in enumerate(event_names(model.space))]
    every = _adjusted([*inputs, *events])
    values = [_nll(model, part, seed) for part in (before, after)]
    found, seen_before, _ = possible_rows(model, after)
    count = len(seen_before)
    unseen = int((~model.seen.contains(seen_before)).sum())
    masses = [seen_mass(model, model.model(part), None) for _, part in model.chunks(found)]
    old_nll, new_nll = values
    return Drift(
        len(before.keep),
        len(after.keep),
        tuple(every[: len(inputs)]),
        tuple(every[len(inputs) :]),
        float(old_nll.mean()),
        float(new_nll.mean()),
        _change(old_nll, new_nll, seed),
        Share(unseen / count, *wilson_interval(unseen, count)),
        good_turing(model.seen.counts),
        1 - float(torch.cat(masses).mean()),
    )


def _cells(examples: Examples, name: str) -> pd.Series:
    return examples.table.frame[name].iloc[examples.keep]


def _column(name: str, before: pd.Series, after: pd.Series) -> Shift:
    texts = [[MISSING if text is None else text for text in spelled_column(part)] for part in (before, after)]
    known = [text for part in texts for text in part if text != MISSING]
    if known and all(is_number(text) for text in known) and len(set(texts[0])) > MOST_WORDS:
        numbers = [np.array([float(text) for text in part if text != MISSING]) for part in texts]
        if all(len(part) for part in numbers):
            edges = np.unique(np.quantile(numbers[0], np.linspace(0.1, 0.9, 9)))
            counts = [np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) for part in numbers]
            p = _p_value(stats.ks_2samp(numbers[0], numbers[1]))
            gaps = [np.array([text == MISSING for text in part]) for part in texts]
            if any(part.any() for part in gaps):
                p = min(1.0, 2 * min(p, _fisher(*gaps)))
            before_median, after_median = (float(np.median(part)) for part in numbers)
            return Shift(name, "numbers", before_median, after_median, _psi(*counts), p, 1.0, False)
    words, sizes = np.unique(np.array(texts[0] + texts[1]), return_counts=True)
    common = words[np.argsort(-sizes, kind="stable")[:MOST_WORDS]].tolist()
    place = {word: number for number, word in enumerate([*common, OTHERS])}
    counts = [np.bincount([place.get(t, len(common)) for t in part], minlength=len(place)) for part in texts]
    table = np.stack(counts)[:, np.sum(counts, 0) > 0]
    p = _p_value(stats.chi2_contingency(table)) if table.shape[1] > 1 else 1.0
    return Shift(name, "words", math.nan, math.nan, _psi(*table), p, 1.0, False)


def _psi(before: np.ndarray, after: np.ndarray) -> float:
    expected, actual = ((part + 0.5) / (part.sum() + 0.5 * len(part)) for part in (before, after))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def _happened(model: FittedModel, examples: Examples) -> Bool[np.ndarray, "row event"]:
    y = torch.from_numpy(examples.outputs.values)
    return event_indicators(model.space, y).bool().numpy()


def _event(name: str, before: Bool[np.ndarray, " row"], after: Bool[np.ndarray, " row"]) -> Shift:
    old, new = float(before.mean()), float(after.mean())
    return Shift(name, "event", old, new, new - old, _fisher(before, after), 1.0, False)


def _fisher(before: Bool[np.ndarray, " row"], after: Bool[np.ndarray, " row"]) -> float:
    """The p-value of a difference between two shares, by Fisher's exact test."""
    table = [[int(part.sum()), int((~part).sum())] for part in (before, after)]
    return _p_value(stats.fisher_exact(table))


def _p_value(result: Any) -> float:
    """Of a test of SciPy's, whose results have no type that a checker knows."""
    return float(result.pvalue)


def _adjusted(shifts: Sequence[Shift]) -> list[Shift]:
    values = holm([shift.p_value for shift in shifts])
    return [dataclasses.replace(shift, adjusted=p, drifted=p <= ALPHA) for shift, p in zip(shifts, values, strict=True)]


def _nll(model: FittedModel, examples: Examples, seed: int) -> Float[np.ndarray, " row"]:
    context, y, _ = possible_rows(model, examples)
    kept = torch.linspace(0, len(y) - 1, min(len(y), MOST_ROWS), device=y.device).round().long()
    return likelihoods(model, context.rows(kept), y[kept], seed, lambda _: None)[0]["nll_learned"]


def _change(
    before: Float[np.ndarray, " row"], after: Float[np.ndarray, " row"], seed: int
) -> tuple[float, float, float, float]:
    random = np.random.default_rng(seed)
    again = [part[random.integers(len(part), size=(_RESAMPLES, len(part)))].mean(1) for part in (before, after)]
    low, high = np.quantile(again[1] - again[0], [0.025, 0.975])
    p = _p_value(stats.mannwhitneyu(after, before, alternative="greater"))
    return float(after.mean() - before.mean()), float(low), float(high), p
