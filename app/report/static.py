"""The report as HTML without scripts: what a PDF is made of, and what the interactive file begins with."""

from collections.abc import Mapping
from html import escape
from importlib import resources

from app.report.model import Figure, Report, Section, Table, cell_text
from app.report.svg import svg

PRINTED_ROWS = 10
_TONES = {"trusted": "good", "go": "good", "caution": "care", "widen": "care", "do not trust": "bad", "stop": "bad"}
_MARKS = {"good": "✓", "care": "!", "bad": "✕", "plain": "○"}


def page(report: Report) -> str:
    """Return the whole static file."""
    return f"{head(report)}{body(report)}</body></html>"


def head(report: Report) -> str:
    """Return what comes before the content: language, title, looks; no address outside of the file."""
    looks = (resources.files("app.report") / "report.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html><html lang="{report.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(report.title)}</title><link rel="icon" href="data:,"><style>{looks}</style></head><body>'
    )


def body(report: Report, live: Mapping[str, str] | None = None) -> str:
    """Return the content.

    Args:
        live: for a figure by its key, what an interactive file puts beside its SVG.
    """
    h = report.headings
    parts = [
        f'<header><h1>{escape(report.title)}</h1><p class="question">{escape(report.question)}</p>'
        f'<p class="quiet">{escape(report.made)}</p></header><main>',
        f'<section class="front">{badge(report.verdict, report.word)}'
        f'<p class="finding">{escape(report.headline.text)}</p>'
        + _items([one.text for one in report.reasons])
        + "</section>",
        f"<section><h2>{escape(h.meeting)}</h2>" + _items([one.text for one in report.meeting]) + "</section>",
        f"<section><h2>{escape(h.verdicts)}</h2>" + _verdicts(report) + "</section>",
        *(_section(report, one, live or {}) for one in report.sections),
        f"<section><h2>{escape(h.steps)}</h2><ol>"
        + "".join(
            f"<li><b>{escape(one.title.text)}</b><br>{escape(one.why.text)}<br>"
            f'<span class="quiet">{escape(h.effort)}</span> · {escape(one.effort.text)}</li>'
            for one in report.steps
        )
        + "</ol></section>",
        f"<section><h2>{escape(h.limits)}</h2>" + _items([one.text for one in report.limits]) + "</section>",
        f"<section><h2>{escape(h.origins)}</h2><dl>"
        + "".join(f"<dt>{escape(one.label)}</dt><dd>{escape(one.text)}</dd>" for one in report.origins)
        + "</dl>"
        + (f"<pre>{escape(report.rules)}</pre>" if report.rules else "")
        + "</section></main>",
    ]
    return "".join(parts)


def badge(verdict: str, word: str) -> str:
    """Return a verdict as a word with a mark and a colour."""
    tone = _TONES.get(verdict, "plain")
    return f'<span class="badge {tone}"><span aria-hidden="true">{_MARKS[tone]}</span> {escape(word)}</span>'


def _section(report: Report, section: Section, live: Mapping[str, str]) -> str:
    mark = badge(section.verdict, section.word) if section.word else ""
    numbers = "".join(
        f'<div><span class="quiet">{escape(one.label)}</span><b>{escape(one.number.text)}</b>'
        f'<span class="quiet">{escape(one.note)}</span></div>'
        for one in section.quantities
    )
    # A finding that is the title of the figure stands there, once.
    repeated = section.figure is not None and section.figure.title == section.answer.text
    answer = "" if repeated else f'<p class="finding">{escape(section.answer.text)}</p>'
    how = f'<p class="how"><b>{escape(report.headings.how)}</b> {escape(section.how)}</p>' if section.how else ""
    return (
        f'<section id="{section.key}"><h2>{escape(section.title)} {mark}</h2>{answer}'
        + (f'<div class="numbers">{numbers}</div>' if numbers else "")
        + (_figure(report, section.figure, live) if section.figure else "")
        + "".join(_table(report, table, heading=True) for table in section.tables)
        + _items([one.text for one in section.notes])
        + how
        + "</section>"
    )


def _figure(report: Report, figure: Figure, live: Mapping[str, str]) -> str:
    more = live.get(figure.key, "")
    title = escape(figure.title)
    drawn = f'<div class="chart" data-alt="{title}">{svg(figure.chart, figure.title)}{more}</div>'
    table = _table(report, figure.table)
    if live:
        table = f"<details><summary>{escape(report.headings.figures)}</summary>{table}</details>"
    return f"<figure><figcaption>{title}</figcaption>{drawn}</figure>{table}"


def _table(report: Report, table: Table, *, heading: bool = False) -> str:
    lang = report.language
    numeric = [column.kind != "text" for column in table.columns]
    heads = "".join(f"<th{' class=n' * n}>{escape(c.name)}</th>" for c, n in zip(table.columns, numeric, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' * n}>{escape(cell_text(column, cell, lang))}</td>"
            for column, cell, n in zip(table.columns, row, numeric, strict=True)
        )
        + "</tr>"
        for row in table.rows[:PRINTED_ROWS]
    )
    total = len(table.rows)
    more = report.headings.more.format(shown=PRINTED_ROWS, total=total) if total > PRINTED_ROWS else ""
    title = f"<h3>{escape(table.title)}</h3>" if heading else ""
    return f'{title}<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>' + (
        f'<p class="quiet">{escape(more)}</p>' if more else ""
    )


def _verdicts(report: Report) -> str:
    h = report.headings
    rows = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{badge(one.verdict, one.word)}</td><td>{escape(one.criterion)}</td></tr>"
        for one in report.judgements
    )
    heads = "".join(f"<th>{escape(one)}</th>" for one in (h.part, h.verdict, h.criterion))
    return f'<div class="table"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


def _items(texts: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""
