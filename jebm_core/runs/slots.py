"""What jobs compute on: one slot a GPU, or one slot for a machine without."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress

CPU = "cpu"


def slots(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The slots of this machine: ``cuda:NAME`` for each GPU that may be used, else ``cpu``.

    ``CUDA_VISIBLE_DEVICES`` says which may, as everywhere; without it the driver is asked. Nothing here imports torch.

    >>> slots({"CUDA_VISIBLE_DEVICES": "0,2"}), slots({"CUDA_VISIBLE_DEVICES": ""})
    (('cuda:0', 'cuda:2'), ('cpu',))
    """
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    names = _known_to_the_driver() if chosen is None else [name.strip() for name in chosen.split(",")]
    # CUDA itself stops at the first name that is no device.
    valid = names[: names.index("-1")] if "-1" in names else names
    return tuple(f"cuda:{name}" for name in valid if name) or (CPU,)


def environment_of(slot: str | None) -> dict[str, str]:
    """What a job on a slot finds in its environment: its GPU alone; nothing else than before without one."""
    return {"CUDA_VISIBLE_DEVICES": slot.removeprefix("cuda:")} if slot and slot != CPU else {}


def _known_to_the_driver() -> list[str]:
    with suppress(OSError, subprocess.SubprocessError):
        line = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        found = subprocess.run(line, capture_output=True, text=True, timeout=10, check=True)
        return [name.strip() for name in found.stdout.splitlines()]
    return []
