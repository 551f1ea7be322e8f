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
STAGES_OF_MODELS = ("candidate", "trial", "production", "archived")

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

project = Table(
    "project",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("shared", Integer, nullable=False, server_default="0"),
    Column("created", Double, nullable=False),
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
    Column("engine", Text, nullable=False, server_default=""),
    Column("handle", Text),
    Column("pid", BigInteger),
    Column("process_started", Text),
    Column("boot", Text),
    Column("last_step", BigInteger),
    Column("furthest", BigInteger),
    Column("reported", Double),
    Column("latest", Text),
    Column("project", Text, nullable=False, server_default="default"),
    CheckConstraint(f"state IN ({', '.join(map(repr, STATES))})", name="run_state"),
    Index("run_by_state", "state", "place"),
    Index("run_by_parent", "parent", "kind", "created"),
    Index("run_by_age", "created", "place"),
    Index("run_by_project", "project", "created"),
)
"""``latest`` is the last report in full, so that a list of runs reads one table."""

held_slot = Table(
    "held_slot",
    metadata,
    Column("host", Text, primary_key=True),
    Column("slot", Text, primary_key=True),
    Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    Index("held_by_run", "run"),
)
"""The slots that running runs hold, on the machine that watches them; no slot is held twice."""

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

model_version = Table(
    "model_version",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("run", Text, ForeignKey("run.id", ondelete="SET NULL")),
    Column("stage", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created", Double, nullable=False),
    CheckConstraint(f"stage IN ({', '.join(map(repr, STAGES_OF_MODELS))})", name="model_stage"),
)
"""A version outlives its run, so that no number is given twice and an old number is still explained."""

Index(
    "model_in_production",
    model_version.c.name,
    unique=True,
    sqlite_where=text("stage = 'production'"),
    postgresql_where=text("stage = 'production'"),
)
"""The database itself refuses a second version of a name in production."""

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("written", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("details", Text, nullable=False),
    Index("ledger_about", "about", "id"),
)
"""Who did what and when; nothing here goes with a run. Details are JSON of names and numbers, never of contents."""

leaving = Table("leaving", metadata, Column("what", Text, primary_key=True))
"""What has been deleted and may still have files: folders, by their paths in the home, and the database itself."""
