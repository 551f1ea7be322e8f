"""The list of runs: what each is and how it came out, what can be done with it, and which are chosen to be compared."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from app.components import place
from app.components.compare_service import MOST
from app.components.generator_names import generator_title
from app.components.language import _, sentence
from app.components.live_run import POLL_SECONDS, progress_line, stage_words
from app.components.plain import escape
from app.components.problem import problem
from app.components.run_compare import LETTERS
from app.components.run_filters import COLUMNS, Wanted
from app.components.run_list import run_title, state_badge
from app.components.storage import open_run_from_list, run_of, stopped_early, store
from app.components.training_result import begin_again
from app.text.numbers import MISSING, count, decimal, duration, moment, size
from jebm_core.errors import UserError
from jebm_core.runs.records import RunView, Span, State

PER_PAGE: Final = 10
_METRIC: Final = "held_out_nll"
_DELETING: Final = "run_to_delete"


@st.fragment(run_every=POLL_SECONDS)
def under_way(run_ids: tuple[str, ...]) -> None:
    """Draw runs that wait or run, and look again every two seconds; when one has ended, the page is drawn anew."""
    for run_id in run_ids:
        view = run_of(run_id)
        if view.state.ended:
            st.rerun()
        with st.container(border=True, key=f"live_{run_id}", gap="small"):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{escape(run_title(view))}**", width="stretch")
                state_badge(view.state)
                if st.button(_("Open"), key=f"open_live_{run_id}", icon=":material/open_in_new:"):
                    open_run_from_list(view)
                if not view.cancelling and st.button(_("Cancel"), key=f"cancel_{run_id}", icon=":material/cancel:"):
                    store().cancel(run_id)
                    st.rerun()
            if view.state is State.QUEUED:
                before = store().waiting_before(run_id)
                waiting = _("Runs before this one: {count}. It starts by itself.").format(count=before)
                st.caption(waiting if before else _("It starts within a few seconds."))
            else:
                st.caption(stage_words(view))
                progress_line(view)


def run_rows(runs: Sequence[RunView], wanted: Wanted) -> None:
    """Draw ended runs, ten at a time, and the bar that compares the chosen ones."""
    pages = -(-len(runs) // PER_PAGE)
    bar = st.container()
    at = 1
    below = st.container()
    if pages > 1:
        at = st.pagination(pages, key=f"runs_page_{pages}")
    shown = runs[(at - 1) * PER_PAGE : at * PER_PAGE]
    spans = store().spans([run.id for run in shown], [_METRIC])
    early = stopped_early(shown)
    with below:
        for run in shown:
            _row(run, wanted, spans.get((run.id, _METRIC)), early=run.id in early)
    with bar:
        _compare_bar()


def chosen_runs() -> list[str]:
    """Return the runs that are ticked to be compared, in the order in which they were ticked."""
    return st.session_state.setdefault("runs_chosen", _in_url())


def _in_url() -> list[str]:
    return [part for part in (place.get("runs") or "").split(",") if part][:MOST]


def _letter(run_id: str) -> str:
    chosen = chosen_runs()
    return LETTERS[chosen.index(run_id)] if run_id in chosen else ""


def _row(run: RunView, wanted: Wanted, span: Span | None, *, early: bool) -> None:
    title = escape(run_title(run))
    with st.container(border=True, key=f"run_row_{run.id}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if run.state is State.SUCCEEDED:
                st.session_state[f"tick_{run.id}"] = run.id in chosen_runs()
                letter = _letter(run.id)
                st.checkbox(
                    f"**{letter} · {title}**" if letter else f"**{title}**",
                    key=f"tick_{run.id}",
                    on_change=_tick,
                    args=(run.id,),
                    width="stretch",
                    wrap=True,
                )
            else:
                st.markdown(f"**{title}**", width="stretch")
            state_badge(run.state, early=early)
            if st.button(_("Open"), key=f"open_{run.id}", icon=":material/open_in_new:"):
                open_run_from_list(run)
            _menu(run)
        if run.state is State.FAILED and run.message is not None:
            st.caption(escape(sentence(run.message)))
        facts = _facts(run, span)
        if wanted.columns:
            with st.grid(columns=len(wanted.columns), min_column_width=112, gap="small"):
                for name in wanted.columns:
                    with st.container(gap=None):
                        st.caption(_(COLUMNS[name]))
                        st.text(facts[name])
        if st.session_state.get(_DELETING) == run.id:
            _ask_to_delete(run)


def _facts(run: RunView, span: Span | None) -> Mapping[str, str]:
    lang = place.language()
    return {
        "data": run.spec.dataset_name,
        "generator": generator_title(run.spec) or _("No rules"),
        "best": MISSING if span is None else decimal(span.least, lang),
        "last": MISSING if span is None else decimal(span.last, lang),
        "duration": duration(run.elapsed, lang),
        "started": MISSING if run.started is None else moment(run.started, lang),
        "seed": str(run.spec.seed),
        "name": run.id,
    }


def _tick(run_id: str) -> None:
    chosen = chosen_runs()
    if run_id in chosen:
        chosen.remove(run_id)
    elif len(chosen) < MOST:
        chosen.append(run_id)
    else:
        st.toast(_("Four runs at most are compared. Untick one first."), icon=":material/info:")


def _menu(run: RunView) -> None:
    """Draw what can be done with a run besides opening it."""
    words = {"duplicate": _("Duplicate with changes")}
    if run.state in (State.FAILED, State.CANCELLED):
        words = {"resume": _("Take it up again"), **words}
    words["delete"] = _("Delete …")
    done = st.menu_button(
        _("More"), list(words), format_func=words.__getitem__, key=f"menu_{run.id}", icon=":material/more_vert:"
    )
    if done == "duplicate":
        begin_again(run)
        st.switch_page("views/train.py")
    elif done == "resume":
        if store().run(run.id).state in (State.FAILED, State.CANCELLED):
            store().resume(run.id)
        st.rerun()
    elif done == "delete":
        st.session_state[_DELETING] = run.id


def _ask_to_delete(run: RunView) -> None:
    """Draw what would be deleted, and ask."""
    lang = place.language()
    try:
        planned = store().retention.planned([run.id])
    except UserError as error:
        problem(error, title=_("This run can’t be deleted now"))
        if st.button(_("Close"), key="delete_close"):
            st.session_state.pop(_DELETING, None)
            st.rerun()
        return
    with st.container(border=True, key="delete_ask", gap="small"):
        st.markdown(
            _("Delete the run “{title}” of {when}?").format(
                title=escape(run_title(run)), when=moment(run.created, lang)
            )
        )
        lines = [_("Its model, curves and evaluation: {size}").format(size=size(planned.bytes, lang))]
        if len(planned.runs) > 1:
            lines.append(_("Studies and trials about it: {count}").format(count=count(len(planned.runs) - 1, lang)))
        if planned.datasets:
            lines.append(_("The data file {name}, which nothing else uses").format(name=escape(run.spec.dataset_name)))
        st.markdown("\n".join(f"- {line}" for line in lines))
        st.caption(_("Recalibrated runs stay. This can’t be undone."))
        with st.container(horizontal=True, gap="small"):
            if st.button(_("Delete for good"), type="primary", key="delete_yes", icon=":material/delete_forever:"):
                _delete(run)
            if st.button(_("Keep it"), key="delete_no"):
                st.session_state.pop(_DELETING, None)
                st.rerun()


def _delete(run: RunView) -> None:
    try:
        store().delete(run.id)
    except UserError as error:
        problem(error, title=_("This run can’t be deleted now"))
        return
    st.session_state.pop(_DELETING, None)
    st.session_state["runs_chosen"] = [one for one in chosen_runs() if one != run.id]
    compared = [one for one in _in_url() if one != run.id]
    changes: dict[str, str | None] = {"runs": ",".join(compared) if len(compared) > 1 else None}
    if place.get("run") == run.id:
        changes["run"] = None
    place.put(**changes)
    st.rerun()


def _compare_bar() -> None:
    """Draw how many runs are ticked, and the button that compares them."""
    chosen = chosen_runs()
    words, clear, go = st.columns([3, 1, 1.4], gap="small", vertical_alignment="center")
    said = _("Tick two to four finished runs, then compare them. The first one is what the others are held to.")
    if chosen:
        names = _(", ").join(_letter(one) for one in chosen)
        said = _("Chosen: {names}. The others are held against A.").format(names=names)
    words.markdown(said)
    if chosen and clear.button(_("Clear"), key="compare_clear", icon=":material/close:", width="stretch"):
        st.session_state["runs_chosen"] = []
        place.put(runs=None)
        st.rerun()
    label = _("Compare {count} runs").format(count=len(chosen)) if len(chosen) > 1 else _("Compare")
    ready = 2 <= len(chosen) <= MOST and chosen != _in_url()
    if go.button(
        label, type="primary", key="compare_runs", icon=":material/balance:", disabled=not ready, width="stretch"
    ):
        place.put(runs=",".join(chosen))
        st.rerun()


__all__ = ["PER_PAGE", "chosen_runs", "run_rows", "under_way"]
