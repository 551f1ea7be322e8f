"""The database of the run store: SQLite in the home folder, or PostgreSQL by URL; its transactions and its upgrades.

SQLite runs in WAL mode: readers never wait, one writer at a time. Connections to it are not kept: pages run in many
threads, and a kept connection would pin an old state of the file or outlive the file. Those to PostgreSQL are pooled.
"""

import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import final

import psutil
from filelock import FileLock
from sqlalchemy import Connection, Engine, Update, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from jebm_core.errors import UserError

HEAD = "0006"
"""The version of the tables that this code works with: the last of `migrations`."""
FAULTS = (OSError, SQLAlchemyError, sqlite3.Error)
"""What a store that can't be read or written at the moment raises."""
_WAIT = 30.0  # seconds that one writer waits for another; a write takes about a millisecond
_NETWORK = ("nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "9p")
_ALONE = 5_270_310  # the number of a lock in PostgreSQL; any that nobody else uses


def this_host() -> str:
    """The name of this machine, as runs note it."""
    return socket.gethostname()


@final
class Database:
    """Short transactions on one database.

    Args:
        where: a file for SQLite, made where there is none; or the URL of a PostgreSQL database.

    Raises:
        UserError: if the database can't be made or reached, or was made by a later version.
    """

    def __init__(self, where: Path | str) -> None:
        self.where = where
        with explained(where):
            self._engine = pooled(where)
            if isinstance(where, Path) and not where.exists():
                _refuse_network(where)
                with _one_upgrade(where):
                    if not where.exists():
                        _create(where)
            found = self._version()
            if found != HEAD:
                found = self._upgrade(found)
        if found != HEAD:
            raise UserError(
                "Expected a run store of version {expected}; found version {found} in {file}. "
                "Use the version of jebm that made it, or set JEBM_HOME to another folder.",
                expected=HEAD,
                found=found,
                file=self.name,
            )

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return str(self.where) if isinstance(self.where, Path) else make_url(self.where).render_as_string()

    def _version(self) -> str:
        with self.reading() as connection:
            return version_of(connection)

    def _upgrade(self, found: str) -> str:
        from jebm_core.runs.migrations import known, upgrade

        if found and found not in known():
            return found
        lock = _one_upgrade(self.where) if isinstance(self.where, Path) else nullcontext()
        with lock, self.writing(alone=True) as connection:
            # Inside the lock: of two processes, the second finds the work done.
            if version_of(connection) != HEAD:
                upgrade(connection)
            return version_of(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database.

        Raises:
            SQLAlchemyError: if the database is gone, damaged or not readable.
        """
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction: all of it happens or nothing. In SQLite it holds the write lock from its beginning.

        Args:
            alone: no other transaction of this kind goes on meanwhile, in PostgreSQL either; for what first looks and
                then writes where nothing was.

        Raises:
            SQLAlchemyError: if the database can't be written.
        """
        with self._engine.connect() as connection:
            connection = connection.execution_options(jebm_writes=True)
            with connection.begin():
                if alone and connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ALONE})
                yield connection

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keep a connection meanwhile, for a process that writes often.

        SQLite folds the write-ahead log back into the file, and waits for the disk, whenever the last connection
        closes: 20 ms for each write instead of 1.
        """
        if not isinstance(self.where, Path):
            yield
            return
        before, self._engine = self._engine, _sqlite_engine(self.where, QueuePool)
        try:
            with self.reading() as connection:
                connection.execute(text("SELECT 1 FROM run LIMIT 1"))  # a connection opens the file at its first use
            yield
        finally:
            kept, self._engine = self._engine, before
            kept.dispose()

    def rewritten(self) -> bool:
        """Write a SQLite file anew and empty its write-ahead log, so that neither holds text of deleted rows.

        Nothing is to be done for a database server.

        Returns:
            False while somebody reads an old state from the log; then try again.

        Raises:
            sqlite3.Error: another process writes for long, or the disk has no room for a copy.
        """
        if not isinstance(self.where, Path):
            return True
        connection = _connect(self.where)
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA busy_timeout = 100")
            return connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        finally:
            connection.close()


@contextmanager
def explained(where: Path | str) -> Iterator[None]:
    """Turn what the disk or the database says into a sentence for the person who asked for the write.

    Raises:
        UserError: in place of an ``OSError`` or an error of the database.
    """
    try:
        yield
    except FAULTS as error:
        reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        if isinstance(where, Path):
            raise UserError(
                "jebm keeps its runs in {folder}, and could not use it: {reason}. "
                "Free some space there, or set JEBM_HOME to a folder on a local disk that you may write to.",
                folder=str(where.parent),
                reason=reason,
            ) from error
        raise UserError(
            "jebm keeps its runs in the database {url}, and could not use it: {reason}. "
            "See that it runs and lets you in, or take JEBM_DATABASE away to keep runs in the home folder.",
            url=where if isinstance(error, ArgumentError) else make_url(where).render_as_string(),
            reason=" ".join(reason.split()),
        ) from error


def changed(connection: Connection, change: Update, values: Mapping[str, object] | None = None) -> bool:
    """Make a change, with values for its parameters, and say whether there was a row for it."""
    return bool(connection.execute(change, values).rowcount)


def version_of(connection: Connection) -> str:
    """The version of the tables in a database; empty where there are none."""
    if connection.dialect.has_table(connection, "alembic_version"):
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""
    if connection.dialect.name != "sqlite":
        return ""
    number = connection.execute(text("PRAGMA user_version")).scalar()  # how files before version 4 told it
    return f"{number:04}" if number else ""


def network_disk(path: Path, mounts: list[tuple[str, str]]) -> str | None:
    """The kind of network file system that a path is on; None on a local disk.

    Args:
        mounts: pairs of mount point and file system.

    >>> network_disk(Path("/data/team/jebm.sqlite"), [("/", "ext4"), ("/data", "nfs4")])
    'nfs4'
    """
    under = [(len(Path(point).parts), kind) for point, kind in mounts if path.is_relative_to(point)]
    kind = max(under, default=(0, ""))[1]
    return kind if kind in _NETWORK or kind.startswith(("fuse.sshfs", "fuse.gluster")) else None


def _refuse_network(file: Path) -> None:
    mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    kind = network_disk(file.absolute(), mounts)
    if kind is not None:
        raise UserError(
            "Expected the home folder on a local disk; {folder} is on a network disk ({kind}), where SQLite may lose "
            "what two machines write at once. Set JEBM_HOME to a local folder, or JEBM_DATABASE to a PostgreSQL URL.",
            folder=str(file.parent),
            kind=kind,
        )


def _one_upgrade(file: Path) -> FileLock:
    """Held by whoever makes or upgrades a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file.with_name(f"{file.name}.lock"))


def _create(file: Path) -> None:
    """Make the file under another name: a file under the right name always has its tables."""
    from jebm_core.runs.migrations import upgrade

    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with sqlite3.connect(draft, timeout=_WAIT) as plain:
        plain.execute("PRAGMA journal_mode = WAL")  # kept in the file
    plain.close()
    engine = _sqlite_engine(draft)
    with engine.connect() as connection, connection.begin():
        upgrade(connection)
    os.replace(draft, file)


def _connect(file: Path) -> sqlite3.Connection:
    # mode=rw: a file that somebody deleted must not come back empty.
    return sqlite3.connect(
        f"{file.as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False
    )


@lru_cache(maxsize=64)
def pooled(where: Path | str) -> Engine:
    """One engine for a database and process."""
    if isinstance(where, Path):
        return _sqlite_engine(where)
    try:
        return create_engine(where, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise UserError(
            "The database {url} needs the Python package {package}, which is not installed. "
            "Install it by: pip install 'jebm[postgres]'.",
            url=make_url(where).render_as_string(),
            package=str(error.name),
        ) from error


def _sqlite_engine(file: Path, pool: type[Pool] = NullPool) -> Engine:
    engine = create_engine("sqlite://", creator=lambda: _connect(file), poolclass=pool)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # not every SQLite does by itself

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # The driver would begin a transaction at the first write only, and two readers that turn into writers would
        # be in each other's way.
        writes = connection.get_execution_options().get("jebm_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
