"""Projects: whose runs a person sees, and where new runs go.

Where nobody signs in there is one project unless more are made, and everybody sees everything. Where people sign in,
each has a project of their own, may make more, and sees those that their owners share.
"""

import streamlit as st

from app.components import person, place
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.project_delete import offer_to_delete
from jebm_core.errors import UserError
from jebm_core.runs.ledger import UPLOADED
from jebm_core.runs.projects import MOST_NAME, Project
from jebm_core.runs.records import DEFAULT_PROJECT
from jebm_core.runs.store import RunStore


def visible(store: RunStore) -> tuple[Project, ...]:
    """Return the projects that the person may see, their own first."""
    found = store.projects.projects()
    if not person.sign_in_is_asked():
        return found
    me = person.who()
    return tuple(sorted((one for one in found if me in (one.owner, None) or one.shared), key=lambda p: p.owner != me))


def current(store: RunStore) -> str:
    """Return the project that is open: the one in the URL where it may be seen, else the person's own.

    Raises:
        UserError: the person's own project can't be made.
    """
    asked = place.get("project")
    if asked is not None and may_see(store, asked):
        return asked
    me = person.who()
    if me is None:
        return DEFAULT_PROJECT
    own = me[:MOST_NAME]
    if not any(one.name == own for one in store.projects.projects()):
        store.projects.add(own, owner=me)
    return own


def may_see(store: RunStore, name: str) -> bool:
    """Return whether the person may see what belongs to a project."""
    return any(one.name == name for one in visible(store))


def require(store: RunStore, name: str) -> None:
    """Refuse what belongs to a project of somebody else.

    Raises:
        UserError: the person may not see it.
    """
    if not may_see(store, name):
        raise UserError(
            "This belongs to the project {project} of somebody else, which is not shared. Ask its owner to share it.",
            project=name,
        )


def require_dataset(store: RunStore, sha256: str) -> None:
    """Refuse a data set that is neither the person's own upload nor in a project that they may see.

    Raises:
        UserError: the person may not see it.
    """
    if not person.sign_in_is_asked():
        return
    me = person.who()
    if any(entry.what == UPLOADED and entry.who == me for entry in store.ledger.entries(about=sha256)):
        return
    seen = {one.name for one in visible(store)}
    if not any(run.spec.project in seen for run in store.list_runs() if sha256 in (run.spec.dataset, run.spec.source)):
        raise UserError(
            "This data set was uploaded by somebody else and is in no project that you may see. Upload the file "
            "yourself, or ask for the project to be shared."
        )


def draw_switch(store: RunStore) -> None:
    """Draw in the sidebar which project is open, and what can be done with it."""
    shown = visible(store)
    names = [one.name for one in shown] or [DEFAULT_PROJECT]
    name = current(store)
    if len(names) > 1 or person.sign_in_is_asked():
        st.session_state["project_switch"] = name
        st.selectbox(_("Project"), names, format_func=_title, key="project_switch", on_change=_go)
    with st.popover(_("Projects"), icon=":material/folder:", width="stretch", key="projects"):
        _new(store)
        _share(store)
        if any(one.name == name and one.owner in ("", person.who()) for one in shown):
            offer_to_delete(store, name, _title(name))


def _title(name: str) -> str:
    return _("Default project") if name == DEFAULT_PROJECT else name


def _set_shared(store: RunStore, name: str) -> None:
    store.projects.share(name, shared=bool(st.session_state["share_project"]))


def _go() -> None:
    place.put(project=st.session_state["project_switch"], run=None, dataset=None, roles=None, generator=None)


def _new(store: RunStore) -> None:
    with st.form("new_project", border=False):
        name = st.text_input(_("New project"), max_chars=MOST_NAME, key="project_name")
        if not st.form_submit_button(_("Make project"), key="make_project"):
            return
    try:
        made = store.projects.add(name, owner=person.who() or "")
    except UserError as error:
        st.error(escape(sentence(error)))
        return
    place.put(project=made.name, run=None, dataset=None, roles=None, generator=None)
    st.rerun()


def _share(store: RunStore) -> None:
    """Draw the switch with which an owner lets everybody who signs in see a project."""
    me = person.who()
    mine = next((one for one in visible(store) if one.name == current(store) and one.owner == me), None)
    if me is None or mine is None:
        return
    st.session_state["share_project"] = mine.shared
    st.toggle(
        _("Everybody who signs in here may see this project"),
        key="share_project",
        on_change=_set_shared,
        args=(store, mine.name),
    )
