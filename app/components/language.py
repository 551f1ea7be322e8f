"""Every visible sentence passes through ``_``, in the language of the session that asks."""

import streamlit as st

from app import text
from app.components import place


def _(message: str) -> str:
    """Return a message in the language of this session."""
    return text.translate(message, place.language())


def sentence(item: object) -> str:
    """Return an error or note of ``jebm_core`` as a sentence in the language of this session."""
    return text.sentence(item, place.language())


def switches() -> None:
    """Draw the language and depth switches; both are part of the URL."""
    st.session_state["lang_switch"] = place.language()
    st.segmented_control(
        _("Language"),
        list(text.LANGUAGES),
        format_func=lambda code: text.LANGUAGES[code],
        key="lang_switch",
        required=True,
        on_change=lambda: place.put(lang=st.session_state["lang_switch"]),
    )
    names = {"business": _("Business"), "expert": _("Expert")}
    st.session_state["depth_switch"] = place.get("depth")
    st.segmented_control(
        _("Depth"),
        list(names),
        format_func=lambda code: names[code],
        key="depth_switch",
        required=True,
        help=_("Expert shows more tables and settings. The numbers are the same."),
        on_change=lambda: place.put(depth=st.session_state["depth_switch"]),
    )


def announce_language() -> None:
    """Tell the browser, and through it a screen reader, which language the page is in."""
    # The framework always declares English. The script is one of two constants; nothing a person typed reaches it.
    scripts = {code: f"<script>document.documentElement.lang='{code}'</script>" for code in text.LANGUAGES}
    st.html(scripts[place.language()], unsafe_allow_javascript=True)
