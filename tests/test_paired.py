"""Two runs on the same rows: gains and intervals against a computation that draws whole rows again, one by one."""

import dataclasses

import numpy as np
import pytest

from jebm_core.errors import SpecError
from jebm_core.evaluation import evaluate
from jebm_core.evaluation.measured import measure
from jebm_core.evaluation.paired import (
    FEWEST_PAIRS,
    HIGHER_IS_BETTER,
    LOWER_IS_BETTER,
    RECORDED,
    RowScores,
    paired,
    row_scores,
    unpaired,
)
from tests.test_evaluate import examples_of, fitted

RESAMPLES, SEED = 300, 5


def scores_of(kind: str, affinity: str) -> RowScores:
    # Under a uniform reference all that is known is in the score, so that its form makes a difference.
    model = fitted(kind, affinity=affinity, reference="uniform")
    examples = examples_of(kind, 150, 1, like=model)
    return row_scores(model, examples, measure(model, examples))


@pytest.fixture(scope="module")
def two() -> tuple[RowScores, RowScores]:
    return scores_of("subsets", "unary"), scores_of("subsets", "pairwise")


def error(scores: RowScores, drawn: np.ndarray, edges: np.ndarray) -> float:
    """Σ_b |Σ stated − happened| / cells of some rows, one cell after the other."""
    total = np.zeros(len(edges) + 1)
    for row in drawn:
        for p, true in zip(scores.stated[row], scores.happened[row], strict=True):
            total[(edges < p).sum()] += p - true
    return float(np.abs(total).sum() / (len(drawn) * scores.stated.shape[1]))


def test_gains_are_those_of_rows_drawn_again_one_by_one(two: tuple[RowScores, RowScores]) -> None:
    first, second = two
    found = {gain.name: gain for gain in paired(first, second, resamples=RESAMPLES, seed=SEED).gains}
    n = len(first.rows)
    counts = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    drawn = [np.repeat(np.arange(n), row) for row in counts]
    for name, sign in (("nll", 1), ("brier", 1), ("f1", -1), ("right", -1), ("log_partition", 1), ("reference", 1)):
        gap = sign * (first.means[name] - second.means[name])
        low, high = np.quantile([gap[rows].mean() for rows in drawn], [0.025, 0.975])
        assert (found[name].gain, found[name].low, found[name].high) == pytest.approx((gap.mean(), low, high))
        assert found[name].rows == n
    edges = [np.unique(np.quantile(s.stated, np.arange(1, 10) / 10, method="inverted_cdf")) for s in (first, second)]
    everything = np.arange(n)
    gain = error(first, everything, edges[0]) - error(second, everything, edges[1])
    again = [error(first, rows, edges[0]) - error(second, rows, edges[1]) for rows in drawn[:20]]
    few = {g.name: g for g in paired(first, second, resamples=20, seed=SEED).gains}["ece_marginal"]
    low, high = np.quantile(again, [0.025, 0.975]) - (np.mean(again) - gain)
    assert (few.gain, few.low, few.high) == pytest.approx((gain, min(low, gain), max(high, gain)))


def test_means_are_those_of_the_evaluation(two: tuple[RowScores, RowScores]) -> None:
    model = fitted("subsets", affinity="pairwise", reference="uniform")
    record = evaluate(model, examples_of("subsets", 150, 1, like=model), bootstrap=10).to_json()
    for gain in paired(*two, resamples=20).gains:
        if gain.name == "log_partition":
            assert gain.second == pytest.approx(record["log_partition"]["mae"], abs=1e-5)
        else:
            assert gain.second == pytest.approx(record[RECORDED.get(gain.name, gain.name)]), gain.name


def test_better_is_positive_and_turns_round(two: tuple[RowScores, RowScores]) -> None:
    there = {gain.name: gain for gain in paired(*two).gains}
    back = {gain.name: gain for gain in paired(two[1], two[0]).gains}
    assert there["nll"].low > 0, "pairs predict better than parts alone where neighbours attract"
    assert there["nll"].is_clear
    for name, gain in there.items():
        assert gain.gain == pytest.approx(-back[name].gain)
        assert gain.low <= gain.gain <= gain.high
        more = gain.second > gain.first
        assert (gain.gain > 0) == (more if name in HIGHER_IS_BETTER else gain.second < gain.first)
        assert name in LOWER_IS_BETTER or name in HIGHER_IS_BETTER
    wide = {gain.name: gain for gain in paired(*two, alpha=0.05 / 6).gains}["nll"]
    assert wide.high - wide.low > there["nll"].high - there["nll"].low
    assert not any(gain.is_clear or gain.gain for gain in paired(two[0], two[0]).gains)


def test_pairs_are_the_same_rows_in_whatever_order_each_run_held_them_out(two: tuple[RowScores, RowScores]) -> None:
    first, second = two
    some, others = np.arange(0, 100), np.arange(149, 39, -1)
    found = paired(first.at(some), second.at(others))
    assert (found.rows, found.only_first, found.only_second) == (60, 40, 50)
    common = np.arange(40, 100)
    direct = paired(first.at(common), second.at(common))
    assert found.gains == direct.gains
    nll = next(gain for gain in found.gains if gain.name == "nll")
    assert nll.gain == pytest.approx(float((first.means["nll"] - second.means["nll"])[40:100].mean()))


def test_pairs_tell_more_than_two_intervals(two: tuple[RowScores, RowScores]) -> None:
    together = next(gain for gain in paired(*two).gains if gain.name == "nll")
    ends = []
    for scores in two:
        reach = 1.96 * scores.means["nll"].std(ddof=1) / np.sqrt(len(scores.rows))
        middle = float(scores.means["nll"].mean())
        ends.append((middle, middle - reach, middle + reach))
    apart = unpaired("nll", *ends)
    assert apart.gain == pytest.approx(together.gain)
    assert apart.high - apart.low > 1.2 * (together.high - together.low)
    turned = unpaired("f1", ends[1], ends[0])
    assert (turned.gain, turned.low, turned.high) == pytest.approx((apart.gain, apart.low, apart.high))


def test_a_score_that_few_rows_have_is_left_out(two: tuple[RowScores, RowScores]) -> None:
    first, second = two
    nll = first.means["nll"].copy()
    nll[FEWEST_PAIRS - 1 :] = np.nan
    thinned = dataclasses.replace(first, means={**first.means, "nll": nll})
    assert "nll" not in [gain.name for gain in paired(thinned, second).gains]
    nll[FEWEST_PAIRS - 1] = 1.0
    assert next(gain for gain in paired(thinned, second).gains if gain.name == "nll").rows == FEWEST_PAIRS


def test_many_rows_are_drawn_in_parts_and_come_out_the_same(
    two: tuple[RowScores, RowScores], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = paired(*two, resamples=50)
    monkeypatch.setattr("jebm_core.evaluation.paired._NUMBERS", 7 * 150)
    parts = paired(*two, resamples=50)
    for one, other in zip(whole.gains, parts.gains, strict=True):
        assert (one.gain, one.low, one.high) == pytest.approx((other.gain, other.low, other.high)), one.name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"table": "another"}, "other data"),
        ({"columns": ("y_z",)}, "other outputs"),
        ({"rows": np.arange(143, 293)}, "7 rows in common, and 8 or more"),
        ({"y": np.zeros((150, 6), dtype=np.int64)}, "differently"),
    ],
)
def test_other_rows_are_refused(two: tuple[RowScores, RowScores], change: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        paired(two[0], dataclasses.replace(two[1], **change))


@pytest.mark.parametrize("kind", ["configurations", "rankings"])
def test_every_kind_of_output_has_its_scores(kind: str) -> None:
    scores = scores_of(kind, "unary")
    names = {gain.name for gain in paired(scores, scores, resamples=10).gains}
    own = {"configurations": {"hamming_loss"}, "rankings": {"kendall_tau"}}[kind]
    shared = {"nll", "reference", "log_partition", "brier", "right", "ece_marginal", "ece_joint"}
    assert names == own | shared
