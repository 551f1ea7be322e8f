"""Several numbers beside one another, each with its interval."""

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from app.charts.style import COLOURS, SYMBOLS, bars, beside_names, blank, note_points


def compared(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    title: str,
    axis: str,
    tickformat: str = "",
    outstanding: Collection[int] = (0,),
) -> go.Figure:
    """Return one line a number, in the given order from the top: a marker with its interval.

    Args:
        outstanding: places of those that stand out.
    """
    figure = blank(title, height=110 + 48 * len(names), legend=False)
    for place, name in enumerate(names):
        style = 0 if place in outstanding else 5
        figure.add_scatter(
            x=[values[place]],
            y=[name],
            error_x=bars([values[place]], [low[place]], [high[place]], COLOURS[style]) | {"thickness": 2, "width": 5},
            mode="markers",
            marker={"color": COLOURS[style], "symbol": SYMBOLS[min(place, len(SYMBOLS) - 1)], "size": 11},
            hovertemplate="%{y}: %{x}<extra></extra>",
        )
    figure.update_xaxes(title_text=beside_names(axis), tickformat=tickformat)
    figure.update_yaxes(categoryorder="array", categoryarray=list(names)[::-1])
    return note_points(figure, len(names), len(names))
