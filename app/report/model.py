"""What a report says, before it is a page, a slide or a sheet: every number once, as a value and as it is printed.

A writer prints `Number.text`, `Statement.text` and `cell_text`; it never formats a number itself, so that every format
says the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, final

import plotly.graph_objects as go

from app.text import Language
from app.text.numbers import MISSING, count, decimal, percent

Kind = Literal["text", "count", "share", "probability", "nat", "number", "money", "seconds"]
"""A probability is the model's own statement; a share is something that was counted or measured."""
Cell = str | float | int | None


@final
@dataclass(frozen=True)
class Number:
    """One number: its value, how it is printed with its unit and interval, and what kind of number it is."""

    value: float | None
    text: str
    unit: str = ""
    kind: Kind = "number"
    low: float | None = None
    high: float | None = None


@final
@dataclass(frozen=True)
class Statement:
    """One sentence or a few, with the numbers that stand in it."""

    text: str
    numbers: Mapping[str, Number] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Quantity:
    """A number with its name, and how it is to be read."""

    label: str
    number: Number
    note: str = ""


@final
@dataclass(frozen=True)
class Column:
    """A column of a table: its heading with the unit, the kind of its numbers, and their decimals."""

    name: str
    kind: Kind = "text"
    digits: int = 2


@final
@dataclass(frozen=True)
class Table:
    """All rows of a table; a page or a PDF may print the first of them and says how many there are."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@final
@dataclass(frozen=True)
class Figure:
    """A figure of `app.charts`, the sentence that it shows, and its numbers."""

    key: str
    title: str
    chart: go.Figure
    table: Table


@final
@dataclass(frozen=True)
class Judgement:
    """The verdict on one kind of evidence: its code, its word, and what *trusted* asks of it, fixed before the run."""

    name: str
    verdict: str
    word: str
    criterion: str


@final
@dataclass(frozen=True)
class Section:
    """One question of the report.

    Attributes:
        verdict: code of the verdict, or empty.
        word: of the verdict, in the language of the report.
        answer: the finding.
        notes: what else must be known.
        how: how the numbers are computed.
    """

    key: str
    title: str
    answer: Statement
    verdict: str = ""
    word: str = ""
    notes: tuple[Statement, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    figure: Figure | None = None
    tables: tuple[Table, ...] = ()
    how: str = ""


@final
@dataclass(frozen=True)
class Step:
    """A next step, why, and what it takes."""

    title: Statement
    why: Statement
    effort: Statement


@final
@dataclass(frozen=True)
class Origin:
    """One line on where the numbers come from."""

    label: str
    text: str


@final
@dataclass(frozen=True)
class Headings:
    """Words of the report's frame, in its language."""

    meeting: str
    verdicts: str
    steps: str
    limits: str
    origins: str
    how: str
    value: str
    low: str
    high: str
    unit: str
    printed: str
    place: str
    name: str
    effort: str
    more: str
    part: str
    verdict: str
    criterion: str
    summary: str
    figures: str


@final
@dataclass(frozen=True)
class Report:
    """A whole report in one language.

    Attributes:
        made: when, as it is printed.
        verdict: code of the worst verdict of all evidence.
        meeting: sentences to be said, the limits last.
        limits: what could be wrong.
        rules: text of the rules that hold; empty for none.
    """

    language: Language
    title: str
    question: str
    made: str
    verdict: str
    word: str
    headline: Statement
    reasons: tuple[Statement, ...]
    meeting: tuple[Statement, ...]
    judgements: tuple[Judgement, ...]
    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    limits: tuple[Statement, ...]
    origins: tuple[Origin, ...]
    headings: Headings
    rules: str = ""

    def statements(self) -> Iterator[tuple[str, Statement]]:
        """Every statement with the heading that it stands under, in the order of the report."""
        yield self.headings.summary, self.headline
        yield from ((self.headings.summary, one) for one in self.reasons)
        yield from ((self.headings.meeting, one) for one in self.meeting)
        for section in self.sections:
            yield section.title, section.answer
            yield from ((section.title, one) for one in section.notes)
        for step in self.steps:
            yield from ((self.headings.steps, one) for one in (step.title, step.why, step.effort))
        yield from ((self.headings.limits, one) for one in self.limits)

    def numbers(self) -> Iterator[tuple[str, str, Number]]:
        """Every number outside tables: heading, name or sentence, number."""
        for heading, statement in self.statements():
            yield from ((heading, statement.text, number) for number in statement.numbers.values())
        for section in self.sections:
            yield from ((section.title, quantity.label, quantity.number) for quantity in section.quantities)

    def tables(self) -> Iterator[Table]:
        """Every table, those of the figures included."""
        for section in self.sections:
            if section.figure is not None:
                yield section.figure.table
            yield from section.tables


def cell_text(column: Column, cell: Cell, lang: Language) -> str:
    """Return a cell as it is printed; a missing number is a dash.

    >>> cell_text(Column("Share", "share", 1), 0.25, "en").replace("\\N{NO-BREAK SPACE}", " ")
    '25.0 %'
    """
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return cell
    if column.kind == "count":
        return count(cell, lang)
    if column.kind in ("share", "probability"):
        return percent(cell, lang, column.digits)
    return decimal(float(cell), lang, column.digits)
