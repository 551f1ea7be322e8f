"""What the page asks of a model about one combination and a change of it. torch comes with the first call."""

import dataclasses
from typing import Any

import streamlit as st

from app.components.live_model import Outcome, context_of, loaded

Combination = tuple[int, ...]
SECONDS = 4.0


@st.cache_data(max_entries=64, show_spinner=False)
def broken_rules(run_id: str, y: Combination, outcome: Outcome | None) -> tuple[str, ...]:
    """Return the rules that a combination breaks; an empty text stands for what they say together."""
    from jebm_core.evaluation.lists import rules_broken_by

    model = loaded(run_id)
    return rules_broken_by(model, model.seen.points.new_tensor(y), outcome=outcome)


@st.cache_data(max_entries=64, show_spinner=False)
def compared_with(
    run_id: str, before: Combination, after: Combination, outcome: Outcome | None, row: int | None
) -> dict[str, Any]:
    """Return the comparison of two combinations, the terms behind it and, of one row, what its features add against the
    mean of all rows: to the log of the ratio or, with an outcome, to its log-odds in the second combination.

    Raises:
        UserError: one of them is impossible under these conditions.
    """
    from jebm_core.evaluation import baseline_context, compare, feature_contributions, part_contributions
    from jebm_core.evaluation.candidates import outcome_place
    from jebm_core.evaluation.explanation import rivals

    model, context = loaded(run_id), context_of(run_id, row)
    first, second = (model.seen.points.new_tensor(y) for y in (before, after))
    record: dict[str, Any] = dataclasses.asdict(compare(model, context, first, second, outcome=outcome))
    record["terms"] = [
        dataclasses.asdict(term) for term in part_contributions(model, context, second, first, outcome=outcome).terms
    ]
    record["features"] = None
    if row is not None and model.record.encoder.columns:
        base = baseline_context(model, context, context_of(run_id, None))
        if outcome is not None:
            second, first = rivals(model.model(context), second, outcome_place(model.space, outcome))
        record["features"] = dataclasses.asdict(feature_contributions(model, context, second, base, versus=first))
    return record


@st.cache_data(max_entries=64, show_spinner=False)
def flip_of(run_id: str, y: Combination, threshold: float, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    """Return the smallest change that takes the probability across a threshold."""
    from jebm_core.evaluation import Decision, smallest_flip

    model = loaded(run_id)
    found = smallest_flip(
        model, context_of(run_id, row), model.seen.points.new_tensor(y), Decision(threshold, outcome), seconds=SECONDS
    )
    return dataclasses.asdict(found)
