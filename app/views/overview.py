"""Overview: where does this project stand?"""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.components import place
from app.components.choose_data import open_sample
from app.components.data_view import data_verdict
from app.components.empty import page_heading
from app.components.generator_answer import generator_line, generator_verdict
from app.components.generator_service import analyse, open_scene
from app.components.generator_versions import open_version
from app.components.ladder import best_line
from app.components.language import _, sentence
from app.components.live_model import ranked
from app.components.plain import escape
from app.components.problem import problem
from app.components.result import Result, draw_answer, load_result, open_run, run_line, unknown_run
from app.components.roles_table import first_roles
from app.components.run_list import FELL_BEHIND, run_list, state_badge
from app.components.stage_gate import Stage, stage_gate
from app.components.storage import open_examples, open_table, recent_runs, stopped_early
from app.components.verdict import Verdict, worst
from app.data_summary import summarise
from app.samples import samples
from app.text.numbers import count
from jebm_core.errors import UserError
from jebm_core.report import answer_calibration, answer_overview, answer_partition, answer_unseen, judged_part
from jebm_core.runs.records import RunView, State


def page() -> None:
    """Draw the page: the answer of the open run, or what jebm answers; the stage gate; the recent runs."""
    page_heading(_("Overview"), _("Where does this project stand?"))
    try:
        view = open_run()
    except UserError as error:
        unknown_run(error)
        return
    result = None
    if view is None:
        _welcome()
    else:
        result = _open_run(view)
    st.subheader(_("Stage gate"), anchor=False)
    stage_gate(_stages(view, result))
    if result is not None:
        _teaser(result)
    st.subheader(_("Recent runs"), anchor=False)
    runs = recent_runs()
    if runs:
        run_list(runs)
    else:
        st.caption(
            _("No run yet. A run appears here as soon as training starts, and stays when you close the browser.")
        )
    if view is not None:
        left, middle, _rest = st.columns([1, 1, 1.4])
        _ways_in(left, middle)


def _welcome() -> None:
    words, way = st.columns([3.4, 1.2], gap="medium", vertical_alignment="center")
    with words:
        st.markdown(_("**Which combination is most likely?** Also among those never tried."))
        st.markdown(_("**Which combinations are possible?** Rules say it; what they leave is counted exactly."))
        st.markdown(_("**How likely is it, and may I trust it?** Every probability is audited and calibrated."))
        st.markdown(_("**What next?** Which cases to try first, and which ones a person should decide."))
    with way:
        _ways_in(st.container(), st.container())


def _ways_in(first: DeltaGenerator, second: DeltaGenerator) -> None:
    kind = "primary" if place.get("run") is None else "secondary"
    if first.button(_("Open the sample project"), type=kind, key="open_sample", width="stretch"):
        open_sample(samples(place.language())[0])
        st.switch_page("views/train.py")
    if second.button(_("Use your own data"), key="own_data", width="stretch"):
        place.put(dataset=None, roles=None, run=None, generator=None)
        st.switch_page("views/data.py")


def _open_run(view: RunView) -> Result | None:
    run_line(view)
    if view.state is not State.SUCCEEDED:
        with st.container(border=True, key="answer", gap="small"):
            early = view.id in stopped_early([view])
            state_badge(view.state, early=early)
            words = {
                State.QUEUED: _("**This run is waiting for its turn.**"),
                State.RUNNING: _("**This run is training.** Its answer appears here when it has finished."),
                State.FAILED: _("**This run failed.** The training page says why and what can be done."),
                State.CANCELLED: _("**This run was cancelled.** It can be taken up again on the training page."),
            }
            st.markdown(_(FELL_BEHIND) if early else words[view.state])
            st.page_link("views/train.py", label=_("Go to training"), icon=":material/arrow_forward:")
        return None
    try:
        result = load_result(view)
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        return None
    draw_answer(answer_overview(result.evaluation))
    return result


def _teaser(result: Result) -> None:
    """Draw the likeliest untried combination. It comes last: the model may have to be loaded first."""
    schema = result.schema
    outcome = None
    if (
        schema.kind == "configurations"
        and "result" in schema.names
        and "pass" in schema.options[schema.names.index("result")]
    ):
        outcome = ("result", "pass")
    st.subheader(_("What to try next"), anchor=False)
    with st.container(border=True, key="teaser", gap="small"):
        answer = answer_unseen(result.evaluation)
        try:
            with st.spinner(_("Ranking untried combinations …")):
                entries = ranked(result, 20, outcome, None)["entries"]
        except UserError as error:
            st.caption(escape(sentence(error)))
            return
        if not entries:
            st.caption(_("No untried combination is at least as plausible as one picked at random."))
            return
        line = escape(best_line(entries, result.words, outcome))
        if answer.flagged:
            st.caption(line)
        else:
            st.markdown(f"**{line}**")
        changes = result.words.changes(entries[0]["changes"])
        if changes:
            st.caption(_("Differs from the nearest tried one in — {changes}").format(changes=escape(changes)))
        st.page_link("views/unseen.py", label=_("See the whole list"), icon=":material/arrow_forward:")


def _stages(view: RunView | None, result: Result | None) -> list[Stage]:
    verdict, line = _data_stage()
    model = evidence = decision = Verdict.PENDING
    lines = [
        _("Is training healthy?"),
        _("Are the probabilities normalised and calibrated?"),
        _("Which combinations to try first"),
    ]
    if result is not None:
        e = result.evaluation
        partition, calibration, unseen = (
            Verdict(answer(e).verdict) for answer in (answer_partition, answer_calibration, answer_unseen)
        )
        model, gain = _model_stage(result)
        evidence, decision = worst([partition, calibration]), worst([partition, calibration, unseen])
        lines = [
            gain,
            _("Normalisation: {first}; calibration: {second}").format(
                first=_word(partition), second=_word(calibration)
            ),
            _("Untried combinations are ranked"),
        ]
    elif view is not None and not view.state.ended:
        lines[0] = _("Training is under way")
    return [
        Stage(_("Data"), verdict, line, "views/data.py"),
        Stage(_("Candidate generator"), *_generator_stage(view), "views/generator.py"),
        Stage(_("Model"), model, lines[0], "views/train.py"),
        Stage(_("Evidence"), evidence, lines[1], "views/partition.py"),
        Stage(_("Decision"), decision, lines[2], "views/unseen.py"),
    ]  # fmt: skip


def _word(verdict: Verdict) -> str:
    words = {
        Verdict.TRUSTED: _("trusted"),
        Verdict.CAUTION: _("caution"),
        Verdict.DO_NOT_TRUST: _("do not trust"),
        Verdict.PENDING: _("not done yet"),
    }
    return words[verdict]


def _model_stage(result: Result) -> tuple[Verdict, str]:
    gap = judged_part(result.evaluation)["differences"]["independent"]
    if gap[0] is None:
        return Verdict.TRUSTED, _("Trained; there is no independent baseline for this kind")
    if gap[2] is not None and gap[2] < 0:
        return Verdict.CAUTION, _("Independent parts predict better")
    if gap[1] is not None and gap[1] <= 0:
        return Verdict.CAUTION, _("No clear gain over independent parts yet")
    return Verdict.TRUSTED, _("Better than independent parts")


def _generator_stage(view: RunView | None) -> tuple[Verdict, str]:
    """Return how the past stands to the rules of the open run, or else to those of the open version."""
    nothing = Verdict.PENDING, _("Which combinations are possible, and how they are drawn")
    try:
        saved = None if view is not None else open_version()
        rules = view.spec.rules if view is not None else saved.rules if saved is not None else ""
        if not rules:
            return nothing if view is None else (
                Verdict.PENDING, _("Every combination counts as possible; no rules were given")
            )  # fmt: skip
        scene = open_scene()
        if scene is None:
            return nothing
        reading = analyse(rules, scene)
    except UserError:
        return nothing
    if isinstance(reading, UserError):
        return Verdict.DO_NOT_TRUST, _("The rules don't fit the data")
    return generator_verdict(reading), generator_line(reading)


def _data_stage() -> tuple[Verdict, str]:
    try:
        table = open_table()
        if table is None:
            return Verdict.PENDING, _("No data set is open")
        roles, _reason = first_roles(table)
        if not roles.targets:
            return Verdict.PENDING, _("The outputs are not chosen yet")
        summary = summarise(open_examples(table.sha256, roles, table))
    except UserError:
        return Verdict.DO_NOT_TRUST, _("The data set can't be used as it is")
    rows = _("{count} rows are ready").format(count=count(summary.rows, place.language()))
    return data_verdict(summary), rows


page()
