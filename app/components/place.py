"""Where a person is, kept in the URL so that every view is a link: language, depth, project, run, data, roles,
generator, and what belongs to one page alone, which stands in the URL of that page only and is kept for the others.

A reload starts a new session with nothing but the URL, and moving to another page empties the URL; so each is
restored from the other at the start of every run of the script, before anything else is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import streamlit as st

from app.text import Language, as_language, language_of

KEYS: Final = ("lang", "depth", "project", "run", "dataset", "roles", "generator")
OF_PAGE: Final = {"runs": ("runs", "find", "states", "data", "columns")}
DEPTHS: Final = ("business", "expert")
_ALL: Final = (*KEYS, *(key for keys in OF_PAGE.values() for key in keys))
_STATE: Final = "place"
_PAGE: Final = "place_page"
_SPOKEN: ContextVar[Language | None] = ContextVar("spoken", default=None)


def settle() -> None:
    """Bring the URL and the session into agreement. What was typed into the URL wins over what the session knew."""
    state: dict[str, str] = st.session_state.setdefault(_STATE, {})
    for key in _ALL:
        in_url = st.query_params.get(key)
        if in_url:
            state[key] = in_url
    if as_language(state.get("lang", "")) is None:
        state["lang"] = language_of(st.context.locale)
    if state.get("depth") not in DEPTHS:
        state["depth"] = DEPTHS[0]


def enter(page: str) -> None:
    """Say which page is shown, by its path, and show the place in the URL.

    The framework empties the URL on the way to another page, so this comes after the navigation.
    """
    st.session_state[_PAGE] = page
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
    """Return the language of what is being written (`speaking`), else of this session; English outside a session."""
    return _SPOKEN.get() or as_language(get("lang") or "") or "en"


@contextmanager
def speaking(lang: Language) -> Iterator[None]:
    """Write everything inside in one language, with or without a session: a report, or a file that is made later."""
    before = _SPOKEN.set(lang)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def is_expert() -> bool:
    """Return whether the expert depth is on: more tables and settings, the same numbers."""
    return get("depth") == "expert"


def write_url() -> None:
    """Show the place in the URL."""
    state: dict[str, str] = st.session_state[_STATE]
    shown = {*KEYS, *OF_PAGE.get(st.session_state.get(_PAGE, ""), ())}
    for key in _ALL:
        value = state.get(key) if key in shown else None
        if value is None:
            if key in st.query_params:
                del st.query_params[key]
        elif st.query_params.get(key) != value:
            st.query_params[key] = value
