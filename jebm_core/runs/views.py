"""A row of the table of runs as the record that a page sees."""

import json
from typing import Any

from jebm_core.errors import UserError
from jebm_core.runs.records import Message, ProgressRow, RunView, State, spec_from_text

CANCELLED_EARLY = json.dumps(Message("The run was cancelled before it started.").to_json())


def view_of(row: Any, now: float) -> RunView:
    """The run as of ``now``."""
    progress = None
    if row.latest is not None:
        progress = ProgressRow(row.last_step, row.reported, json.loads(row.latest))
    state = State(row.state)
    return RunView(
        id=row.id,
        spec=spec_from_text(row.spec),
        state=state,
        message=_message(row.message),
        stop_reason=_message(row.stop_reason),
        created=row.created,
        started=row.started,
        finished=row.finished,
        heartbeat=row.heartbeat,
        attempt=row.attempt,
        cancelling=state is State.RUNNING and row.cancel_requested is not None,
        progress=progress,
        pid=row.pid,
        code_version=row.code_version,
        slot=row.slot,
        seen=now,
    )


def no_such_run(run_id: str, place: str) -> UserError:
    """The error for a run that is not in the store.

    >>> str(no_such_run("k3m9xq2a", "here")).split(".")[0]
    "There is no run 'k3m9xq2a' in here"
    """
    return UserError(
        "There is no run {run!r} in {folder}. It may have been deleted; choose one from the list of runs.",
        run=run_id,
        folder=place,
    )


def _message(text: str | None) -> Message | None:
    return None if text is None else Message.from_json(json.loads(text))
