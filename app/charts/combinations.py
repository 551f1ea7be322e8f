"""Combinations: how often they occur, which parts go together, and which untried ones are likely."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import plotly.graph_objects as go

from app.charts.style import COLOURS, DIVERGING, POINT_LIMIT, QUIET, SYMBOLS, beside_names, blank, note_points

MOST_COLUMN_NAMES = 20
"""More names than these, side by side, cover each other on a telephone."""


@dataclass(frozen=True)
class Ladder:
    """Untried combinations, likeliest first: probability with bounds, parts changed from the nearest tried one.

    Names are short and all different; ``detail`` is what a pointer on a rung shows.
    """

    name: Sequence[str]
    probability: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    distance: Sequence[int]
    truth: Sequence[float | None] | None = None
    detail: Sequence[str] | None = None


def probability_ladder(
    ladder: Ladder,
    *,
    title: str,
    probability: str,
    distance: str,
    truth: str,
    base_rate: float | None = None,
    whole: bool = False,
) -> go.Figure:
    """Return one rung a combination, with its interval; the marker tells the distance to the nearest tried one.

    Args:
        ladder: the combinations in the order to show.
        title: the finding.
        probability: label of the axis.
        distance: name of a group of equal distance, with ``{distance}`` in it.
        truth: name of the true probabilities, where they are known.
        whole: show the axis from 0 to 1, for probabilities of an outcome.
        base_rate: a random valid combination's probability, drawn as a line.
    """
    limit = min(len(ladder.name), 60)
    figure = blank(title, height=140 + 26 * limit)
    rungs = list(ladder.name[:limit])
    for style, steps in enumerate(sorted(set(ladder.distance[:limit]))):
        rows = [i for i in range(limit) if ladder.distance[i] == steps]
        look = min(style, len(COLOURS) - 1)
        figure.add_scatter(
            x=[ladder.probability[i] for i in rows],
            y=[rungs[i] for i in rows],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(ladder.high[i] - ladder.probability[i], 0.0) for i in rows],
                "arrayminus": [max(ladder.probability[i] - ladder.low[i], 0.0) for i in rows],
                "color": COLOURS[look],
                "thickness": 1.5,
                "width": 4,
            },
            name=distance.format(distance=steps),
            mode="markers",
            marker={"color": COLOURS[look], "symbol": SYMBOLS[look], "size": 9},
            customdata=[(ladder.detail or ladder.name)[i] for i in rows],
            hovertemplate="%{customdata}<br>%{x:.3~p}<extra></extra>",
        )
    if ladder.truth is not None:
        figure.add_scatter(
            x=list(ladder.truth[:limit]),
            y=rungs,
            name=truth,
            mode="markers",
            marker={"color": QUIET, "symbol": "line-ns-open", "size": 14, "line": {"width": 2}},
        )
    if base_rate is not None:
        figure.add_vline(x=base_rate, line={"color": QUIET, "dash": "dot"})
    figure.update_xaxes(
        title_text=beside_names(probability), tickformat=".3~p", rangemode="tozero", nticks=4, tickangle=0
    )
    if whole:
        figure.update_xaxes(range=[0.0, 1.03])
    figure.update_yaxes(categoryorder="array", categoryarray=rungs[::-1])
    return note_points(figure, limit, len(ladder.name))


def co_occurrence(
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    title: str,
    scale: str,
    limits: tuple[float, float] = (-1.0, 1.0),
    groups: Sequence[int] | None = None,
    group_names: Sequence[str] = (),
) -> go.Figure:
    """Return a heat map of pairs; white is the middle of the scale, an empty cell a pair that says nothing.

    Rows carry their names. Columns carry those of their groups; without groups the same names, or numbers where names
    would cover each other on a narrow screen.

    Args:
        matrix: one value a pair, ``[item, item]``; NaN leaves the cell empty. At most 70 items: more can't be read.
        names: what each row and column is called.
        title: the finding.
        scale: what a colour means, with its unit.
        limits: the ends of the colour scale.
        groups: the slot each row belongs to, in blocks; lines are drawn between slots.
        group_names: what the slots are called, by the number in ``groups``.

    Raises:
        ValueError: the matrix is larger than a figure may hold.
    """
    if matrix.size > POINT_LIMIT:
        raise ValueError(f"expected at most {POINT_LIMIT} pairs, found {matrix.size}; choose the items to show")
    shown = [name if len(name) <= 30 else name[:29] + "…" for name in names]
    positions = list(range(1, 1 + len(shown)))
    blocks = _blocks(groups or [])
    columns = [((first + last) / 2, group_names[group]) for group, first, last in blocks]
    columns = columns or list(zip(positions, shown, strict=True))
    numbered = len(columns) > MOST_COLUMN_NAMES
    figure = blank(title, height=200 + max(240, 15 * len(shown)), legend=False)
    figure.add_heatmap(
        z=[[None if np.isnan(cell) else float(cell) for cell in row] for row in matrix],
        x=positions,
        y=positions,
        customdata=[[f"{row} × {column}" for column in names] for row in names],
        hovertemplate=f"%{{customdata}}<br>{scale}: %{{z:.2f}}<extra></extra>",
        colorscale=DIVERGING,
        zmin=limits[0],
        zmax=limits[1],
        xgap=1,
        ygap=1,
        colorbar={  # above: at the side it would take a third of a narrow screen
            "title": {"text": scale, "side": "top", "font": {"size": 13}},
            "orientation": "h",
            "y": 1.0,
            "yanchor": "bottom",
            "thickness": 10,
            "outlinewidth": 0,
            "nticks": 5,
        },
    )
    axis = {"tickfont": {"size": 11 if len(shown) <= 30 else 9}, "showgrid": False, "zeroline": False}
    rows = [f"{at}. {name}" for at, name in zip(positions, shown, strict=True)] if numbered else shown
    figure.update_yaxes(**axis, tickmode="array", tickvals=positions, ticktext=rows, autorange="reversed")
    if numbered:
        figure.update_xaxes(**axis, tickformat="d")
    else:
        at, names = zip(*columns, strict=True)
        axis |= {"tickmode": "array", "tickvals": at, "ticktext": names, "ticklabeloverflow": "allow"}
        figure.update_xaxes(**axis, autotickangles=[0, -60])
    for _group, first, _last in blocks[1:]:
        figure.add_vline(x=first - 0.5, line={"color": QUIET, "width": 1})
        figure.add_hline(y=first - 0.5, line={"color": QUIET, "width": 1})
    return note_points(figure, matrix.size, matrix.size)


def _blocks(groups: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return each run of equal groups: the group, and the first and last position of its rows, from 1."""
    runs, start = [], 1
    for group, rows in groupby(groups):
        length = len(list(rows))
        runs.append((group, start, start + length - 1))
        start += length
    return runs


def combination_frequency(
    groups: Sequence[str], shares: Sequence[float], *, title: str, times: str, share: str
) -> go.Figure:
    """Return bars: the share of rows whose combination occurs once, twice and so on; the first bar stands out."""
    figure = blank(title, height=320, legend=False)
    figure.add_bar(
        x=list(groups),
        y=list(shares),
        marker={"color": [COLOURS[1], *[COLOURS[0]] * (len(groups) - 1)]},
        text=[f"{100 * part:.0f}%" for part in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{x}: %{y:.1%}<extra></extra>",
    )
    figure.update_xaxes(title_text=times, type="category")
    figure.update_yaxes(title_text=share, tickformat=".0%", range=[0, 1.08 * max([*shares, 0.1])])
    return note_points(figure, len(groups), len(groups))
