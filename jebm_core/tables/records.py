"""What reading a table gives back, and what it has to tell the person: `Table` and `Note`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import numpy.typing as npt
import pandas as pd


@final
@dataclass(frozen=True)
class Note:
    """Something that was noticed and counted while reading; shown to the person, never an error.

    Args:
        template: an English sentence with named fields; the key under which a translation is looked up.
        values: the values of the fields.

    >>> str(Note("{count} rows were left out.", {"count": 3}))
    '3 rows were left out.'
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values)


@final
@dataclass(frozen=True)
class Table:
    """One table as it was read, before any column has a role.

    Args:
        frame: the cells. A column holds numbers, or text; a missing cell is NaN or None.
        name: the file's name without its folder.
        sha256: hexadecimal digest of the file's bytes.
        format: "csv", "tsv", "excel", "parquet" or "arff".
        encoding: how the text was decoded; None where the format has no text.
        notes: what was noticed while reading.
        first_row: the number a person sees on frame row 0: 2 under a header row in text and Excel files, 1 where rows
            have no place on a sheet (Parquet, ARFF data rows).

    >>> table = Table(pd.DataFrame({"x_a": [1.0, 2.0]}), "t.csv", "", "csv", "utf-8", (), 2)
    >>> table.row_number(1)
    3
    """

    frame: pd.DataFrame
    name: str
    sha256: str
    format: str
    encoding: str | None
    notes: tuple[Note, ...]
    first_row: int

    def row_number(self, position: int | np.integer) -> int:
        """The number a person sees on the row at ``position``; it follows the frame's index, so parts keep it."""
        return self.first_row + int(self.frame.index[int(position)])

    def part(self, rows: npt.NDArray[np.intp]) -> "Table":
        """The same table with only the rows at these positions; row numbers stay those of the file."""
        return replace(self, frame=self.frame.iloc[rows])


def listed(items: Iterable[object], most: int = 10) -> str:
    """The first ``most`` items joined by commas, then how many more there are.

    >>> listed([4, 9, 17])
    '4, 9, 17'
    >>> listed(range(5), most=2)
    '0, 1, … (3 more)'
    """
    texts = [str(item) for item in items]
    shown = ", ".join(texts[:most])
    return shown if len(texts) <= most else f"{shown}, … ({len(texts) - most} more)"


def spelled(value: object) -> str:
    """One cell as text; whole numbers lose their ".0", so that 1, 1.0 and "1" name the same option.

    >>> [spelled(cell) for cell in (1, 1.0, 0.5, True, "A ")]
    ['1', '1', '0.5', 'True', 'A ']
    """
    if isinstance(value, float | np.floating):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**63 else repr(number)
    return str(value)


def spelled_column(column: pd.Series) -> npt.NDArray[np.object_]:
    """Every cell of a column as text, None where it is missing."""
    missing = column.isna().to_numpy(dtype=bool)
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    texts = np.array([spelled(value) for value in distinct] + [None], dtype=object)
    cells = texts[codes]
    cells[missing] = None
    return cells
