"""The confidence below which a person decides, chosen on labelled rows so that a risk is controlled.

A row is answered where its confidence is greater than λ. Two guarantees, both for rows that are exchangeable (crc) or
independent and alike (ltt) with the calibration rows, and both free of any assumption about the model:

    crc   E[loss · 1(answered)] ≤ α, over calibration rows and the new row together; a row left to a person counts 0
    ltt   with probability 1 − δ over calibration rows: E[loss | answered] ≤ α

Sources: Angelopoulos, Bates, Fisch, Lei, Schuster, *Conformal Risk Control*, ICLR 2024; Angelopoulos, Bates, Candès,
    Jordan, Lei, *Learn then Test*, 2021 (arXiv:2110.01052); Bates, Angelopoulos, Lei, Malik, Jordan,
    *Distribution-free, risk-controlling prediction sets*, JACM 2021 (the p-value of Hoeffding and Bentkus).
"""

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64

from jebm_core.errors import SpecError

GRID = 400
"""Thresholds that ltt tries are i / GRID; fixed beforehand, since it may not look at the losses."""
STARTS = 8
"""Sequences of ltt, each with δ / STARTS: one that begins where nearly nothing is answered would end at once."""


@final
@dataclass(frozen=True)
class Guarantee:
    """A threshold and what holds for it.

    Attributes:
        kind: ``crc`` or ``ltt``.
        loss: ``exact`` or ``items``.
        threshold: a row is answered where its confidence is greater; 1 answers none.
        alpha, delta: the target, and the chance of missing it (0 for crc, whose target is an expectation).
        n: calibration rows. coverage: share of them that is answered. risk: their mean loss, as ``kind`` counts it.
    """

    kind: str
    loss: str
    threshold: float
    alpha: float
    delta: float
    n: int
    coverage: float
    risk: float

    @property
    def words(self) -> str:
        """The guarantee as one sentence."""
        if self.kind == "crc":
            what = {
                "exact": "the chance of giving an answer that is not right as a whole",
                "items": "the expected share of wrong parts (0 for a row left to a person)",
            }[self.loss]
            over = f"{self.n} calibration rows and one new row like them"
            return f"On average over {over}, {what} is at most {self.alpha:g}."
        what = {
            "exact": "the share of answered rows whose answer is not right as a whole",
            "items": "the mean share of wrong parts in answered rows",
        }[self.loss]
        chance = f"With probability {1 - self.delta:g} over {self.n} calibration rows"
        return f"{chance}, {what} is at most {self.alpha:g} among new rows like them."


def control_risk(
    confidence: Float[np.ndarray, " row"], loss: Float[np.ndarray, " row"], alpha: float, bound: float = 1.0
) -> float:
    """Conformal risk control: λ̂ = inf{λ : (n·R̂(λ) + B) / (n + 1) ≤ α}, R̂(λ) = mean of loss · 1(confidence > λ).

    R̂ falls in λ and is continuous from the right, as the theorem asks for. 1.0 (nothing is answered) where too few rows
    make even R̂ = 0 too much: n < B/α − 1.

    Args:
        confidence: between 0 and 1. loss: between 0 and ``bound`` B.

    Cost: O(row · log row).

    >>> control_risk(np.array([0.9, 0.8, 0.2]), np.array([0.0, 0.0, 1.0]), alpha=0.3)
    0.2
    """
    _check(confidence, loss, alpha, bound)
    # Loss is kept by rows above λ, so going down through the confidences only adds to it.
    order = np.argsort(-confidence, kind="stable")
    levels, totals = confidence[order], loss[order].cumsum()
    candidates = np.concatenate([[1.0], levels, [0.0]])
    above = np.searchsorted(-levels, -candidates, side="left")  # rows with confidence > λ
    kept = np.concatenate([[0.0], totals])[above]
    fine = (kept + bound) / (len(loss) + 1) <= alpha + 1e-12
    return float(candidates[fine].min()) if fine.any() else 1.0


def control_selective_risk(
    confidence: Float[np.ndarray, " row"], loss: Float[np.ndarray, " row"], alpha: float, delta: float
) -> float:
    """Learn then Test: the smallest λ of a fixed grid for which E[loss | confidence > λ] > α is rejected.

    From each of `STARTS` starts, thresholds are tested downward until one is not rejected at δ / STARTS; by Bonferroni
    no true hypothesis is rejected with probability 1 − δ, so any choice among the rejected ones keeps the promise.
    1.0 where none is.

    >>> rng = np.random.default_rng(0)
    >>> sure = rng.random(2000)
    >>> 0.5 < control_selective_risk(sure, (rng.random(2000) > sure).astype(float), 0.2, 0.1) < 0.8
    True
    """
    _check(confidence, loss, alpha, 1.0)
    order = np.argsort(-confidence, kind="stable")
    levels, totals = confidence[order], np.concatenate([[0.0], loss[order].cumsum()])
    grid = np.arange(GRID) / GRID
    answered = np.searchsorted(-levels, -grid, side="left")
    rejected = p_values(totals[answered] / np.maximum(answered, 1), answered, alpha) <= delta / STARTS
    found = 1.0
    for start in range(STARTS):
        place = GRID - 1 - start * GRID // STARTS
        while place >= 0 and rejected[place]:
            found = min(found, float(grid[place]))
            place -= 1
    return found


def p_values(
    mean: Float[np.ndarray, " test"], n: Int64[np.ndarray, " test"], alpha: float
) -> Float[np.ndarray, " test"]:
    """P-value of Hoeffding and Bentkus for “the mean is above α”, from n independent losses between 0 and 1.

        min(exp(−n·h(min(mean, α), α)), e·P(Bin(n, α) ≤ ⌈n·mean⌉)),   h(a, b) = a log(a/b) + (1−a) log((1−a)/(1−b))

    1 where n = 0.

    >>> p_values(np.array([0.0, 0.4]), np.array([10, 10]), 0.5).round(4).tolist()
    [0.001, 0.8176]
    """
    from scipy.special import bdtr, xlogy

    low = np.minimum(mean, alpha)
    divergence = xlogy(low, low / alpha) + xlogy(1 - low, (1 - low) / (1 - alpha))
    bentkus = math.e * bdtr(np.ceil(n * mean - 1e-9), np.maximum(n, 1), alpha)
    return np.where(n > 0, np.minimum(np.minimum(np.exp(-n * divergence), bentkus), 1.0), 1.0)


def guarantee(
    confidence: Float[np.ndarray, " row"],
    loss: Float[np.ndarray, " row"],
    name: str,
    alpha: float,
    delta: float | None = None,
) -> Guarantee:
    """The threshold and what holds for it: ltt where ``delta`` is given, else crc.

    Raises:
        SpecError: α or δ outside (0, 1), or no row.
    """
    if delta is not None and not 0 < delta < 1:
        raise SpecError("Delta: expected a number between 0 and 1, found {found:g}. Choose 0.1, say.", found=delta)
    kind = "crc" if delta is None else "ltt"
    threshold = (
        control_risk(confidence, loss, alpha)
        if delta is None
        else control_selective_risk(confidence, loss, alpha, delta)
    )
    answered = confidence > threshold
    risk = float(loss[answered].sum() / (len(loss) if delta is None else max(1, int(answered.sum()))))
    return Guarantee(kind, name, threshold, alpha, delta or 0.0, len(loss), float(answered.mean()), risk)


def least_rows(alpha: float, bound: float = 1.0) -> int:
    """How many rows crc needs before it may answer anything: ⌈B/α⌉ − 1.

    >>> least_rows(0.1), least_rows(0.03)
    (9, 33)
    """
    return math.ceil(bound / alpha - 1e-9) - 1


def coverage_risk(
    confidence: Float[np.ndarray, " row"], loss: Float[np.ndarray, " row"]
) -> dict[str, list[float | None]]:
    """The curve of every threshold: share answered, mean loss of all rows (left ones count 0), and of those answered.

    One point a distinct confidence and one for λ = 0, thresholds falling; the selective risk is None where no row is
    answered.

    >>> coverage_risk(np.array([0.9, 0.2]), np.array([0.0, 1.0]))["risk"]
    [0.0, 0.0, 0.5]
    """
    order = np.argsort(-confidence, kind="stable")
    levels, totals = confidence[order], np.concatenate([[0.0], loss[order].cumsum()])
    thresholds = np.unique(np.concatenate([confidence, [0.0]]))[::-1]
    answered = np.searchsorted(-levels, -thresholds, side="left")
    kept, n = totals[answered], len(loss)
    selective: list[Any] = [None if m == 0 else k / m for k, m in zip(kept.tolist(), answered.tolist(), strict=True)]
    return {
        "threshold": thresholds.tolist(),
        "coverage": (answered / n).tolist(),
        "risk": (kept / n).tolist(),
        "selective_risk": selective,
    }


def _check(confidence: np.ndarray, loss: np.ndarray, alpha: float, bound: float) -> None:
    if not 0 < alpha < 1:
        raise SpecError("Alpha: expected a number between 0 and 1, found {found:g}. Choose 0.1, say.", found=alpha)
    if not len(loss):
        raise SpecError("Expected labelled rows to choose a threshold on, found none. Give a table with rows.")
    if (loss < 0).any() or (loss > bound).any() or not np.isfinite(confidence).all():
        raise SpecError(
            "Expected losses between 0 and {bound:g} and finite confidences; found others. Check what was computed.",
            bound=bound,
        )
