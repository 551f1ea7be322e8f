"""Glossary: what does this word mean?"""

import streamlit as st

from app.components.empty import page_heading
from app.components.language import _
from app.glossary import TERMS


def page() -> None:
    """Draw every term: the line always, the paragraph and the example folded."""
    page_heading(_("Glossary"), _("What does this word mean?"))
    sought = st.text_input(
        _("Search"), key="glossary_search", placeholder=_("A word or part of one"), icon=":material/search:"
    )
    found = 0
    for term in TERMS:
        texts = [_(part) for part in (term.word, term.line, term.paragraph, term.example)]
        if sought and not any(sought.casefold() in text.casefold() for text in (*texts, term.word)):
            continue
        found += 1
        word, line, paragraph, example = texts
        with st.expander(f"**{word}** — {line}", key=f"term_{term.key}", expanded=bool(sought)):
            st.markdown(paragraph)
            st.caption(_("Example: {example}").format(example=example))
    if not found:
        st.caption(_("No word matches. Try a shorter part of it."))


page()
