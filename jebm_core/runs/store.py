"""The run store as people use it: upload, start, look, cancel, delete.

Nothing lives in the page: a second ``RunStore`` on the same home, in another process or after a restart, sees the same
runs. Nothing here imports torch.
"""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import final

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from jebm_core.errors import UserError
from jebm_core.runs.database import Database, changed, explained
from jebm_core.runs.entering import enter
from jebm_core.runs.generators import GeneratorStore
from jebm_core.runs.history import (
    note_event,
    read_artifacts,
    read_events,
    read_parameters,
    read_reports,
    read_spans,
    runs_with_event,
)
from jebm_core.runs.home import Home, RunFolder, default_home, plain_name
from jebm_core.runs.launch import start_runner
from jebm_core.runs.ledger import Ledger, account
from jebm_core.runs.model_versions import ModelStore
from jebm_core.runs.projects import ProjectStore
from jebm_core.runs.queue import RETRIES
from jebm_core.runs.records import (
    FIT,
    STUDIES,
    SWEEP,
    Artifact,
    Dataset,
    Event,
    ProgressRow,
    RunSpec,
    RunView,
    Span,
)
from jebm_core.runs.retention import Removal, Retention
from jebm_core.runs.schema import dataset, run
from jebm_core.runs.views import CANCELLED_EARLY, no_such_run, view_of

_PIECE = 1 << 20


@final
class RunStore:
    """The data sets and runs of one home. Cheap to make, safe in any number of threads and processes.

    Args:
        home: the home folder; None takes ``default_home()``.
        idle_seconds: how long the runner that ``submit`` starts stays without work.
        who: the name that the person signed in with; None takes the account on the machine.

    Raises:
        UserError: if the home folder can't be used.
    """

    def __init__(self, home: Home | None = None, *, idle_seconds: float = 60.0, who: str | None = None) -> None:
        self.home = default_home() if home is None else home
        self.who = account() if who is None else who
        self._idle_seconds = idle_seconds
        self._database = Database(self.home.database)
        self.generators = GeneratorStore(self._database)
        self.projects = ProjectStore(self._database)
        self.models = ModelStore(self._database, self.who)
        self.ledger = Ledger(self._database, self.who)
        self.retention = Retention(self.home, self._database, self.who)

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
        return self.home.dataset_file(sha256)

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
        with explained(self.home.database), self._database.writing(alone=True) as connection:
            run_id = enter(connection, spec, self.who)
        return run_id

    def ensure_runner(self) -> bool:
        """See to it that a runner lives if any run waits or runs, and that nothing is left of what was deleted; call
        it on every page load.

        Returns:
            True if a runner had to be started. Cost: two queries, and a fifth of a second for a start.
        """
        self.retention.heal()
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
            raise no_such_run(run_id, str(self.home.folder))
        return view_of(row, time.time())

    def list_runs(
        self, limit: int | None = None, project: str | None = None, *, trials: bool = True
    ) -> tuple[RunView, ...]:
        """All runs that bring a model, or the newest ``limit`` of them, or those of a project, newest first, with the
        trials of sweeps or without; `about` finds studies of them."""
        theirs = () if project is None else (run.c.project == project,)
        alone = () if trials else (or_(run.c.kind != FIT, run.c.parent == ""),)
        return self._views(run.c.kind.not_in(STUDIES), *theirs, *alone, limit=limit)

    def about(self, run_id: str, kind: str) -> tuple[RunView, ...]:
        """The works of one kind about a run, newest first."""
        return self._views(run.c.parent == run_id, run.c.kind == kind)

    def sweeps(self, project: str | None = None) -> tuple[RunView, ...]:
        """All sweeps or those of a project, about a run or about none, newest first."""
        theirs = () if project is None else (run.c.project == project,)
        return self._views(run.c.kind == SWEEP, *theirs)

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

    def is_waited_for(self, except_kind: str | None = None) -> bool:
        """True if a run waits for its turn, those of one kind aside."""
        query = select(run.c.id).where(run.c.state == "queued", run.c.kind != (except_kind or "")).limit(1)
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None

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

    def noted(self, what: str, run_ids: Sequence[str]) -> frozenset[str]:
        """Those of some runs to which something happened, by the name of its event. Cost: one query."""
        with self._database.reading() as connection:
            return runs_with_event(connection, what, run_ids)

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
        is ended after five seconds. A run that has ended stays as it is. A sweep stops with its trials.

        Raises:
            UserError: if there is no such run.
        """
        view = self.run(run_id)
        attempt, now = view.attempt, time.time()
        early = {"state": "cancelled", "finished": now, "message": CANCELLED_EARLY}
        mine = run.c.id == run_id
        with explained(self.home.database), self._database.writing() as connection:
            if changed(connection, update(run).where(mine, run.c.state == "queued").values(early)):
                note_event(connection, run_id, attempt, "cancelled")
            asked = update(run).where(mine, run.c.state == "running", run.c.cancel_requested.is_(None))
            if changed(connection, asked.values(cancel_requested=now)):
                note_event(connection, run_id, attempt, "cancel requested")
        if view.spec.kind_of_work == SWEEP:  # from here on it makes no new trial
            for trial in self.about(run_id, FIT):
                if not trial.state.ended:
                    self.cancel(trial.id)
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

    def delete(self, run_ids: str | Sequence[str]) -> Removal:
        """Delete runs with their models and files, the studies of them, the trials of sweeps, and the data sets that
        nothing else refers to. Recalibrated models stay: they are runs of their own.

        A process that ends meanwhile leaves nothing half-deleted: the rows go at once, and the next deletion or page
        removes what is left of the files.

        Raises:
            UserError: if a run is unknown, running, needed by one that has not ended or in production, or a file can't
                be deleted.
        """
        return self.retention.remove([run_ids] if isinstance(run_ids, str) else run_ids)

    def delete_project(self, name: str) -> Removal:
        """Delete a project with all its runs. That of the name ``default`` comes back with the next run.

        Raises:
            UserError: there is no such project, or as `delete`.
        """
        self.projects.project(name)
        return self.retention.remove(self.retention.in_project(name), whole_project=name)


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
