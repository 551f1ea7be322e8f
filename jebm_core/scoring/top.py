"""The most probable rows: of one row group while it is scored, and of all parts once they are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jebm_core.scoring.shards import Shard
from jebm_core.tables import OutputSchema


@final
class Best:
    """The ``count`` highest of the values that were added, and their combinations; of equal ones, the earliest.

    >>> best = Best(2)
    >>> best.add(np.array([-3.0, -1.0, -1.0, np.nan]), np.array([[0], [1], [2], [3]]))
    >>> best.add(np.array([-1.0, -0.5]), np.array([[4], [5]]))
    >>> best.place.tolist(), best.y.ravel().tolist()
    ([5, 1], [5, 1])
    """

    def __init__(self, count: int) -> None:
        self.count, self._passed = count, 0
        self.value: npt.NDArray[np.floating] = np.zeros(0, dtype=np.float32)
        self.place: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.y: npt.NDArray[np.int64] | None = None

    def add(self, value: npt.NDArray[np.floating], y: npt.NDArray[np.int64]) -> None:
        """The next values, with their combinations."""
        chosen = np.flatnonzero(~np.isnan(value))
        if len(chosen) > 2 * self.count:  # everything above the last that can stay, and its equals
            least = np.partition(value[chosen], len(chosen) - self.count)[len(chosen) - self.count]
            chosen = chosen[value[chosen] >= least]
        held = y[:0] if self.y is None else self.y
        values = np.concatenate([self.value, value[chosen]])
        places = np.concatenate([self.place, chosen + self._passed])
        order = _order(values)[: self.count]
        self.value, self.place, self.y = values[order], places[order], np.concatenate([held, y[chosen]])[order]
        self._passed += len(value)

    def table(
        self, schema: OutputSchema, shard: Shard, results: pa.Table, positions: npt.NDArray[np.integer]
    ) -> pa.Table:
        """File, row, kept columns, combination and results of each, the highest first.

        Args:
            results: of the whole row group; positions: of the rows that were added.
        """
        rows = positions[self.place]
        found = results.take(pa.array(rows)).replace_schema_metadata(None)
        at = found.column_names.index("log_prob")
        y = np.zeros((0, len(schema.columns)), dtype=np.int64) if self.y is None else self.y
        columns: dict[str, pa.Array | pa.ChunkedArray] = {
            "file": pa.array([shard.name] * len(rows), pa.string()),
            "row": pa.array(rows + shard.start + 1, pa.int64()),
        }
        kept = [name for name in found.column_names[:at] if name not in columns]
        columns |= {name: found.column(name) for name in kept}
        columns |= {name: cells for name, cells in _cells(schema, y).items() if name not in columns}
        columns |= {name: found.column(name) for name in found.column_names[at:]}
        columns["verdict"] = columns["verdict"].cast(pa.string())
        return pa.table(columns)


def merge_top(parts: Sequence[Path], count: int) -> pa.Table:
    """The highest ``count`` rows of the tables of best rows of all parts, in the order of the rows where equal.

    Memory: twice ``count`` rows, whatever the number of parts.
    """
    best: pa.Table | None = None
    for path in parts:
        with pq.ParquetFile(path) as file:
            new = file.read()
        both = new if best is None else pa.concat_tables([best, new], promote_options="permissive")
        order = _order(both.column("log_prob").to_numpy())[:count]
        best = both.take(pa.array(order)).combine_chunks()
    if best is None:
        raise ValueError("expected at least one part, found none")
    return best


def _order(values: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Places from the highest value down; equal ones as they stand."""
    return np.argsort(-values, kind="stable")


def _cells(schema: OutputSchema, y: npt.NDArray[np.int64]) -> dict[str, pa.Array]:
    """Combinations under the names of their columns, spelled as in the input; ranks count from 1."""
    if schema.kind == "configurations":
        slots = enumerate(zip(schema.columns, schema.options, strict=True))
        return {name: pa.array(options, pa.string()).take(pa.array(y[:, place])) for place, (name, options) in slots}
    start = schema.kind == "rankings"
    return {name: pa.array(y[:, place] + start) for place, name in enumerate(schema.columns)}
