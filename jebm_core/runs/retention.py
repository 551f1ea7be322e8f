"""Real deletion: rows, models, checkpoints, logs, and data sets that nothing refers to any more.

The rows go first, in one transaction that also writes down which folders are to go and who deleted them. From that
moment the runs are gone for everybody; whatever ends the process afterwards, the list of what is left to remove is in
the database, and whoever deletes next, or opens a page, removes the rest. With files first, a process that dies midway
would leave runs in the list whose models are damaged; with rows first and no list, files that nobody knows of.

SQLite leaves deleted text in its file and in the write-ahead log; the file is therefore written anew after a deletion
and the log emptied. PostgreSQL frees the space by itself in time; its own log and backups are its administrator's.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout
from sqlalchemy import Connection, delete, insert, select, update

from jebm_core.errors import UserError
from jebm_core.runs.database import FAULTS, Database, explained
from jebm_core.runs.home import Home
from jebm_core.runs.ledger import DELETED, write_down
from jebm_core.runs.model_versions import ARCHIVED, PRODUCTION
from jebm_core.runs.references import Known, datasets_only_of, known_runs, with_belongings
from jebm_core.runs.schema import dataset, leaving, model_version, project, run
from jebm_core.runs.views import no_such_run

_ITSELF = "."
"""Among what is leaving: what the database's own file still holds of deleted rows."""
_PATIENCE = 10.0  # seconds that readers get to let go of the write-ahead log


@final
@dataclass(frozen=True)
class Removal:
    """What a deletion takes away.

    Attributes:
        runs: the runs named, with the studies of them and the trials of sweeps.
        datasets: SHA-256 of the data sets that nothing else refers to.
        bytes: of their files.
    """

    runs: tuple[str, ...]
    datasets: tuple[str, ...]
    bytes: int


@final
class Retention:
    """Deletes from one store; `RunStore.retention` is one.

    Args:
        who: deletes.
    """

    def __init__(self, home: Home, database: Database, who: str) -> None:
        self._home = home
        self._database = database
        self._who = who

    def planned(self, run_ids: Sequence[str]) -> Removal:
        """What `remove` would take away, without doing it.

        Raises:
            UserError: as `remove`.
        """
        with self._database.reading() as connection:
            return self._checked(connection, run_ids)

    def remove(self, run_ids: Sequence[str], *, whole_project: str | None = None) -> Removal:
        """Delete runs with everything that only they need.

        Args:
            whole_project: a project that goes with its runs.

        Raises:
            UserError: a run is unknown, running, needed by one that has not ended, or in production; or a file can't
                be removed now, in which case the rest follows by itself.
        """
        with explained(self._database.where), self._database.writing(alone=True) as connection:
            removal = self._checked(connection, run_ids)
            self._remove_rows(connection, removal)
            if whole_project is not None:
                connection.execute(delete(project).where(project.c.name == whole_project))
                write_down(connection, self._who, DELETED, whole_project, runs=len(removal.runs))
        self.clear()
        return removal

    def in_project(self, name: str) -> tuple[str, ...]:
        """The runs of a project."""
        with self._database.reading() as connection:
            return tuple(one.id for one in known_runs(connection).values() if one.project == name)

    def older_than(self, seconds: float, keep_stages: Sequence[str] = (), project: str | None = None) -> list[str]:
        """The runs that ended so long ago and may go: none that a run which has not ended needs, none with a version
        in production or in one of the stages to keep."""
        before = time.time() - seconds
        with self._database.reading() as connection:
            known = known_runs(connection)
            kept = {PRODUCTION, *keep_stages}
            rows = connection.execute(select(model_version.c.run).where(model_version.c.stage.in_(kept)))
            protected = set(rows.scalars())
        old = [one.id for one in known.values() if one.ended and one.until < before and project in (None, one.project)]
        return [one for one in old if _may_go(one, known, protected)]

    def clear(self, *, wait: bool = True) -> bool:
        """Remove what deletions have left behind, if anything. Cost: a query where there is nothing.

        Args:
            wait: for another process that is at it.

        Returns:
            True if nothing is left.

        Raises:
            UserError: a file can't be removed.
        """
        with self._database.reading() as connection:
            if connection.execute(select(leaving.c.what).limit(1)).first() is None:
                return True
        lock = FileLock(self._home.folder / "clearing.lock", timeout=-1 if wait else 0)
        with explained(self._database.where):
            try:
                with lock:
                    return self._clear()
            except Timeout:
                return False

    def heal(self) -> None:
        """`clear` in passing: without waiting, and without a word where it fails; the next one tries again."""
        with suppress(UserError, *FAULTS):
            self.clear(wait=False)

    # --- rows ----------------------------------------------------------------------------------------------------

    def _checked(self, connection: Connection, run_ids: Sequence[str]) -> Removal:
        known = known_runs(connection)
        for run_id in run_ids:
            self._home.run(run_id)
            if run_id not in known:
                raise no_such_run(run_id, str(self._home.folder))
        going = with_belongings(run_ids, known)
        for run_id in going:
            _refuse(known[run_id], going, known)
        _refuse_production(connection, going)
        datasets = datasets_only_of(connection, going, known)
        folders = [self._home.run(run_id).folder for run_id in going] + [self._home.dataset(name) for name in datasets]
        return Removal(tuple(going), datasets, sum(map(_size, folders)))

    def _remove_rows(self, connection: Connection, removal: Removal) -> None:
        runs, datasets = removal.runs, removal.datasets
        theirs = update(model_version).where(model_version.c.run.in_(runs))
        connection.execute(theirs.values(stage=ARCHIVED, note=""))
        # A runner that took one of them in this very moment wins: then nothing at all is deleted.
        gone = connection.execute(delete(run).where(run.c.id.in_(runs), run.c.state != "running")).rowcount
        if gone != len(runs):
            raise UserError("One of the runs has just been started. Cancel it first, then delete it.")
        connection.execute(delete(dataset).where(dataset.c.sha256.in_(datasets)))
        wanted = [f"runs/{one}" for one in runs] + [f"datasets/{one}" for one in datasets] + [_ITSELF]
        there = set(connection.execute(select(leaving.c.what)).scalars())
        rows = [{"what": one} for one in wanted if one not in there]
        if rows:
            connection.execute(insert(leaving), rows)
        for one in (*runs, *datasets):
            write_down(connection, self._who, DELETED, one)

    # --- files ---------------------------------------------------------------------------------------------------

    def _clear(self) -> bool:
        with self._database.reading() as connection:
            waiting = connection.execute(select(leaving.c.what)).scalars().all()
        for what in sorted(waiting, reverse=True):  # the database itself comes last: '.' sorts before every name
            if what == _ITSELF:
                if not self._rewrite():
                    return False
            elif what.startswith("runs/"):
                _remove_folder(self._home.folder / what)
            self._cross_off(what)
        return True

    def _cross_off(self, what: str) -> None:
        with self._database.writing(alone=True) as connection:
            kind, _, name = what.partition("/")
            # Inside the lock: the same contents may have been uploaded again since.
            if kind == "datasets" and not _is_known(connection, name):
                _remove_folder(self._home.folder / what)
            connection.execute(delete(leaving).where(leaving.c.what == what))

    def _rewrite(self) -> bool:
        """Write a SQLite file anew, so that nothing of deleted rows is in it. False while readers hold on to it."""
        until = time.monotonic() + _PATIENCE
        while not self._database.rewritten():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def _refuse(one: Known, going: Iterable[str], known: dict[str, Known]) -> None:
    if one.state == "running":
        raise UserError("Run {run} is still running. Cancel it first, then delete it.", run=one.id)
    for other in known.values():
        if other.ended or (one.id not in (other.parent, other.source)):
            continue
        if other.belongs_to_parent(known) and other.parent == one.id:
            raise UserError("A study of run {run} is still going on. Cancel it first, then delete.", run=one.id)
        if other.id not in going:
            raise UserError(
                "Run {other} needs run {run} and has not ended yet. Wait for it or cancel it, then delete.",
                other=other.id,
                run=one.id,
            )
    sweep = known.get(one.parent)
    if sweep is not None and one.belongs_to_parent(known) and not sweep.ended:
        raise UserError(
            "Run {run} belongs to run {parent}, which has not ended yet. Cancel that one first, then delete.",
            run=one.id,
            parent=sweep.id,
        )


def _refuse_production(connection: Connection, going: Sequence[str]) -> None:
    query = select(model_version).where(model_version.c.run.in_(going), model_version.c.stage == PRODUCTION)
    found = connection.execute(query).first()
    if found is not None:
        raise UserError(
            "Run {run} is version {version} of the model {name}, which is in production. Archive it first: "
            "jebm models promote {name!r} {version} archived.",
            run=found.run,
            version=found.version,
            name=found.name,
        )


def _may_go(run_id: str, known: dict[str, Known], protected: set[str]) -> bool:
    going = with_belongings([run_id], known)
    if protected.intersection(going):
        return False
    try:
        for one in going:
            _refuse(known[one], going, known)
    except UserError:
        return False
    return True


def _is_known(connection: Connection, sha256: str) -> bool:
    return connection.execute(select(dataset.c.sha256).where(dataset.c.sha256 == sha256)).first() is not None


def _remove_folder(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):
            total += file.lstat().st_size if not file.is_dir() else 0
    return total
