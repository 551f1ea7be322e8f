"""Where a person is, kept in the URL so that every view is a link: language, depth, run, data, roles, generator.

A reload starts a new session with nothing but the URL, and moving to another page empties the URL; so each is
restored from the other at the start of every run of the script, before anything else is read.
"""

from typing import Final

import streamlit as st

from app.text import Language, as_language, language_of

KEYS: Final = ("lang", "depth", "run", "dataset", "roles", "generator")
DEPTHS: Final = ("business", "expert")
_STATE: Final = "place"


def settle() -> None:
    """Bring the URL and the session into agreement. What was typed into the URL wins over what the session knew."""
    state: dict[str, str] = st.session_state.setdefault(_STATE, {})
    for key in KEYS:
        in_url = st.query_params.get(key)
        if in_url:
            state[key] = in_url
    if as_language(state.get("lang", "")) is None:
        state["lang"] = language_of(st.context.locale)
    if state.get("depth") not in DEPTHS:
        state["depth"] = DEPTHS[0]
    write_url()


def get(key: str) -> str | None:
    """Return one part of the place, or nothing where it isn't set."""
    return st.session_state.get(_STATE, {}).get(key)


def put(**changes: str | None) -> None:
    """Change parts of the place, in the session and in the URL; ``None`` removes one."""
    state: dict[str, str] = st.session_state.setdefault(_STATE, {})
    for key, value in changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
    write_url()


def language() -> Language:
    """Return the language of this session; English outside a session."""
    return as_language(get("lang") or "") or "en"


def is_expert() -> bool:
    """Return whether the expert depth is on: more tables and settings, the same numbers."""
    return get("depth") == "expert"


def write_url() -> None:
    """Show the place in the URL. The framework empties the URL on the way to another page, so this comes after it."""
    state: dict[str, str] = st.session_state[_STATE]
    for key in KEYS:
        value = state.get(key)
        if value is None:
            if key in st.query_params:
                del st.query_params[key]
        elif st.query_params.get(key) != value:
            st.query_params[key] = value
