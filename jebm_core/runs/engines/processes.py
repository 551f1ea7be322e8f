"""Jobs as processes of this machine, each in a session of its own; the usual engine."""

import subprocess
from contextlib import suppress
from typing import final

import psutil

from jebm_core.runs.engines.commands import MARK, additions, line_of
from jebm_core.runs.home import Home
from jebm_core.runs.identity import ProcessIdentity, ask_to_end, identity_of, is_alive, kill_tree
from jebm_core.runs.launch import spawn
from jebm_core.runs.queue import Claim
from jebm_core.runs.slots import slots


@final
class Processes:
    """Starts jobs here. A handle is a process and the run that it works on: ``pid start boot run``."""

    pause = 0.0

    def __init__(self, home: Home) -> None:
        self._home = home
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.slots = slots()

    def launch(self, claim: Claim) -> str:
        """Start a job in a session of its own, on its slots, its output in the run's log.

        Raises:
            OSError: if the process or its log can't be made.
        """
        folder = self._home.run(claim.run_id)
        folder.folder.mkdir(parents=True, exist_ok=True)
        with folder.log.open("ab") as log:
            child = spawn(self._home, line_of(self._home, claim), log.fileno(), additions(claim))
        handle = handle_of(child.pid, claim.run_id)
        self._children[handle] = child
        return handle

    def alive(self, handle: str) -> bool | None:
        """Whether exactly this process runs."""
        child = self._children.get(handle)
        return is_alive(identity_in(handle)) if child is None else child.poll() is None

    def kill(self, handle: str, *, force: bool = False) -> None:
        """SIGTERM to the process; or SIGKILL to it, to what it started, and to processes of the job that lost it."""
        if not force:
            ask_to_end(identity_in(handle))
            return
        kill_tree(identity_in(handle))
        kill_strays(handle.split()[-1])

    def code(self, handle: str) -> int | None:
        """Of a child."""
        child = self._children.pop(handle, None)
        return None if child is None else child.poll()


def handle_of(pid: int, run_id: str) -> str:
    """The handle of a process that was just started."""
    found = identity_of(pid) or ProcessIdentity(pid, "0", "0")  # it has ended already: nothing is like it
    return f"{found.pid} {found.started} {found.boot} {run_id}"


def identity_in(handle: str) -> ProcessIdentity:
    """The process that a handle names."""
    pid, started, boot, _ = handle.split()
    return ProcessIdentity(int(pid), started, boot)


def kill_strays(run_id: str) -> None:
    """End what a run's job left behind and nobody else knows of: what processes had started that were killed
    themselves, and those that torchrun was just starting when it was killed, before they could ask to end with it.

    All of them have the run's name in the environment that they were started with.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == run_id:
                process.kill()
