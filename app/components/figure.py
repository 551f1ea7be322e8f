"""A chart with its data under it: the finding as its title, the table one click away, the file one more."""

import pickle
import zlib
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.charts.style import by_night, unwrapped
from app.components import place
from app.components.language import _
from app.components.plain import escape
from app.text.numbers import count

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Drawing(NamedTuple):
    """A chart ready to be drawn, for everybody who reads the same language under the same light."""

    finding: str
    chart: go.Figure
    shown: int
    total: int
    table: pd.DataFrame


def figure(chart: go.Figure, table: pd.DataFrame, *, key: str, alt: str, muted: bool = False) -> None:
    """Draw a chart, a sentence where it shows only some of its points, its table and the table as a file.

    Args:
        chart: a figure of ``app.charts``.
        table: all the data of the chart, with translated headings.
        key: unique on the page; the name of the file that is offered.
        alt: what the chart shows, for a person who can't see it.
        muted: the numbers are not to be trusted; the finding is grey and small.
    """
    draw(prepared(chart, table), key=key, alt=alt, muted=muted)


def prepared(chart: go.Figure, table: pd.DataFrame) -> Drawing:
    """Return what `figure` would draw. This is the costly part; where many look at the same chart, keep it."""
    layout: dict[str, Any] = chart.to_dict()["layout"]
    # The page sets the finding in its own text, which wraps at any width; the figure keeps it for reports.
    finding = escape(unwrapped(layout["title"]["text"]))
    shown = go.Figure(chart).update_layout(title_text="", margin_t=40 if layout["showlegend"] else 12)
    if is_night():
        shown = by_night(shown)
    # The frontend draws each chart twice, the second time with arrays and objects that are equal but not the same.
    # Then it finds nothing to do if a revision says so of arrays, no other object is left, and the size is its own.
    shown.update_layout(meta=None, autosize=True)
    shown.update_layout(datarevision=zlib.crc32(pickle.dumps(shown.to_dict())))
    meta: dict[str, int] = layout.get("meta") or {}
    return Drawing(finding, shown, meta.get("shown", 0), meta.get("total", 0), table)


def is_night() -> bool:
    """Whether the page is dark."""
    return st.context.theme.type == "dark"


def draw(drawing: Drawing, *, key: str, alt: str, muted: bool = False) -> None:
    """Draw what `prepared` returned; arguments as those of `figure`."""
    if muted:
        st.caption(drawing.finding)
    else:
        st.markdown(f"**{drawing.finding}**")
    st.plotly_chart(drawing.chart, theme=None, key=key, alt=alt, config={"displaylogo": False, "displayModeBar": False})
    if drawing.shown < drawing.total:
        lang = place.language()
        st.caption(
            _("The chart shows {shown} of {total} points, evenly chosen; the table has them all.").format(
                shown=count(drawing.shown, lang), total=count(drawing.total, lang)
            )
        )
    folded = st.expander(_("Data of this chart"), icon=":material/table_chart:", key=f"{key}_table", on_change="rerun")
    if folded.open:  # most are never opened
        with folded:
            _data(drawing.table, key)


def _data(table: pd.DataFrame, key: str) -> None:
    st.dataframe(table, hide_index=True, key=f"{key}_frame")
    st.download_button(
        _("Download as CSV"),
        csv_bytes(table),
        file_name=f"jebm_{key}.csv",
        mime="text/csv",
        icon=":material/download:",
        key=f"{key}_download",
        on_click="ignore",
    )


def csv_bytes(table: pd.DataFrame) -> bytes:
    r"""Return a table as a CSV file that a spreadsheet opens with its Japanese intact and runs nothing from.

    A text cell that a spreadsheet would take for a formula gets an apostrophe in front.

    >>> csv_bytes(pd.DataFrame({"a": ["=1+1"]})).decode("utf-8-sig").splitlines()
    ['a', "'=1+1"]
    """
    safe = table.map(_harmless).rename(columns=_harmless)
    return safe.to_csv(index=False).encode("utf-8-sig")


def _harmless(cell: object) -> object:
    return "'" + cell if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
