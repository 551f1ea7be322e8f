"""The job: does the work of one run in a process of its own and says how it ended.

``python -m jebm_core.runs.job RUN_ID`` is all that anybody who launches jobs has to know: ``JEBM_HOME`` and
``JEBM_DATABASE`` say where the store is. Where torchrun starts several processes of it, the first is the job, and the
others train with it (see ``together``).

The last word goes to ``exit.json`` and to the store; the file counts if nobody was watching or the store was full. A
job ended from outside leaves no word, and the runner decides what becomes of the run.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, cast

from jebm_core.errors import Cancelled, ProcessError, SpecError, TrainingStopped, UserError
from jebm_core.ranks import end_with_parent, launched
from jebm_core.runs.context import JobContext, Work
from jebm_core.runs.database import FAULTS
from jebm_core.runs.history import artifacts_in
from jebm_core.runs.home import Home, default_home, home_at, write_json
from jebm_core.runs.identity import identity_of, kill_children
from jebm_core.runs.mirror import start_mirror
from jebm_core.runs.queue import LastWord, RunQueue
from jebm_core.runs.records import DRIFT, FAULT, FIT, LEARNING_CURVE, RECALIBRATE, SWEEP, Message, RunSpec, State
from jebm_core.runs.streams import guard_output

if TYPE_CHECKING:
    from jebm_core.runs.together import Together

RESULTS = ("model", "evaluation.json", "study.json")
"""What a run brings, inside its folder."""
_PATIENCE = 60.0  # seconds that the last word waits for room on the disk
_WORK = {
    FIT: "jebm_core.runs.work:fit_and_evaluate",
    RECALIBRATE: "jebm_core.runs.recalibrating:recalibrate_run",
    LEARNING_CURVE: "jebm_core.runs.studying:learning_curve_of_run",
    DRIFT: "jebm_core.runs.studying:drift_of_run",
    SWEEP: "jebm_core.runs.sweeping:sweep_of_run",
}
_TRIAL = "jebm_core.runs.sweeping:trial_of_sweep"  # a fit that is about a sweep
_SUPERSEDED = 3
_LEFT_ALONE = 4
_TERMINATED = 128 + signal.SIGTERM


def find_work(spec: RunSpec) -> Work:
    """The function that does the work of this kind.

    Raises:
        SpecError: if there is none. A dotted path is taken only where ``JEBM_TEST_WORK`` is set: a run's description
            must not be able to name code.
    """
    known = _TRIAL if spec.kind_of_work == FIT and spec.parent else _WORK.get(spec.kind_of_work)
    module, colon, name = (known or spec.kind_of_work).partition(":")
    if known is None and not (colon and os.environ.get("JEBM_TEST_WORK")):
        raise SpecError(
            "Expected a kind of work among {known}; found {kind!r}. Start the run again from the training page.",
            known=", ".join(_WORK),
            kind=spec.kind_of_work,
        )
    return cast(Work, getattr(importlib.import_module(module), name))


def run_job(home: Home, run_id: str, attempt: int | None = None) -> int:
    """Do one attempt at a run. Returns the exit code: 0 if its last word is written, whatever the word is."""
    place = launched()
    if place is None:
        return _lead(home, run_id, attempt, None)
    from jebm_core.runs.together import Together

    together = Together(place)
    if place.number:
        _follow(home, run_id, together)
    try:
        return _lead(home, run_id, attempt, together)
    finally:
        together.end()


def _lead(home: Home, run_id: str, attempt: int | None, together: "Together | None") -> int:
    queue = RunQueue(home)
    with queue.held_open():
        if attempt is None:
            claim = queue.watched(run_id)
            attempt = 0 if claim is None else claim.attempt  # there is no attempt 0: it is not wanted
        return _run_attempt(home, queue, run_id, attempt, together)


def _follow(home: Home, run_id: str, together: "Together") -> NoReturn:
    """Take part in what the first process leads."""
    from jebm_core.runs.together import says_nothing_new

    together.leave_at_the_end()
    spec = together.hear()
    context = JobContext(home, None, run_id, 0, spec)
    try:
        context.group = together.join(spec)
        find_work(spec)(context)
    except Exception as error:  # noqa: BLE001  the first process says why, or was told so by its own error
        if not says_nothing_new(error):
            _say(f"process {together.place.number}: {type(error).__name__}")
            traceback.print_exc()
            together.fail(sentence_of(error, str(context.folder.log)), context.group)
    together.wait()


def _run_attempt(home: Home, queue: RunQueue, run_id: str, attempt: int, together: "Together | None") -> int:
    process = identity_of(os.getpid())
    spec = None if process is None else queue.begin(run_id, attempt, process)
    if spec is None:
        _say(f"attempt {attempt} is no longer wanted")
        return _SUPERSEDED
    _say(f"attempt {attempt} begins")
    context = JobContext(home, queue, run_id, attempt, spec)
    signal.signal(signal.SIGTERM, _leave)
    word = LastWord(attempt, State.CANCELLED, Message("The run was cancelled."))
    try:
        if together is not None:
            together.tell(spec)
            context.group = together.join(spec)
        reason = find_work(spec)(context)
        word = LastWord(attempt, State.SUCCEEDED, stop_reason=None if reason is None else Message(reason))
    except (Cancelled, SystemExit) as error:
        context.cancelled = context.cancelled or _cancelled_in_store(queue, run_id, attempt)
        if not context.cancelled:
            # Asked to leave by the system or replaced by another attempt: the run itself is not over.
            _say(f"attempt {attempt} leaves without a word ({type(error).__name__})")
            context.close()
            return _SUPERSEDED if context.superseded else _TERMINATED
    except Exception as error:  # noqa: BLE001  a job always says how it ended
        traceback.print_exc()
        said = (
            sentence_of(error, str(context.folder.log))
            if together is None
            else _said_together(error, context, together)
        )
        if said is None:
            # It was killed: like a job of one process that was killed, the run goes on from its last checkpoint.
            _say(f"attempt {attempt} leaves without a word: another of its processes has gone")
            return _LEFT_ALONE
        word = LastWord(attempt, State.FAILED, said)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it is quick, and the word is worth more
    _say(f"attempt {attempt} {word.state.value}: {word.message or word.stop_reason or ''}")
    context.close()
    return 0 if _write_last_word(context, queue, run_id, word) else 1


def _said_together(error: Exception, context: JobContext, together: "Together") -> Message | None:
    """What to say of an error where several processes do the work; None if one of the others went without a word."""
    from jebm_core.runs.together import is_lost

    return together.failure() if is_lost(error) else sentence_of(error, str(context.folder.log))


def sentence_of(error: Exception, log: str) -> Message:
    """What a person is told about an error: its own sentence if it was raised on purpose."""
    if isinstance(error, UserError | TrainingStopped):
        return Message.of(error)
    if isinstance(error, ProcessError):
        return Message(error.template, error.values)
    # torch is not imported here, hence by name and by text.
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError") or "t allocate memory" in str(error):
        return Message(
            "The run needed more memory than the machine has. Choose a smaller model, fewer samples or a smaller "
            "batch, then start it again. Log: {log}",
            {"log": log},
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Message(
            "The disk that holds the run is full. Free some space, then start the run again: it goes on from its last "
            "checkpoint. Log: {log}",
            {"log": log},
        )
    return Message(FAULT, {"log": log})


def _cancelled_in_store(queue: RunQueue, run_id: str, attempt: int) -> bool:
    with suppress(*FAULTS):
        claim = queue.watched(run_id)
        return claim is not None and claim.attempt == attempt and claim.cancel_requested is not None
    return False


def _write_last_word(context: JobContext, queue: RunQueue, run_id: str, word: LastWord) -> bool:
    deadline = time.monotonic() + _PATIENCE
    filed = stored = False
    brought = artifacts_in(context.folder.folder, RESULTS) if word.state is State.SUCCEEDED else ()
    while True:
        if not filed:
            with suppress(OSError):
                write_json(context.folder.last_word, word.to_json())
                filed = True
        if not stored and context.flush():
            with suppress(*FAULTS):
                queue.finish(run_id, word, brought)
                stored = True
        if (filed and stored) or time.monotonic() > deadline:
            return filed or stored
        time.sleep(0.5)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)


def _write_to(log: Path) -> None:
    """Let the log be this process's output: what a cluster does with outputs is its own affair."""
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} job {os.getpid()} {text}", flush=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """The command line of a job."""
    parser = argparse.ArgumentParser(prog="jebm_core.runs.job", description="Do the work of one run.")
    parser.add_argument("run_id")
    parser.add_argument("--attempt", type=int, help="the attempt that this job is; the one that is claimed otherwise")
    parser.add_argument("--home", type=Path, help="the home folder; JEBM_HOME otherwise")
    parser.add_argument("--to-log", action="store_true", help="write to the run's log and not to the standard output")
    chosen = parser.parse_args(arguments)
    if launched() is not None:
        end_with_parent()
    home = default_home() if chosen.home is None else home_at(chosen.home)
    if chosen.to_log:
        _write_to(home.run(chosen.run_id).log)
    guard_output()
    code = run_job(home, chosen.run_id, chosen.attempt)
    kill_children()
    if code == 0:
        start_mirror(home, chosen.run_id)
    # All is said and written. A library's thread or exit handler must not keep the process, and with it a device.
    os._exit(code)


if __name__ == "__main__":
    main()
