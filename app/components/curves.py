"""The curves of a run's training: read on, and drawn anew, once for all who look at them."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from app.charts import TrainingHistory, TrainingLabels, training_curves
from app.components import place
from app.components.figure import Drawing, draw, is_night, prepared
from app.components.language import _
from app.components.storage import store
from app.text import Language
from app.text.numbers import decimal
from jebm_core.runs.records import ProgressRow, RunView

_FRESH: Final = 5.0
"""Seconds for which the curves of a running training are as somebody read and drew them last."""
_POINTS, _POINTS_LIVE = 1000, 250
"""Of each curve; while it grows, every viewer is sent it every two seconds."""


class _Reports:
    """What a run has reported, read on from where anybody read last."""

    def __init__(self) -> None:
        self._rows: list[ProgressRow] = []
        self._looked = float("-inf")
        self._lock = threading.Lock()

    def read(self, run_id: str, patience: float) -> tuple[ProgressRow, ...]:
        with self._lock:
            if time.monotonic() - self._looked >= patience:
                self._rows += store().history(run_id, self._rows[-1].step if self._rows else -1)
                self._looked = time.monotonic()
            return tuple(self._rows)


def reports_of(view: RunView) -> tuple[ProgressRow, ...]:
    """Return what a run has reported so far; while it is running, as of five seconds ago at most."""
    return _reports(view.id, view.attempt).read(view.id, 0.0 if view.state.ended else _FRESH)


def is_training(rows: Sequence[ProgressRow]) -> bool:
    """Return whether there are curves to draw."""
    return any(row.values.get("stage") == "training" for row in rows)


def curves(view: RunView) -> None:
    """Draw the four curves of a run's training, and their numbers."""
    rows = reports_of(view)
    if not is_training(rows):
        st.caption(_("This run kept no curves."))
        return
    drawing, title = _drawing(
        view.id, view.attempt, rows[-1].step, not view.state.ended, place.language(), is_night(), rows
    )
    draw(drawing, key="training", alt=title)


class TrainingChart(NamedTuple):
    """Four curves, what they show as a sentence, and their numbers under translated headings."""

    title: str
    chart: go.Figure
    labels: TrainingLabels
    columns: Mapping[str, Sequence[Any]]

    @property
    def table(self) -> pd.DataFrame:
        """The numbers as a page shows them."""
        return pd.DataFrame(dict(self.columns))


def training_chart(reports: Sequence[Mapping[str, Any]], *, running: bool) -> TrainingChart:
    """Return the curves of a training's reports, each of an epoch."""
    names = ("held_out_nll", "objective", "effective_sample_size", "total_mass")
    values = {name: [report.get(name) for report in reports] for name in names}
    epochs = [report["epoch"] for report in reports]
    known = (report.get("held_out_nll_independent") for report in reversed(reports))
    independent = next((value for value in known if value is not None), None)
    labels = TrainingLabels(
        epoch=_("Epoch"),
        held_out_nll=_("Validation −log p, nat per row (lower is better)"),
        model=_("This model"),
        independent=_("Independent parts"),
        objective=_("Training objective, nat (should fall)"),
        effective_sample_size=_("Effective sample size, share of draws (high is good)"),
        total_mass=_("Total mass (should approach 1)"),
    )
    heads = (labels.held_out_nll, labels.objective, labels.effective_sample_size, labels.total_mass)
    title = _title(values["held_out_nll"], independent, running=running)
    history = TrainingHistory(epoch=epochs, held_out_nll_independent=independent, **values)
    chart = training_curves(history, title=title, labels=labels, most=_POINTS_LIVE if running else _POINTS)
    return TrainingChart(title, chart, labels, {labels.epoch: epochs} | dict(zip(heads, values.values(), strict=True)))


def _title(nll: Sequence[float | None], independent: float | None, *, running: bool) -> str:
    known = [value for value in nll if value is not None]
    lang = place.language()
    if not known:
        return _("No validation likelihood yet")
    best = min(known)
    if independent is None:
        return _("Validation −log p has come down to {nll} nat per row").format(nll=decimal(best, lang))
    gap = decimal(abs(independent - best), lang)
    if best < independent:
        return _("Validation rows are predicted {gap} nat better than by independent parts").format(gap=gap)
    if running:
        return _("Still {gap} nat behind independent parts on validation rows").format(gap=gap)
    return _("Validation rows are predicted {gap} nat worse than by independent parts").format(gap=gap)


# A new attempt may have gone back to a checkpoint.
@st.cache_resource(max_entries=16, show_spinner=False)
def _reports(run_id: str, attempt: int) -> _Reports:
    return _Reports()


@st.cache_resource(max_entries=32, show_spinner=False)
def _drawing(
    run_id: str,
    attempt: int,
    step: int,
    running: bool,
    lang: Language,
    night: bool,
    _rows: Sequence[ProgressRow],
) -> tuple[Drawing, str]:
    found = training_chart([row.values for row in _rows if row.values.get("stage") == "training"], running=running)
    return prepared(found.chart, found.table), found.title
