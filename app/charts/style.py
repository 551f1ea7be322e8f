"""How every figure looks: six colours that stay apart for colour-blind eyes, fonts with kanji, one quiet layout."""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
import plotly.io

COLOURS: Final = ("#1D4ED8", "#D55E00", "#009E73", "#7C2D12", "#111827", "#475569")
SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "x", "cross")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
DIVERGING: Final = [[0.0, "#B45309"], [0.5, "#F8FAFC"], [1.0, "#1D4ED8"]]
FONT: Final = (
    "'Hiragino Sans','Yu Gothic UI','Meiryo','Noto Sans JP','Noto Sans CJK JP','Helvetica Neue',Arial,sans-serif"
)
TEXT: Final = "#0F172A"
QUIET: Final = "#475569"
GRID: Final = "#E2E8F0"
POINT_LIMIT: Final = 5_000
# Plotly's own style would be copied, checked and sent with every figure, to be overruled here.
plotly.io.templates.default = None  # pyright: ignore[reportAttributeAccessIssue]
_LATIN: Final = 0x2E7F
"""The last of the narrow letters, which stand apart by spaces."""
_BY_NIGHT: Final = {
    "#1D4ED8": "#7DB4FF",
    "#D55E00": "#FF9D5C",
    "#009E73": "#34D399",
    "#7C2D12": "#F9A8D4",
    "#111827": "#F8FAFC",
    "#475569": "#CBD5E1",
    "#0F172A": "#F1F5F9",
    "#E2E8F0": "#334155",
    "#FFFFFF": "#0F172A",
}
"""What each colour of a figure becomes on a dark page; the six of ``COLOURS`` stay apart for colour-blind eyes."""


def blank(title: str, *, height: int = 420, legend: bool = True) -> go.Figure:
    """Return an empty figure in the style of the dashboard, the finding as its title."""
    figure = go.Figure()
    figure.update_layout(
        title={
            "text": wrapped(title),
            "x": 0.01,
            "xref": "container",
            "xanchor": "left",
            "yref": "container",
            "y": 0.97,
        }
        | {"yanchor": "top", "font": {"size": 17, "color": TEXT}},
        font={"family": FONT, "size": 13, "color": TEXT},
        paper_bgcolor="#FFFFFF",
        plot_bgcolor="#FFFFFF",
        height=height,
        margin={"l": 8, "r": 16, "t": 84 if legend else 64, "b": 8},
        showlegend=legend,
        legend={"orientation": "h", "x": 0.0, "y": 1.0, "yanchor": "bottom", "font": {"color": TEXT}},
        hoverlabel={"font": {"family": FONT}},
        hovermode="closest",
        separators=".,",
        meta={"shown": 0, "total": 0},
    )
    axis = {"gridcolor": GRID, "linecolor": QUIET, "zerolinecolor": GRID, "automargin": True, "ticks": "outside"}
    axis |= {"tickcolor": GRID, "title": {"font": {"color": QUIET, "size": 13}, "standoff": 12}}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure


def by_night(figure: go.Figure) -> go.Figure:
    """Return a figure as it looks on a dark page: the same marks in colours that stand out there.

    >>> by_night(blank("A finding")).layout.font.color
    '#F1F5F9'
    """
    return go.Figure(_recoloured(figure.to_plotly_json()))


def _recoloured(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _recoloured(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_recoloured(value) for value in part]
    return _BY_NIGHT.get(part, part) if isinstance(part, str) else part


def bars(value: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> dict[str, Any]:
    """Return error bars of intervals around values."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(top - at, 0.0) for top, at in zip(high, value, strict=True)],
        "arrayminus": [max(at - bottom, 0.0) for bottom, at in zip(low, value, strict=True)],
        "color": colour,
    }


def wrapped(title: str, limit: int = 96) -> str:
    """Return a title broken into lines that a half-width chart can hold; kanji count double.

    >>> wrapped("one two", limit=4)
    'one<br>two'
    """
    lines, line, width = [], "", 0
    for word in _words(title):
        cost = sum(2 if ord(mark) > _LATIN else 1 for mark in word)
        if line and width + cost > limit:
            lines.append(line.strip())
            line, width = "", 0
        line, width = line + word, width + cost
    return "<br>".join([*lines, line.strip()])


def unwrapped(text: str) -> str:
    """Return a wrapped text on one line again.

    >>> unwrapped("one<br>two"), unwrapped("一つ、<br>二つ"), unwrapped("log p<br>（ナット）")
    ('one two', '一つ、二つ', 'log p（ナット）')
    """
    return re.sub(f"(?<=[\\0-{chr(_LATIN)}])<br>(?![（「])", " ", text).replace("<br>", "")


def beside_names(axis: str) -> str:
    """Return the title of an axis that names at its side leave little room, as on a telephone.

    >>> beside_names("Probability of an unseen combination")
    'Probability of an unseen<br>combination'
    """
    return wrapped(axis, 26)


def thinned(total: int, limit: int = POINT_LIMIT) -> np.ndarray:
    """Return the positions of at most ``limit`` evenly spaced points out of ``total``; the same ones every time.

    >>> thinned(10, 4).tolist()
    [0, 3, 6, 9]
    """
    if total <= limit:
        return np.arange(total)
    return np.linspace(0, total - 1, limit).round().astype(int)


def note_points(figure: go.Figure, shown: int, total: int) -> go.Figure:
    """Record in the figure how many points it shows of how many."""
    figure.update_layout(meta={"shown": int(shown), "total": int(total)})
    return figure


def shared(limit: int, sizes: list[int]) -> list[int]:
    """Return how many of ``limit`` points each of several groups may show, in proportion to their sizes.

    >>> shared(10, [30, 10]), shared(10, [2, 3])
    ([7, 2], [2, 3])
    """
    total = sum(sizes)
    return sizes if total <= limit else [limit * size // total for size in sizes]


def _words(title: str) -> list[str]:
    words, word = [], ""
    for mark in title:
        # Latin text breaks at spaces; Japanese may break around its brackets and behind its punctuation.
        if mark in "（「" and word:
            words.append(word)
            word = ""
        word += mark
        if mark in " 、。)）」":
            words.append(word)
            word = ""
    return [*words, word] if word else words
