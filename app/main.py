"""The dashboard's front door: settles language and place, then shows the page that was asked for.

Start it with ``streamlit run app/main.py`` or ``jebm app``.
"""

from pathlib import Path

import streamlit as st

from app.components import place
from app.components.language import _, announce_language, switches
from app.components.problem import fault, problem
from app.pages import PAGES
from jebm_core.errors import UserError

_ICON = Path(__file__).with_name("favicon.png")


def main() -> None:
    """Settle the place, draw the frame and run the page."""
    # Before the navigation, which would else take the first page's icon and fetch it from the internet.
    st.set_page_config(page_icon=str(_ICON), layout="wide")
    place.settle()
    page = st.navigation(
        [
            st.Page(entry.file, title=_(entry.title), icon=entry.icon, default=place_in_menu == 0)
            for place_in_menu, entry in enumerate(PAGES)
        ],
        # The framework folds long lists away; eight pages are few enough to see at once.
        expanded=True,
    )
    st.set_page_config(page_title=f"{page.title} · jebm")
    place.write_url()
    announce_language()
    with st.sidebar:
        switches()
    try:
        page.run()
    except UserError as error:
        problem(error, title=_("This page can't be shown"))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person never sees a traceback
        fault(error)


main()
