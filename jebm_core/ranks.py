"""Which of several processes this one is, as torchrun says in the environment, and whom it ends with. No torch here: a
command asks before torch is loaded."""

import ctypes
import os
import signal
import sys
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>


class Rank(NamedTuple):
    """The place of this process among those that torchrun started."""

    number: int
    size: int
    on_host: int


def launched() -> Rank | None:
    """The place that torchrun gave this process; None where somebody else started it.

    >>> launched() is None
    True
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    number, size, on_host = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Rank(number, size, on_host)


def end_with_parent() -> None:
    """Have the system kill this process when the one that started it dies, so that ``kill -9`` of torchrun, which puts
    each process into a session of its own, leaves none behind. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
