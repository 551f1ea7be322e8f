"""Candidate generator: which combinations are possible, and how are they drawn?"""

import streamlit as st

from app import rule_lines
from app.components import place
from app.components.drafts import Draft, draft_of
from app.components.empty import empty_state, explain, page_heading
from app.components.generator_answer import draw_generator_answer, facts, funnel_figure
from app.components.generator_compare import compare_panel
from app.components.generator_service import (
    NO_DATA,
    PATIENT_SECONDS,
    Analysis,
    Reading,
    Scene,
    analyse,
    open_scene,
)
from app.components.generator_versions import open_version, save_panel, version_list
from app.components.language import _
from app.components.problem import problem
from app.components.rule_editor import Mark, rule_editor
from app.components.rule_files import rule_files, text_buttons
from app.components.rule_findings import findings
from app.components.rule_form import cheat_sheet, rule_form
from app.components.storage import store
from jebm_core.errors import RuleError, UserError
from jebm_core.runs.records import GeneratorVersion

_MOST_MARKS = 300


def page() -> None:
    """Draw the page: the answer, the editor with what it leaves, findings, versions, and how they compare."""
    page_heading(_("Candidate generator"), _("Which combinations are possible, and how are they drawn?"))
    try:
        scene = open_scene()
    except UserError as error:
        problem(error, title=_("These data can't be used yet"))
        if st.button(_("Go to the data"), type="primary", key="choose_data"):
            st.switch_page("views/data.py")
        return
    if scene is None and not st.session_state.get("without_data"):
        _empty()
        return
    try:
        saved = open_version()
    except UserError as error:
        problem(error, title=_("This generator is not here"))
        if st.button(_("See the generators that are here"), type="primary", key="leave_generator"):
            place.put(generator=None)
            st.rerun()
        return
    _open(scene or NO_DATA, saved)


def _empty() -> None:
    empty_state(
        _("No data are open"),
        _(
            "Rules say which combinations are possible. With data, jebm counts what they leave at once, finds the past "
            "rows that break them, and compares generators. Choose the data first."
        ),
        _("Choose the data"),
        "views/data.py",
        icon=":material/rule:",
    )
    if st.button(_("Write rules without data"), key="without_data_start", type="tertiary", icon=":material/edit_note:"):
        st.session_state["without_data"] = True
        st.rerun()


def _open(scene: Scene, saved: GeneratorVersion | None) -> None:
    draft = draft_of(scene.slot)
    if saved is not None and draft.base != saved.id:
        # A link to a version, or one that was opened elsewhere; what was written before can be brought back.
        touched = draft.touched
        draft.replace(saved.rules, saved.id)
        draft.touched = touched
    if scene.examples is None and not draft.text.strip():
        st.info(
            _("Without data the rules name their own parts. Begin with a line such as: items A, B, C"),
            icon=":material/info:",
        )
        _write(draft, scene, None, None)
        _versions(draft, scene, saved)
        return
    with st.spinner(_("Reading the rules …"), show_time=False):
        reading = _read(draft, scene)
    shown = _last_good(draft, scene, reading)
    draw_generator_answer(reading, scene)
    _write(draft, scene, reading, shown)
    if shown is not None and shown.text.strip():
        findings(draft, shown, saved)
    save_panel(draft, scene, saved, readable=isinstance(reading, Analysis))
    _versions(draft, scene, saved)
    _explain()


def _versions(draft: Draft, scene: Scene, saved: GeneratorVersion | None) -> None:
    versions = store().generators.versions()
    if not versions:
        return
    st.subheader(_("Saved versions"), anchor=False)
    version_list(versions, draft)
    if scene.examples is not None:
        compare_panel(versions, scene, saved)


def _read(draft: Draft, scene: Scene) -> Reading:
    patient = st.session_state.get("patient") == (scene.slot, draft.text)
    return analyse(draft.text, scene, PATIENT_SECONDS) if patient else analyse(draft.text, scene)


def _last_good(draft: Draft, scene: Scene, reading: Reading) -> Analysis | None:
    """Return the reading, or where it is an error the last one that wasn't, so that the page stays while one types."""
    texts: dict[str, str] = st.session_state.setdefault("last_good_rules", {})
    if isinstance(reading, Analysis):
        texts[scene.slot] = draft.text
        return reading
    found = analyse(texts[scene.slot], scene) if scene.slot in texts else None
    return found if isinstance(found, Analysis) else None


def _write(draft: Draft, scene: Scene, reading: Reading | None, shown: Analysis | None) -> None:
    schema = shown.schema if shown else scene.examples.outputs.schema if scene.examples else None
    examples = rule_lines.examples_for(schema, scene.examples) if schema else []
    rule_editor(draft, _marks(reading, draft), examples[0].line if examples else "items A, B, C\nA requires B")
    if isinstance(reading, UserError):
        _error(reading, draft, scene)
    text_buttons(draft, scene)
    if schema is not None:
        rule_form(draft, scene, schema)
        cheat_sheet(scene, schema)
    rule_files(draft, reading if isinstance(reading, Analysis) else None)
    if shown is None:
        return
    if isinstance(reading, UserError):
        st.caption(_("What follows belongs to the last text that could be read and met."))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        funnel_figure(shown, muted=isinstance(reading, UserError))
    with right:
        facts(shown)


def _error(error: UserError, draft: Draft, scene: Scene) -> None:
    line = error.line if isinstance(error, RuleError) else 0
    problem(error, title=_("Line {line} needs a look").format(line=line) if line else _("The rules need a look"))
    with st.container(horizontal=True, gap="small"):
        if line and st.button(_("Go to line"), key="goto_error", icon=":material/my_location:"):
            draft.show(line)
            st.rerun()
        if line and st.button(_("Comment out"), key="off_error", icon=":material/comment:"):
            draft.comment_out(line)
            st.rerun()
        if "{reason}" in error.template and st.button(
            _("Take up to a minute"), key="patient_start", icon=":material/hourglass:"
        ):
            st.session_state["patient"] = (scene.slot, draft.text)
            st.rerun()


def _marks(reading: Reading | None, draft: Draft) -> list[Mark]:
    if reading is None:
        return []
    lines = draft.text.count("\n") + 1
    if isinstance(reading, UserError):
        line = reading.line if isinstance(reading, RuleError) else 0
        return [Mark(line, "error", reading.column)] if isinstance(reading, RuleError) and 0 < line <= lines else []
    broken = {rule.line for rule in reading.check.rules if rule.line} if reading.check else set()
    return [Mark(line, "broken") for line in sorted(broken)[:_MOST_MARKS]]


def _explain() -> None:
    explain(
        r"\chi^2(p\,\|\,q) = \mathbb{E}_{y\sim q}\Big[\Big(\frac{p(y \mid x)}{q(y \mid x)}\Big)^2\Big] - 1, \qquad "
        r"q(y \mid x) \propto q_0(y \mid x)\,[\,y\ \text{valid}\,]",
        _(
            "The rules are compiled into a decision diagram, through which every count, share and draw is exact, "
            "however many combinations there are. A past row that no rule allows can't be learned from and is left "
            "out: all rows obey – trusted; up to 5 % break a rule – caution; more – do not trust. Generators are "
            "compared by "
            "a short fit on four fifths of the rows; the others give log q, their paired differences with a bootstrap "
            "interval, and χ², of which 1 / (1 + χ²) is the share of draws that training would be worth."
        ),
        _("Bryant, IEEE Transactions on Computers 1986; Junker, QuickXplain, AAAI 2004."),
    )


page()
