"""The run store as processes use it: the runner takes runs from it, the job writes its reports to it.

Every change is a compare-and-set on the run's state and attempt inside one transaction. An attempt that has been given
up, and only seems dead, can therefore not write over the one that replaced it.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import final

from jebm_core.runs.database import Database
from jebm_core.runs.home import Home
from jebm_core.runs.identity import ProcessIdentity
from jebm_core.runs.records import Message, RunSpec, State, spec_from_text

Report = tuple[int, float, Mapping[str, object]]  # step, time, fields


@final
@dataclass(frozen=True)
class Claim:
    """A running run as the runner watches it. ``process`` is None until the job has said who it is."""

    run_id: str
    attempt: int
    retries: int
    claimed: float
    cancel_requested: float | None
    process: ProcessIdentity | None


@final
@dataclass(frozen=True)
class LastWord:
    """How an attempt ended."""

    attempt: int
    state: State
    message: Message | None = None
    stop_reason: Message | None = None

    def to_json(self) -> dict[str, object]:
        """A dictionary that JSON can hold."""
        return {
            "attempt": self.attempt,
            "state": self.state.value,
            "message": None if self.message is None else self.message.to_json(),
            "stop_reason": None if self.stop_reason is None else self.stop_reason.to_json(),
        }

    @staticmethod
    def from_text(text: str) -> "LastWord":
        """The inverse of ``to_json``, from JSON text."""
        content = json.loads(text)
        message, reason = content["message"], content["stop_reason"]
        return LastWord(
            attempt=content["attempt"],
            state=State(content["state"]),
            message=None if message is None else Message.from_json(message),
            stop_reason=None if reason is None else Message.from_json(reason),
        )


@final
class RunQueue:
    """The queue of one home; one run at a time."""

    def __init__(self, home: Home) -> None:
        self._database = Database(home.database)

    def held_open(self) -> AbstractContextManager[None]:
        """Keep the file open meanwhile, so that many small writes are cheap."""
        return self._database.held_open()

    def claim(self) -> Claim | None:
        """Take the run that has waited longest, if none is running; None otherwise."""
        if not self.has_queued():
            return None  # no need to hold the write lock while idle
        with self._database.writing() as connection:
            if connection.execute("SELECT 1 FROM run WHERE state = 'running'").fetchone():
                return None
            row = connection.execute("SELECT id FROM run WHERE state = 'queued' ORDER BY place LIMIT 1").fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE run SET state = 'running', attempt = attempt + 1, claimed = ?, cancel_requested = NULL, "
                "pid = NULL, process_started = NULL, boot = NULL WHERE id = ?",
                (time.time(), row["id"]),
            )
        return self.watched(row["id"])

    def has_queued(self) -> bool:
        """True if a run waits."""
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM run WHERE state = 'queued' LIMIT 1").fetchone() is not None

    def running(self) -> tuple[Claim, ...]:
        """Every run whose state is ``running``, whether or not its job still lives."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id FROM run WHERE state = 'running'").fetchall()
        return tuple(claim for row in rows if (claim := self.watched(row["id"])) is not None)

    def watched(self, run_id: str) -> Claim | None:
        """The run if its state is ``running``."""
        with self._database.reading() as connection:
            row = connection.execute("SELECT * FROM run WHERE id = ? AND state = 'running'", (run_id,)).fetchone()
        if row is None:
            return None
        process = None if row["pid"] is None else ProcessIdentity(row["pid"], row["process_started"], row["boot"])
        return Claim(row["id"], row["attempt"], row["retries"], row["claimed"], row["cancel_requested"], process)

    def begin(self, run_id: str, attempt: int, process: ProcessIdentity) -> RunSpec | None:
        """The job's first word: who it is. None if the attempt is no longer wanted, and the job must end."""
        now = time.time()
        with self._database.writing() as connection:
            row = connection.execute(
                "UPDATE run SET pid = ?, process_started = ?, boot = ?, heartbeat = ?, started = coalesce(started, ?) "
                "WHERE id = ? AND attempt = ? AND state = 'running' AND pid IS NULL RETURNING spec",
                (process.pid, process.started, process.boot, now, now, run_id, attempt),
            ).fetchone()
        return None if row is None else spec_from_text(row["spec"])

    def beat(self, run_id: str, attempt: int) -> bool:
        """The job's sign of life. False if the attempt is no longer wanted."""
        with self._database.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE run SET heartbeat = ? WHERE id = ? AND attempt = ? AND state = 'running'",
                    (time.time(), run_id, attempt),
                ).rowcount
            )

    def record(self, run_id: str, attempt: int, reports: Sequence[Report]) -> bool:
        """Write reports; one with a step that is already there replaces it. False if the attempt is not wanted."""
        rows = [(run_id, step, written, json.dumps(fields)) for step, written, fields in reports]
        with self._database.writing() as connection:
            wanted = connection.execute(
                "UPDATE run SET last_step = ? WHERE id = ? AND attempt = ? AND state = 'running'",
                (reports[-1][0], run_id, attempt),
            ).rowcount
            if wanted:
                connection.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)", rows)
        return bool(wanted)

    def finish(self, run_id: str, word: LastWord) -> bool:
        """Write how the attempt ended. False if that is already known or the attempt is no longer wanted."""
        texts = [
            None if message is None else json.dumps(message.to_json()) for message in (word.message, word.stop_reason)
        ]
        with self._database.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE run SET state = ?, message = ?, stop_reason = ?, finished = ?, pid = NULL "
                    "WHERE id = ? AND attempt = ? AND state = 'running'",
                    (word.state.value, *texts, time.time(), run_id, word.attempt),
                ).rowcount
            )

    def requeue(self, run_id: str, attempt: int) -> bool:
        """Put a run whose job died back in its old place. False if it has no try left or is no longer running."""
        with self._database.writing() as connection:
            return bool(
                connection.execute(
                    "UPDATE run SET state = 'queued', retries = retries - 1, pid = NULL "
                    "WHERE id = ? AND attempt = ? AND state = 'running' AND retries > 0 AND cancel_requested IS NULL",
                    (run_id, attempt),
                ).rowcount
            )
