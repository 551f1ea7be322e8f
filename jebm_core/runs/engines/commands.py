"""The command of a job and what it finds in its environment; the same whatever starts it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import jebm_core
from jebm_core.runs.home import Home
from jebm_core.runs.queue import Claim
from jebm_core.runs.slots import environment_of

MARK = "JEBM_RUN"
"""The variable by which processes of a job are found, however they came to lose their parents."""


def processes_for(claim: Claim) -> int:
    """How many processes do the work: those that were asked for, one a GPU where the run holds GPUs."""
    gpus = [slot for slot in (claim.slot or "").split(",") if slot.startswith("cuda:")]
    return min(claim.processes, len(gpus)) if gpus else claim.processes


def line_of(home: Home, claim: Claim, *more: str) -> list[str]:
    """The command that does one attempt at a run: a job, or torchrun with several of them.

    A run for several processes that finds a single GPU is started by torchrun too: its numbers are those of several.
    """
    job = ["-m", "jebm_core.runs.job", claim.run_id, "--attempt", str(claim.attempt), "--home", str(home.folder), *more]
    if claim.processes == 1:
        return [sys.executable, *job]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes_for(claim)}"]
    return [sys.executable, *torchrun, *job]


def additions(claim: Claim | None = None) -> dict[str, str]:
    """What jobs and runners find in their environment beside what is there already."""
    # Spinning OpenMP threads make a job ten times slower where anything else uses the cores; waiting ones cost nothing.
    added = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}
    package = Path(str(jebm_core.__path__[0])).resolve().parent
    if package.name not in ("site-packages", "dist-packages"):  # a copy that is not installed is found from any folder
        others = os.environ.get("PYTHONPATH")
        added["PYTHONPATH"] = str(package) if not others else f"{package}{os.pathsep}{others}"
    if claim is not None:
        added[MARK] = claim.run_id
        if claim.processes > 1:
            # torchrun would leave one thread to each; what the first process does alone would be slow.
            threads = max(1, (os.cpu_count() or 1) // processes_for(claim))
            added["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
        added |= environment_of(claim.slot)
    return added


def environment(home: Home, more: Mapping[str, str]) -> dict[str, str]:
    """This environment with the home's database and more."""
    found = dict(os.environ)
    found.pop("JEBM_DATABASE", None)
    if home.url is not None:
        found["JEBM_DATABASE"] = home.url  # not among the arguments, which every process can read
    return {**found, **more}
