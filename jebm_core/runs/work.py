"""The work of a run: read, split, fit, save, evaluate. Only a job imports this; torch comes with the call."""

import math
import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jebm_core.errors import TableError
from jebm_core.runs.context import JobContext
from jebm_core.runs.home import write_json
from jebm_core.runs.identity import code_version
from jebm_core.runs.memory import HALVED, with_halved_batches
from jebm_core.runs.records import Message, RunSpec
from jebm_core.splits import split_examples
from jebm_core.tables import Examples, Kind, guess_roles, read_examples, read_table

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.fitting import Fit, FitSettings

MOST_TRAIN_ROWS = 2000  # of the fitted part, to show the gap between seen and unseen rows at a bounded cost


def fit_and_evaluate(context: JobContext) -> str | None:
    """Fit the run's model, save it to ``model/`` and write ``evaluation.json``.

    The file holds ``held_out`` (null if nothing is held out) and ``train`` (of a sample of the fitted rows), each as
    ``evaluate`` gives it, and ``split``, ``notes`` and ``provenance``.

    Raises:
        UserError: if the data or the settings can't be used.
        TrainingStopped: if no usable model came out.
        Cancelled: if the run was asked to stop.
    """
    from jebm_core.fitting import fit
    from jebm_core.replicates import fit_replicates, require_rows_for

    begun = time.time()
    spec, folder = context.spec, context.folder
    settings = settings_of(spec)
    examples = read_data(spec, context.data)
    train, test = split_examples(examples, spec.hold_out_fraction, spec.hold_out_mode, spec.seed)
    require_rows_for(train, settings.replicates)
    more = {**given(context, settings), "on_progress": context.on_progress, "should_stop": context.should_stop}
    if context.group is not None:
        more |= {"group": context.group}

    def fits() -> "tuple[Fit, Sequence[FittedModel]]":
        result = fit(train, settings, checkpoint=folder.checkpoint, **more)
        return result, fit_replicates(train, settings, **more)

    halving = folder.folder / "halved"  # so that a resumed attempt goes on as this one

    def start_again(why: str) -> None:
        shutil.rmtree(folder.checkpoint, ignore_errors=True)
        context.start_again(why)
        halving.touch()

    if context.group is None:
        (result, members), halved = with_halved_batches(fits, start_again, halving.exists())
    else:  # the other processes are in the middle of it, and can't be asked to start again
        (result, members), halved = fits(), False
    if not context.is_first:
        return None
    save_models(result.model, members, folder.model)
    report_evaluation(context)
    content = judged(result.model, train, test, spec)
    notes = [Message(note.template, note.values) for note in (*examples.notes, *result.notes)]
    content["notes"] = [note.to_json() for note in (*notes, *([HALVED] if halved else []))]
    content["provenance"] = provenance(spec, settings, time.time() - begun)
    write_json(folder.evaluation, content)
    shutil.rmtree(folder.checkpoint, ignore_errors=True)  # nothing is left to resume
    return str(result.stop_reason.value)


def settings_of(spec: RunSpec) -> "FitSettings":
    """The settings of the fit, with what only the run knows: what its validation rows are like."""
    from jebm_core.fitting import FitSettings

    settings = FitSettings.from_json(dict(spec.settings))
    return replace(settings, validation=spec.hold_out_mode) if settings.validation == "auto" else settings


def given(context: JobContext, settings: "FitSettings") -> dict[str, Any]:
    """What a fit is given besides examples and settings."""
    from jebm_core.fitted import load
    from jebm_core.rules.notation.parser import parse_rules

    rules = context.spec.rules
    return {
        "rules": parse_rules(rules) if rules.strip() else None,
        "candidates": read_table(context.other_data) if settings.reference == "table" else None,
        "generator": load(context.generator) if settings.reference == "model" else None,
    }


def report_evaluation(context: JobContext) -> None:
    """Say that the evaluation begins."""
    from jebm_core.progress import Progress

    context.report({entry.name: None for entry in fields(Progress)} | {"stage": "evaluation", "epoch": 0, "epochs": 1})


def judged(model: "FittedModel", train: Examples, test: Examples, spec: RunSpec) -> dict[str, object]:
    """What ``evaluation.json`` says of a model: the held-out rows, a sample of the others, how they were split."""
    from jebm_core.evaluation import evaluate

    sample = _sample(train, max(len(test.keep), 500), spec.seed)
    numbers: dict[str, object] = {
        "held_out": evaluate(model, test).to_json() if len(test.keep) else None,
        "train": evaluate(model, sample).to_json(),
    }
    lost: list[str] = []
    content = {name: _finite(value, name, lost) for name, value in numbers.items()}
    content["not_finite"] = lost  # places where the computation gave NaN or an infinity; JSON has only null for them
    content["split"] = {
        "mode": spec.hold_out_mode,
        "fraction": spec.hold_out_fraction,
        "rows": len(train.keep) + len(test.keep),
        "train_rows": len(train.keep),
        "held_out_rows": len(test.keep),
        "train_rows_evaluated": len(sample.keep),
    }
    return content


def read_data(spec: RunSpec, data: Path) -> Examples:
    """The examples of a run, read from the contents that the run was started with.

    Raises:
        TableError: if the table can't be used, or its contents are no longer those.
    """
    table = read_table(spec.dataset_name, content=data.read_bytes())
    if table.sha256 != spec.dataset:
        raise TableError(
            "{file} in the store no longer has the contents it was uploaded with (SHA-256 {expected}, now {found}). "
            "Upload the file again and start a new run.",
            file=str(data),
            expected=spec.dataset,
            found=table.sha256,
        )
    roles = guess_roles(table, targets=spec.targets, features=spec.features, kind=cast("Kind | None", spec.kind))
    return read_examples(table, roles)


def provenance(spec: RunSpec, settings: "FitSettings", seconds: float) -> dict[str, object]:
    """What is needed to do the run again and to compare it with others."""
    import torch

    cuda = settings.device != "cpu" and torch.cuda.is_available()
    return {
        "data_sha256": spec.dataset,
        "data_name": spec.dataset_name,
        "rules": spec.rules,
        "generator": spec.generator,
        "seed": spec.seed,
        "settings": settings.to_json(),
        "versions": {"jebm": code_version(), "python": platform.python_version(), "torch": str(torch.__version__)},
        "device": torch.cuda.get_device_name() if cuda else f"cpu ({platform.machine()})",
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
        "duration_seconds": seconds,
        "finished": time.time(),
    }


def _sample(examples: Examples, count: int, seed: int) -> Examples:
    """At most ``count`` of the examples, drawn like the held-out part but by another seed."""
    total = len(examples.keep)
    count = min(count, MOST_TRAIN_ROWS)
    return examples if total <= count else split_examples(examples, count / total, "rows", seed + 1)[1]


def _finite(value: object, place: str, lost: list[str]) -> object:
    """The value with null for every NaN and infinity, whose places are noted."""
    if isinstance(value, float) and not math.isfinite(value):
        lost.append(f"{place}={value}")
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(item, f"{place}.{name}", lost) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item, f"{place}[{index}]", lost) for index, item in enumerate(value)]
    return value


def save_models(model: "FittedModel", members: "Sequence[FittedModel]", folder: Path) -> None:
    """Write a model with its replicates beside the folder, and put them in place whole."""
    from jebm_core.replicates import save_replicates

    draft = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    model.save(draft)
    save_replicates(members, draft)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(draft, folder)
