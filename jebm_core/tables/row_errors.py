"""What is wrong with the rows of a table, one after another: every cell that can't be read, and the rows that can."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from jebm_core.errors import TableError, UserError
from jebm_core.tables.outputs import OutputSchema, read_outputs
from jebm_core.tables.records import Table
from jebm_core.tables.roles import Roles

MOST_ERRORS = 10_000


@final
@dataclass(frozen=True)
class RowError:
    """What is wrong with one row.

    Attributes:
        position: of the row in the table; row: the number that a person sees on it.
        column: the column or columns it is about.
        rule: the rule that is broken; nothing where a cell can't be read.
        problem: the sentence.
    """

    position: int
    row: int
    column: str
    rule: str
    problem: UserError


@final
@dataclass(frozen=True)
class ReadableRows:
    """Outputs as `Outputs` holds them, [row, item], of the rows at ``keep``; what is wrong with the others."""

    values: npt.NDArray[np.int64]
    keep: npt.NDArray[np.intp]
    errors: tuple[RowError, ...]


def readable_rows(table: Table, schema: OutputSchema, *, skip: str | None = None) -> ReadableRows:
    """Read the outputs of every row that has them, as `read_outputs` does, and name what is wrong with the others.

    Args:
        skip: an item or slot that is not read, and is 0.

    Raises:
        TableError: a missing column, one that can't be read at all, or more than 10,000 cells that can't.

    >>> from jebm_core.tables.reading import read_table
    >>> schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
    >>> found = readable_rows(read_table("t.csv", content=b"y_a,y_b\\n1,0\\n2,\\n0,1\\n"), schema)
    >>> found.keep.tolist(), [(error.row, error.column) for error in found.errors]
    ([0, 2], [(3, 'y_a'), (3, 'y_b')])
    """
    places = [place for place, name in enumerate(schema.names) if name != skip]
    values = np.zeros((len(table.frame), len(schema.names)), dtype=np.int64)
    # A ranking is right or wrong as a whole; elsewhere each cell is.
    groups = [places] if schema.kind == "rankings" else [[place] for place in places]
    errors: list[RowError] = []
    for group in groups:
        values[:, group], wrong = _read(table, _part(schema, group))
        errors += wrong
    errors.sort(key=lambda error: error.position)
    bad = {error.position for error in errors}
    keep = np.array([row for row in range(len(values)) if row not in bad], dtype=np.intp)
    return ReadableRows(values[keep], keep, tuple(errors))


def wrong_rows(table: Table, check: Callable[[Table], object]) -> tuple[RowError, ...]:
    """The rows of which ``check`` says, in a `TableError` with the row's number, that they can't be used.

    Halves of the table are checked until each wrong row stands alone: log₂ rows checks a wrong row.

    Raises:
        TableError: what concerns no single row, or more than 10,000 rows.
    """
    errors: list[RowError] = []
    waiting = [np.arange(len(table.frame))]
    while waiting:
        rows = waiting.pop()
        try:
            if len(rows):
                check(table.part(rows))
            continue
        except TableError as error:
            if "row" not in error.values:
                raise
            if len(rows) > 1:
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                continue
            column = str(error.values.get("column", ""))
            errors.append(RowError(int(rows[0]), table.row_number(rows[0]), column, "", error))
        if len(errors) > MOST_ERRORS:
            raise TableError(
                "{file}: more than {most} cells can't be read; the first is in row {row}, column {column!r}. Check "
                "that these are the right columns.",
                file=table.name,
                most=MOST_ERRORS,
                row=errors[0].row,
                column=errors[0].column,
            )
    return tuple(errors)


def _part(schema: OutputSchema, group: list[int]) -> OutputSchema:
    names, columns = tuple(schema.names[place] for place in group), tuple(schema.columns[place] for place in group)
    return OutputSchema(schema.kind, names, columns, tuple(schema.options[place] for place in group))


def _read(table: Table, schema: OutputSchema) -> tuple[npt.NDArray[np.int64], tuple[RowError, ...]]:
    roles = Roles((), schema.columns, schema.kind)
    wrong = wrong_rows(table, lambda part: read_outputs(part, roles, like=schema))
    bad = {error.position for error in wrong}
    good = np.array([row for row in range(len(table.frame)) if row not in bad], dtype=np.intp)
    values = np.zeros((len(table.frame), len(schema.names)), dtype=np.int64)
    if len(good):
        values[good] = read_outputs(table.part(good), roles, like=schema).values
    return values, wrong
