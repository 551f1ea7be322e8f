"""The run store as people use it: upload, start, look, cancel, delete.

Nothing lives in the page: a second ``RunStore`` on the same home, in another process or after a restart, sees the same
runs. Nothing here imports torch.
"""

import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import final

from jebm_core.errors import UserError
from jebm_core.runs.database import Database, explained
from jebm_core.runs.generators import GeneratorStore
from jebm_core.runs.home import Home, RunFolder, default_home, new_id, plain_name
from jebm_core.runs.launch import start_runner
from jebm_core.runs.records import STUDIES, Dataset, Message, ProgressRow, RunSpec, RunView, State, spec_from_text

_PIECE = 1 << 20

_VIEW = """
SELECT run.*, progress.written AS reported, progress.fields
FROM run LEFT JOIN progress ON progress.run = run.id AND progress.step = run.last_step
"""


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
                with self._database.writing() as connection:
                    # Inside the write lock: of two equal uploads, the second finds the first one's file.
                    folder = self.home.dataset(sha256)
                    if not folder.is_dir() or not any(folder.iterdir()):
                        folder.mkdir(exist_ok=True)
                        file.replace(folder / name)
                    row = (sha256, name, size, time.time())
                    connection.execute("INSERT INTO dataset VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        return Dataset(sha256, name, size, row[3])

    def datasets(self) -> tuple[Dataset, ...]:
        """Every file kept, newest first, under the name it first came with."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT * FROM dataset ORDER BY created DESC, sha256").fetchall()
        return tuple(Dataset(**row) for row in rows)

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
        text = json.dumps(spec.to_json(), ensure_ascii=False)
        with explained(self.home.database), self._database.writing() as connection:
            run_id = new_id()
            while connection.execute("SELECT 1 FROM run WHERE id = ?", (run_id,)).fetchone():
                run_id = new_id()
            connection.execute(
                "INSERT INTO run (id, dataset, spec, kind, parent, state, created, place) VALUES "
                "(?, ?, ?, ?, ?, 'queued', ?, (SELECT coalesce(max(place), 0) + 1 FROM run))",
                (run_id, spec.dataset, text, spec.kind_of_work, spec.parent, time.time()),
            )
        return run_id

    def ensure_runner(self) -> bool:
        """See to it that a runner lives if any run waits or runs; call it on every page load.

        Returns:
            True if a runner had to be started. Cost: a query, and a fifth of a second for a start.
        """
        with self._database.reading() as connection:
            query = "SELECT 1 FROM run WHERE state IN ('queued', 'running') LIMIT 1"
            wanted = connection.execute(query).fetchone() is not None
        return wanted and start_runner(self.home, self._idle_seconds)

    def run(self, run_id: str) -> RunView:
        """A run with its latest report.

        Raises:
            UserError: if there is no such run.
        """
        self.folder(run_id)
        with self._database.reading() as connection:
            row = connection.execute(f"{_VIEW} WHERE run.id = ?", (run_id,)).fetchone()
        if row is None:
            raise UserError(
                "There is no run {run!r} in {folder}. It may have been deleted; choose one from the list of runs.",
                run=run_id,
                folder=str(self.home.folder),
            )
        return _view(row, time.time())

    def list_runs(self, limit: int | None = None) -> tuple[RunView, ...]:
        """All runs that bring a model, or the newest ``limit`` of them, newest first; `about` finds studies of them."""
        count = -1 if limit is None else limit
        kinds = ", ".join("?" for _ in STUDIES)
        return self._views(f"WHERE kind NOT IN ({kinds}) ORDER BY created DESC, place DESC LIMIT ?", (*STUDIES, count))

    def about(self, run_id: str, kind: str) -> tuple[RunView, ...]:
        """The works of one kind about a run, newest first."""
        return self._views("WHERE parent = ? AND kind = ? ORDER BY created DESC, place DESC", (run_id, kind))

    def waiting_before(self, run_id: str) -> int:
        """How many works of any kind come before a queued one."""
        query = (
            "SELECT count(*) FROM run WHERE state IN ('queued', 'running') "
            "AND place < (SELECT place FROM run WHERE id = ?)"
        )
        with self._database.reading() as connection:
            return connection.execute(query, (run_id,)).fetchone()[0]

    def _views(self, where: str, values: tuple[object, ...]) -> tuple[RunView, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(f"{_VIEW} {where}", values).fetchall()
        now = time.time()
        return tuple(_view(row, now) for row in rows)

    def history(self, run_id: str, after_step: int = -1) -> tuple[ProgressRow, ...]:
        """The reports of a run with a step above ``after_step``, in order: pass the last step seen to poll cheaply."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT step, written, fields FROM progress WHERE run = ? AND step > ? ORDER BY step",
                (run_id, after_step),
            ).fetchall()
        return tuple(ProgressRow(row["step"], row["written"], json.loads(row["fields"])) for row in rows)

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
        self.run(run_id)
        now = time.time()
        message = json.dumps(Message("The run was cancelled before it started.").to_json())
        with explained(self.home.database), self._database.writing() as connection:
            connection.execute(
                "UPDATE run SET state = 'cancelled', finished = ?, message = ? WHERE id = ? AND state = 'queued'",
                (now, message, run_id),
            )
            connection.execute(
                "UPDATE run SET cancel_requested = coalesce(cancel_requested, ?) WHERE id = ? AND state = 'running'",
                (now, run_id),
            )
        self.ensure_runner()  # a job that does not listen needs somebody to end it

    def resume(self, run_id: str) -> None:
        """Queue a failed or cancelled run again; it goes on from its checkpoint where it left one.

        Raises:
            UserError: if there is no such run, or it is waiting, running or complete.
        """
        self.run(run_id)
        with explained(self.home.database), self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE run SET state = 'queued', retries = 1, finished = NULL, message = NULL, stop_reason = NULL, "
                "cancel_requested = NULL WHERE id = ? AND state IN ('failed', 'cancelled')",
                (run_id,),
            ).rowcount
        if not changed:
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
                connection.execute("DELETE FROM run WHERE id = ? AND state NOT IN ('queued', 'running')", (run_id,))


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


def _view(row: sqlite3.Row, now: float) -> RunView:
    progress = None
    if row["fields"] is not None:
        progress = ProgressRow(row["last_step"], row["reported"], json.loads(row["fields"]))
    state = State(row["state"])
    return RunView(
        id=row["id"],
        spec=spec_from_text(row["spec"]),
        state=state,
        message=_message(row["message"]),
        stop_reason=_message(row["stop_reason"]),
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        heartbeat=row["heartbeat"],
        attempt=row["attempt"],
        cancelling=state is State.RUNNING and row["cancel_requested"] is not None,
        progress=progress,
        pid=row["pid"],
        seen=now,
    )


def _message(text: str | None) -> Message | None:
    return None if text is None else Message.from_json(json.loads(text))
