"""What the ranking of a finished run would have saved on its held-out rows. torch comes with the first call."""

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.components.live_model import Outcome, loaded, offered, training_rows
from app.components.result import Result
from jebm_core.report import verdict

if TYPE_CHECKING:
    from jebm_core.decisions.returns import Prices, Returns


def returned(result: Result, outcome: Outcome, prices: "Prices") -> dict[str, Any]:
    """Return the record of what the order by P(outcome | other slots, x) would have saved, at these prices.

    Raises:
        SpecError: no held-out row succeeded, or every one did.
    """
    return _measured(result.view.id, outcome).to_json(prices, verdict(result.evaluation)[0])


def prices_of(trial: float, success: float, review_hours: float, hour: float, currency: str) -> "Prices":
    """Return the prices that a person entered.

    Raises:
        SpecError: a negative or infinite number.
    """
    from jebm_core.decisions.returns import Prices

    return Prices(trial, success, review_hours, hour, currency)


@st.cache_data(max_entries=16, show_spinner=False)
def _measured(run_id: str, outcome: Outcome) -> "Returns":
    from jebm_core.decisions.returns import frequency_score, measure_returns, outcome_of, success_probability

    model, held, fitted = loaded(run_id), offered(run_id), training_rows(run_id)
    place, option = outcome_of(model, outcome)
    asked, seen = held.outputs.values, fitted.outputs.values
    score = success_probability(model, model.context(held.table.part(held.keep)), asked, outcome)
    others = np.delete(seen, place, axis=1), seen[:, place] == option, np.delete(asked, place, axis=1)
    return measure_returns(score, frequency_score(*others), asked[:, place] == option)
