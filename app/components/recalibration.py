"""Recalibration of a run from its page: chosen on validation rows, judged on held-out ones, a run of its own."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app.components import place
from app.components.language import _
from app.components.problem import problem
from app.components.result import Result
from app.components.storage import evaluation_of, run_of
from app.components.study import study
from app.text import marked
from app.text.numbers import decimal, percent
from jebm_core.errors import UserError
from jebm_core.runs.records import RECALIBRATE, RunView

METHODS = {
    "temperature": marked("One temperature for all scores"),
    "vector": marked("A temperature, and a shift for every part"),
}
NAMES = {
    "ece_marginal": marked("Error of single events"),
    "ece_joint": marked("Error of the likeliest combination"),
    "brier": marked("Brier score"),
    "nll": marked("−log p, nat"),
}


def recalibration(result: Result) -> None:
    """Draw what recalibrating the run did, or the way to do it."""
    st.subheader(_("Recalibrate"), anchor=False)
    spec = result.view.spec
    if spec.kind_of_work == RECALIBRATE:
        _changes(result.evaluation.get("recalibration") or {})
        if st.button(_("Open the run as it was before"), key="open_parent", icon=":material/undo:"):
            _open(spec.parent)
        return
    if result.evaluation.get("provenance", {}).get("settings", {}).get("divergence", "kl") != "kl":
        st.caption(_("Only models trained with the KL divergence have a temperature."))
        return
    st.markdown(
        _(
            "Scores can be made meeker or bolder until stated and observed shares agree best. Rows that training only "
            "stopped by choose; the held-out rows judge. The log-partition is fitted again, and the result is a run "
            "of its own."
        )
    )
    method = "temperature"
    if place.is_expert():
        method = st.segmented_control(
            _("Way of recalibrating"),
            list(METHODS),
            default="temperature",
            required=True,
            format_func={name: _(word) for name, word in METHODS.items()}.__getitem__,
            key="recalibration_method",
        )
    done = study(result.view, RECALIBRATE, _("Recalibrate this run"), ":material/tune:", method=method)
    if done is not None:
        _outcome(done)


def _outcome(done: RunView) -> None:
    try:
        record = evaluation_of(done.id)
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        return
    _changes(record.get("recalibration") or {})
    if st.button(
        _("Open the recalibrated run"), key="open_recalibrated", type="primary", icon=":material/open_in_new:"
    ):
        _open(done.id)


def _open(run_id: str) -> None:
    try:
        run_of(run_id)
    except UserError as error:
        problem(error, title=_("This run is not here"))
        return
    place.put(run=run_id)
    st.rerun()


def _changes(record: Mapping[str, Any]) -> None:
    """Draw the finding, and the numbers before and after."""
    lang = place.language()
    changes = {change["name"]: change for change in record.get("changes") or []}
    chosen = record.get("temperature") or {}
    bounds = [decimal(chosen.get(end), lang) for end in ("low", "high")]
    words = _("Temperature {value} ({low} to {high}), chosen by {rows} rows.")
    if "low" not in chosen:
        words = _("Temperature {value} and a shift for each of {parts} parts, chosen by {rows} rows.")
    elif chosen["high"] is None:
        words = _("Temperature {value} ({low} or more), chosen by {rows} rows.")
    said = words.format(
        value=decimal(chosen.get("value"), lang),
        low=bounds[0],
        high=bounds[1],
        rows=chosen.get("n", 0),
        parts=len(record.get("shift") or []),
    )
    if not changes:
        st.markdown(_("No row was held out, so nothing judges the recalibrated run."))
        st.caption(said)
        return
    st.markdown(f"**{finding(changes['ece_marginal'])}**")
    st.caption(said)
    rows = [change for name, change in changes.items() if name in NAMES]

    def shown(change: Mapping[str, Any], key: str) -> str:
        is_share = change["name"].startswith("ece")
        return percent(change[key], lang) if is_share else decimal(change[key], lang, 3)

    def interval(change: Mapping[str, Any]) -> str:
        low, high = change["low"], change["high"]
        if change["name"].startswith("ece"):
            return _("{low} to {high} points").format(
                low=decimal(100 * low, lang, 1), high=decimal(100 * high, lang, 1)
            )
        return _("{low} to {high}").format(low=decimal(low, lang, 3), high=decimal(high, lang, 3))

    words_of = [_(word) for word in (NAMES[row["name"]] for row in rows)]
    st.table(
        pd.DataFrame(
            {
                _("Measure"): words_of,
                _("Before"): [shown(row, "before") for row in rows],
                _("After"): [shown(row, "after") for row in rows],
                _("Change, 95 %"): [interval(row) for row in rows],
            }
        ).set_index(_("Measure"))
    )


def finding(change: Mapping[str, Any]) -> str:
    """Return what happened to the error of single events, as a sentence."""
    lang = place.language()
    before, after = (percent(change[key], lang) for key in ("before", "after"))
    if change["high"] < 0:
        words = _("Recalibrating brought the error of single events down from {before} to {after}")
    elif change["low"] > 0:
        words = _("Recalibrating made the error of single events larger, from {before} to {after}")
    else:
        words = _("Recalibrating changed the error of single events no more than chance does: {before} to {after}")
    return words.format(before=before, after=after)
