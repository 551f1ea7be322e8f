"""Excel workbooks and Parquet files."""

import datetime
import io
import zipfile

import numpy as np
import pandas as pd

from jebm_core.errors import TableError
from jebm_core.tables.records import Note, spelled
from jebm_core.tables.text import Parsed, assemble, clean_names, no_rows


def parse_excel(file: str, content: bytes, *, max_bytes: int) -> Parsed:
    """The first sheet of a workbook. The first row that holds anything is the header; trailing empty rows are cut.

    A cell that shows an Excel error (such as a division by zero) counts as empty.
    """
    import python_calamine

    _refuse_inflated(file, content, max_bytes)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        sheets = book.sheet_names
        rows = book.get_sheet_by_index(0).to_python(skip_empty_area=False) if sheets else []
    except (python_calamine.CalamineError, OSError, ValueError):
        raise TableError(
            "{file} can't be opened as an Excel workbook; it may be damaged, protected by a password, or another kind "
            "of file. Open it in Excel and save it as .xlsx without a password, or as “CSV UTF-8”.",
            file=file,
        ) from None
    filled = [place for place, row in enumerate(rows) if any(cell != "" for cell in row)]
    if not filled:
        raise TableError("{file} is empty. Give a table with column names in its first row.", file=file)
    header_at, last = filled[0], filled[-1]
    notes: tuple[Note, ...] = ()
    if len(sheets) > 1:
        notes = (
            Note(
                "The workbook has {count} sheets; only the first, {sheet!r}, was read.",
                {"count": len(sheets), "sheet": sheets[0]},
            ),
        )
    header = rows[header_at]
    body = rows[header_at + 1 : last + 1]
    # A formatted but empty area to the right is no part of the table.
    used = [place for place in range(len(header)) if header[place] != "" or any(row[place] != "" for row in body)]
    names, name_notes = clean_names(file, [spelled(header[place]) for place in used])
    if not body:
        raise no_rows(file)
    columns = [_typed([row[place] for row in body]) for place in used]
    frame, cell_notes = assemble(names, columns, first_row=header_at + 2)
    return Parsed(frame, notes + name_notes + cell_notes, header_at + 2)


def parse_parquet(file: str, content: bytes) -> Parsed:
    """All columns of a Parquet file with the types it declares; decimal numbers become floats."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
        columns = table.column_names
    except (pa.ArrowException, OSError, ValueError):
        raise TableError(
            "{file} can't be opened as a Parquet file; it may be damaged or another kind of file. "
            "Write it again, or give the table as CSV.",
            file=file,
        ) from None
    names, notes = clean_names(file, columns)
    if table.num_rows == 0:
        raise no_rows(file)
    arrays = [column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column for column in table.columns]
    frame = pa.table(arrays, names=names).to_pandas(ignore_metadata=True)
    return Parsed(frame, notes, 1)


def _typed(cells: list[object]) -> pd.Series:
    """Numbers where every filled cell is a number, dates where every one is a date, text otherwise."""
    filled = [cell for cell in cells if cell != ""]
    if filled and all(type(cell) in (int, float) for cell in filled):
        numbers = np.array([np.nan if cell == "" else cell for cell in cells], dtype=np.float64)
        whole = len(filled) == len(cells) and bool(np.all((numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53)))
        return pd.Series(numbers.astype(np.int64) if whole else numbers)
    if filled and all(isinstance(cell, datetime.date) for cell in filled):
        return pd.Series(pd.to_datetime([None if cell == "" else cell for cell in cells]))
    return pd.Series([spelled(cell) for cell in cells], dtype="str")


def _refuse_inflated(file: str, content: bytes, max_bytes: int) -> None:
    """Refuse a workbook that unpacks to more than the limit, before anything unpacks it."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return  # the older .xls format is no archive; a damaged one is refused where it is opened
    if size > max_bytes:
        raise too_large(file, size, max_bytes)


def too_large(file: str, size: int, limit: int) -> TableError:
    """The error for a file above the limit."""
    return TableError(
        "{file} holds {size} of data; tables of up to {limit} are read. "
        "Leave out columns without a role, take a sample of the rows, or save it as Parquet.",
        file=file,
        size=readable_size(size),
        limit=readable_size(limit),
    )


def readable_size(count: int) -> str:
    """Bytes in the unit that people use.

    >>> [readable_size(count) for count in (900, 2_500_000, 1_000_000_000)]
    ['900 bytes', '2.5 MB', '1.0 GB']
    """
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
