"""Who is at the page: nobody in particular on a machine of one's own, or a person who signed in where that is asked.

Signing in is the framework's (OpenID Connect): it is asked for as soon as the server's ``secrets.toml`` has a section
``[auth]``. Until then nobody is asked, and everybody who reaches the page sees everything.
"""

import streamlit as st

from app.components.empty import page_heading
from app.components.language import _
from app.components.plain import escape


def sign_in_is_asked() -> bool:
    """Return whether the server asks who is there."""
    return "is_logged_in" in st.user


def who() -> str | None:
    """Return the name that the person signed in with, as the store keeps it; None where nobody is asked."""
    if not sign_in_is_asked() or not st.user.is_logged_in:
        return None
    # An address can be given to somebody else later, but it is what colleagues recognise in a list.
    named = (st.user.get(claim) for claim in ("email", "preferred_username", "sub"))
    return next((str(name) for name in named if name), None)


def must_sign_in() -> bool:
    """Return whether the person has to sign in first."""
    return sign_in_is_asked() and who() is None


def draw_sign_in() -> None:
    """Draw the one page that a stranger sees."""
    page_heading("jebm", _("Which combinations are likely, how likely, and may we trust that number?"))
    with st.container(border=True, key="sign_in", gap="medium"):
        st.subheader(_("Sign in"), anchor=False, icon=":material/login:")
        st.markdown(_("Data, runs and reports here belong to people. Sign in to see yours and what others share."))
        if st.button(_("Sign in"), type="primary", key="sign_in_button"):
            st.login()


def draw_signed_in() -> None:
    """Say in the sidebar who is signed in, with the way out; nothing where nobody is asked."""
    name = who()
    if name is None:
        return
    st.caption(_("Signed in as {name}").format(name=escape(name)))
    if st.button(_("Sign out"), key="sign_out", icon=":material/logout:", width="stretch"):
        st.logout()
