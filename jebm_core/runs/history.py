"""What a run leaves in the database: reports, events, parameters, files. Rows only; transactions are the caller's."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Insert, Table, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from jebm_core.runs.database import this_host
from jebm_core.runs.records import Artifact, Event, ProgressRow, Span
from jebm_core.runs.schema import artifact, event, metric, parameter, progress

Report = tuple[int, float, Mapping[str, object]]
"""Step, time, fields."""


def write_reports(connection: Connection, run_id: str, reports: Sequence[Report]) -> None:
    """Write reports; one with a step that is already there replaces it, so that a resumed run has no step twice."""
    last = {step: (written, fields) for step, written, fields in reports}
    words, numbers = [], []
    for step, (written, fields) in last.items():
        measured = {key: value for key, value in fields.items() if _is_measured(value)}
        rest = {key: value for key, value in fields.items() if key not in measured}
        words.append({"run": run_id, "step": step, "written": written, "fields": json.dumps(rest)})
        numbers += [{"run": run_id, "step": step, "key": key, "value": v} for key, v in measured.items()]
    dialect = connection.dialect.name
    connection.execute(_replacing(dialect, progress), words)
    if numbers:
        connection.execute(_replacing(dialect, metric), numbers)


def forget_reports(connection: Connection, run_id: str) -> None:
    """Take away all that a run reported."""
    for table in (progress, metric):
        connection.execute(delete(table).where(table.c.run == run_id))


def read_reports(connection: Connection, run_id: str, after_step: int) -> tuple[ProgressRow, ...]:
    """The reports with a step above ``after_step``, in order, each as it was written."""
    query = select(progress.c.step, progress.c.written, progress.c.fields)
    rows = connection.execute(
        query.where(progress.c.run == run_id, progress.c.step > after_step).order_by(progress.c.step)
    ).fetchall()
    values: dict[int, dict[str, object]] = {step: json.loads(fields) for step, _, fields in rows}
    numbers = select(metric.c.step, metric.c.key, metric.c.value)
    for step, key, value in connection.execute(numbers.where(metric.c.run == run_id, metric.c.step > after_step)):
        if step in values:
            values[step][key] = value
    return tuple(ProgressRow(step, written, values[step]) for step, written, _ in rows)


def read_spans(connection: Connection, run_ids: Sequence[str], keys: Sequence[str]) -> dict[tuple[str, str], Span]:
    """The last, the smallest and the largest value of each key of each run: one query over the metrics."""
    place = func.row_number().over(partition_by=(metric.c.run, metric.c.key), order_by=metric.c.step.desc())
    chosen = (
        select(metric.c.run, metric.c.key, metric.c.value, place.label("place"))
        .where(metric.c.run.in_(run_ids), metric.c.key.in_(keys))
        .subquery()
    )
    last = func.max(chosen.c.value).filter(chosen.c.place == 1)
    query = select(chosen.c.run, chosen.c.key, last, func.min(chosen.c.value), func.max(chosen.c.value))
    rows = connection.execute(query.group_by(chosen.c.run, chosen.c.key))
    return {(run, key): Span(*values) for run, key, *values in rows}


def note_event(connection: Connection, run_id: str, attempt: int, what: str) -> None:
    """Write down that something happened to a run."""
    row = {"run": run_id, "written": time.time(), "attempt": attempt, "what": what, "host": this_host()}
    connection.execute(insert(event), row)


def read_events(connection: Connection, run_id: str) -> tuple[Event, ...]:
    """What happened to a run, in order."""
    query = select(event.c.written, event.c.attempt, event.c.what, event.c.host)
    return tuple(Event(*row) for row in connection.execute(query.where(event.c.run == run_id).order_by(event.c.id)))


def runs_with_event(connection: Connection, what: str, run_ids: Sequence[str]) -> frozenset[str]:
    """Those of some runs that have an event of this name."""
    query = select(event.c.run).where(event.c.what == what, event.c.run.in_(run_ids))
    return frozenset(connection.execute(query).scalars())


def write_parameters(connection: Connection, run_id: str, spec: Mapping[str, object]) -> None:
    """Keep what a run was asked for, one value a row."""
    rows = [{"run": run_id, "key": key, "value": json.dumps(value)} for key, value in flattened(spec)]
    connection.execute(insert(parameter), rows)


def read_parameters(connection: Connection, run_id: str) -> dict[str, object]:
    """What a run was asked for, by dotted names such as ``settings.samples``."""
    rows = connection.execute(select(parameter.c.key, parameter.c.value).where(parameter.c.run == run_id))
    return {key: json.loads(value) for key, value in rows}


def write_artifacts(connection: Connection, run_id: str, found: Sequence[Artifact]) -> None:
    """Keep which files a run brought, in place of what was known before."""
    connection.execute(delete(artifact).where(artifact.c.run == run_id))
    rows = [{"run": run_id, "path": a.path, "sha256": a.sha256, "bytes": a.bytes} for a in found]
    if rows:
        connection.execute(insert(artifact), rows)


def read_artifacts(connection: Connection, run_id: str) -> tuple[Artifact, ...]:
    """The files that a run brought, in the order of their names."""
    query = select(artifact.c.path, artifact.c.sha256, artifact.c.bytes).where(artifact.c.run == run_id)
    return tuple(Artifact(*row) for row in connection.execute(query.order_by(artifact.c.path)))


def artifacts_in(folder: Path, names: Sequence[str]) -> tuple[Artifact, ...]:
    """The files under some names of a run's folder, with their contents' SHA-256. Cost: one pass over them."""
    files = sorted(file for name in names for file in [folder / name, *(folder / name).rglob("*")] if file.is_file())
    return tuple(Artifact(f.relative_to(folder).as_posix(), _digest(f), f.stat().st_size) for f in files)


def flattened(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """Pairs of dotted names and values that are no mappings.

    >>> dict(flattened({"seed": 0, "settings": {"samples": 32, "hidden": [64]}}))
    {'seed': 0, 'settings.samples': 32, 'settings.hidden': [64]}
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _is_measured(value: object) -> bool:
    """Counts stay with the words, as they are; SQL has no NaN."""
    return isinstance(value, float) and not math.isnan(value)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@lru_cache(maxsize=8)
def _replacing(dialect: str, table: Table) -> Insert:
    """An insert that replaces the row with the same key; each dialect has a word of its own for it. Kept, since making
    it takes longer than running it."""
    made = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    others = {column.name: made.excluded[column.name] for column in table.columns if not column.primary_key}
    return made.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=others)
