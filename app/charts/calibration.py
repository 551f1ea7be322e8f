"""When the model says 30 %, does it happen 30 % of the time? Stated against observed shares, with bands."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, DASHES, QUIET, SYMBOLS, blank, note_points


@dataclass(frozen=True)
class ReliabilitySeries:
    """Bins of one event, marginal or joint: mean stated probability, observed share, its bounds, number of cases."""

    name: str
    stated: Sequence[float]
    observed: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    cases: Sequence[int]


def reliability(
    series: Sequence[ReliabilitySeries], *, title: str, stated: str, observed: str, cases: str, agreement: str
) -> go.Figure:
    """Return observed over stated shares; the diagonal is perfect calibration, the band what chance would give."""
    figure = blank(title, height=480)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name=agreement, mode="lines", line={"color": QUIET, "dash": "dot"}, hoverinfo="skip"
    )
    for style, one in enumerate(series):
        red, green, blue = (int(COLOURS[style][i : i + 2], 16) for i in (1, 3, 5))
        figure.add_scatter(
            x=[*one.stated, *reversed(one.stated)],
            y=[*one.high, *reversed(one.low)],
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},0.15)",
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=one.name,
        )
        figure.add_scatter(
            x=list(one.stated),
            y=list(one.observed),
            customdata=list(one.cases),
            name=one.name,
            legendgroup=one.name,
            mode="lines+markers",
            line={"color": COLOURS[style], "dash": DASHES[style], "width": 2},
            marker={"color": COLOURS[style], "symbol": SYMBOLS[style], "size": 8},
            hovertemplate=f"{stated}: %{{x:.1%}}<br>{observed}: %{{y:.1%}}<br>{cases}: %{{customdata}}",
        )
    figure.update_xaxes(title_text=stated, tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(title_text=observed, tickformat=".0%", range=[-0.02, 1.02])
    shown = sum(len(one.stated) for one in series)
    return note_points(figure, shown, shown)
