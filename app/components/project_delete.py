"""Deleting a whole project: what goes is said first."""

import streamlit as st

from app.components import place
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.text.numbers import count, size
from jebm_core.errors import UserError
from jebm_core.runs.store import RunStore


def offer_to_delete(store: RunStore, name: str, title: str) -> None:
    """Draw the button that deletes a project: it opens a window that says what goes, and asks.

    Args:
        name: of a project that the person may delete.
        title: how the page calls it.
    """
    if st.button(_("Delete this project …"), key="delete_project", icon=":material/delete:", width="stretch"):
        st.dialog(_("Delete a project"))(_ask)(store, name, title)


def _ask(store: RunStore, name: str, title: str) -> None:
    try:
        planned = store.retention.planned(store.retention.in_project(name))
    except UserError as error:
        problem(error, title=_("This project can’t be deleted now"))
        return
    lang = place.language()
    with st.container(key="delete_project_ask", gap="small"):
        st.markdown(_("Delete the project “{title}” with all that belongs to it?").format(title=escape(title)))
        lines = [
            _("Runs, with models, curves and evaluations: {count} ({size})").format(
                count=count(len(planned.runs), lang), size=size(planned.bytes, lang)
            ),
            _("Data files that nothing else uses: {count}").format(count=count(len(planned.datasets), lang)),
        ]
        st.markdown("\n".join(f"- {line}" for line in lines))
        st.caption(_("This can’t be undone."))
        with st.container(horizontal=True, gap="small"):
            if st.button(
                _("Delete for good"), type="primary", key="delete_project_yes", icon=":material/delete_forever:"
            ):
                _delete(store, name)
            if st.button(_("Keep it"), key="delete_project_no"):
                st.rerun()


def _delete(store: RunStore, name: str) -> None:
    try:
        store.delete_project(name)
    except UserError as error:
        problem(error, title=_("This project can’t be deleted now"))
        return
    st.session_state.pop("runs_chosen", None)
    place.put(project=None, run=None, dataset=None, roles=None, generator=None, runs=None)
    st.switch_page("views/overview.py")
