"""The report as a workbook: sentences, every number with its interval, every table whole, a sheet each."""

import io
import re
from typing import Any

import xlsxwriter

from app.report.model import Column, Report, Table

_FORMATS = {"count": "#,##0", "share": "0.{}%", "probability": "0.{}%", "seconds": "0", "text": "@"}
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")


def xlsx(report: Report) -> bytes:
    """Return the file. Text stays text: no cell is ever read as a formula or an address."""
    file = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(file, options) as book:
        book.set_properties({"title": report.title, "author": "jebm"})
        writer = _Book(book, report)
        writer.sentences()
        writer.numbers()
        writer.verdicts()
        for table in report.tables():
            writer.table(table)
        writer.origins()
    return file.getvalue()


def number_format(column: Column) -> str:
    """Return how a sheet shows the numbers of a column: as `cell_text` prints them, as far as a sheet can.

    >>> number_format(Column("Share", "share", 1)), number_format(Column("Error", "nat", 3))
    ('0.0%', '#,##0.000')
    """
    known = _FORMATS.get(column.kind, "#,##0.{}")
    return known.format("0" * column.digits).replace(".%", "%").rstrip(".")


class _Book:
    """Sheets of one workbook, with names that are all different."""

    def __init__(self, book: Any, report: Report) -> None:
        self.book, self.report, self.names = book, report, set[str]()
        font = {"font_name": "Yu Gothic" if report.language == "ja" else "Calibri", "font_size": 11, "valign": "top"}
        self.font = font
        self.plain = book.add_format({**font, "text_wrap": True})
        self.head = book.add_format({**font, "bold": True, "text_wrap": True, "bg_color": "#F1F5F9", "bottom": 1})
        self.title = book.add_format({**font, "bold": True, "font_size": 14})
        self.cells: dict[str, Any] = {}

    def sheet(self, name: str, heads: list[str], widths: list[float]) -> Any:
        """Add a sheet with a row of headings; 31 letters are all that a name may have."""
        base = _FORBIDDEN.sub(" ", name).strip()[:28] or "–"
        found = base
        while found.lower() in self.names:
            found = f"{base} {sum(one.startswith(base.lower()) for one in self.names) + 1}"
        self.names.add(found.lower())
        sheet = self.book.add_worksheet(found)
        for place, (head, width) in enumerate(zip(heads, widths, strict=True)):
            sheet.set_column(place, place, width)
            sheet.write_string(0, place, head, self.head)
        sheet.freeze_panes(1, 0)
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        return sheet

    def number(self, form: str) -> Any:
        """Return the format of a number."""
        if form not in self.cells:
            self.cells[form] = self.book.add_format({**self.font, "num_format": form})
        return self.cells[form]

    def sentences(self) -> None:
        """Write everything that the report says in words."""
        report, h = self.report, self.report.headings
        sheet = self.sheet(h.summary, [h.place, h.name], [28, 110])
        lines = [(report.title, report.question), (h.verdict, report.word), ("", report.made)]
        lines += [(place, statement.text) for place, statement in report.statements()]
        lines += [(section.title, f"{h.how}: {section.how}") for section in report.sections if section.how]
        for row, line in enumerate(lines, 1):
            for place, text in enumerate(line):
                sheet.write_string(row, place, text, self.plain)

    def numbers(self) -> None:
        """Write every number that stands in a sentence or by itself."""
        h = self.report.headings
        heads = [h.place, h.name, h.value, h.low, h.high, h.unit, h.printed]
        sheet = self.sheet(h.value, heads, [26, 70, 14, 14, 14, 10, 30])
        for row, (place, name, number) in enumerate(self.report.numbers(), 1):
            sheet.write_string(row, 0, place, self.plain)
            sheet.write_string(row, 1, name, self.plain)
            for column, value in enumerate((number.value, number.low, number.high), 2):
                if value is not None:
                    sheet.write_number(row, column, value, self.number("General"))
            sheet.write_string(row, 5, number.unit, self.plain)
            sheet.write_string(row, 6, number.text, self.plain)

    def verdicts(self) -> None:
        """Write the verdicts with their criteria."""
        h = self.report.headings
        sheet = self.sheet(h.verdicts, [h.part, h.verdict, h.criterion], [30, 16, 90])
        for row, one in enumerate(self.report.judgements, 1):
            for place, text in enumerate((one.name, one.word, one.criterion)):
                sheet.write_string(row, place, text, self.plain)

    def table(self, table: Table) -> None:
        """Write all rows of a table."""
        owner = next(
            section.title
            for section in self.report.sections
            if table in section.tables or (section.figure is not None and section.figure.table is table)
        )
        widths = [40.0 if column.kind == "text" else 18.0 for column in table.columns]
        sheet = self.sheet(owner, [column.name for column in table.columns], widths)
        for row, cells in enumerate(table.rows, 1):
            for place, (column, cell) in enumerate(zip(table.columns, cells, strict=True)):
                if isinstance(cell, str):
                    sheet.write_string(row, place, cell, self.plain)
                elif cell is not None:
                    sheet.write_number(row, place, cell, self.number(number_format(column)))
        if table.rows:
            sheet.autofilter(0, 0, len(table.rows), len(table.columns) - 1)

    def origins(self) -> None:
        """Write where the numbers come from, and the rules."""
        h = self.report.headings
        sheet = self.sheet(h.origins, [h.name, h.value], [30, 100])
        lines = [(one.label, one.text) for one in self.report.origins]
        lines += [("", line) for line in self.report.rules.splitlines()]
        for row, line in enumerate(lines, 1):
            for place, text in enumerate(line):
                sheet.write_string(row, place, text, self.plain)
