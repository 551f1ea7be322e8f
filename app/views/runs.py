"""Runs: which run is better, and is the difference real?"""

from collections.abc import Sequence

import streamlit as st

from app.components import place
from app.components.compare_service import MOST
from app.components.empty import empty_state, page_heading
from app.components.language import _
from app.components.problem import problem
from app.components.result import load_result
from app.components.run_compare import side_by_side
from app.components.run_filters import filters
from app.components.run_rows import chosen_runs, run_rows, under_way
from app.components.storage import recent_runs, run_of
from app.text.numbers import count
from jebm_core.errors import UserError
from jebm_core.runs.records import RunView, State

_MOST_LISTED = 10_000


def page() -> None:
    """Draw the page: the comparison in the link, what is under way, and every run."""
    page_heading(_("Compare"), _("Which run is better, and is the difference real?"))
    runs = recent_runs(_MOST_LISTED, trials=True)
    if not runs:
        empty_state(
            _("No run yet"),
            _(
                "Here every run is listed, and two to four of them can be held against one another row by row. Start "
                "one first; it is kept when you close the browser."
            ),
            _("Go to training"),
            "views/train.py",
            icon=":material/balance:",
        )
        return
    named = [part for part in (place.get("runs") or "").split(",") if part]
    if named:
        _comparison(named)
    live = [run for run in runs if not run.state.ended]
    ended = [run for run in runs if run.state.ended]
    if not named:
        _offer(ended)
    if live:
        st.subheader(_("Under way"), anchor=False)
        under_way(tuple(run.id for run in live))
    st.subheader(_("All runs"), anchor=False)
    wanted = filters(runs)
    kept = [run for run in ended if wanted.keeps(run)]
    st.caption(
        _("{shown} of {total} runs that have ended").format(
            shown=count(len(kept), place.language()), total=count(len(ended), place.language())
        )
    )
    if kept:
        run_rows(kept, wanted)
    elif not wanted.is_everything:
        st.caption(_("No run is like that."))
        if st.button(_("Show all runs"), key="filters_off", icon=":material/filter_alt_off:"):
            place.put(find=None, states=None, data=None)
            st.rerun()


def _comparison(named: Sequence[str]) -> None:
    """Draw the runs of the link side by side, or what is in the way."""
    try:
        if not 2 <= len(set(named)) <= MOST or len(set(named)) < len(named):
            raise UserError("Expected two to four different runs in the link. Tick them below instead.")
        views = [run_of(run_id) for run_id in named]
        unfinished = [view for view in views if view.state is not State.SUCCEEDED]
        if unfinished:
            raise UserError(
                "Run {run} has not finished, so it can’t be compared. Choose others below, or wait for it.",
                run=unfinished[0].id,
            )
        results = [load_result(view) for view in views]
    except UserError as error:
        problem(error, title=_("These runs can’t be compared"))
        if st.button(_("Choose runs"), key="leave_comparison", type="primary"):
            _leave()
        return
    side_by_side(results)


def _leave() -> None:
    place.put(runs=None)
    chosen_runs().clear()
    st.rerun()


def _offer(ended: Sequence[RunView]) -> None:
    """Draw the shortest way to a comparison: the two newest finished runs on the same data."""
    finished = [run for run in ended if run.state is State.SUCCEEDED]
    pair = next(
        (
            (older.id, newer.id)
            for at, newer in enumerate(finished)
            for older in finished[at + 1 :]
            if (older.spec.dataset, older.spec.targets) == (newer.spec.dataset, newer.spec.targets)
        ),
        None,
    )
    with st.container(border=True, key="answer", gap="small"):
        if pair is None:
            st.markdown(
                _(
                    "**A comparison needs two finished runs on the same data.** Duplicate one with changes below, or "
                    "train again with another generator."
                )
            )
            return
        words, way = st.columns([3.4, 1.6], gap="medium", vertical_alignment="center")
        words.markdown(
            _("**Nothing is compared yet.** Tick two to four finished runs below, or begin with the two newest.")
        )
        if way.button(
            _("Compare the two newest"),
            type="primary",
            key="compare_newest",
            icon=":material/balance:",
            width="stretch",
        ):
            place.put(runs=",".join(pair))
            st.session_state["runs_chosen"] = list(pair)
            st.rerun()


page()
