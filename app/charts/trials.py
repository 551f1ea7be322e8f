"""Trials of settings: how well each predicts against what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, SYMBOLS, blank, note_points


@dataclass(frozen=True)
class TrialPoints:
    """Trials of one standing: their numbers, seconds, −log p in nats, and what a pointer on each shows."""

    name: str
    number: Sequence[int]
    seconds: Sequence[float]
    nll: Sequence[float]
    detail: Sequence[str]


def trade_off(groups: Sequence[TrialPoints], *, title: str, seconds: str, nll: str) -> go.Figure:
    """Return −log p over time, a marker a trial with its number; lower and further left is better.

    Args:
        groups: the best first, then those that nothing beats, then the others; an empty one is left out.
        title: the finding.
        seconds, nll: titles of the axes.
    """
    figure = blank(title, height=380)
    for style, group in enumerate(groups):
        if not len(group.number):
            continue
        look = (0, 2, 5)[style]
        figure.add_scatter(
            x=list(group.seconds),
            y=list(group.nll),
            text=[str(number) for number in group.number],
            customdata=list(group.detail),
            name=group.name,
            mode="markers+text",
            textposition="top center",
            marker={"color": COLOURS[look], "symbol": SYMBOLS[style], "size": 13 if style == 0 else 10},
            hovertemplate=f"%{{customdata}}<br>{seconds}: %{{x:.1f}}<br>{nll}: %{{y:.3f}}<extra></extra>",
        )
    figure.update_xaxes(title_text=seconds, rangemode="tozero")
    figure.update_yaxes(title_text=nll)
    shown = sum(len(group.number) for group in groups)
    return note_points(figure, shown, shown)
