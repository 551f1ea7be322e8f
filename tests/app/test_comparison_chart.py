"""The chart of gains: where its marks stand, what is filled, and how figures look on a dark page."""

import plotly.graph_objects as go
import pytest

from app.charts import COLOURS, compared
from app.charts.comparison import GainSeries, gains
from app.charts.style import by_night

SERIES = [
    GainSeries("nll (nat)", [0.3, -0.1, None], [0.1, -0.3, None], [0.5, 0.2, None]),
    GainSeries("error (points)", [-2.0, 0.0, 1.0], [-3.0, 0.0, -1.0], [-1.0, 0.0, 2.0]),
]


@pytest.fixture
def figure() -> go.Figure:
    return gains(["B", "C", "D"], SERIES, title="B is better", axis="right is better")


def test_every_known_gain_has_its_mark_and_interval(figure: go.Figure) -> None:
    assert (figure.layout.meta["shown"], figure.layout.meta["total"]) == (5, 6)
    marks = [(trace.xaxis, trace.y[0], trace.x[0]) for trace in figure.data]
    assert marks == [("x", "B", 0.3), ("x", "C", -0.1), ("x2", "B", -2.0), ("x2", "C", 0.0), ("x2", "D", 1.0)]
    first = figure.data[0].error_x
    assert first.array[0] == pytest.approx(0.2)
    assert first.arrayminus[0] == pytest.approx(0.2)
    assert [note.text for note in figure.layout.annotations] == ["nll (nat)", "error (points)"]


def test_colour_and_filling_say_what_is_clear(figure: go.Figure) -> None:
    looks = [(trace.marker.color, trace.marker.symbol.endswith("-open")) for trace in figure.data]
    better, worse, unclear = (COLOURS[0], False), (COLOURS[1], False), (COLOURS[5], True)
    assert looks == [better, unclear, worse, unclear, unclear]


def test_each_panel_is_centred_on_no_difference(figure: go.Figure) -> None:
    for axis, reach in ((figure.layout.xaxis, 0.5), (figure.layout.xaxis2, 3.0)):
        assert axis.range[0] == pytest.approx(-axis.range[1])
        assert axis.range[1] > reach
    assert figure.layout.yaxis.domain[1] < 1, "the first panel's title has room"


def test_a_figure_by_night_has_the_same_marks_in_other_colours() -> None:
    day = compared(["a", "b"], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], title="A finding", axis="nat")
    night = by_night(day)
    assert night.layout.paper_bgcolor != day.layout.paper_bgcolor
    assert [list(trace.x) for trace in night.data] == [list(trace.x) for trace in day.data]
    assert not {trace.marker.color for trace in night.data} & set(COLOURS)
    assert night.layout.title.text == day.layout.title.text
