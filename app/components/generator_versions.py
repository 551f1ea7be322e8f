"""Versions of generators: save the rules with the reference that draws under them, open, delete, see who used them."""

from collections.abc import Sequence
from typing import Final

import streamlit as st

from app.components import place
from app.components.drafts import Draft
from app.components.generator_service import Scene
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.components.run_list import run_title
from app.components.storage import open_run_from_list, runs_here, store
from app.text import marked
from app.text.numbers import moment
from jebm_core.errors import UserError
from jebm_core.runs.records import GeneratorVersion, RunView, State
from jebm_core.tables import read_table

REFERENCES: Final = {
    "auto": marked("Chosen from the data (usual choice)"),
    "uniform": marked("Uniform: every valid combination alike"),
    "marginals": marked("Shares of the data, parts independent"),
    "candidates": marked("Observed combinations, smoothed"),
    "edits": marked("Observed combinations and what is one change away"),
    "logistic": marked("Logistic regression for each part"),
    "forest": marked("Random forest for each part"),
    "stacked": marked("Pooled classifiers and observed combinations"),
    "table": marked("A table of candidates, simulated ones for instance"),
    "model": marked("A fitted model"),
}
_SHOWN: Final = 4
_MOST: Final = 40


def open_version() -> GeneratorVersion | None:
    """Return the version in the URL, or nothing where none is open.

    Raises:
        UserError: there is no such version.
    """
    found = place.get("generator")
    return None if found is None else store().generators.version(found)


def runs_of(version: GeneratorVersion, runs: Sequence[RunView]) -> list[RunView]:
    """Return the runs that a version was used for, newest first."""
    return [run for run in runs if run.spec.generator == version.id]


def save_panel(draft: Draft, scene: Scene, saved: GeneratorVersion | None, *, readable: bool) -> None:
    """Draw how the draft becomes a version: its name and its reference distribution."""
    st.subheader(_("Save a version"), anchor=False)
    words = {code: _(word) for code, word in REFERENCES.items() if scene.examples is not None or code != "model"}
    known = saved.id if saved else ""
    with st.container(border=True, key="save_panel"):
        left, right = st.columns([2, 3], gap="medium")
        with left:
            name = st.text_input(
                _("Name of the generator"),
                value=saved.name if saved else scene.name.rsplit(".", 1)[0],
                max_chars=80,
                key=f"version_name_{known}_{scene.slot}",
            )
        with right:
            usual = saved.reference if saved and saved.reference in words else "auto"
            reference = st.selectbox(
                _("Reference distribution"),
                list(words),
                index=list(words).index(usual),
                format_func=words.__getitem__,
                key=f"version_reference_{known}",
                help=_("How likely each valid combination is before the model learns. The rules hold for all of them."),
            )
        source = _source(reference or "auto", scene, saved)
        current = saved is not None and readable and saved.rules == draft.text
        ready = readable and source is not None and bool(draft.text.strip())
        with st.container(horizontal=True, gap="small"):
            done = st.button(
                _("Save version"),
                type="secondary" if current else "primary",
                key="save_version",
                icon=":material/save:",
                disabled=not ready,
            )
            if current and scene.examples is not None:
                train = st.button(
                    _("Train with this generator"),
                    type="primary",
                    key="train_with",
                    icon=":material/model_training:",
                )
                if train and saved is not None:
                    train_with(saved)
        if not draft.text.strip():
            st.caption(_("Write a rule first; training without rules needs no generator."))
        elif not readable:
            st.caption(_("The text has an error. Correct it to save it; until then it stays in this browser tab."))
    if done:
        try:
            version = store().generators.save(name or "", draft.text, reference or "auto", source or "")
        except UserError as error:
            problem(error, title=_("This version can't be saved"))
            return
        draft.base, draft.before = version.id, None
        place.put(generator=version.id)
        st.toast(_("Saved as {name}").format(name=escape(version.title)), icon=":material/save:")
        st.rerun()


def _source(reference: str, scene: Scene, saved: GeneratorVersion | None) -> str | None:
    """Draw what a reference needs besides; return it, or nothing while it is missing."""
    if reference == "table":
        return _table(saved)
    if reference == "model":
        return _model(scene, saved)
    return ""


def _table(saved: GeneratorVersion | None) -> str | None:
    st.caption(_("The table needs the output columns of the data, one candidate a row. It is kept with the data sets."))
    kept: str = st.session_state.get("candidate_table") or (
        saved.source if saved and saved.reference == "table" else ""
    )
    file = st.file_uploader(_("Table of candidates"), key="candidate_upload")
    if file is not None:
        try:
            content = file.getvalue()
            read_table(file.name, content=content)
            kept = st.session_state["candidate_table"] = store().add_dataset(content, file.name).sha256
        except UserError as error:
            problem(error)
            return None
    if kept:
        try:
            st.caption(_("Candidates: {file}").format(file=escape(store().dataset_file(kept).name)))
        except UserError as error:
            problem(error)
            return None
    return kept or None


def _model(scene: Scene, saved: GeneratorVersion | None) -> str | None:
    assert scene.examples is not None
    targets = set(scene.examples.roles.targets)
    runs = {
        run.id: f"{run_title(run)} · {moment(run.finished or run.created, place.language())}"
        for run in runs_here()
        if run.state is State.SUCCEEDED and (not run.spec.targets or set(run.spec.targets) == targets)
    }
    if not runs:
        st.caption(_("There is no finished run of these outputs yet."))
        return None
    before = saved.source if saved and saved.source in runs else next(iter(runs))
    return st.selectbox(
        _("Fitted model"), list(runs), index=list(runs).index(before), format_func=runs.__getitem__, key="model_source"
    )


def train_with(version: GeneratorVersion) -> None:
    """Go to training with a generator."""
    place.put(run=None, generator=version.id)
    st.session_state.pop("start_from", None)
    st.switch_page("views/train.py")


def version_list(versions: Sequence[GeneratorVersion], draft: Draft) -> None:
    """Draw the saved versions, newest first: when, how they draw, who used them, and the ways to open or delete one."""
    runs = runs_here()
    for version in versions[:_SHOWN]:
        _version(version, draft, runs)
    older = versions[_SHOWN:]
    if older:
        with st.expander(_("Older versions: {count}").format(count=len(older)), key="older_versions"):
            for version in older[:_MOST]:
                _version(version, draft, runs)
            if len(older) > _MOST:
                st.caption(_("The newest {shown} of {total} versions.").format(shown=_MOST, total=len(older)))


def _version(version: GeneratorVersion, draft: Draft, runs: Sequence[RunView]) -> None:
    with st.container(border=True, key=f"version_{version.id}"):
        words, used, step, away = st.columns([3, 2.2, 1, 1], vertical_alignment="center")
        with words:
            mark = _("{name} (open)") if version.id == draft.base else "{name}"
            st.markdown(f"**{escape(mark.format(name=version.title))}**")
            reference = _(REFERENCES.get(version.reference, version.reference))
            st.caption(f"{moment(version.created, place.language())}  \n{escape(reference)}")
        with used:
            _used(runs_of(version, runs))
        if step.button(_("Open"), key=f"open_{version.id}", width="stretch"):
            draft.replace(version.rules, version.id)
            place.put(generator=version.id)
            st.rerun()
        with away:
            _delete(version, draft)


def _used(runs: Sequence[RunView]) -> None:
    if not runs:
        st.caption(_("Not used by a run yet"))
        return
    if st.button(
        _("Used by runs: {count}").format(count=len(runs)),
        key=f"used_{runs[0].id}",
        type="tertiary",
        icon=":material/arrow_forward:",
    ):
        open_run_from_list(runs[0])


def _delete(version: GeneratorVersion, draft: Draft) -> None:
    with st.popover(_("Delete"), key=f"delete_ask_{version.id}", width="stretch"):
        st.markdown(
            _("Delete {name}? Runs keep the rules that they were started with.").format(name=escape(version.title))
        )
        if st.button(_("Yes, delete it"), key=f"delete_{version.id}", type="primary"):
            store().generators.delete(version.id)
            if draft.base == version.id:
                draft.base = ""
            if place.get("generator") == version.id:
                place.put(generator=None)
            st.rerun()
