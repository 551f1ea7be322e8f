"""Batches of a row group as contexts and combinations, by the rules of `jebm_core.tables`.

Columns come as arrays. Combinations whose cells are plain (0 and 1, whole ranks, known options) are taken straight from
them; a batch that holds anything else is read again as a table, by the code that reads every other table, which either
understands it or names file, row and column.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.scoring.shards import Shard, Source, unreadable
from jebm_core.spaces import Ruled
from jebm_core.tables import OutputSchema, Roles, Table, read_outputs
from jebm_core.tables.outputs import codes_of, missing_targets
from jebm_core.tables.records import spelled_column
from jebm_core.tables.text import clean_names

BATCH = 2**14
"""Rows that are read at a time: more take memory, and time too, since they leave the caches."""


@final
class Rows(NamedTuple):
    """Rows that are ready to be scored.

    Attributes:
        contexts: of each model, of the complete rows; y: their combinations.
        complete: which rows have every label; kept: the columns that results repeat.
        missing, unseen: cells of each feature that training never had empty, or never had.
    """

    contexts: tuple[Context, ...]
    y: Tensor
    complete: npt.NDArray[np.bool_]
    kept: pa.Table
    missing: dict[str, int]
    unseen: dict[str, int]


def needed_columns(fitted: FittedModel, available: Sequence[str], kept: Sequence[str]) -> list[str]:
    """The columns of a file that a model and the results read; all of them where rules look at features."""
    if isinstance(fitted.space, Ruled) and fitted.space.rules.problem.conditions:
        return list(available)
    record, found = fitted.record, set(kept)
    found |= {*record.schema.columns, *record.features, *(column.name for column in record.encoder.columns)}
    return [name for name in available if name in found]


def require_columns(models: Sequence[FittedModel], source: Source) -> None:
    """Refuse a file without a column that is needed, or with dates as outputs, before anything is scored.

    Raises:
        TableError: names the column and the nearest name that is there.
    """
    try:
        with pq.ParquetFile(source.path) as file:
            empty = _cleaned(file.schema_arrow.empty_table(), source.name)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(source.name, error) from None
    table = Table(empty.to_pandas(ignore_metadata=True), source.name, "", "parquet", None, (), 1)
    for model in models:
        schema = model.record.schema
        read_outputs(table, Roles(model.record.features, schema.columns, schema.kind), like=schema)
        model.record.encoder.transform(table)


def batches(shard: Shard, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a row group, at most `BATCH` at a time, under cleaned names.

    Raises:
        TableError: the file is damaged, or no longer there.
    """
    try:
        with pq.ParquetFile(shard.path) as file:
            raw = file.schema_arrow.names
            names, _ = clean_names(shard.name, raw)
            chosen = [r for r, name in zip(raw, names, strict=True) if columns is None or name in columns]
            many = {"row_groups": [shard.group], "batch_size": BATCH, "use_threads": False}
            for batch in file.iter_batches(columns=chosen, **many):
                yield _cleaned(pa.Table.from_batches([batch]), shard.name)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(shard.name, error) from None


def read_rows(models: Sequence[FittedModel], batch: pa.Table, shard: Shard, before: int, kept: Sequence[str]) -> Rows:
    """One batch of a row group, ready to be scored.

    Args:
        models: the model, then its replicates.
        before: rows of the row group before the batch.
        kept: columns that results repeat.

    Raises:
        TableError: a cell that the model can't read; the row is that of the file, from 1.
    """
    first = models[0]
    table = _table(batch, shard, before)
    y, complete = _outputs(first.record.schema, batch, table)
    part = table if complete.all() else table.part(np.flatnonzero(complete))
    counts: tuple[dict[str, int], dict[str, int]] = ({}, {})
    for note in first.record.encoder.report(part):
        column, count = str(note.values["column"]), note.values["count"]
        counts["found" in note.values][column] = int(str(count))
    contexts = tuple(model.context(part) for model in models)
    return Rows(contexts, torch.from_numpy(y).to(first.device), complete, batch.select(list(kept)), *counts)


def contexts_at(fitted: FittedModel, shards: Sequence[Shard], positions: Sequence[int]) -> Context:
    """The contexts of some rows, counted over all shards, without holding any shard whole. Positions must grow."""
    parts, wanted, passed = [], np.asarray(positions), 0
    for shard in shards:
        here = wanted[(wanted >= passed) & (wanted < passed + shard.rows)] - passed
        passed += shard.rows
        if not len(here):
            continue
        with pq.ParquetFile(shard.path) as file:
            columns = needed_columns(fitted, clean_names(shard.name, file.schema_arrow.names)[0], ())
        before = 0
        for batch in batches(shard, columns):
            inside = here[(here >= before) & (here < before + batch.num_rows)] - before
            if len(inside):
                parts.append(fitted.context(_table(batch, shard, before).part(inside)))
            before += batch.num_rows
            if before > here[-1]:
                break
    return Context(torch.cat([part.x for part in parts]), torch.cat([part.reference for part in parts]))


def _cleaned(table: pa.Table, name: str) -> pa.Table:
    names, _ = clean_names(name, table.column_names)
    arrays = [
        column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column.combine_chunks()
        for column in table.columns
    ]
    return pa.table(arrays, names=names)


def _table(batch: pa.Table, shard: Shard, before: int) -> Table:
    frame = batch.to_pandas(ignore_metadata=True)
    frame.index = pd.RangeIndex(shard.start + before, shard.start + before + len(frame))
    return Table(frame, shard.name, "", "parquet", None, (), 1)


def _outputs(
    schema: OutputSchema, batch: pa.Table, table: Table
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The combinations of the complete rows, and which these are: straight from the arrays, else as of any table."""
    found = plain_outputs(schema, batch)
    if found is not None:
        return found
    complete = np.array(~missing_targets(table, schema.columns).any(axis=1), dtype=bool)
    rows = np.flatnonzero(complete)
    if not len(rows):
        return np.zeros((0, len(schema.columns)), dtype=np.int64), complete
    roles = Roles((), schema.columns, schema.kind)
    return read_outputs(table.part(rows), roles, like=schema).values, complete


def plain_outputs(schema: OutputSchema, batch: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]] | None:
    """Combinations of rows with plain cells; None where there is a cell that takes a closer look.

    The twin of `jebm_core.tables.read_outputs` on the rows without a missing label.
    """
    y = np.empty((batch.num_rows, len(schema.columns)), dtype=np.int64)
    complete = np.ones(batch.num_rows, dtype=bool)
    for place, name in enumerate(schema.columns):
        cells = batch.column(name).combine_chunks()
        if isinstance(cells, pa.ChunkedArray):
            cells = cells.chunk(0) if cells.num_chunks else pa.array([], cells.type)
        if cells.null_count:
            complete[cells.is_null().to_numpy(zero_copy_only=False)] = False
        if schema.kind == "configurations":
            column = _options(cells, schema.options[place])
        else:
            column = _whole(cells, truth=schema.kind == "subsets")
        if column is None:
            return None
        y[:, place] = column
    y = y if complete.all() else y[complete]
    if schema.kind == "subsets":
        return None if ((y != 0) & (y != 1)).any() else (y, complete)
    if schema.kind == "configurations":
        return None if (y < 0).any() else (y, complete)
    y -= 1
    fine = np.array_equal(np.sort(y, axis=1), np.broadcast_to(np.arange(y.shape[1]), y.shape))
    return (y, complete) if fine else None


def _whole(cells: pa.Array, *, truth: bool) -> npt.NDArray | None:
    """Whole numbers, with 0 for missing ones; None where a cell is not a plain whole number. Truth values may count."""
    kind = cells.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or (truth and pa.types.is_boolean(kind))):
        return None
    if cells.null_count:
        cells = cells.fill_null(False if pa.types.is_boolean(kind) else pa.scalar(0, kind))
    values = cells.to_numpy(zero_copy_only=False)
    if pa.types.is_floating(kind) and not ((np.abs(values) < 2**31) & (values == np.rint(values))).all():
        return None  # NaN among them, which counts as missing
    return values


def _options(cells: pa.Array, options: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The place of each cell among the options, 0 for missing ones, -1 for others; None for cells of another make."""
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type) or pa.types.is_integer(cells.type)):
        return None
    listed = cells.dictionary_encode()
    place = codes_of(spelled_column(listed.dictionary.to_pandas()), options)
    codes = listed.indices.fill_null(0) if cells.null_count else listed.indices
    if not len(place):
        return np.zeros(len(cells), dtype=np.int64)
    return place[codes.to_numpy(zero_copy_only=False)]
