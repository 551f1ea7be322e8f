"""What the processes of `test_distributed` do: ``torchrun -m tests.distributed_worker WHAT FOLDER``."""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from jebm_core import fitting, ranks
from jebm_core.cli import main
from jebm_core.distributed import Group, join
from jebm_core.errors import Cancelled, ProcessError
from jebm_core.model import JointModel
from jebm_core.progress import Progress
from jebm_core.proposals import AnchoredProposal
from jebm_core.reference_recipes import anchors_of
from jebm_core.settings import FitSettings
from jebm_core.steps import Plan, Rows
from jebm_core.tables import guess_roles, read_examples, read_table
from jebm_core.training import EpochInfo, Trainer
from tests.test_training import SPACE, make, shape, some_rows

UNEQUAL = Plan(epochs=5, batch_size=30, samples=8, learning_rate=3e-3)  # 95 rows: neither batches nor parts are equal


def trainer(group: Group) -> Trainer:
    rows = some_rows(SPACE, 95)
    proposal = AnchoredProposal(SPACE, anchors_of(rows.y, most=8))
    how: dict[str, Any] = {"seed": 3, "clock": time.monotonic, "group": group}
    return Trainer(make(shape(), rows), rows, some_rows(SPACE, 33, seed=50), [proposal], UNEQUAL, **how)


def numbers(model: JointModel) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def curve(group: Group, folder: Path) -> dict[str, Any]:
    """A run of the loop alone, with dropout."""
    history: list[EpochInfo] = []
    t = trainer(group)
    t.run(on_epoch=history.append)
    if group.is_first:
        save_file(numbers(t.model), folder / "trained.safetensors")
    return {"curve": [(info.objective, *info.held_out) for info in history]}


def fits(group: Group, folder: Path) -> dict[str, Any]:
    """A whole fit, and the same one cancelled by the last process alone and taken up again."""
    fitting.refine_log_partition = partial(fitting.refine_log_partition, contexts=512, steps=100)  # for time
    settings = FitSettings(epochs=6, reference="marginals", log_partition="corrected", device="cpu", samples=8)
    table = read_table(folder / "table.csv")
    examples = read_examples(table, guess_roles(table))
    seen: list[Progress] = []
    whole = fitting.fit(examples, settings, group=group, on_progress=seen.append)
    stop_after: list[Progress] = []

    def should_stop() -> bool:
        done = [p for p in stop_after if p.stage == "training"]
        return group.rank == group.size - 1 and len(done) >= 2

    how: dict[str, Any] = {"group": group, "checkpoint": folder / "checkpoints"}
    try:
        fitting.fit(examples, settings, on_progress=stop_after.append, should_stop=should_stop, **how)
        cancelled = False
    except Cancelled:
        cancelled = True
    epochs: list[Progress] = []
    again = fitting.fit(examples, settings, on_progress=epochs.append, **how)
    if group.is_first:
        save_file(numbers(whole.model.model), folder / "whole.safetensors")
        save_file(numbers(again.model.model), folder / "again.safetensors")
    return {
        "cancelled": cancelled,
        "first_epoch_again": min(p.epoch for p in epochs if p.stage == "training"),
        "interval": whole.model.record.interval,
        "figures": [(p.objective, p.held_out_objective, p.held_out_nll) for p in seen if p.stage == "training"],
    }


def poisoned(group: Group) -> dict[str, Any]:
    """A number that is not finite, in a part of the last process: all leave the step out."""
    t = trainer(group)
    batch = t.train.rows(slice(0, 32))
    x = batch.context.x.clone()
    x[-1] = torch.nan  # part 7
    before = numbers(t.model)
    info = t.step(Rows(batch.context._replace(x=x), batch.y))
    kept = all(torch.equal(value, before[name]) for name, value in t.model.state_dict().items())
    return {"skipped": group.any(info.skipped.item() == 0) is False, "kept": group.any(not kept) is False}


def drift(group: Group) -> dict[str, Any]:
    """One last bit of one weight of the last process."""
    t = trainer(group)
    t.epoch()
    if group.rank == group.size - 1:
        with torch.no_grad():
            weight = next(t.model.affinity.parameters()).view(-1)
            weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf))
    try:
        t.epoch()
    except ProcessError as error:
        return {"drift": str(error)}
    return {"drift": None}


def everything(folder: Path) -> None:
    group = join("cpu")
    found = {**curve(group, folder), **fits(group, folder), **poisoned(group), **drift(group)}
    if group.is_first:
        (folder / "found.json").write_text(json.dumps(found), "utf-8")
    group.leave()
    os._exit(0)  # as `jebm fit` does, whose reason stands there


def silence(folder: Path) -> None:
    """The last process says nothing any more, and is not waited for long."""
    group = join("cpu", patience=timedelta(seconds=3))
    if group.rank:
        time.sleep(60)
    try:
        group.any(False)
    except ProcessError as error:
        (folder / "said.txt").write_text(str(error), "utf-8")
        raise


def broken(arguments: list[str]) -> int:
    """The command line, whose last process runs out of memory in its second epoch."""
    place = ranks.launched()
    assert place is not None
    if place.number == place.size - 1:
        judge: Callable[[Trainer, EpochInfo], Any] = Trainer.judge

        def failing(self: Trainer, info: EpochInfo) -> Any:
            if info.epoch == 2:
                raise MemoryError
            return judge(self, info)

        Trainer.judge = failing
    return main(arguments)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "broken":
        raise SystemExit(broken(rest))
    {"everything": everything, "silence": silence}[what](Path(rest[0]))
