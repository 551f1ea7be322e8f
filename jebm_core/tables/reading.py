"""Read one file, or the bytes of an upload, into a `Table`."""

import hashlib
from pathlib import Path

from jebm_core.errors import TableError
from jebm_core.tables.arff import parse_arff
from jebm_core.tables.records import Note, Table
from jebm_core.tables.sheets import parse_excel, parse_parquet, too_large
from jebm_core.tables.text import Parsed, decode, parse_delimited

_FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xls": "excel",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arff": "arff",
}
# How files of other kinds begin, and what to call them.
_SIGNATURES = (
    (b"\x89PNG", "a PNG image", None),
    (b"\xff\xd8\xff", "a JPEG image", None),
    (b"GIF8", "a GIF image", None),
    (b"%PDF", "a PDF document", None),
    (b"\x1f\x8b", "a gzip archive", None),
    (b"PK\x03\x04", "an Excel workbook or a ZIP archive", "excel"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the older kind", "excel"),
    (b"PAR1", "a Parquet file", "parquet"),
)


def read_table(source: Path | str, *, content: bytes | None = None, max_bytes: int = 1_000_000_000) -> Table:
    """Read a CSV, TSV, Excel, Parquet or ARFF table; the ending of its name says which.

    Text is UTF-8 (with or without a byte order mark) or else cp932. The delimiter follows the ending, unless the first
    line holds only another one. Of a workbook the first sheet is read. A column of text becomes a column of numbers
    where every filled cell is one; columns called ``c_…`` stay text. Nothing is repaired in silence: see
    ``Table.notes``.

    Args:
        source: the file; with ``content``, only its name.
        content: the bytes of an uploaded file.
        max_bytes: files above this size are refused before they are read.

    Raises:
        TableError: the file is missing, too large, of another kind, or broken; the sentence says where and what to do.

    >>> table = read_table("t.csv", content=b"x_a,y_b\\n0.5,1\\n")
    >>> list(table.frame.columns), table.first_row
    (['x_a', 'y_b'], 2)
    """
    path = Path(source)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise TableError(
            "{file} ends in {ending!r}; expected .csv, .tsv, .xlsx, .xls, .parquet or .arff. "
            "Save the table in one of these formats.",
            file=path.name,
            ending=path.suffix,
        )
    data = _bytes(path, content, max_bytes)
    _refuse_other_kinds(path.name, data, kind)
    encoding: str | None = None
    notes: tuple[Note, ...] = ()
    if kind == "excel":
        parsed = parse_excel(path.name, data, max_bytes=max_bytes)
    elif kind == "parquet":
        parsed = parse_parquet(path.name, data)
    else:
        text, encoding, notes = decode(path.name, data)
        parsed = _parse_text(path.name, text, kind)
    digest = hashlib.sha256(data).hexdigest()
    return Table(parsed.frame, path.name, digest, kind, encoding, notes + parsed.notes, parsed.first_row)


def _parse_text(file: str, text: str, kind: str) -> Parsed:
    return parse_arff(file, text) if kind == "arff" else parse_delimited(file, text, tabs=kind == "tsv")


def _bytes(path: Path, content: bytes | None, max_bytes: int) -> bytes:
    if content is None and path.is_dir():
        raise TableError("{file} is a folder; expected a table. Name the file in it.", file=path.name)
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > max_bytes:
            raise too_large(path.name, size, max_bytes)
        data = path.read_bytes() if content is None else content
    except FileNotFoundError:
        raise TableError("{file} was not found. Check the name and the folder.", file=path.name) from None
    except OSError as error:
        raise TableError(
            "{file} can't be read: {reason}. Check that it may be opened and is not open elsewhere.",
            file=path.name,
            reason=error.strerror or type(error).__name__,
        ) from None
    if not data.strip():
        raise TableError("{file} is empty. Give a table with column names in its first row.", file=path.name)
    return data


def _refuse_other_kinds(file: str, data: bytes, kind: str) -> None:
    for start, description, belongs in _SIGNATURES:
        if data.startswith(start) and belongs != kind:
            raise TableError(
                "{file} is not the table its name says: it begins like {description}. "
                "Give a CSV, TSV, Excel, Parquet or ARFF file under its own ending.",
                file=file,
                description=description,
            )
