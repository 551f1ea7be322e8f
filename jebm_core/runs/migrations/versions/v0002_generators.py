"""Saved candidate generators."""

from alembic import op
from sqlalchemy import Column, Double, Integer, Text, UniqueConstraint

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Make the table of generator versions."""
    op.create_table(
        "generator",
        Column("id", Text, primary_key=True),
        Column("name", Text, nullable=False),
        Column("version", Integer, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("rules", "reference", "source")),
        Column("created", Double, nullable=False),
        UniqueConstraint("name", "version", name="generator_version"),
    )
