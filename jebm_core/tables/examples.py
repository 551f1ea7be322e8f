"""The rows of a table that a model can be fitted to or judged on, and everything that was counted on the way."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from jebm_core.errors import TableError
from jebm_core.tables.outputs import Outputs, OutputSchema, missing_targets, read_outputs
from jebm_core.tables.records import Note, Table, listed
from jebm_core.tables.roles import Kind, Roles

LEAST_ROWS = 20


@final
@dataclass(frozen=True)
class Examples:
    """Rows with a complete output.

    Args:
        table: the table as read, all rows.
        roles: the columns used.
        outputs: one output for each kept row.
        keep: positions of the kept rows in ``table.frame``, growing; ``table.part(keep)`` has them.
        notes: what was noticed while reading the table and its outputs.
    """

    table: Table
    roles: Roles
    outputs: Outputs
    keep: npt.NDArray[np.intp]
    notes: tuple[Note, ...]

    def part(self, rows: npt.NDArray[np.bool_]) -> "Examples":
        """Some of the kept rows, in their order."""
        return replace(self, outputs=replace(self.outputs, values=self.outputs.values[rows]), keep=self.keep[rows])


def read_examples(table: Table, roles: Roles, *, like: Outputs | OutputSchema | None = None) -> Examples:
    """Keep the rows whose target cells are all filled, and read their outputs.

    Rows with a missing label, rank or option are left out and counted in a note that lists up to ten of them. Without
    ``like``, targets that never vary are named in a note, and a table in which all rows have the same output is an
    error, since there is nothing to learn from it.

    Args:
        table: the table.
        roles: the columns used.
        like: the outputs or schema of a fitted model, to judge it on this table.

    Raises:
        TableError: as `read_outputs`; no complete row; all outputs equal.

    >>> from jebm_core.tables.reading import read_table
    >>> from jebm_core.tables.roles import guess_roles
    >>> table = read_table("t.csv", content=b"y_a,y_b\\n1,0\\n,1\\n0,1\\n")
    >>> examples = read_examples(table, guess_roles(table))
    >>> examples.keep.tolist(), str(examples.notes[0])
    ([0, 2], '1 rows with a missing label were left out (rows 3).')
    """
    kind, columns = (roles.kind, roles.targets) if like is None else (like.kind, like.columns)
    if not set(columns) <= set(table.frame.columns):
        read_outputs(table, roles, like=like)  # raises: it names the column that is not there
    missing = missing_targets(table, columns)
    gone = np.flatnonzero(missing.any(axis=1))
    keep = np.flatnonzero(~missing.any(axis=1))
    if keep.size == 0:
        raise _no_complete_row(table, kind, columns, missing)
    outputs = read_outputs(table.part(keep), roles, like=like)
    notes = list(table.notes)
    if gone.size:
        notes.append(_left_out(table, kind, gone))
    if like is None:
        notes.extend(_about_variation(table, outputs))
    unused = [name for name in table.frame.columns if name not in roles.features and name not in columns]
    if unused:
        notes.append(
            Note(
                "{count} columns are neither features nor targets and are not used ({columns}).",
                {"count": len(unused), "columns": listed(unused)},
            )
        )
    return Examples(table, roles, outputs, keep, tuple(notes))


def require_fit_size(examples: Examples, *, least: int = LEAST_ROWS) -> None:
    """Refuse to fit a model to very few rows.

    Raises:
        TableError: fewer than ``least`` complete rows.
    """
    count = len(examples.keep)
    if count < least:
        raise TableError(
            "{file} has {count} complete rows; at least {least} are needed to fit a model. "
            "Add rows, or fill the missing target cells.",
            file=examples.table.name,
            count=count,
            least=least,
        )


def _no_complete_row(table: Table, kind: Kind, columns: Sequence[str], missing: npt.NDArray[np.bool_]) -> TableError:
    fullest = int(np.argmin(missing.sum(axis=1)))
    filled = int((~missing[fullest]).sum())
    if kind == "rankings":
        return TableError(
            "{file}: every row is a partial ranking; the fullest, row {row}, ranks {filled} of {count} items. "
            "Rank every item in each row, or choose fewer rank columns.",
            file=table.name,
            row=table.row_number(fullest),
            filled=filled,
            count=len(columns),
        )
    return TableError(
        "{file}: no row has all its target cells filled; the fullest, row {row}, has {filled} of {count}. "
        "Fill the cells (0 means absent), or choose fewer target columns.",
        file=table.name,
        row=table.row_number(fullest),
        filled=filled,
        count=len(columns),
    )


def _left_out(table: Table, kind: Kind, gone: npt.NDArray[np.intp]) -> Note:
    values = {"count": len(gone), "rows": listed(table.row_number(row) for row in gone)}
    if kind == "rankings":
        return Note("{count} rows with a missing rank were left out (rows {rows}).", values)
    if kind == "configurations":
        return Note("{count} rows with a missing option were left out (rows {rows}).", values)
    return Note("{count} rows with a missing label were left out (rows {rows}).", values)


def _about_variation(table: Table, outputs: Outputs) -> list[Note]:
    values = outputs.values
    same = (values == values[0]).all(axis=0)
    if len(values) > 1 and same.all():
        raise TableError(
            "{file}: all {count} complete rows have the same output, so there is nothing to learn. "
            "Check the target columns, or add rows with other outputs.",
            file=table.name,
            count=len(values),
        )
    notes = []
    constant = [outputs.columns[place] for place in np.flatnonzero(same)] if len(values) > 1 else []
    if constant:
        notes.append(
            Note(
                "{count} target columns hold the same value in every row ({columns}); nothing can be learned of them.",
                {"count": len(constant), "columns": listed(constant)},
            )
        )
    for column, options in zip(outputs.columns, outputs.options, strict=True):
        alike = _alike(options)
        if alike:
            notes.append(
                Note(
                    "Column {column!r}: {first!r} and {second!r} count as different options; they differ only in "
                    "spaces, width or case.",
                    {"column": column, "first": alike[0], "second": alike[1]},
                )
            )
    return notes


def _alike(options: Sequence[str]) -> tuple[str, str] | None:
    seen: dict[str, str] = {}
    for option in options:
        folded = "".join(unicodedata.normalize("NFKC", option).casefold().split())
        if folded in seen:
            return seen[folded], option
        seen[folded] = option
    return None
