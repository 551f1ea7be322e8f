"""Figures as SVG, drawn here: lines, points, bars, bands and error bars. For paper and where no script runs."""

import itertools
import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from app.charts.style import FONT, GRID, QUIET, TEXT
from app.report.traces import Axis, Panel, Position, Series, panels

WIDTH = 720
_DASHES = {"dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3", "longdash": "11 4", "longdashdot": "11 3 2 3"}
_SIZE = 11.5


def svg(figure: go.Figure, alt: str, *, width: int = WIDTH, height: int | None = None) -> str:
    """Return a figure as one SVG element without its title, which stands beside it as text.

    Args:
        alt: what it shows, for a person who can't see it.
    """
    found = panels(figure)
    tall = height or max(230, min(640, int((figure.to_dict()["layout"].get("height") or 420) * 0.82)))
    named = list({one.name: one for panel in found for one in panel.series if one.in_legend}.values())
    show = figure.to_dict()["layout"].get("showlegend") is not False and len(named) > 0
    legend, head = _legend(named, width) if show else ("", 0.0)
    parts = [legend]
    for place, panel in enumerate(found):
        last = place == len(found) - 1
        room = tall - head - 54
        top, foot = (head + 8 + (1 - part) * room for part in (panel.top, panel.bottom))
        parts.append(_panel(panel, width, top, foot, labelled=last))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall + 12}" role="img" '
        f'aria-label="{escape(alt)}" font-family="{escape(FONT)}" font-size="{_SIZE}" fill="{TEXT}">'
        f"<title>{escape(alt)}</title>{''.join(parts)}</svg>"
    )


def text_width(text: str, size: float = _SIZE) -> float:
    """Return about how wide a text is; kanji are as wide as they are high."""
    return sum(size if ord(mark) > 0x2E7F else 0.56 * size for mark in text)


def ticks_of(axis: Axis, most: int = 6) -> list[tuple[float, str]]:
    """Return where an axis is marked, and how.

    >>> [text for _at, text in ticks_of(Axis("", (), 0.0, 1.0, True))]
    ['0%', '20%', '40%', '60%', '80%', '100%']
    """
    if axis.labels:
        return [(float(at), str(text)) for at, text in axis.labels if axis.low <= at <= axis.high]
    step = axis.step(most)
    first = math.ceil(axis.low / step - 1e-9)
    places = [(first + i) * step for i in range(int((axis.high - first * step) / step + 1e-9) + 1)]
    digits = axis.digits(step)
    return [(at, _tick(100 * at, digits) + "%" if axis.percent else _tick(at, digits)) for at in places]


def _tick(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−") if float(value) < -1e-12 else text.replace("-", "")


def _panel(panel: Panel, width: float, top: float, bottom: float, *, labelled: bool) -> str:
    named = panel.y.categories or tuple(text for _at, text in ticks_of(panel.y, _most(top, bottom)))
    titled = 18 if panel.y.title else 0
    left = min(max((text_width(name) for name in named), default=20) + 12 + titled, 0.45 * width)
    right = width - 14
    x_of = _scale(panel.x, left, right)
    y_of = _scale(panel.y, bottom, top)
    parts = [_axes(panel, x_of, y_of, (left, right, top, bottom), labelled=labelled)]
    if panel.heading:
        parts.append(f'<text x="{left:.1f}" y="{top - 5:.1f}">{escape(panel.heading)}</text>')
    for rule in panel.rules:
        at = x_of(rule.at) if rule.upright else y_of(rule.at)
        ends = (at, top, at, bottom) if rule.upright else (left, at, right, at)
        parts.append(_line(*ends, rule.colour, 'stroke-dasharray="2 3"'))
    parts += [_drawn(one, panel, x_of, y_of, (left, right, top, bottom)) for one in panel.series]
    return "".join(parts)


def _most(top: float, bottom: float) -> int:
    return max(2, min(6, int((bottom - top) / 26)))


def _scale(axis: Axis, start: float, end: float):  # noqa: ANN202 - a local function
    size = len(axis.categories)
    index = {name: place for place, name in enumerate(axis.categories)}

    def at(value: Position) -> float:
        if size:
            return start + (index[str(value)] + 0.5) / size * (end - start)
        return start + (float(value) - axis.low) / ((axis.high - axis.low) or 1.0) * (end - start)

    return at


def _axes(panel: Panel, x_of, y_of, box: tuple[float, float, float, float], *, labelled: bool) -> str:  # noqa: ANN001
    left, right, top, bottom = box
    parts = []
    for at, text in [(name, name) for name in panel.y.categories] or ticks_of(panel.y, _most(top, bottom)):
        y = y_of(at)
        if not panel.y.categories:
            parts.append(_line(left, y, right, y, GRID))
        shown = _fit(text, left - 22 * bool(panel.y.title) - 4)
        parts.append(f'<text x="{left - 7:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(shown)}</text>')
    for at, text in [(name, name) for name in panel.x.categories] or ticks_of(panel.x, 7):
        x = x_of(at)
        if not panel.x.categories:
            parts.append(_line(x, top, x, bottom, GRID))
        if labelled:
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{escape(text)}</text>')
    parts.append(_line(left, bottom, right, bottom, QUIET))
    if labelled and panel.x.title:
        middle = (left + right) / 2
        parts.append(f'<text x="{middle:.1f}" y="{bottom + 36:.1f}" text-anchor="middle" fill="{QUIET}">'
                     f"{escape(panel.x.title)}</text>")  # fmt: skip
    if panel.y.title:
        middle = (top + bottom) / 2
        title = escape(_fit(panel.y.title, bottom - top))
        parts.append(f'<text transform="translate(13 {middle:.1f}) rotate(-90)" text-anchor="middle" fill="{QUIET}">'
                     f"{title}</text>")  # fmt: skip
    return "".join(parts)


def _drawn(series: Series, panel: Panel, x_of, y_of, box: tuple[float, float, float, float]) -> str:  # noqa: ANN001
    colour = series.colours[0]
    if series.mode == "bars":
        return _bars(series, panel, x_of, y_of, box)
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if x is None or y is None:
            runs.append([])
        else:
            runs[-1].append((x_of(x), y_of(y)))
    parts = []
    if series.mode == "area":
        outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in runs[0])
        return f'<polygon points="{outline}" fill="{_opaque(colour)[0]}" fill-opacity="{_opaque(colour)[1]}"/>'
    if series.mode in ("line", "both"):
        dash = f'stroke-dasharray="{_DASHES[series.dash]}" ' if series.dash in _DASHES else ""
        for run in runs:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_stepped(run) if series.steps else run))
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" {dash}/>')
    points = [point for run in runs for point in run]
    values = series.x if series.along == "x" else series.y
    for (x, y), value, low, high in zip(points, values, series.low, series.high, strict=False):
        if not isinstance(value, int | float):
            continue
        of = x_of if series.along == "x" else y_of
        ends = of(value - low), of(value + high)
        line = (ends[0], y, ends[1], y) if series.along == "x" else (x, ends[0], x, ends[1])
        parts.append(_line(*line, colour, f'stroke-opacity="{series.opacity}" stroke-width="1.3"'))
    if series.mode in ("points", "both"):
        parts += [_marker(series, x, y) for x, y in points]
    return "".join(parts)


def _bars(series: Series, panel: Panel, x_of, y_of, box: tuple[float, float, float, float]) -> str:  # noqa: ANN001
    left, right, top, bottom = box
    across = panel.y if series.horizontal else panel.x
    room = (bottom - top if series.horizontal else right - left) / max(len(across.categories) or len(series.x), 1)
    parts = []
    for place, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
        if x is None or y is None:
            continue
        colour = series.colours[place % len(series.colours)]
        thick = 0.68 * room
        if series.horizontal:
            start, end = sorted((x_of(0.0), x_of(x)))
            box_of = (start, y_of(y) - thick / 2, end - start, thick)
        else:
            start, end = sorted((y_of(0.0), y_of(y)))
            box_of = (x_of(x) - thick / 2, start, thick, end - start)
        x1, y1, wide, tall = box_of
        parts.append(f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>')
        if place < len(series.text):
            shown = series.text[place]
            fits = series.horizontal and box_of[2] > text_width(shown, 13) + 16
            fill = "#FFFFFF" if fits else TEXT
            at = (box_of[0] + 8 if fits else box_of[0] + box_of[2] + 6, box_of[1] + thick / 2 + 4.5)
            parts.append(f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="13" fill="{fill}">{escape(shown)}</text>')
    return "".join(parts)


def _marker(series: Series, x: float, y: float) -> str:
    r, colour = min(series.size, 11) / 2, series.colours[0]
    fill = f'fill="{colour}" fill-opacity="{series.opacity}"'
    match series.symbol:
        case "diamond":
            outline = ((x, y - 1.25 * r), (x + 1.25 * r, y), (x, y + 1.25 * r), (x - 1.25 * r, y))
        case "square":
            outline = ((x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r))
        case "triangle-up":
            outline = ((x, y - 1.2 * r), (x + 1.1 * r, y + r), (x - 1.1 * r, y + r))
        case _:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" {fill}/>'
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in outline)
    return f'<polygon points="{path}" {fill}/>'


def _legend(named: Sequence[Series], width: float) -> tuple[str, float]:
    parts, x, y = [], 4.0, 16.0
    for one in named:
        need = text_width(one.name) + 46
        if x > 4 and x + need > width:
            x, y = 4.0, y + 19
        if one.mode in ("line", "both"):
            dash = f'stroke-dasharray="{_DASHES[one.dash]}"' if one.dash in _DASHES else ""
            parts.append(_line(x, y - 4, x + 22, y - 4, one.colours[0], f'stroke-width="2" {dash}'))
        if one.mode in ("points", "both"):
            parts.append(_marker(one, x + 11, y - 4))
        if one.mode == "bars":
            parts.append(f'<rect x="{x + 5}" y="{y - 10}" width="12" height="12" fill="{one.colours[0]}"/>')
        parts.append(f'<text x="{x + 28:.1f}" y="{y:.1f}">{escape(one.name)}</text>')
        x += need
    return "".join(parts), y + 6


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def _stepped(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for (x1, y1), (x2, y2) in itertools.pairwise(run):
        middle = (x1 + x2) / 2
        found += [(x1, y1), (middle, y1), (middle, y2), (x2, y2)]
    return found or list(run)


def _fit(text: str, room: float) -> str:
    while len(text) > 2 and text_width(text) > room:
        text = text[:-2] + "…"
    return text


def _opaque(colour: str) -> tuple[str, str]:
    """A colour with its opacity apart: not every reader of SVG knows rgba."""
    if not colour.startswith("rgba("):
        return colour, "1"
    *rgb, alpha = colour[5:-1].split(",")
    return f"rgb({','.join(rgb)})", alpha
