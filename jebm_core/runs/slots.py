"""What jobs compute on: one slot a GPU, or one slot for a machine without."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

CPU = "cpu"
_CUDA = "cuda:"


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
    return tuple(f"{_CUDA}{name}" for name in valid if name) or (CPU,)


def needed(processes: int, slots: Sequence[str]) -> int:
    """How many slots a run takes whose work is for several processes: a GPU each, where there are so many.

    With fewer GPUs fewer processes do the same, to the same numbers; on CPUs they share the one slot.

    >>> needed(2, ["cuda:0", "cuda:1", "cuda:2"]), needed(2, ["cuda:0"]), needed(2, ["cpu"])
    (2, 1, 1)
    """
    return min(processes, len(slots)) if slots and slots[0].startswith(_CUDA) else 1


def environment_of(slot: str | None) -> dict[str, str]:
    """What a job on a slot, or on several, finds in its environment: its GPUs alone; nothing else without one.

    >>> environment_of("cuda:0,cuda:2"), environment_of("cpu"), environment_of("ray:1")
    ({'CUDA_VISIBLE_DEVICES': '0,2'}, {}, {})
    """
    devices = [name.removeprefix(_CUDA) for name in (slot or "").split(",") if name.startswith(_CUDA)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(devices)} if devices else {}


def _known_to_the_driver() -> list[str]:
    with suppress(OSError, subprocess.SubprocessError):
        line = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        found = subprocess.run(line, capture_output=True, text=True, timeout=10, check=True)
        return [name.strip() for name in found.stdout.splitlines()]
    return []
