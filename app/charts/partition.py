"""Are the probabilities normalised? The learned log-partition against its audit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from app.charts.style import COLOURS, POINT_LIMIT, QUIET, SYMBOLS, blank, note_points, shared, thinned


@dataclass(frozen=True)
class AuditedGroup:
    """Cases of one kind, such as training or unseen ones: learned and audited log-partition with bounds, in nats."""

    name: str
    learned: Sequence[float]
    audited: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def learned_against_audited(
    groups: Sequence[AuditedGroup], *, title: str, learned: str, audited: str, agreement: str
) -> go.Figure:
    """Return a scatter of learned over audited values, bars for the audit's interval, a line where both agree."""
    figure = blank(title, height=480)
    sizes = [len(group.learned) for group in groups]
    shown = 0
    # The first group, on which the verdict rests, is drawn last and lies on top.
    for style, (group, limit) in reversed(list(enumerate(zip(groups, shared(POINT_LIMIT, sizes), strict=True)))):
        keep = thinned(len(group.learned), limit)
        shown += len(keep)
        centre, low, high = (np.asarray(part, float)[keep] for part in (group.audited, group.low, group.high))
        figure.add_scatter(
            x=centre.tolist(),
            y=np.asarray(group.learned, float)[keep].tolist(),
            error_x={
                "type": "data",
                "symmetric": False,
                "array": np.maximum(high - centre, 0.0).tolist(),
                "arrayminus": np.maximum(centre - low, 0.0).tolist(),
                "thickness": 1,
                "width": 0,
                "color": COLOURS[style],
            },
            name=group.name,
            legendrank=style,
            mode="markers",
            marker={"color": COLOURS[style], "symbol": SYMBOLS[style], "size": 7, "opacity": 0.75},
        )
    values = [float(v) for group in groups for part in (group.learned, group.audited) for v in part]
    if values:
        ends = [min(values), max(values)]
        figure.add_scatter(
            x=ends, y=ends, name=agreement, mode="lines", line={"color": QUIET, "dash": "dot"}, hoverinfo="skip"
        )
    figure.update_xaxes(title_text=audited)
    figure.update_yaxes(title_text=learned)
    return note_points(figure, shown, sum(sizes))


def error_histogram(groups: Sequence[AuditedGroup], *, title: str, error: str, cases: str) -> go.Figure:
    """Return the share of cases by error (learned minus audited), on bins that all groups share."""
    figure = blank(title, height=360)
    errors = [np.asarray(group.learned, float) - np.asarray(group.audited, float) for group in groups]
    every = np.concatenate([*errors, np.zeros(1)])
    spread = max(float(np.abs(every).max()), 1e-3)
    edges = np.linspace(-spread, spread, 32)
    for style, (group, error_of) in enumerate(zip(groups, errors, strict=True)):
        heights = np.histogram(error_of, edges)[0] / max(len(error_of), 1)
        figure.add_scatter(
            x=((edges[1:] + edges[:-1]) / 2).tolist(),
            y=heights.tolist(),
            name=group.name,
            mode="lines",
            line={"color": COLOURS[style], "shape": "hvh", "dash": "solid" if style == 0 else "dash", "width": 2},
            fill="tozeroy" if style == 0 else None,
            fillcolor="rgba(29,78,216,0.15)",
        )
    figure.add_vline(x=0.0, line={"color": QUIET, "dash": "dot"})
    figure.update_xaxes(title_text=error)
    figure.update_yaxes(title_text=cases, tickformat=".0%", rangemode="tozero")
    return note_points(figure, 31 * len(groups), 31 * len(groups))


def estimated_against_true(
    true: Sequence[float],
    estimated: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    title: str,
    truth: str,
    estimate: str,
    agreement: str,
) -> go.Figure:
    """Return a scatter of estimated over true log-probabilities, bars for the estimate's interval."""
    figure = blank(title, height=440)
    keep = thinned(len(true), POINT_LIMIT)
    x, y, lower, upper = (np.asarray(part, float)[keep] for part in (true, estimated, low, high))
    figure.add_scatter(
        x=x.tolist(),
        y=y.tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(upper - y, 0.0).tolist(),
            "arrayminus": np.maximum(y - lower, 0.0).tolist(),
            "thickness": 1,
            "width": 0,
            "color": COLOURS[0],
        },
        name=estimate,
        mode="markers",
        marker={"color": COLOURS[0], "symbol": SYMBOLS[0], "size": 7, "opacity": 0.75},
    )
    if len(keep):
        ends = [float(min(x.min(), y.min())), float(max(x.max(), y.max()))]
        figure.add_scatter(
            x=ends, y=ends, name=agreement, mode="lines", line={"color": QUIET, "dash": "dot"}, hoverinfo="skip"
        )
    figure.update_xaxes(title_text=truth)
    figure.update_yaxes(title_text=estimate)
    return note_points(figure, len(keep), len(true))
