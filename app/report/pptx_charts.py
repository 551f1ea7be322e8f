"""Figures as charts that PowerPoint edits: its own bars and scatters, with the numbers in a sheet behind them."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE, XL_LEGEND_POSITION, XL_MARKER_STYLE, XL_TICK_LABEL_POSITION
from pptx.enum.dml import MSO_LINE
from pptx.oxml.ns import qn
from pptx.oxml.xmlchemy import OxmlElement
from pptx.util import Emu, Pt

from app.charts.style import thinned
from app.report.traces import Axis, Panel, Series, panels

LATIN, ASIAN = "Segoe UI", "Yu Gothic"
MOST_POINTS = 1000
_DASHES = {"dash": MSO_LINE.DASH, "dot": MSO_LINE.ROUND_DOT, "dashdot": MSO_LINE.DASH_DOT}
_MARKERS = {
    "circle": XL_MARKER_STYLE.CIRCLE, "diamond": XL_MARKER_STYLE.DIAMOND, "square": XL_MARKER_STYLE.SQUARE,
    "triangle-up": XL_MARKER_STYLE.TRIANGLE,
}  # fmt: skip


def add_charts(slide: Any, figure: go.Figure, box: tuple[int, int, int, int], alt: str) -> int:
    """Draw a figure on a slide; several panels stand in two columns. Return how many charts it became.

    Args:
        box: left, top, width and height in EMU.
        alt: what it shows, for a person who can't see it.
    """
    found = panels(figure)
    left, top, width, height = box
    columns = 1 if len(found) == 1 else 2
    lines = -(-len(found) // columns)
    for place, panel in enumerate(found):
        cell = (
            Emu(left + (place % columns) * width // columns), Emu(top + (place // columns) * height // lines),
            Emu(width // columns), Emu(height // lines),
        )  # fmt: skip
        _add(slide, panel, cell, f"{alt} {panel.heading}".strip())
    return len(found)


def set_fonts(font: Any, size: float | None = None) -> None:
    """Set the Latin and the East Asian font of a run or a chart, and its size in points."""
    font.name = LATIN
    if size is not None:
        font.size = Pt(size)
    properties = font._rPr
    for old in properties.findall(qn("a:ea")):
        properties.remove(old)
    asian = OxmlElement("a:ea")
    asian.set("typeface", ASIAN)
    properties.find(qn("a:latin")).addnext(asian)


def _add(slide: Any, panel: Panel, box: Sequence[Emu], alt: str) -> None:
    bars = bool(panel.y.categories)
    data, kind = (
        (_bar_data(panel), XL_CHART_TYPE.BAR_CLUSTERED) if bars else (_xy_data(panel), XL_CHART_TYPE.XY_SCATTER)
    )
    frame = slide.shapes.add_chart(kind, *box, data)
    frame._element.nvGraphicFramePr.cNvPr.set("descr", alt)
    chart = frame.chart
    set_fonts(chart.font, 11)
    shown = [one for one in _drawn(panel) if one.in_legend]
    chart.has_title = bool(panel.heading)
    if panel.heading:
        chart.chart_title.text_frame.text = panel.heading
        set_fonts(chart.chart_title.text_frame.paragraphs[0].runs[0].font, 12)
    chart.has_legend = len(shown) > 1 or (len(shown) == 1 and not panel.heading and not bars)
    if chart.has_legend:
        chart.legend.position = XL_LEGEND_POSITION.TOP
        chart.legend.include_in_layout = False
    if bars:
        _bars(chart, panel)
    else:
        _scatter(chart, panel)


def _drawn(panel: Panel) -> list[Series]:
    """The series that become series of the chart; a band becomes the error bars of the line that lies in it."""
    found: list[Series] = []
    band: Series | None = None
    for one in panel.series:
        if one.mode == "area":
            band = one
            continue
        if band is not None and one.mode == "both" and len(band.y) == 2 * len(one.y):
            n = len(one.y)
            pairs = zip(one.y, band.y[:n], band.y[: n - 1 : -1], strict=True)
            ends = [(float(at or 0) - float(low or 0), float(high or 0) - float(at or 0)) for at, high, low in pairs]
            one = Series(
                one.name, one.mode, one.x, one.y, one.colours, one.dash, one.symbol, one.size, one.opacity,
                tuple(max(low, 0.0) for low, _high in ends), tuple(max(high, 0.0) for _low, high in ends), "y",
                in_legend=one.in_legend,
            )  # fmt: skip
            band = None
        found.append(one)
    return found


def _bar_data(panel: Panel) -> CategoryChartData:
    order = list(reversed(panel.y.categories))  # the first one stands at the top
    data = CategoryChartData(number_format="0.0%" if panel.x.percent else "General")
    data.categories = order
    for one in _drawn(panel):
        values = dict(zip(one.y, one.x, strict=True))
        data.add_series(one.name or " ", [values.get(name) for name in order])
    return data


def _bars(chart: Any, panel: Panel) -> None:
    plot, order = chart.plots[0], list(reversed(panel.y.categories))
    plot.overlap, plot.gap_width, plot.vary_by_categories = 100, 45, False
    chart.category_axis.reverse_order = True
    chart.category_axis.tick_labels.font.size = Pt(11)
    chart.category_axis.has_major_gridlines = False
    _axis(chart.value_axis, panel.x, 6)
    chart.value_axis.minimum_scale = min(0.0, chart.value_axis.minimum_scale)
    chart.value_axis.tick_label_position = XL_TICK_LABEL_POSITION.HIGH  # at the bottom, since the order is turned
    for series, one in zip(plot.series, _drawn(panel), strict=True):
        for place, name in enumerate(order):
            if name not in one.y:
                continue
            at = one.y.index(name)
            fill = series.points[place].format.fill if len(one.colours) > 1 else series.format.fill
            fill.solid()
            fill.fore_color.rgb = _colour(one.colours[at % len(one.colours)])
            if one.text:
                label = series.points[place].data_label
                label.has_text_frame = True
                label.text_frame.text = one.text[at]
                set_fonts(label.text_frame.paragraphs[0].runs[0].font, 12)
        if one.low or one.high:
            lengths = {name: (low, high) for name, low, high in zip(one.y, one.low, one.high, strict=True)}
            _error_bars(series, [lengths.get(name, (0.0, 0.0)) for name in order], "")
    if panel.x.labels:  # a scale of powers of ten, which the labels of the bars say in full
        chart.value_axis.visible = False


def _xy_data(panel: Panel) -> XyChartData:
    data = XyChartData()
    for one in _drawn(panel):
        series = data.add_series(one.name or " ")
        for place in _kept(one):
            series.add_data_point(one.x[place], one.y[place])
    return data


def _kept(one: Series) -> list[int]:
    known = [i for i, (x, y) in enumerate(zip(one.x, one.y, strict=True)) if x is not None and y is not None]
    return [known[i] for i in thinned(len(known), MOST_POINTS)]


def _scatter(chart: Any, panel: Panel) -> None:
    most = 5 if panel.heading else 6
    _axis(chart.category_axis, panel.x, most)
    _axis(chart.value_axis, panel.y, most)
    for series, one in zip(chart.plots[0].series, _drawn(panel), strict=True):
        colour = _colour(one.colours[0])
        if one.mode in ("line", "both"):
            series.format.line.color.rgb = colour
            series.format.line.width = Pt(2)
            series.format.line.dash_style = _DASHES.get(one.dash)
        else:
            series.format.line.fill.background()
        series.smooth = False
        series.marker.style = XL_MARKER_STYLE.NONE if one.mode == "line" else _MARKERS.get(one.symbol)
        if one.mode != "line":
            series.marker.size = max(5, round(min(one.size, 11)))
            series.marker.format.fill.solid()
            series.marker.format.fill.fore_color.rgb = colour
            series.marker.format.line.fill.background()
        if one.low or one.high:
            kept = _kept(one)
            _error_bars(series, [(one.low[i], one.high[i]) for i in kept], one.along)


def _axis(axis: Any, found: Axis, most: int) -> None:
    step = 0.2 if found.percent and found.high > 1.0 else found.step(most)
    low, high = math.floor(found.low / step + 1e-9) * step, math.ceil(found.high / step - 1e-9) * step
    if -0.06 * (found.high - found.low) < found.low < 0.0:  # only the space that a figure leaves beside its first point
        low = 0.0
    if found.percent and found.high > 1.0:
        low, high = max(low, 0.0), 1.0
    digits = found.digits(step)
    axis.minimum_scale, axis.maximum_scale, axis.major_unit = round(low, 12), round(high, 12), step
    axis.has_major_gridlines = True
    axis.major_gridlines.format.line.color.rgb = _colour("#E2E8F0")
    axis.tick_labels.font.size = Pt(11)
    axis.tick_labels.number_format = "#,##0" + ("." + "0" * digits if digits else "") + ("%" if found.percent else "")
    axis.tick_labels.number_format_is_linked = False
    axis.tick_label_position = XL_TICK_LABEL_POSITION.LOW  # not along a line through the middle of the points
    axis.has_title = bool(found.title)
    if found.title:
        axis.axis_title.text_frame.text = found.title
        set_fonts(axis.axis_title.text_frame.paragraphs[0].runs[0].font, 12)


def _error_bars(series: Any, lengths: Sequence[tuple[float, float]], along: str) -> None:
    """Add error bars of given lengths, (downwards, upwards) a point; the library has no call for them."""
    if not any(low or high for low, high in lengths):
        return
    bars = OxmlElement("c:errBars")
    if along:
        _child(bars, "c:errDir", along)
    for tag, value in (("c:errBarType", "both"), ("c:errValType", "cust"), ("c:noEndCap", "0")):
        _child(bars, tag, value)
    for tag, side in (("c:plus", 1), ("c:minus", 0)):
        literal = _child(_child(bars, tag), "c:numLit")
        _child(literal, "c:formatCode").text = "General"
        _child(literal, "c:ptCount", str(len(lengths)))
        for place, pair in enumerate(lengths):
            point = _child(literal, "c:pt")
            point.set("idx", str(place))
            _child(point, "c:v").text = repr(float(pair[side]))
    element = series._element
    follower = next(child for child in element if child.tag in (qn("c:cat"), qn("c:xVal"), qn("c:val"), qn("c:yVal")))
    follower.addprevious(bars)


def _child(parent: Any, tag: str, value: str | None = None) -> Any:
    child = OxmlElement(tag)
    if value is not None:
        child.set("val", value)
    parent.append(child)
    return child


def _colour(colour: str) -> RGBColor:
    return RGBColor.from_string(colour.lstrip("#")[:6].upper())
