"""Numbers of reports as rows, what was asked for, what happened, files that were made, and slots."""

import json
import math
from collections.abc import Iterator, Mapping

from alembic import op
from sqlalchemy import BigInteger, Column, Connection, Double, ForeignKey, Integer, Text, text

revision, down_revision = "0004", "0003"
_RUNNING = text("state = 'running'")


def _of_run() -> Column[str]:
    return Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Make the tables, and put what earlier runs reported into them."""
    op.add_column("run", Column("code_version", Text, nullable=False, server_default=""))
    op.add_column("run", Column("host", Text, nullable=False, server_default=""))
    op.add_column("run", Column("slot", Text))
    op.add_column("run", Column("furthest", BigInteger))
    op.add_column("run", Column("reported", Double))
    op.add_column("run", Column("latest", Text))
    op.create_index("run_by_age", "run", ["created", "place"])
    op.create_index(
        "run_on_slot", "run", ["host", "slot"], unique=True, sqlite_where=_RUNNING, postgresql_where=_RUNNING
    )
    op.create_table(
        "metric",
        _of_run(),
        Column("step", BigInteger, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("value", Double, nullable=False),
    )
    op.create_table(
        "parameter", _of_run(), Column("key", Text, primary_key=True), Column("value", Text, nullable=False)
    )
    op.create_table(
        "event",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("run", Text, ForeignKey("run.id", ondelete="CASCADE"), nullable=False),
        Column("written", Double, nullable=False),
        Column("attempt", Integer, nullable=False),
        Column("what", Text, nullable=False),
        Column("host", Text, nullable=False),
    )
    op.create_index("event_of_run", "event", ["run", "id"])
    op.create_table(
        "artifact",
        _of_run(),
        Column("path", Text, primary_key=True),
        Column("sha256", Text, nullable=False),
        Column("bytes", BigInteger, nullable=False),
    )
    _move_reports(op.get_bind())
    _spread_parameters(op.get_bind())


def _spread_parameters(connection: Connection) -> None:
    insert = text("INSERT INTO parameter (run, key, value) VALUES (:run, :key, :value)")
    for run, spec in connection.execute(text("SELECT id, spec FROM run")).fetchall():
        rows = [{"run": run, "key": key, "value": json.dumps(value)} for key, value in _flat(json.loads(spec))]
        if rows:
            connection.execute(insert, rows)


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _move_reports(connection: Connection) -> None:
    connection.execute(
        text(
            "UPDATE run SET latest = (SELECT fields FROM progress WHERE run = run.id AND step = run.last_step), "
            "reported = (SELECT written FROM progress WHERE run = run.id AND step = run.last_step)"
        )
    )
    for run, step, fields in connection.execute(text("SELECT run, step, fields FROM progress")).fetchall():
        values = json.loads(fields)
        numbers = {key: v for key, v in values.items() if isinstance(v, float) and not math.isnan(v)}
        words = json.dumps({key: value for key, value in values.items() if key not in numbers})
        place = {"run": run, "step": step}
        if numbers:
            insert = text("INSERT INTO metric (run, step, key, value) VALUES (:run, :step, :key, :value)")
            connection.execute(insert, [{**place, "key": key, "value": v} for key, v in numbers.items()])
        connection.execute(
            text("UPDATE progress SET fields = :words WHERE run = :run AND step = :step"), {**place, "words": words}
        )
