"""``jebm fit``: from a table to a model folder."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from jebm_core.cli.inputs import labelled_table, open_model, require_model_place
from jebm_core.cli.options import DeviceOption, JsonOption, SeedOption, TableArgument
from jebm_core.cli.output import Report, progress, require_writable, show, tell, tell_notes, write_json
from jebm_core.errors import SpecError
from jebm_core.progress import EPOCHS
from jebm_core.ranks import launched
from jebm_core.settings import AFFINITIES, LOG_PARTITIONS, PROPOSALS, REFERENCES, SPACES, VALIDATIONS, FitSettings

if TYPE_CHECKING:
    from jebm_core.distributed import Group
    from jebm_core.fitted import FittedModel
    from jebm_core.fitting import Fit
    from jebm_core.progress import Progress
    from jebm_core.rules.language import RuleSet
    from jebm_core.tables import Examples

STAGES = {
    "reference": "preparing the data and the reference",
    "baseline": "fitting independent outputs for comparison",
    "training": "training score and log-partition",
    "log-partition": "finishing the log-partition",
    "audit": "measuring the error of the log-partition",
    "replicates": "fitting again on random halves of the rows",
    "evaluation": "evaluating",
}


def fit(
    table: TableArgument,
    out: Annotated[Path, typer.Option(metavar="MODEL", help="The folder to write the model to.")],
    targets: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Output columns. Default: y_*, else r_*, else c_*.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Feature columns; '' means none. Default: x_*.")
    ] = None,
    space: Annotated[str, typer.Option(metavar="NAME", help=", ".join(SPACES))] = "auto",
    affinity: Annotated[str, typer.Option(metavar="NAME", help="Score network: " + ", ".join(AFFINITIES))] = "auto",
    proposal: Annotated[str, typer.Option(metavar="NAME", help="Training draws: " + ", ".join(PROPOSALS))] = "auto",
    divergence: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="kl, chi2, tsallis:NUMBER, jensen-shannon, hellinger, reverse-kl or jeffreys."
        ),
    ] = "kl",
    reference: Annotated[str, typer.Option(metavar="NAME", help="Base measure: " + ", ".join(REFERENCES))] = "auto",
    log_partition: Annotated[str, typer.Option(metavar="NAME", help=", ".join(LOG_PARTITIONS))] = "auto",
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What makes a combination valid; nothing else is possible.")
    ] = None,
    candidates: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="Combinations for --reference table, simulated ones say.")
    ] = None,
    generator: Annotated[Path | None, typer.Option(metavar="MODEL", help="The model of --reference model.")] = None,
    samples: Annotated[int | None, typer.Option(help="Draws a row in a training step.")] = None,
    validation: Annotated[
        str, typer.Option(metavar="NAME", help="What is kept aside for early stopping: " + ", ".join(VALIDATIONS))
    ] = "auto",
    validation_fraction: Annotated[float, typer.Option(help="Share of the rows kept aside, 0.05 to 0.5.")] = 0.15,
    replicates: Annotated[
        int,
        typer.Option(
            metavar="N", help="Fit N random halves too: intervals of the model itself; 8 cost about five fits."
        ),
    ] = 0,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    epochs: Annotated[int | None, typer.Option(help="At most so many passes over the data.")] = None,
    time_budget: Annotated[float | None, typer.Option(metavar="SECONDS", help="At most so long.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep checkpoints here; an interrupted fit goes on from them."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train a model on a table.

    What is not set is chosen from the data, and a part of the rows is kept aside for early stopping.

    Columns: features x_*; outputs y_* (0 or 1), r_* (ranks, 1 is the most preferred) or c_* (options).

    Example: jebm fit orders.csv --out model --seed 3 --json fit.json
    """
    with _together(device) as group:
        settings = FitSettings(
            space=space,
            affinity=affinity,
            proposal=proposal,
            divergence=divergence,
            reference=reference,
            log_partition=log_partition,
            seed=seed,
            device=device,
            epochs=epochs,
            time_budget=time_budget,
            samples=samples,
            validation=validation,
            validation_fraction=validation_fraction,
            replicates=replicates,
        )
        require_model_place(out)
        require_writable(json)
        _require_checkpoint_place(resume)
        begun = time.monotonic()
        given = None if rules is None else _rules(rules)
        from jebm_core.tables import read_table

        simulated = None if candidates is None else read_table(candidates)
        other = None if generator is None else open_model(generator, device)
        examples = labelled_table(table, targets or (), features, settings.space)
        from jebm_core.fitting import fit as fit_examples
        from jebm_core.replicates import fit_replicates, require_rows_for

        require_rows_for(examples, replicates)
        more: dict[str, Any] = {"rules": given, "candidates": simulated, "generator": other}
        if group is not None:
            more |= {"group": group}
        speaks = group is None or group.is_first
        shown = progress("fit") if speaks else nullcontext(lambda *_: None)
        with shown as report, _interrupt_after_checkpoint(resume is not None, speaks) as should_stop:
            more |= {"on_progress": partial(_report, report), "should_stop": should_stop}
            result = fit_examples(examples, settings, checkpoint=resume, **more)
            members = fit_replicates(examples, settings, **more)
        if not speaks:
            return
        _save(result, members, out)
        if resume is not None:
            (resume / "checkpoint.safetensors").unlink(missing_ok=True)  # nothing is left to resume
        notes = [*examples.notes, *(note for note in result.notes if str(note) != result.stop_reason.value)]
        tell_notes(notes)
        record = _record(result, examples, out, time.monotonic() - begun, [str(note) for note in notes])
        if not result.stop_reason.is_healthy:
            tell(f"Warning: the model was written, but do not trust its probabilities. {result.stop_reason.value}")
        write_json(json, record)
        show(_lines(record), json)


@contextmanager
def _together(device: str) -> Iterator["Group | None"]:
    """The processes that torchrun started for this fit, if it did. Of those that fail, the first says why; the others
    leave."""
    if launched() is None:
        yield None
        return
    from jebm_core.distributed import join, require_fitting

    group = join(device)
    try:
        require_fitting(group, device)
        yield group
    except (Exception, KeyboardInterrupt):
        if group.has_last_word():
            raise
        raise typer.Exit(1) from None
    group.leave()
    # All is said and written. A thread of torch's that wakes while the interpreter is torn down ends the process with
    # SIGABRT, and torchrun then ends the others and calls the whole a failure.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _rules(file: Path) -> "RuleSet":
    from jebm_core.rules.notation.files import read_rule_file

    return read_rule_file(file)


def _require_checkpoint_place(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(
            "Option --resume: {folder} can't be used as a folder for checkpoints ({reason}). Choose another place.",
            folder=folder,
            reason=error.strerror or type(error).__name__,
        ) from None


@contextmanager
def _interrupt_after_checkpoint(keep: bool, speaks: bool) -> Iterator[Callable[[], bool]]:
    """Where checkpoints are kept, the first Ctrl-C asks the fit to write one and stop; the second stops it at once."""
    asked = threading.Event()
    if not keep or threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(*_: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        if speaks:
            tell("Stopping after a checkpoint; interrupt again to stop at once.")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _report(report: Report, state: "Progress") -> None:
    text = STAGES.get(state.stage, state.stage)
    if state.epochs and state.stage in EPOCHS:
        text += f", epoch {state.epoch} of at most {state.epochs}"
    if state.held_out_objective is not None:
        text += f", held-out objective {state.held_out_objective:.3f} nats"
    if state.effective_sample_size is not None:
        text += f", effective draws {state.effective_sample_size:.0%}"
    if state.seconds_left is not None:
        text += f", at most {state.seconds_left:.0f} s left"
    report(text, state.epoch / state.epochs if state.epochs else None)


def _save(result: "Fit", members: "Sequence[FittedModel]", out: Path) -> None:
    """Fill a folder beside the place and put it there whole."""
    from jebm_core.replicates import save_replicates

    draft = out.absolute().with_name(f"{out.absolute().name}.{os.getpid()}.partial")
    try:
        result.model.save(draft)
        save_replicates(members, draft)
        if out.exists():
            shutil.rmtree(out)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _record(result: "Fit", examples: "Examples", out: Path, seconds: float, notes: list[str]) -> dict[str, object]:
    model = result.model.record
    trained = [entry for entry in result.history if entry.stage == "training" and entry.held_out_objective is not None]
    best = min(trained, key=lambda entry: cast(float, entry.held_out_objective), default=None)
    return {
        "model": str(out),
        "stop_reason": result.stop_reason.name,
        "stop_sentence": result.stop_reason.value,
        "healthy": result.stop_reason.is_healthy,
        "seconds": round(seconds, 3),
        "rows": len(examples.keep),
        "rows_left_out": len(examples.table.frame) - len(examples.keep),
        "train_rows": model.summary["rows"],
        "held_out_rows": model.summary["held_out_rows"],
        "space": model.schema.kind,
        "outputs": len(model.schema.columns),
        "features": list(model.features),
        "held_out": {
            "objective": None if best is None else best.held_out_objective,
            "nll": None if best is None else best.held_out_nll,
            "nll_independent": model.summary["held_out_nll_independent"],
            "effective_sample_size": None if best is None else best.effective_sample_size,
            "total_mass": None if best is None else best.total_mass,
            "log_partition_error": list(model.interval),
        },
        "epochs": model.summary["epochs"],
        "proposal": model.summary["proposal"],
        "device": model.summary["device"],
        "architecture": model.architecture.to_json(),
        "settings": model.settings.to_json(),
        "data": {"name": model.data_name, "sha256": model.data_sha256},
        "versions": model.versions,
        "notes": notes,
    }


def _lines(record: dict[str, object]) -> Iterator[str]:
    held_out = cast("dict[str, float | None]", record["held_out"])
    yield f"Model written to {record['model']} after {record['seconds']:.1f} s. {record['stop_sentence']}"
    yield f"  {record['space']} of {record['outputs']} outputs"
    yield f"  {record['train_rows']} rows trained on, {record['held_out_rows']} held out"
    for name, key in (("joint", "nll"), ("independent outputs", "nll_independent")):
        if held_out[key] is not None:
            yield f"  held-out negative log-likelihood, {name}: {held_out[key]:.3f} nats"
    low, high = cast("list[float]", record["held_out"]["log_partition_error"])  # pyright: ignore[reportIndexIssue]
    yield f"  error of the learned log-partition, 95 % of held-out rows: {low:+.3f} to {high:+.3f} nats"
