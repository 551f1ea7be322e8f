"""The dashboard's front door: settles language and place, then shows the page that was asked for.

Start it with ``streamlit run app/main.py`` or ``jebm app``.
"""

from pathlib import Path

import streamlit as st

from app import collector
from app.components import person, place
from app.components.language import _, announce_language, switches
from app.components.problem import fault, problem
from app.components.projects import draw_switch
from app.components.storage import store
from app.pages import PAGES
from jebm_core.errors import UserError

_ICON = Path(__file__).with_name("favicon.png")


def main() -> None:
    """Settle the place, draw the frame and run the page."""
    # Before the navigation, which would else take the first page's icon and fetch it from the internet.
    st.set_page_config(page_icon=str(_ICON), layout="wide")
    place.settle()
    stranger = person.must_sign_in()
    page = st.navigation(
        [
            st.Page(entry.file, title=_(entry.title), icon=entry.icon, default=place_in_menu == 0)
            for place_in_menu, entry in enumerate(PAGES)
        ],
        # The framework folds long lists away; so few are seen at once.
        expanded=True,
        position="hidden" if stranger else "sidebar",
    )
    st.set_page_config(page_title=f"{page.title} · jebm")
    place.enter(page.url_path)
    announce_language()
    if stranger:
        person.draw_sign_in()
        return
    with st.sidebar:
        switches()
        draw_switch(store())
        person.draw_signed_in()
    try:
        page.run()
    except UserError as error:
        problem(error, title=_("This page can't be shown"))
    except Exception as error:  # noqa: BLE001 - the last line of defence: a person never sees a traceback
        fault(error)
    finally:
        collector.settle()


main()
