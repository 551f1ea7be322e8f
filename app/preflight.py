"""What a run will take, before it starts: how many combinations there are, on what it runs, and about how long."""

import math
import os
from pathlib import Path

from jebm_core.tables import Outputs

_PER_EPOCH_AND_ROW = 2.5e-4  # seconds on one core of an ordinary machine, both networks
_PER_PART = 0.5  # seconds an item or option: the log-partition and the audit
_FIXED = 15.0
_USUAL_EPOCHS = 60  # after which early stopping usually ends a fit


def log_combinations(outputs: Outputs) -> float:
    """Return the natural logarithm of how many combinations are possible.

    >>> from jebm_core.tables import guess_roles, read_examples, read_table
    >>> table = read_table("t.csv", content=b"y_a,y_b\\n1,0\\n0,1\\n")
    >>> round(math.exp(log_combinations(read_examples(table, guess_roles(table)).outputs)))
    4
    """
    items = len(outputs.names)
    if outputs.kind == "subsets":
        return items * math.log(2)
    if outputs.kind == "rankings":
        return math.lgamma(items + 1)
    return sum(math.log(len(options)) for options in outputs.options)


def expected_seconds(outputs: Outputs, rows: int, epochs: int | None, budget: float | None) -> tuple[float, float]:
    """Return about how long a fit and its evaluation take, as a range; machines differ, so it is a wide one."""
    parts = sum(len(options) for options in outputs.options) or len(outputs.names)
    training = _PER_EPOCH_AND_ROW * rows * min(epochs or _USUAL_EPOCHS, _USUAL_EPOCHS) * math.sqrt(parts)
    middle = _FIXED + (min(training, budget) if budget else training) + _PER_PART * parts
    return middle / 2, middle * 3


def has_gpu() -> bool:
    """Return whether this machine shows an NVIDIA GPU; whether it can be used, the run itself finds out."""
    return Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia").exists()


def cores() -> int:
    """Return how many processor cores this machine has."""
    return os.cpu_count() or 1
