"""Candidate generators: how many combinations are left, and how the rules' shares stand against the data's."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from app.charts.style import COLOURS, QUIET, beside_names, blank, note_points

MOST_SHARES = 20


def funnel(stages: Sequence[str], counts: Sequence[int], shown: Sequence[str], *, title: str, axis: str) -> go.Figure:
    """Return one bar a stage, each a part of the one above, on a scale of powers of ten.

    Args:
        stages: what each bar counts, from all combinations down.
        counts: exact numbers; they may be far larger than a plot can hold, so their logarithms are drawn.
        shown: the numbers as text.
        title: the finding.
        axis: label of the axis.
    """
    figure = blank(title, height=100 + 52 * len(stages), legend=False)
    powers = [math.log10(number) if number else 0.0 for number in counts]
    highest = max([*powers, 1.0])
    inside = [power > 0.4 * highest for power in powers]
    figure.add_bar(
        x=powers,
        y=list(stages),
        orientation="h",
        marker={"color": [COLOURS[5], COLOURS[0], COLOURS[2], COLOURS[1]][: len(stages)]},
        text=list(shown),
        textposition=["inside" if fits else "outside" for fits in inside],
        insidetextanchor="start",
        textfont={"size": 15},
        insidetextfont={"color": "#FFFFFF"},
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
        width=0.7,
    )
    step = max(1, math.ceil(highest / 4))
    ticks = list(range(0, math.ceil(highest) + 1, step))
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    plain = highest < 7  # one way of writing them all: 10,000 beside 100, or powers beside powers
    labels = [f"{10**power:,}" if plain or not power else f"10{str(power).translate(raised)}" for power in ticks]
    figure.update_xaxes(title_text=axis, tickvals=ticks, ticktext=labels, tickangle=0, range=[0, highest * 1.04])
    figure.update_yaxes(categoryorder="array", categoryarray=list(stages)[::-1], ticks="", showgrid=False)
    return note_points(figure, len(stages), len(stages))


def share_gaps(
    names: Sequence[str],
    first: Sequence[float],
    second: Sequence[float],
    *,
    labels: tuple[str, str],
    title: str,
    axis: str,
) -> go.Figure:
    """Return one line a part: its share by one account and by another, joined; the widest gaps, the widest first."""
    order = sorted(range(len(names)), key=lambda i: -abs(first[i] - second[i]))[:MOST_SHARES]
    figure = blank(title, height=120 + 26 * len(order))
    rungs = [names[i] for i in order]
    gap: list[float | str | None] = [None]
    figure.add_scatter(
        x=[x for i in order for x in (first[i], second[i], *gap)],
        y=[y for i in order for y in (names[i], names[i], *gap)],
        mode="lines",
        line={"color": QUIET, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    looks = ((first, labels[0], COLOURS[0], "circle"), (second, labels[1], COLOURS[1], "diamond"))
    for values, label, colour, symbol in looks:
        figure.add_scatter(
            x=[values[i] for i in order],
            y=rungs,
            mode="markers",
            name=label,
            marker={"color": colour, "symbol": symbol, "size": 10},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    figure.update_xaxes(title_text=beside_names(axis), tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(categoryorder="array", categoryarray=rungs[::-1])
    return note_points(figure, len(order), len(order))
