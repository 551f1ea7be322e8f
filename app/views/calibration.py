"""Calibration: when the model says 30 %, does it happen 30 % of the time?"""

from app.components.empty import empty_state, page_heading
from app.components.language import _


def page() -> None:
    """Draw the page; until a run is open, it says what will be here and leads to the next step."""
    page_heading(_("Calibration"), _("When the model says 30 %, does it happen 30 % of the time?"))
    empty_state(
        _("No calibrated run yet"),
        _(
            "Here stated probabilities are compared with observed shares, for single labels and for whole "
            "combinations. A finished run brings it."
        ),
        _("Go to training"),
        "views/train.py",
        icon=":material/straighten:",
    )


page()
