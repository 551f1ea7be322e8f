"""The stage gate: data → generator → model → evidence → decision, each with its verdict and its page."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app.components.language import _
from app.components.verdict import Verdict, verdict_badge


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its verdict, one line on what it rests on, and the page that settles it, if there is one."""

    name: str
    verdict: Verdict
    line: str
    page: str | None = None


def stage_gate(stages: Sequence[Stage]) -> None:
    """Draw the stages in order, as equal cards."""
    with st.grid(columns=len(stages), min_column_width=130, border=True, key="stage_gate"):
        for number, stage in enumerate(stages, 1):
            with st.container(gap="small"):
                st.caption(_("Stage {number}").format(number=number))
                st.markdown(f"**{stage.name}**")
                verdict_badge(stage.verdict)
                st.caption(stage.line)
                if stage.page:
                    st.page_link(stage.page, label=_("Open"), icon=":material/arrow_forward:")
