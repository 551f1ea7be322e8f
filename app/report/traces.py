"""Figures of `app.charts` read back into plain series and axes, for writers that can't run plotly."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from app.charts.style import unwrapped

Position = float | str
_FIRST = "#1D4ED8"
_PART = re.compile(r"<[^>]+>")


@dataclass(frozen=True)
class Series:
    """One trace: points, lines, an outline that is filled, or bars.

    Attributes:
        low, high: lengths of the error bars towards smaller and larger values, along ``along``.
        colours: one, or one a bar.
        text: what is written at each bar.
    """

    name: str
    mode: Literal["points", "line", "both", "area", "bars"]
    x: tuple[Position | None, ...]
    y: tuple[Position | None, ...]
    colours: tuple[str, ...]
    dash: str = "solid"
    symbol: str = "circle"
    size: float = 7.0
    opacity: float = 1.0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    along: Literal["x", "y"] = "x"
    steps: bool = False
    in_legend: bool = True
    text: tuple[str, ...] = ()
    horizontal: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: categories in the order of the file (the last one on top of an upright axis), or numbers."""

    title: str
    categories: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    percent: bool = False
    labels: tuple[tuple[float, str], ...] = ()

    def step(self, most: int = 6) -> float:
        """Return a round distance between at most so many marks.

        >>> Axis("", (), 0.0, 1.0).step(), Axis("", (), -3.1, 86.9).step(4)
        (0.2, 50.0)
        """
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span / most))
        return step * next(times for times in (1, 2, 5, 10) if span / (step * times) <= most)

    def digits(self, step: float) -> int:
        """Return how many decimals marks at such a distance need."""
        return max(0, -math.floor(math.log10(step * (100 if self.percent else 1)) + 1e-9))


@dataclass(frozen=True)
class Rule:
    """A line across the panel at a value."""

    at: float
    upright: bool
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes with what is drawn on them; ``top`` and ``bottom`` are shares of the figure's height."""

    heading: str
    series: tuple[Series, ...]
    x: Axis
    y: Axis
    rules: tuple[Rule, ...]
    top: float = 1.0
    bottom: float = 0.0


def panels(figure: go.Figure) -> tuple[Panel, ...]:
    """Return the panels of a figure, the uppermost first."""
    content: dict[str, Any] = figure.to_dict()
    layout = content["layout"]
    names = sorted({trace.get("yaxis") or "y" for trace in content["data"]})
    found = []
    for name in names:
        traces = [trace for trace in content["data"] if (trace.get("yaxis") or "y") == name]
        series = tuple(sorted((_series(trace) for trace in traces), key=lambda one: one.mode != "area"))
        y_layout = layout.get(name.replace("y", "yaxis"), {})
        domain = y_layout.get("domain") or (0.0, 1.0)
        rules = tuple(_rules(layout, name))
        found.append(
            Panel(
                _heading(layout, domain) if len(names) > 1 else "",
                series,
                _axis(layout.get("xaxis", {}), [v for one in series for v in _reached(one, "x")], rules, True),
                _axis(y_layout, [v for one in series for v in _reached(one, "y")], rules, False),
                rules,
                domain[1],
                domain[0],
            )
        )
    return tuple(sorted(found, key=lambda panel: -panel.top))


def _series(trace: Mapping[str, Any]) -> Series:
    x, y = tuple(trace.get("x") or ()), tuple(trace.get("y") or ())
    marker, line = trace.get("marker") or {}, trace.get("line") or {}
    name = _plain(trace.get("name") or "")
    if trace["type"] == "bar":
        colours = marker.get("color") or _FIRST
        return Series(
            name, "bars", x, y, (colours,) if isinstance(colours, str) else tuple(colours),
            text=tuple(map(str, trace.get("text") or ())), horizontal=trace.get("orientation") == "h",
        )  # fmt: skip
    error, along = (trace.get("error_x"), "x") if trace.get("error_x") else (trace.get("error_y"), "y")
    mode = trace.get("mode") or "lines"
    filled = trace.get("fill") in ("toself", "tozeroy")
    kind = _mode(trace.get("fill") == "toself", mode)
    colour = line.get("color") or marker.get("color") or _FIRST
    if kind == "area":
        colour = trace.get("fillcolor") or colour
    if kind == "points":
        colour = marker.get("color") or colour
    return Series(
        name,
        kind,
        x,
        y,
        (colour,),
        dash=line.get("dash") or "solid",
        symbol=marker.get("symbol") or "circle",
        size=float(marker.get("size") or 7),
        opacity=float(marker.get("opacity") or 1.0),
        low=tuple((error or {}).get("arrayminus") or ()),
        high=tuple((error or {}).get("array") or ()),
        along="x" if along == "x" else "y",
        steps=line.get("shape") == "hvh",
        in_legend=trace.get("showlegend") is not False and bool(name) and not (filled and kind == "area"),
    )


def _mode(filled: bool, mode: str) -> Literal["points", "line", "both", "area"]:
    if filled:
        return "area"
    return "both" if "+" in mode else "line" if mode == "lines" else "points"


def _reached(series: Series, along: str) -> list[Position]:
    """Every value that a series reaches along an axis, with its error bars."""
    values = series.x if along == "x" else series.y
    found: list[Position] = [v for v in values if v is not None]
    if series.mode == "bars" and series.horizontal == (along == "x"):
        found.append(0.0)
    if series.along == along:
        for lengths, sign in ((series.low, -1), (series.high, 1)):
            pairs = zip(values, lengths, strict=False)
            found += [float(v) + sign * length for v, length in pairs if isinstance(v, int | float)]
    return found


def _axis(layout: Mapping[str, Any], reached: Sequence[Position], rules: Sequence[Rule], along_x: bool) -> Axis:
    title = _plain(((layout.get("title") or {}).get("text")) or "")
    listed = layout.get("categoryarray")
    words = [v for v in reached if isinstance(v, str)]
    if words:
        order = [str(v) for v in listed] if listed else list(dict.fromkeys(words))
        return Axis(title, tuple(v for v in order if v in set(words)))
    values = [float(v) for v in reached if not isinstance(v, str) and math.isfinite(float(v))]
    values += [rule.at for rule in rules if rule.upright == along_x]
    ticks = tuple(zip(layout.get("tickvals") or (), layout.get("ticktext") or (), strict=False))
    percent = str(layout.get("tickformat") or "").endswith(("%", "~p"))
    if layout.get("range"):
        low, high = map(float, layout["range"])
        return Axis(title, (), low, high, percent, ticks)
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    from_zero = layout.get("rangemode") == "tozero" and low >= 0
    return Axis(title, (), 0.0 if from_zero else low - pad, high + pad, percent, ticks)


def _rules(layout: Mapping[str, Any], name: str) -> list[Rule]:
    found = []
    for shape in layout.get("shapes") or ():
        colour = (shape.get("line") or {}).get("color") or "#475569"
        label = _plain(((shape.get("label") or {}).get("text")) or "")
        if str(shape.get("yref") or "").endswith("domain") and name == "y":
            found.append(Rule(float(shape["x0"]), True, colour, label))
        elif (shape.get("yref") or "y") == name and shape["y0"] == shape["y1"]:
            found.append(Rule(float(shape["y0"]), False, colour, label))
    return found


def _heading(layout: Mapping[str, Any], domain: Sequence[float]) -> str:
    for note in layout.get("annotations") or ():
        if note.get("yref") == "paper" and abs(note.get("y", -1) - domain[1]) < 1e-9:
            return _plain(note["text"])
    return ""


def _plain(text: str) -> str:
    return _PART.sub(" ", unwrapped(text))
