"""Partition function: are the probabilities normalised, also for cases never seen?"""

from app.components.empty import empty_state, page_heading
from app.components.language import _


def page() -> None:
    """Draw the page; until a run is open, it says what will be here and leads to the next step."""
    page_heading(_("Partition function"), _("Are the probabilities normalised, also for cases never seen?"))
    empty_state(
        _("No audited run yet"),
        _(
            "Here the learned log-partition is held against an independent audit, for training cases and for "
            "unseen ones. A finished run brings it."
        ),
        _("Go to training"),
        "views/train.py",
        icon=":material/functions:",
    )


page()
