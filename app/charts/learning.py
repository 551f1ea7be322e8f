"""Would more rows help? −log p against the number of rows, measured and expected."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, QUIET, SYMBOLS, bars, blank, note_points


@dataclass(frozen=True)
class LearningPoints:
    """−log p in nats after fits to so many rows, with the bounds of its 95 % interval."""

    rows: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def learning(
    measured: LearningPoints,
    ahead: LearningPoints,
    independent: Sequence[float],
    *,
    title: str,
    rows: str,
    axis: str,
    names: tuple[str, str, str],
) -> go.Figure:
    """Return measured points with intervals, what the law of the curve expects beyond them, and independent parts.

    Args:
        independent: one number a measured point; empty leaves them out.
        rows: title of the logarithmic axis of rows; axis: of the other.
        names: of the three series.
    """
    figure = blank(title, height=400)
    for place, (points, name, dash) in enumerate(((measured, names[0], "solid"), (ahead, names[1], "dot"))):
        if not len(points.rows):
            continue
        figure.add_scatter(
            x=list(points.rows),
            y=list(points.value),
            error_y=bars(points.value, points.low, points.high, COLOURS[place]),
            name=name,
            mode="lines+markers",
            line={"color": COLOURS[place], "dash": dash, "width": 2},
            marker={"symbol": SYMBOLS[place], "size": 9},
            hovertemplate=f"{rows}: %{{x:,}}<br>{axis}: %{{y:.3f}}<extra></extra>",
        )
    if len(independent):
        figure.add_scatter(
            x=list(measured.rows),
            y=list(independent),
            name=names[2],
            mode="lines+markers",
            line={"color": QUIET, "dash": "dash", "width": 2},
            marker={"symbol": SYMBOLS[2], "size": 7},
            hovertemplate=f"{rows}: %{{x:,}}<br>{axis}: %{{y:.3f}}<extra></extra>",
        )
    ticks = [*measured.rows, *ahead.rows]
    figure.update_xaxes(title_text=rows, type="log", tickvals=ticks, ticktext=[f"{n:,.0f}" for n in ticks])
    figure.update_yaxes(title_text=axis)
    total = len(ticks) + len(independent)
    return note_points(figure, total, total)
