"""``jebm runs mirror``: runs copied to an MLflow server."""

from typing import Annotated

import typer

from jebm_core.cli.runs import store_at_hand
from jebm_core.errors import SpecError


def mirror(
    names: Annotated[list[str] | None, typer.Argument(metavar="RUN…", help="The runs' names.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every run, sweeps included.")] = False,
    to: Annotated[
        str | None, typer.Option(metavar="URI", help="The MLflow server. Default: what JEBM_MLFLOW names.")
    ] = None,
) -> None:
    """Copy runs to an MLflow server: settings, numbers, state, and small files. What is there already is not doubled.

    Where JEBM_MLFLOW is set, each run is copied by itself when it has ended. Nothing is ever taken out of the server.

    Example: jebm runs mirror --all --to http://127.0.0.1:5000
    """
    if bool(names) == every:
        raise SpecError("Expected the names of runs, or --all; found both or neither. Give one of them.")
    from jebm_core.runs.mirror import Mirror

    store = store_at_hand()
    for name in names or ():
        store.run(name)
    server = Mirror(store, to)
    copied = server.copy_all() if every else ((name, server.copy(name)) for name in names or ())
    for name, new in copied:
        typer.echo(f"Run {name} {'was copied to' if new else 'is up to date on'} {server.name}.")
