"""``jebm decide``: what to do with which row, and when a person should decide."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jebm_core.cli.inputs import labelled_rows, open_model
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, SeedOption, TableArgument
from jebm_core.cli.output import progress, require_writable, show, tell_notes, write_file, write_json
from jebm_core.errors import SpecError

if TYPE_CHECKING:
    from jebm_core.decisions.policy import Policy


def decide(
    model: ModelArgument,
    table: TableArgument,
    values: Annotated[Path, typer.Option(metavar="FILE", help="YAML: what right and wrong parts are worth.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the policy goes, as YAML.")],
    alpha: Annotated[float, typer.Option(help="The risk that is still accepted.")] = 0.1,
    delta: Annotated[
        float | None,
        typer.Option(help="Chance of missing the target; with it, the risk of answered rows is controlled."),
    ] = None,
    loss: Annotated[
        str, typer.Option(metavar="exact|items", help="What is risked: an answer not right as a whole, or wrong parts.")
    ] = "exact",
    fitted: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Rows that far rows are told by; default: those of TABLE."),
    ] = None,
    far: Annotated[float, typer.Option(help="Share of ordinary rows that may be called far.")] = 0.01,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Make a policy from labelled rows that the fit has not seen.

    The policy decides by expected value and hands a row to a person where the model is not sure enough, where the row
    is far from those known, or where the answer is impossible; jebm predict --policy applies it.

    A values FILE for subsets: every: {hit: 10, false_alarm: 2, miss: 5}, and optionally labels: {NAME: {…}},
    cost_per_item: {1: 3, 4: 2}, exact_bonus: 20, not_acting: 0, currency: EUR. For configurations:
    every: {right: 10, wrong: -5}, and optionally slots: {NAME: {…}}.

    Example: jebm decide model labelled.csv --values values.yaml --alpha 0.1 --out policy.yaml
    """
    require_writable(out)
    require_writable(json)
    from jebm_core.tables import read_table

    loaded = open_model(model, device)
    read = read_table(table)
    if read.sha256 == loaded.record.data_sha256:
        raise SpecError(
            "{file} is the file that the model was fitted to; a guarantee needs labelled rows that the fit has not "
            "seen. Give others, or fit again without some of these.",
            file=read.name,
        )
    from jebm_core.decisions.values import read_values

    worth = read_values(values, loaded.record.schema)
    examples = labelled_rows(loaded, read)
    tell_notes([*examples.notes, *loaded.record.encoder.report(read)])
    from jebm_core.decisions.measuring import decision_record, measure_decisions
    from jebm_core.decisions.policy import make_policy
    from jebm_core.evaluation import evaluate
    from jebm_core.report import verdict

    context = loaded.context(read.part(examples.keep))
    known = context.x.cpu().numpy()
    if fitted is not None:
        known = loaded.record.encoder.transform(read_table(fitted))
    with progress("decide") as report:
        report(f"deciding on {len(examples.keep)} rows", None)
        found = measure_decisions(loaded, context, examples.outputs.values, worth, seed=seed)
        judged = evaluate(
            loaded, examples, seed=seed, on_progress=lambda share: report("judging the model on the same rows", share)
        )
        policy = make_policy(
            loaded, found, worth, known, loss=loss, alpha=alpha, delta=delta, far_alpha=far,
            verdict=verdict(judged.to_json())[0], rows_name=read.name, rows_sha256=read.sha256, seed=seed,
        )  # fmt: skip
    record = decision_record(found, worth, policy.guarantee, verdict=policy.verdict, seed=seed)
    write_file(out, policy.to_yaml().encode("utf-8"))
    write_json(json, record)
    show(_lines(record, policy, out), json)


def _lines(record: dict[str, Any], policy: "Policy", out: Path) -> Iterator[str]:
    from jebm_core.decisions.conformal import least_rows

    unit = f" {record['currency']}" if record["currency"] else ""
    value, low, high = record["value"]
    yield f"Deciding by expected value is worth {value:.4g}{unit} a row ({low:.4g} to {high:.4g}); the model expected"
    yield f"  {record['expected']:.4g}; knowing the truth {record['oracle']:.4g}; not acting {record['not_acting']:.4g}"
    if record["gain_independent"] is not None:
        gain, low, high, p = record["gain_independent"]
        yield f"  gain over deciding from independent parts: {gain:.4g} ({low:.4g} to {high:.4g}, p = {p:.2g})"
    given = policy.guarantee
    yield f"Answers {given.coverage:.1%} of the rows, those with a confidence above {given.threshold:.4g}."
    yield f"  The verdict on the model: {policy.verdict}."
    yield f"  {given.words}"
    least = least_rows(given.alpha)
    if given.kind == "crc" and given.n < least:
        yield f"  {given.n} rows are too few to answer anything at {given.alpha:g}; {least} are needed."
    yield f"Policy written to {out}."
