"""Delimited text: decoding, the delimiter, ragged rows, the header."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import pandas as pd

from jebm_core.errors import TableError
from jebm_core.tables.cells import read_column
from jebm_core.tables.records import Note, listed

ROLE_PREFIXES = ("x_", "y_", "r_", "c_")
# Bytes that Python's cp932 lets through although Windows assigns them no character.
_NOT_CP932 = re.compile("[\x80\xa0\uf8f0-\uf8f3]")


@final
@dataclass(frozen=True)
class Parsed:
    """The cells of one file, before its digest and name are attached."""

    frame: pd.DataFrame
    notes: tuple[Note, ...]
    first_row: int


def decode(file: str, content: bytes) -> tuple[str, str, tuple[Note, ...]]:
    """The text of a file in UTF-8 (with or without a byte order mark) or else cp932; its encoding; notes."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(
            "{file} is text in UTF-16; expected UTF-8 or cp932 (Shift_JIS). Save it again as “CSV UTF-8”.", file=file
        )
    if b"\0" in content:
        raise TableError(
            "{file} is not a text table: byte {offset} is a zero byte, which text never holds. "
            "Give a CSV, TSV, Excel, Parquet or ARFF file under its own ending.",
            file=file,
            offset=content.index(b"\0"),
        )
    try:
        return content.decode("utf-8-sig"), "utf-8", ()
    except UnicodeDecodeError as error:
        utf8_at = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
    cp932_at = len(content)
    try:
        text = content.decode("cp932")
        odd = _NOT_CP932.search(text)
        if odd is None:
            return text, "cp932", (Note("The text was read as cp932 (Shift_JIS), because it is not UTF-8."),)
        cp932_at = len(text[: odd.start()].encode("cp932"))
    except UnicodeDecodeError as error:
        cp932_at = error.start
    raise TableError(
        "{file} is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte {utf8_at} (line {utf8_line}), "
        "as cp932 at byte {cp932_at} (line {cp932_line}). Parts saved in different encodings may have been joined; "
        "save the whole file as UTF-8.",
        file=file,
        utf8_at=utf8_at,
        utf8_line=content.count(b"\n", 0, utf8_at) + 1,
        cp932_at=cp932_at,
        cp932_line=content.count(b"\n", 0, cp932_at) + 1,
    )


def parse_delimited(file: str, text: str, *, tabs: bool) -> Parsed:
    """Cells of delimited text. Every row has as many fields as the header; rows after the last filled one are cut.

    An empty row in between stays, as a row with every cell missing, so that row numbers stay those a spreadsheet shows.
    """
    delimiter, notes = _delimiter(text, tabs=tabs)
    header, header_at, last = _measure(file, text, delimiter)
    names, name_notes = clean_names(file, header)
    if len(names) == 1 and not names[0].startswith(ROLE_PREFIXES):
        raise TableError(
            "{file} is not a table: row {row} holds no comma, tab or semicolon, so there is one column only. "
            "The first row must hold the column names, separated by commas (CSV) or tabs (TSV).",
            file=file,
            row=header_at + 1,
        )
    if last <= header_at:
        raise no_rows(file)
    raw = pd.read_csv(
        io.StringIO(text, newline=""),
        sep=delimiter,
        header=None,
        names=list(range(len(names))),
        dtype=str,
        na_filter=False,
        skip_blank_lines=False,
        index_col=False,
    )
    raw = raw.iloc[header_at + 1 : last + 1].reset_index(drop=True)
    if len(raw) != last - header_at:
        raise TableError(
            "{file} holds {expected} rows when read field by field but {found} when read as a whole. "
            "Look for stray quotes or line ends inside cells and save the file again.",
            file=file,
            expected=last - header_at,
            found=len(raw),
        )
    columns = [raw.iloc[:, place] for place in range(len(names))]
    # Where semicolons separate fields, a comma is likely a decimal sign and never read as a thousands separator.
    frame, cell_notes = assemble(names, columns, first_row=header_at + 2, thousands=delimiter != ";")
    return Parsed(frame, notes + name_notes + cell_notes, header_at + 2)


def assemble(
    names: Sequence[str], columns: Sequence[pd.Series], *, first_row: int, thousands: bool = True
) -> tuple[pd.DataFrame, tuple[Note, ...]]:
    """Give columns of text their meaning and join them; columns that are not text pass through."""
    read: dict[str, pd.Series] = {}
    notes: list[Note] = []
    for name, column in zip(names, columns, strict=True):
        if isinstance(column.dtype, pd.StringDtype):
            read[name], found = read_column(name, column, first_row=first_row, thousands=thousands)
            notes.extend(found)
        else:
            read[name] = column
    return pd.DataFrame(read, columns=pd.Index(names)), tuple(notes)


def clean_names(file: str, header: Sequence[str]) -> tuple[list[str], tuple[Note, ...]]:
    """Column names without surrounding spaces, each occurring once; nameless columns are numbered."""
    notes = []
    names = [name.strip() for name in header]
    spaced = [name for name, raw in zip(names, header, strict=True) if name != raw and name]
    if spaced:
        notes.append(
            Note(
                "Spaces around {count} column names were put aside ({columns}).",
                {"count": len(spaced), "columns": listed(spaced)},
            )
        )
    nameless = [place for place, name in enumerate(names, start=1) if not name]
    if len(nameless) * 2 > len(names):
        raise TableError(
            "{file}: {count} of {total} columns have no name in the first filled row. "
            "That row must hold the column names; remove titles and empty rows above it.",
            file=file,
            count=len(nameless),
            total=len(names),
        )
    if nameless:
        names = [name or f"column {place}" for place, name in enumerate(names, start=1)]
        notes.append(
            Note(
                "{count} columns have no name and are called by their place ({columns}).",
                {"count": len(nameless), "columns": listed(f"column {p}" for p in nameless)},
            )
        )
    places: dict[str, int] = {}
    for place, name in enumerate(names, start=1):
        if name in places:
            raise TableError(
                "{file}: columns {first} and {second} are both called {column!r}. Give every column its own name.",
                file=file,
                first=places[name],
                second=place,
                column=name,
            )
        places[name] = place
    return names, tuple(notes)


def no_rows(file: str) -> TableError:
    """The error for a table with column names and nothing under them."""
    return TableError("{file} has column names but no rows. Put one case in each row below the names.", file=file)


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _delimiter(text: str, *, tabs: bool) -> tuple[str, tuple[Note, ...]]:
    """The delimiter that the ending promises, unless the first filled line holds only another one."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    expected = "\t" if tabs else ","
    if expected in first:
        return expected, ()
    for other, name in (("\t", "tabs"), (";", "semicolons"), (",", "commas")):
        if other in first:
            return other, (Note("The fields are separated by {separator}.", {"separator": name}),)
    return expected, ()


def _measure(file: str, text: str, delimiter: str) -> tuple[list[str], int, int]:
    """The header, the place of its record, and the place of the last record that holds anything."""
    header: list[str] | None = None
    header_at = last = place = -1
    try:
        for place, fields in enumerate(_records(text, delimiter)):
            if header is None:
                if any(fields):
                    header, header_at, last = fields, place, place
                continue
            if len(fields) == len(header):
                if any(fields):
                    last = place
            elif fields:
                raise TableError(
                    "{file}, row {row}: expected {expected} fields, as many as there are column names in row "
                    "{header_row}, found {found}. Put text that holds the separator in quotes, and remove titles above "
                    "the column names.",
                    file=file,
                    row=place + 1,
                    expected=len(header),
                    header_row=header_at + 1,
                    found=len(fields),
                )
    except csv.Error:
        raise TableError(
            "{file}, row {row}: a quoted field is not closed, or text follows its closing quote. "
            "Write a quote inside a quoted field twice.",
            file=file,
            row=place + 2,
        ) from None
    if header is None:
        raise TableError("{file} is empty. Give a table with column names in its first row.", file=file)
    return header, header_at, last
