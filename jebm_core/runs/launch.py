"""Starting processes that outlive the page, the server and the terminal they were started from."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from filelock import FileLock, Timeout

from jebm_core.errors import UserError
from jebm_core.runs.engines import chosen_engine, require_engine
from jebm_core.runs.engines.commands import additions, environment
from jebm_core.runs.home import Home

_POSIX = os.name == "posix"


def start_runner(home: Home, idle_seconds: float) -> bool:
    """Start a runner for this home unless one lives. Safe to call from anywhere, at any time, many times at once.

    Who finds the lock free starts a runner; of several runners the lock keeps one and the others end.

    Returns:
        True if a runner was started. Cost: a file lock, or the start of a Python process.

    Raises:
        UserError: if the process can't be started, or ``JEBM_ENGINE`` names an engine that is not there.
    """
    require_engine(chosen_engine())
    lock = FileLock(home.runner_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    line = [sys.executable, "-m", "jebm_core.runs.runner", "--home", str(home.folder), "--idle", str(idle_seconds)]
    try:
        with home.runner_log.open("ab") as log:
            process = spawn(home, [*line, "--detach"], log.fileno(), additions())
        # On POSIX the runner leaves a copy of itself behind and returns at once, so that it is nobody's child and
        # leaves no zombie in a server that never asks after its children.
        code = process.wait() if _POSIX else 0
        process.returncode = code
    except OSError as error:
        raise _not_started(home, str(error)) from error
    if code:
        raise _not_started(home, f"exit code {code}")
    return True


def spawn(home: Home, line: Sequence[str], output: int, more: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process in a session of its own, with more in its environment.

    Raises:
        OSError: if it can't be started.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        list(line),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment(home, more),
        start_new_session=_POSIX,
        creationflags=flags,
    )


def _not_started(home: Home, reason: str) -> UserError:
    return UserError(
        "The run is queued, but the process that works off the queue could not be started: {reason}. "
        "See {log}, then reload the page to try again.",
        reason=reason,
        log=str(home.runner_log),
    )
