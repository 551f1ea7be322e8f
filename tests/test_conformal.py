"""Conformal abstention: the realised risk against the target over many calibration sets, and thresholds by listing."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from jebm_core.decisions.conformal import (
    GRID,
    control_risk,
    control_selective_risk,
    coverage_risk,
    guarantee,
    least_rows,
    p_values,
)
from jebm_core.errors import SpecError

SETS = 200
FALSE_ALARM = 1e-4


def _rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence c, uniform, of a model that is not calibrated: the answer is wrong with probability (1 − c)²."""
    confidence = rng.random(n)
    return confidence, (rng.random(n) < (1 - confidence) ** 2).astype(float)


def _risk(threshold: float) -> float:
    """E[loss · 1(c > λ)] = ∫_λ^1 (1 − c)² dc."""
    return (1 - threshold) ** 3 / 3


def _selective(threshold: float) -> float:
    return _risk(threshold) / (1 - threshold) if threshold < 1 else 0.0


@pytest.mark.parametrize(("n", "alpha"), [(30, 0.1), (200, 0.1), (200, 0.25)])
def test_conformal_risk_control_keeps_its_expectation(n: int, alpha: float):
    # Seed 0; the mean of 200 risks in [0, 1] exceeds α by 3.72 standard errors with probability 1e-4.
    rng = np.random.default_rng(0)
    risks = np.array([_risk(control_risk(*_rows(rng, n), alpha)) for _ in range(SETS)])
    assert risks.mean() <= alpha + 3.72 * risks.std(ddof=1) / math.sqrt(SETS)
    assert risks.mean() >= alpha - 2 / (n + 1) - 4 * risks.std() / math.sqrt(SETS), "as sharp as the theorem says"


@pytest.mark.parametrize(("n", "alpha", "delta"), [(300, 0.2, 0.1), (300, 0.2, 0.4), (1000, 0.1, 0.1)])
def test_learn_then_test_misses_its_target_in_at_most_the_promised_share(n: int, alpha: float, delta: float):
    # Seed 1; more misses than the 1 − 1e-4 quantile of Bin(200, δ) is a false alarm in 1e-4 of the seeds.
    rng = np.random.default_rng(1)
    found = [control_selective_risk(*_rows(rng, n), alpha, delta) for _ in range(SETS)]
    misses = sum(_selective(threshold) > alpha for threshold in found)
    assert misses <= binom.ppf(1 - FALSE_ALARM, SETS, delta)
    assert np.mean(np.array(found) < 1) > 0.5, "it does answer"


def test_p_values_are_above_chance_under_the_null():
    # Seed 2; P(p ≤ u) ≤ u: the count of 2000 exceeds the 1 − 1e-4 quantile of Bin(2000, u) in 1e-4 of the seeds.
    rng = np.random.default_rng(2)
    found = p_values(rng.binomial(50, 0.2, 2000) / 50, np.full(2000, 50), 0.2)
    for level in (0.01, 0.05, 0.2):
        assert (found <= level).sum() <= binom.ppf(1 - FALSE_ALARM, 2000, level)


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_that_of_trying_all(seed: int):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    confidence = rng.integers(0, 8, n) / 8  # ties, and rows that are sure of nothing
    loss = rng.integers(0, 3, n) / 2
    alpha = float(rng.uniform(0.05, 0.6))
    fits = [
        level
        for level in {0.0, 1.0, *confidence.tolist()}
        if (sum(x for x, c in zip(loss, confidence, strict=True) if c > level) + 1) / (n + 1) <= alpha
    ]
    assert control_risk(confidence, loss, alpha) == (min(fits) if fits else 1.0)
    curve = coverage_risk(confidence, loss)
    for level, share, risk, selective in zip(*curve.values(), strict=True):
        answered = confidence > level
        assert share == pytest.approx(answered.mean())
        assert risk == pytest.approx((loss * answered).mean())
        assert selective is None if not answered.any() else selective == pytest.approx(loss[answered].mean())


def test_selective_threshold_is_that_of_the_definition():
    rng = np.random.default_rng(3)
    confidence, loss = _rows(rng, 400)
    found = control_selective_risk(confidence, loss, 0.2, 0.1)
    place = round(found * GRID)
    assert 0 < place < GRID
    while place < GRID and (confidence > place / GRID).any():  # every threshold up to a start was rejected
        answered = confidence > place / GRID
        n, mean = int(answered.sum()), loss[answered].mean()
        hoeffding = (
            1.0
            if mean in (0, 1)
            else math.exp(-n * (mean * math.log(mean / 0.2) + (1 - mean) * math.log((1 - mean) / 0.8)))
        )
        assert min(hoeffding, math.e * binom.cdf(round(n * mean), n, 0.2)) <= 0.1 / 8
        if (GRID - 1 - place) % (GRID // 8) == 0:
            break
        place += 1


def test_too_few_rows_answer_nothing_and_say_how_many_are_needed():
    confidence = np.linspace(0.5, 0.99, 8)
    assert control_risk(confidence, np.zeros(8), 0.1) == 1.0
    assert least_rows(0.1) == 9
    confidence = np.linspace(0.5, 0.99, 9)
    assert control_risk(confidence, np.zeros(9), 0.1) == 0.0


def test_words_say_risk_target_and_rows():
    confidence, loss = _rows(np.random.default_rng(4), 200)
    given = guarantee(confidence, loss, "exact", 0.2)
    assert "200 calibration rows" in given.words
    assert "at most 0.2" in given.words
    assert "With probability 0.9" in guarantee(confidence, loss, "items", 0.2, 0.1).words


@pytest.mark.parametrize(("alpha", "delta", "part"), [(0.0, None, "Alpha"), (1.5, None, "Alpha"), (0.1, 2.0, "Delta")])
def test_targets_out_of_range_are_refused(alpha: float, delta: float | None, part: str):
    with pytest.raises(SpecError, match=part):
        guarantee(np.array([0.5]), np.array([0.0]), "exact", alpha, delta)
    with pytest.raises(SpecError, match="found none"):
        guarantee(np.zeros(0), np.zeros(0), "exact", 0.1)
