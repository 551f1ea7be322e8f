"""Smooth errors, scores in parts, first-k masses, events and groups: each against a slow twin or known truth."""

import itertools

import numpy as np
import pytest
import torch

from jebm_core.errors import RuleError
from jebm_core.evaluation.calibration import row_resamples
from jebm_core.evaluation.cohorts import chance_of_error, compare_cohorts
from jebm_core.evaluation.decomposition import decompose
from jebm_core.evaluation.depth import TOP, top_masses
from jebm_core.evaluation.events import event_of, event_probability, judge_events, parse_event
from jebm_core.evaluation.smooth import smooth_error
from jebm_core.proposals import TiltProposal
from jebm_core.tables import OutputSchema
from tests.test_evaluate import evaluated, examples_of, fitted, listed


def slow_smooth_error(p: np.ndarray, y: np.ndarray) -> float:
    """The definition, by summing images of each Gaussian on a fine grid."""
    t = (np.arange(20_000) + 0.5) / 20_000

    def error(sigma: float) -> float:
        total = np.zeros_like(t)
        for f, gap in zip(p, p - y, strict=True):
            for image in range(-4, 5):
                for centre in (f + 2 * image, -f + 2 * image):
                    total += gap * np.exp(-((t - centre) ** 2) / (2 * sigma**2))
        return float(np.abs(total / (sigma * np.sqrt(2 * np.pi))).mean() / len(p))

    low, high = 1e-3, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return (low + high) / 2


@pytest.mark.parametrize("seed", range(3))
def test_smooth_error_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(25)
    y = rng.random(25) < p**2
    found = smooth_error(p[:, None], y[:, None], row_resamples(25, 20, 0))
    assert found.value == pytest.approx(slow_smooth_error(p, y), abs=1.5e-3)
    assert found.low <= found.value <= found.high


def test_smooth_error_of_a_constant_is_its_deviation() -> None:
    # All at 0.5 with 70 % hits: the kernel keeps the mass 0.2 whatever its width.
    y = np.arange(100) < 70
    assert smooth_error(np.full((100, 1), 0.5), y[:, None], row_resamples(100, 20, 0)).value == pytest.approx(
        0.2, abs=1e-3
    )


def test_chance_explains_the_smooth_error_of_calibrated_data() -> None:
    # 30 seeds, an alarm each with chance about 5 %: 8 or more have probability 0.0003.
    alarms = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        p = rng.random((200, 1))
        found = smooth_error(p, rng.random((200, 1)) < p, row_resamples(200, 100, seed))
        alarms += found.value > found.chance
    assert alarms < 8
    wrong = smooth_error(p, rng.random((200, 1)) < p**3, row_resamples(200, 100, 0))
    assert wrong.value > wrong.chance + 0.05


def test_scores_in_parts_add_up_and_the_map_is_the_best_monotone_one() -> None:
    rng = np.random.default_rng(0)
    p = rng.integers(1, 5, size=(60, 1)) / 5
    y = rng.random((60, 1)) < p**2
    found = decompose(p, y)
    for part in (found.brier, found.log):
        assert part.score == pytest.approx(part.miscalibration - part.discrimination + part.uncertainty)
        assert min(part.miscalibration, part.discrimination) >= 0
    assert found.brier.score == pytest.approx(np.square(p - y).mean())
    grid = np.linspace(0, 1, 41)  # the slow twin: every non-decreasing map of four levels on a grid
    loss = np.stack([[np.square(v - y[np.isclose(p, level)]).sum() for v in grid] for level in (0.2, 0.4, 0.6, 0.8)])
    best = min(
        sum(loss[i, m] for i, m in enumerate(levels))
        for levels in itertools.combinations_with_replacement(range(41), 4)
    )
    assert found.brier.score - found.brier.miscalibration == pytest.approx(best / 60, abs=2e-3)


@pytest.mark.parametrize("kind", ["subsets", "configurations", "rankings"])
def test_first_k_are_those_of_listing(kind: str) -> None:
    model = fitted(kind)
    examples = examples_of(kind, 150, 1, like=model)
    _, log_p, place = listed(model, examples)
    order = log_p.argsort(0, descending=True)
    rank = (order == place).long().argmax(0)
    for found, k in zip(evaluated(kind).calibration_depth.top, TOP, strict=True):
        mass = log_p.gather(0, order[:k]).exp().sum(0)
        assert found.stated == pytest.approx(float(mass.mean()), abs=1e-4)
        assert found.covered == pytest.approx(float((rank < k).float().mean()), abs=0.02)


def test_a_combination_drawn_twice_counts_once() -> None:
    y = torch.tensor([[0, 1], [0, 1], [1, 1]])[:, None]
    mass, held = top_masses(y, torch.tensor([0.6, 0.6, 0.3]).log()[:, None], torch.tensor([[1, 1]]), torch.tensor([0]))
    assert mass[0].tolist() == pytest.approx([0.6, 0.9, 0.9, 0.9])
    assert held[0].tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("kind", "text", "truth"),
    [
        ("subsets", "a and not b or size >= 4", lambda y: (y[..., 0] == 1) & (y[..., 1] == 0) | (y.sum(-1) >= 4)),
        ("configurations", "size2 = q", None),
        ("configurations", 'colour = "q" and result != p', lambda y: (y[..., 1] == 1) & (y[..., 2] != 0)),
        ("rankings", "a above c above b", lambda y: (y[..., 0] < y[..., 2]) & (y[..., 2] < y[..., 1])),
    ],
)
def test_event_probabilities_are_those_of_listing(kind: str, text: str, truth) -> None:
    model = fitted(kind)
    if truth is None:
        with pytest.raises(RuleError, match=r"column 1: .*nearest is 'size'.*written like this"):
            event_of(model, text)
        return
    examples = examples_of(kind, 150, 1, like=model)
    points, log_p, place = listed(model, examples)
    event, context = event_of(model, text), model.context(examples.table)
    exact = (log_p.exp() * truth(points)[:, None]).sum(0)
    found = event_probability(model, context, event)
    torch.testing.assert_close(found.value.double(), exact, atol=1e-4, rtol=0)
    assert torch.equal(found.low, found.high)
    (judged,) = judge_events(model, examples, [event])
    assert judged.exact
    assert judged.observed == pytest.approx(float(truth(points[place]).float().mean()))
    assert judged.mean_stated == pytest.approx(float(exact.mean()), abs=1e-4)


def test_intervals_of_drawn_events_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    # 150 intervals of 95 % with draws of their own each: fewer than 130 hold with probability below 1e-5.
    model = fitted("subsets")
    examples = examples_of("subsets", 150, 1, like=model)
    points, log_p, _ = listed(model, examples)
    event, context = event_of(model, "a and b"), model.context(examples.table)
    exact = (log_p.exp() * event.happened(points)[:, None]).sum(0)
    monkeypatch.setattr(model, "proposal", TiltProposal)
    found = event_probability(model, context, event, generator=torch.Generator().manual_seed(0))
    assert bool((found.low < found.high).all())
    assert int(((found.low <= exact) & (exact <= found.high)).sum()) >= 130


@pytest.mark.parametrize("text", ["", "a and", "items a", "prefer 2: a", "where x == 1: a", "z", "a above b", "a ~ b"])
def test_a_wrong_event_is_one_sentence_with_an_example(text: str) -> None:
    schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ())
    with pytest.raises(RuleError, match=r"^event.*An event is written like this: a and not b\.$"):
        parse_event(text, schema)


def test_calibrated_groups_are_rarely_flagged_and_a_wrong_one_is() -> None:
    # 60 seeds; any of four groups is flagged with chance at most about 5 %: 11 or more have probability 0.0002.
    alarms, labels = 0, ["u", "v", "w", "z"] * 60
    for seed in range(60):
        rng = np.random.default_rng(seed)
        p = rng.random((240, 3))
        y = rng.random((240, 3)) < p
        found = compare_cohorts(p, y, np.ones(240), labels, ("u", "v", "w", "z"), "k", seed=seed, bootstrap=5)
        alarms += any(group.flagged for group in found.groups)
    assert alarms < 11
    y[::4] = rng.random((60, 3)) < p[::4] ** 3
    found = compare_cohorts(p, y, np.ones(240), labels, ("u", "v", "w", "z"), "k")
    assert [group.name for group in found.groups if group.flagged] == ["u"]
    assert chance_of_error(np.array([[0.5]]), np.array([[True]])) == 1.0
