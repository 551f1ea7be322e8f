"""``jebm curve``: how much more rows would help."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jebm_core.cli.inputs import labelled_table
from jebm_core.cli.options import DeviceOption, JsonOption, SeedOption, TableArgument
from jebm_core.cli.output import progress, require_writable, show, tell_notes, write_json
from jebm_core.settings import AFFINITIES, REFERENCES, SPACES, FitSettings

if TYPE_CHECKING:
    from jebm_core.evaluation.learning_curve import LearningCurve


def curve(
    table: TableArgument,
    targets: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Output columns. Default: y_*, else r_*, else c_*.")
    ] = None,
    features: Annotated[
        list[str] | None, typer.Option(metavar="GLOB…", help="Feature columns; '' means none. Default: x_*.")
    ] = None,
    space: Annotated[str, typer.Option(metavar="NAME", help=", ".join(SPACES))] = "auto",
    affinity: Annotated[str, typer.Option(metavar="NAME", help="Score network: " + ", ".join(AFFINITIES))] = "auto",
    reference: Annotated[str, typer.Option(metavar="NAME", help="Base measure: " + ", ".join(REFERENCES))] = "auto",
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="What makes a combination valid.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many passes over the data.")] = None,
    repeats: Annotated[int, typer.Option(metavar="N", help="Orders in which the rows are added; 3 cost six fits.")] = 3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Say how much more rows would help.

    Fits an eighth, a quarter, a half and all of three quarters of the rows, and judges each fit on the last quarter, in
    nats.

    Example: jebm curve orders.csv --json curve.json
    """
    settings = FitSettings(space=space, affinity=affinity, reference=reference, epochs=epochs, seed=seed, device=device)
    require_writable(json)
    given: dict[str, Any] = {}
    if rules is not None:
        from jebm_core.rules.notation.files import read_rule_file

        given["rules"] = read_rule_file(rules)
    examples = labelled_table(table, targets or (), features, space)
    tell_notes(examples.notes)
    from jebm_core.evaluation.learning_curve import learning_curve

    with progress("curve") as report:
        found = learning_curve(
            examples,
            settings,
            repeats=repeats,
            on_progress=lambda share: report("fitting growing parts of the rows", share),
            **given,
        )
    write_json(json, found.to_json())
    show(_lines(found), json)


def _lines(found: "LearningCurve") -> Iterator[str]:
    from jebm_core.evaluation.learning_curve import FURTHEST

    yield f"−log p of {found.judged} rows that no fit has seen, in nats; {found.repeats} orders of the other rows:"
    for rows, one, independent in zip(found.rows, found.nll, found.nll_independent, strict=True):
        line = f"  {rows:>6} rows: {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
        yield line if independent != independent else f"{line}; independent outputs {independent:.3f}"
    if found.law is None or found.missing is None or found.halving is None:
        yield "Going from the fewest to all rows changed nothing beyond chance, so nothing can be said about more."
        return
    missing, halving = found.missing, found.halving
    yield f"Still missing for want of rows: {missing.value:.3f} nats ({missing.low:.3f} to {missing.high:.3f})."
    for multiple, one in zip(found.multiples, found.ahead, strict=True):
        yield f"  {multiple} × the rows: {one.value:.3f} ({one.low:.3f} to {one.high:.3f}), by the law of the curve"
    if halving.value >= found.rows[-1] * FURTHEST:
        more = f"Even {halving.value:.0f} more rows may not halve the error of a probability"
        yield f"{more} ({halving.low:.0f} or more)."
        return
    yield (
        f"About {halving.value:.0f} more rows would halve the error of a probability "
        f"({halving.low:.0f} to {halving.high:.0f})."
    )
