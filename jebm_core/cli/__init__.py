"""The command ``jebm``.

::

    __init__   the list of commands, and the one place where an error becomes a sentence and an exit code
    fit        train a model
    sweep      try settings, each as a run of its own
    curve      how much more rows would help
    evaluate   judge a model: evaluate, audit
    recalibrate  a temperature of the scores, chosen on labelled rows
    drift      new rows against those that a model was judged on
    decide     what to do, and when a person should decide
    score      use a model on rows: score, predict, sample; bulk: score with a folder as --out
    rules      count, sample and check combinations under rules
    runs       look after the run store; work off its queue
    keeping    versions of models; what is deleted, and who did what
    mirror     runs copied to an MLflow server
    serve      the dashboard; demo: the dashboard with the sample project fitted
    doctor     check the installation
    options    options that commands share          inputs   models and tables that commands are given
    output     sentences, progress, JSON            results  tables of results
    utilities  value tables and thresholds          look     see whether a page of the dashboard renders

Exit codes: 0 done, 1 a fault of ours or a training that failed, 2 the user's input, 130 interrupted. Whatever is heavy
is imported inside the commands, so that help is there at once.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from jebm_core.cli.curve import curve
from jebm_core.cli.decide import decide
from jebm_core.cli.demo import demo
from jebm_core.cli.doctor import doctor
from jebm_core.cli.drift import drift
from jebm_core.cli.evaluate import audit, evaluate
from jebm_core.cli.fit import fit
from jebm_core.cli.keeping import models
from jebm_core.cli.mirror import mirror
from jebm_core.cli.output import exit_code_of, tell
from jebm_core.cli.recalibrate import recalibrate
from jebm_core.cli.rules import rules
from jebm_core.cli.runs import runs, worker
from jebm_core.cli.score import predict, sample, score
from jebm_core.cli.serve import app as dashboard
from jebm_core.cli.sweep import sweep
from jebm_core.errors import SpecError
from jebm_core.ranks import end_with_parent, launched

INTERRUPTED = 130
_SAY_FIRST = 20.0  # seconds; torchrun ends all as soon as one has failed, and the first one is to say why

_SHORT = {
    (): ["--help"],
    ("runs",): ["runs", "list"],
    ("models",): ["models", "list"],
}  # what is meant where nothing is said

app = typer.Typer(
    name="jebm",
    add_completion=False,
    rich_markup_mode=None,  # plain help: it reads the same on every terminal and in a file
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for command in (fit, sweep, curve, evaluate, audit, recalibrate, drift, decide, score, predict, sample, rules):
    app.command()(command)
runs.command()(mirror)
app.add_typer(runs, name="runs")
app.add_typer(models, name="models")
app.command()(worker)
app.command("app")(dashboard)
app.command()(demo)
app.command()(doctor)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"jebm {version('jebm')}")
        raise typer.Exit()
    return wanted


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and leave.")
    ] = False,
) -> None:
    """How likely is each combination, and may the number be trusted? Fit, audit and use joint models of combinations.

    Example: jebm fit orders.csv --out model, then jebm score model new.csv --out scores.csv
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the entry point of ``jebm``.

    Args:
        arguments: what follows ``jebm``; None takes those of the process.

    Returns:
        The exit code.

    >>> main(["runs", "show", "../x"])
    2
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if arguments is None:  # this process is ours, and torch is not loaded yet
        if launched() is not None:
            end_with_parent()
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads starve each other on a busy machine
    given = _SHORT.get(tuple(given), given)
    try:
        _refuse_several(given)
        code = typer.main.get_command(app).main(args=spread(given), prog_name="jebm", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except typer.TyperException as error:  # an option or argument that the command does not have
        message = error.format_message()
        tell(f"{message}{'' if message.endswith(('.', '?')) else '.'} See {_help_for(given)}.")
        return 2
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person never sees a traceback
        return exit_code_of(error)
    if code == INTERRUPTED:
        tell("Interrupted.")
    return code if isinstance(code, int) else 0


def _refuse_several(arguments: Sequence[str]) -> None:
    """Several processes share a fit; each would do every other command, over and over.

    Raises:
        SpecError: torchrun started this process for another command.
    """
    place = launched()
    if place is None or tuple(arguments[:1]) == ("fit",):
        return
    if place.number:
        time.sleep(_SAY_FIRST)
    raise SpecError(
        "torchrun: expected the command fit, which several processes can share; found {command!r}. Start it without "
        "torchrun.",
        command=" ".join(arguments[:1]),
    )


def spread(arguments: Sequence[str]) -> list[str]:
    """Let ``--targets`` and ``--features`` take several values: each value gets the option's name before it.

    Only after the table has been named, since a table that follows would else be taken for a column.

    >>> spread(["fit", "t.csv", "--targets", "a", "b", "--out", "m"])
    ['fit', 't.csv', '--targets', 'a', '--targets', 'b', '--out', 'm']
    >>> spread(["fit", "--targets", "a", "t.csv"])
    ['fit', '--targets', 'a', 't.csv']
    """
    if len(arguments) < 2 or arguments[0] not in ("fit", "sweep", "curve") or arguments[1].startswith("-"):
        return list(arguments)
    out: list[str] = []
    several = None
    for argument in arguments:
        if argument.startswith("-"):
            several = argument if argument in ("--targets", "--features") else None
            out.append(argument)
        elif several is not None and out[-1] != several:
            out.extend((several, argument))
        else:
            out.append(argument)
    return out


def _help_for(arguments: Sequence[str]) -> str:
    command = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    known = {entry.name or getattr(entry.callback, "__name__", "") for entry in app.registered_commands}
    known |= {"runs", "models"}
    return f"jebm {command} --help" if command in known else "jebm --help"
