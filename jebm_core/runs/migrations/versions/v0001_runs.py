"""Data sets, runs and their reports."""

from alembic import op
from sqlalchemy import BigInteger, CheckConstraint, Column, Double, ForeignKey, Integer, Text

revision, down_revision = "0001", None
_STATES = "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')"


def upgrade() -> None:
    """Make the tables of the first version."""
    op.create_table(
        "dataset",
        Column("sha256", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("created", Double, nullable=False),
    )
    op.create_table(
        "run",
        Column("id", Text, primary_key=True),
        Column("dataset", Text, ForeignKey("dataset.sha256"), nullable=False),
        Column("spec", Text, nullable=False),
        Column("state", Text, nullable=False),
        *(Column(name, Text) for name in ("message", "stop_reason")),
        Column("created", Double, nullable=False),
        Column("place", BigInteger, nullable=False),
        *(Column(name, Double) for name in ("claimed", "started", "finished", "heartbeat", "cancel_requested")),
        Column("attempt", Integer, nullable=False, server_default="0"),
        Column("retries", Integer, nullable=False, server_default="1"),
        Column("pid", BigInteger),
        *(Column(name, Text) for name in ("process_started", "boot")),
        Column("last_step", BigInteger),
        CheckConstraint(_STATES, name="run_state"),
    )
    op.create_index("run_by_state", "run", ["state", "place"])
    op.create_table(
        "progress",
        Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
        Column("step", BigInteger, primary_key=True),
        Column("written", Double, nullable=False),
        Column("fields", Text, nullable=False),
    )
