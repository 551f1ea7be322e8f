"""The check before a start: what goes in, how many combinations there are, where it runs and about how long."""

from app.components import place
from app.components.answer import Quantity, quantities
from app.components.language import _
from app.components.plain import escape
from app.components.train_settings import Choice
from app.preflight import cores, expected_seconds, has_gpu, log_combinations
from app.text.numbers import combinations, count, duration, whole
from jebm_core.tables import Examples, Table


def preflight_line(table: Table, examples: Examples, start: Choice) -> str:
    """Return which rows are used for what, as one sentence."""
    lang = place.language()
    held = round(start.fraction * len(examples.keep))
    rows = _("“{file}”: {rows} rows, of which {held} are kept out of training to judge the result.")
    return rows.format(
        file=escape(table.name),
        rows=count(len(examples.keep), lang),
        held=count(held, lang),
    )


def preflight_facts(examples: Examples, start: Choice, valid: int | None = None) -> None:
    """Draw what goes in, how many combinations there are, where it runs and about how long.

    Args:
        examples: the rows.
        start: the settings.
        valid: how many combinations the rules leave; nothing without rules.
    """
    lang = place.language()
    outputs = examples.outputs
    low, high = expected_seconds(outputs, len(examples.keep), start.settings.epochs, start.settings.time_budget)
    kinds = {"subsets": _("labels"), "configurations": _("slots"), "rankings": _("items to rank")}
    quantities(
        [
            Quantity(_("Features"), count(len(examples.roles.features), lang), _("known beforehand")),
            Quantity(_("Outputs"), count(len(outputs.names), lang), kinds[outputs.kind]),
            Quantity(
                _("Each row is one of"),
                combinations(log_combinations(outputs), lang) if valid is None else whole(valid, lang),
                _("possible combinations") if valid is None else _("valid combinations"),
            ),
            Quantity(
                _("Runs on"),
                _("GPU") if has_gpu() and start.settings.device != "cpu" else _("CPU"),
                "" if has_gpu() else _("{count} cores").format(count=cores()),
            ),
            Quantity(
                _("Takes about"),
                duration(_rounded((low * high) ** 0.5), lang),
                _("{low} to {high}").format(low=duration(_rounded(low), lang), high=duration(_rounded(high), lang)),
            ),
        ]
    )


def _rounded(seconds: float) -> float:
    step = 5 if seconds < 60 else 60
    return max(step, step * round(seconds / step))
