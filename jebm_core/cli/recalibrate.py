"""``jebm recalibrate``: weaken or strengthen the scores of a model until its probabilities fit labelled rows."""

from pathlib import Path
from typing import Annotated

import typer

from jebm_core.cli.inputs import labelled_rows, open_model, require_model_place
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, SeedOption, TableArgument
from jebm_core.cli.output import require_writable, show, tell, tell_notes, write_json
from jebm_core.errors import TableError

LEAST_ROWS = 40


def recalibrate(
    model: ModelArgument,
    table: TableArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the recalibrated model goes.")],
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Choose a temperature of the scores on labelled rows.

    Half of the rows choose it, the other half judges it; the log-partition is fitted again.

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
    import dataclasses

    from jebm_core.evaluation import evaluate
    from jebm_core.evaluation.recalibration import choose_temperature, halves, with_temperature

    choose, judge = halves(examples, seed)
    tell(f"{len(choose.keep)} rows choose the temperature, {len(judge.keep)} others judge it.")
    found = choose_temperature(fitted, choose, seed=seed)
    mended = with_temperature(fitted, found.value, choose, seed=seed)
    parts = {name: evaluate(m, judge, seed=seed) for name, m in (("before", fitted), ("after", mended))}
    mended.save(out)
    keys = ("n", "nll", "nll_learned", "ece_marginal", "ece_joint")
    record = {"temperature": dataclasses.asdict(found)}
    record |= {name: {key: getattr(part, key) for key in keys} for name, part in parts.items()}
    write_json(json, record)
    names = {"nll": "negative log-likelihood, audited (nats)", "ece_marginal": "calibration error of outputs"}
    names["ece_joint"] = "calibration error of combinations"
    lines = [f"Temperature {found.value:.3f} ({found.low:.3f} to {found.high:.3f})"]
    lines += [f"  {word:<45}{record['before'][key]:.4f} → {record['after'][key]:.4f}" for key, word in names.items()]
    show(lines, json)
