"""What starts jobs: processes of this machine, a Ray cluster, or a Slurm cluster. Thin adapters, one interface.

An engine starts ``python -m jebm_core.runs.job RUN_ID`` and says whether it still runs; nothing else of it is used.
State, reports, cancellation and the last word go through the run store, whatever started the job. What an engine knows
a job by, its handle, is kept with the run, so that another runner can go on watching it.

``JEBM_ENGINE`` chooses one: ``processes`` (the usual), ``ray``, ``slurm``, or ``slurm-local``, which is submitit's own
stand-in for a cluster on this machine.
"""

import os
from importlib.util import find_spec
from typing import Protocol, final, runtime_checkable

from jebm_core.errors import SpecError
from jebm_core.runs.home import Home
from jebm_core.runs.queue import Claim

PROCESSES, RAY, SLURM, SLURM_LOCAL = "processes", "ray", "slurm", "slurm-local"
ENGINES = (PROCESSES, RAY, SLURM, SLURM_LOCAL)
_PACKAGES = {RAY: ("ray", "ray"), SLURM: ("submitit", "slurm"), SLURM_LOCAL: ("submitit", "slurm")}
"""What an engine needs: a package, and the extra of jebm that brings it."""


@runtime_checkable
class Engine(Protocol):
    """Starts jobs.

    Attributes:
        pause: seconds between two questions after one job; a cluster is not asked four times a second.
    """

    pause: float

    @property
    def slots(self) -> tuple[str, ...]:
        """What jobs are started on: one at a time on each."""
        ...

    def launch(self, claim: Claim) -> str:
        """Start the job of a claimed run; return its handle.

        Raises:
            UserError: the cluster can't be used.
            OSError: this machine can't start it.
        """
        ...

    def alive(self, handle: str) -> bool | None:
        """Whether a job waits or runs; None if there is nobody who knows, and its signs of life must tell."""
        ...

    def kill(self, handle: str, *, force: bool = False) -> None:
        """Ask a job to end; with ``force`` end it and all that it left behind. One that has ended is no error."""
        ...

    def code(self, handle: str) -> int | None:
        """The exit code of a job that has ended, once; None where nobody knows."""
        ...


def chosen_engine() -> str:
    """The engine that ``JEBM_ENGINE`` names."""
    return os.environ.get("JEBM_ENGINE") or PROCESSES


def require_engine(name: str) -> None:
    """See that an engine is known and its package there. Imports nothing.

    Raises:
        SpecError: it is not.

    >>> require_engine("processes")
    """
    if name not in ENGINES:
        raise SpecError(
            "JEBM_ENGINE: expected one of {known}, found {found!r}; choose one of these.",
            known=", ".join(ENGINES),
            found=name,
        )
    package, extra = _PACKAGES.get(name, ("", ""))
    if package and find_spec(package) is None:
        raise SpecError(
            "The engine {engine} needs the Python package {package}, which is not installed. "
            "Install it by: pip install 'jebm[{extra}]'.",
            engine=name,
            package=package,
            extra=extra,
        )


def engine_named(name: str, home: Home) -> Engine:
    """The engine of a name; empty is the usual one.

    Raises:
        SpecError: there is none of that name, or its package is missing.
    """
    name = name or PROCESSES
    require_engine(name)
    if name == RAY:
        from jebm_core.runs.engines.ray_jobs import RayJobs

        return RayJobs(home)
    if name in (SLURM, SLURM_LOCAL):
        from jebm_core.runs.engines.slurm import SlurmJobs

        return SlurmJobs(home, local=name == SLURM_LOCAL)
    from jebm_core.runs.engines.processes import Processes

    return Processes(home)


def engine_or_none(name: str, home: Home) -> Engine:
    """The engine of a name, or where this machine can't speak with it one that knows nothing."""
    try:
        return engine_named(name, home)
    except SpecError:
        return _Unknown()


@final
class _Unknown:
    """Starts nothing; of its jobs only signs of life tell."""

    pause = 0.0
    slots: tuple[str, ...] = ()

    def launch(self, claim: Claim) -> str:
        raise NotImplementedError

    def alive(self, handle: str) -> bool | None:
        return None

    def kill(self, handle: str, *, force: bool = False) -> None:
        return None

    def code(self, handle: str) -> int | None:
        return None


def places(engine: str) -> tuple[str, ...]:
    """The slots of a cluster: as many as ``JEBM_SLOTS`` says, 1 otherwise.

    Raises:
        SpecError: it is no number of slots.
    """
    text = os.environ.get("JEBM_SLOTS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise SpecError(
            "JEBM_SLOTS: expected how many jobs a cluster is given at a time, 1 to 10000; found {found!r}.", found=text
        )
    return tuple(f"{engine}:{number}" for number in range(1, int(text) + 1))
