"""The tables of the run store, as SQLAlchemy knows them; `migrations` brings a database to them.

Times are seconds since 1970. A report of a run is kept twice over: its numbers as rows of ``metric``, to be compared
and thinned out by the database, and everything else of it as JSON in ``progress``.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

STATES = ("queued", "running", "succeeded", "failed", "cancelled")

metadata = MetaData()

dataset = Table(
    "dataset",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
)

generator = Table(
    "generator",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("rules", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("name", "version", name="generator_version"),
)

run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("dataset", Text, ForeignKey("dataset.sha256"), nullable=False),
    Column("spec", Text, nullable=False),
    Column("kind", Text, nullable=False, server_default="fit"),
    Column("parent", Text, nullable=False, server_default=""),
    Column("code_version", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("message", Text),
    Column("stop_reason", Text),
    Column("created", Double, nullable=False),
    Column("place", BigInteger, nullable=False),
    Column("claimed", Double),
    Column("started", Double),
    Column("finished", Double),
    Column("heartbeat", Double),
    Column("cancel_requested", Double),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("retries", Integer, nullable=False, server_default="1"),
    Column("host", Text, nullable=False, server_default=""),
    Column("slot", Text),
    Column("pid", BigInteger),
    Column("process_started", Text),
    Column("boot", Text),
    Column("last_step", BigInteger),
    Column("furthest", BigInteger),
    Column("reported", Double),
    Column("latest", Text),
    CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="run_state"),
    Index("run_by_state", "state", "place"),
    Index("run_by_parent", "parent", "kind", "created"),
    Index("run_by_age", "created", "place"),
)
"""``latest`` is the last report in full, so that a list of runs reads one table."""

Index(
    "run_on_slot",
    run.c.host,
    run.c.slot,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)
"""The database itself refuses a second job on a slot."""

progress = Table(
    "progress",
    metadata,
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("written", Double, nullable=False),
    Column("fields", Text, nullable=False),
)

metric = Table(
    "metric",
    metadata,
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Double, nullable=False),
)

parameter = Table(
    "parameter",
    metadata,
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""What a run was asked for, one value a row: ``settings.samples``, ``seed``, …; values are JSON."""

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Column("written", Double, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("what", Text, nullable=False),
    Column("host", Text, nullable=False),
    Index("event_of_run", "run", "id"),
)
"""What became of a run, in the order in which it happened."""

artifact = Table(
    "artifact",
    metadata,
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
"""The files that a run brought, by their paths inside its folder."""
