"""How a run gets into the queue: its row, its parameters, its project, and who asked for it."""

import json
import time
from typing import Any

from sqlalchemy import Connection, insert, select

from jebm_core.runs.history import note_event, write_parameters
from jebm_core.runs.home import new_id
from jebm_core.runs.identity import code_version
from jebm_core.runs.ledger import RAN, write_down
from jebm_core.runs.projects import see_to
from jebm_core.runs.queue import RETRIES, behind_all
from jebm_core.runs.records import RunSpec
from jebm_core.runs.schema import run


def enter(connection: Connection, spec: RunSpec, who: str) -> str:
    """Put a run behind all others, in a transaction that goes on alone; return the run's name."""
    content = spec.to_json()
    run_id = new_id()
    while connection.execute(select(run.c.id).where(run.c.id == run_id)).first() is not None:
        run_id = new_id()
    row: dict[str, Any] = {
        "id": run_id,
        "dataset": spec.dataset,
        "spec": json.dumps(content, ensure_ascii=False),
        "kind": spec.kind_of_work,
        "parent": spec.parent,
        "code_version": code_version(),
        "state": "queued",
        "retries": RETRIES,
        "created": time.time(),
        "place": behind_all(),
        "project": spec.project,
    }
    see_to(connection, spec.project)
    connection.execute(insert(run).values(row))
    write_parameters(connection, run_id, content)
    note_event(connection, run_id, 0, "queued")
    write_down(connection, who, RAN, run_id, kind=spec.kind_of_work, project=spec.project)
    return run_id
