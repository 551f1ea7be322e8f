"""The three verdicts, the same everywhere: a word, an icon and a colour, never colour alone."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import streamlit as st

from app.components.language import _
from app.text import marked

Colour = Literal["green", "orange", "red", "gray"]


class Verdict(StrEnum):
    """How far a result may be relied on; the values are those written in evaluation records."""

    TRUSTED = "trusted"
    CAUTION = "caution"
    DO_NOT_TRUST = "do not trust"
    PENDING = "pending"


_LOOKS: dict[Verdict, tuple[str, str, Colour]] = {
    Verdict.TRUSTED: (marked("Trusted"), ":material/check_circle:", "green"),
    Verdict.CAUTION: (marked("Caution"), ":material/warning:", "orange"),
    Verdict.DO_NOT_TRUST: (marked("Do not trust"), ":material/block:", "red"),
    Verdict.PENDING: (marked("Not done yet"), ":material/radio_button_unchecked:", "gray"),
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the most cautious of several verdicts; of none, that nothing was done yet.

    >>> worst([Verdict.TRUSTED, Verdict.CAUTION]).value
    'caution'
    """
    order = (Verdict.DO_NOT_TRUST, Verdict.CAUTION, Verdict.TRUSTED)
    found = set(verdicts)
    return next((verdict for verdict in order if verdict in found), Verdict.PENDING)


def verdict_badge(verdict: Verdict) -> None:
    """Draw a verdict as a badge."""
    word, icon, colour = _LOOKS[verdict]
    st.badge(_(word), icon=icon, color=colour)


def verdict_word(verdict: Verdict) -> str:
    """Return the word of a verdict in the language of this session."""
    return _(_LOOKS[verdict][0])
