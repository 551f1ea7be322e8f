"""The first line of a page, and the numbers beneath it."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.components.plain import escape
from app.components.verdict import Verdict, verdict_badge


@dataclass(frozen=True)
class Quantity:
    """One number to show: what it is, the number with its unit, its interval, and how it is to be read."""

    label: str
    value: str
    interval: str = ""
    help: str | None = None


@dataclass(frozen=True)
class Action:
    """The one next step that an answer offers."""

    label: str
    key: str
    disabled: bool = False


def answer_line(verdict: Verdict, sentence: str, reasons: Sequence[str] = (), action: Action | None = None) -> bool:
    """Draw the answer to the question of the page: the verdict, one sentence, why it isn't better, and the next step.

    Returns:
        Whether the next step was taken just now.
    """
    with st.container(border=True, key="answer"):
        words, step = st.columns([4, 1.3], vertical_alignment="center") if action else (st.container(), None)
        with words:
            verdict_badge(verdict)
            st.markdown(f"**{escape(sentence)}**")
            if reasons:
                st.markdown("\n".join(f"- {escape(reason)}" for reason in reasons))
        if action is None or step is None:
            return False
        with step:
            return st.button(action.label, type="primary", key=action.key, disabled=action.disabled, width="stretch")


def quantities(items: Sequence[Quantity], verdict: Verdict = Verdict.TRUSTED) -> None:
    """Draw numbers side by side. Under *do not trust* they are grey and small, so that nobody reads them from afar."""
    with st.grid(columns=len(items), min_column_width=150, border=True):
        for item in items:
            with st.container(gap="xxsmall"):
                st.caption(item.label, help=item.help)
                if verdict is Verdict.DO_NOT_TRUST:
                    st.caption(escape(f"{item.value} {item.interval}".strip()))
                else:
                    st.subheader(escape(item.value), anchor=False)
                    if item.interval:
                        st.caption(escape(item.interval))
