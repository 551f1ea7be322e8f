"""How one feature column becomes numbers: standardised, or one column for each level."""

import re
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import (
    is_bool_dtype,
    is_complex_dtype,
    is_datetime64_any_dtype,
    is_numeric_dtype,
    is_timedelta64_dtype,
)

from jebm_core.errors import TableError
from jebm_core.tables.cells import is_number, is_quantity
from jebm_core.tables.outputs import sorted_levels
from jebm_core.tables.records import Note, spelled, spelled_column

MOST_LEVELS = 50
MISSING_LEVEL = "(missing)"
_ID_SHARE = 0.95
_ID_LEAST = 20
_DATE = re.compile(
    r"\d{4}(?:[-/.]\d{1,2}[-/.]\d{1,2}|年\d{1,2}月(?:\d{1,2}日)?)(?:[T ].*)?"
    r"|\d{1,2}/\d{1,2}/\d{4}(?: .*)?"
    r"|\d{1,2}:\d{2}(?::\d{2})?"
)


@final
@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: (value − mean) / scale, a missing value as 0, and 1 in a second column where it is missing.

    ``scale`` is None where the training values never vary: then only the indicator is used.
    """

    name: str
    mean: float
    scale: float | None
    indicator: bool

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return (() if self.scale is None else (self.name,)) + ((f"{self.name} missing",) if self.indicator else ())


@final
@dataclass(frozen=True)
class LevelColumn:
    """A column of words: one encoded column for each level; ``missing`` adds one for the missing cell."""

    name: str
    levels: tuple[str, ...]
    missing: bool

    @property
    def encoded(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return tuple(f"{self.name}={level}" for level in (*self.levels, *([MISSING_LEVEL] if self.missing else [])))


@final
@dataclass(frozen=True)
class Place:
    """Where a frame came from, for error sentences: the file and the number a person sees on index 0."""

    file: str
    first_row: int

    def row(self, frame_index: pd.Index, position: int | np.integer) -> int:
        """The number a person sees on the row at this position."""
        return self.first_row + int(frame_index[int(position)])


def holds_numbers(cells: pd.Series) -> bool:
    """Whether a column counts as numbers; truth values count as words."""
    return is_numeric_dtype(cells.dtype) and not is_bool_dtype(cells.dtype) and not is_complex_dtype(cells.dtype)


def read_numbers(cells: pd.Series, place: Place) -> npt.NDArray[np.float64]:
    """The numbers of a column, NaN where missing.

    Raises:
        TableError: an infinite value.
    """
    numbers = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.flatnonzero(np.isinf(numbers))
    if infinite.size:
        raise TableError(
            "{file}, row {row}, column {column!r}: expected a finite number, found {found}. "
            "Correct the cell, or leave it empty where the value is not known.",
            file=place.file,
            row=place.row(cells.index, infinite[0]),
            column=cells.name,
            found=spelled(float(numbers[infinite[0]])),
        )
    return numbers


def read_words(cells: pd.Series, place: Place) -> npt.NDArray[np.object_]:
    """The words of a column, None where missing.

    Raises:
        TableError: dates or times, or cells that hold several values.
    """
    kind = cells.dtype
    texts = None
    dates = is_datetime64_any_dtype(kind) or is_timedelta64_dtype(kind)
    if not dates:
        first = cells.dropna().iloc[:1]
        if len(first) and isinstance(first.iloc[0], list | tuple | dict | np.ndarray):
            raise TableError(
                "{file}, column {column!r}: expected one value in each cell, found a list. "
                "Give each of its elements a column of its own.",
                file=place.file,
                column=cells.name,
            )
        texts = spelled_column(cells)
        filled = {text for text in texts if text is not None}
        dates = bool(filled) and all(_DATE.fullmatch(text) for text in filled)
    if dates or texts is None:
        raise TableError(
            "{file}, column {column!r} holds dates or times, which can't be used as they are. Turn them into numbers "
            "(such as days since the start) or categories (such as the month), or take the column out of the features.",
            file=place.file,
            column=cells.name,
        )
    return texts


def learn_numbers(cells: pd.Series, place: Place) -> NumberColumn | Note:
    """Mean and spread of the training values, or the reason why the column is left out."""
    name = str(cells.name)
    numbers = read_numbers(cells, place)
    filled = numbers[~np.isnan(numbers)]
    if filled.size == 0:
        return Note("Feature {column!r} is empty in every training row and was left out.", {"column": name})
    indicator = filled.size < numbers.size
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(filled.mean()), float(filled.std())
    if not np.isfinite(scale):
        raise TableError(
            "{file}, column {column!r}: the values are too large to be averaged (up to {found}). "
            "Change the unit, or take logarithms.",
            file=place.file,
            column=name,
            found=spelled(float(np.abs(filled).max())),
        )
    # Rounding leaves a spread of about 1e-16 of the value where nothing varies.
    if filled.min() == filled.max() or scale <= 1e-12 * abs(mean):
        if not indicator:
            return _constant(name, spelled(float(filled[0])))
        return NumberColumn(name, mean, None, True)
    return NumberColumn(name, mean, scale, indicator)


def learn_words(cells: pd.Series, place: Place) -> tuple[LevelColumn | None, Note | None]:
    """The levels of the training values and what there is to say about them; None where the column is left out."""
    name = str(cells.name)
    texts = read_words(cells, place)
    levels = sorted_levels(texts)
    gaps = any(text is None for text in texts)
    filled = sum(text is not None for text in texts)
    if not levels:
        return None, Note("Feature {column!r} is empty in every training row and was left out.", {"column": name})
    if len(levels) == 1 and not gaps:
        return None, _constant(name, levels[0])
    note = _almost_numbers(cells, texts, len(levels), place)
    if len(levels) >= _ID_LEAST and len(levels) >= _ID_SHARE * filled:
        return None, Note(
            "Feature {column!r} was left out: {count} of its {filled} cells are different texts, so it names "
            "rows rather than describing them.",
            {"column": name, "count": len(levels), "filled": filled},
        )
    if len(levels) > MOST_LEVELS:
        return None, Note(
            "Feature {column!r} was left out: it has {count} different texts, and at most {most} can be used. "
            "Join rare ones into a common category.",
            {"column": name, "count": len(levels), "most": MOST_LEVELS},
        )
    return LevelColumn(name, levels, gaps), note


def _constant(name: str, value: str) -> Note:
    return Note(
        "Feature {column!r} is {value!r} in every training row and was left out.", {"column": name, "value": value}
    )


def _almost_numbers(cells: pd.Series, texts: npt.NDArray[np.object_], levels: int, place: Place) -> Note | None:
    """A note where at least half of the cells read like numbers; an error where there are too many to be levels."""
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return None  # the file declares it a category
    filled = np.flatnonzero([text is not None for text in texts])
    like_number = {text: is_number(text) or is_quantity(text) for text in set(texts[filled])}
    # Codes with a leading zero read like numbers but are meant as they are.
    codes = all(re.fullmatch(r"[0-9]+", text) for text in like_number)
    share = sum(like_number[text] for text in texts[filled]) / len(filled)
    odd = [position for position in filled if not is_number(texts[position])]
    if codes or share < 0.5 or not odd:
        return None
    values = {
        "column": str(cells.name),
        "count": len(odd),
        "filled": len(filled),
        "found": texts[odd[0]],
        "row": place.row(cells.index, odd[0]),
    }
    if levels > MOST_LEVELS:
        raise TableError(
            "{file}, row {row}, column {column!r}: most cells read like numbers, but {count} of {filled} are not plain "
            "numbers; the first is {found!r}. Write numbers without units or signs, or leave the cell empty.",
            file=place.file,
            **values,
        )
    return Note(
        "Feature {column!r} is used as categories, because {count} of its {filled} cells are not plain numbers "
        "(first: {found!r} in row {row}).",
        values,
    )
