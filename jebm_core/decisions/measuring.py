"""What decisions were worth on labelled rows: against an oracle, leaving rows alone, and independent parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int64

from jebm_core.decisions.conformal import Guarantee, coverage_risk
from jebm_core.decisions.expected import Decisions, decide, losses
from jebm_core.decisions.values import ValueTable
from jebm_core.errors import Cancelled
from jebm_core.evaluation.calibration import row_resamples
from jebm_core.fitted import FittedModel
from jebm_core.model import Context

RESAMPLES = 2000
MOST_POINTS = 400
"""Points of a curve that a record keeps."""


@final
@dataclass(frozen=True)
class MeasuredDecisions:
    """Decisions for labelled rows with what they were worth, all in the currency of the values.

    Attributes:
        value, oracle, not_acting: V of the answer, of the best answer to the truth, of leaving the row alone.
        independent: V of what the model without interactions decides; None where the model has none.
    """

    decisions: Decisions
    truth: Int64[np.ndarray, "row item"]
    value: Float[np.ndarray, " row"]
    oracle: Float[np.ndarray, " row"]
    not_acting: Float[np.ndarray, " row"]
    independent: Float[np.ndarray, " row"] | None

    def regret(self) -> Float[np.ndarray, " row"]:
        """Oracle − value, at least 0."""
        return self.oracle - self.value

    def loss(self, name: str) -> Float[np.ndarray, " row"]:
        """What each answer lost, between 0 and 1 (`losses`)."""
        return losses(name, self.decisions.y, self.truth)


def measure_decisions(
    model: FittedModel,
    context: Context,
    truth: Int64[np.ndarray, "row item"],
    values: ValueTable,
    *,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> MeasuredDecisions:
    """Decide for rows whose outputs are known, and look at what it was worth.

    Raises:
        Cancelled: ``should_stop`` said so between the two models.
    """

    def fresh() -> torch.Generator:
        return torch.Generator(model.device).manual_seed(seed)

    found = decide(model, context, values, generator=fresh())
    if should_stop is not None and should_stop():
        raise Cancelled("The decisions were stopped on request.")
    alone = None
    if model.independent is not None:
        answer = decide(model, context, values, generator=fresh(), independent=True).y
        alone = values.worth(answer, truth)
    oracle = values.oracle(truth, model.space.options_per_item())
    return MeasuredDecisions(
        found, truth, values.worth(found.y, truth), oracle, values.worth_of_not_acting(truth), alone
    )


@final
@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, its 95 % interval, and the two-sided p-value of “the mean is 0”."""

    value: float
    low: float
    high: float
    p: float


def paired(difference: Float[np.ndarray, " row"], *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Bootstrap over rows; the p-value is never below 2 / (resamples + 1).

    >>> found = paired(np.array([1.0, 2.0, 1.5, 1.2]))
    >>> round(found.value, 3), found.low > 0, round(found.p, 4)
    (1.425, True, 0.001)
    """
    n = len(difference)
    means = np.concatenate(
        [row_resamples(n, 100, seed + start).counts @ difference / n for start in range(-(-resamples // 100))]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return Difference(float(difference.mean()), float(low), float(high), min(1.0, 2 * (tail + 1) / (len(means) + 1)))


def decision_record(
    found: MeasuredDecisions, values: ValueTable, given: Guarantee, *, verdict: str, seed: int = 0
) -> dict[str, Any]:
    """Everything that a page or report says of these decisions, as plain numbers: means a row, intervals, curves.

    Args:
        verdict: of the model, as `jebm_core.report.verdict` gives it.
    """
    confidence = found.decisions.confidence(given.loss)
    answered = confidence > given.threshold
    acted = np.where(answered, found.value, found.not_acting)

    def mean(part: np.ndarray) -> list[float]:
        one = paired(part, seed=seed)
        return [one.value, one.low, one.high]

    def gap(part: np.ndarray | None) -> list[float] | None:
        one = None if part is None else paired(part, seed=seed)
        return None if one is None else [one.value, one.low, one.high, one.p]

    curve = coverage_risk(confidence, found.loss(given.loss))
    curve |= _worth_by_threshold(found, confidence, np.array(curve["threshold"]))
    places = np.unique(np.linspace(0, len(curve["threshold"]) - 1, MOST_POINTS).round().astype(int))
    return {
        "n": len(found.value),
        "currency": values.currency,
        "verdict": verdict,
        "value": mean(found.value),
        "expected": float(found.decisions.expected_value.mean()),
        "oracle": float(found.oracle.mean()),
        "regret": mean(found.regret()),
        "not_acting": float(found.not_acting.mean()),
        "independent": None if found.independent is None else float(found.independent.mean()),
        "with_policy": mean(acted),
        "gain_not_acting": gap(acted - found.not_acting),
        "gain_independent": gap(None if found.independent is None else found.value - found.independent),
        "unsupported": int((~found.decisions.supported).sum()),
        "guarantee": {
            "kind": given.kind, "loss": given.loss, "threshold": given.threshold, "alpha": given.alpha,
            "delta": given.delta, "n": given.n, "coverage": given.coverage, "risk": given.risk,
        },
        "curve": {key: [part[i] for i in places] for key, part in curve.items()},
    }  # fmt: skip


def _worth_by_threshold(
    found: MeasuredDecisions, confidence: np.ndarray, thresholds: np.ndarray
) -> dict[str, list[float | None]]:
    """Mean worth a row of answering above each threshold and leaving the rest alone: as it was, and as was stated."""
    order = np.argsort(-confidence, kind="stable")
    answered = np.searchsorted(-confidence[order], -thresholds, side="left")

    def means(acting: np.ndarray, idle: np.ndarray) -> list[float | None]:
        gains = np.concatenate([[0.0], (acting - idle)[order].cumsum()])
        return ((gains[answered] + idle.sum()) / len(order)).tolist()

    stated = found.decisions
    return {
        "value": means(found.value, found.not_acting),
        "expected": means(stated.expected_value, stated.not_acting),
    }
