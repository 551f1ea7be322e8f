"""What a column of text means: numbers, or words.

One rule for every format that stores text. A column is a column of numbers where every filled cell is a number once
full-width digits, thousands separators and surrounding spaces are put aside (said in a note) and once the usual marks
for "no value" are counted as missing (said in a note). Otherwise each cell stays the text it is, so that an option
called "None" remains an option. Numbers with a leading zero ("007") are codes and stay text, and so does every column
called ``c_…``, whose cells are names of options.
"""

import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from jebm_core.tables.records import Note

# Its functions are made when it is imported, so that type checkers can't see them.
compute: Any = pyarrow.compute

OPTION_PREFIX = "c_"
MISSING_MARKS = ("NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "null", "NULL", "None", "none", "#N/A", "-", "?")

_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$"
_WHOLE = r"^-?[0-9]{1,18}$"
_CODE = r"^[+-]?0[0-9]"
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_UNITS = (
    "%|円|個|件|年|歳|人|回|日|分|秒|台|本|枚|℃|°C|度|[kmgt]?g|[munkc]?m|[mu]?s|[kM]?W|[mk]?V|[mk]?A|[kMG]?Hz|h|L|ml"
)
_QUANTITY = re.compile(rf"[¥$€£▲△]?\s*[+-]?[0-9][0-9,]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?\s*(?:{_UNITS})?")


def read_column(
    name: str, column: pd.Series, *, first_row: int, thousands: bool = True
) -> tuple[pd.Series, tuple[Note, ...]]:
    """Turn a column of text into numbers where all its cells are numbers; leave it text otherwise.

    Args:
        name: the column's name.
        column: text cells; empty, blank or None where there is nothing.
        first_row: the number a person sees on the first cell, for the notes.
        thousands: whether 1,234 is a number; no where a comma may be a decimal sign.

    Returns:
        The column (int64, float64 or text) and what was noticed.

    >>> column, notes = read_column("x_price", pd.Series(["1,200", "950"]), first_row=2)
    >>> column.tolist(), len(notes)
    ([1200, 950], 1)
    """
    cells = _array(column)
    trimmed = compute.utf8_trim_whitespace(cells)
    blank = compute.equal(trimmed, "")
    cells, trimmed = compute.if_else(blank, None, cells), compute.if_else(blank, None, trimmed)
    if cells.null_count == len(cells):
        return pd.Series(np.full(len(cells), np.nan), name=name), ()
    if name.startswith(OPTION_PREFIX):
        return _text(name, cells), _marks_kept(name, cells)
    if _holds_codes(trimmed):
        return _text(name, cells), _marks_kept(name, cells)
    is_mark = compute.is_in(trimmed, value_set=pa.array(MISSING_MARKS, trimmed.type))
    filled = compute.if_else(is_mark, None, trimmed)
    if filled.null_count == len(filled):
        return _text(name, cells), _marks_kept(name, cells)
    notes = []
    numbers = _numbers(filled)
    if numbers is None:
        plain = _plain(filled, thousands=thousands)
        numbers = None if _holds_codes(plain) else _numbers(plain)
        if numbers is None:
            return _text(name, cells), _marks_kept(name, cells)
        notes.append(_respelled(name, filled, plain, first_row))
    marks = compute.sum(is_mark).as_py() or 0
    if marks:
        found = compute.unique(compute.filter(trimmed, is_mark)).to_pylist()
        notes.append(
            Note(
                "Column {column!r} holds numbers; {count} of its cells hold a mark for no value ({marks}) and count "
                "as missing.",
                {"column": name, "count": marks, "marks": listed_marks(found)},
            )
        )
    return pd.Series(numbers, name=name), tuple(notes)


def is_number(text: str) -> bool:
    """Whether a cell of text is a plain number.

    >>> [is_number(text) for text in ("1.5", "-2e3", "12kg", "007")]
    [True, True, False, False]
    """
    return re.search(_NUMBER, text) is not None and re.search(_CODE, text) is None


def is_quantity(text: str) -> bool:
    """Whether a cell reads like a number that carries a currency sign, separators or a unit.

    >>> [is_quantity(text) for text in ("12kg", "¥1,200", "３０％", "A12")]
    [True, True, True, False]
    """
    return _QUANTITY.fullmatch(unicodedata.normalize("NFKC", text).strip()) is not None


def listed_marks(found: list[str]) -> str:
    """Marks in quotes, in a fixed order."""
    return ", ".join(repr(mark) for mark in sorted(found))


def _array(column: pd.Series) -> pa.Array:
    array = pa.array(column, type=pa.large_string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _holds_codes(cells: pa.Array) -> bool:
    return bool(compute.any(compute.match_substring_regex(cells, _CODE)).as_py())


def _text(name: str, cells: pa.Array) -> pd.Series:
    return pd.Series(cells.to_pandas(), name=name, dtype="str")


def _numbers(cells: pa.Array) -> np.ndarray | None:
    if not compute.all(compute.match_substring_regex(cells, _NUMBER)).as_py():
        return None
    whole = cells.null_count == 0 and compute.all(compute.match_substring_regex(cells, _WHOLE)).as_py()
    # Eighteen digits fit 64 bits; longer whole numbers become floats.
    return compute.cast(cells, pa.int64() if whole else pa.float64()).to_numpy(zero_copy_only=False)


def _plain(cells: pa.Array, *, thousands: bool) -> pa.Array:
    """Cells with full-width forms folded, typographic minus signs and thousands separators put aside."""
    encoded = cells.dictionary_encode()
    plain = []
    for text in encoded.dictionary.to_pylist():
        folded = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-").strip()
        plain.append(folded.replace(",", "") if thousands and _GROUPED.fullmatch(folded) else folded)
    return pa.array(plain, pa.large_string()).take(encoded.indices)


def _respelled(name: str, cells: pa.Array, plain: pa.Array, first_row: int) -> Note:
    changed = compute.fill_null(compute.not_equal(cells, plain), False)
    first = compute.index(changed, True).as_py()
    values = {
        "column": name,
        "count": compute.sum(changed).as_py(),
        "found": cells[first].as_py(),
        "row": first_row + first,
        "read": plain[first].as_py(),
    }
    return Note(
        "Column {column!r}: {count} numbers written with thousands separators or full-width digits were read as "
        "numbers (first: {found!r} in row {row}, read as {read}).",
        values,
    )


def _marks_kept(name: str, cells: pa.Array) -> tuple[Note, ...]:
    is_mark = compute.is_in(cells, value_set=pa.array(MISSING_MARKS, cells.type))
    count = compute.sum(is_mark).as_py() or 0
    if not count:
        return ()
    found = compute.unique(compute.filter(cells, is_mark)).to_pylist()
    return (
        Note(
            "Column {column!r} holds text; {count} of its cells hold {marks} and are kept as that text. Leave a "
            "cell empty to say that its value is missing.",
            {"column": name, "count": count, "marks": listed_marks(found)},
        ),
    )
