"""What adds to a score and what takes from it."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.charts.style import COLOURS, QUIET, beside_names, blank, note_points, wrapped

MOST_BARS = 12


def contribution_bars(names: Sequence[str], values: Sequence[float], *, title: str, axis: str) -> go.Figure:
    """Return one bar a term, the largest in size first; those that add point right, those that take point left.

    Args:
        names: in the order of the values, the largest first; at most `MOST_BARS` are drawn.
        title: the finding.
        axis: what a bar measures, with its unit.
    """
    shown = min(len(names), MOST_BARS)
    # Two terms may have one name; a bar each.
    rungs = [f"{place + 1}. {wrapped(name, 34)}" for place, name in enumerate(names[:shown])]
    figure = blank(title, height=120 + 36 * shown, legend=False)
    figure.add_bar(
        x=list(values[:shown]),
        y=rungs,
        orientation="h",
        marker={
            "color": [COLOURS[0] if value > 0 else COLOURS[1] for value in values[:shown]],
            "pattern": {"shape": ["" if value > 0 else "/" for value in values[:shown]], "fgcolor": "#FFFFFF"},
        },
        text=[_signed(value, 2) for value in values[:shown]],
        customdata=[_signed(value, 3) for value in values[:shown]],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )
    figure.add_vline(x=0, line={"color": QUIET, "width": 1})
    reach = max((abs(value) for value in values[:shown]), default=1.0) * 1.5 or 1.0
    figure.update_xaxes(
        title_text=beside_names(axis), range=[min(-reach * (min(values, default=0) < 0), -0.1 * reach), reach]
    )
    figure.update_yaxes(
        categoryorder="array", categoryarray=rungs[::-1], ticks="", showgrid=False, tickfont={"size": 12}
    )
    return note_points(figure, shown, len(names))


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")  # with the sign of the axis
