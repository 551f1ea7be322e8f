"""Rules as files: bring them in any notation, take them away for other tools, begin with those of a sample."""

from typing import Final

import streamlit as st

from app.components import place
from app.components.drafts import Draft
from app.components.generator_service import Analysis, Scene
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.problem import problem
from app.rule_export import FORMATS, exported
from app.samples import sample_rules
from jebm_core.errors import UserError
from jebm_core.rules.notation.files import notation_of, read_rule_file
from jebm_core.rules.notation.printer import to_text

_MIME: Final = {"uvl": "text/plain", "cnf": "text/plain", "json": "application/json"}


def text_buttons(draft: Draft, scene: Scene) -> None:
    """Draw what takes the place of the text at once: the rules of a sample, and the text that was there before."""
    sample = sample_rules(scene.name, place.language())
    with st.container(horizontal=True, gap="small"):
        if sample and draft.text.strip() != sample.strip():
            kind = "secondary" if draft.text.strip() else "primary"
            if st.button(_("Use the sample rules"), type=kind, key="sample_rules", icon=":material/folder_open:"):
                draft.replace(sample)
                st.rerun()
        if draft.before is not None and st.button(
            _("Bring the text before back"), key="rules_back", icon=":material/undo:"
        ):
            draft.replace(draft.before)
            st.rerun()


def rule_files(draft: Draft, analysis: Analysis | None) -> None:
    """Draw the ways in and out of the editor."""
    with st.expander(_("Rules from a file, rules as a file"), icon=":material/swap_vert:", key="rule_files"):
        _bring(draft)
        _take(draft, analysis)


def _bring(draft: Draft) -> None:
    st.markdown(
        _(
            "Text, JSON or YAML, UVL feature models and DIMACS CNF, up to 20 MB. What is read takes the place of the "
            "text above, which can be brought back."
        )
    )
    turn = st.session_state.setdefault("rule_upload_turn", 0)
    file = st.file_uploader(_("Rule file"), key=f"rule_upload_{turn}", label_visibility="collapsed", max_upload_size=20)
    if file is None:
        return
    try:
        with st.spinner(_("Reading {file} …").format(file=escape(file.name))):
            text = text_of(file.name, file.getvalue())
    except UserError as error:
        problem(error, _("The text above was not changed."), title=_("This rule file can't be used"))
        return
    draft.replace(text)
    st.session_state["rule_upload_turn"] = turn + 1
    st.rerun()


def text_of(name: str, content: bytes) -> str:
    """Return the rules of a file in the text notation; a file of text keeps its notes and its layout.

    Raises:
        RuleError: the file can't be read.
    """
    rules = read_rule_file(name, content)
    try:
        plain = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        plain = content.decode("cp932")
    plain = plain.replace("\r\n", "\n").replace("\r", "\n")
    return plain if notation_of(name, plain) == "text" else to_text(rules)


def _take(draft: Draft, analysis: Analysis | None) -> None:
    st.markdown(_("**Take the rules to another tool**"))
    refused: dict[str, str] = {}
    with st.container(horizontal=True, gap="small"):
        _download("rules", draft.text)
        for form in FORMATS:
            if analysis is None:
                continue
            try:
                _download(form, exported(analysis.compiled.problem.rules, analysis.schema, form))
            except UserError as error:
                refused[form.upper()] = sentence(error)
    if analysis is None:
        st.caption(_("Other formats are offered once the text can be read."))
    for form, reason in refused.items():
        st.caption(escape(_("{format}: {reason}").format(format=form, reason=reason)))


def _download(form: str, content: str) -> None:
    st.download_button(
        _("Text") if form == "rules" else form.upper(),
        content.encode("utf-8"),
        file_name=f"jebm.{form}",
        mime=_MIME.get(form, "text/plain"),
        icon=":material/download:",
        key=f"rules_as_{form}",
        on_click="ignore",
    )
