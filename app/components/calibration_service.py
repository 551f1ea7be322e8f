"""Calibration of what a person asks about: an event in the rule language, groups of rows. Answers are kept."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from app.components.live_model import loaded, offered
from app.components.result import Result

if TYPE_CHECKING:
    from jebm_core.evaluation.cohorts import Cohorts
    from jebm_core.evaluation.events import EventJudgement
    from jebm_core.evaluation.measured import Measured


def judged_event(result: Result, text: str) -> "EventJudgement":
    """Return how an event was stated and how often it happened, on the rows kept out of training.

    Raises:
        RuleError: the event can't be read, or names what is not there.
    """
    return _judged(result.view.id, text.strip())


def example(result: Result) -> str:
    """Return an event about the outputs of a run, as it is written."""
    from jebm_core.evaluation.events import example_event

    return example_event(result.schema)


def grouping_columns(result: Result) -> list[str]:
    """Return the columns that rows can be grouped by: those that are no outputs."""
    outputs = set(result.schema.columns)
    return [str(name) for name in offered(result.view.id).table.frame.columns if str(name) not in outputs]


def grouped(result: Result, column: str) -> "Cohorts":
    """Return the groups of a column, each held against what its rows would show by chance."""
    return _grouped(result.view.id, column)


@st.cache_data(max_entries=64, show_spinner=False)
def _judged(run_id: str, text: str) -> "EventJudgement":
    from jebm_core.evaluation.events import event_of, judge_events

    model = loaded(run_id)
    return judge_events(model, offered(run_id), [event_of(model, text)])[0]


@st.cache_resource(max_entries=4, show_spinner=False)
def measured_rows(run_id: str) -> "Measured":
    """Return the rows kept out of training, measured one by one."""
    from jebm_core.evaluation.measured import measure

    return measure(loaded(run_id), offered(run_id))


@st.cache_data(max_entries=64, show_spinner=False)
def _grouped(run_id: str, column: str) -> "Cohorts":
    from jebm_core.evaluation.cohorts import judge_cohorts

    return judge_cohorts(measured_rows(run_id), offered(run_id), column)


def depth_rows(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a score: single events and the likeliest combination, each with its parts."""
    depth, rows = part["calibration_depth"], []
    for name in ("marginal", "joint"):
        smooth = depth[f"smooth_{name}"]
        for score in ("brier", "log"):
            parts = depth[f"scores_{name}"][score]
            rows.append({**parts, "of": name, "score": score, "score_value": parts["score"], "smooth": smooth})
    return rows


__all__ = ["depth_rows", "example", "grouped", "grouping_columns", "judged_event", "measured_rows"]
