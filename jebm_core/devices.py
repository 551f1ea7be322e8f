"""Where numbers are computed, and constants that follow them there."""

from functools import lru_cache

import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.errors import SpecError


@lru_cache(maxsize=1024)
def integers_on(values: tuple[int, ...], device: torch.device) -> Int64[Tensor, " value"]:
    """These integers as a tensor that is never written to, copied to a device once: a copy in every step would make
    the host wait for the device each time."""
    return torch.tensor(values, dtype=torch.int64, device=device)


def device_named(name: str) -> torch.device:
    """``cpu``, ``cuda`` or ``auto``: a GPU where there is one.

    Raises:
        SpecError: ``cuda`` on a machine without one.

    >>> device_named("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpecError("Setting device: expected a CUDA GPU, found none on this machine; choose cpu or auto.")
    return torch.device(name)
