"""Calibration against closed forms, brute force, and data whose probabilities are right by construction."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jebm_core.errors import SpecError
from jebm_core.evaluation.calibration import (
    MAX_BINNED_EVENTS,
    calibrate,
    coverage,
    event_indicators,
    event_names,
    event_reliability,
    reliability,
    row_resamples,
    wilson_interval,
)
from jebm_core.spaces import Configurations, Rankings, Subsets


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    found = stats.binomtest(*counts).proportion_ci(method="wilson")
    assert wilson_interval(*counts) == pytest.approx((found.low, found.high), abs=1e-9)


def test_wilson_without_trials_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def brute_ece(probability: np.ndarray, happened: np.ndarray, edges: np.ndarray) -> float:
    cells = list(zip(probability.ravel(), happened.ravel(), strict=True))
    total = 0.0
    for low, high in itertools.pairwise([-np.inf, *edges, np.inf]):
        inside = [(p, h) for p, h in cells if low < p <= high]
        total += abs(sum(p for p, _ in inside) - sum(h for _, h in inside))
    return total / len(cells)


def test_ece_is_the_sum_over_bins() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((40, 3)).round(2)
    happened = rng.random((40, 3)) < 0.3
    found = reliability(probability, happened, row_resamples(40, 50, 0))
    edges = np.unique(np.quantile(probability, np.arange(1, 10) / 10, method="inverted_cdf"))
    assert found.ece == pytest.approx(brute_ece(probability, happened, edges))
    assert sum(b.n for b in found.bins) == 120
    assert len(found.bins) <= 10
    assert max(b.n for b in found.bins) <= 24  # equal counts, up to ties
    assert [b.predicted for b in found.bins] == sorted(b.predicted for b in found.bins)
    assert found.ece_low <= found.ece <= found.ece_high


def test_equal_probabilities_share_one_bin() -> None:
    found = event_reliability(np.full(30, 0.25), np.arange(30) < 6)
    (only,) = found.bins
    assert (only.n, only.predicted, only.observed) == (30, 0.25, 0.2)
    assert (only.low, only.high) == wilson_interval(6, 30)
    assert found.ece == pytest.approx(0.05)


def test_chance_explains_a_calibrated_model_and_not_a_wrong_one() -> None:
    # 40 seeds, each alarm has chance about 5 % if all is right: 8 or more of 40 has probability 0.0007.
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        probability = rng.random((200, 1))
        happened = rng.random((200, 1)) < probability
        found = reliability(probability, happened, row_resamples(200, 200, seed))
        alarms += found.ece > found.ece_chance
    assert alarms < 8
    wrong = reliability(probability, rng.random((200, 1)) < probability**3, row_resamples(200, 200, 0))
    assert wrong.ece > wrong.ece_chance + 0.05


def test_chance_knows_that_events_of_a_row_go_together() -> None:
    rng = np.random.default_rng(0)
    stated = np.full((100, 10), 0.5)
    alike = np.repeat(rng.random((100, 1)) < 0.5, 10, axis=1)
    apart = rng.random((100, 10)) < 0.5
    again = row_resamples(100, 400, 0)
    assert reliability(stated, alike, again).ece_chance > 2 * reliability(stated, apart, again).ece_chance


@pytest.mark.parametrize(
    ("stated", "happened"), [([0.5], [True, False]), ([], []), ([1.2], [True]), ([float("nan")], [False])]
)
def test_event_reliability_refuses_nonsense(stated: list[float], happened: list[bool]) -> None:
    with pytest.raises(SpecError):
        event_reliability(stated, happened)


def test_coverage_of_a_uniform_transform() -> None:
    # A binomial share of 4000 rows is off by more than 4 standard errors with probability 6e-5; four levels.
    found = coverage(np.random.default_rng(0).random(4000))
    for one in found:
        assert abs(one.covered - one.level) < 4 * np.sqrt(one.level * (1 - one.level) / 4000)
        assert (one.low, one.high) == wilson_interval(round(one.covered * 4000), 4000)


def test_calibrate_keeps_bins_of_frequent_events_and_every_error() -> None:
    rng = np.random.default_rng(0)
    events = MAX_BINNED_EVENTS + 5
    probability = rng.random((20, events))
    happened = rng.random((20, events)) < np.linspace(0.9, 0.1, events)
    top = np.full(20, 0.5)
    found = calibrate([str(i) for i in range(events)], probability, happened, top, top > 0, np.linspace(0, 1.2, 20))
    assert len(found.events) == events
    assert sum(bool(event.reliability.bins) for event in found.events) == MAX_BINNED_EVENTS
    assert found.joint.ece == pytest.approx(0.5)
    assert found.pit_clipped == 4
    assert sum(found.pit) == 20


def test_events_of_each_space() -> None:
    subsets, rankings = Subsets(("a", "b")), Rankings(("a", "b", "c"))
    configurations = Configurations(("size", "colour"), (("S", "M", "L"), ("red", "blue")))
    for space in (subsets, rankings, configurations):
        indicators = event_indicators(space, space.listing())
        assert indicators.shape == (space.cardinality(), len(event_names(space)))
    y = rankings.encode(("c", "a", "b"))
    holds = [name for name, on in zip(event_names(rankings), event_indicators(rankings, y).tolist(), strict=True) if on]
    assert holds == ["a > b", "1st: c"]
    named = zip(
        event_names(configurations), event_indicators(configurations, torch.tensor([2, 1])).tolist(), strict=True
    )
    assert [name for name, on in named if on] == ["size=L", "colour=blue"]
