"""``jebm score`` with a folder as --out: Parquet files of any size, row group by row group, in several processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, final

import typer

from jebm_core.cli.inputs import device_called, open_model
from jebm_core.cli.output import progress, require_writable, tell, tell_notes, write_json
from jebm_core.cli.trust import AUDITED, Trust, tell_trust, trust_of
from jebm_core.errors import Cancelled, SpecError

if TYPE_CHECKING:
    from jebm_core.report import Verdict
    from jebm_core.scoring import Job, Pace, Plan, Shard

ENGINES = ("local", "ray")
MOST_TOP = 1_000_000
_PLAN, _LOCK, _FOLDERS = "plan.json", ".lock", ("parts", "tops")
_OURS = {_PLAN, _LOCK, "top.parquet", *_FOLDERS}


@final
class BulkOptions(NamedTuple):
    """What only a scoring to a folder has."""

    keep: tuple[str, ...] = ()
    top: int = 0
    nearest: bool = False
    workers: int | None = None
    engine: str = "local"


def is_bulk(given: Path, out: Path) -> bool:
    """Whether the results of Parquet go to a folder: one that is there, or a name without an ending."""
    return (out.is_dir() or not out.suffix) and (given.is_dir() or given.suffix.lower() in ("", ".parquet", ".pq"))


def require_one_table(options: BulkOptions) -> None:
    """Refuse options that need a folder of results.

    Raises:
        SpecError: names the first of them.
    """
    for name, found, plain in zip(BulkOptions._fields, options, BulkOptions(), strict=True):
        if found != plain:
            raise SpecError(
                "Option --{option} is for Parquet files scored to a folder, found an --out that names a file; "
                "leave the option out, or let --out name a folder.",
                option=name,
            )


def score_in_bulk(model: Path, given: Path, out: Path, options: BulkOptions, device: str, json: str | None) -> None:
    """Score every row group that has no part yet, and merge the most probable rows."""
    if options.engine not in ENGINES:
        raise SpecError(
            "Option --engine: expected one of {known}, found {found!r}; choose one of these.",
            known=", ".join(ENGINES),
            found=options.engine,
        )
    require_writable(json)
    if options.engine == "local" and device in ("auto", "cpu"):
        _warm_up()
    from jebm_core.scoring import merge_top, score_in_processes, score_on_ray
    from jebm_core.scoring.shard import write_part

    plan = _planned(model, given, options, device)
    _require_place(out)
    with _locked(out):
        plan, job = _begun(plan, model, out, options)
        shards = plan.shards
        there = sum(job.is_done(shard) for shard in shards)
        if there:
            tell(f"Note: {there} of {len(shards)} parts are there already and are kept.")
        workers = options.workers or (os.cpu_count() or 1 if job.device == "cpu" else 1)
        run = score_in_processes if options.engine == "local" else score_on_ray
        started = time.monotonic()
        try:
            with _stoppable(), progress("score") as report:
                scored = run(job, shards, workers, lambda pace: report(_said(pace), pace.rows / pace.of))
        except KeyboardInterrupt:
            done = sum(job.is_done(shard) for shard in shards)
            raise Cancelled(
                f"Stopped: {done} of {len(shards)} parts are finished in {out}. The same command goes on from there."
            ) from None
        except PermissionError as error:
            _refuse(Path(error.filename or out), error)
        finally:
            _clear(out)
        if options.top:
            write_part(merge_top([job.best(shard) for shard in shards], options.top), out / "top.parquet")
    _tell_end(plan, job, shards, scored, time.monotonic() - started, json)


def _warm_up() -> None:
    """Have the process that the others will be copies of import torch while this one does."""
    from multiprocessing import forkserver, set_forkserver_preload

    if os.name == "posix":
        set_forkserver_preload(["jebm_core.scoring.shard"])
        forkserver.ensure_running()


def _planned(model: Path, given: Path, options: BulkOptions, device: str) -> "Plan":
    from importlib.metadata import version

    from jebm_core.scoring import Plan, find_sources
    from jebm_core.scoring.shards import fingerprint_of

    sources = find_sources(given)
    if not model.is_dir():
        open_model(model, device)  # raises
    asked = {
        "keep": list(options.keep),
        "top": options.top,
        "nearest": options.nearest,
        "device": device_called(device),
    }
    versions = {name: version(name) for name in ("jebm", "torch")}
    return Plan(str(model.absolute()), fingerprint_of(model), sources, asked, versions)


def _begun(plan: "Plan", model: Path, out: Path, options: BulkOptions) -> "tuple[Plan, Job]":
    """The plan with its verdict, written down: that of the run which began, or of a new one."""
    import json

    from jebm_core.runs.home import write_json as write_record
    from jebm_core.scoring import Job

    file = out / _PLAN
    if file.exists():
        try:
            before = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            raise SpecError("{file} can't be read; expected the plan of a scoring. Choose another folder.", file=file)
        plan.require_same(out, before)
        plan = replace(plan, **before["audit"])
    else:
        trust = _judged(plan, model, options)
        plan = replace(plan, verdict=trust.verdict, warning=trust.warning)
        write_record(file, plan.to_json())
    for name in _FOLDERS:
        (out / name).mkdir(exist_ok=True)
    _clear(out)
    device = str(plan.options["device"])
    how: Any = {"kept": options.keep, "nearest": options.nearest, "top": options.top, "device": device}
    return plan, Job(plan.model, str(out.absolute()), plan.verdict, **how)


def _judged(plan: "Plan", model: Path, options: BulkOptions) -> Trust:
    """Whether the files can be scored at all, and what an audit on a few rows, evenly chosen, says."""
    import numpy as np

    from jebm_core.replicates import load_replicates
    from jebm_core.scoring.reading import contexts_at, require_columns
    from jebm_core.scoring.shard import RESULTS

    for name in RESULTS & set(options.keep):
        raise SpecError(
            "Option --keep: {name!r} is the name of a result; rename the column of the input, or leave it out.",
            name=name,
        )
    fitted = open_model(model, str(plan.options["device"]))
    for source in plan.sources:
        require_columns((fitted, *load_replicates(model)), source)
        for name in options.keep:
            if name not in source.columns:
                from jebm_core.errors import TableError

                raise TableError(
                    "{file} has no column {column!r}, which option --keep names. Correct the name, or leave it out.",
                    file=source.name,
                    column=name,
                )
    shards = plan.shards
    rows = sum(shard.rows for shard in shards)
    if not rows:
        from jebm_core.tables.text import no_rows

        raise no_rows(plan.sources[0].name)
    chosen = np.linspace(0, rows - 1, min(rows, AUDITED)).round().astype(np.int64)
    return trust_of(fitted, contexts_at(fitted, shards, chosen.tolist()))


def _require_place(out: Path) -> None:
    """Make the folder of the results, or refuse one that holds other things."""
    if out.exists() and not out.is_dir():
        raise SpecError("{folder} is a file; expected a folder for the results. Choose another name.", folder=out)
    if out.is_dir():
        others = sorted(entry.name for entry in out.iterdir() if entry.name not in _OURS)
        if others:
            raise SpecError(
                "{folder} exists and is not a folder of scores (it holds {name}); nothing in it was touched. "
                "Choose another name for --out.",
                folder=out,
                name=others[0],
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _LOCK).touch()
    except OSError as error:
        _refuse(out, error)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One run at a time in a folder; the system lets go of the lock when a run ends, however it ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SpecError(
            "{folder}: another jebm score is at work in this folder; wait until it ends, or choose another folder.",
            folder=out,
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C is taken."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _clear(out: Path) -> None:
    """Take away what processes that were killed left half written."""
    for name in _FOLDERS:
        for partial in (out / name).glob("*.partial"):
            partial.unlink(missing_ok=True)


def _refuse(path: Path, error: OSError) -> NoReturn:
    raise SpecError(
        "{file} can't be written: {reason}. Choose another place, or check who may write there.",
        file=path,
        reason=error.strerror or type(error).__name__,
    ) from None


def _said(pace: "Pace") -> str:
    if not pace.rows:
        return f"starting, {pace.of:,} rows to score"
    left = "" if pace.seconds_left is None else f", {_time(pace.seconds_left)} left"
    return f"{pace.rows:,} of {pace.of:,} rows, {pace.rows_per_second:,.0f} rows/s{left}"


def _time(seconds: float) -> str:
    """A duration as people say it.

    >>> _time(42.4), _time(75 * 60.0)
    ('42 s', '1 h 15 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _tell_end(
    plan: "Plan", job: "Job", shards: "tuple[Shard, ...]", scored: int, seconds: float, json: str | None
) -> None:
    from jebm_core.scoring.shard import part_record

    rows = empty = 0
    counts: Mapping[str, dict[str, int]] = {"missing": {}, "unseen": {}}
    for shard in shards:
        record = part_record(job.part(shard))
        rows, empty = rows + record["rows"], empty + record["empty"]
        for what, found in counts.items():
            for column, count in record[what].items():
                found[column] = found.get(column, 0) + count
    words = {
        "missing": "are missing, which training never had; the mean or no level stands in",
        "unseen": "hold a value that training never had; they count as none of its levels",
    }
    tell_notes(
        f"Feature {column!r}: {count} cells {words[what]}."
        for what, found in counts.items()
        for column, count in sorted(found.items())
    )
    out = Path(job.out)
    verdict: Verdict = plan.verdict  # pyright: ignore[reportAssignmentType]
    result = {
        "model": plan.model,
        "out": str(out),
        "files": len(plan.sources),
        "rows": rows,
        "empty": empty,
        "parts": len(shards),
        "parts_scored": scored,
        "top": str(out / "top.parquet") if job.top else None,
        "seconds": seconds,
        "verdict": verdict,
        "warning": plan.warning,
    }
    write_json(json, result)
    tell_trust(Trust(verdict, plan.warning))
    if json != "-":
        gaps = f"; {empty} of them are empty, since labels are missing" if empty else ""
        typer.echo(
            f"{rows} rows in {len(shards)} parts in {out / 'parts'}, {scored} of the parts scored now{gaps}."
            + (f" The {job.top} most probable are in {out / 'top.parquet'}." if job.top else "")
        )
