"""When the model says 30 %, does it happen 30 % of the time? Stated against observed shares, with bands."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, DASHES, QUIET, SYMBOLS, bars, blank, note_points


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


@dataclass(frozen=True)
class CoverageLevels:
    """What regions were said to hold, what they held, and the bounds of that, one a level; shares of one."""

    level: Sequence[float]
    covered: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def coverage(levels: CoverageLevels, *, title: str, stated: str, observed: str, agreement: str) -> go.Figure:
    """Return the share of cases inside regions over the share that the regions were said to hold."""
    figure = blank(title, height=360)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name=agreement, mode="lines", line={"color": QUIET, "dash": "dot"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=list(levels.level),
        y=list(levels.covered),
        error_y=bars(levels.covered, levels.low, levels.high, COLOURS[0]),
        name=observed,
        mode="markers",
        marker={"color": COLOURS[0], "symbol": SYMBOLS[0], "size": 9},
        hovertemplate=f"{stated}: %{{x:.0%}}<br>{observed}: %{{y:.1%}}<extra></extra>",
    )
    figure.update_xaxes(title_text=stated, tickformat=".0%", range=[0.4, 1.02])
    figure.update_yaxes(title_text=observed, tickformat=".0%", range=[-0.02, 1.05])
    return note_points(figure, len(levels.level), len(levels.level))


def transform_histogram(cases: Sequence[int], *, title: str, transform: str, share: str) -> go.Figure:
    """Return the share of cases by tenth of the probability integral transform; the line is perfect calibration."""
    figure = blank(title, height=360, legend=False)
    total = max(sum(cases), 1)
    width = 1.0 / max(len(cases), 1)
    figure.add_bar(
        x=[(place + 0.5) * width for place in range(len(cases))],
        y=[one / total for one in cases],
        width=[0.92 * width] * len(cases),
        marker={"color": COLOURS[0]},
        hovertemplate=f"{share}: %{{y:.1%}}<extra></extra>",
    )
    figure.add_hline(y=width, line={"color": QUIET, "dash": "dot", "width": 2})
    figure.update_xaxes(title_text=transform, range=[0, 1])
    figure.update_yaxes(title_text=share, tickformat=".0%", rangemode="tozero")
    return note_points(figure, len(cases), len(cases))
