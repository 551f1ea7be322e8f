"""The recent runs: what they are called, how they stand, and a way back into each."""

from typing import Final

import streamlit as st

from app.components import place
from app.components.generator_names import generator_title
from app.components.language import _
from app.components.plain import escape
from app.components.storage import open_run_from_list
from app.components.verdict import Colour
from app.samples import samples
from app.text import LANGUAGES, marked
from app.text.numbers import moment
from jebm_core.runs.records import RECALIBRATE, RunView, State
from jebm_core.runs.trials import title_and_number

_STATES: dict[State, tuple[str, str, Colour | str]] = {
    State.QUEUED: (marked("Waiting"), ":material/schedule:", "gray"),
    State.RUNNING: (marked("Running"), ":material/play_circle:", "blue"),
    State.SUCCEEDED: (marked("Finished"), ":material/check_circle:", "green"),
    State.FAILED: (marked("Failed"), ":material/error:", "red"),
    State.CANCELLED: (marked("Cancelled"), ":material/cancel:", "orange"),
}


STOPPED_EARLY: Final = marked("Stopped early")
FELL_BEHIND: Final = marked(
    "This trial was stopped early, since others had been better at the same epoch. There are no results."
)


def state_badge(state: State, *, early: bool = False) -> None:
    """Draw the state of a run: a word, an icon and a colour; ``early`` is for the trial of a sweep that fell behind."""
    word, icon, colour = _STATES[state] if not early else (STOPPED_EARLY, ":material/content_cut:", "gray")
    st.badge(_(word), icon=icon, color=colour)  # pyright: ignore[reportArgumentType]


def state_word(state: State) -> str:
    """Return the word of a state in the language of this session."""
    return _(_STATES[state][0])


def run_title(view: RunView) -> str:
    """Return what a run is called: a sample project by its name in the language of this session."""
    lang = place.language()
    known = {sample.file: sample.title for sample in samples(lang)}
    # A title that was given in another language is still the sample's own.
    given = {sample.title for code in LANGUAGES for sample in samples(code)} | {"", view.spec.dataset_name}
    title, number = title_and_number(view)
    own = known.get(view.spec.dataset_name) if title in given else None
    title = (own or title or view.spec.dataset_name) + number
    return _("{title}, recalibrated").format(title=title) if view.spec.kind_of_work == RECALIBRATE else title


def run_list(runs: tuple[RunView, ...]) -> None:
    """Draw one line a run; opening one puts it into the URL."""
    for run in runs:
        with st.container(border=True):
            name, state, when, step = st.columns([4, 1.5, 2, 1.2], vertical_alignment="center")
            with name:
                st.markdown(f"**{escape(run_title(run))}**")
                if title := generator_title(run.spec):
                    st.caption(_("Generator: {name}").format(name=escape(title)))
            with state:
                state_badge(run.state)
            with when:
                st.caption(moment(run.finished or run.created, place.language()))
            with step:
                if st.button(_("Open"), key=f"run_{run.id}", width="stretch"):
                    open_run_from_list(run)
