"""A run as it goes on: its stages, how long it will still take, and its curves beneath."""

from collections.abc import Mapping, Sequence
from typing import Final

import streamlit as st

from app.components import place
from app.components.curves import curves, is_training, reports_of
from app.components.language import _
from app.components.storage import run_of, store
from app.text import marked
from app.text.numbers import count, duration
from jebm_core.progress import EPOCHS
from jebm_core.runs.records import STAGES, STAGES_OF, RunView, State

POLL_SECONDS: Final = 2.0
_STAGES: Final[Mapping[str, str]] = {
    "reference": marked("Reference distribution"),
    "baseline": marked("Independent parts"),
    "training": marked("Joint training"),
    "log-partition": marked("Log-partition"),
    "audit": marked("Intervals"),
    "replicates": marked("Refits on halves"),
    "evaluation": marked("Evaluation"),
    "recalibration": marked("Recalibration"),
    "learning-curve": marked("Learning curve"),
    "drift": marked("Comparison with later rows"),
    "sweep": marked("Search over settings"),
}


@st.fragment(run_every=POLL_SECONDS)
def live_run(run_id: str) -> None:
    """Draw a run under way, and look again every two seconds; when it has ended, the whole page is drawn once more."""
    view = run_of(run_id)
    if view.state.ended:
        st.rerun()
    with st.container(border=True, key="live", gap="small"):
        if view.state is State.QUEUED:
            _waiting(view)
            return
        _headline(view)
    if is_training(reports_of(view)):
        curves(view)


def _waiting(view: RunView) -> None:
    before = store().waiting_before(view.id)
    st.subheader(_("Waiting for its turn"), anchor=False, icon=":material/schedule:")
    if before:
        st.markdown(_("Runs before this one: {count}. It starts by itself.").format(count=before))
    else:
        st.markdown(_("It starts within a few seconds. You may close this page; the run goes on."))


def _headline(view: RunView) -> None:
    stages, current = _stages_of(view)
    st.subheader(
        stage_words(view),
        anchor=False,
        icon=":material/hourglass_top:" if view.cancelling else ":material/model_training:",
    )
    progress_line(view)
    _stages(stages, current)


def stage_words(view: RunView) -> str:
    """Return what a running run is doing."""
    if view.cancelling:
        return _("Stopping …")
    stages, current = _stages_of(view)
    return _("Step {number} of {steps}: {stage}").format(
        number=current + 1, steps=len(stages), stage=_(_STAGES[stages[current]])
    )


def progress_line(view: RunView) -> None:
    """Draw how far a running run is, how long it has been running and how long it will still take."""
    lang = place.language()
    values = {} if view.progress is None else view.progress.values
    stages, current = _stages_of(view)
    stage, epoch, epochs = stages[current], values.get("epoch"), values.get("epochs")
    share = 0.0
    if isinstance(epoch, int) and isinstance(epochs, int) and epochs > 1:
        share = min(epoch / epochs, 1.0)
    st.progress((current + share) / len(stages))
    facts = [_("Running for {time}").format(time=duration(view.elapsed, lang))]
    if share and isinstance(epoch, int) and isinstance(epochs, int):
        if stage in EPOCHS:
            told = _("epoch {epoch} of at most {epochs}").format(epoch=count(epoch, lang), epochs=count(epochs, lang))
        else:
            told = _("part {part} of {parts}").format(part=count(epoch, lang), parts=count(epochs, lang))
        facts.append(told)
    if view.seconds_left is not None and stage in ("training", "replicates"):
        facts.append(_("this step takes at least {time} more").format(time=duration(max(view.seconds_left, 1.0), lang)))
    if view.attempt > 1:
        facts.append(_("taken up again after an interruption"))
    st.caption(" · ".join(facts))


def _stages_of(view: RunView) -> tuple[list[str], int]:
    """Return the stages of a run, and which of them it is in."""
    values = {} if view.progress is None else view.progress.values
    known = STAGES_OF.get(view.spec.kind_of_work, STAGES)
    stages = [name for name in known if name != "replicates" or view.spec.settings.get("replicates")]
    stage = str(values.get("stage", known[0]))
    return stages, stages.index(stage) if stage in stages else 0


def _stages(stages: Sequence[str], current: int) -> None:
    with st.container(horizontal=True, gap="small", key="stages"):
        for place_of, stage in enumerate(stages):
            icon, colour = (
                (":material/check_circle:", "green")
                if place_of < current
                else (":material/play_circle:", "blue")
                if place_of == current
                else (":material/radio_button_unchecked:", "gray")
            )
            st.badge(_(_STAGES[stage]), icon=icon, color=colour)
