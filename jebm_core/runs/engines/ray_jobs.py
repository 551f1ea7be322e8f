"""Jobs on a Ray cluster, through its Jobs API: submit, status, stop.

``RAY_ADDRESS`` says where the dashboard of the cluster is, as for every client of it. Ray gives up a job that has
waited fifteen minutes for its resources, so the queue of runs holds jobs back: ``JEBM_SLOTS`` at a time are submitted.
"""

import os
import shlex
from pathlib import Path
from typing import Any, final

from sqlalchemy.engine import make_url

from jebm_core.errors import UserError
from jebm_core.runs.engines import RAY, places
from jebm_core.runs.engines.commands import additions, line_of
from jebm_core.runs.home import Home
from jebm_core.runs.queue import Claim

_TOKEN = Path("~/.ray/auth_token")


@final
class RayJobs:
    """Starts jobs on a Ray cluster. A handle is the submission's name."""

    pause = 2.0

    def __init__(self, home: Home) -> None:
        self._home = home
        self._made: Any = None
        self.slots = places(RAY)

    def launch(self, claim: Claim) -> str:
        """Submit a job; it asks for a CPU for each of its processes, and for as many GPUs where its device is a GPU.

        Raises:
            UserError: the cluster can't be reached or refuses the job.
        """
        gpus = claim.processes if claim.device == "cuda" else None
        try:
            return self._client().submit_job(
                entrypoint=shlex.join(line_of(self._home, claim, "--to-log")),
                submission_id=f"jebm-{claim.run_id}-{claim.attempt}",
                runtime_env={"env_vars": additions(claim) | _ours(self._home)},
                entrypoint_num_cpus=claim.processes,
                entrypoint_num_gpus=gpus,
            )
        except _faults() as error:
            raise UserError(
                "The run could not be given to the Ray cluster: {reason}. See that RAY_ADDRESS names its dashboard, "
                "such as http://127.0.0.1:8265, and that it runs; then start the run again.",
                reason=" ".join(str(error).split()).rstrip(".?!"),
            ) from error

    def alive(self, handle: str) -> bool | None:
        """What the cluster says; None where it can't be reached or has lost its list of jobs."""
        try:
            return not self._client().get_job_status(handle).is_terminal()
        except _faults():
            self._made = None
            return None

    def kill(self, handle: str, *, force: bool = False) -> None:
        """Stop the job: Ray sends SIGTERM, and SIGKILL three seconds later."""
        try:
            self._client().stop_job(handle)
        except _faults():
            self._made = None

    def code(self, handle: str) -> int | None:
        """Unknown."""
        return None

    def _client(self) -> Any:
        if self._made is None:
            if _TOKEN.expanduser().exists():  # clusters that this person starts ask for it then, clients don't send it
                os.environ.setdefault("RAY_AUTH_MODE", "token")
            from ray.job_submission import JobSubmissionClient

            self._made = JobSubmissionClient()
        return self._made


def _faults() -> tuple[type[Exception], ...]:
    """What a client raises that finds no cluster, is not let in, or asks for a job that is not known."""
    from ray.exceptions import RayError

    return OSError, RuntimeError, ValueError, RayError


def _ours(home: Home) -> dict[str, str]:
    """The variables of jebm. Ray shows them to whoever may see its dashboard: a URL with a password stays here, and
    must be set where the cluster's nodes are started."""
    found = {name: value for name, value in os.environ.items() if name.startswith("JEBM_")}
    found.pop("JEBM_DATABASE", None)
    if home.url is not None and make_url(home.url).password is None:
        found["JEBM_DATABASE"] = home.url
    return found
