"""What alembic runs; the connection is always given."""

from alembic import context

from jebm_core.runs.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
