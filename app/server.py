"""The dashboard with its guards, as an ASGI application: what ``jebm app`` serves.

``streamlit run app/server.py`` starts it; ``streamlit run app/main.py`` shows the same pages without the headers and
the check of host names.
"""

import streamlit as st
from streamlit import config

from app.safety import guards


def _show_fault(error: Exception) -> bool:
    """Draw a fault outside the pages, such as one of the frame, as the pages draw theirs."""
    from app.components.problem import fault

    fault(error)
    return True


app = st.App("main.py", middleware=guards(config.get_option("server.allowedHosts")), on_script_error=_show_fault)
