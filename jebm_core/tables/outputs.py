"""The target columns as whole numbers: subsets, configurations or rankings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

from jebm_core.errors import TableError
from jebm_core.tables.cells import is_number
from jebm_core.tables.records import Table, spelled, spelled_column
from jebm_core.tables.roles import PREFIXES, Kind, Roles, nearest

MOST_OUTPUTS = 2_000


@final
@dataclass(frozen=True)
class OutputSchema:
    """What a model must know of its outputs to read another table: names, columns and options, but no values.

    >>> schema = OutputSchema("subsets", ("a",), ("y_a",), ((),))
    >>> OutputSchema.from_json(schema.to_json()) == schema
    True
    """

    kind: Kind
    names: tuple[str, ...]
    columns: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, object]:
        """A record that JSON can hold."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "columns": list(self.columns),
            "options": [list(options) for options in self.options],
        }

    @classmethod
    def from_json(cls, record: dict[str, object]) -> "OutputSchema":
        """The schema that `to_json` described."""
        options = cast(Sequence[Sequence[str]], record["options"])
        return cls(
            cast(Kind, record["kind"]),
            tuple(cast(Sequence[str], record["names"])),
            tuple(cast(Sequence[str], record["columns"])),
            tuple(tuple(slot) for slot in options),
        )


@final
@dataclass(frozen=True)
class Outputs:
    """One output for each row of a table.

    Args:
        kind: the kind of output.
        names: items or slots, without the prefix.
        columns: the names as they stand in the file.
        options: for configurations, the options of each slot; () for the others.
        values: int64 [row, item]. Subsets: 0 or 1. Configurations: the index of the option. Rankings: the position of
            each item, 0 the most preferred (the file has 1).
    """

    kind: Kind
    names: tuple[str, ...]
    columns: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    values: npt.NDArray[np.int64]

    @property
    def schema(self) -> OutputSchema:
        """Everything but the values."""
        return OutputSchema(self.kind, self.names, self.columns, self.options)


def read_outputs(table: Table, roles: Roles, *, like: Outputs | OutputSchema | None = None) -> Outputs:
    """Read the target columns of every row.

    Accepted cells. Subsets: 0, 1, 0.0, 1.0, True, False. Rankings: the whole numbers 1, …, k, each once in a row.
    Configurations: any text or number; 1 and 1.0 are one option. With ``like``, the columns and options are those of a
    fitted model; an option whose spelling is unknown is still found where it is the same number (1.50 and 1.5).

    Args:
        table: the table.
        roles: which columns; with ``like``, its columns are read instead.
        like: the outputs or the schema that a model was fitted to.

    Raises:
        TableError: a missing column, a missing or unexpected cell (with its row and column), a tie in a ranking, more
            than 2,000 outputs.

    >>> from jebm_core.tables.reading import read_table
    >>> from jebm_core.tables.roles import guess_roles
    >>> table = read_table("t.csv", content=b"r_a,r_b\\n2,1\\n")
    >>> read_outputs(table, guess_roles(table)).values.tolist()
    [[1, 0]]
    """
    kind, columns = (roles.kind, roles.targets) if like is None else (like.kind, like.columns)
    _require_columns(table, columns)
    _require_count(table, kind, len(columns))
    if like is None:
        names, known = _names(kind, columns), None
    else:
        names, known = like.names, like.options
    _require_filled(table, columns)
    options: tuple[tuple[str, ...], ...] = tuple(() for _ in columns)
    if kind == "subsets":
        values = [_binary(table, column) for column in columns]
    elif kind == "rankings":
        values = [_rank(table, column, len(columns)) for column in columns]
        _require_permutations(table, columns, np.stack(values, axis=1))
        values = [ranks - 1 for ranks in values]
    else:
        read = [_option(table, column, None if known is None else known[place]) for place, column in enumerate(columns)]
        values = [codes for codes, _ in read]
        options = tuple(slot for _, slot in read)
        _require_count(table, kind, sum(len(slot) for slot in options))
    return Outputs(kind, tuple(names), tuple(columns), options, np.stack(values, axis=1).astype(np.int64))


def missing_targets(table: Table, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which cells of the target columns are missing, [row, column]."""
    return np.stack([table.frame[column].isna().to_numpy(dtype=bool) for column in columns], axis=1)


def codes_of(texts: npt.NDArray[np.object_], levels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place of each text among the levels; -1 where it is missing or unknown.

    A text that is spelled otherwise but is the same number as exactly one level is that level.

    >>> codes_of(np.array(["a", "1.50", None, "z"], dtype=object), ["1.5", "a"]).tolist()
    [1, 0, -1, -1]
    """
    place_of = {level: place for place, level in enumerate(levels)}
    same_number: dict[float, list[int]] = {}
    for place, level in enumerate(levels):
        if is_number(level):
            same_number.setdefault(float(level), []).append(place)
    for text in {text for text in texts if text is not None and text not in place_of}:
        alike = same_number.get(float(text), []) if is_number(text) else []
        place_of[text] = alike[0] if len(alike) == 1 else -1
    return np.array([-1 if text is None else place_of[text] for text in texts], dtype=np.int64)


def sorted_levels(texts: npt.NDArray[np.object_]) -> tuple[str, ...]:
    """Distinct texts: by size where all are numbers, by character otherwise."""
    distinct = {text for text in texts if text is not None}
    if all(is_number(text) for text in distinct):
        return tuple(sorted(distinct, key=lambda text: (float(text), text)))
    return tuple(sorted(distinct))


def _names(kind: Kind, columns: Sequence[str]) -> tuple[str, ...]:
    prefix = PREFIXES[kind]
    if all(column.startswith(prefix) and len(column) > len(prefix) for column in columns):
        return tuple(column[len(prefix) :] for column in columns)
    return tuple(columns)


def _require_columns(table: Table, columns: Sequence[str]) -> None:
    present = [str(column) for column in table.frame.columns]
    for column in columns:
        if column not in table.frame.columns:
            raise TableError(
                "{file} has no column {column!r}, which is needed as a target; the nearest name is {near!r}. "
                "Rename the column, or add it.",
                file=table.name,
                column=column,
                near=nearest(column, present),
            )


def _require_count(table: Table, kind: Kind, count: int) -> None:
    if count > MOST_OUTPUTS:
        raise TableError(
            "{file} has {count:,} outputs ({what}); at most {most:,} are supported. "
            "Choose fewer target columns, or join rare ones.",
            file=table.name,
            count=count,
            what="options of all slots" if kind == "configurations" else "target columns",
            most=MOST_OUTPUTS,
        )
    if kind == "rankings" and count < 2:
        raise TableError(
            "{file} has one rank column; a ranking needs at least two items. Add the other r_… columns.",
            file=table.name,
        )


def _require_filled(table: Table, columns: Sequence[str]) -> None:
    missing = missing_targets(table, columns)
    rows = np.flatnonzero(missing.any(axis=1))
    if rows.size:
        row = rows[0]
        raise TableError(
            "{file}, row {row}, column {column!r}: expected a value, found an empty cell. "
            "Fill the cell, or leave the row out.",
            file=table.name,
            row=table.row_number(row),
            column=columns[int(np.flatnonzero(missing[row])[0])],
        )


def _cells(table: Table, column: str) -> pd.Series:
    cells = cast(pd.Series, table.frame[column])
    if is_datetime64_any_dtype(cells.dtype):
        raise TableError(
            "{file}, column {column!r}: expected labels, ranks or options, found dates. "
            "Turn them into categories such as the month, or choose other target columns.",
            file=table.name,
            column=column,
        )
    return cells


def _as_numbers(cells: pd.Series) -> npt.NDArray[np.float64]:
    """Cells as numbers; NaN where a cell is none. Text counts where it is spelled as a plain number."""
    if is_numeric_dtype(cells.dtype) and not is_bool_dtype(cells.dtype):
        return cells.to_numpy(dtype=np.float64, na_value=np.nan)
    texts = spelled_column(cells)
    number_of = {text: float(text) if text is not None and is_number(text) else np.nan for text in set(texts)}
    return np.array([number_of[text] for text in texts], dtype=np.float64)


def _binary(table: Table, column: str) -> npt.NDArray[np.int64]:
    cells = _cells(table, column)
    numbers = _as_numbers(cells)
    if not (is_numeric_dtype(cells.dtype) and not is_bool_dtype(cells.dtype)):
        texts = spelled_column(cells)
        numbers = np.where(texts == "True", 1.0, np.where(texts == "False", 0.0, numbers))
    wrong = np.flatnonzero((numbers != 0) & (numbers != 1))
    if wrong.size:
        raise TableError(
            "{file}, row {row}, column {column!r}: expected 0 or 1 (1.0, 0.0, True and False are read too), found "
            "{found!r}. Correct the cell, or leave it empty to leave the row out.",
            file=table.name,
            row=table.row_number(wrong[0]),
            column=column,
            found=spelled(cells.iloc[int(wrong[0])]),
        )
    return numbers.astype(np.int64)


def _rank(table: Table, column: str, count: int) -> npt.NDArray[np.int64]:
    cells = _cells(table, column)
    numbers = _as_numbers(cells)
    wrong = np.flatnonzero(~((numbers == np.rint(numbers)) & (numbers >= 1) & (numbers <= count)))
    if wrong.size:
        raise TableError(
            "{file}, row {row}, column {column!r}: expected a whole rank from 1 (most preferred) to {count}, found "
            "{found!r}. Number the items of each row 1, 2, …, {count}.",
            file=table.name,
            row=table.row_number(wrong[0]),
            column=column,
            count=count,
            found=spelled(cells.iloc[int(wrong[0])]),
        )
    return numbers.astype(np.int64)


def _require_permutations(table: Table, columns: Sequence[str], ranks: npt.NDArray[np.int64]) -> None:
    wrong = np.flatnonzero((np.sort(ranks, axis=1) != np.arange(1, len(columns) + 1)).any(axis=1))
    if wrong.size:
        row = ranks[wrong[0]]
        rank = next(int(value) for value in np.unique(row) if (row == value).sum() > 1)
        first, second = np.flatnonzero(row == rank)[:2]
        raise TableError(
            "{file}, row {row}: rank {rank} is given to both {first!r} and {second!r}. "
            "Each of the {count} items needs its own rank; ties are not supported.",
            file=table.name,
            row=table.row_number(wrong[0]),
            rank=rank,
            first=columns[first],
            second=columns[second],
            count=len(columns),
        )


def _option(table: Table, column: str, known: tuple[str, ...] | None) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    texts = spelled_column(_cells(table, column))
    options = sorted_levels(texts) if known is None else known
    codes = codes_of(texts, options)
    wrong = np.flatnonzero(codes < 0)
    if wrong.size:
        found = str(texts[wrong[0]])
        raise TableError(
            "{file}, row {row}, column {column!r}: expected one of the {count} options that the model knows, found "
            "{found!r}; the nearest is {near!r}. Correct the cell, or fit a model to data that has this option.",
            file=table.name,
            row=table.row_number(wrong[0]),
            column=column,
            count=len(options),
            found=found,
            near=nearest(found, options),
        )
    return codes, options
