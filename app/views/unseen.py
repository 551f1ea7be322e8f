"""Unseen combinations: which untried combination is most likely, and how sure are we?"""

from app.components.empty import empty_state, page_heading
from app.components.language import _


def page() -> None:
    """Draw the page; until a run is open, it says what will be here and leads to the next step."""
    page_heading(_("Unseen combinations"), _("Which untried combination is most likely, and how sure are we?"))
    empty_state(
        _("No ranked combinations yet"),
        _(
            "Here untried combinations are ranked by probability, with intervals and the distance to the "
            "nearest one that was tried. A finished run brings it."
        ),
        _("Go to training"),
        "views/train.py",
        icon=":material/explore:",
    )


page()
