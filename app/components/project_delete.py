"""Deleting a whole project: what goes is said first."""

from typing import Final

import streamlit as st

from app.components import place
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.text.numbers import count, size
from jebm_core.errors import UserError
from jebm_core.runs.store import RunStore

_ASKED: Final = "project_to_delete"


def offer_to_delete(store: RunStore, name: str, title: str) -> None:
    """Draw the button that deletes a project, and once it was pressed, what goes and the question.

    Args:
        name: of a project that the person may delete.
        title: how the page calls it.
    """
    if st.session_state.get(_ASKED) == name:
        _ask(store, name, title)
        return
    if st.button(_("Delete this project …"), key="delete_project", icon=":material/delete:", width="stretch"):
        st.session_state[_ASKED] = name
        st.rerun()


def _ask(store: RunStore, name: str, title: str) -> None:
    try:
        planned = store.retention.planned(store.retention.in_project(name))
    except UserError as error:
        _refuse(error)
        return
    lang = place.language()
    with st.container(border=True, key="delete_project_ask", gap="small"):
        st.markdown(_("Delete the project “{title}” with all that belongs to it?").format(title=escape(title)))
        lines = [
            _("Runs, with models, curves and evaluations: {count} ({size})").format(
                count=count(len(planned.runs), lang), size=size(planned.bytes, lang)
            ),
            _("Data files that nothing else uses: {count}").format(count=count(len(planned.datasets), lang)),
        ]
        st.markdown("\n".join(f"- {line}" for line in lines))
        st.caption(_("This can’t be undone."))
        if st.button(
            _("Delete for good"), type="primary", key="delete_project_yes", icon=":material/delete_forever:",
            width="stretch",
        ):  # fmt: skip
            _delete(store, name)
        if st.button(_("Keep it"), key="delete_project_no", width="stretch"):
            _forget()
            st.rerun()


def _delete(store: RunStore, name: str) -> None:
    try:
        store.delete_project(name)
    except UserError as error:
        _refuse(error)
        return
    _forget()
    st.session_state.pop("runs_chosen", None)
    place.put(project=None, run=None, dataset=None, roles=None, generator=None, runs=None)
    st.switch_page("views/overview.py")


def _refuse(error: UserError) -> None:
    problem(error, title=_("This project can’t be deleted now"))
    if st.button(_("Close"), key="delete_project_close"):
        _forget()
        st.rerun()


def _forget() -> None:
    st.session_state.pop(_ASKED, None)
