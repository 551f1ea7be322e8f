"""``jebm recalibrate``: weaken, strengthen or shift the scores of a model until its probabilities fit labelled rows."""

from pathlib import Path
from typing import Annotated

import typer

from jebm_core.cli.inputs import labelled_rows, open_model, require_model_place
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, SeedOption, TableArgument
from jebm_core.cli.output import require_writable, show, tell, tell_notes, write_json
from jebm_core.errors import TableError

LEAST_ROWS = 40
NAMES = {
    "ece_marginal": "calibration error of outputs",
    "ece_joint": "calibration error of the likeliest combination",
    "brier": "Brier score of outputs",
    "nll": "negative log-likelihood, audited (nats)",
}


def recalibrate(
    model: ModelArgument,
    table: TableArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the recalibrated model goes.")],
    method: Annotated[
        str, typer.Option(metavar="NAME", help="temperature: one number for all scores; vector: a shift a part too.")
    ] = "temperature",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Choose a temperature of the scores on labelled rows, and a shift of every part where asked for.

    Half of the rows choose, the other half judges; the log-partition is fitted again.

    Example: jebm recalibrate model validation.csv --out model2
    """
    require_writable(json)
    require_model_place(out)
    from jebm_core.tables import read_table

    fitted = open_model(model, device)
    examples = labelled_rows(fitted, read_table(table))
    tell_notes([*examples.notes, *fitted.record.encoder.report(examples.table)])
    if len(examples.keep) < LEAST_ROWS:
        raise TableError(
            "{file} has {count} complete rows; at least {least} are needed, half to choose a temperature and half to "
            "judge it. Add rows.",
            file=examples.table.name,
            count=len(examples.keep),
            least=LEAST_ROWS,
        )
    from jebm_core.evaluation.changes import compare
    from jebm_core.evaluation.measured import measure
    from jebm_core.evaluation.recalibrated import recalibrated
    from jebm_core.evaluation.recalibration import halves

    choose, judge = halves(examples, seed)
    tell(f"{len(choose.keep)} rows choose, {len(judge.keep)} others judge.")
    found = recalibrated(fitted, choose, method, seed=seed)
    changes = compare(measure(fitted, judge, seed=seed), measure(found.model, judge, seed=seed), seed=seed)
    found.model.save(out)
    record = {"method": method, **found.to_json(), "n": len(judge.keep), "changes": [vars(one) for one in changes]}
    write_json(json, record)
    chosen = record["temperature"]
    bounds = ""
    if "low" in chosen:
        bounds = f" ({chosen['low']:.3f} or more)"
        if chosen["high"] is not None:
            bounds = f" ({chosen['low']:.3f} to {chosen['high']:.3f})"
    lines = [f"Temperature {chosen['value']:.3f}{bounds}"]
    if "shift" in record:
        lines.append(f"Shifts of {len(record['shift'])} parts, up to {max(map(abs, record['shift'])):.3f} nats")
    for one in changes:
        change = f"{one.before:.4f} → {one.after:.4f}  (change {one.low:+.4f} to {one.high:+.4f})"
        lines.append(f"  {NAMES[one.name]:<45}{change}")
    show(lines, json)
