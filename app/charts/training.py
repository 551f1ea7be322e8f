"""Is training healthy? Held-out likelihood against independent parts, with objective, sample size and mass beneath."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.charts.style import COLOURS, QUIET, TEXT, blank, note_points, thinned


@dataclass(frozen=True)
class TrainingHistory:
    """One value an epoch of each; likelihood and objective in nats, effective sample size as a share of the draws."""

    epoch: Sequence[float]
    held_out_nll: Sequence[float | None]
    objective: Sequence[float | None]
    effective_sample_size: Sequence[float | None]
    total_mass: Sequence[float | None]
    held_out_nll_independent: float | None = None


@dataclass(frozen=True)
class TrainingLabels:
    """Translated words of the figure; the panels are named above them."""

    epoch: str
    held_out_nll: str
    model: str
    independent: str
    objective: str
    effective_sample_size: str
    total_mass: str


def training_curves(history: TrainingHistory, *, title: str, labels: TrainingLabels, most: int = 1000) -> go.Figure:
    """Return four panels over the same epochs: held-out −log p, training objective, effective sample size, total mass.

    Healthy are falling curves in the first two, a high share and a mass near one. The dotted line in the first panel is
    the held-out likelihood of independent parts: a joint model should pass beneath it. Of longer curves ``most`` points
    each are drawn.
    """
    keep = thinned(len(history.epoch), most)
    epochs = [history.epoch[i] for i in keep]
    figure = blank(title, height=620)
    panels = (
        ("y", (0.64, 0.97), labels.held_out_nll, history.held_out_nll, 0),
        ("y2", (0.43, 0.56), labels.objective, history.objective, 3),
        ("y3", (0.215, 0.345), labels.effective_sample_size, history.effective_sample_size, 2),
        ("y4", (0.0, 0.13), labels.total_mass, history.total_mass, 5),
    )
    axis = {"gridcolor": "#E2E8F0", "automargin": True, "nticks": 4}
    for name, domain, words, values, style in panels:
        figure.add_scatter(
            x=epochs,
            y=[values[i] for i in keep],
            name=labels.model if name == "y" else words,
            mode="lines+markers" if len(epochs) < 3 else "lines",
            line={"color": COLOURS[style], "width": 2},
            xaxis="x",
            yaxis=name,
            showlegend=name == "y",
            hovertemplate="%{x}: %{y:.3~f}<extra></extra>",
        )
        figure.add_annotation(
            text=words, x=0, xref="paper", xanchor="left", y=domain[1], yref="paper", yanchor="bottom", showarrow=False
        )
        figure.update_layout({name.replace("y", "yaxis"): axis | {"domain": list(domain)}})
    if history.held_out_nll_independent is not None and len(keep):
        figure.add_scatter(
            x=[epochs[0], epochs[-1]],
            y=[history.held_out_nll_independent] * 2,
            name=labels.independent,
            mode="lines",
            line={"color": QUIET, "dash": "dot", "width": 2},
        )
    figure.update_annotations(font={"size": 12, "color": TEXT})
    figure.update_layout(
        xaxis={"title": {"text": labels.epoch}, "anchor": "y4"}, yaxis3={"range": [0, 1.05], "tickformat": ".0%"}
    )
    figure.add_hline(y=1.0, line={"color": QUIET, "dash": "dot", "width": 1}, yref="y4")
    return note_points(figure, 4 * len(keep), 4 * len(history.epoch))
