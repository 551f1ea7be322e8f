"""A small real worker for the tests of runs: counts steps, keeps a checkpoint, obeys the callbacks of a fit.

The run's settings say how it behaves:
``steps``, ``pause`` (seconds a step), ``die_at`` (the first attempt kills itself after that step),
``die_always_at`` (every attempt does),
``deaf`` (never asks should_stop and ignores SIGTERM), ``error`` ("user" | "stopped" | "fault" | "memory"),
``child`` (starts a sleeping child process), ``checkpoints`` (bool), ``fail_on`` (the process of that number fails in
its second step).

Where several processes do the work, what each step reports is a sum over all of them, and only the first reports.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from jebm_core.errors import Cancelled, SpecError, TrainingStopped
from jebm_core.runs.context import JobContext
from jebm_core.runs.home import write_json


@dataclass(frozen=True)
class Step:
    stage: str
    epoch: int
    epochs: int
    objective: float
    seconds_left: float | None
    attempt_pid: int


def summed(context: JobContext, value: float) -> float:
    """The value, if each process brings its share."""
    if context.group is None:
        return value
    import torch

    shares = torch.zeros(context.group.size, dtype=torch.float64)
    shares[context.group.rank] = value / context.group.size
    context.group.sum_(shares)
    return shares.sum().item()


def agreed(context: JobContext, flag: bool) -> bool:
    return flag if context.group is None else context.group.any(flag)


def work(context: JobContext) -> str:
    settings = dict(context.spec.settings)
    steps, pause = int(str(settings.get("steps", 3))), float(str(settings.get("pause", 0.02)))
    kept = context.folder.checkpoint / "step.json"
    first = json.loads(kept.read_text())["next"] if kept.exists() else 0
    print(f"worker starts at step {first} with devices {os.environ.get('CUDA_VISIBLE_DEVICES')}")
    assert context.data.read_bytes()
    if settings.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if settings.get("child"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", str(context.folder.folder)])
        print(f"child {child.pid}")
    for step in range(first, steps):
        if not settings.get("deaf") and agreed(context, context.should_stop()):
            raise Cancelled("stopped between two steps")
        if context.group is not None and settings.get("fail_on") == context.group.rank and step == first + 1:
            raise SpecError("Process {number} expected more.", number=context.group.rank)
        objective = summed(context, 1.0 / (1 + step))
        context.on_progress(Step("training", step, steps, objective, (steps - step) * pause, os.getpid()))
        if not context.is_first:
            continue
        if settings.get("checkpoints", True) and step != settings.get("die_always_at"):
            with suppress(OSError):  # a full disk: the last one stays
                write_json(kept, {"next": step + 1})
        if settings.get("die_at") == step and first == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if settings.get("die_always_at") == step:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(pause)
    if not context.is_first:
        return "Nobody hears this."
    match settings.get("error"):
        case "user":
            raise SpecError("Expected {expected} slots; found {found}. Add one.", expected=3, found=2)
        case "stopped":
            raise TrainingStopped("The samples were worth too little {here}. Choose another proposal.")
        case "memory":
            raise MemoryError
        case "fault":
            raise ZeroDivisionError("a secret detail")
    write_json(context.folder.evaluation, {"steps": steps})
    return "All steps were done."


def tight(context: JobContext) -> str | None:
    """A real fit on a device that is said to hold as many rows a step as the run's title says."""
    import torch

    from jebm_core.runs.work import fit_and_evaluate
    from jebm_core.training import Trainer

    step, most = Trainer.step, int(context.spec.title)

    def limited(trainer: Trainer, batch: Any, number: int = 0) -> Any:
        if trainer.state.epoch == 1 and len(batch.y) > most:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(batch.y)} rows, there is room for {most}.")
        return step(trainer, batch, number)

    Trainer.step = limited
    return fit_and_evaluate(context)
