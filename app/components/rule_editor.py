"""The editor of rules: a text area with line numbers and marked lines, which sends its text when the keyboard rests.

A custom component without a frame: it is part of the page, comes from this server, and stores what isn't saved yet in
the browser's tab, so that a reload doesn't lose it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import streamlit as st
from streamlit.components.v2 import component

from app.components import place
from app.components.drafts import Draft, take_edit
from app.components.language import _

PAUSE: Final = 300
"""Milliseconds without a key before the text is read."""
KEY: Final = "rule_editor"
_PARTS: Final = Path(__file__).with_name("editor")


@dataclass(frozen=True)
class Mark:
    """A line that stands out: an error, or a rule that past rows break."""

    line: int
    kind: Literal["error", "broken"]
    column: int = 0


def rule_editor(draft: Draft, marks: Sequence[Mark], placeholder: str) -> None:
    """Draw the editor with the text of a draft; an edit is in the draft before the next run of the page."""
    data: dict[str, Any] = {
        "slot": draft.slot,
        "base": draft.base,
        "value": draft.text,
        "revision": draft.revision,
        "fresh": not draft.touched,
        "marks": [asdict(mark) for mark in marks],
        "goto": draft.goto and {"line": draft.goto[0], "turn": draft.goto[1]},
        "label": _("Rules, one a line"),
        "hint": _("What follows # is a note. Ctrl + / turns a line into a note and back."),
        "placeholder": placeholder,
        "lang": place.language(),
        "pause": PAUSE,
    }
    _component()(key=KEY, data=data, on_edit_change=_edited)


def _edited() -> None:
    edit = st.session_state[KEY].get("edit")
    if isinstance(edit, dict):
        take_edit(str(edit.get("slot", "")), str(edit.get("text", "")), int(edit.get("revision", -1)))


@st.cache_resource(show_spinner=False)
def _component() -> Any:
    html, css, js = ((_PARTS / f"rule_editor.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js"))
    return component("jebm_rule_editor", html=html, css=css, js=js)
