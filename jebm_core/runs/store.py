"""The run store as people use it: upload, start, look, cancel, delete.

Nothing lives in the page: a second ``RunStore`` on the same home, in another process or after a restart, sees the same
runs. Nothing here imports torch.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from sqlalchemy import ColumnElement, delete, func, insert, select, update

from jebm_core.errors import UserError
from jebm_core.runs.database import Database, changed, explained
from jebm_core.runs.generators import GeneratorStore
from jebm_core.runs.history import (
    note_event,
    read_artifacts,
    read_events,
    read_parameters,
    read_reports,
    read_spans,
    write_parameters,
)
from jebm_core.runs.home import Home, RunFolder, default_home, new_id, plain_name
from jebm_core.runs.identity import code_version
from jebm_core.runs.launch import start_runner
from jebm_core.runs.queue import RETRIES
from jebm_core.runs.records import (
    STUDIES,
    Artifact,
    Dataset,
    Event,
    ProgressRow,
    RunSpec,
    RunView,
    Span,
    State,
)
from jebm_core.runs.schema import dataset, run
from jebm_core.runs.views import CANCELLED_EARLY, view_of

_PIECE = 1 << 20


@final
class RunStore:
    """The data sets and runs of one home. Cheap to make, safe in any number of threads and processes.

    Args:
        home: the home folder; None takes ``default_home()``.
        idle_seconds: how long the runner that ``submit`` starts stays without work.

    Raises:
        UserError: if the home folder can't be used.
    """

    def __init__(self, home: Home | None = None, *, idle_seconds: float = 60.0) -> None:
        self.home = default_home() if home is None else home
        self._idle_seconds = idle_seconds
        self._database = Database(self.home.database)
        self.generators = GeneratorStore(self._database)

    # --- data sets -----------------------------------------------------------------------------------------------

    def add_dataset(self, content: bytes | Path, name: str) -> Dataset:
        """Keep an uploaded file. The same contents are kept once, whatever names they come under.

        Cost: one pass over the contents.

        Raises:
            UserError: if the name can't be a file's name, or the file can't be read or written.
        """
        name = plain_name(name)
        with explained(self.home.database):
            store = self.home.folder / "datasets"
            store.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=store, prefix="upload-") as draft:
                file = Path(draft) / name
                sha256, size = _copy(content, file)
                with self._database.writing(alone=True) as connection:
                    # Inside the lock: of two equal uploads, the second finds the first one's file.
                    folder = self.home.dataset(sha256)
                    if not folder.is_dir() or not any(folder.iterdir()):
                        folder.mkdir(exist_ok=True)
                        file.replace(folder / name)
                    kept = Dataset(sha256, name, size, time.time())
                    known = select(dataset.c.sha256).where(dataset.c.sha256 == sha256)
                    if connection.execute(known).first() is None:
                        connection.execute(insert(dataset), asdict(kept))
        return kept

    def datasets(self) -> tuple[Dataset, ...]:
        """Every file kept, newest first, under the name it first came with."""
        with self._database.reading() as connection:
            query = select(dataset).order_by(dataset.c.created.desc(), dataset.c.sha256)
            return tuple(Dataset(**row) for row in connection.execute(query).mappings())

    def dataset_file(self, sha256: str) -> Path:
        """Where the contents of a data set are.

        Raises:
            UserError: if they are not in this home.
        """
        folder = self.home.dataset(sha256) if sha256.isalnum() else None
        files = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
        if not files:
            raise UserError(
                "Expected the data file with SHA-256 {sha256} among the uploads; found none. Upload the file again.",
                sha256=sha256,
            )
        return files[0]

    # --- runs ----------------------------------------------------------------------------------------------------

    def submit(self, spec: RunSpec) -> str:
        """Queue a run, see to it that a runner lives, and return the run's name (short, safe in a URL).

        Raises:
            UserError: if the data set is unknown, or the run can't be written or no runner started.
        """
        run_id = self.enqueue(spec)
        start_runner(self.home, self._idle_seconds)
        return run_id

    def enqueue(self, spec: RunSpec) -> str:
        """Queue a run without starting anything; for machines on which a runner is looked after elsewhere.

        Raises:
            UserError: as ``submit``.
        """
        self.dataset_file(spec.dataset)
        content = spec.to_json()
        with explained(self.home.database), self._database.writing(alone=True) as connection:
            run_id = new_id()
            while connection.execute(select(run.c.id).where(run.c.id == run_id)).first() is not None:
                run_id = new_id()
            last = select(func.coalesce(func.max(run.c.place), 0) + 1).scalar_subquery()
            row: dict[str, Any] = {
                "id": run_id,
                "dataset": spec.dataset,
                "spec": json.dumps(content, ensure_ascii=False),
                "kind": spec.kind_of_work,
                "parent": spec.parent,
                "code_version": code_version(),
                "state": "queued",
                "retries": RETRIES,
                "created": time.time(),
                "place": last,
            }
            connection.execute(insert(run).values(row))
            write_parameters(connection, run_id, content)
            note_event(connection, run_id, 0, "queued")
        return run_id

    def ensure_runner(self) -> bool:
        """See to it that a runner lives if any run waits or runs; call it on every page load.

        Returns:
            True if a runner had to be started. Cost: a query, and a fifth of a second for a start.
        """
        with self._database.reading() as connection:
            query = select(run.c.id).where(run.c.state.in_(("queued", "running"))).limit(1)
            wanted = connection.execute(query).first() is not None
        return wanted and start_runner(self.home, self._idle_seconds)

    def run(self, run_id: str) -> RunView:
        """A run with its latest report.

        Raises:
            UserError: if there is no such run.
        """
        self.folder(run_id)
        with self._database.reading() as connection:
            row = connection.execute(select(run).where(run.c.id == run_id)).first()
        if row is None:
            raise UserError(
                "There is no run {run!r} in {folder}. It may have been deleted; choose one from the list of runs.",
                run=run_id,
                folder=str(self.home.folder),
            )
        return view_of(row, time.time())

    def list_runs(self, limit: int | None = None) -> tuple[RunView, ...]:
        """All runs that bring a model, or the newest ``limit`` of them, newest first; `about` finds studies of them."""
        return self._views(run.c.kind.not_in(STUDIES), limit=limit)

    def about(self, run_id: str, kind: str) -> tuple[RunView, ...]:
        """The works of one kind about a run, newest first."""
        return self._views(run.c.parent == run_id, run.c.kind == kind)

    def _views(self, *conditions: ColumnElement[bool], limit: int | None = None) -> tuple[RunView, ...]:
        query = select(run).where(*conditions).order_by(run.c.created.desc(), run.c.place.desc()).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        now = time.time()
        return tuple(view_of(row, now) for row in rows)

    def waiting_before(self, run_id: str) -> int:
        """How many works of any kind come before a queued one."""
        place = select(run.c.place).where(run.c.id == run_id).scalar_subquery()
        query = select(func.count()).where(run.c.state.in_(("queued", "running")), run.c.place < place)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()

    def history(self, run_id: str, after_step: int = -1) -> tuple[ProgressRow, ...]:
        """The reports of a run with a step above ``after_step``, in order: pass the last step seen to poll cheaply."""
        with self._database.reading() as connection:
            return read_reports(connection, run_id, after_step)

    def spans(self, run_ids: Sequence[str], keys: Sequence[str]) -> dict[tuple[str, str], Span]:
        """Last, smallest and largest value of reported numbers, by run and name, for a list of runs.

        Cost: one query over the reports of those runs.
        """
        with self._database.reading() as connection:
            return read_spans(connection, run_ids, keys)

    def events(self, run_id: str) -> tuple[Event, ...]:
        """What happened to a run, in order: queued, claimed, started, requeued, … and how it ended."""
        with self._database.reading() as connection:
            return read_events(connection, run_id)

    def parameters(self, run_id: str) -> dict[str, object]:
        """What a run was asked for, by dotted names such as ``settings.samples``, to compare runs by."""
        with self._database.reading() as connection:
            return read_parameters(connection, run_id)

    def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        """The files that a run brought, with their SHA-256 when it ended."""
        with self._database.reading() as connection:
            return read_artifacts(connection, run_id)

    def folder(self, run_id: str) -> RunFolder:
        """The files of a run.

        Raises:
            UserError: if the text can't be a run's name.
        """
        return self.home.run(run_id)

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop. A queued one is cancelled at once; a running one stops by itself at its next check, or
        is ended after five seconds. A run that has ended stays as it is.

        Raises:
            UserError: if there is no such run.
        """
        attempt = self.run(run_id).attempt
        now = time.time()
        early = {"state": "cancelled", "finished": now, "message": CANCELLED_EARLY}
        mine = run.c.id == run_id
        with explained(self.home.database), self._database.writing() as connection:
            if changed(connection, update(run).where(mine, run.c.state == "queued").values(early)):
                note_event(connection, run_id, attempt, "cancelled")
            asked = update(run).where(mine, run.c.state == "running", run.c.cancel_requested.is_(None))
            if changed(connection, asked.values(cancel_requested=now)):
                note_event(connection, run_id, attempt, "cancel requested")
        self.ensure_runner()  # a job that does not listen needs somebody to end it

    def resume(self, run_id: str) -> None:
        """Queue a failed or cancelled run again; it goes on from its checkpoint where it left one.

        Raises:
            UserError: if there is no such run, or it is waiting, running or complete.
        """
        attempt = self.run(run_id).attempt
        blank = dict.fromkeys(("finished", "message", "stop_reason", "cancel_requested"))
        ended = update(run).where(run.c.id == run_id, run.c.state.in_(("failed", "cancelled")))
        with explained(self.home.database), self._database.writing() as connection:
            again = changed(connection, ended.values(**blank, state="queued", retries=RETRIES))
            if again:
                note_event(connection, run_id, attempt, "resumed")
        if not again:
            raise UserError(
                "Expected a failed or cancelled run to take up again; run {run} is {state}. "
                "Start a new run with its settings instead.",
                run=run_id,
                state=self.run(run_id).state.value,
            )
        start_runner(self.home, self._idle_seconds)

    def delete(self, run_id: str) -> None:
        """Delete a run, its model, all its files and the studies of it. Its data set stays, and so do recalibrated
        models, which are runs of their own.

        Raises:
            UserError: if there is no such run, it is running, or a file can't be deleted.
        """
        if self.run(run_id).state is State.QUEUED:
            self.cancel(run_id)  # so that no runner takes it while its files go
        if self.run(run_id).state is State.RUNNING:
            raise UserError("Run {run} is still running. Cancel it first, then delete it.", run=run_id)
        for study in (view for kind in STUDIES for view in self.about(run_id, kind)):
            if not study.state.ended:
                raise UserError("A study of run {run} is still going on. Cancel it first, then delete.", run=run_id)
            self.delete(study.id)
        with explained(self.home.database):
            # Files first: what a failure leaves behind still has its row, and can be deleted again.
            folder = self.folder(run_id).folder
            if folder.exists():
                shutil.rmtree(folder)
            with self._database.writing() as connection:
                over = run.c.state.not_in(("queued", "running"))
                connection.execute(delete(run).where(run.c.id == run_id, over))


def ensure_runner(home: Home | None = None) -> bool:
    """``RunStore(home).ensure_runner()``, for a page that has no store at hand."""
    return RunStore(home).ensure_runner()


def _copy(content: bytes | Path, file: Path) -> tuple[str, int]:
    """Write the contents to a file in pieces; return their SHA-256 and size."""
    if isinstance(content, bytes):
        file.write_bytes(content)
        return hashlib.sha256(content).hexdigest(), len(content)
    digest, size = hashlib.sha256(), 0
    with content.open("rb") as source, file.open("wb") as target:
        while piece := source.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            target.write(piece)
    return digest.hexdigest(), size
