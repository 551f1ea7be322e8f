"""What is kept and what goes: ``jebm models``, and deletion, pruning and the ledger of ``jebm runs``."""

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jebm_core.cli.options import JsonOption
from jebm_core.cli.output import require_writable, show, tell, write_json
from jebm_core.cli.runs import runs, store_at_hand, title_of, when
from jebm_core.errors import SpecError
from jebm_core.runs.model_versions import PRODUCTION, STAGES_OF_MODELS

if TYPE_CHECKING:
    from jebm_core.runs import RunStore
    from jebm_core.runs.model_versions import ModelVersion
    from jebm_core.runs.retention import Removal

DAY = 86_400.0
UNITS = {"h": DAY / 24, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
ProjectOption = Annotated[str | None, typer.Option("--project", metavar="NAME", help="The runs of this project.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
VersionArgument = Annotated[int, typer.Argument(metavar="VERSION", help="The number of the version.")]
StageArgument = Annotated[str, typer.Argument(metavar="STAGE", help=", ".join(STAGES_OF_MODELS))]

models = typer.Typer(rich_markup_mode=None)


# ---- runs that go ---------------------------------------------------------------------------------------------------


@runs.command("delete")
def delete(
    names: Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="The runs' names.")] = None,
    project: Annotated[str | None, typer.Option(metavar="NAME", help="A project, with all its runs.")] = None,
    yes: YesOption = False,
) -> None:
    """Delete runs with their models, files and studies, and data sets that nothing else needs. Asks on a terminal.

    Example: jebm runs delete k3m9xq2a
    """
    store = store_at_hand()
    if not names and project is None:
        raise SpecError("Expected the names of runs, or --project with the name of one; found neither. Give one.")
    if project is not None and names:
        raise SpecError("Expected the names of runs or --project; found both. Give one of them.")
    if project is not None:
        store.projects.project(project)
    wanted = list(names or ()) if project is None else list(store.retention.in_project(project))
    if not _agreed(store, store.retention.planned(wanted), yes):
        return
    removal = store.delete(wanted) if project is None else store.delete_project(project)
    typer.echo(f"Deleted: {_amount(removal)}.")


@runs.command("prune")
def prune(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Runs that ended so long ago: 12h, 90d, 8w, 2y.")],
    keep_stage: Annotated[
        list[str] | None,
        typer.Option(metavar="STAGE", help="Keep runs with a model version in this stage; production always stays."),
    ] = None,
    project: ProjectOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what would go.")] = False,
    yes: YesOption = False,
    json: JsonOption = None,
) -> None:
    """Delete runs that ended long ago, as jebm runs delete does. Asks on a terminal.

    What a run needs that has not ended yet stays, and so does every run whose model is in production.

    Example: jebm runs prune --older-than 90d --keep-stage trial --dry-run
    """
    require_writable(json)
    seconds = _seconds(older_than)
    for stage in keep_stage or ():
        if stage not in STAGES_OF_MODELS:
            raise SpecError(
                "Option --keep-stage: expected one of {known}, found {found!r}; choose one of these.",
                known=", ".join(STAGES_OF_MODELS),
                found=stage,
            )
    store = store_at_hand()
    if project is not None:
        store.projects.project(project)
    old = store.retention.older_than(seconds, keep_stage or (), project)
    plan = store.retention.planned(old)
    goes = bool(plan.runs) and not dry_run and _agreed(store, plan, yes)
    removal = store.delete(old) if goes else plan
    write_json(json, asdict(removal) | {"deleted": goes})
    if not plan.runs:
        show([f"Nothing ended more than {older_than} ago that may go."], json)
    elif goes:
        show([f"Deleted: {_amount(removal)}."], json)
    elif dry_run:
        show([f"Would go: {_amount(plan)}", *_names(store, plan)], json)


@runs.command("ledger")
def ledger(
    about: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A run, a project or a model version such as 'drive · 2'.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """List who ran, exported, promoted or deleted what, the newest first. What was deleted stays in it by its name.

    Example: jebm runs ledger k3m9xq2a
    """
    require_writable(json)
    entries = store_at_hand().ledger.entries(about)
    write_json(json, {"entries": [asdict(entry) for entry in entries]})
    lines = [f"{when(one.written)}  {one.who:<12}{one.what:<10}{one.about}{_details(one.details)}" for one in entries]
    show(lines or ["Nothing has been written down yet."], json)


# ---- models ---------------------------------------------------------------------------------------------------------


@models.callback()
def _models() -> None:
    """Versions of models: which run's model goes by a name, how far it has come, and why.

    The stages are candidate, trial, production and archived. Of a name at most one version is in production.

    Without a command it lists them.

    Example: jebm models list
    """


@models.command("list")
def list_models(json: JsonOption = None) -> None:
    """List all versions, the newest first.

    Example: jebm models list --json models.json
    """
    require_writable(json)
    versions = store_at_hand().models.versions()
    write_json(json, {"models": [asdict(one) for one in versions]})
    show([_line(one) for one in versions] or ["No model versions yet. See jebm models add --help."], json)


@models.command("add")
def add(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run whose model it is.")],
    name: NameArgument,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why this one.")] = "",
) -> None:
    """Give a run's model the next version number of a name. It begins as a candidate.

    Example: jebm models add k3m9xq2a drive --note "orders up to May"
    """
    made = store_at_hand().models.add(name, run, note)
    typer.echo(f"{made.title} is the model of run {run}, in the stage {made.stage}.")


@models.command("promote")
def promote(name: NameArgument, version: VersionArgument, stage: StageArgument) -> None:
    """Put a version into a stage, up or down. What was in production before is archived.

    Example: jebm models promote drive 2 production
    """
    made = store_at_hand().models.promote(name, version, stage)
    typer.echo(f"{made.title} is {'in production' if made.stage == PRODUCTION else f'in the stage {made.stage}'}.")


@models.command("note")
def note(
    name: NameArgument, version: VersionArgument, text: Annotated[str, typer.Argument(metavar="TEXT", help="The note.")]
) -> None:
    """Replace the note of a version.

    Example: jebm models note drive 2 "checked against the orders of June"
    """
    made = store_at_hand().models.annotate(name, version, text)
    typer.echo(f"{made.title} has the note: {made.note}")


@models.command("path")
def path(
    name: NameArgument,
    stage: Annotated[str, typer.Option(metavar="STAGE", help=", ".join(STAGES_OF_MODELS))] = PRODUCTION,
) -> None:
    """Print the folder of the newest version in a stage, for other commands.

    Example: jebm score "$(jebm models path drive)" new.csv --out scores.csv
    """
    store = store_at_hand()
    typer.echo(store.folder(store.models.in_stage(name, stage).run or "").model)


# ---- words ----------------------------------------------------------------------------------------------------------


def _agreed(store: "RunStore", plan: "Removal", yes: bool) -> bool:
    if yes or not sys.stdin.isatty():
        return True
    for line in _names(store, plan):
        tell(line)
    if typer.confirm(f"Delete {_amount(plan)}?"):
        return True
    tell("Nothing was deleted.")
    return False


def _amount(plan: "Removal") -> str:
    parts = [f"{len(plan.runs)} run{'s' * (len(plan.runs) != 1)}"]
    if plan.datasets:
        parts.append(f"{len(plan.datasets)} data set{'s' * (len(plan.datasets) != 1)}")
    return f"{' and '.join(parts)} ({_bytes(plan.bytes)})"


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def _names(store: "RunStore", plan: "Removal") -> Sequence[str]:
    names = {data.sha256: data.name for data in store.datasets()}
    return [
        *(f"  {name:<10}{title_of(store.run(name))}" for name in plan.runs),
        *(f"  data set {names.get(sha256, '')} ({sha256[:12]}…)" for sha256 in plan.datasets),
    ]


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d+)([hdwy])", age.strip())
    if found is None:
        raise SpecError(
            "Option --older-than: expected a number of hours, days, weeks or years such as 12h, 90d, 8w or 2y; found "
            "{found!r}. Write for example 90d.",
            found=age,
        )
    return int(found[1]) * UNITS[found[2]]


def _line(one: "ModelVersion") -> str:
    place = "its run was deleted" if one.run is None else f"run {one.run}"
    return f"{one.title:<24}{one.stage:<12}{when(one.created)}  {place}{f'  {one.note}' if one.note else ''}"


def _details(details: object) -> str:
    said = [f"{name} {value}" for name, value in details.items()] if isinstance(details, dict) else []
    return f"  ({', '.join(said)})" if said else ""
