"""Errors are part of the design: what was expected, what was found, and a way on; never a traceback."""

import logging
import secrets

import streamlit as st

from app.components.language import _, sentence
from app.components.plain import escape

_LOG = logging.getLogger(__name__)


def problem(error: object, advice: str | None = None, *, title: str | None = None) -> None:
    """Draw an error of ``jebm_core`` as one sentence in the language of the page, with advice beneath it."""
    with st.container(key="problem", gap="small"):
        st.error(escape(sentence(error)), title=title or _("This file can't be used as it is"), icon=":material/error:")
        if advice:
            st.caption(advice)


def fault(error: Exception) -> None:
    """Draw a fault of our own: what to do, and a reference that finds its traceback in the server's log."""
    reference = secrets.token_hex(3)
    _LOG.error("fault %s", reference, exc_info=error)
    with st.container(key="fault"):
        st.error(
            _(
                "This page met a fault of jebm's own, not of your data. Your data and runs are safe. "
                "Reload the page; if it happens again, report reference {reference}, which is also in the server log."
            ).format(reference=reference),
            title=_("Something went wrong here"),
            icon=":material/report:",
        )
