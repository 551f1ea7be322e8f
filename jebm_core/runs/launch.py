"""Starting processes that outlive the page, the server and the terminal they were started from."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout

import jebm_core
from jebm_core.errors import UserError
from jebm_core.runs.home import Home
from jebm_core.runs.queue import Claim
from jebm_core.runs.slots import environment_of

_POSIX = os.name == "posix"


def start_runner(home: Home, idle_seconds: float) -> bool:
    """Start a runner for this home unless one lives. Safe to call from anywhere, at any time, many times at once.

    Who finds the lock free starts a runner; of several runners the lock keeps one and the others end.

    Returns:
        True if a runner was started. Cost: a file lock, or the start of a Python process.

    Raises:
        UserError: if the process can't be started.
    """
    lock = FileLock(home.runner_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    arguments = ["--home", str(home.folder), "--idle", str(idle_seconds), "--detach"]
    try:
        with home.runner_log.open("ab") as log:
            process = _spawn(home, "jebm_core.runs.runner", arguments, log.fileno())
        # On POSIX the runner leaves a copy of itself behind and returns at once, so that it is nobody's child and
        # leaves no zombie in a server that never asks after its children.
        code = process.wait() if _POSIX else 0
        process.returncode = code
    except OSError as error:
        raise _not_started(home, str(error)) from error
    if code:
        raise _not_started(home, f"exit code {code}")
    return True


def start_job(home: Home, claim: Claim) -> "subprocess.Popen[bytes]":
    """Start the job of a claimed run in a session of its own, on its slot, its output in the run's log.

    Raises:
        OSError: if the process or its log can't be made.
    """
    folder = home.run(claim.run_id)
    folder.folder.mkdir(parents=True, exist_ok=True)
    arguments = [claim.run_id, "--attempt", str(claim.attempt), "--home", str(home.folder)]
    with folder.log.open("ab") as log:
        return _spawn(home, "jebm_core.runs.job", arguments, log.fileno(), environment_of(claim.slot))


def _spawn(
    home: Home, module: str, arguments: list[str], output: int, more: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.Popen[bytes]":
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**_environment(home), **more},
        start_new_session=_POSIX,
        creationflags=flags,
    )


def _environment(home: Home) -> dict[str, str]:
    """This environment with the home's database; a copy of jebm that is not installed is found from any folder."""
    environment = dict(os.environ)
    environment.pop("JEBM_DATABASE", None)
    if home.url is not None:
        environment["JEBM_DATABASE"] = home.url  # not among the arguments, which every process can read
    # Spinning OpenMP threads make a job ten times slower where anything else uses the cores; waiting ones cost nothing.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    package = Path(str(jebm_core.__path__[0])).resolve().parent
    if package.name not in ("site-packages", "dist-packages"):
        others = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(package) if not others else f"{package}{os.pathsep}{others}"
    return environment


def _not_started(home: Home, reason: str) -> UserError:
    return UserError(
        "The run is queued, but the process that works off the queue could not be started: {reason}. "
        "See {log}, then reload the page to try again.",
        reason=reason,
        log=str(home.runner_log),
    )
