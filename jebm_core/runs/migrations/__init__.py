"""The steps that bring a database of any earlier version to the tables of `jebm_core.runs.schema`, run by alembic."""

from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from jebm_core.runs.database import version_of


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


@lru_cache(maxsize=1)
def known() -> tuple[str, ...]:
    """Every version that can be upgraded, the newest first."""
    return tuple(step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions())


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest version, inside the connection's transaction."""
    config = _config()
    config.attributes["connection"] = connection
    if not connection.dialect.has_table(connection, "alembic_version") and version_of(connection):
        command.stamp(config, version_of(connection))  # a file from before alembic knows its version otherwise
    command.upgrade(config, "head")
