"""Decisions of a finished run under a value table. torch comes with the first call; answers are kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from app.components.live_model import loaded, offered, training_rows
from app.components.result import Result
from jebm_core.decisions.values import ENTRIES, ValueTable, values_of
from jebm_core.report import verdict
from jebm_core.tables import OutputSchema

if TYPE_CHECKING:
    from jebm_core.decisions.measuring import MeasuredDecisions

Request = tuple[str, float, float | None]
"""Loss, α and δ."""


def first_values(schema: OutputSchema) -> pd.DataFrame:
    """Return the table that a person starts from: a hit is worth 1, a false alarm and a miss cost 1."""
    start = {"hit": 1.0, "false_alarm": 1.0, "miss": 1.0, "right": 1.0, "wrong": -1.0}
    return pd.DataFrame({"name": list(schema.names), **{entry: start[entry] for entry in ENTRIES[schema.kind]}})


@dataclass(frozen=True)
class Besides:
    """What a person entered beside the values of the parts.

    Attributes:
        bonus: if all is right.
        unit: the currency.
        not_acting: worth of a row that is left alone; None leaves it to the misses.
        sizes: columns ``size`` and ``cost``: from this size on, each chosen part costs so much.
    """

    bonus: float = 0.0
    unit: str = ""
    not_acting: float | None = None
    sizes: pd.DataFrame | None = None


def edited_values(frame: pd.DataFrame, schema: OutputSchema, besides: Besides, where: str) -> ValueTable:
    """Return the values that a person entered.

    Raises:
        SpecError: an empty cell, a negative cost, a size that there is not, or an infinite number; names part and
            entry.
    """
    part = "labels" if schema.kind == "subsets" else "slots"
    rows = {
        str(name): {entry: _cell(cell) for entry, cell in cells.items()}
        for name, cells in frame.set_index("name").to_dict("index").items()
    }
    record: dict[str, Any] = {part: rows, "exact_bonus": besides.bonus, "currency": besides.unit}
    if besides.not_acting is not None:
        record["not_acting"] = besides.not_acting
    if besides.sizes is not None and len(besides.sizes):
        steps = [(_cell(size), _cell(cost)) for size, cost in besides.sizes[["size", "cost"]].to_numpy().tolist()]
        whole = {int(size) if size is not None and size == int(size) else size: cost for size, cost in steps}
        record["cost_per_item"] = whole
    return values_of(record, schema, where)


def _cell(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def decided(result: Result, values: ValueTable, request: Request) -> dict[str, Any]:
    """Return the decision record of the held-out rows; the model answers once for each value table."""
    return _record(result.view.id, values.to_record(), request, verdict(result.evaluation)[0])


def policy_text(result: Result, values: ValueTable, request: Request) -> str:
    """Return the policy file."""
    return _policy(result.view.id, values.to_record(), request, verdict(result.evaluation)[0])


@st.cache_data(max_entries=16, show_spinner=False)
def _measured(run_id: str, record: dict[str, Any]) -> "MeasuredDecisions":
    from jebm_core.decisions.measuring import measure_decisions

    model, examples = loaded(run_id), offered(run_id)
    values = values_of(record, model.record.schema, "values")
    context = model.context(examples.table.part(examples.keep))
    return measure_decisions(model, context, examples.outputs.values, values)


@st.cache_data(max_entries=64, show_spinner=False)
def _record(run_id: str, record: dict[str, Any], request: Request, judged: str) -> dict[str, Any]:
    from jebm_core.decisions.conformal import guarantee
    from jebm_core.decisions.measuring import decision_record

    found, (loss, alpha, delta) = _measured(run_id, record), request
    values = values_of(record, loaded(run_id).record.schema, "values")
    given = guarantee(found.decisions.confidence(loss), found.loss(loss), loss, alpha, delta)
    return decision_record(found, values, given, verdict=judged)


@st.cache_data(max_entries=16, show_spinner=False)
def _policy(run_id: str, record: dict[str, Any], request: Request, judged: str) -> str:
    from jebm_core.decisions.policy import make_policy

    model, examples, fitted = loaded(run_id), offered(run_id), training_rows(run_id)
    values = values_of(record, model.record.schema, "values")
    known = model.record.encoder.transform(fitted.table.part(fitted.keep))
    loss, alpha, delta = request
    return make_policy(
        model, _measured(run_id, record), values, np.asarray(known), loss=loss, alpha=alpha, delta=delta,
        verdict=judged, rows_name=examples.table.name, rows_sha256=examples.table.sha256,
    ).to_yaml()  # fmt: skip


__all__ = ["Request", "decided", "edited_values", "first_values", "policy_text"]
