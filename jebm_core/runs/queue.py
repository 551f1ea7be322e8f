"""The run store as processes use it: the runner takes runs from it, the job writes its reports to it.

Every change is a compare-and-set on the run's state and attempt inside one transaction. An attempt that has been given
up, and only seems dead, can therefore not write over the one that replaced it.

Where several machines share a database, each watches its own jobs. A job of another machine counts as dead once it has
given no sign of life for a minute: processes of another machine can't be seen.
"""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    ScalarSelect,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from jebm_core.errors import UserError
from jebm_core.runs.database import Database, changed, this_host
from jebm_core.runs.history import Report, forget_reports, note_event, write_artifacts, write_reports
from jebm_core.runs.home import Home
from jebm_core.runs.identity import ProcessIdentity
from jebm_core.runs.records import Artifact, Message, RunSpec, State, spec_from_text
from jebm_core.runs.schema import held_slot, run
from jebm_core.runs.slots import CPU, needed

RETRIES = 3
"""How many times a run whose job died is taken up again without any progress in between."""
LEASE = 60.0
"""Seconds without a sign of life after which the job of another machine counts as dead."""


@final
@dataclass(frozen=True)
class Claim:
    """A running run as the runner watches it.

    Attributes:
        process: which process does the work and speaks; None until the job has said who it is.
        slot: what the job computes on; several, with commas between them, where several processes train.
        engine: what started it, as `jebm_core.runs.engines` names it; handle: how the engine knows it, None until it
            was started.
        processes: that do the work together; device: what they were asked to compute on.
    """

    run_id: str
    attempt: int
    retries: int
    claimed: float
    cancel_requested: float | None
    process: ProcessIdentity | None
    slot: str | None = None
    host: str = ""
    engine: str = ""
    handle: str | None = None
    processes: int = 1
    device: str = "auto"
    heartbeat: float | None = None


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
    """The queue of one store; one run at a time on each slot of a machine."""

    def __init__(self, home: Home) -> None:
        self._database = Database(home.database)

    def held_open(self) -> AbstractContextManager[None]:
        """Keep the database open meanwhile, so that many small writes are cheap."""
        return self._database.held_open()

    def claim(self, slots: Iterable[str] = (CPU,), engine: str = "") -> Claim | None:
        """Take the run that has waited longest, on as many slots of this machine as it needs; None if they are not
        free. No other run goes before it, so that one which needs several is not left waiting for ever.

        Args:
            slots: those of this machine, in their order.
            engine: what will start the job.
        """
        if not self.has_queued():
            return None  # no need to hold the write lock while idle
        slots = tuple(slots)
        with self._database.writing() as connection:
            _free_forgotten(connection)
            mine = select(held_slot.c.slot).where(held_slot.c.host == this_host())
            taken = set(connection.execute(mine).scalars())
            free = [slot for slot in slots if slot not in taken]
            waiting = select(run.c.id, run.c.spec).where(run.c.state == "queued").order_by(run.c.place, run.c.created)
            first = connection.execute(waiting.limit(1).with_for_update(skip_locked=True)).first() if free else None
            chosen = () if first is None else free[: (count := needed(_asked(first.spec)[0], slots))]
            if first is None or len(chosen) < count:
                return None
            found = connection.execute(
                update(run)
                .where(run.c.id == first.id, run.c.state == "queued")
                .values(
                    state="running",
                    attempt=run.c.attempt + 1,
                    claimed=time.time(),
                    heartbeat=None,
                    cancel_requested=None,
                    host=this_host(),
                    slot=",".join(chosen),
                    engine=engine,
                    handle=None,
                    pid=None,
                    process_started=None,
                    boot=None,
                )
                .returning(run.c.attempt)
            ).scalar()
            if found is None:
                return None
            held = [{"host": this_host(), "slot": slot, "run": first.id} for slot in chosen]
            connection.execute(insert(held_slot), held)
            note_event(connection, first.id, found, "claimed")
        return self.watched(first.id)

    def launched(self, run_id: str, attempt: int, handle: str) -> bool:
        """Keep how the engine knows the job. False if the attempt is no longer wanted."""
        with self._database.writing() as connection:
            return changed(connection, _of_attempt(run_id, attempt).values(handle=handle))

    def has_queued(self) -> bool:
        """True if a run waits."""
        with self._database.reading() as connection:
            return connection.execute(select(run.c.id).where(run.c.state == "queued").limit(1)).first() is not None

    def running(self) -> tuple[Claim, ...]:
        """Every run of this machine whose state is ``running``, whether or not its job still lives, and those of
        other machines that have been silent for longer than the lease."""
        signs = or_(run.c.host.in_((this_host(), "")), run.c.heartbeat < time.time() - LEASE)
        unheard = run.c.heartbeat.is_(None) & (run.c.claimed < time.time() - LEASE)
        with self._database.reading() as connection:
            query = select(run.c.id).where(run.c.state == "running", or_(signs, unheard))
            found = connection.execute(query).scalars().all()
        return tuple(claim for run_id in found if (claim := self.watched(run_id)) is not None)

    def watched(self, run_id: str) -> Claim | None:
        """A running run; None if it is no longer running."""
        with self._database.reading() as connection:
            row = connection.execute(select(run).where(run.c.id == run_id, run.c.state == "running")).first()
        if row is None:
            return None
        processes, device = _asked(row.spec)
        process = None if row.pid is None else ProcessIdentity(row.pid, row.process_started, row.boot)
        return Claim(
            run_id=row.id,
            attempt=row.attempt,
            retries=row.retries,
            claimed=row.claimed,
            cancel_requested=row.cancel_requested,
            process=process,
            slot=row.slot,
            host=row.host,
            engine=row.engine,
            handle=row.handle,
            processes=processes,
            device=device,
            heartbeat=row.heartbeat,
        )

    def begin(self, run_id: str, attempt: int, process: ProcessIdentity) -> RunSpec | None:
        """The job's first word: who it is. None if the attempt is no longer wanted, and the job must end.

        The run's machine stays the one that watches it: on a cluster the job is on another one.
        """
        now = time.time()
        with self._database.writing() as connection:
            text = connection.execute(
                _of_attempt(run_id, attempt)
                .where(run.c.pid.is_(None))
                .values(
                    pid=process.pid,
                    process_started=process.started,
                    boot=process.boot,
                    heartbeat=now,
                    started=func.coalesce(run.c.started, now),
                )
                .returning(run.c.spec)
            ).scalar()
            if text is not None:
                note_event(connection, run_id, attempt, "started")
        return None if text is None else spec_from_text(text)

    def beat(self, run_id: str, attempt: int) -> bool:
        """The job's sign of life. False if the attempt is no longer wanted."""
        with self._database.writing() as connection:
            return changed(connection, _of_attempt(run_id, attempt).values(heartbeat=time.time()))

    def record(self, run_id: str, attempt: int, reports: Sequence[Report]) -> bool:
        """Write reports; one with a step that is already there replaces it. False if the attempt is not wanted."""
        step, written, fields = reports[-1]
        reached = max(reached for reached, _, _ in reports)
        latest = {"step": step, "written": written, "fields": json.dumps(fields), "reached": reached}
        with self._database.writing() as connection:
            wanted = changed(connection, _REPORTED, {"of_run": run_id, "of_attempt": attempt, **latest})
            if wanted:
                write_reports(connection, run_id, reports)
        return wanted

    def start_again(self, run_id: str, attempt: int, why: str) -> bool:
        """Forget the reports: this attempt starts from the beginning once more. False if it is not wanted."""
        with self._database.writing() as connection:
            wanted = changed(connection, _of_attempt(run_id, attempt).values(heartbeat=time.time()))
            if wanted:
                forget_reports(connection, run_id)
                note_event(connection, run_id, attempt, why)
        return wanted

    def finish(self, run_id: str, word: LastWord, artifacts: Sequence[Artifact] = ()) -> bool:
        """Write how the attempt ended, and what files it brought. False if that is already known or the attempt is no
        longer wanted."""
        message, reason = (
            None if said is None else json.dumps(said.to_json()) for said in (word.message, word.stop_reason)
        )
        end = {"state": word.state.value, "message": message, "stop_reason": reason, "finished": time.time()}
        with self._database.writing() as connection:
            wanted = changed(connection, _of_attempt(run_id, word.attempt).values(**end, pid=None))
            if wanted:
                _let_go(connection, run_id)
                note_event(connection, run_id, word.attempt, word.state.value)
                write_artifacts(connection, run_id, artifacts)
        return wanted

    def requeue(self, run_id: str, attempt: int, *, least: int = 1) -> bool:
        """Put a run whose job died back in its old place. False if it has no try left or is no longer running.

        A job that got further than every one before it brings a new try: a run is given up only where it dies again
        without having got any further, and not because a machine is unreliable.

        Args:
            least: how many tries must be left.
        """
        again = (
            _of_attempt(run_id, attempt)
            .where(run.c.retries >= least, run.c.cancel_requested.is_(None))
            .values(state="queued", retries=run.c.retries - 1, pid=None)
        )
        with self._database.writing() as connection:
            wanted = changed(connection, again)
            if wanted:
                _let_go(connection, run_id)
                note_event(connection, run_id, attempt, "requeued")
        return wanted

    def put_back(self, run_id: str, attempt: int) -> bool:
        """End an attempt that steps aside, and put the run behind all that wait now. False if the attempt is no longer
        wanted, or is to be cancelled."""
        mine = _of_attempt(run_id, attempt).where(run.c.cancel_requested.is_(None))
        with self._database.writing(alone=True) as connection:
            wanted = changed(connection, mine.values(state="queued", place=behind_all(), pid=None))
            if wanted:
                _let_go(connection, run_id)
                note_event(connection, run_id, attempt, "stepped aside")
        return wanted


def behind_all() -> ScalarSelect[int]:
    """The place in the queue behind every run."""
    return select(func.coalesce(func.max(run.c.place), 0) + 1).scalar_subquery()


def _of_attempt(run_id: str | BindParameter[str], attempt: int | BindParameter[int]) -> Update:
    """A change to a run that happens only while this attempt at it is wanted."""
    return update(run).where(run.c.id == run_id, run.c.attempt == attempt, run.c.state == "running")


_REACHED = bindparam("reached", type_=BigInteger)
_FURTHER = func.coalesce(run.c.furthest, -1) < _REACHED
_REPORTED = _of_attempt(bindparam("of_run"), bindparam("of_attempt")).values(
    last_step=bindparam("step"),
    reported=bindparam("written"),
    latest=bindparam("fields"),
    furthest=case((_FURTHER, _REACHED), else_=run.c.furthest),
    retries=case((_FURTHER, RETRIES), else_=run.c.retries),
)
"""What a run reported last. Made once, since making it takes longer than running it."""


def _asked(spec: str) -> tuple[int, str]:
    """How many processes a run asks for, and on which device; the usual where its description can't be read, which its
    job will say."""
    try:
        read = spec_from_text(spec)
    except (UserError, ValueError, TypeError):
        return 1, "auto"
    return read.together, str(read.settings.get("device", "auto"))


def _let_go(connection: Connection, run_id: str) -> None:
    connection.execute(delete(held_slot).where(held_slot.c.run == run_id))


def _free_forgotten(connection: Connection) -> None:
    """No slot is held by a run that is not running, however it came to that."""
    running = select(run.c.id).where(run.c.state == "running")
    mine = held_slot.c.host == this_host()
    forgotten = select(held_slot.c.slot).where(mine, held_slot.c.run.not_in(running))
    if slots := connection.execute(forgotten).scalars().all():
        connection.execute(delete(held_slot).where(mine, held_slot.c.slot.in_(slots)))
