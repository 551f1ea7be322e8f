"""The run that is open on a result page, in every state it may be in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import streamlit as st

from app.components import place
from app.components.answer import Action, answer_line
from app.components.empty import empty_state
from app.components.generator_names import generator_title, is_saved
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.problem import problem
from app.components.roles_table import KINDS, link_roles
from app.components.run_list import FELL_BEHIND, run_title, state_badge
from app.components.storage import (
    damaged,
    evaluation_of,
    model_record,
    open_table,
    run_of,
    schema_of,
    stopped_early,
    store,
)
from app.components.verdict import Verdict
from app.samples import labels_of
from app.text.numbers import count, moment
from app.words import Marks, OutputWords
from jebm_core.errors import UserError
from jebm_core.report import (
    Answer,
    answer_calibration,
    answer_overview,
    answer_partition,
    answer_unseen,
    baseline_rows,
    coverage_rows,
    event_rows,
    partition_rows,
    partition_summary_rows,
    reliability_rows,
    verdict,
)
from jebm_core.runs.records import RunSpec, RunView, State
from jebm_core.tables import Kind, OutputSchema, Roles


@dataclass(frozen=True)
class Result:
    """A finished run with its numbers."""

    view: RunView
    evaluation: Mapping[str, Any]
    schema: OutputSchema

    @property
    def words(self) -> OutputWords:
        """Names of the outputs, in the language of this session."""
        return output_words(self.view, self.schema)

    @property
    def has_held_out(self) -> bool:
        """Whether any row was kept out of training."""
        return bool(self.evaluation.get("held_out"))


def output_words(view: RunView, schema: OutputSchema) -> OutputWords:
    """Return the names of a run's outputs, in the language of this session."""
    return words_of(view.spec.dataset_name, schema)


def words_of(file: str, schema: OutputSchema) -> OutputWords:
    """Return the names of the outputs of a file, in the language of this session."""
    marks = Marks(
        above=_("“{first}” above “{second}”"),
        first=_("“{item}” in first place"),
        empty=_("none of them"),
        present=_("present"),
        absent=_("absent"),
        place=_("place {place}"),
        pair=_("{slot}: {option}"),
    )
    return OutputWords(schema, labels_of(file, place.language()), marks)


def open_run() -> RunView | None:
    """Return the run in the URL, or nothing where none is open; queued runs get a runner.

    Raises:
        UserError: there is no such run.
    """
    run_id = place.get("run")
    if run_id is None:
        return None
    view = run_of(run_id)
    if not view.state.ended:
        store().ensure_runner()
    if place.get("dataset") != view.spec.dataset:
        go_to_data_of(view.spec)
    return view


def go_to_data_of(spec: RunSpec) -> None:
    """Open the data set of a run, with the roles that its columns had in it."""
    place.put(dataset=spec.dataset, roles=None, generator=spec.generator if is_saved(spec.generator) else None)
    if not spec.targets or spec.features is None or spec.kind not in KINDS:
        return
    try:
        table = open_table()
    except UserError:
        return  # the run's numbers are still here; the data page says what is missing
    if table is not None:
        link_roles(table, Roles(spec.features, spec.targets, cast(Kind, spec.kind)))


def open_result(what: str, why: str, icon: str) -> Result | None:
    """Return the finished run that is open, or draw why there is none: no run, unknown, under way, failed, damaged.

    Args:
        what: title of the page's empty state.
        why: what a finished run would bring.
        icon: of the empty state.
    """
    try:
        view = open_run()
    except UserError as error:
        unknown_run(error)
        return None
    if view is None:
        empty_state(what, why, _("Go to training"), "views/train.py", icon=icon)
        return None
    run_line(view)
    if view.state is not State.SUCCEEDED:
        _unfinished(view)
        return None
    try:
        result = load_result(view)
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        _to_training(_("Go to training"))
        return None
    return result


def load_result(view: RunView) -> Result:
    """Return the numbers of a finished run, checked for what every page needs.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    evaluation = evaluation_of(view.id)
    parts = [evaluation.get(name) for name in ("held_out", "train")]
    file = str(store().folder(view.id).evaluation)
    if not all(part is None or isinstance(part, dict) for part in parts):
        raise damaged("evaluation", file)
    try:
        # Every verdict and every table once: a record of another version is found here, before anything is drawn.
        for look in _LOOKS:
            look(evaluation)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise damaged("evaluation", file) from error
    return Result(view, evaluation, schema_of(view.id))


_LOOKS = (
    verdict,
    answer_overview,
    answer_partition,
    answer_calibration,
    answer_unseen,
    partition_rows,
    partition_summary_rows,
    reliability_rows,
    event_rows,
    coverage_rows,
    baseline_rows,
)


def draw_answer(answer: Answer, action: Action | None = None) -> bool:
    """Draw an answer of the report in the language of the session; return whether its next step was taken."""
    reasons = [sentence(reason) for reason in answer.reasons]
    return answer_line(Verdict(answer.verdict), sentence(answer.sentence), reasons, action)


def unknown_run(error: UserError) -> None:
    """Draw that the link names a run that isn't here, with the way to those that are."""
    problem(error, title=_("This run is not here"))
    if st.button(_("See the runs that are here"), type="primary", key="leave_run"):
        place.put(run=None)
        st.switch_page("views/overview.py")


def run_line(view: RunView) -> None:
    """Draw which run is open, in one quiet line."""
    when = moment(view.finished or view.created, place.language())
    generator = generator_title(view.spec)
    words = _("Run “{title}” · {when} · generator “{generator}”") if generator else _("Run “{title}” · {when}")
    st.caption(words.format(title=escape(run_title(view)), when=when, generator=escape(generator)))


def group_name(group: str) -> str:
    """Return what a group of rows is called."""
    return _("Held-out cases") if group == "held_out" else _("Training cases")


def provenance(result: Result) -> None:
    """Draw, folded, what is needed to do the run again."""
    found, split = result.evaluation.get("provenance") or {}, result.evaluation.get("split") or {}
    lang = place.language()
    versions = ", ".join(f"{name} {number}" for name, number in (found.get("versions") or {}).items())
    with st.expander(_("Where these numbers come from"), icon=":material/history:", key="provenance"):
        lines = [
            _("Data: {name}, SHA-256 {digest}").format(
                name=escape(result.view.spec.dataset_name), digest=result.view.spec.dataset[:16]
            ),
            _("Rows: {train} for training, {held} held out").format(
                train=count(split.get("train_rows") or 0, lang), held=count(split.get("held_out_rows") or 0, lang)
            ),
            _("Seed: {seed}").format(seed=result.view.spec.seed),
            _("Device: {device}").format(device=escape(str(found.get("device", "–")))),
            _("Versions: {versions}").format(versions=escape(versions)),
        ]
        spec = result.view.spec
        if spec.rules:
            lines.insert(1, _("Candidate generator: {name}").format(name=escape(generator_title(spec))))
        st.markdown("\n".join(f"- {line}" for line in lines))
        if spec.rules:
            st.code(spec.rules, language=None, wrap_lines=True)
        if place.is_expert():
            st.json(
                {"settings": found.get("settings"), "model": model_record(result.view.id).get("summary")}, expanded=1
            )


def _unfinished(view: RunView) -> None:
    with st.container(border=True, key="unfinished", gap="medium"):
        early = view.id in stopped_early([view])
        state_badge(view.state, early=early)
        words = {
            State.QUEUED: _("This run is waiting for its turn. Its results appear here when it has finished."),
            State.RUNNING: _("This run is still training. Its results appear here when it has finished."),
            State.FAILED: _("This run failed, so there are no results."),
            State.CANCELLED: _("This run was cancelled, so there are no results."),
        }
        st.markdown(_(FELL_BEHIND) if early else words[view.state])
        if view.message is not None and view.state is State.FAILED:
            st.caption(escape(sentence(view.message)))
        _to_training(_("See its progress") if not view.state.ended else _("See what can be done"))


def _to_training(label: str) -> None:
    if st.button(label, type="primary", key="to_training"):
        st.switch_page("views/train.py")
