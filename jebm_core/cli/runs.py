"""``jebm runs`` and ``jebm worker``: the run store, without the dashboard. See also `jebm_core.cli.keeping`."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jebm_core.cli.options import JsonOption
from jebm_core.cli.output import require_writable, show, tell, write_json

if TYPE_CHECKING:
    from jebm_core.runs import RunStore, RunView

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="The run's name, as jebm runs list shows it.")]
RunsArgument = Annotated[list[str], typer.Argument(metavar="RUN…", help="The runs' names.")]

runs = typer.Typer(rich_markup_mode=None)


@runs.callback()
def _runs() -> None:
    """List, show, cancel, delete or prune runs.

    They are in the home folder of jebm: JEBM_HOME where it is set, else the system's place for a person's data.

    Without a command it lists them.

    Example: jebm runs list
    """


@runs.command("list")
def list_runs(
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Only the runs of this project.")] = None,
    json: JsonOption = None,
) -> None:
    """List all runs, the newest first.

    Example: jebm runs list --json runs.json
    """
    require_writable(json)
    store = store_at_hand()
    if project is not None:
        store.projects.project(project)
    both = [*store.list_runs(project=project), *store.sweeps(project)]
    views = sorted(both, key=lambda view: -view.created)
    write_json(json, {"home": str(store.home.folder), "runs": [_record(store, view) for view in views]})
    lines = [f"{view.id:<10}{view.state.value:<11}{when(view.created)}  {title_of(view)}" for view in views]
    show(lines or [f"No runs in {store.home.folder} yet."], json)


@runs.command("show")
def show_run(run: RunArgument, json: JsonOption = None) -> None:
    """Show one run: its state, settings and files, and what happened to it.

    Example: jebm runs show k3m9xq2a --json run.json
    """
    require_writable(json)
    store = store_at_hand()
    view = store.run(run)
    events, files = store.events(run), store.artifacts(run)
    record = _record(store, view) | {"events": [asdict(e) for e in events], "artifacts": [asdict(f) for f in files]}
    write_json(json, record)
    lines = [f"  {when(event.written)}    {event.what}, attempt {event.attempt} on {event.host}" for event in events]
    show([*_lines(record, view), *lines], json)


@runs.command("cancel")
def cancel(names: RunsArgument) -> None:
    """Ask runs to stop. One that has ended stays as it is.

    Example: jebm runs cancel k3m9xq2a
    """
    store = store_at_hand()
    for name in names:
        if store.run(name).state.ended:
            typer.echo(f"Run {name} has already ended ({store.run(name).state.value}).")
            continue
        store.cancel(name)
        typer.echo(f"Run {name} was asked to stop.")


def worker(
    idle: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="End after so long without work. Default: never.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What starts jobs: processes, ray or slurm. Default: JEBM_ENGINE."),
    ] = None,
) -> None:
    """Work off the queue of runs.

    It stays in the foreground. The dashboard starts a worker by itself; this is for servers.

    Example: jebm worker --idle 600
    """
    from jebm_core.runs.runner import serve

    store = store_at_hand()
    if not serve(store.home, idle, engine=engine):
        tell(f"Another worker already serves {store.home.folder}; nothing is left for this one.")


def store_at_hand() -> "RunStore":
    """The store of this home."""
    from jebm_core.runs import RunStore

    return RunStore()


def title_of(view: "RunView") -> str:
    """What a run is called."""
    title = view.spec.title or view.spec.dataset_name
    return f"{title}, sweep" if view.spec.kind_of_work == "sweep" else title


def when(seconds: float) -> str:
    """A moment as people write it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _record(store: "RunStore", view: "RunView") -> dict[str, object]:
    folder = store.folder(view.id)
    return {
        "id": view.id,
        "title": title_of(view),
        "state": view.state.value,
        "message": None if view.message is None else str(view.message),
        "stop_reason": None if view.stop_reason is None else str(view.stop_reason),
        "created": view.created,
        "started": view.started,
        "finished": view.finished,
        "elapsed": view.elapsed,
        "attempt": view.attempt,
        "slot": view.slot,
        "code_version": view.code_version,
        "progress": None if view.progress is None else dict(view.progress.values),
        "spec": view.spec.to_json(),
        "folder": str(folder.folder),
        "model": str(folder.model) if folder.model.is_dir() else None,
        "evaluation": str(folder.evaluation) if folder.evaluation.is_file() else None,
        "study": str(folder.study) if folder.study.is_file() else None,
        "log": str(folder.log),
    }


def _lines(record: dict[str, object], view: "RunView") -> Iterator[str]:
    yield f"Run {record['id']}: {record['title']}"
    yield f"  state       {record['state']}, created {when(view.created)}"
    for name in ("message", "stop_reason", "model", "evaluation", "study", "log"):
        if record[name] is not None:
            yield f"  {name:<12}{record[name]}"
    if view.elapsed is not None:
        yield f"  {'seconds':<12}{view.elapsed:.1f}"
    yield f"  {'data':<12}{view.spec.dataset_name} (SHA-256 {view.spec.dataset[:12]}…)"
    for name, value in sorted(view.spec.settings.items()):
        if value is not None:
            yield f"  {name:<20}{value}"
