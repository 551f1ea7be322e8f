"""How much more rows would help: −log p of unseen rows against the number of rows that a fit had, and where that leads.

    nll(n) = a + b n^−c,      b ≥ 0,  0.25 ≤ c ≤ 1.5

a is what no number of rows improves on; b n^−c is what they are still missing. Fits to growing parts of the rows, each
part within the next, are judged on the same rows, which none of them has seen. The curve is fitted by weighted least
squares, c on a grid; its uncertainty is a bootstrap over judged rows and repetitions together. An extrapolation is a
guess about a law; it's given up to `FURTHEST` times the rows at hand, and its interval says how little may be known.

Sources: Hestness and others, arXiv 1712.00409 (the law); Viering and Loog, *IEEE TPAMI* 2023 (a survey, with its
    exceptions).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int64

from jebm_core.errors import Cancelled, SpecError
from jebm_core.evaluation.likelihoods import likelihoods
from jebm_core.fitting import fit
from jebm_core.settings import FitSettings
from jebm_core.splits import split_examples
from jebm_core.tables import Examples

SHARES = (0.125, 0.25, 0.5, 1.0)
LEAST_ROWS = 24
"""A part with fewer rows is left out: a fit needs more than 20."""
FURTHEST = 16
RATES = tuple(round(0.25 + 0.05 * step, 2) for step in range(26))
RESAMPLES = 400
PREDICTORS = ("nll", "nll_independent", "nll_frequency")


class PowerLaw(NamedTuple):
    """a + b n^−c in nats."""

    floor: float
    scale: float
    rate: float

    def at(self, rows: float) -> float:
        """nll of a fit to so many rows."""
        return self.floor + self.scale * rows**-self.rate


@final
@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, in nats or rows."""

    value: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class LearningCurve:
    """−log p of the judged rows after fits to growing parts of the others.

    Attributes:
        rows: how many rows each part has, growing.
        nll: [part], mean over rows and repetitions, with intervals of that mean; nll_independent and nll_frequency are
            the means of the baselines (NaN where there is none).
        law: the curve through them; None where the largest part isn't better than the smallest beyond chance, so that
            nothing can be said about more rows.
        missing: what the fit to all rows still misses, b n^−c.
        ahead: for each of `multiples` of the rows, the expected nll.
        halving: how many more rows would halve the error of a probability; `FURTHEST` times the rows stands for that
            many or more.
    """

    judged: int
    repeats: int
    rows: tuple[int, ...]
    nll: tuple[Estimate, ...]
    nll_independent: tuple[float, ...]
    nll_frequency: tuple[float, ...]
    law: PowerLaw | None
    missing: Estimate | None
    multiples: tuple[int, ...] = (2, 4, 8)
    ahead: tuple[Estimate, ...] = ()
    halving: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold: NaN becomes None."""
        return {
            "judged": self.judged,
            "repeats": self.repeats,
            "rows": list(self.rows),
            "nll": [vars(one) for one in self.nll],
            "nll_independent": [None if math.isnan(v) else v for v in self.nll_independent],
            "nll_frequency": list(self.nll_frequency),
            "law": None if self.law is None else self.law._asdict(),
            "missing": None if self.missing is None else vars(self.missing),
            "ahead": [{"rows": self.rows[-1] * m, **vars(e)} for m, e in zip(self.multiples, self.ahead, strict=False)],
            "halving": None if self.halving is None else vars(self.halving),
            "furthest": self.rows[-1] * FURTHEST,
        }


def learning_curve(
    examples: Examples,
    settings: FitSettings = FitSettings(),  # noqa: B008 - frozen
    *,
    repeats: int = 3,
    fraction: float = 0.25,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **given: Any,
) -> LearningCurve:
    """Fit parts of the rows, judge each on rows that none has seen, and say where it leads.

    Args:
        repeats: orders in which the rows are added.
        fraction: share of the rows that only judge.
        given: what else a fit is given: ``rules``, ``candidates`` and the like.

    Raises:
        SpecError: too few rows for two parts of different size.
        Cancelled: ``should_stop`` said so.

    Cost: about two fits a repetition.
    """
    train, test = split_examples(examples, fraction, "rows", settings.seed)
    total = len(train.keep)
    sizes = sorted({round(share * total) for share in SHARES if round(share * total) >= LEAST_ROWS})
    if len(sizes) < 2 or repeats < 1:
        raise SpecError(
            "Learning curve: expected at least {least} rows and 1 repetition, found {rows} and {repeats}; add rows.",
            least=math.ceil(2 * LEAST_ROWS / (1 - fraction)),
            rows=len(examples.keep),
            repeats=repeats,
        )
    found = np.zeros((len(PREDICTORS), repeats, len(sizes), len(test.keep)))
    generator, done, of = np.random.default_rng(settings.seed), 0, repeats * sum(sizes)
    for repeat in range(repeats):
        order = generator.permutation(total)
        for place, size in enumerate(sizes):
            if should_stop is not None and should_stop():
                raise Cancelled("The learning curve was stopped on request.")
            part = np.zeros(total, dtype=bool)
            part[order[:size]] = True
            own = replace(settings, seed=(settings.seed + repeat) % 2**31, replicates=0)
            found[:, repeat, place] = _judged(train.part(part), test, own, should_stop, given)
            done += size
            if on_progress is not None:
                on_progress(done / of)
    return curve_of(np.array(sizes), found, seed=settings.seed)


def _judged(
    part: Examples,
    test: Examples,
    settings: FitSettings,
    should_stop: Callable[[], bool] | None,
    given: dict[str, Any],
) -> Float[np.ndarray, "predictor row"]:
    model = fit(part, settings, should_stop=should_stop, **given).model
    context = model.context(test.table.part(test.keep))
    y = torch.from_numpy(test.outputs.values).to(model.device)
    values = likelihoods(model, context, y, settings.seed, lambda _: None)[0]
    return np.stack([values[name] for name in PREDICTORS])


def curve_of(
    sizes: Int64[np.ndarray, " part"], found: Float[np.ndarray, "predictor repeat part row"], *, seed: int = 0
) -> LearningCurve:
    """The curve of these −log p, with a bootstrap over rows and repetitions."""
    nll = found[0]
    repeats, _, judged = nll.shape
    means, generator = nll.mean((0, 2)), np.random.default_rng(seed)
    again = []
    for _ in range(RESAMPLES):
        rows, orders = generator.integers(judged, size=judged), generator.integers(repeats, size=repeats)
        again.append(nll[orders][:, :, rows].mean((0, 2)))
    resampled = np.array(again)
    spread = np.maximum(resampled.std(0), 1e-9)
    gain = resampled[:, 0] - resampled[:, -1]
    intervals = [Estimate(float(m), *_quantiles(resampled[:, i])) for i, m in enumerate(means)]
    helps = float(np.quantile(gain, 0.025)) > 0
    n = float(sizes[-1])
    law = fit_power_law(sizes, means, spread) if helps else None
    laws = (
        [PowerLaw(*map(float, one)) for one in _nearest_laws(sizes.astype(float), resampled, spread)] if helps else []
    )

    def estimate(what: Callable[[PowerLaw], float]) -> Estimate:
        assert law is not None
        return Estimate(what(law), *_quantiles(np.array([what(one) for one in laws])))

    curve = LearningCurve(
        judged,
        repeats,
        tuple(int(size) for size in sizes),
        tuple(intervals),
        tuple(float(v) for v in found[1].mean((0, 2))),
        tuple(float(v) for v in found[2].mean((0, 2))),
        law,
        None if law is None else estimate(lambda one: one.at(n) - one.floor),
    )
    if law is None:
        return curve
    ahead = tuple(estimate(lambda one, m=m: one.at(m * n)) for m in curve.multiples)
    # An error of the model is about √(2 · missing): half of it takes a quarter of what is missing.
    return replace(curve, ahead=ahead, halving=estimate(lambda one: min(n * (4 ** (1 / one.rate) - 1), n * FURTHEST)))


def fit_power_law(
    sizes: Int64[np.ndarray, " part"] | Sequence[int],
    nll: Float[np.ndarray, " part"],
    spread: Float[np.ndarray, " part"],
) -> PowerLaw:
    """The a, b ≥ 0 and c of a + b n^−c that are nearest to ``nll`` in units of its ``spread``.

    >>> law = fit_power_law([100, 200, 400, 800], 1 + 20 * np.array([100.0, 200, 400, 800]) ** -0.5, np.ones(4))
    >>> [round(number, 3) for number in law]
    [1.0, 20.0, 0.5]
    """
    floor, scale, rate = _nearest_laws(np.asarray(sizes, dtype=float), nll[None], spread)[0]
    return PowerLaw(float(floor), float(scale), float(rate))


def _nearest_laws(
    n: Float[np.ndarray, " part"], nll: Float[np.ndarray, "curve part"], spread: Float[np.ndarray, " part"]
) -> Float[np.ndarray, "curve 3"]:
    """(a, b, c) of many curves at once: least squares in a and b for every c on the grid, the best of them."""
    weight = spread**-2 / np.sum(spread**-2)
    rates = np.array(RATES)
    basis = n ** -rates[:, None]  # [rate, part]
    centre, level = basis @ weight, nll @ weight
    about = basis - centre[:, None]
    scale = np.maximum(0.0, ((nll - level[:, None]) * weight) @ about.T / (about**2 @ weight))  # [curve, rate]
    rest = (nll - level[:, None])[:, None] - scale[:, :, None] * about
    best = (rest**2 @ weight).argmin(1)
    row = np.arange(len(nll))
    return np.stack([level - scale[row, best] * centre[best], scale[row, best], rates[best]], 1)


def _quantiles(values: Float[np.ndarray, " resample"]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
