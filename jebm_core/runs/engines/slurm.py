"""Jobs on a Slurm cluster, through submitit: sbatch, sacct, scancel.

``JEBM_SLURM`` holds what sbatch is to be told besides, as ``partition=gpu time=24:00:00 account=lab``. Cancelled jobs
get Slurm's SIGTERM; those that reach their time limit, or are sent away for others, go on from their last checkpoint.
"""

import os
import subprocess
from contextlib import suppress
from typing import Any, final

from jebm_core.errors import SpecError, UserError
from jebm_core.runs.engines import SLURM, SLURM_LOCAL, places
from jebm_core.runs.engines.commands import additions, line_of
from jebm_core.runs.engines.processes import handle_of, identity_in, kill_strays
from jebm_core.runs.home import Home
from jebm_core.runs.identity import ask_to_end, is_alive, kill_tree
from jebm_core.runs.queue import Claim

_MINUTES = 24 * 60
"""Time limit of a job where ``JEBM_SLURM`` says nothing of ``time``."""


@final
class Command:
    """A command that takes the place of the process which submitit starts: signals of the cluster reach the job itself,
    and nothing is left of submitit that could outlive it."""

    def __init__(self, line: list[str], more: dict[str, str]) -> None:
        self.line, self.more = line, more

    def __call__(self) -> None:
        """Become the command."""
        os.execve(self.line[0], self.line, {**os.environ, **self.more})


@final
class SlurmJobs:
    """Starts jobs on a Slurm cluster. A handle is the number of the job.

    Args:
        local: processes of this machine, started by submitit without a cluster, to try it out.

    Raises:
        SpecError: ``JEBM_SLURM`` is not a list of settings.
    """

    def __init__(self, home: Home, *, local: bool = False) -> None:
        self._home, self._local = home, local
        self.pause = 1.0 if local else 15.0
        self.slots = places(SLURM_LOCAL if local else SLURM)
        self._settings = _settings(os.environ.get("JEBM_SLURM", ""))

    @property
    def _folder(self) -> str:
        return str(self._home.folder / "slurm")

    def launch(self, claim: Claim) -> str:
        """Submit a job; it asks for a CPU for each of its processes, and for as many GPUs where its device is a GPU.

        Raises:
            UserError: the cluster refuses it.
        """
        import submitit

        command = Command(line_of(self._home, claim, "--to-log"), additions(claim))
        try:
            executor = submitit.AutoExecutor(self._folder, cluster="local" if self._local else "slurm")
            executor.update_parameters(
                name=f"jebm-{claim.run_id}",
                timeout_min=_MINUTES,
                nodes=1,
                tasks_per_node=1,
                cpus_per_task=claim.processes,
                gpus_per_node=claim.processes if claim.device == "cuda" else 0,
                slurm_additional_parameters=self._settings,
            )
            number = executor.submit(command).job_id
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            raise UserError(
                "The run could not be given to Slurm: {reason}. See that sbatch works on this machine and takes the "
                "settings of JEBM_SLURM; then start the run again.",
                reason=" ".join(str(error).split()).rstrip(".?!"),
            ) from error
        return handle_of(int(number), claim.run_id) if self._local else number

    def alive(self, handle: str) -> bool | None:
        """What sacct says; None where it does not know the job, or the cluster keeps no accounts."""
        if self._local:
            return is_alive(identity_in(handle))
        watcher = self._job(handle).watcher
        # A job that others pushed aside is in that state for ever where the cluster does not start it again.
        unclear = watcher.get_state(handle, "force") in ("UNKNOWN", "PREEMPTED")
        return None if unclear else not watcher.is_done(handle, "cache")

    def kill(self, handle: str, *, force: bool = False) -> None:
        """Have Slurm end the job: SIGTERM, and SIGKILL after the cluster's KillWait."""
        if not self._local:
            with suppress(OSError):
                subprocess.run(["scancel", handle], capture_output=True, check=False)
        elif force:
            kill_tree(identity_in(handle))
            kill_strays(handle.split()[-1])
        else:
            ask_to_end(identity_in(handle))

    def code(self, handle: str) -> int | None:
        """Unknown."""
        return None

    def _job(self, handle: str) -> Any:
        from submitit.slurm.slurm import SlurmJob

        return SlurmJob(self._folder, handle)


def _settings(text: str) -> dict[str, str]:
    """What sbatch is told besides.

    >>> _settings("partition=gpu time=24:00:00")
    {'partition': 'gpu', 'time': '24:00:00'}
    """
    pairs = [part.partition("=") for part in text.split()]
    if any(not (name and equals and value) for name, equals, value in pairs):
        raise SpecError(
            "JEBM_SLURM: expected settings of sbatch with spaces between them, such as partition=gpu time=24:00:00; "
            "found {found!r}.",
            found=text,
        )
    return {name.removeprefix("--"): value for name, _, value in pairs}
