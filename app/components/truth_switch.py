"""The one switch that shows the truth beside the estimates, on sample projects only."""

import streamlit as st

from app.components.language import _
from app.components.result import Result
from app.truth import truth_of
from sample_data.truth import Truth


def truth_switch(result: Result) -> Truth | None:
    """Draw the switch where the truth is known; return the truth while it is on."""
    truth = truth_of(result.view.spec.dataset, result.schema)
    if truth is None:
        return None
    shown = st.toggle(
        _("Show the truth beside the estimates"),
        key="truth",
        value=bool(st.session_state.get("truth_shown")),
        help=_("This sample was generated, so every true probability is known. Real data have no such switch."),
    )
    st.session_state["truth_shown"] = shown
    return truth if shown else None
