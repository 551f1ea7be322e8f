"""Overview: where does this project stand?"""

import streamlit as st

from app.components import place
from app.components.choose_data import open_sample
from app.components.data_view import data_verdict
from app.components.empty import page_heading
from app.components.language import _
from app.components.roles_table import first_roles
from app.components.run_list import run_list
from app.components.stage_gate import Stage, stage_gate
from app.components.storage import open_examples, open_table, recent_runs
from app.components.verdict import Verdict
from app.data_summary import summarise
from app.samples import samples
from app.text.numbers import count
from jebm_core.errors import UserError


def page() -> None:
    """Draw the page: what jebm answers, the one way in, how far this project is, and the recent runs."""
    page_heading(_("Overview"), _("Where does this project stand?"))
    words, way = st.columns([3.4, 1.2], gap="medium", vertical_alignment="center")
    with words:
        st.markdown(_("**Which combination is most likely?** Also among those never tried."))
        st.markdown(_("**How likely is it, and may I trust it?** Every probability is audited and calibrated."))
        st.markdown(_("**What next?** Which cases to try first, and which ones a person should decide."))
    with way:
        first = samples(place.language())[0]
        if st.button(_("Open the sample project"), type="primary", key="open_sample", width="stretch"):
            open_sample(first)
            st.switch_page("views/data.py")
        if st.button(_("Use your own data"), key="own_data", width="stretch"):
            place.put(dataset=None, roles=None, run=None)
            st.switch_page("views/data.py")
    st.subheader(_("Stage gate"), anchor=False)
    stage_gate(_stages())
    st.subheader(_("Recent runs"), anchor=False)
    runs = recent_runs()
    if runs:
        run_list(runs)
    else:
        st.caption(
            _("No run yet. A run appears here as soon as training starts, and stays when you close the browser.")
        )


def _stages() -> list[Stage]:
    verdict, line = _data_stage()
    waiting = Verdict.PENDING
    return [
        Stage(_("Data"), verdict, line, "views/data.py"),
        Stage(_("Candidate generator"), waiting, _("Which combinations are possible, and how they are drawn")),
        Stage(_("Model"), waiting, _("Is training healthy?"), "views/train.py"),
        Stage(_("Evidence"), waiting, _("Are the probabilities normalised and calibrated?"), "views/partition.py"),
        Stage(_("Decision"), waiting, _("Which combinations to try first"), "views/unseen.py"),
    ]


def _data_stage() -> tuple[Verdict, str]:
    try:
        table = open_table()
        if table is None:
            return Verdict.PENDING, _("No data set is open")
        roles, _reason = first_roles(table)
        if not roles.targets:
            return Verdict.PENDING, _("The outputs are not chosen yet")
        summary = summarise(open_examples(table.sha256, roles, table))
    except UserError:
        return Verdict.DO_NOT_TRUST, _("The data set can't be used as it is")
    rows = _("{count} rows are ready").format(count=count(summary.rows, place.language()))
    return data_verdict(summary), rows


page()
