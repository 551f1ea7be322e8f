"""`evaluate`: everything that labelled rows say about a fitted model, in one record.

Decoded answers, marginals and calibration come from weighted combinations that are normalised by themselves, so they
owe nothing to τ; how good τ is, the log-partition audit says. Rows with the same context are computed once.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.evaluation import unseen
from jebm_core.evaluation.calibration import (
    Calibration,
    Reliability,
    calibrate,
    event_names,
    event_reliability,
    row_resamples,
    wilson_interval,
)
from jebm_core.evaluation.depth import CalibrationDepth, calibration_depth
from jebm_core.evaluation.measured import Measured, measure
from jebm_core.fitted import FittedModel
from jebm_core.tables import Examples

_Z = 1.959963984540054

Interval = tuple[float, float]


@final
@dataclass(frozen=True)
class OnUnseen:
    """Rows whose combination never occurred in training: how many, and mean log p in nats of each predictor."""

    n: int
    log_prob: float
    log_prob_independent: float
    log_prob_frequency: float
    log_prob_reference: float
    log_prob_neighbours: float


@final
@dataclass(frozen=True)
class UnseenSummary:
    """The probability of everything unseen.

    Attributes:
        good_turing: from the training rows alone. model: 1 − mean_x Σ_{c seen} p(c|x). observed: of the rows at hand.
        reliability: P(unseen | x) of each row against whether it was.
        on_unseen: None where no row is unseen.
    """

    seen_combinations: int
    good_turing: unseen.Share
    model: unseen.Share
    observed: unseen.Share
    reliability: Reliability
    on_unseen: OnUnseen | None


@final
@dataclass(frozen=True)
class Evaluation:
    """What labelled rows say about a model. Log quantities in nats; NaN where a number does not apply (null in JSON).

    Attributes:
        n: rows; n_outside: rows besides that the rules of the model call impossible, which no score counts;
            n_audited: rows with an audited log-partition. All nll are means over these.
        nll: −log p with the audited log-partition; nll_audit is its interval from the audit; nll_learned has τ itself.
        nll_independent: the same network without interactions; nll_reference: −log q; nll_frequency: training shares;
            nll_neighbours: nearness to training combinations (`neighbours`).
        f1: example-averaged, F1-decoded, 0 where truth and answer are both empty; f1_map of the most probable subset.
        kendall_tau: of the Kendall-decoded ranking. subset_accuracy: the most probable combination is right.
        hamming_loss: share of items wrong, Hamming-decoded.
        brier: of marginals: items, options (summed over those of a slot), or ordered pairs and first places.
        intervals: 95 %, bootstrap over rows. differences: mean nll of each baseline minus the model's, likewise.
        draws: whether all combinations were listed, else the median effective sample size.
        log_partition: the audit in one line, None where this divergence and space have no audit.
        log_partition_rows: learned, audited, low, high and bounds of each distinct audited context.
        healthy: no guard stopped the training of the model.
    """

    n: int
    n_outside: int
    n_audited: int
    space: str
    items: tuple[str, ...]
    log_cardinality: float
    nll: float
    nll_audit: Interval
    nll_learned: float
    nll_independent: float
    nll_reference: float
    nll_frequency: float
    nll_neighbours: float
    f1: float
    f1_map: float
    subset_accuracy: float
    hamming_loss: float
    kendall_tau: float
    ece_marginal: float
    ece_joint: float
    brier: float
    brier_joint: float
    intervals: dict[str, Interval]
    differences: dict[str, tuple[float, float, float]]
    draws: dict[str, bool | float]
    log_partition: dict[str, Any] | None
    log_partition_rows: dict[str, list[float]]
    healthy: bool
    calibration: Calibration
    calibration_depth: CalibrationDepth
    unseen: UnseenSummary

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; numbers that JSON does not have become null."""
        return json_ready(dataclasses.asdict(self))


def evaluate(
    model: FittedModel,
    examples: Examples,
    *,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    seed: int = 0,
    bootstrap: int = 200,
) -> Evaluation:
    """Hold a model against labelled rows, read with ``read_examples(…, like=model.record.schema)``.

    Args:
        on_progress: told the share that is done, between 0 and 1.
        should_stop: asked often; True ends the evaluation with `Cancelled`.
        bootstrap: resamples of rows behind each interval.

    Raises:
        TableError: the examples were read with other outputs than the model's, or the model's rules call every row
            impossible.

    Cost: about 1 µs a context and combination where the space is listed; in addition the audit.
    """
    measured = measure(model, examples, on_progress=on_progress, should_stop=should_stop, seed=seed)
    return summarise(model, measured, seed=seed, bootstrap=bootstrap)


def summarise(model: FittedModel, measured: Measured, *, seed: int = 0, bootstrap: int = 200) -> Evaluation:
    """The record of what `measure` found. Cost: the resamples."""
    space, y, rows, nll, audited = model.space, measured.y, measured.rows, measured.nll, measured.audited
    happened = measured.happened
    calibration = calibrate(
        event_names(space), rows["events"], happened, rows["top"], rows["right"] == 1, rows["pit"],
        resamples=bootstrap, seed=seed,
    )  # fmt: skip
    means = {key: rows[key] for key in ("f1", "f1_map", "right", "hamming_loss", "kendall_tau", "brier", "brier_joint")}
    means["subset_accuracy"] = means.pop("right")
    resampled = row_resamples(len(y), bootstrap, seed)
    again = resampled.counts
    again_audited = row_resamples(len(audited), bootstrap, seed + 1).counts
    intervals = {key: _interval(values, again) for key, values in means.items()}
    intervals |= {key: _interval(values, again_audited) for key, values in nll.items() if key.startswith("nll")}
    for key, part in (("ece_marginal", calibration.pooled), ("ece_joint", calibration.joint)):
        intervals[key] = (part.ece_low, part.ece_high)
    differences = {}
    for key in ("independent", "frequency", "reference", "neighbours"):
        gap = nll[f"nll_{key}"] - nll["nll"]
        differences[key] = (float(gap.mean()), *_interval(gap, again_audited))
    mean = {key: float(values.mean()) for key, values in {**means, **nll}.items()}
    return Evaluation(
        n=len(y),
        n_outside=measured.outside,
        n_audited=len(audited),
        space=model.record.schema.kind,
        items=space.items,
        log_cardinality=space.log_cardinality(),
        nll=mean["nll"],
        nll_audit=(mean["audit_low"], mean["audit_high"]),
        nll_learned=mean["nll_learned"],
        nll_independent=mean["nll_independent"],
        nll_reference=mean["nll_reference"],
        nll_frequency=mean["nll_frequency"],
        nll_neighbours=mean["nll_neighbours"],
        f1=mean["f1"],
        f1_map=mean["f1_map"],
        subset_accuracy=mean["subset_accuracy"],
        hamming_loss=mean["hamming_loss"],
        kendall_tau=mean["kendall_tau"],
        ece_marginal=calibration.pooled.ece,
        ece_joint=calibration.joint.ece,
        brier=mean["brier"],
        brier_joint=mean["brier_joint"],
        intervals=intervals,
        differences=differences,
        draws={"listed": bool(rows["listed"].all()), "effective_median": float(np.median(rows["effective"]))},
        log_partition=measured.log_partition,
        log_partition_rows=measured.log_partition_rows,
        healthy=model.record.is_healthy,
        calibration=calibration,
        calibration_depth=calibration_depth(rows, happened, resampled),
        unseen=_unseen_summary(model, y, rows, nll, audited, bootstrap, seed),
    )


def _unseen_summary(
    model: FittedModel,
    y: Int64[Tensor, "row item"],
    rows: dict[str, np.ndarray],
    nll: dict[str, np.ndarray],
    audited: Int64[Tensor, " audited"],
    bootstrap: int,
    seed: int,
) -> UnseenSummary:
    new = ~model.seen.contains(y).cpu().numpy()
    seen, n = rows["seen"], len(y)
    reach = _Z * float(seen.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    low, high = (0.0, 0.0) if rows["listed"].all() else model.record.interval
    expected = unseen.Share(
        1 - float(seen.mean()),
        max(0.0, 1 - (float(seen.mean()) + reach) * math.exp(high)),
        min(1.0, 1 - max(0.0, float(seen.mean()) - reach) * math.exp(low)),
    )
    part = new[audited.cpu().numpy()]
    keys = ("nll", "nll_independent", "nll_frequency", "nll_reference", "nll_neighbours")
    apart = OnUnseen(int(part.sum()), *(-float(nll[key][part].mean()) for key in keys)) if part.any() else None
    return UnseenSummary(
        len(model.seen),
        unseen.good_turing(model.seen.counts),
        expected,
        unseen.Share(float(new.mean()), *wilson_interval(int(new.sum()), n)),
        event_reliability(1 - seen, new, resamples=bootstrap, seed=seed),
        apart,
    )


def _interval(values: Float[np.ndarray, " row"], resampled: Float[np.ndarray, "resample row"]) -> Interval:
    """95 % percentile interval of the mean."""
    if not np.isfinite(values).all():
        return math.nan, math.nan
    low, high = np.quantile(resampled @ values / len(values), [0.025, 0.975])
    return float(low), float(high)


def json_ready(value: Any) -> Any:
    """The value as JSON can hold it: numbers that are not finite become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    return [json_ready(item) for item in value] if isinstance(value, list | tuple) else value


__all__ = ["Evaluation", "OnUnseen", "UnseenSummary", "evaluate", "summarise"]
