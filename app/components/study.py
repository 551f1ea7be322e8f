"""Work about a finished run, started from its page: offered, waiting, going on, failed, or done."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from app.components import place
from app.components.language import _, sentence
from app.components.live_run import POLL_SECONDS
from app.components.plain import escape
from app.components.problem import problem
from app.components.storage import run_of, start_run, store, study_of
from app.text.numbers import count, decimal, duration
from jebm_core.errors import UserError
from jebm_core.runs.records import SWEEP, RunSpec, RunView, State


def study(
    parent: RunView,
    kind: str,
    label: str,
    icon: str,
    *,
    method: str = "",
    source: str = "",
    disabled: bool = False,
    work: RunSpec | None = None,
    instead_of: str = "",
) -> RunView | None:
    """Draw how the newest work of one kind about a run stands, and return it once it has succeeded.

    Args:
        kind: a kind of work of `RunSpec`.
        label: of the button that starts it.
        method, source: as in `RunSpec`; another method or source is another work.
        disabled: it can't be started.
        work: what is to be done, where that is more than the run's own description with a method and a source.
        instead_of: a finished work that is to be done anew.
    """
    key = kind.replace("-", "_")
    wanted = work or replace(parent.spec, method=method, source=source or parent.spec.source)
    alike = [
        view
        for view in store().about(parent.id, kind)
        if (view.spec.method, view.spec.source) == (wanted.method, wanted.source)
    ]
    latest = alike[0] if alike else None
    if latest is not None and latest.state is State.SUCCEEDED and latest.id != instead_of:
        return latest
    if latest is not None and not latest.state.ended:
        store().ensure_runner()
        _under_way(latest.id, key)
        return None
    if latest is not None and latest.state is State.FAILED and latest.message is not None:
        st.error(escape(sentence(latest.message)), icon=":material/error:")
    if latest is not None and latest.state is State.CANCELLED:
        st.caption(_("It was cancelled before it had finished."))
    if st.button(label, key=f"start_{key}", icon=icon, disabled=disabled):
        try:
            with st.spinner(_("Starting …")):
                start_run(replace(wanted, kind_of_work=kind, parent=parent.id))
        except UserError as error:
            problem(error, title=_("This can't be started"))
            return None
        st.rerun()
    return None


def finding(done: RunView) -> Mapping[str, Any] | None:
    """Return what a finished study found out, or draw why it can't be read."""
    try:
        return study_of(done.id)
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        return None


@st.fragment(run_every=POLL_SECONDS)
def _under_way(run_id: str, key: str) -> None:
    view = run_of(run_id)
    if view.state.ended:
        st.rerun()
    with st.container(border=True, key=f"live_{key}", gap="small"):
        values = {} if view.progress is None else view.progress.values
        done, of = values.get("epoch"), values.get("epochs")
        share = done / of if isinstance(done, int) and isinstance(of, int) and of else 0.0
        if view.spec.kind_of_work == SWEEP and of:
            # It waits in the queue itself while its trials run: what came out so far says more.
            _trials_so_far(int(str(done)), int(str(of)), values.get("held_out_objective"))
        elif view.state is State.QUEUED:
            before = store().waiting_before(run_id)
            st.markdown(
                _("Runs before this one: {count}. It starts by itself.").format(count=before)
                if before
                else _("It starts within a few seconds. You may close this page; the run goes on.")
            )
        else:
            st.progress(min(share, 1.0))
            facts = [_("Running for {time}").format(time=duration(view.elapsed, place.language()))]
            if share > 0.02 and view.elapsed:
                left = duration(max(view.elapsed * (1 / share - 1), 1.0), place.language())
                facts.append(_("about {time} left").format(time=left))
            st.caption(" · ".join(facts))
        if view.cancelling:
            st.caption(_("Stopping …"))
        elif st.button(_("Cancel"), key=f"cancel_{key}", icon=":material/cancel:"):
            store().cancel(run_id)
            st.rerun()


def _trials_so_far(done: int, wanted: int, best: object) -> None:
    lang = place.language()
    st.progress(min(done / wanted, 1.0))
    facts = [_("{done} of {wanted} trials").format(done=count(done, lang), wanted=count(wanted, lang))]
    if isinstance(best, float):
        facts.append(_("the best so far: {objective} nat").format(objective=decimal(best, lang, 3)))
    st.caption(" · ".join(facts))
