"""``jebm sweep``: try settings, each as a run of its own."""

import json as json_format
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from jebm_core.cli.inputs import labelled_table
from jebm_core.cli.options import DeviceOption, JsonOption, SeedOption, TableArgument
from jebm_core.cli.output import progress, require_writable, show, tell, tell_notes, write_json
from jebm_core.errors import Cancelled, TrainingStopped
from jebm_core.settings import SPACES, FitSettings

if TYPE_CHECKING:
    from jebm_core.runs import RunStore
    from jebm_core.runs.records import RunSpec
    from jebm_core.runs.search_space import SearchSpace
    from jebm_core.tables import Examples

FIGURES = (("held_out_objective", 11, 3), ("held_out_nll", 9, 3), ("log_partition_error", 8, 3), ("seconds", 9, 1))
"""Columns of the table, with their widths and places after the point."""
_LOOK = 0.5
_STAYS = 5.0  # seconds that the worker stays after the last trial


def sweep(
    table: TableArgument,
    trials: Annotated[int, typer.Option(metavar="N", help="How many fits.")] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=A,B",
            help="A setting and the values it may take; once for each: affinity, reference, log_partition, proposal or "
            "samples. Default: chosen from the data.",
        ),
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Output columns. Default: y_*, else r_*, else c_*.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Feature columns; '' means none. Default: x_*.")
    ] = None,
    space: Annotated[str, typer.Option(metavar="NAME", help=", ".join(SPACES))] = "auto",
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="What makes a combination valid.")] = None,
    hold_out: Annotated[float, typer.Option(help="Share of the rows that no trial is chosen by.")] = 0.2,
    epochs: Annotated[int | None, typer.Option(help="At most so many passes over the data in a trial.")] = None,
    time_budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="At most so long for the training of a trial.")
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(metavar="N", help="Trials under way at a time. Default: one for each GPU.")
    ] = None,
    pruning: Annotated[
        bool, typer.Option(help="Stop a trial early that is worse than the median of the others at the same epoch.")
    ] = True,
    title: Annotated[str, typer.Option(metavar="TEXT", help="What the runs are called.")] = "",
    project: Annotated[str, typer.Option(metavar="NAME", help="The project that the runs belong to.")] = "default",
    wait: Annotated[bool, typer.Option(help="Wait for the end; if not, only queue it.")] = True,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Try settings: each trial is a run, chosen by what came out before.

    The first trial is what jebm fit would choose by itself. What is compared are rows that each fit keeps aside inside
    its training data: held-out −log p, the error of the log-partition, and seconds. Rows of --hold-out take no part.

    It goes on in the background if you interrupt, and after a crash from where it was.

    Example: jebm sweep orders.csv --trials 20 --search affinity=pairwise,lowrank --search samples=16,64
    """
    require_writable(json)
    settings = FitSettings(space=space, seed=seed, device=device, epochs=epochs, time_budget=time_budget)
    examples = labelled_table(table, targets or (), features, space)
    tell_notes(examples.notes)
    from jebm_core.runs import RunStore
    from jebm_core.runs.search_space import default_space, read_space
    from jebm_core.runs.slots import slots
    from jebm_core.runs.sweeping import sweep_spec

    roles, text = examples.roles, "" if rules is None else _rules(rules)
    chosen = read_space(search) if search else default_space(roles.kind, bool(roles.features), bool(text))
    store = RunStore(idle_seconds=_STAYS)
    data = store.add_dataset(table, table.name)
    fit = _fit_spec(examples, data.sha256, settings, text, hold_out, title, project)
    asked = sweep_spec(fit, trials, chosen, at_once=at_once or len(slots()), pruning=pruning)
    run = store.submit(asked)
    if not wait:
        show([f"Sweep {run} was queued. See jebm runs show {run}."], json)
        write_json(json, {"run": run})
        return
    found = _wait_for(store, run)
    write_json(json, {"run": run, **found})
    show(_lines(found, chosen), json)


def _rules(file: Path) -> str:
    from jebm_core.rules.notation.files import read_rule_file
    from jebm_core.rules.notation.printer import to_text

    return to_text(read_rule_file(file))


def _fit_spec(
    examples: "Examples", sha256: str, settings: FitSettings, rules: str, hold_out: float, title: str, project: str
) -> "RunSpec":
    from jebm_core.runs import RunSpec
    from jebm_core.runs.projects import plain_project

    roles = examples.roles
    return RunSpec(
        dataset=sha256,
        dataset_name=examples.table.name,
        title=title,
        targets=roles.targets,
        features=roles.features,
        kind=roles.kind,
        settings=settings.to_json(),
        hold_out_fraction=hold_out,
        seed=settings.seed,
        rules=rules,
        project=plain_project(project),
    )


def _wait_for(store: "RunStore", run: str) -> dict[str, Any]:
    from jebm_core.runs import State

    tell(f"Sweep {run} is under way; if you interrupt, it goes on in the background.")
    with progress("sweep") as report:
        while not (view := store.run(run)).state.ended:
            values = {} if view.progress is None else view.progress.values
            done, of = int(cast(int, values.get("epoch", 0))), int(cast(int, values.get("epochs", 0)))
            best = values.get("held_out_objective")
            told = f", best held-out objective {best:.3f} nats" if isinstance(best, float) else ""
            report(
                f"{done} of {of} trials{told}" if of else "waiting for the sweep to begin", done / of if of else None
            )
            store.ensure_runner()
            time.sleep(_LOOK)
    if view.state is State.CANCELLED:
        raise Cancelled("The sweep was cancelled.")
    if view.state is State.FAILED:
        raise TrainingStopped(f"{view.message} Log: {store.folder(run).log}")
    return json_format.loads(store.folder(run).study.read_text("utf-8"))


def _lines(found: Mapping[str, Any], space: "SearchSpace") -> Iterator[str]:
    names = list(space)
    widths = [max(len(name), *(len(str(value)) for value in space[name])) + 2 for name in names]
    heads = "".join(f"{name:<{width}}" for name, width in zip(names, widths, strict=True))
    yield f"{'trial':<7}{'run':<10}{'state':<11}{heads}{'objective':>11}{'−log p':>9}{'error':>8}{'seconds':>9}"
    for trial in found["trials"]:
        choice = "".join(
            f"{trial['choice'].get(name, 'auto')!s:<{width}}" for name, width in zip(names, widths, strict=True)
        )
        said = "".join(
            f"{'–':>{width}}" if trial[name] is None else f"{trial[name]:>{width}.{places}f}"
            for name, width, places in FIGURES
        )
        best = "  best" if trial["number"] == found["best"] else ""
        mark = best or ("  not beaten" if trial["number"] in found["pareto"] else "")
        yield f"{trial['number']:<7}{trial['run']:<10}{trial['state']:<11}{choice}{said}{mark}"
    yield "Objective, −log p and error of the log-partition in nats, on rows kept for validation inside the training."
    best = next((trial for trial in found["trials"] if trial["number"] == found["best"]), None)
    if best is not None:
        yield f"Use the best by: jebm models add {best['run']} NAME"
