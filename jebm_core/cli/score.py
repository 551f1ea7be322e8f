"""``jebm score``, ``jebm predict`` and ``jebm sample``: use a model on the rows of a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jebm_core.cli.bulk import ENGINES, MOST_TOP, BulkOptions, is_bulk, require_one_table, score_in_bulk
from jebm_core.cli.inputs import labelled_rows, open_model
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, ResultOption, SeedOption, TableArgument
from jebm_core.cli.output import progress, require_writable, tell_notes, write_json
from jebm_core.cli.results import require_result_place, write_results
from jebm_core.cli.trust import tell_trust, trust_of
from jebm_core.cli.utilities import decide, read_threshold, read_value_table
from jebm_core.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from torch import Tensor

    from jebm_core.fitted import FittedModel
    from jebm_core.model import Context
    from jebm_core.tables import OutputSchema, Table

UTILITIES = ("map", "f1", "hamming", "kendall")


def score(
    model: ModelArgument,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE", help="CSV, TSV, Excel, Parquet or ARFF; for a folder of results, Parquet files."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Where the results go: .csv, .parquet or .xlsx; or a folder."),
    ],
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Score what can be scored, and write row, column, rule and problem of the rest."
        ),
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = None,
    repeated: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="COLUMN", help="Folder: a column to repeat beside the results; may be given again."
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="K", min=0, max=MOST_TOP, help="Folder: write the K most probable rows, too.")
    ] = 0,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Folder: add nearest_seen_distance, which takes longer.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1024, help="Folder: processes; a core each by default.")
    ] = None,
    engine: Annotated[str, typer.Option(metavar="NAME", help="Folder: " + " or ".join(ENGINES) + ".")] = "local",
) -> None:
    """Say how likely each row's combination is.

    One result a row, in the order of the table, in nats.

    Columns: log_prob, log_prob_low and log_prob_high (95 %), seen (the combination occurred in training),
    nearest_seen_distance, in_support, verdict (trusted, caution or do not trust: what an audit of the log-partition
    on some of the rows says of these probabilities; the reason is a warning, and in the JSON).

    The interval holds the error of the log-partition; that of a model fitted with --replicates holds its own
    uncertainty as well, and the columns normalisation_low, normalisation_high, model_low and model_high have each
    alone. A row with a missing label keeps its place with empty results. With --errors so does every row that can't
    be read, and the
    file says why; rows that break a rule are named there too, and have probability 0.

    Where --out names a folder, TABLE is a Parquet file, a folder of them or a quoted pattern, of any size: each row
    group becomes a file in the folder's parts, in the order of the rows, without nearest_seen_distance. A run that was
    stopped or killed goes on when the same command is given again. A cell that can't be read ends it.

    Example: jebm score model new.csv --out scores.csv --errors errors.csv

    Example: jebm score model new/ --out scores --keep id --top 100
    """
    bulk = BulkOptions(tuple(repeated or ()), top, nearest, workers, engine)
    if is_bulk(table, out):
        if errors is not None:
            raise SpecError("Option --errors is for one table, found an --out that names a folder; leave one out.")
        score_in_bulk(model, table, out, bulk, device, json)
        return
    require_one_table(bulk)
    require_result_place(out)
    if errors is not None:
        require_result_place(errors)
    require_writable(json)
    from jebm_core.replicates import intervals, load_replicates
    from jebm_core.scoring.shard import log_prob_and_support
    from jebm_core.tables import read_table

    fitted = open_model(model, device)
    replicates = load_replicates(model, device=fitted.device)
    read = read_table(table)
    wrong = ""
    import torch

    if errors is None:
        examples = labelled_rows(fitted, read)
        notes, keep, y = examples.notes, examples.keep, torch.from_numpy(examples.outputs.values).to(fitted.device)
    else:
        y, keep, wrong = _readable(fitted, read, errors)
        notes = read.notes
    tell_notes([*notes, *fitted.record.encoder.report(read.part(keep))])
    context = fitted.context(read.part(keep))
    with progress("score") as report:
        report(f"scoring {len(y)} rows", None)
        trust = trust_of(fitted, context)
        value, supported = log_prob_and_support(fitted, context, y)
        low, high = fitted.record.interval
        members = [log_prob_and_support(m, m.context(read.part(keep)), y)[0] for m in replicates]
        stacked = torch.stack(members) if members else value.new_zeros(0, len(y))
        found = intervals(value, value + low, value + high, stacked)
        columns = {
            "log_prob": value,
            "log_prob_low": found.low,
            "log_prob_high": found.high,
            "seen": fitted.seen.contains(y),
            "nearest_seen_distance": fitted.seen.nearest(y)[0],
            "in_support": supported,
        }
        if replicates:
            columns |= {"normalisation_low": found.normalisation[0], "normalisation_high": found.normalisation[1]}
            columns |= {"model_low": found.model[0], "model_high": found.model[1]}
    import pandas as pd

    types = {"seen": "boolean", "nearest_seen_distance": "Int64", "in_support": "boolean"}
    kept = pd.DataFrame({name: values.cpu().numpy() for name, values in columns.items()}, index=keep)
    kept.insert(6, "verdict", trust.verdict)
    results = kept.astype(types).reindex(range(len(read.frame)))
    write_results(results, out)
    verdict = {"verdict": trust.verdict, "warning": trust.warning, "healthy": fitted.record.is_healthy}
    write_json(json, {"model": str(model), "table": read.name, "out": str(out), "rows": len(results), **verdict})
    tell_trust(trust)
    if json == "-":
        return
    empty = len(results) - len(kept)
    said = wrong or (f"; {empty} of them are empty, see above" if empty else "")
    typer.echo(f"{len(results)} rows written to {out}{said}.")


def _readable(fitted: "FittedModel", read: "Table", file: Path) -> "tuple[Tensor, np.ndarray, str]":
    """The rows that can be read, and what is said of the others, which are written to a file of their own."""
    import pandas as pd

    from jebm_core.errors import TableError
    from jebm_core.evaluation.lists import read_list

    found = read_list(fitted, read)
    if fitted.record.features and not found.own:
        fitted.record.encoder.transform(read)  # raises: it names the feature that is not there
    lines = [(error.row, error.column, error.rule, str(error.problem)) for error in found.errors]
    write_results(pd.DataFrame(lines, columns=["row", "column", "rule", "problem"]), file)
    if not len(found.keep):
        raise TableError(
            "{file}: none of the {count} rows can be scored; {errors} says why, row by row. Correct them.",
            file=read.name,
            count=len(read.frame),
            errors=file,
        )
    empty = len(read.frame) - len(found.keep)
    broken = int((~found.allowed).sum())
    return found.y, found.keep, f"; {empty} can't be read and {broken} break a rule: {len(lines)} problems in {file}"


def predict(
    model: ModelArgument,
    table: TableArgument,
    out: ResultOption,
    utility: Annotated[
        str,
        typer.Option(metavar="map|f1|hamming|kendall|FILE", help="What the answer should be best at; FILE is JSON."),
    ] = "map",
    threshold: Annotated[
        Path | None, typer.Option(metavar="FILE", help='JSON {"min_expected_utility": 0.6}; adds the column abstain.')
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A policy of jebm decide; adds abstain and abstain_reason.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Decide on a combination for each row.

    It is the one with the highest expected utility; ranks count from 1.

    A utility FILE values each label of subsets: {"true_positive": 1, "false_positive": -0.5, "false_negative": -1,
    "true_negative": 0}, or {"items": {"NAME": {…}}} for each label its own.

    Example: jebm predict model new.csv --utility f1 --out decisions.csv
    """
    require_result_place(out)
    if policy is not None and (utility != "map" or threshold is not None):
        raise SpecError(
            "Option --policy: a policy has its own values and threshold; leave --utility and --threshold out."
        )
    from jebm_core.tables import read_table

    least = None if threshold is None else read_threshold(threshold)
    fitted = open_model(model, device)
    schema = fitted.record.schema
    values = None if utility in UTILITIES else read_value_table(_utility_file(utility), schema)
    read = read_table(table)
    context = fitted.context(read)
    tell_notes(fitted.record.encoder.report(read))
    import torch

    generator = torch.Generator(fitted.device).manual_seed(seed)
    if policy is not None:
        _by_policy(policy, fitted, context, generator, out)
        return
    with progress("predict") as report:
        report(f"deciding on {len(read.frame)} rows", None)
        trust = trust_of(fitted, context)
        if values is None:
            decoded = fitted.predict(context, utility, generator=generator)
            y, expected = decoded.y.cpu().numpy(), decoded.expected_utility.double().cpu().numpy()
        else:
            y, expected = decide(fitted.marginals(context, generator=generator).double().cpu().numpy(), values)
    results = combinations(schema, y)
    results["expected_utility"] = expected
    written = f"{len(results)} rows written to {out}"
    if least is not None:
        abstain = ~(expected >= least)  # also where the expected utility is not a number
        results["abstain"] = abstain
        written += f"; {abstain.sum()} of them abstain"
    write_results(results, out)
    tell_trust(trust)
    typer.echo(f"{written}.")


def _by_policy(file: Path, fitted: "FittedModel", context: "Context", generator: "torch.Generator", out: Path) -> None:
    import numpy as np

    from jebm_core.decisions.policy import apply_policy, read_policy

    policy = read_policy(file, fitted)
    with progress("predict") as report:
        report(f"deciding on {len(context.x)} rows", None)
        found, reasons = apply_policy(policy, fitted, context, generator=generator)
    results = combinations(fitted.record.schema, found.y)
    results["expected_utility"] = found.expected_value
    results["expected_value"] = found.expected_value
    abstain = np.array([reason != "" for reason in reasons], dtype=bool)
    results["abstain"] = abstain
    results["abstain_reason"] = reasons
    write_results(results, out)
    typer.echo(f"{len(results)} rows written to {out}; {abstain.sum()} of them abstain.")


def _utility_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise SpecError(
            "Option --utility: expected one of {known} or a JSON file with a value table, found {found!r}, which is "
            "neither. Choose one of these, or check the file's name.",
            known=", ".join(UTILITIES),
            found=text,
        )
    return path


def sample(
    model: ModelArgument,
    table: TableArgument,
    out: ResultOption,
    n: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="Draws a row.")] = 1,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Draw combinations for each row.

    The draws are independent, and come with the effective sample size behind them.

    Columns: row (as a spreadsheet counts them), draw (from 1), the outputs, effective_sample_size.

    Example: jebm sample model new.csv -n 100 --out draws.parquet
    """
    require_result_place(out)
    from jebm_core.tables import read_table

    fitted = open_model(model, device)
    read = read_table(table)
    context = fitted.context(read)
    tell_notes(fitted.record.encoder.report(read))
    import numpy as np
    import torch

    generator = torch.Generator(fitted.device).manual_seed(seed)
    with progress("sample") as report:
        report(f"drawing {n} times for each of {len(read.frame)} rows", None)
        trust = trust_of(fitted, context)
        draws, effective = fitted.sample(context, n, generator=generator)
    results = combinations(fitted.record.schema, draws.transpose(0, 1).flatten(0, 1).cpu().numpy())
    numbers = np.array([read.row_number(place) for place in range(len(read.frame))])
    results.insert(0, "row", np.repeat(numbers, n))
    results.insert(1, "draw", np.tile(np.arange(1, n + 1), len(numbers)))
    results["effective_sample_size"] = np.repeat(effective.double().cpu().numpy(), n)
    write_results(results, out)
    tell_trust(trust)
    typer.echo(f"{len(results)} draws written to {out}.")


def combinations(schema: "OutputSchema", y: "np.ndarray") -> "pd.DataFrame":
    """Combinations [row, item] under the column names of the input, spelled as in the input; ranks count from 1."""
    import numpy as np
    import pandas as pd

    if schema.kind == "configurations":
        cells = {
            column: np.array(options, dtype=object)[y[:, place]]
            for place, (column, options) in enumerate(zip(schema.columns, schema.options, strict=True))
        }
        return pd.DataFrame(cells)
    return pd.DataFrame(y + (schema.kind == "rankings"), columns=list(schema.columns))
