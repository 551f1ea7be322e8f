"""What started a job, how that knows it, and which slots a run holds: more than one where several processes train."""

from alembic import op
from sqlalchemy import Column, ForeignKey, Text, text

revision, down_revision = "0006", "0005"


def upgrade() -> None:
    """Make the table; runs that are running keep their slots."""
    op.add_column("run", Column("engine", Text, nullable=False, server_default=""))
    op.add_column("run", Column("handle", Text))
    op.create_table(
        "held_slot",
        Column("host", Text, primary_key=True),
        Column("slot", Text, primary_key=True),
        Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("held_by_run", "held_slot", ["run"])
    op.execute(
        text(
            "INSERT INTO held_slot (host, slot, run) "
            "SELECT host, slot, id FROM run WHERE state = 'running' AND slot IS NOT NULL"
        )
    )
    op.drop_index("run_on_slot", table_name="run")
