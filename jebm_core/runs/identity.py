"""Which process, and which code, is meant: a number alone is not enough, since numbers are used again.

A process is its pid, the moment it started and the boot of the machine. All three are compared before a process is
taken for a job, so that neither a reused pid nor a restart of the machine is mistaken for one.
"""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

import psutil


@final
@dataclass(frozen=True)
class ProcessIdentity:
    """A process of this machine that can't be confused with a later one."""

    pid: int
    started: str
    boot: str


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version of jebm that runs here."""
    try:
        return version("jebm")
    except PackageNotFoundError:
        return "not installed"


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None if there is none, or only its entry is left (a zombie).

    >>> identity_of(os.getpid()) == identity_of(os.getpid()) != None
    True
    """
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return ProcessIdentity(pid, _started(process), boot_id())
    return None


def _started(process: psutil.Process) -> str:
    if sys.platform == "linux":
        # Clock ticks since boot: unlike a date they do not move when the clock is set.
        with suppress(OSError):
            return Path(f"/proc/{process.pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return f"{process.create_time():.3f}"


def boot_id() -> str:
    """A text that changes whenever the machine starts anew."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{psutil.boot_time():.0f}"


def is_alive(identity: ProcessIdentity) -> bool:
    """True if exactly this process still runs."""
    return identity_of(identity.pid) == identity


def ask_to_end(identity: ProcessIdentity) -> None:
    """Send SIGTERM to this process, and to no other that may have taken its number."""
    if is_alive(identity):
        with suppress(psutil.Error):
            psutil.Process(identity.pid).terminate()


def kill_tree(identity: ProcessIdentity) -> None:
    """End the process and everything it started, at once and without asking."""
    if is_alive(identity):
        with suppress(psutil.Error):
            process = psutil.Process(identity.pid)
            for child in [*process.children(recursive=True), process]:
                with suppress(psutil.Error):
                    child.kill()
    kill_orphans(identity)


def kill_children() -> None:
    """End everything this process started, such as the waiting workers of a parallel library."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def kill_orphans(identity: ProcessIdentity) -> None:
    """End what a dead job left behind: workers of a parallel library outlive a job that was killed.

    The job led its own process group. The kernel gives its number to nobody while a member lives, so with the leader
    gone the members are the job's own.
    """
    if os.name != "posix" or identity.boot != boot_id() or identity.pid in (os.getpid(), os.getpgrp()):
        return
    now = identity_of(identity.pid)
    if now is None or now == identity:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(identity.pid, signal.SIGKILL)
