"""Figures carry the numbers they were given, at most 5,000 points, and colours that colour-blind eyes tell apart."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from app import charts
from app.charts.generators import funnel
from app.charts.style import DASHES, SYMBOLS, blank, thinned, wrapped
from app.components.figure import prepared


def _points(figure: go.Figure) -> int:
    drawn: list[dict[str, Any]] = figure.to_dict()["data"]
    return sum(
        sum(len(row) for row in trace["z"]) if trace["type"] == "heatmap" else len(trace["x"]) for trace in drawn
    )


def _group(name: str, size: int) -> charts.AuditedGroup:
    values = np.linspace(-3.0, 3.0, size)
    learned, audited, low, high = ((values + shift).tolist() for shift in (0.1, 0.0, -0.2, 0.3))
    return charts.AuditedGroup(name, learned, audited, low, high)


def test_training_curves_show_four_series_and_the_baseline() -> None:
    epochs = list(range(20))
    history = charts.TrainingHistory(epochs, epochs, epochs, [0.5] * 20, [1.0] * 20, held_out_nll_independent=6.2)
    labels = charts.TrainingLabels("Epoch", "Held out (nat)", "Model", "Independent", "Objective", "ESS", "Mass")
    figure = charts.training_curves(history, title="Healthy", labels=labels).to_dict()
    assert [trace["name"] for trace in figure["data"]] == ["Model", "Objective", "ESS", "Mass", "Independent"]
    assert {trace.get("yaxis", "y") for trace in figure["data"]} == {"y", "y2", "y3", "y4"}
    assert list(figure["data"][-1]["y"]) == [6.2, 6.2]
    assert figure["layout"]["title"]["text"] == "Healthy"


def test_empty_history_draws_nothing_and_does_not_fail() -> None:
    labels = charts.TrainingLabels(*"abcdefg")
    assert charts.training_curves(charts.TrainingHistory([], [], [], [], [], 1.0), title="t", labels=labels)


def test_learned_against_audited_keeps_intervals_and_groups_apart() -> None:
    groups = [_group("train", 3), _group("unseen", 2)]
    figure = charts.learned_against_audited(
        groups, title="t", learned="τ", audited="log Z", agreement="equal"
    ).to_dict()
    second, first, line = figure["data"]
    assert first["marker"]["symbol"] != second["marker"]["symbol"]
    np.testing.assert_allclose(first["error_x"]["array"], 0.3)
    np.testing.assert_allclose(first["error_x"]["arrayminus"], 0.2)
    assert line["x"] == line["y"]


def test_no_figure_shows_more_points_than_the_limit_and_it_says_so() -> None:
    groups = [_group("train", 30_000), _group("unseen", 10_000)]
    figure = charts.learned_against_audited(groups, title="t", learned="τ", audited="log Z", agreement="equal")
    assert _points(figure) - 2 == figure.to_dict()["layout"]["meta"]["shown"] <= charts.POINT_LIMIT
    assert figure.to_dict()["layout"]["meta"]["total"] == 40_000
    with pytest.raises(ValueError, match="at most 5000 pairs"):
        charts.co_occurrence(np.zeros((71, 71)), [""] * 71, title="t", scale="s")


def test_error_histogram_counts_every_case_once() -> None:
    figure = charts.error_histogram([_group("train", 50)], title="t", error="e", cases="c").to_dict()
    assert sum(figure["data"][0]["y"]) == pytest.approx(1.0)


def test_reliability_draws_a_band_for_each_series() -> None:
    series = [
        charts.ReliabilitySeries(name, [0.1, 0.5], [0.12, 0.4], [0.05, 0.3], [0.2, 0.6], [40, 20])
        for name in ("marginal", "joint")
    ]
    figure = charts.reliability(series, title="t", stated="s", observed="o", cases="n", agreement="perfect").to_dict()
    assert len(figure["data"]) == 5
    assert list(figure["data"][1]["y"]) == [0.2, 0.6, 0.3, 0.05]
    assert figure["data"][2]["line"]["dash"] != figure["data"][4]["line"]["dash"]


def test_ladder_keeps_the_order_and_groups_by_distance() -> None:
    ladder = charts.Ladder(
        ["a", "b", "c"], [0.3, 0.2, 0.1], [0.2, 0.1, 0.0], [0.4, 0.3, 0.2], [1, 2, 1], [0.25, 0.2, 0.1]
    )
    figure = charts.probability_ladder(
        ladder, title="t", probability="p", distance="{distance} apart", truth="truth", base_rate=0.01
    ).to_dict()
    assert [trace["name"] for trace in figure["data"]] == ["1 apart", "2 apart", "truth"]
    assert list(figure["layout"]["yaxis"]["categoryarray"]) == ["c", "b", "a"]


def test_co_occurrence_leaves_cells_without_meaning_empty() -> None:
    matrix = np.array([[np.nan, 0.5], [0.5, np.nan]])
    trace = charts.co_occurrence(matrix, ["a", "b"], title="t", scale="s").to_dict()["data"][0]
    assert [list(row) for row in trace["z"]] == [[None, 0.5], [0.5, None]]
    assert (trace["zmin"], trace["zmax"]) == (-1.0, 1.0)


def test_columns_of_co_occurrence_are_named_by_slot_or_numbered_where_they_are_many() -> None:
    def drawn(count: int, **groups: Any) -> tuple[Any, Any]:
        layout = charts.co_occurrence(np.eye(count), [f"n{i}" for i in range(count)], title="t", scale="s", **groups)
        return layout.layout.xaxis, layout.layout.yaxis

    columns, rows = drawn(20)
    assert columns.ticktext == rows.ticktext == tuple(f"n{i}" for i in range(20))
    columns, rows = drawn(21)
    assert columns.ticktext is None
    assert (rows.ticktext[0], rows.ticktext[20], rows.tickvals[20]) == ("1. n0", "21. n20", 21)
    columns, rows = drawn(25, groups=[0] * 4 + [2] * 21, group_names=["motor", "unused", "gear"])
    assert (columns.ticktext, columns.tickvals) == (("motor", "gear"), (2.5, 15.0))
    assert rows.ticktext[24] == "n24"


def test_combination_frequency_is_a_bar_a_group() -> None:
    figure = charts.combination_frequency(["1", "2"], [0.8, 0.2], title="t", times="n", share="s").to_dict()
    assert list(figure["data"][0]["y"]) == [0.8, 0.2]


def test_titles_wrap_and_thinning_keeps_both_ends() -> None:
    assert "<br>" in wrapped("word " * 40)
    kept = thinned(100_000)
    assert (kept[0], kept[-1], len(kept), len(set(kept.tolist()))) == (0, 99_999, 5_000, 5_000)


def test_a_drawing_says_whether_its_numbers_are_those_of_before() -> None:
    def layout(shares: list[float], axis: str = "s") -> Any:
        chart = charts.combination_frequency(["1", "2"], shares, title="t", times="n", share=axis)
        return prepared(chart, pd.DataFrame()).chart.layout

    before = layout([0.8, 0.2])
    assert before.datarevision == layout([0.8, 0.2]).datarevision
    assert before.datarevision != layout([0.7, 0.3]).datarevision
    assert before.datarevision != layout([0.8, 0.2], "t").datarevision
    assert before.meta is None, "an object, which the frontend takes for changed whenever it looks"


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = matrix @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = [np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_stay_apart_for_every_kind_of_sight(sight: str) -> None:
    seen = [_lab(np.asarray(SIGHT[sight]) @ _linear(colour)) for colour in charts.COLOURS]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 18.0
    assert len(charts.COLOURS) <= 6 <= min(len(SYMBOLS), len(DASHES))


@pytest.mark.parametrize("colour", charts.COLOURS)
def test_colours_stand_out_from_white(colour: str) -> None:
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], _linear(colour)))
    assert 1.05 / (luminance + 0.05) >= 3.0


def test_intervals_coverage_and_transform_hold_their_numbers() -> None:
    figure = charts.compared(["a", "b"], [0.5, 0.2], [0.4, 0.1], [0.7, 0.2], title="t", axis="p").to_dict()
    assert figure["data"][0]["error_x"]["array"] == pytest.approx([0.2])
    levels = charts.CoverageLevels([0.5, 0.9], [0.4, 0.8], [0.3, 0.7], [0.5, 0.9])
    figure = charts.coverage(levels, title="t", stated="s", observed="o", agreement="a").to_dict()
    assert figure["data"][1]["error_y"]["arrayminus"] == pytest.approx([0.1, 0.1])
    figure = charts.transform_histogram([1, 3], title="t", transform="x", share="s").to_dict()
    assert figure["data"][0]["y"] == pytest.approx([0.25, 0.75])


def test_estimates_over_the_truth_keep_their_bars() -> None:
    figure = charts.estimated_against_true(
        [-2.0, -1.0], [-2.5, -1.0], [-3.0, -1.1], [-2.4, -1.0], title="t", truth="x", estimate="y", agreement="a"
    ).to_dict()
    np.testing.assert_allclose(figure["data"][0]["error_y"]["array"], [0.1, 0.0])
    np.testing.assert_allclose(figure["data"][0]["error_y"]["arrayminus"], [0.5, 0.1])


def test_trials_stand_by_their_standing_and_empty_ones_are_left_out() -> None:
    best = charts.TrialPoints("best", [2], [4.0], [7.9], ["b"])
    none = charts.TrialPoints("none", [], [], [], [])
    others = charts.TrialPoints("others", [1, 3], [5.0, 6.0], [8.1, 8.3], ["a", "c"])
    chart = charts.trade_off([best, none, others], title="A finding", seconds="s", nll="nat")
    assert [(trace.name, *trace.text) for trace in chart.data] == [("best", "2"), ("others", "1", "3")]
    assert chart.data[0].marker.symbol != chart.data[1].marker.symbol, "not colour alone"
    assert chart.layout.meta == {"shown": 3, "total": 3}


def test_a_figure_carries_no_style_but_its_own() -> None:
    assert not blank("A finding").to_dict()["layout"].get("template")
    assert len(blank("A finding").to_json()) < 3000


@pytest.mark.parametrize(
    ("most", "written"), [(225_000, ["1", "100", "10,000", "1,000,000"]), (10**12, ["1", "10³", "10⁶", "10⁹", "10¹²"])]
)
def test_an_axis_of_counts_has_one_notation(most: int, written: list[str]) -> None:
    figure = funnel(["All", "Valid"], [most, 377], ["", ""], title="", axis="")
    assert list(figure["layout"]["xaxis"]["ticktext"]) == written
