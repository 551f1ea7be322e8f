"""A page with nothing to show yet says what will be here, why it is worth having, and the one next step."""

import streamlit as st

from app.components import place
from app.components.language import _


def page_heading(title: str, question: str) -> None:
    """Draw the title of a page and the one question it answers."""
    st.title(title, anchor=False)
    st.caption(question)


def empty_state(what: str, why: str, action: str, target: str, *, icon: str = ":material/inbox:") -> None:
    """Draw a page that waits for something, with one primary button that leads to the page ``target``."""
    with st.container(border=True, key="empty", gap="medium"):
        st.subheader(what, anchor=False, icon=icon)
        st.markdown(why)
        if st.button(action, type="primary", key="empty_action"):
            st.switch_page(target)


def explain(equation: str, words: str, source: str) -> None:
    """Draw the folded note on how a page's numbers are computed: what is done, for experts its equation and source."""
    with st.expander(_("How this is computed"), icon=":material/functions:", key="explain"):
        if place.is_expert():
            st.latex(equation)
        st.markdown(words)
        if place.is_expert():
            st.caption(source)
        st.page_link("views/glossary.py", label=_("Look up a word in the glossary"), icon=":material/menu_book:")
