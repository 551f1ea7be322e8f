"""The SQLite file of the run store: its tables and its transactions."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from filelock import FileLock

from jebm_core.errors import UserError

VERSION = 3

_GENERATOR = """
CREATE TABLE generator (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    rules TEXT NOT NULL,
    reference TEXT NOT NULL,
    source TEXT NOT NULL,
    created REAL NOT NULL,
    UNIQUE (name, version)
) WITHOUT ROWID;
"""
_KINDS = """
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT 'fit';
ALTER TABLE run ADD COLUMN parent TEXT NOT NULL DEFAULT '';
CREATE INDEX run_by_parent ON run (parent, kind, created);
"""
_UPGRADES = {1: _GENERATOR, 2: _KINDS}  # what brings a file of this version to the next one
_TABLES = f"""
{_GENERATOR}
CREATE TABLE dataset (
    sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    dataset TEXT NOT NULL REFERENCES dataset (sha256),
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    message TEXT,
    stop_reason TEXT,
    created REAL NOT NULL,
    place INTEGER NOT NULL,
    claimed REAL,
    started REAL,
    finished REAL,
    heartbeat REAL,
    cancel_requested REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 1,
    pid INTEGER,
    process_started TEXT,
    boot TEXT,
    last_step INTEGER
) WITHOUT ROWID;
CREATE INDEX run_by_state ON run (state, place);
{_KINDS}
CREATE TABLE progress (
    run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    written REAL NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (run, step)
) WITHOUT ROWID;
"""

_WAIT = 30.0  # seconds that one writer waits for another; a write takes well under a millisecond


@final
class Database:
    """Short transactions on one file, a connection for each.

    Connections are not kept: pages run in many threads, and a kept connection would pin an old state of the file
    or outlive the file. Opening one costs a fraction of a millisecond.

    Raises:
        UserError: if the file can't be made or was made by a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_name(f"{path.name}.lock")):
                    if not path.exists():
                        self._create()
            version = self._version()
            if version in _UPGRADES:
                version = self._upgrade()
        if version != VERSION:
            raise UserError(
                "Expected a run store of version {expected}; found version {found} in {file}. "
                "Use the version of jebm that made it, or set JEBM_HOME to another folder.",
                expected=VERSION,
                found=version,
                file=str(path),
            )

    def _version(self) -> int:
        with self.reading() as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0]

    def _upgrade(self) -> int:
        with self.writing() as connection:
            # Inside the write lock: of two processes, the second finds the work done.
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            while version in _UPGRADES:
                for statement in filter(str.strip, _UPGRADES[version].split(";")):
                    connection.execute(statement)
                version += 1
            connection.execute(f"PRAGMA user_version = {version}")
        return version

    def _create(self) -> None:
        # Made under another name: a file under the right name always has its tables.
        draft = self.path.with_name(f"{self.path.name}.new")
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft, timeout=_WAIT, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # kept in the file
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        finally:
            connection.close()
        os.replace(draft, self.path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file.

        Raises:
            sqlite3.Error: if the file is gone, damaged or not readable.
        """
        # mode=rw: a file that somebody deleted must not come back empty.
        connection = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keep one idle connection meanwhile, for a process that writes often.

        SQLite folds the write-ahead log back into the file, and waits for the disk, whenever the last connection
        closes: 20 ms for each write instead of 1.
        """
        connection = sqlite3.connect(f"{self.path.as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None)
        try:
            connection.execute("SELECT 1 FROM run LIMIT 1").fetchall()  # a connection opens the file at its first use
            yield
        finally:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its first statement; all of it happens or nothing.

        Raises:
            sqlite3.Error: if the file can't be written.
        """
        with self.reading() as connection:
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            yield connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk or the file says into a sentence for the person who asked for the write.

    Raises:
        UserError: in place of an ``OSError`` or ``sqlite3.Error``.
    """
    try:
        yield
    except (OSError, sqlite3.DatabaseError) as error:
        raise UserError(
            "jebm keeps its runs in {folder}, and could not use it: {reason}. "
            "Free some space there, or set JEBM_HOME to a folder on a local disk that you may write to.",
            folder=str(path.parent),
            reason=str(error),
        ) from error
