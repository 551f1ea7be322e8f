"""One row group scored, and its results written as one part: whole, or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from jebm_core.fitted import FittedModel, load
from jebm_core.model import Context
from jebm_core.replicates import intervals, load_replicates
from jebm_core.scoring.reading import batches, needed_columns, read_rows
from jebm_core.scoring.shards import Shard
from jebm_core.scoring.top import Best

BLOCK = 2**12
"""Rows that are scored at a time: whole pieces of a forward pass, so that a row is computed among as many others as in
one table, and its last digit does not depend on where batches end."""
_INTERVALS = {"normalisation_low", "normalisation_high", "model_low", "model_high"}
RESULTS = _INTERVALS | {"file", "row", "log_prob", "log_prob_low", "log_prob_high", "seen", "nearest_seen_distance"}
RESULTS |= {"in_support", "verdict"}
"""Names that kept columns can't have."""
META = b"jebm"


@final
@dataclass(frozen=True)
class Job:
    """What a process must know to score any row group. Can be sent to another process.

    Attributes:
        model, out: the model's folder, and the folder of the results.
        kept: columns that results repeat.
        nearest: whether to add the distance to the nearest combination seen, which takes time.
        top: how many of the most probable rows to keep of each row group; 0 for none.
        verdict: what an audit said; a column of the results.
    """

    model: str
    out: str
    verdict: str
    kept: tuple[str, ...] = ()
    nearest: bool = False
    top: int = 0
    device: str = "cpu"

    def part(self, shard: Shard) -> Path:
        """The file with the results of a row group."""
        return Path(self.out) / "parts" / shard.part

    def best(self, shard: Shard) -> Path:
        """The file with its most probable rows."""
        return Path(self.out) / "tops" / shard.part

    def is_done(self, shard: Shard) -> bool:
        """Whether a row group needs no work."""
        return self.part(shard).exists()


@final
@dataclass
class _Held:
    """Complete rows that wait until a block is full."""

    contexts: tuple[Context, ...] = ()
    y: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))

    def add(self, contexts: tuple[Context, ...], y: Tensor) -> None:
        if not len(self.y):
            self.contexts, self.y = contexts, y
        elif len(y):
            both = zip(self.contexts, contexts, strict=True)
            self.contexts = tuple(
                Context(torch.cat([a.x, b.x]), torch.cat([a.reference, b.reference])) for a, b in both
            )
            self.y = torch.cat([self.y, y])

    def take(self, count: int) -> tuple[tuple[Context, ...], Tensor]:
        first, rest = slice(0, count), slice(count, None)
        taken = tuple(context.rows(first) for context in self.contexts), self.y[first]
        self.contexts, self.y = tuple(context.rows(rest) for context in self.contexts), self.y[rest]
        return taken


@final
class Scorer:
    """A model, its replicates, and how results are wanted: loaded once a process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.fitted = load(job.model, device=job.device)
        self.models = (self.fitted, *load_replicates(job.model, device=job.device))

    def score(self, shard: Shard, on_rows: Callable[[int], None] = lambda rows: None) -> None:
        """Score a row group and write its part; its best rows are there before the part is.

        Raises:
            TableError, RuleError: what the model can't read.
            OSError: the disk refuses; no part is left.
        """
        results, best = self.results(shard, on_rows)
        if best is not None:
            write_part(best, self.job.best(shard))
        write_part(results, self.job.part(shard))

    def results(
        self, shard: Shard, on_rows: Callable[[int], None] = lambda rows: None
    ) -> tuple[pa.Table, pa.Table | None]:
        """The results of every row of a row group, in order, and its best rows.

        Memory: a batch of rows, and the results and kept columns of the whole row group.
        """
        job, held, before = self.job, _Held(), 0
        best = Best(job.top) if job.top else None
        scored: list[dict[str, npt.NDArray]] = []
        complete: list[npt.NDArray[np.bool_]] = []
        kept: list[pa.Table] = []
        missing: dict[str, int] = {}
        unseen: dict[str, int] = {}
        columns = None

        def score(count: int) -> None:
            contexts, y = held.take(count)
            found = {name: values.cpu().numpy() for name, values in self.columns(contexts, y).items()}
            if best is not None:
                best.add(found["log_prob"], y.cpu().numpy())
            scored.append(found)

        with pq.ParquetFile(shard.path) as file:
            columns = needed_columns(self.fitted, [name.strip() for name in file.schema_arrow.names], job.kept)
        for batch in batches(shard, columns):
            rows = read_rows(self.models, batch, shard, before, job.kept)
            before += batch.num_rows
            complete.append(rows.complete)
            kept.append(rows.kept)
            for total, new in ((missing, rows.missing), (unseen, rows.unseen)):
                for name, count in new.items():
                    total[name] = total.get(name, 0) + count
            held.add(rows.contexts, rows.y)
            if whole := len(held.y) // BLOCK * BLOCK:
                score(whole)
            on_rows(batch.num_rows)
        if len(held.y) or not scored:
            score(len(held.y))
        positions = np.concatenate(complete)
        meta = {"file": shard.name, "group": shard.group, "rows": len(positions), "empty": int((~positions).sum())}
        table = _assembled(pa.concat_tables(kept), scored, positions, job.verdict)
        table = table.replace_schema_metadata({META: json.dumps({**meta, "missing": missing, "unseen": unseen})})
        if best is None:
            return table, None
        return table, best.table(self.fitted.record.schema, shard, table, np.flatnonzero(positions))

    @torch.inference_mode()
    def columns(self, contexts: tuple[Context, ...], y: Int64[Tensor, "row item"]) -> Mapping[str, Tensor]:
        """What ``jebm score`` writes of these rows, with one pass of each network."""
        fitted = self.fitted
        value, supported = log_prob_and_support(fitted, contexts[0], y)
        low, high = fitted.record.interval
        others = zip(self.models[1:], contexts[1:], strict=True)
        members = [log_prob_and_support(model, context, y)[0] for model, context in others]
        stacked = torch.stack(members) if members else value.new_zeros(0, len(y))
        found = intervals(value, value + low, value + high, stacked)
        columns = {"log_prob": value, "log_prob_low": found.low, "log_prob_high": found.high}
        columns["seen"] = fitted.seen.contains(y)
        if self.job.nearest:
            columns["nearest_seen_distance"] = fitted.seen.nearest(y)[0]
        columns["in_support"] = supported
        if members:
            columns |= {"normalisation_low": found.normalisation[0], "normalisation_high": found.normalisation[1]}
            columns |= {"model_low": found.model[0], "model_high": found.model[1]}
        return columns


@torch.inference_mode()
def log_prob_and_support(
    fitted: FittedModel, context: Context, y: Int64[Tensor, "row item"]
) -> tuple[Float[Tensor, " row"], Bool[Tensor, " row"]]:
    """`FittedModel.log_prob` and `FittedModel.supports` of the same rows, with one pass for both.

    Cost: one context a row; a single one for all rows of a model without features.
    """
    if not len(y):
        return torch.zeros(0, device=y.device), torch.zeros(0, dtype=torch.bool, device=y.device)
    values, supported = [], []
    if context.is_single:
        p = fitted.model(context.condensed())
        pieces = ((slice(start, start + BLOCK), p) for start in range(0, len(y), BLOCK))
    else:
        pieces = ((rows, fitted.model(part)) for rows, part in fitted.chunks(context))
    for rows, p in pieces:
        drawn = p.as_draws(y[rows])
        log_q = p.reference.log_prob(drawn)
        values.append((log_q + p.divergence.log_density_ratio(p.affinity(drawn) - p.log_partition)).flatten())
        supported.append((log_q > -torch.inf).flatten())
    inside = fitted.space.contains(y)
    return torch.where(inside, torch.cat(values), -torch.inf), torch.cat(supported) & inside


def _assembled(
    kept: pa.Table, scored: list[dict[str, npt.NDArray]], complete: npt.NDArray[np.bool_], verdict: str
) -> pa.Table:
    """Kept columns and results, empty where a row has a missing label."""
    gone = ~complete
    columns: dict[str, pa.Array | pa.ChunkedArray] = {name: kept.column(name) for name in kept.column_names}
    for name in scored[0]:
        values = np.concatenate([part[name] for part in scored])
        full = np.zeros(len(complete), dtype=values.dtype)
        full[complete] = values
        columns[name] = pa.array(full, mask=gone, from_pandas=True)
        if name == "in_support":
            codes = pa.array(np.zeros(len(complete), dtype=np.int8), mask=gone)
            columns["verdict"] = pa.DictionaryArray.from_arrays(codes, pa.array([verdict]))
    return pa.table(columns)


def write_part(table: pa.Table, path: Path) -> None:
    """Write a part under another name, make sure that it is on the disk, and only then give it its own.

    Raises:
        OSError: the disk refuses; nothing is left.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            pq.write_table(table, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the name itself must be on the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def part_record(path: Path) -> dict[str, Any]:
    """What a part says of itself: file, group, rows, empty, missing, unseen."""
    return json.loads(pq.read_schema(path).metadata[META])
