"""What a report is written from: a finished run, its model's answers, and what a person chose. No words yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from app.components.decision_service import Besides, Request, decided, edited_values, first_values
from app.components.generator_service import Reading, analyse, scene_of
from app.components.live_model import Outcome, ranked
from app.components.result import Result, load_result
from app.components.returns_service import prices_of, returned
from app.components.storage import model_record, store, study_of
from app.data_summary import DataSummary, summarise
from app.generator_numbers import space_size
from jebm_core.decisions.values import ENTRIES, ValueTable, values_of
from jebm_core.errors import UserError
from jebm_core.runs.records import LEARNING_CURVE, State
from jebm_core.tables import Examples, OutputSchema

RANKED = 20
DEFAULT_REQUEST: Request = ("exact", 0.1, None)
SUCCESS: Outcome = ("result", "pass")


@dataclass(frozen=True)
class Choices:
    """What a person chose for a report.

    Attributes:
        outcome: the slot and option that are a success; None takes ``result=pass`` where there is one.
        trial, success, review_hours, hour, currency: prices, see `jebm_core.decisions.returns`.
        values: the record of a value table (`ValueTable.to_record`); None takes the one the page Decisions begins with.
        request: loss, α and δ of the guarantee.
    """

    outcome: Outcome | None = None
    trial: float = 1.0
    success: float = 0.0
    review_hours: float = 0.5
    hour: float = 0.0
    currency: str = ""
    values: Mapping[str, Any] | None = field(default=None, compare=False)
    request: Request = DEFAULT_REQUEST


@dataclass(frozen=True, eq=False)
class Facts:
    """Everything that the words of a report rest on.

    Attributes:
        reports: of the training, one an epoch.
        summary: what the model says of its own training.
        reading: how the past stands to the rules; None without rules.
        ranking: the likeliest untried combinations, or the error that says why there are none.
        outcome: what they are ranked by, and what a success is.
        decisions: the decision record of the held-out rows; None where values don't apply.
        returns: what the ranking would have saved; the error that says why it can't be known; None where no success is
            defined.
        curve: a learning curve that was made of this run.
    """

    result: Result
    choices: Choices
    data: DataSummary
    everything: int
    reports: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]
    reading: Reading | None
    ranking: Mapping[str, Any] | UserError
    outcome: Outcome | None
    decisions: Mapping[str, Any] | None
    returns: Mapping[str, Any] | UserError | None
    curve: Mapping[str, Any] | None


def success_of(schema: OutputSchema, chosen: Outcome | None) -> Outcome | None:
    """Return what a success is: the chosen outcome, else ``result=pass`` where the outputs have it."""
    wanted = chosen or SUCCESS
    if schema.kind != "configurations" or len(schema.names) < 2 or wanted[0] not in schema.names:
        return None
    return wanted if wanted[1] in schema.options[schema.names.index(wanted[0])] else None


def gather(run_id: str, choices: Choices) -> Facts:
    """Ask everything that a report needs of a finished run. The first time takes seconds; answers are kept.

    Raises:
        UserError: there is no such run, it has not finished, or a file of it is damaged.
    """
    view = store().run(run_id)
    if view.state is not State.SUCCEEDED:
        raise UserError(
            "Run {run}: expected a finished run for a report, found one that is {state}.", run=run_id,
            state=view.state.value,
        )  # fmt: skip
    result = load_result(view)
    schema, spec = result.schema, view.spec
    prices = prices_of(choices.trial, choices.success, choices.review_hours, choices.hour, choices.currency)
    outcome = success_of(schema, choices.outcome)
    reading = None
    if spec.rules:
        every = examples_of(run_id)
        reading = analyse(spec.rules, scene_of(every.table, every.roles, every))
    try:
        ranking: Mapping[str, Any] | UserError = ranked(result, RANKED, outcome, None)
    except UserError as error:
        ranking = error
    decisions = None
    if schema.kind in ENTRIES and result.has_held_out:
        decisions = decided(result, _values(choices, schema), choices.request)
    returns: Mapping[str, Any] | UserError | None = None
    if outcome is not None and result.has_held_out:
        try:
            returns = returned(result, outcome, prices)
        except UserError as error:
            returns = error
    studies = [one for one in store().about(run_id, LEARNING_CURVE) if one.state is State.SUCCEEDED]
    return Facts(
        result=result,
        choices=choices,
        data=summarise(examples_of(run_id)),
        everything=space_size(schema),
        reports=tuple(r.values for r in store().history(run_id) if r.values.get("stage") == "training"),
        summary=model_record(run_id).get("summary") or {},
        reading=reading,
        ranking=ranking,
        outcome=outcome,
        decisions=decisions,
        returns=returns,
        curve=study_of(studies[0].id) if studies else None,
    )


def _values(choices: Choices, schema: OutputSchema) -> ValueTable:
    if choices.values is not None:
        return values_of(choices.values, schema, "values")
    return edited_values(first_values(schema), schema, Besides(unit=choices.currency), "values")


@st.cache_resource(max_entries=4, show_spinner=False)
def examples_of(run_id: str) -> Examples:
    """Return all rows of a run's table, under the roles that it had."""
    from jebm_core.runs.work import read_data

    spec = store().run(run_id).spec
    return read_data(spec, store().dataset_file(spec.dataset))
