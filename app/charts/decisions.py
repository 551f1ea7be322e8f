"""When should a person decide: risk against coverage, and what each threshold is worth."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.charts.style import COLOURS, DASHES, QUIET, SYMBOLS, blank, note_points


def coverage_risk(
    coverage: Sequence[float],
    risk: Sequence[float | None],
    chosen: tuple[float, float],
    target: float,
    *,
    title: str,
    axes: tuple[str, str],
    names: tuple[str, str, str],
) -> go.Figure:
    """Return the risk at each share of answered rows, the target as a line, and the chosen threshold as a point.

    Args:
        axes: titles of coverage and risk. names: of the curve, the chosen point and the target.
    """
    figure = blank(title, height=420)
    figure.add_scatter(
        x=[0, 1],
        y=[target, target],
        name=names[2],
        mode="lines",
        line={"color": QUIET, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=list(coverage), y=list(risk), name=names[0], mode="lines", line={"color": COLOURS[0], "width": 2},
        hovertemplate=f"{axes[0]}: %{{x:.1%}}<br>{axes[1]}: %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[chosen[0]], y=[chosen[1]], name=names[1], mode="markers",
        marker={"color": COLOURS[1], "symbol": SYMBOLS[1], "size": 13},
        hovertemplate=f"{axes[0]}: %{{x:.1%}}<br>{axes[1]}: %{{y:.3f}}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text=axes[0], tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(title_text=axes[1], rangemode="tozero")
    return note_points(figure, len(coverage), len(coverage))


def worth_by_threshold(
    threshold: Sequence[float],
    series: Sequence[tuple[str, Sequence[float]]],
    chosen: float,
    *,
    title: str,
    axes: tuple[str, str],
    mark: str,
) -> go.Figure:
    """Return the mean worth a row when rows above each threshold are answered and the rest is left alone."""
    figure = blank(title, height=420)
    for style, (name, values) in enumerate(series):
        figure.add_scatter(
            x=list(threshold), y=list(values), name=name, mode="lines",
            line={"color": COLOURS[style], "dash": DASHES[style], "width": 2},
            hovertemplate=f"{axes[0]}: %{{x:.3f}}<br>{axes[1]}: %{{y:.3g}}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=chosen, line={"color": QUIET, "dash": "dot"}, annotation_text=mark)
    most = max([chosen, *threshold], default=1.0) or 1.0
    figure.update_xaxes(title_text=axes[0], range=[-0.02 * most, 1.02 * most])
    figure.update_yaxes(title_text=axes[1])
    return note_points(figure, len(threshold), len(threshold))
