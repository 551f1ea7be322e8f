"""The runner: one process per home that works off the queue, one run at a time on each slot of the machine.

It holds a file lock for life. It may be killed at any moment: the job goes on, and the next runner, started by the
next ``ensure_runner``, finds the job by its process identity and watches it as if it were its own.
"""

import argparse
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout

from jebm_core.runs.database import FAULTS, this_host
from jebm_core.runs.home import Home, home_at, write_json
from jebm_core.runs.identity import ask_to_end, identity_of, is_alive, kill_orphans, kill_tree
from jebm_core.runs.launch import start_job
from jebm_core.runs.queue import RETRIES, Claim, LastWord, RunQueue
from jebm_core.runs.records import FAULT, Message, State
from jebm_core.runs.slots import slots
from jebm_core.runs.streams import guard_output

_TICK = 0.25  # seconds between two looks
_ASK_AFTER = 2.0  # seconds after a cancellation until SIGTERM
_KILL_AFTER = 4.5  # seconds after a cancellation until SIGKILL
_FIRST_WORD_WITHIN = 60.0  # seconds that a job which is not our child has to say who it is
_LOCK_WAIT = 1.0  # longer than anybody holds the lock only to see whether it is free
_LONGEST_LOG = 1 << 20


@final
class Runner:
    """Watches the running job and starts the next one."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._queue = RunQueue(home)
        self._slots = slots()
        self._children: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def work(self) -> bool:
        """Look once after everything. True if there was anything to look after."""
        running = self._queue.running()
        for claim in running:
            self._watch(claim)
        for key in [key for key, child in self._children.items() if child.poll() is not None]:
            if key not in {(claim.run_id, claim.attempt) for claim in running}:
                del self._children[key]  # it said its last word and is gone
        started = False
        while (claimed := self._queue.claim(self._slots)) is not None:
            self._start(claimed)
            started = True
        return bool(running) or started

    def _start(self, claim: Claim) -> None:
        _say(f"run {claim.run_id} attempt {claim.attempt} starts")
        try:
            self._children[claim.run_id, claim.attempt] = start_job(self._home, claim)
        except OSError as error:
            message = Message(
                "The run could not be started: {reason}. Free some space or memory, then start it again.",
                {"reason": str(error)},
            )
            self._queue.finish(claim.run_id, LastWord(claim.attempt, State.FAILED, message))

    def _watch(self, claim: Claim) -> None:
        if self._is_alive(claim):
            self._press(claim)
            return
        child = self._children.pop((claim.run_id, claim.attempt), None)
        # Read again: the job may have said who it is, or ended in peace, since the first look.
        current = self._queue.watched(claim.run_id)
        if current is not None and current.attempt == claim.attempt:
            self._settle(current, None if child is None else child.returncode)

    def _is_alive(self, claim: Claim) -> bool:
        child = self._children.get((claim.run_id, claim.attempt))
        if child is not None:
            return child.poll() is None
        if claim.host not in ("", this_host()):
            return False  # silent for longer than the lease
        if claim.process is not None:
            return is_alive(claim.process)
        # A runner died between taking the run and the job's first word; the job may be about to speak.
        return time.time() - claim.claimed < _FIRST_WORD_WITHIN

    def _press(self, claim: Claim) -> None:
        """Give weight to a cancellation that the job does not follow by itself."""
        child = self._children.get((claim.run_id, claim.attempt))
        process = identity_of(child.pid) if child is not None else claim.process
        if claim.cancel_requested is None or process is None:
            return
        waited = time.time() - claim.cancel_requested
        if waited > _KILL_AFTER:
            _say(f"run {claim.run_id} is ended by force")
            kill_tree(process)
        elif waited > _ASK_AFTER:
            ask_to_end(process)

    def _settle(self, claim: Claim, code: int | None) -> None:
        """Decide what becomes of a run whose job is no more."""
        if claim.process is not None:
            kill_orphans(claim.process)
        folder = self._home.run(claim.run_id)
        word = _last_word(folder.last_word, claim.attempt)
        if word is None and claim.cancel_requested is not None:
            word = LastWord(claim.attempt, State.CANCELLED, Message("The run was cancelled."))
        # From the beginning only once: what dies there may well need more memory than there is.
        least = 1 if folder.has_checkpoint() else RETRIES
        if word is None and self._queue.requeue(claim.run_id, claim.attempt, least=least):
            _say(f"run {claim.run_id} died (exit code {code}) and is queued again")
            return
        if word is None:
            word = LastWord(claim.attempt, State.FAILED, _death(claim, code, str(folder.log)))
        _say(f"run {claim.run_id} attempt {claim.attempt} is {word.state.value} (exit code {code})")
        self._queue.finish(claim.run_id, word)


def _last_word(path: Path, attempt: int) -> LastWord | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        word = LastWord.from_text(path.read_text(encoding="utf-8"))
        return word if word.attempt == attempt else None
    return None


def _death(claim: Claim, code: int | None, log: str) -> Message:
    values: dict[str, object] = {"attempts": claim.attempt, "log": log}
    if code is None:
        return Message(
            "The run ended before its result was written, in attempt {attempts}: it was killed, ran out of memory, or "
            "the machine was switched off. Free some memory or choose a smaller model, then start it again. Log: {log}",
            values,
        )
    if code > 0 and code - 128 not in (signal.SIGTERM, 9):
        return Message(FAULT, {"log": log})
    return Message(
        "The run was ended from outside before its result was written, in attempt {attempts} (exit code {code}): it "
        "was killed or ran out of memory. Free some memory or choose a smaller model, then start it again. Log: {log}",
        {**values, "code": code},
    )


def serve(home: Home, idle_seconds: float | None = None, on_decided: Callable[[], object] = lambda: None) -> bool:
    """Work off the queue until it has been idle for that long; None means for ever.

    ``on_decided`` is called each time it is known whether this runner holds the queue.

    Returns:
        False if another runner of this home lives.
    """
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
                _serve_locked(home, idle_seconds)
        finally:
            lock.release()
        # A run queued while the lock was still held saw a living runner and started none. So look once more.
        if not home.still_there() or not RunQueue(home).has_queued():
            return True


def _serve_locked(home: Home, idle_seconds: float | None) -> None:
    _say("holds the queue")
    with suppress(OSError):
        _write_identity(home)
    runner = Runner(home)
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
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    chosen = parser.parse_args(arguments)
    home = home_at(chosen.home)
    detached = chosen.detach and os.name == "posix"
    on_decided = _leave_a_copy() if detached else lambda: None
    if chosen.detach:
        guard_output()
        if home.runner_log.exists() and home.runner_log.stat().st_size > _LONGEST_LOG:
            os.truncate(home.runner_log, 0)
    return 0 if serve(home, chosen.idle, on_decided) else 3


if __name__ == "__main__":
    raise SystemExit(main())
