"""Train: is training healthy?"""

from app.components.empty import empty_state, page_heading
from app.components.language import _


def page() -> None:
    """Draw the page; until a run is open, it says what will be here and leads to the next step."""
    page_heading(_("Train"), _("Is training healthy?"))
    empty_state(
        _("No run is open"),
        _(
            "Training shows the objective, the effective sample size and the held-out likelihood while it "
            "goes on. Choose the data first; sensible settings are chosen for you."
        ),
        _("Choose the data"),
        "views/data.py",
        icon=":material/model_training:",
    )


page()
