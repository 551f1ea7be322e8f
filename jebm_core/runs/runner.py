"""The runner: one process per home that works off the queue, one run at a time on each slot of the machine.

It holds a file lock for life. It may be killed at any moment: the job goes on, and the next runner, started by the
next ``ensure_runner``, finds the job by what is kept of it and watches it as if it were its own.
"""

import argparse
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout

from jebm_core.errors import UserError
from jebm_core.runs.database import FAULTS, this_host
from jebm_core.runs.endings import last_word_in, sentence_of_death
from jebm_core.runs.engines import ENGINES, PROCESSES, Engine, chosen_engine, engine_named, engine_or_none
from jebm_core.runs.home import Home, home_at, write_json
from jebm_core.runs.identity import ask_to_end, identity_of, is_alive, kill_orphans, kill_tree
from jebm_core.runs.queue import LEASE, RETRIES, Claim, LastWord, RunQueue
from jebm_core.runs.records import Message, State
from jebm_core.runs.streams import guard_output

_TICK = 0.25  # seconds between two looks
_ASK_AFTER = 2.0  # seconds after a cancellation until SIGTERM
_KILL_AFTER = 4.5  # seconds after a cancellation until SIGKILL
_FIRST_WORD_WITHIN = 60.0  # seconds that a job which is not our child has to say who it is
_BEAT = 15.0  # seconds between two signs of life that are given for a job which waits in a cluster
_LOCK_WAIT = 1.0  # longer than anybody holds the lock only to see whether it is free
_LONGEST_LOG = 1 << 20


@final
class Runner:
    """Watches the running jobs and starts the next ones.

    Args:
        engine: the name of the engine that starts jobs; those that another one started are watched through that.

    Raises:
        SpecError: there is no such engine, or its package is missing.
    """

    def __init__(self, home: Home, engine: str) -> None:
        self._home = home
        self._queue = RunQueue(home)
        self._name = engine
        self._engines = {engine: engine_named(engine, home)}
        self._handles: dict[tuple[str, int], tuple[Engine, str]] = {}
        self._said: dict[str, tuple[float, bool | None]] = {}
        self._asked_to_end: set[tuple[str, bool]] = set()
        self._beaten: dict[str, float] = {}

    def work(self) -> bool:
        """Look once after everything. True if there was anything to look after."""
        running = self._queue.running()
        for claim in running:
            self._watch(claim)
        wanted = {(claim.run_id, claim.attempt) for claim in running}
        for key, (engine, handle) in tuple(self._handles.items()):
            if key not in wanted and not self._answer(engine, handle):
                engine.code(handle)  # it said its last word and is gone
                self._forget(key)
        started = False
        while (claimed := self._queue.claim(self._engines[self._name].slots, self._name)) is not None:
            self._start(claimed)
            started = True
        return bool(running) or started

    def _start(self, claim: Claim) -> None:
        _say(f"run {claim.run_id} attempt {claim.attempt} starts")
        engine = self._engines[self._name]
        try:
            handle = engine.launch(claim)
        except (OSError, UserError) as error:
            message = Message(
                "The run could not be started: {reason}. Free some space or memory, then start it again.",
                {"reason": str(error)},
            )
            message = Message.of(error) if isinstance(error, UserError) else message
            self._queue.finish(claim.run_id, LastWord(claim.attempt, State.FAILED, message))
            return
        self._handles[claim.run_id, claim.attempt] = (engine, handle)
        self._queue.launched(claim.run_id, claim.attempt, handle)

    def _watch(self, claim: Claim) -> None:
        known = self._known(claim)
        if self._is_alive(claim, known):
            self._press(claim, known)
            return
        self._forget((claim.run_id, claim.attempt))
        code = None if known is None else known[0].code(known[1])
        # Read again: the job may have said who it is, or ended in peace, since the first look.
        current = self._queue.watched(claim.run_id)
        if current is not None and current.attempt == claim.attempt:
            self._settle(current, known, code)

    def _known(self, claim: Claim) -> tuple[Engine, str] | None:
        """The engine of a job and what that knows it by; None where a runner died before it could keep the handle."""
        key = claim.run_id, claim.attempt
        if key in self._handles:
            if claim.handle is None:  # the disk was full
                self._queue.launched(claim.run_id, claim.attempt, self._handles[key][1])
            return self._handles[key]
        if claim.handle is None:
            return None
        if claim.engine not in self._engines:
            self._engines[claim.engine] = engine_or_none(claim.engine, self._home)
        self._handles[key] = (self._engines[claim.engine], claim.handle)
        return self._handles[key]

    def _is_alive(self, claim: Claim, known: tuple[Engine, str] | None) -> bool:
        if known is not None:
            alive = self._answer(*known)
            if alive is None:  # nobody knows
                return time.time() - (claim.heartbeat or claim.claimed) < LEASE
            if alive and claim.process is None and known[0].pause:
                self._beat_for(claim)
            return alive
        if claim.host not in ("", this_host()):
            return False  # silent for longer than the lease
        if claim.process is not None:
            here = claim.engine in ("", PROCESSES)
            return is_alive(claim.process) if here else time.time() - (claim.heartbeat or claim.claimed) < LEASE
        # A runner died between taking the run and the job's first word; the job may be about to speak.
        return time.time() - claim.claimed < _FIRST_WORD_WITHIN

    def _answer(self, engine: Engine, handle: str) -> bool | None:
        """What the engine says of a job, or said a moment ago."""
        asked, said = self._said.get(handle, (-LEASE, None))
        if not engine.pause or time.monotonic() - asked >= engine.pause:
            said = engine.alive(handle)
            self._said[handle] = time.monotonic(), said
        return said

    def _beat_for(self, claim: Claim) -> None:
        """A job that waits in a cluster can't say so itself, and other machines must not take it for dead."""
        if time.monotonic() - self._beaten.get(claim.run_id, -_BEAT) >= _BEAT:
            self._queue.beat(claim.run_id, claim.attempt)
            self._beaten[claim.run_id] = time.monotonic()

    def _press(self, claim: Claim, known: tuple[Engine, str] | None) -> None:
        """Give weight to a cancellation that the job does not follow by itself."""
        if claim.cancel_requested is None or (known is None and claim.process is None):
            return
        waited = time.time() - claim.cancel_requested
        force = waited > _KILL_AFTER
        if waited <= _ASK_AFTER or (known is not None and (known[1], force) in self._asked_to_end):
            return
        if force:
            _say(f"run {claim.run_id} is ended by force")
        if known is not None:
            known[0].kill(known[1], force=force)
            self._asked_to_end.add((known[1], force))
            self._said.pop(known[1], None)
        elif claim.process is not None:
            (kill_tree if force else ask_to_end)(claim.process)

    def _forget(self, key: tuple[str, int]) -> None:
        _, handle = self._handles.pop(key, (None, ""))
        self._said.pop(handle, None)
        self._beaten.pop(key[0], None)
        self._asked_to_end -= {(handle, True), (handle, False)}

    def _settle(self, claim: Claim, known: tuple[Engine, str] | None, code: int | None) -> None:
        """Decide what becomes of a run whose job is no more."""
        if known is not None:
            known[0].kill(known[1], force=True)  # what it left behind
        if claim.process is not None:
            kill_orphans(claim.process)
        folder = self._home.run(claim.run_id)
        word = last_word_in(folder.last_word, claim.attempt)
        if word is None and claim.cancel_requested is not None:
            word = LastWord(claim.attempt, State.CANCELLED, Message("The run was cancelled."))
        # From the beginning only once: what dies there may well need more memory than there is.
        least = 1 if folder.has_checkpoint() else RETRIES
        if word is None and self._queue.requeue(claim.run_id, claim.attempt, least=least):
            _say(f"run {claim.run_id} died (exit code {code}) and is queued again")
            return
        if word is None:
            # torchrun says 1, whatever happened to its processes.
            code_of_job = code if claim.processes == 1 else None
            word = LastWord(claim.attempt, State.FAILED, sentence_of_death(claim, code_of_job, str(folder.log)))
        _say(f"run {claim.run_id} attempt {claim.attempt} is {word.state.value} (exit code {code})")
        self._queue.finish(claim.run_id, word)


def serve(
    home: Home,
    idle_seconds: float | None = None,
    on_decided: Callable[[], object] = lambda: None,
    engine: str | None = None,
) -> bool:
    """Work off the queue until it has been idle for that long; None means for ever.

    ``on_decided`` is called each time it is known whether this runner holds the queue. Without an engine the one of
    ``JEBM_ENGINE`` starts jobs.

    Returns:
        False if another runner of this home lives.

    Raises:
        SpecError: there is no such engine, or its package is missing.
    """
    engine = engine or chosen_engine()
    _require(engine, home)
    lock = FileLock(home.runner_lock)
    while True:
        try:
            lock.acquire(timeout=_LOCK_WAIT)
        except Timeout:
            on_decided()
            return False
        on_decided()
        try:
            with RunQueue(home).held_open():
                _serve_locked(home, idle_seconds, engine)
        finally:
            lock.release()
        # A run queued while the lock was still held saw a living runner and started none. So look once more.
        if not home.still_there() or not RunQueue(home).has_queued():
            return True


def _require(engine: str, home: Home) -> None:
    """What is wrong with an engine or its settings is said before anybody relies on the runner."""
    if engine != PROCESSES:
        engine_named(engine, home)


def _serve_locked(home: Home, idle_seconds: float | None, engine: str) -> None:
    runner = Runner(home, engine)
    _say("holds the queue")
    with suppress(OSError):
        _write_identity(home)
    busy = time.monotonic()
    while idle_seconds is None or time.monotonic() - busy < idle_seconds:
        try:
            if runner.work():
                busy = time.monotonic()
        except FAULTS as error:
            if not home.still_there():
                return  # the home folder was deleted
            _say(f"goes on after {error!r}")
            time.sleep(1.0)
        time.sleep(_TICK)
    _say("leaves, the queue is empty")


def _write_identity(home: Home) -> None:
    process = identity_of(os.getpid())
    if process is not None:
        content = {"pid": process.pid, "started": process.started, "boot": process.boot}
        write_json(home.folder / "runner.json", content)


def _leave_a_copy() -> Callable[[], object]:
    """Go on as a copy; the original waits until the copy calls what is returned here, or dies, and then ends.

    Whoever waits for the original thus finds the lock held, and starts no second runner.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    waiting = [writer]
    return lambda: [os.close(waiting.pop()) for _ in tuple(waiting)]


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} runner {os.getpid()} {text}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """``python -m jebm_core.runs.runner --home FOLDER [--idle SECONDS] [--detach]``."""
    parser = argparse.ArgumentParser(prog="jebm_core.runs.runner", description="Work off the queue of a home folder.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--idle", type=float, default=None, help="seconds without work after which it ends")
    parser.add_argument("--engine", choices=ENGINES, help="what starts jobs; JEBM_ENGINE otherwise")
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    chosen = parser.parse_args(arguments)
    home = home_at(chosen.home)
    engine = chosen.engine or chosen_engine()
    try:
        _require(engine, home)
    except UserError as error:
        _say(str(error))
        return 2
    detached = chosen.detach and os.name == "posix"
    on_decided = _leave_a_copy() if detached else lambda: None
    if chosen.detach:
        guard_output()
        if home.runner_log.exists() and home.runner_log.stat().st_size > _LONGEST_LOG:
            os.truncate(home.runner_log, 0)
    return 0 if serve(home, chosen.idle, on_decided, engine) else 3


if __name__ == "__main__":
    raise SystemExit(main())
