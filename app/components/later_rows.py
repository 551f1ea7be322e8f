"""Do later rows still look like those that a run was judged on? The drift of an uploaded table, made on request."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app.components import place
from app.components.answer import Quantity, quantities
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.components.storage import keep_later_rows, store
from app.components.study import finding, study
from app.components.verdict import Verdict
from app.text import marked
from app.text.numbers import Interval, count, decimal, percent, percent_interval
from jebm_core.errors import UserError
from jebm_core.runs.records import DRIFT, RunView

KINDS = {
    "inputs": marked("the features"),
    "outputs": marked("how often outcomes occur"),
    "likelihood": marked("how well they are predicted"),
    "combinations": marked("the share of new combinations"),
}


def later_rows(view: RunView, verdict: Verdict) -> None:
    """Draw how later rows compare with the held-out rows of a run, or the way to it."""
    st.subheader(_("Do later rows still look alike?"), anchor=False)
    if not view.spec.hold_out_fraction:
        st.caption(_("This run held out no rows to compare later ones with. Train again with a held-out part."))
        return
    st.caption(
        _(
            "Upload rows that came later, with their outcomes and the same columns. They are compared with the rows "
            "that this run held out: features, outcomes, how well both are predicted, and how many combinations are "
            "new."
        )
    )
    source = _chosen(view)
    if not source:
        return
    done = study(view, DRIFT, _("Compare"), ":material/compare_arrows:", source=source)
    if done is None:
        return
    found = finding(done)
    if found is None:
        return
    _shown(found, verdict)


def answer(found: Mapping[str, Any]) -> str:
    """Return whether the later rows drifted, as a sentence."""
    values = {"file": found["name"], "rows": count(found["rows_after"], place.language())}
    changed = [_(KINDS[name]) for name in found["drifted"]]
    if not changed:
        return _("{file}: nothing in these {rows} rows differs beyond chance").format(**values)
    return _("{file}: in these {rows} rows differ beyond chance: {what}").format(**values, what=_(", ").join(changed))


def _chosen(view: RunView) -> str:
    """The later rows to compare with: those just uploaded, else those of the newest comparison."""
    key = f"later_{view.id}"
    file = st.file_uploader(_("Later rows"), key=f"{key}_file")
    if file is not None:
        try:
            st.session_state[key] = keep_later_rows(file.getvalue(), file.name)
        except UserError as error:
            problem(error, _("Nothing was kept. Choose another file above, or mend this one and upload it again."))
            return ""
    works = store().about(view.id, DRIFT)
    return st.session_state.get(key) or (works[0].spec.source if works else "")


def _shown(found: Mapping[str, Any], verdict: Verdict) -> None:
    lang = place.language()
    st.markdown(f"**{escape(answer(found))}**")
    _change, low, high, _p = found["nll_change"]
    expected = Interval(*(found["expected_new"][key] for key in ("value", "low", "high")))
    new = Interval(*(found["new_share"][key] for key in ("value", "low", "high")))
    quantities(
        [
            Quantity(_("−log p of the held-out rows"), decimal(found["nll_before"], lang), _("nat per row")),
            Quantity(
                _("−log p of the later rows"),
                decimal(found["nll_after"], lang),
                _("change {low} to {high} nat").format(low=decimal(low, lang), high=decimal(high, lang)),
            ),
            Quantity(
                _("New combinations"),
                percent(new.value, lang),
                _("expected {share}").format(share=percent_interval(expected, lang)),
                _("Share of the later rows whose combination no training row had; expected by Good and Turing."),
            ),
        ],
        verdict,
    )
    shifts = sorted([*found["inputs"], *found["outputs"]], key=lambda one: one["p_value"])
    before, after = _("Held-out rows"), _("Later rows")
    table = pd.DataFrame(
        {
            _("Column or event"): [one["name"] for one in shifts],
            before: [_middle(one, "before") for one in shifts],
            after: [_middle(one, "after") for one in shifts],
            _("Size of the difference"): [decimal(one["size"], lang) for one in shifts],
            _("p, adjusted"): [_p_value(one["adjusted"]) for one in shifts],
            _("Beyond chance"): [_("yes") if one["drifted"] else _("no") for one in shifts],
        }
    )
    st.dataframe(table, hide_index=True, key="drift_frame", height=35 * min(len(table) + 1, 12) + 3)
    st.caption(
        _(
            "Held-out and later rows: median of numbers, share of an event. Size: stability index of a column (0.1 is "
            "little, 0.25 is much), difference of the shares of an event. p is adjusted for the number of comparisons: "
            "without any drift at least one is called beyond chance in 5 % of cases at most."
        )
    )


def _middle(shift: Mapping[str, Any], when: str) -> str:
    lang = place.language()
    return percent(shift[when], lang) if shift["kind"] == "event" else decimal(shift[when], lang)


def _p_value(p: float) -> str:
    lang = place.language()
    return f"<{decimal(0.001, lang, 3)}" if p < 0.0005 else decimal(p, lang, 3)
