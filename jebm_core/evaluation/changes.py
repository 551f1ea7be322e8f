"""What a change of the model did, on the same rows before and after: differences with paired bootstrap intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float

from jebm_core.errors import SpecError
from jebm_core.evaluation.calibration import resampled_error, row_resamples
from jebm_core.evaluation.measured import Measured

RESAMPLES = 1000


@final
@dataclass(frozen=True)
class Change:
    """One number before and after, and the 95 % interval of after − before over resampled rows."""

    name: str
    before: float
    after: float
    low: float
    high: float


def compare(before: Measured, after: Measured, *, seed: int = 0) -> tuple[Change, ...]:
    """Calibration error of single events (``ece_marginal``) and of the likeliest combination (``ece_joint``), Brier
    score of single events (``brier``), and −log p of the audited rows (``nll``), in nats. Lower is better for each.

    Raises:
        SpecError: the two were measured on different rows.
    """
    if not np.array_equal(before.places, after.places):
        raise SpecError(
            "Expected two measurements of the same rows, found {before} and {after} rows that count; measure both "
            "models on the same examples.",
            before=len(before.places),
            after=len(after.places),
        )
    resampled = row_resamples(len(before.places), RESAMPLES, seed)

    def error(of: Callable[[Measured], tuple[np.ndarray, np.ndarray]], name: str) -> Change:
        (old, old_again), (new, new_again) = (
            resampled_error(stated, true, resampled) for stated, true in (of(before), of(after))
        )
        return _change(name, old, new, new_again - old_again)

    changes = [
        error(lambda m: (m.rows["events"], m.happened), "ece_marginal"),
        error(lambda m: (m.rows["top"][:, None], m.rows["right"][:, None] == 1), "ece_joint"),
    ]
    changes.append(_of_means("brier", before.rows["brier"], after.rows["brier"], resampled.counts))
    old, new = before.nll["nll"], after.nll["nll"]
    if len(old) == len(new) and np.isfinite([old, new]).all():
        changes.append(_of_means("nll", old, new, row_resamples(len(old), RESAMPLES, seed).counts))
    return tuple(changes)


def _of_means(
    name: str,
    before: Float[np.ndarray, " row"],
    after: Float[np.ndarray, " row"],
    counts: Float[np.ndarray, "resample row"],
) -> Change:
    again = counts @ (after - before) / len(before)
    return _change(name, float(before.mean()), float(after.mean()), again)


def _change(name: str, before: float, after: float, again: Float[np.ndarray, " resample"]) -> Change:
    # Resampling adds noise that errors don't cancel: its excess is taken off, as for the error itself.
    excess = float(again.mean()) - (after - before)
    low, high = np.quantile(again, [0.025, 0.975]) - excess
    return Change(name, before, after, float(min(low, after - before)), float(max(high, after - before)))
