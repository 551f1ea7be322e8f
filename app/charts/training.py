"""Is training healthy? The objective, with the effective sample size and the total mass beneath it."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, QUIET, blank, note_points, thinned


@dataclass(frozen=True)
class TrainingHistory:
    """One value an epoch of each; the objectives in nats, the effective sample size as a share of the draws."""

    epoch: Sequence[float]
    objective: Sequence[float]
    held_out_objective: Sequence[float]
    effective_sample_size: Sequence[float]
    total_mass: Sequence[float]
    held_out_nll_independent: float | None = None


@dataclass(frozen=True)
class TrainingLabels:
    """Translated words of the figure."""

    epoch: str
    objective: str
    training: str
    held_out: str
    effective_sample_size: str
    total_mass: str
    independent: str


def training_curves(history: TrainingHistory, *, title: str, labels: TrainingLabels) -> go.Figure:
    """Return three panels over the same epochs; healthy are falling curves, a high share and a mass near one.

    The dotted line in the first panel is the held-out likelihood of independent outputs: a joint model should pass it.
    """
    keep = thinned(len(history.epoch), 1000)
    figure = blank(title, height=560)
    rows = (
        ("y", history.objective, labels.training, 0),
        ("y", history.held_out_objective, labels.held_out, 1),
        ("y2", history.effective_sample_size, labels.effective_sample_size, 2),
        ("y3", history.total_mass, labels.total_mass, 3),
    )
    for axis, values, name, style in rows:
        figure.add_scatter(
            x=[history.epoch[i] for i in keep],
            y=[values[i] for i in keep],
            name=name,
            mode="lines",
            line={"color": COLOURS[style], "dash": "dash" if style == 1 else "solid", "width": 2},
            xaxis="x",
            yaxis=axis,
            showlegend=axis == "y",
        )
    if history.held_out_nll_independent is not None and len(keep):
        figure.add_scatter(
            x=[history.epoch[keep[0]], history.epoch[keep[-1]]],
            y=[history.held_out_nll_independent] * 2,
            name=labels.independent,
            mode="lines",
            line={"color": QUIET, "dash": "dot", "width": 2},
        )
    shared_axis = {"gridcolor": "#E2E8F0", "automargin": True, "title": {"font": {"color": QUIET}}}
    figure.update_layout(
        xaxis={"title": {"text": labels.epoch}, "anchor": "y3"},
        yaxis={"domain": [0.5, 1.0], "title": {"text": labels.objective}},
        yaxis2=shared_axis
        | {"domain": [0.25, 0.44], "range": [0, 1], "tickformat": ".0%", "title": labels.effective_sample_size},
        yaxis3=shared_axis | {"domain": [0.0, 0.19], "title": labels.total_mass},
    )
    figure.add_hline(y=1.0, line={"color": QUIET, "dash": "dot", "width": 1}, yref="y3")
    return note_points(figure, 4 * len(keep), 4 * len(history.epoch))
