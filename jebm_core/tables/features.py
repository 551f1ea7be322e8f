"""From feature columns to a matrix of numbers, learned on training rows and kept with the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt
import pandas as pd

from jebm_core.errors import TableError
from jebm_core.tables.encodings import (
    LevelColumn,
    NumberColumn,
    Place,
    holds_numbers,
    learn_numbers,
    learn_words,
    read_numbers,
    read_words,
)
from jebm_core.tables.outputs import codes_of
from jebm_core.tables.records import Note, Table, listed
from jebm_core.tables.roles import nearest

_Column = NumberColumn | LevelColumn


@final
@dataclass(frozen=True)
class FeatureEncoder:
    """The rule by which feature columns become numbers.

    - A column of numbers (few distinct values or many) is standardised with the mean and standard deviation of the
      training rows. A missing number becomes the training mean, 0 after standardising; where training rows had missing
      numbers, a second column ``<name> missing`` says where.
    - Text, categories and truth values get one 0/1 column ``<name>=<level>`` for each level of the training rows, in
      sorted order; where training rows had missing cells, ``<name>=(missing)`` is one of them. A level that training
      did not have is all zeros, counted by `report`.
    - Left out, each said in a note: columns that never vary, empty columns, text in which nearly every cell is
      different (an identifier), text with more than 50 levels.
    - Refused: infinite numbers, dates, lists, text with more than 50 levels that is mostly numbers.

    Args:
        columns: how each used feature is encoded, in the order of the features.
        left_out: features that carry nothing.
        notes: what was noticed in the training rows.

    >>> frame = pd.DataFrame({"x_a": [1.0, 3.0], "x_b": ["u", "v"]})
    >>> encoder = FeatureEncoder.fit(frame, ["x_a", "x_b"])
    >>> encoder.names
    ('x_a', 'x_b=u', 'x_b=v')
    >>> encoder.transform(Table(frame, "t.csv", "", "csv", None, (), 2)).tolist()
    [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """

    columns: tuple[_Column, ...]
    left_out: tuple[str, ...]
    notes: tuple[Note, ...]

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, features: Sequence[str], *, file: str = "The table", first_row: int = 2
    ) -> "FeatureEncoder":
        """Learn the encoding of these features from training rows.

        Args:
            frame: training rows; its index counts the rows of the file from 0.
            features: names of the feature columns; may be empty.
            file: the file's name, for error sentences.
            first_row: the number a person sees on the row with index 0.

        Raises:
            TableError: a missing column, or cells that can't be used, with row and column.
        """
        place = Place(file, first_row)
        columns: list[_Column] = []
        left_out: list[str] = []
        notes: list[Note] = []
        for name in features:
            cells = _cells(frame, name, place)
            if holds_numbers(cells):
                learned = learn_numbers(cells, place)
                column, note = (None, learned) if isinstance(learned, Note) else (learned, None)
            else:
                column, note = learn_words(cells, place)
            if column is None:
                left_out.append(name)
            else:
                columns.append(column)
            if note is not None:
                notes.append(note)
        return cls(tuple(columns), tuple(left_out), tuple(notes))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the encoded columns."""
        return tuple(name for column in self.columns for name in column.encoded)

    def transform(self, table: Table) -> npt.NDArray[np.float32]:
        """The encoded features of every row: float32 [row, width], always finite.

        Raises:
            TableError: a column is missing, holds words where training had numbers, or a value is infinite or so large
                that it leaves the range of 32-bit numbers.
        """
        place = Place(table.name, table.first_row)
        encoded = np.zeros((len(table.frame), len(self.names)), dtype=np.float32)
        start = 0
        for column in self.columns:
            cells = _cells(table.frame, column.name, place)
            stop = start + len(column.encoded)
            if isinstance(column, NumberColumn):
                _encode_numbers(column, cells, place, encoded[:, start:stop])
            else:
                _encode_words(column, cells, place, encoded[:, start:stop])
            start = stop
        return encoded

    def report(self, table: Table) -> tuple[Note, ...]:
        """What in this table training had not: levels, and missing cells in columns that were always filled."""
        place = Place(table.name, table.first_row)
        notes = []
        for column in self.columns:
            cells = _cells(table.frame, column.name, place)
            gaps = np.flatnonzero(cells.isna().to_numpy(dtype=bool))
            expected = column.indicator if isinstance(column, NumberColumn) else column.missing
            if gaps.size and not expected:
                rows = listed(place.row(cells.index, position) for position in gaps)
                notes.append(
                    Note(
                        "Feature {column!r}: {count} cells are missing, which training never had (rows {rows}); the "
                        "mean or no level stands in.",
                        {"column": column.name, "count": len(gaps), "rows": rows},
                    )
                )
            if isinstance(column, LevelColumn):
                texts = read_words(cells, place)
                unseen = np.flatnonzero((codes_of(texts, column.levels) < 0) & ~cells.isna().to_numpy(dtype=bool))
                if unseen.size:
                    found = listed(sorted({repr(texts[position]) for position in unseen}), 5)
                    notes.append(
                        Note(
                            "Feature {column!r}: {count} cells hold a value that training never had ({found}); they "
                            "count as none of its levels.",
                            {"column": column.name, "count": len(unseen), "found": found},
                        )
                    )
        return tuple(notes)

    def to_json(self) -> dict[str, object]:
        """A record that JSON can hold; floats keep every digit."""
        columns: list[dict[str, object]] = []
        for column in self.columns:
            if isinstance(column, NumberColumn):
                record = {"mean": column.mean, "scale": column.scale, "indicator": column.indicator}
            else:
                record = {"levels": list(column.levels), "missing": column.missing}
            columns.append({"name": column.name, **record})
        notes = [{"template": note.template, "values": dict(note.values)} for note in self.notes]
        return {"columns": columns, "left_out": list(self.left_out), "notes": notes}

    @classmethod
    def from_json(cls, record: Mapping[str, object]) -> "FeatureEncoder":
        """The encoder that `to_json` described."""
        columns: list[_Column] = []
        for part in cast(Sequence[Mapping[str, Any]], record["columns"]):
            if "levels" in part:
                columns.append(LevelColumn(part["name"], tuple(part["levels"]), part["missing"]))
            else:
                columns.append(NumberColumn(part["name"], part["mean"], part["scale"], part["indicator"]))
        notes = [Note(note["template"], note["values"]) for note in cast(Sequence[Mapping[str, Any]], record["notes"])]
        return cls(tuple(columns), tuple(cast(Sequence[str], record["left_out"])), tuple(notes))


def _cells(frame: pd.DataFrame, name: str, place: Place) -> pd.Series:
    if name not in frame.columns:
        raise TableError(
            "{file} has no column {column!r}, which is needed as a feature; the nearest name is {near!r}. "
            "Rename the column, or add it.",
            file=place.file,
            column=name,
            near=nearest(name, [str(column) for column in frame.columns]),
        )
    return cast(pd.Series, frame[name])


def _encode_numbers(column: NumberColumn, cells: pd.Series, place: Place, into: npt.NDArray[np.float32]) -> None:
    if not holds_numbers(cells) and not cells.isna().all():
        texts = read_words(cells, place)
        odd = [position for position, text in enumerate(texts) if text is not None and not _is_float(text)]
        if not odd:  # of a column that holds words in other rows
            numbers = [np.nan if text is None else float(text) for text in texts]
            return _encode_numbers(column, pd.Series(numbers, index=cells.index, name=cells.name), place, into)
        raise TableError(
            "{file}, row {row}, column {column!r}: expected a number, as in the training data, found {found!r}. "
            "Correct the cell, or leave it empty where the value is not known.",
            file=place.file,
            row=place.row(cells.index, odd[0]),
            column=column.name,
            found=texts[odd[0]],
        )
    numbers = read_numbers(cells, place)
    missing = np.isnan(numbers)
    if column.scale is not None:
        with np.errstate(over="ignore"):
            values = ((np.where(missing, column.mean, numbers) - column.mean) / column.scale).astype(np.float32)
        beyond = np.flatnonzero(~np.isfinite(values))
        if beyond.size:
            raise TableError(
                "{file}, row {row}, column {column!r}: {found} is too far from the training values (mean {mean:.6g}) "
                "to be used. Correct the cell, or leave it empty where the value is not known.",
                file=place.file,
                row=place.row(cells.index, beyond[0]),
                column=column.name,
                found=float(numbers[beyond[0]]),
                mean=column.mean,
            )
        into[:, 0] = values
    if column.indicator:
        into[:, -1] = missing


def _encode_words(column: LevelColumn, cells: pd.Series, place: Place, into: npt.NDArray[np.float32]) -> None:
    codes = codes_of(read_words(cells, place), column.levels)
    known = np.flatnonzero(codes >= 0)
    into[known, codes[known]] = 1
    if column.missing:
        into[:, -1] = cells.isna().to_numpy(dtype=bool)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
