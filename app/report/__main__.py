"""``python -m app.report RUN --format html --out FILE --language ja``: the report of a finished run as a file.

It isn't a command of ``jebm``: `jebm_core` never imports the dashboard.
"""

import sys
from pathlib import Path
from typing import Annotated, cast

import typer
from streamlit.logger import set_log_level

from app.text import LANGUAGES, Language
from jebm_core.cli.output import exit_code_of, tell
from jebm_core.errors import UserError


def report(
    run: Annotated[str, typer.Argument(help="Name of a finished run, as jebm runs lists it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")],
    kind: Annotated[
        str, typer.Option("--format", help="html, pptx, pdf, xlsx or json; by default the file's ending.")
    ] = "",
    language: Annotated[str, typer.Option(help="en or ja.")] = "en",
    success: Annotated[str, typer.Option(help="What a success is: slot=option. Default: result=pass.")] = "",
    trial_cost: Annotated[float, typer.Option(help="Cost of a trial.")] = 1.0,
    success_value: Annotated[float, typer.Option(help="Value of a success; 0 leaves it out.")] = 0.0,
    review_hours: Annotated[float, typer.Option(help="Hours of review that a trial takes.")] = 0.5,
    hour_price: Annotated[float, typer.Option(help="Price of an hour.")] = 0.0,
    currency: Annotated[str, typer.Option(help="Of the prices.")] = "",
) -> None:
    """Write the report of a finished run.

    Example: python -m app.report 3f2k9q1a --out report.html --language ja
    """
    if language not in LANGUAGES:
        raise UserError("--language: expected en or ja, found {found!r}.", found=language)
    slot, equals, option = success.partition("=")
    if success and not (slot and equals and option):
        raise UserError("--success: expected slot=option, such as result=pass, found {found!r}.", found=success)
    # The dashboard's caches say that no server runs; here none is needed.
    set_log_level("error")
    from app.components.report_service import file_of
    from app.report.facts import Choices
    from jebm_core.runs import RunStore
    from jebm_core.runs.ledger import EXPORTED

    choices = Choices(
        (slot, option) if success else None, trial_cost, success_value, review_hours, hour_price, currency
    )
    kind = kind or out.suffix.lstrip(".").lower()
    content = file_of(run, choices, cast(Language, language), kind)
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UserError(
            "{file} can't be written: {reason}.", file=str(out), reason=error.strerror or type(error).__name__
        ) from None
    RunStore().ledger.add(EXPORTED, run, format=kind, language=language)
    tell(f"The report is in {out}.")


def main() -> int:
    """Run the command; errors are one sentence on stderr, exit 2 for the user's input."""
    try:
        typer.run(report)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person never sees a traceback
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
