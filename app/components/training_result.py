"""How a finished training went: healthy or not, its numbers and its curves."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.components import place
from app.components.answer import Quantity, answer_line, quantities
from app.components.better_settings import better_settings
from app.components.curves import curves, reports_of
from app.components.empty import explain
from app.components.language import _, sentence
from app.components.later_rows import later_rows
from app.components.more_rows import more_rows
from app.components.problem import problem
from app.components.result import go_to_data_of, load_result, provenance
from app.components.storage import model_record
from app.components.verdict import Verdict
from app.text.numbers import count, decimal, duration, percent
from jebm_core.errors import UserError
from jebm_core.runs.records import RECALIBRATE, RunView


def other_settings(view: RunView, *, primary: bool = False) -> None:
    """Draw the way to a run like this one with changes."""
    kind = "primary" if primary else "secondary"
    if st.button(_("New run with other settings"), type=kind, key="again", width="stretch", icon=":material/tune:"):
        begin_again(view)
        st.rerun()


def begin_again(view: RunView) -> None:
    """Lay out the settings of a run to be changed and started as a new one; the training page shows them."""
    st.session_state["start_from"] = view.spec
    go_to_data_of(view.spec)
    place.put(run=None, depth="expert")


def training_result(view: RunView) -> None:
    """Draw how training went: the answer, its numbers, the curves, and the ways on."""
    if view.spec.kind_of_work == RECALIBRATE:
        _recalibrated(view)
        return
    lang = place.language()
    rows = reports_of(view)
    reports = [row.values for row in rows if row.values.get("stage") == "training"]
    try:
        result = load_result(view)
        summary = model_record(view.id).get("summary") or {}
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        other_settings(view)
        return
    # The model of the best held-out epoch is the one that was kept.
    last: Mapping[str, Any] = min(reports, key=_held_out_objective) if reports else {}
    verdict, reasons = _health(summary, last)
    nll, independent = summary.get("held_out_objective"), summary.get("held_out_nll_independent")
    values = {"epochs": count(summary.get("epochs") or 0, lang), "gap": "", "nll": decimal(nll, lang)}
    words = _("Training ended after {epochs} epochs at {nll} nat per validation row.")
    if verdict is Verdict.TRUSTED:
        words = _("Training is healthy: it ended after {epochs} epochs at {nll} nat per validation row.")
    if nll is not None and independent is not None and nll < independent:
        values["gap"] = decimal(independent - nll, lang)
        words = _(
            "Training is healthy: after {epochs} epochs validation rows are predicted {gap} nat better than by "
            "independent parts."
        ) if verdict is Verdict.TRUSTED else _(
            "After {epochs} epochs validation rows are predicted {gap} nat better than by independent parts."
        )  # fmt: skip
    answer_line(verdict, words.format(**values), [*reasons, *_stop_reason(view)])
    _ways_on()
    quantities(
        [
            Quantity(_("Epochs"), values["epochs"]),
            Quantity(_("Validation −log p"), decimal(nll, lang), _("nat per row")),
            Quantity(
                _("Effective sample size"),
                percent(last.get("effective_sample_size"), lang, 0),
                _("of the draws"),
                _("How many draws the estimate is really worth."),
            ),
            Quantity(_("Total mass"), decimal(last.get("total_mass"), lang), _("should be 1")),
            Quantity(_("Duration"), duration(view.elapsed, lang)),
        ],
        verdict,
    )
    curves(view)
    more_rows(view)
    if place.is_expert():
        better_settings(view)
    later_rows(view, verdict)
    explain(
        r"\min_{g,\tau}\; \mathbb{E}_{(x,y)}\big[\tau(x) - g(x,y)\big]"
        r" + \mathbb{E}_x\,\mathbb{E}_{y\sim q}\big[e^{\,g(x,y)-\tau(x)}\big] - 1",
        _(
            "Score and log-partition are learned together: the first part raises the score of what was observed, the "
            "second holds the total probability at one. The minimum over the log-partition is exact when the total "
            "mass is 1 for every case. The effective sample size tells whether the draws suffice for the second part. "
            "Validation rows are set aside within the training rows and say when to stop; the held-out rows, which "
            "judge the model on the other pages, are not among them."
        ),
        _("The joint objective is convex in the log-partition; its minimum is the likelihood."),
    )
    provenance(result)
    other_settings(view)


def _recalibrated(view: RunView) -> None:
    """Draw that a run has no training of its own, and the way to the one it started from."""
    with st.container(border=True, key="recalibrated", gap="medium"):
        st.markdown(_("This run took the scores of another one and recalibrated them; only that one was trained."))
        if st.button(_("See how it was trained"), key="open_trained", type="primary"):
            place.put(run=view.spec.parent)
            st.rerun()
    _ways_on()


def _held_out_objective(report: Mapping[str, Any]) -> float:
    found = report.get("held_out_objective")
    return float("inf") if found is None else float(found)


def _health(summary: Mapping[str, Any], last: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Return how healthy training was, and what speaks against it."""
    lang = place.language()
    reasons = []
    mass, share = last.get("total_mass"), last.get("effective_sample_size")
    if mass is not None and abs(mass - 1) > 0.1:
        reasons.append(
            _(
                "The total mass of the model that was kept was {mass}; its log-partition was finished after that."
            ).format(mass=decimal(mass, lang))
        )
    if share is not None and share < 0.1:
        reasons.append(
            _("The effective sample size is low, {share} of the draws: estimates rest on few of them.").format(
                share=percent(share, lang, 0)
            )
        )
    if summary.get("healthy") is False:
        return Verdict.DO_NOT_TRUST, reasons
    return (Verdict.CAUTION if reasons else Verdict.TRUSTED), reasons


def _stop_reason(view: RunView) -> list[str]:
    return [sentence(view.stop_reason)] if view.stop_reason is not None else []


def _ways_on() -> None:
    steps = [
        ("partition", _("Can I trust it?"), "views/partition.py", ":material/functions:"),
        ("calibration", _("Is it calibrated?"), "views/calibration.py", ":material/straighten:"),
        ("unseen", _("What to try next?"), "views/unseen.py", ":material/explore:"),
    ]
    for column, (key, label, target, icon) in zip(st.columns(len(steps)), steps, strict=True):
        with column:
            kind = "primary" if key == "partition" else "secondary"
            if st.button(label, key=f"go_{key}", type=kind, icon=icon, width="stretch"):
                st.switch_page(target)
