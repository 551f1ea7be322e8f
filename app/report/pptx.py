"""The report as slides: one finding a slide, charts that PowerPoint edits, and in the notes how it is computed."""

import io
from collections.abc import Sequence
from typing import Any

from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.text import MSO_ANCHOR, MSO_AUTO_SIZE, PP_ALIGN
from pptx.util import Emu, Inches, Pt

from app.report.model import Quantity, Report, Section, Table, cell_text
from app.report.pptx_charts import add_charts, set_fonts
from app.report.svg import text_width

WIDTH, HEIGHT = Inches(13.333), Inches(7.5)
_LEFT, _RIGHT = Inches(0.6), Inches(12.73)
_TONES = {"trusted": "166534", "go": "166534", "caution": "92400E", "widen": "92400E", "do not trust": "991B1B",
          "stop": "991B1B"}  # fmt: skip
_TEXT, _QUIET, _PANEL = "0F172A", "475569", "F1F5F9"
_LINE = 1.3
_MOST_ROWS = 9


def pptx(report: Report) -> bytes:
    """Return the file."""
    deck = Presentation()
    deck.slide_width, deck.slide_height = WIDTH, HEIGHT
    deck.core_properties.title = report.title
    deck.core_properties.author = "jebm"
    deck.core_properties.language = report.language
    h = report.headings
    _front(deck, report)
    _list(deck, report, h.meeting, [one.text for one in report.meeting])
    _verdicts(deck, report)
    for section in report.sections:
        _finding(deck, report, section)
        for table in section.tables:
            slide = _slide(deck, report, table.title)
            _table(slide, report, table, Inches(1.6))
    steps = [f"{one.title.text}\n{one.why.text}\n{h.effort} · {one.effort.text}" for one in report.steps]
    _list(deck, report, h.steps, steps)
    _list(deck, report, h.limits, [one.text for one in report.limits])
    _list(deck, report, h.origins, [f"{one.label}  {one.text}" for one in report.origins], small=True)
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()


def fitted(texts: Sequence[str], width: int, height: int, largest: float = 20, smallest: float = 11) -> float:
    """Return the largest size in points at which paragraphs fit into a box of this size in EMU."""
    size = largest
    while size > smallest and _tall(texts, width, size) > Emu(height).pt - 10:
        size -= 0.5
    return size


def _tall(texts: Sequence[str], width: int, size: float) -> float:
    """How many points high paragraphs are in a box of this width in EMU."""
    wide = max(int(Emu(width).pt - 16), 1)
    lines = sum(max(1, -(-int(text_width(line, size)) // wide)) for text in texts for line in text.split("\n"))
    return lines * size * _LINE + len(texts) * 6


def _slide(deck: Any, report: Report, title: str, verdict: str = "", word: str = "") -> Any:
    slide = deck.slides.add_slide(deck.slide_layouts[5])  # a title alone
    for place in list(slide.placeholders):
        if place != slide.shapes.title:
            place._element.getparent().remove(place._element)
    head = slide.shapes.title
    head.left, head.top, head.width, head.height = _LEFT, Inches(0.35), _RIGHT - _LEFT - Inches(1.9), Inches(1.1)
    size = fitted([title], head.width, head.height, 26, 15)
    _write(head.text_frame, [title], size, bold=True)
    head.text_frame.vertical_anchor = MSO_ANCHOR.MIDDLE
    if word:
        badge = (_RIGHT - Inches(1.75), Inches(0.6), Inches(1.75), Inches(0.5))
        frame = _box(slide, badge, [word], 14, fill=_TONES.get(verdict, _QUIET), colour="FFFFFF")
        frame.vertical_anchor = MSO_ANCHOR.MIDDLE
    foot = (_LEFT, HEIGHT - Inches(0.48), _RIGHT - _LEFT, Inches(0.4))
    _box(slide, foot, [f"{report.title} · {report.made}"], 10, colour=_QUIET)
    return slide


def _front(deck: Any, report: Report) -> None:
    slide = _slide(deck, report, report.title, report.verdict, report.word)
    area = (_LEFT, Inches(1.7), _RIGHT - _LEFT, Inches(0.9))
    _box(slide, area, [report.question], fitted([report.question], area[2], area[3], 22, 14), colour=_QUIET)
    texts = [report.headline.text, *(one.text for one in report.reasons)]
    left, top, width, most = _LEFT, Inches(2.9), _RIGHT - _LEFT, Inches(3.9)
    size = fitted(texts, width, most, 24, 12)
    _box(slide, (left, top, width, min(most, Pt(_tall(texts, width, size) + 10))), texts, size, fill=_PANEL)


def _list(deck: Any, report: Report, title: str, texts: list[str], *, small: bool = False) -> None:
    """Write paragraphs, on as many slides as they need."""
    width, height = _RIGHT - _LEFT, Inches(5.2)
    least = 11 if small else 14
    page: list[str] = []
    pages = [page]
    for text in texts:
        if page and fitted([*page, text], width, height, 20, least) <= least:
            page = []
            pages.append(page)
        page.append(text)
    for number, part in enumerate(pages, 1):
        named = title if len(pages) == 1 else f"{title} ({number}/{len(pages)})"
        slide = _slide(deck, report, named)
        _box(
            slide, (_LEFT, Inches(1.6), width, height), part, fitted(part, width, height, 20, least), bullets=not small
        )


def _verdicts(deck: Any, report: Report) -> None:
    h = report.headings
    slide = _slide(deck, report, h.verdicts, report.verdict, report.word)
    rows = [(one.name, one.word, one.criterion) for one in report.judgements]
    shape = _grid(slide, [(h.part, h.verdict, h.criterion), *rows], Inches(1.6), (0.22, 0.16, 0.62))
    for place, one in enumerate(report.judgements, 1):
        run = shape.table.cell(place, 1).text_frame.paragraphs[0].runs[0]
        run.font.color.rgb, run.font.bold = RGBColor.from_string(_TONES.get(one.verdict, _QUIET)), True


def _finding(deck: Any, report: Report, section: Section) -> None:
    figure = section.figure
    title = figure.title if figure is not None else section.title
    slide = _slide(deck, report, title, section.verdict, section.word)
    _notes(slide, report, section)
    top, height = Inches(1.55), HEIGHT - Inches(2.1)
    if figure is None:
        texts = [section.answer.text, *(one.text for one in section.notes)]
        _numbers(slide, section.quantities, (_LEFT, top, _RIGHT - _LEFT, Inches(1.5)), across=True)
        below = top + (Inches(1.8) if section.quantities else 0)
        box = (_LEFT, below, _RIGHT - _LEFT, HEIGHT - Inches(0.6) - below)
        _box(slide, box, texts, fitted(texts, box[2], box[3], 20, 12))
        return
    side = Inches(3.0) if section.quantities else 0
    add_charts(slide, figure.chart, (_LEFT, top, _RIGHT - _LEFT - side, height), figure.title)
    if section.quantities:
        box = (_RIGHT - side + Inches(0.15), top, side - Inches(0.15), Inches(1.15) * len(section.quantities))
        _numbers(slide, section.quantities, box, across=False)


def _numbers(slide: Any, quantities: Sequence[Quantity], box: tuple[int, int, int, int], *, across: bool) -> None:
    left, top, width, height = box
    n = max(len(quantities), 1)
    cells = [
        (left + place * width // n, top, width // n - Inches(0.15), height)
        if across
        else (left, top + place * height // n, width, height // n - Inches(0.12))
        for place in range(n)
    ]
    told = [[one.label, one.number.text, *([one.note] if one.note else [])] for one in quantities]
    size = min((fitted(texts, cell[2], cell[3], 16, 9) for texts, cell in zip(told, cells, strict=False)), default=16)
    for texts, cell in zip(told, cells, strict=False):
        frame = _box(slide, cell, texts, size, fill=_PANEL)
        frame.paragraphs[0].runs[0].font.color.rgb = RGBColor.from_string(_QUIET)
        frame.paragraphs[1].runs[0].font.bold = True


def _notes(slide: Any, report: Report, section: Section) -> None:
    h = report.headings
    lines = [section.answer.text, *(one.text for one in section.notes)]
    if section.how:
        lines.append(f"{h.how}: {section.how}")
    for table in [section.figure.table] if section.figure else []:
        lines.append(h.figures)
        lines.append(" | ".join(column.name for column in table.columns))
        for row in table.rows[:_MOST_ROWS]:
            lines.append(
                " | ".join(cell_text(c, cell, report.language) for c, cell in zip(table.columns, row, strict=True))
            )
        if len(table.rows) > _MOST_ROWS:
            lines.append(h.more.format(shown=_MOST_ROWS, total=len(table.rows)))
    slide.notes_slide.notes_text_frame.text = "\n".join(lines)


def _table(slide: Any, report: Report, table: Table, top: int) -> None:
    lang = report.language
    rows = [
        tuple(cell_text(column, cell, lang) for column, cell in zip(table.columns, row, strict=True))
        for row in table.rows[:_MOST_ROWS]
    ]
    share = 1.0 / (len(table.columns) + 1)
    _grid(slide, [tuple(c.name for c in table.columns), *rows], top, (2 * share, *[share] * (len(table.columns) - 1)))


def _grid(slide: Any, rows: Sequence[tuple[str, ...]], top: int, shares: Sequence[float]) -> Any:
    width = _RIGHT - _LEFT
    shape = slide.shapes.add_table(len(rows), len(rows[0]), _LEFT, top, width, Inches(0.5) * len(rows))
    for place, part in enumerate(shares):
        shape.table.columns[place].width = int(width * part)
    for line, row in enumerate(rows):
        for place, text in enumerate(row):
            cell = shape.table.cell(line, place)
            cell.fill.solid()
            cell.fill.fore_color.rgb = RGBColor.from_string(_PANEL if line == 0 else "FFFFFF")
            _write(cell.text_frame, [text], 13, bold=line == 0)
    return shape


def _box(
    slide: Any, box: tuple[int, int, int, int], texts: Sequence[str], size: float, *, fill: str = "",
    colour: str = _TEXT, bullets: bool = False,
) -> Any:  # fmt: skip
    shape = slide.shapes.add_textbox(*(Emu(int(part)) for part in box))
    if fill:
        shape.fill.solid()
        shape.fill.fore_color.rgb = RGBColor.from_string(fill)
    frame = shape.text_frame
    frame.auto_size = MSO_AUTO_SIZE.NONE  # boxes side by side stay of one height
    frame.word_wrap = True
    _write(frame, [f"• {text}" for text in texts] if bullets else texts, size, colour=colour)
    return frame


def _write(frame: Any, texts: Sequence[str], size: float, *, bold: bool = False, colour: str = _TEXT) -> None:
    frame.clear()
    frame.word_wrap = True
    for place, text in enumerate(texts):
        paragraph = frame.paragraphs[0] if place == 0 else frame.add_paragraph()
        paragraph.space_after = Pt(6)
        paragraph.alignment = PP_ALIGN.LEFT
        for part, line in enumerate(text.split("\n")):
            if part:
                paragraph.add_line_break()
            run = paragraph.add_run()
            run.text = line
            run.font.bold = bold
            run.font.color.rgb = RGBColor.from_string(colour)
            set_fonts(run.font, size)
