"""``jebm drift``: do new rows still come from where the earlier ones came from?"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jebm_core.cli.inputs import labelled_rows, open_model
from jebm_core.cli.options import DeviceOption, JsonOption, ModelArgument, SeedOption
from jebm_core.cli.output import require_writable, show, tell_notes, write_json

if TYPE_CHECKING:
    from jebm_core.evaluation.drift import Drift, Shift

MOST_LINES = 10
WORDS = {
    "inputs": "the inputs",
    "outputs": "how often outputs occur",
    "likelihood": "how well the model predicts",
    "combinations": "the share of new combinations",
}


def drift(
    model: ModelArgument,
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="Labelled rows that the model was judged on.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Labelled rows that came later.")],
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Compare new rows with those that the model was judged on.

    Looks at every input, at how often outputs occur, at the likelihood under the model (in nats), and at the share of
    combinations that training did not have. The rows of BEFORE must not be ones that the model was fitted to.

    Example: jebm drift model test.csv this_month.csv --json drift.json
    """
    require_writable(json)
    from jebm_core.tables import read_table

    fitted = open_model(model, device)
    tables = [labelled_rows(fitted, read_table(file)) for file in (before, after)]
    for examples in tables:
        tell_notes([*examples.notes, *fitted.record.encoder.report(examples.table)])
    from jebm_core.evaluation.drift import drift as compare

    found = compare(fitted, *tables, seed=seed)
    write_json(json, found.to_json())
    show(_lines(found), json)


def _lines(found: "Drift") -> Iterator[str]:
    yield f"{found.rows_before} earlier rows, {found.rows_after} new ones"
    changed = [WORDS[name] for name in found.drifted]
    yield f"Drifted beyond chance: {', '.join(changed)}." if changed else "No drift beyond chance."
    change, low, high, p = found.nll_change
    yield (
        f"−log p: {found.nll_before:.3f} → {found.nll_after:.3f} nats "
        f"(change {low:+.3f} to {high:+.3f}, p = {p:.3f} for worse)"
        if change == change
        else "−log p: not known"
    )
    new, expected = found.new_share, found.expected_new
    yield (
        f"new combinations: {new.value:.1%} ({new.low:.1%} to {new.high:.1%}); expected by Good and Turing "
        f"{expected.value:.1%} ({expected.low:.1%} to {expected.high:.1%}), by the model {found.stated_new:.1%}"
    )
    shifts = sorted([*found.inputs, *found.outputs], key=lambda one: one.p_value)
    for shift in [one for one in shifts if one.drifted][:MOST_LINES]:
        yield f"  {_line(shift)}"


def _line(shift: "Shift") -> str:
    said = f"p = {shift.adjusted:.2g}, adjusted"
    if shift.kind == "event":
        return f"{shift.name}: {shift.before:.1%} → {shift.after:.1%} ({said})"
    middle = f"median {shift.before:.4g} → {shift.after:.4g}, " if shift.kind == "numbers" else ""
    return f"{shift.name}: {middle}stability index {shift.size:.2f} ({said})"
