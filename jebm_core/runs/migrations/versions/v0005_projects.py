"""Projects, versions of models, who did what, and what is being deleted."""

import time

from alembic import op
from sqlalchemy import CheckConstraint, Column, Double, ForeignKey, Integer, Text, text

revision, down_revision = "0005", "0004"
_TOP = text("stage = 'production'")


def upgrade() -> None:
    """Make the tables. Every run so far belongs to the project ``default``."""
    op.add_column("run", Column("project", Text, nullable=False, server_default="default"))
    op.create_index("run_by_project", "run", ["project", "created"])
    op.create_table(
        "project",
        Column("name", Text, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("shared", Integer, nullable=False, server_default="0"),
        Column("created", Double, nullable=False),
    )
    insert = text("INSERT INTO project (name, owner, created) VALUES ('default', '', :now)")
    op.get_bind().execute(insert, {"now": time.time()})
    op.create_table(
        "model_version",
        Column("name", Text, primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("run", Text, ForeignKey("run.id", ondelete="SET NULL")),
        Column("stage", Text, nullable=False),
        Column("note", Text, nullable=False),
        Column("created", Double, nullable=False),
        CheckConstraint("stage IN ('candidate', 'trial', 'production', 'archived')", name="model_stage"),
    )
    op.create_index(
        "model_in_production", "model_version", ["name"], unique=True, sqlite_where=_TOP, postgresql_where=_TOP
    )
    op.create_table(
        "ledger",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("written", Double, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("who", "what", "about", "details")),
    )
    op.create_index("ledger_about", "ledger", ["about", "id"])
    op.create_table("leaving", Column("what", Text, primary_key=True))
