"""Kinds of work, and works about another run."""

from alembic import op
from sqlalchemy import Column, Text

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """Every run so far was a fit about nothing else."""
    op.add_column("run", Column("kind", Text, nullable=False, server_default="fit"))
    op.add_column("run", Column("parent", Text, nullable=False, server_default=""))
    op.create_index("run_by_parent", "run", ["parent", "kind", "created"])
