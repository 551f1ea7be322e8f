"""Runs side by side: what each gains on the first, one small chart a measure, each in its own unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.style import COLOURS, QUIET, SYMBOLS, bars, beside_names, blank, note_points

_ROW: Final = 34
_FRAME: Final = 66


@dataclass(frozen=True)
class GainSeries:
    """One measure: what it is called with its unit, and the gain of each run with its interval; None leaves a gap."""

    measure: str
    gain: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


def gains(names: Sequence[str], series: Sequence[GainSeries], *, title: str, axis: str) -> go.Figure:
    """Return one panel a measure, a line a run: to the right of the dotted line is better than the run compared with.

    A gain whose interval misses zero is filled and coloured; one that chance may explain is hollow and grey.

    Args:
        names: of the runs, in the order of the gains.
        series: the measures, from the top.
        title: the finding.
        axis: what to the right means, beneath the last panel.
    """
    panel = _FRAME + _ROW * len(names)
    height = 70 + panel * len(series)
    plain = blank(title, height=height, legend=False)
    figure = make_subplots(
        rows=len(series),
        cols=1,
        subplot_titles=[one.measure for one in series],
        vertical_spacing=min(0.9 * _FRAME / height, 1.0 / max(len(series), 2)),
    )
    layout: dict[str, Any] = plain.to_dict()["layout"]
    figure.update_layout({key: layout[key] for key in layout if not key.startswith(("xaxis", "yaxis", "template"))})
    figure.update_layout(template=plain.layout.template)
    # Beneath the edge of the figure, where the first panel's own title would else be cut off.
    room = 1 - 30 / height
    for axis_of in figure.select_yaxes():
        axis_of.domain = [end * room for end in axis_of.domain]
    figure.for_each_annotation(lambda words: words.update(y=words.y * room))
    figure.update_annotations(x=0.0, xanchor="left", font={"size": 13, "color": COLOURS[4]})
    figure.update_xaxes(layout["xaxis"])
    figure.update_yaxes(layout["yaxis"])
    shown = 0
    for row, one in enumerate(series, 1):
        reach = max([abs(end) for ends in (one.low, one.high) for end in ends if end is not None], default=0.0) or 1.0
        for place, name in enumerate(names):
            value, low, high = one.gain[place], one.low[place], one.high[place]
            if value is None or low is None or high is None:
                continue
            shown += 1
            clear = low > 0 or high < 0
            colour = (COLOURS[0] if value > 0 else COLOURS[1]) if clear else COLOURS[5]
            symbol = SYMBOLS[min(place, 3)] + ("" if clear else "-open")
            figure.add_scatter(
                x=[value],
                y=[name],
                error_x=bars([value], [low], [high], colour) | {"thickness": 2, "width": 5},
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 11, "line": {"width": 2, "color": colour}},
                hovertemplate=f"%{{y}}: %{{x:.4g}} ({low:.4g} – {high:.4g})<extra></extra>",
                row=row,
                col=1,
            )
        figure.add_vline(x=0, line={"color": QUIET, "dash": "dot"}, row=row, col=1)  # pyright: ignore[reportArgumentType]
        figure.update_xaxes(range=[-1.15 * reach, 1.15 * reach], nticks=7, row=row, col=1)
    figure.update_yaxes(categoryorder="array", categoryarray=list(names)[::-1], showgrid=False)
    figure.update_xaxes(title_text=beside_names(axis), row=len(series), col=1)
    return note_points(figure, shown, len(names) * len(series))
