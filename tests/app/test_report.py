"""The report of a finished run: one model, five files and a page, the same numbers in all of them."""

import dataclasses
import io
import json
import re
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pypdfium2
import pytest
from PIL import ImageFont
from pptx import Presentation
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Emu
from streamlit.testing.v1 import AppTest

from app.components.report_service import FORMATS, exported
from app.report.build import write_report
from app.report.facts import Choices, Facts, gather
from app.report.model import Column, Number, Report, cell_text
from app.report.static import PRINTED_ROWS
from app.report.svg import svg
from app.report.value import _quantile
from app.report.xlsx import number_format
from app.text import FOLDER, Language, translate
from jebm_core.runs import RunStore
from jebm_core.runs.ledger import EXPORTED, account
from jebm_core.runs.records import State
from tests.app.conftest import healthy, small_spec, wait_until_ended

MAIN = FOLDER.parent / "main.py"
LANGUAGES: tuple[Language, ...] = ("en", "ja")
CHOICES = Choices(trial=100.0, success=250.0, review_hours=0.5, hour=40.0, currency="EUR")
NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def run(private_home: Path) -> str:
    """A run with rules, an outcome and combinations that nobody has tried."""
    store = RunStore(idle_seconds=1.0)
    targets = ("c_housing", "c_seal", "c_bearing", "c_result")
    spec = dataclasses.replace(small_spec("assembly"), targets=targets, rules='housing != polymer or seal != "NBR lip"')
    found = store.submit(spec)
    assert wait_until_ended(store, found) is State.SUCCEEDED, str(store.run(found).message)
    return found


@pytest.fixture(scope="module")
def facts(run: str) -> Facts:
    return gather(run, CHOICES)


@pytest.fixture(scope="module")
def reports(facts: Facts) -> dict[Language, Report]:
    return {lang: write_report(facts, lang, now=NOW) for lang in LANGUAGES}


@pytest.fixture(scope="module")
def flagged(facts: Facts) -> Report:
    """The same run, but a guard had stopped its training."""
    evaluation = {**facts.result.evaluation, "held_out": {**facts.result.evaluation["held_out"], "healthy": False}}
    result = dataclasses.replace(facts.result, evaluation=evaluation)
    return write_report(dataclasses.replace(facts, result=result), "en", now=NOW)


def written(report: Report, kind: str) -> bytes:
    return getattr(import_module(f"app.report.{kind}"), kind)(report)


@pytest.fixture(scope="module")
def files(reports: dict[Language, Report]) -> dict[tuple[Language, str], bytes]:
    return {(lang, kind): written(report, kind) for lang, report in reports.items() for kind in FORMATS}


class _Words(HTMLParser):
    """Text of a page without scripts, styles and drawings."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.fetched: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("script", "style", "svg")
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href", "data", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style", "svg")
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def html_words(content: bytes) -> _Words:
    words = _Words()
    words.feed(content.decode())
    return words


def pdf_text(content: bytes) -> str:
    document = pypdfium2.PdfDocument(content)
    pages = [document[i].get_textpage().get_text_bounded() for i in range(len(document))]
    # The number of the page stands between two lines of one sentence where a page ends.
    return "".join(re.sub(rf"\s*{i + 1} / {len(pages)}\s*$", "", page.strip()) for i, page in enumerate(pages))


def slide_texts(content: bytes) -> str:
    found: list[str] = []
    for slide in Presentation(io.BytesIO(content)).slides:
        for shape in slide.shapes:
            if shape.has_text_frame:
                found.append(shape.text_frame.text)
            if shape.has_table:
                found += [cell.text for row in shape.table.rows for cell in row.cells]
        if slide.has_notes_slide:
            found.append(slide.notes_slide.notes_text_frame.text)
    return "\n".join(found)


def bare(text: str) -> str:
    """Text without spaces and line ends, and without the two looks that a PDF gives some kanji and signs."""
    return re.sub(r"[\s\N{NO-BREAK SPACE}\u200b]", "", text)


def tokens(text: str) -> set[str]:
    return set(re.findall(r"\d[\d,]*(?:\.\d+)?", text))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("kind", ["html", "pdf", "pptx"])
def test_every_number_is_printed_as_the_model_has_it(
    lang: Language, kind: str, reports: dict[Language, Report], files: dict[tuple[Language, str], bytes]
) -> None:
    report, content = reports[lang], files[lang, kind]
    text = {"html": lambda: "".join(html_words(content).parts), "pdf": lambda: pdf_text(content),
            "pptx": lambda: slide_texts(content)}[kind]()  # fmt: skip
    shown = bare(text)
    missing = [statement.text for _place, statement in report.statements() if bare(statement.text) not in shown]
    assert not missing
    numbers = [number for section in report.sections for number in (one.number for one in section.quantities)]
    assert numbers
    assert not [number.text for number in numbers if bare(number.text) not in shown]
    for table in report.tables():
        for row in table.rows[: min(9, PRINTED_ROWS)]:
            for column, cell in zip(table.columns, row, strict=True):
                assert bare(cell_text(column, cell, lang)) in shown, (table.key, column.name, cell)
    for _place, statement in report.statements():
        assert all(number.text in statement.text for number in statement.numbers.values()), statement


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("kind", ["html", "pptx"])
def test_no_format_prints_a_number_that_the_model_does_not_have(
    lang: Language, kind: str, reports: dict[Language, Report], files: dict[tuple[Language, str], bytes]
) -> None:
    report, content = reports[lang], files[lang, kind]
    text = "".join(html_words(content).parts) if kind == "html" else slide_texts(content)
    cells = [
        cell_text(column, cell, lang)
        for table in report.tables()
        for row in table.rows
        for column, cell in zip(table.columns, row, strict=True)
    ]
    known = json.loads(files[lang, "json"])
    for section in known["sections"]:
        (section["figure"] or {}).pop("plotly", None)
    words = [json.dumps(known, ensure_ascii=False), *cells]
    totals = [
        report.headings.more.format(shown=n, total=len(t.rows)) for t in report.tables() for n in (9, PRINTED_ROWS)
    ]
    pages = {str(n) for n in range(1, 5)}  # steps, and slides of a list, are counted
    assert tokens(text) - tokens("\n".join([*words, *totals])) - pages == set()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_json_holds_every_value(
    lang: Language, reports: dict[Language, Report], files: dict[tuple[Language, str], bytes]
) -> None:
    report, found = reports[lang], json.loads(files[lang, "json"])
    assert found["language"] == lang
    held = [found["headline"], *found["reasons"], *found["meeting"], *found["limits"]]
    held += [one[part] for one in found["steps"] for part in ("title", "why", "effort")]
    held += [one for section in found["sections"] for one in (section["answer"], *section["notes"])]
    assert sorted(one["text"] for one in held) == sorted(one.text for _place, one in report.statements())
    there = [(n["value"], n["text"]) for one in held for n in one["numbers"].values()]
    there += [(n["value"], n["text"]) for section in found["sections"] for n in section["quantities"]]
    assert sorted(there) == sorted((number.value, number.text) for _place, _name, number in report.numbers())
    tables = [s["figure"]["table"] for s in found["sections"] if s["figure"]]
    tables += [table for section in found["sections"] for table in section["tables"]]
    rows = {table["key"]: [tuple(row) for row in table["rows"]] for table in tables}
    assert rows == {table.key: list(table.rows) for table in report.tables()}


def as_sheet_shows(value: float, form: str) -> str:
    """A number as a spreadsheet shows it under a format of this report."""
    digits = len(form.partition(".")[2].rstrip("%"))
    if form.endswith("%"):
        return f"{100 * value:.{digits}f}%"
    return f"{value:,.{digits}f}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_workbook_holds_every_number_and_runs_nothing(
    lang: Language, reports: dict[Language, Report], files: dict[tuple[Language, str], bytes]
) -> None:
    report = reports[lang]
    book = openpyxl.load_workbook(io.BytesIO(files[lang, "xlsx"]))
    assert not [cell.coordinate for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    sentences, numbers, _verdicts, *tables, _origins = book.worksheets
    texts = [row[1] for row in sentences.iter_rows(values_only=True)]
    assert [one.text for _place, one in report.statements() if one.text not in texts] == []
    rows = list(numbers.iter_rows(min_row=2, values_only=True))
    expected = [(n.value, n.low, n.high) for _place, _name, n in report.numbers()]
    # A workbook keeps sixteen digits.
    for row, values in zip(rows, expected, strict=True):
        assert row[2:5] == tuple(None if value is None else pytest.approx(value, rel=1e-14) for value in values)
    assert [(row[5] or "", row[6]) for row in rows] == [(n.unit, n.text) for _place, _name, n in report.numbers()]
    for sheet, table in zip(tables, report.tables(), strict=True):
        assert tuple(row[0].value for row in sheet.iter_cols(max_row=1)) == tuple(c.name for c in table.columns)
        cells = list(sheet.iter_rows(min_row=2))
        for row, expected_row in zip(cells, table.rows, strict=True):
            same = [pytest.approx(v, rel=1e-14) if isinstance(v, float) else v for v in expected_row]
            assert [cell.value for cell in row] == same
        for row in cells:
            for cell, column in zip(row, table.columns, strict=True):
                if isinstance(cell.value, int | float):
                    text = cell_text(column, cell.value, "ja")
                    if not text.startswith(("<", ">")):
                        shown = as_sheet_shows(cell.value, cell.number_format).replace("-", "\N{MINUS SIGN}")
                        assert shown in (text, "\N{MINUS SIGN}" + text), (table.key, column.name)


def test_a_format_of_a_sheet_has_as_many_decimals_as_the_text() -> None:
    assert number_format(Column("a", "share", 0)) == "0%"
    assert number_format(Column("a", "count")) == "#,##0"
    assert number_format(Column("a", "money", 2)) == "#,##0.00"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_slides_have_charts_with_the_numbers_and_everything_fits(
    lang: Language, reports: dict[Language, Report], files: dict[tuple[Language, str], bytes]
) -> None:
    report = reports[lang]
    deck = Presentation(io.BytesIO(files[lang, "pptx"]))
    assert deck.slide_width is not None
    assert deck.slide_height is not None
    assert abs(deck.slide_width / deck.slide_height - 16 / 9) < 0.01
    charts = {}
    for slide in deck.slides:
        assert slide.shapes.title is not None
        for shape in slide.shapes:
            assert shape.left >= 0
            assert shape.top >= 0
            assert shape.left + shape.width <= deck.slide_width
            assert shape.top + shape.height <= deck.slide_height
            if shape.has_chart:
                charts.setdefault(slide.shapes.title.text_frame.text, []).append(shape.chart)
            if shape.has_text_frame and shape.text_frame.text:
                _fits(shape)
    figures = {one.figure.title: one.figure for one in report.sections if one.figure is not None}
    assert set(charts) == set(figures)
    ladder = next(section.figure for section in report.sections if section.key == "unseen")
    assert ladder is not None
    bars = charts[ladder.title][0].plots[0]
    values = [next(v for v in row if v is not None) for row in zip(*(s.values for s in bars.series), strict=True)]
    assert values == pytest.approx([row[1] for row in ladder.table.rows])
    for chart in (chart for found in charts.values() for chart in found):
        assert chart.part.chart_workbook.xlsx_part is not None
        for axis in [
            chart.value_axis,
            *([chart.category_axis] if chart.chart_type == XL_CHART_TYPE.XY_SCATTER else []),
        ]:
            _is_marked_roundly(axis)


def _is_marked_roundly(axis: Any) -> None:
    """The ends are marks, there are few of them, and their labels have the decimals that tell them apart."""
    step = axis.major_unit
    assert step == pytest.approx(float(f"{step:.0e}")), "one digit"
    for end in (axis.minimum_scale, axis.maximum_scale):
        assert end / step == pytest.approx(round(end / step), abs=1e-6)
    assert 2 <= (axis.maximum_scale - axis.minimum_scale) / step <= 8
    form = axis.tick_labels.number_format
    digits = len(form.partition(".")[2].rstrip("%"))
    shown = 100 * step if form.endswith("%") else step
    assert round(shown, digits) == pytest.approx(shown)


def _fits(shape: Any) -> None:
    """Measured with a real font of both scripts, the text is no taller than its box."""
    path = "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"
    if not Path(path).exists():
        pytest.skip(f"no font to measure with: {path}")
    room, height = Emu(shape.width).pt - 14.4, 7.2
    for paragraph in shape.text_frame.paragraphs:
        size = max((run.font.size.pt for run in paragraph.runs if run.font.size), default=12.0)
        font = ImageFont.truetype(path, round(size * 10))
        for line in "".join(run.text if run.text else "\n" for run in paragraph.runs).split("\v"):
            width = font.getlength(line) / 10
            height += 1.2 * size * max(1, -(-width // room))
        height += 6
    assert height <= Emu(shape.height).pt * 1.06, shape.text_frame.text[:80]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_html_is_small_says_its_language_and_fetches_nothing(
    lang: Language,
    reports: dict[Language, Report],
    files: dict[tuple[Language, str], bytes],
    chromium: str,
    tmp_path: Path,
) -> None:
    from playwright.sync_api import sync_playwright

    content = files[lang, "html"]
    assert len(content) < 5_000_000
    page = html_words(content)
    assert [one for one in page.fetched if not one.startswith(("data:", "#"))] == []
    assert not re.search(rb"@import|url\(\s*['\"]?(?!data:)[a-z]+:", content)
    (tmp_path / "report.html").write_bytes(content)
    figures = sum(section.figure is not None for section in reports[lang].sections)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--disable-dev-shm-usage", "--disable-gpu"])
        tab = found.new_page(viewport={"width": 390, "height": 900})
        asked: list[str] = []
        wrong: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda line: wrong.append(line.text) if line.type == "error" else None)
        tab.goto(f"file://{tmp_path / 'report.html'}")
        tab.wait_for_function(f"document.querySelectorAll('.chart.drawn').length == {figures}", timeout=60_000)
        assert tab.evaluate("document.documentElement.lang") == lang
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.evaluate("[...document.querySelectorAll('svg[role=img]')].every(e => e.getAttribute('aria-label'))")
        tab.emulate_media(media="print")
        assert tab.evaluate("getComputedStyle(document.querySelector('.chart .live')).display") == "none"
        found.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_pdf_has_pages_with_words_and_drawings(lang: Language, files: dict[tuple[Language, str], bytes]) -> None:
    document = pypdfium2.PdfDocument(files[lang, "pdf"])
    assert 4 <= len(document) <= 20
    for number in range(len(document)):
        pixels = np.asarray(document[number].render(scale=1).to_pil().convert("L"))
        assert (pixels < 160).mean() > 0.001, f"page {number + 1} is empty"
    # The funnel is drawn in this blue.
    pixels = [np.asarray(document[i].render(scale=0.5).to_pil().convert("RGB")).reshape(-1, 3) for i in range(4)]
    assert any((np.abs(page.astype(int) - (29, 78, 216)).max(1) < 12).sum() > 20 for page in pixels)
    assert ("会議で使える文" if lang == "ja" else "Sentences for the meeting") in pdf_text(files[lang, "pdf"])


def test_a_model_that_is_not_to_be_trusted_prints_no_bare_probability(
    flagged: Report, reports: dict[Language, Report]
) -> None:
    trusted = reports["en"]
    assert {number.kind for _p, _n, number in _stated(trusted)}, "the trusted report has some to withhold"
    assert flagged.verdict == "do not trust"
    assert not _stated(flagged)
    assert not [table.key for table in flagged.tables() if any(c.kind == "probability" for c in table.columns)]
    assert {"ladder", "coverage_risk", "trials"} & {table.key for table in flagged.tables()} == set()
    finding = next(section.answer.text for section in trusted.sections if section.key == "unseen")
    withheld = translate("Withheld: the model is not to be trusted, so no probability of it is printed.", "en")
    for kind in FORMATS:
        content = written(flagged, kind)
        text = {"html": lambda c: "".join(html_words(c).parts), "pdf": pdf_text, "pptx": slide_texts,
                "xlsx": _book_text, "json": lambda c: c.decode()}[kind](content)  # fmt: skip
        assert bare(withheld) in bare(text)
        assert bare(finding) not in bare(text)
    first = flagged.meeting[0].text
    assert "must not be used" in first
    assert flagged.meeting[-1] == flagged.limits[-1]
    gate = next(section for section in flagged.sections if section.key == "returns")
    assert gate.verdict == "stop"


def _stated(report: Report) -> list[tuple[str, str, Number]]:
    """Numbers that the model states of combinations, be they probabilities or sums of such."""
    return [one for one in report.numbers() if one[2].kind == "probability" or "are expected to end" in one[1]]


def _book_text(content: bytes) -> str:
    book = openpyxl.load_workbook(io.BytesIO(content))
    return "\n".join(
        str(v) for sheet in book for row in sheet.iter_rows(values_only=True) for v in row if v is not None
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_sentences_for_the_meeting_have_numbers_intervals_and_the_limits_last(
    lang: Language, reports: dict[Language, Report]
) -> None:
    report = reports[lang]
    assert report.meeting[-len(report.limits) :] == report.limits
    ranged = [n for statement in report.meeting for n in statement.numbers.values() if n.low is not None]
    assert len(ranged) >= 3
    for number in ranged:
        assert number.low is not None
        assert number.high is not None
        assert number.value is not None
        assert number.low <= number.value <= number.high


def test_a_japanese_report_has_no_english_sentence(reports: dict[Language, Report]) -> None:
    texts = [one.text for _place, one in reports["ja"].statements()]
    texts += [section.how for section in reports["ja"].sections] + list(vars(reports["ja"].headings).values())
    texts += [one.criterion for one in reports["ja"].judgements] + [one.label for one in reports["ja"].origins]
    texts += [column.name for table in reports["ja"].tables() for column in table.columns]
    assert not [text for text in texts if re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,}", text)]


def test_text_that_looks_like_a_formula_or_a_tag_stays_text(reports: dict[Language, Report]) -> None:
    nasty = '=HYPERLINK("http://x")</script><script>alert(1)</script>'
    report = dataclasses.replace(reports["en"], title=nasty, question=nasty, rules=nasty)
    book = openpyxl.load_workbook(io.BytesIO(written(report, "xlsx")))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value == nasty]
    assert cells
    assert {cell.data_type for cell in cells} == {"s"}
    assert not [cell for cell in cells if cell.hyperlink]
    assert b"<script>alert" not in written(report, "html")
    assert nasty in "".join(html_words(written(report, "html")).parts)


def test_every_kind_of_run_has_a_report(finished: dict[str, str]) -> None:
    report = write_report(gather(finished["suppliers"], Choices()), "en", now=NOW)
    sections = {section.key: section for section in report.sections}
    assert "A return is computed where a success is defined" in sections["returns"].answer.text
    assert "ranks items" in sections["decisions"].answer.text
    assert sections["unseen"].figure is not None
    for kind in FORMATS:
        assert len(written(report, kind)) > 1000


def test_the_number_of_successes_follows_the_sum_of_its_events() -> None:
    probabilities = [0.9, 0.5, 0.2]
    random = np.random.default_rng(1)
    drawn = (random.random((20_000, 3)) < probabilities).sum(1)
    for level in (0.025, 0.3, 0.975):
        assert _quantile(probabilities, level) == np.quantile(drawn, level, method="inverted_cdf")


def test_drawings_hold_every_point(reports: dict[Language, Report]) -> None:
    figures = {one.figure.key: one.figure for one in reports["en"].sections if one.figure is not None}
    audit = svg(figures["audit"].chart, "a & b")
    assert "a &amp; b" in audit
    assert audit.count("<circle") + audit.count("<polygon") >= len(figures["audit"].table.rows)
    assert "NaN" not in "".join(svg(one.chart, one.title) for one in figures.values())


# ---- the page and the command ----------------------------------------------------------------------------------------


def _open(run: str | None, lang: Language) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params["lang"] = lang
    if run is not None:
        app.query_params["run"] = run
    app.run()
    app.switch_page("views/report.py").run()
    return healthy(app)


def _text(app: AppTest) -> str:
    return "\n".join(str(part.value).replace("\\", "") for part in [*app.markdown, *app.caption, *app.code])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_is_the_report(lang: Language, run: str, reports: dict[Language, Report]) -> None:
    app = _open(run, lang)
    assert not app.error
    figures = sum(section.figure is not None for section in reports[lang].sections)
    assert len(app.get("plotly_chart")) == figures
    labels = [button.label for button in app.get("download_button")]
    assert labels[:5] == [translate(word, lang) for word in ("HTML, interactive", "PowerPoint", "PDF", "Excel", "JSON")]
    shown = bare(_text(app))
    for statement in reports[lang].meeting:
        assert bare(statement.text) in shown
    units = ("nat", "ナット")
    counted = [one.number for section in reports[lang].sections for one in section.quantities]
    large = [bare(head.value).replace("\\", "") for head in app.subheader]
    for number in (number for number in counted if number.unit in units):
        assert re.split(r"[（(]", bare(number.text))[0].removesuffix(number.unit) in large
    assert not [value for value in large if value.endswith(units)], "a word breaks the large number on a telephone"
    app.number_input(key="success_value").set_value(300.0).run()
    assert translate("Net worth of the successes found", lang) in _text(healthy(app))
    app.selectbox(key="report_success").set_value(("", "")).run()
    assert translate("This model's order", lang) not in _text(healthy(app))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_without_a_run_the_page_leads_to_training(lang: Language) -> None:
    app = _open(None, lang)
    assert app.button(key="empty_action").label == translate("Go to training", lang)


def test_values_of_the_decisions_page_are_those_of_the_report(run: str) -> None:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params["run"] = run
    app.run()
    app.switch_page("views/decisions.py").run()
    app.text_input(key="currency").set_value("JPY").run()
    app.switch_page("views/report.py").run()
    assert "enter your own values" not in _text(healthy(app))


def _command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from app.report.__main__ import main

    monkeypatch.setattr(sys, "argv", ["app.report", *arguments])
    return main()


def test_the_command_writes_the_same_file(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.json"
    assert _command(monkeypatch, run, "--out", str(out), "--language", "ja") == 0
    assert json.loads(out.read_bytes())["language"] == "ja"
    capsys.readouterr()
    kept = RunStore(who="aoi@example.com")
    exported(kept, run, Choices(), "en", "json")
    noted = [entry for entry in kept.ledger.entries(about=run) if entry.what == EXPORTED]
    assert [(entry.who, dict(entry.details)) for entry in noted] == [
        ("aoi@example.com", {"format": "json", "language": "en"}),
        (account(), {"format": "json", "language": "ja"}),
    ]
    for arguments, part in (
        (("nosuchrun", "--out", str(out)), "nosuchrun"),
        ((run, "--out", str(out), "--language", "xx"), "xx"),
        ((run, "--out", str(out), "--format", "docx"), "docx"),
        ((run, "--out", str(out), "--success", "pass"), "slot=option"),
        ((run, "--out", str(out), "--trial-cost", "-1"), "-1"),
        ((run, "--out", str(tmp_path / "no" / "r.json")), "can't be written"),
    ):
        assert _command(monkeypatch, *arguments) == 2
        told = capsys.readouterr().err.strip()
        assert part in told
        assert "\n" not in told
