"""``jebm evaluate`` and ``jebm audit``: how good a model is, and whether its probabilities are normalised."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from jebm_core.cli.inputs import labelled_rows, open_model
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, SeedOption, TableArgument
from jebm_core.cli.output import progress, require_writable, show, tell, tell_notes, write_json
from jebm_core.errors import SpecError
from jebm_core.report import judge_audit, verdict

if TYPE_CHECKING:
    from jebm_core.report import Sentence, Verdict

_NAMES = {
    "nll": "negative log-likelihood, audited (nats)",
    "nll_learned": "negative log-likelihood, learned (nats)",
    "nll_independent": "negative log-likelihood, independent outputs (nats)",
    "f1": "F1, decoded for F1",
    "f1_map": "F1, most probable combination",
    "subset_accuracy": "share of combinations exactly right",
    "hamming_loss": "Hamming loss",
    "kendall_tau": "Kendall's tau",
    "ece_marginal": "calibration error of outputs",
    "ece_joint": "calibration error of combinations",
    "brier": "Brier score",
}


def evaluate(
    model: ModelArgument,
    table: TableArgument,
    event: Annotated[
        list[str] | None, typer.Option(metavar="EXPR", help="An event, such as “a and not b”; may be repeated.")
    ] = None,
    cohort: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Compare groups of rows; may be repeated.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Judge a model on a labelled table.

    Measures likelihood, decisions, calibration, and the learned log-partition against an audit; in nats.

    Example: jebm evaluate model test.csv --event "a and not b" --cohort x_region --json evaluation.json
    """
    require_writable(json)
    from jebm_core.tables import read_table

    fitted = open_model(model, device)
    examples = labelled_rows(fitted, read_table(table))
    tell_notes([*examples.notes, *fitted.record.encoder.report(examples.table)])
    import dataclasses

    from jebm_core.evaluation.cohorts import cohort_column, judge_cohorts
    from jebm_core.evaluation.events import event_of, judge_events
    from jebm_core.evaluation.measured import measure
    from jebm_core.evaluation.scores import summarise

    events = [event_of(fitted, text) for text in event or ()]
    names = [str(name) for name in examples.table.frame.columns]
    columns = [cohort_column(names, column, examples.table.name) for column in cohort or ()]
    with progress("evaluate") as report:
        measured = measure(
            fitted,
            examples,
            seed=seed,
            on_progress=lambda share: report(f"evaluating {len(examples.keep)} rows", share),
        )
        record = summarise(fitted, measured, seed=seed).to_json()
    if events:
        record["events"] = [dataclasses.asdict(found) for found in judge_events(fitted, examples, events, seed=seed)]
    if columns:
        record["cohorts"] = [judge_cohorts(measured, examples, column, seed=seed).to_json() for column in columns]
    write_json(json, record)
    _warn(*verdict(record))
    show([*_evaluation_lines(record), *_event_lines(record), *_cohort_lines(record)], json)


def audit(
    model: ModelArgument,
    table: TableArgument,
    method: Annotated[str, typer.Option(metavar="NAME", help="auto, exact, ais or importance.")] = "auto",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Audit the learned log-partition on a table.

    The learned value of every row is held against an independent computation, in nats. Labels are not needed.

    The JSON has for each row the interval of that computation (low, high) and two bounds that hold for any learned
    value: bound_low, variational, and bound_high, from the joint objective; null where a model has none.

    Example: jebm audit model test.csv --method auto --json audit.json
    """
    require_writable(json)
    from jebm_core.tables import read_table

    read = read_table(table)
    fitted = open_model(model, device)
    from jebm_core.evaluation.audit import ROW_KEYS
    from jebm_core.evaluation.partition import Method, audit_partition

    if method not in get_args(Method):
        raise SpecError(
            "Option --method: expected one of {known}, found {found!r}; choose one of these.",
            known=", ".join(get_args(Method)),
            found=method,
        )
    context = fitted.context(read)
    tell_notes(fitted.record.encoder.report(read))
    with progress("audit") as report:
        found = audit_partition(
            fitted.model,
            context,
            method=cast(Method, method),
            seed=seed,
            on_progress=lambda share: report(f"auditing {len(context.x)} rows", share),
        )
    arrays = {name: getattr(found, name).tolist() for name in ROW_KEYS}
    summary = found.summary(healthy=fitted.record.is_healthy).to_json()
    rows = {"row": [read.row_number(place) for place in range(len(read.frame))], **arrays}
    write_json(json, {"model": str(model), "table": read.name, "log_partition": summary, **arrays, "rows": rows})
    _warn(*judge_audit(summary, healthy=fitted.record.is_healthy))
    show(_partition_lines(summary), json)


def _warn(found: "Verdict", reasons: "Sequence[Sentence]") -> None:
    """Say on stderr that the numbers are not to be trusted, and why."""
    if found == "do not trust":
        tell(f"Warning: do not trust the probabilities of this model. {' '.join(map(str, reasons))}")


def _evaluation_lines(record: Mapping[str, object]) -> Iterator[str]:
    yield f"{record['n']} rows, {record['space']}"
    for key, name in _NAMES.items():
        if isinstance(record.get(key), int | float):
            yield f"  {name:<55}{record[key]:.4f}"
    yield from _partition_lines(cast("Mapping[str, object]", record["log_partition"]))


def _event_lines(record: Mapping[str, Any]) -> Iterator[str]:
    for event in record.get("events", ()):
        yield (
            f"Event {event['expression']}: stated {event['mean_stated']:.1%}, observed {event['observed']:.1%} "
            f"({event['low']:.1%} to {event['high']:.1%}) of {event['n']} rows; calibration error {event['ece']:.1%}, "
            f"by chance up to {event['ece_chance']:.1%}"
        )


def _cohort_lines(record: Mapping[str, Any]) -> Iterator[str]:
    for cohorts in record.get("cohorts", ()):
        yield f"Groups by {cohorts['column']} (p-values adjusted: {cohorts['method']})"
        for group in cohorts["groups"]:
            words = "beyond chance" if group["flagged"] else "within chance"
            yield (
                f"  {group['name']:<24}{group['n']:>6} rows, −log p {group['nll']:.3f}, calibration error "
                f"{group['ece']:.1%}, p = {group['adjusted']:.3f}: {words}"
            )


def _partition_lines(summary: Mapping[str, object]) -> Iterator[str]:
    kind = "exact" if summary["exact"] else "estimate"
    yield f"Log-partition, learned against {summary['method']} ({kind}) on {summary['n']} rows: {summary['verdict']}"
    for key, name in (("mae", "mean absolute error (nats)"), ("bias", "bias (nats)"), ("r2", "R²")):
        if isinstance(summary[key], int | float):
            yield f"  {name:<55}{summary[key]:.4f}"
