"""What a page asks of a saved model while it is open. torch comes with the first call, never with a page.

Models and answers are shared by all sessions and found again by the run and the question.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from app.components.result import Result
from app.components.storage import store
from jebm_core.errors import TableError
from jebm_core.splits import split_examples
from jebm_core.tables import Examples, OutputSchema, Table, read_table

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel

MOST_CONDITIONS = 64
MOST_SCORED = 300
Outcome = tuple[str, str]


@dataclass(frozen=True)
class LogProbabilities:
    """log p of each held-out row in nats: as estimated, with its 95 % interval."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def conditions(result: Result) -> Examples:
    """Return the rows whose conditions a page offers: those kept out of training, else all."""
    return _conditions(result.view.id)


def fitted_model(run_id: str) -> "FittedModel":
    """Return the model of a finished run. Shared by all sessions: never to be changed."""
    return _model(run_id)


def held_out_examples(run_id: str) -> Examples:
    """Return the rows kept out of the training of a run, else all. Shared by all sessions."""
    return _conditions(run_id)


def training_rows(run_id: str) -> Examples:
    """Return the rows that a run was fitted to."""
    return _split(run_id)[0]


def condition_rows(result: Result, row: int | None) -> pd.DataFrame:
    """Return the rows whose conditions are averaged over: one of them, or at most 64, evenly chosen."""
    examples = conditions(result)
    return examples.table.part(examples.keep[_chosen(len(examples.keep), row)]).frame


def ranked(result: Result, n: int, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    """Return the likeliest untried combinations as ``rank_unseen`` records them.

    Args:
        result: the run.
        n: how many.
        outcome: slot and option to rank by; without one, by the probability of the whole combination.
        row: place of one condition among ``conditions``; None averages over them.
    """
    return _ranked(result.view.id, n, outcome, row)


def scored(result: Result, content: bytes, name: str, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    """Return a person's own list of combinations, scored in its order.

    A list that has every feature column is scored in its own conditions, each row in that of its line.

    Raises:
        TableError: the list can't be read, lacks a column, or names an option that the model doesn't know.
    """
    return _scored(result.view.id, content, name, outcome, row)


def held_out_log_probabilities(result: Result) -> LogProbabilities:
    """Return log p of the rows of ``conditions``."""
    return _log_probabilities(result.view.id)


def _chosen(rows: int, row: int | None) -> np.ndarray:
    if row is not None:
        return np.array([min(row, rows - 1)])
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_CONDITIONS)).round().astype(int))


@st.cache_resource(max_entries=4, show_spinner=False)
def _model(run_id: str) -> "FittedModel":
    from jebm_core.fitted import load

    return load(store().folder(run_id).model)


@st.cache_resource(max_entries=2, show_spinner=False)
def _replicates(run_id: str) -> "tuple[FittedModel, ...]":
    from jebm_core.replicates import load_replicates

    return load_replicates(store().folder(run_id).model)


@st.cache_resource(max_entries=4, show_spinner=False)
def _split(run_id: str) -> tuple[Examples, Examples]:
    from jebm_core.runs.work import read_data

    spec = store().run(run_id).spec
    examples = read_data(spec, store().dataset_file(spec.dataset))
    return split_examples(examples, spec.hold_out_fraction, spec.hold_out_mode, spec.seed)


def _conditions(run_id: str) -> Examples:
    train, held = _split(run_id)
    return held if len(held.keep) else train


@st.cache_data(max_entries=64, show_spinner=False)
def _ranked(run_id: str, n: int, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    from jebm_core import fitted
    from jebm_core.evaluation import rank_unseen
    from jebm_core.evaluation.widening import widened

    model, examples = _model(run_id), _conditions(run_id)
    rows = examples.table.part(examples.keep[_chosen(len(examples.keep), row)])
    # The same question has the same answer on every visit.
    generator = fitted.torch.Generator(model.device).manual_seed(0)
    table = rank_unseen(model, model.context(rows), n, outcome=outcome, generator=generator)
    return widened(table, [(member, member.context(rows)) for member in _replicates(run_id)]).to_json()


@st.cache_data(max_entries=8, show_spinner=False)
def _log_probabilities(run_id: str) -> LogProbabilities:
    from jebm_core import fitted
    from jebm_core.replicates import intervals

    model, examples = _model(run_id), _conditions(run_id)
    y = model.seen.points.new_tensor(examples.outputs.values.tolist())
    rows = examples.table.part(examples.keep)
    found = model.log_prob(model.context(rows), y)
    members = [member.log_prob(member.context(rows), y).value for member in _replicates(run_id)]
    if members:
        both = intervals(*found, fitted.torch.stack(members))
        found = found._replace(low=both.low, high=both.high)
    value, low, high = (part.double().cpu().numpy() for part in found)
    return LogProbabilities(value, low, high)


@st.cache_data(max_entries=8, show_spinner=False)
def _scored(run_id: str, content: bytes, name: str, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    from jebm_core.evaluation import score_candidates
    from jebm_core.evaluation.widening import widened

    model, examples = _model(run_id), _conditions(run_id)
    table = read_table(name, content=content)
    if len(table.frame) > MOST_SCORED:
        raise TableError(
            "{file}: expected at most {most} combinations to score, found {count}. Split the list.",
            file=name,
            most=MOST_SCORED,
            count=len(table.frame),
        )
    codes = read_list(table, model.record.schema, None if outcome is None else outcome[0])
    y = model.seen.points.new_tensor(codes.tolist())
    own = bool(model.record.features) and set(model.record.features) <= set(map(str, table.frame.columns))
    if not own:
        rows = examples.table.part(examples.keep[_chosen(len(examples.keep), row)])
        found = score_candidates(model, model.context(rows), y, outcome=outcome)
        return widened(found, [(m, m.context(rows)) for m in _replicates(run_id)]).to_json() | {"own": False}
    context = model.context(table)
    members = [(member, member.context(table)) for member in _replicates(run_id)]
    entries: list[dict[str, Any]] = []
    record: dict[str, Any] = {}
    for line in range(len(y)):
        line_of = slice(line, line + 1)
        found = score_candidates(model, context.rows(line_of), y[line_of], outcome=outcome)
        record = widened(found, [(member, own_x.rows(line_of)) for member, own_x in members]).to_json()
        entries += [{**entry, "rank": line + 1} for entry in record["entries"]]
    return record | {"entries": entries, "own": True}


def read_list(table: Table, schema: OutputSchema, skip: str | None) -> np.ndarray:
    """Return the combinations of a list as codes, ``[row, item]``; the slot ``skip`` isn't read and is 0.

    Raises:
        TableError: a column is missing or a cell isn't what the model knows, with row and column.
    """
    columns = []
    for name, column, options in zip(
        schema.names, schema.columns, schema.options or ((),) * len(schema.names), strict=False
    ):
        if name == skip:
            columns.append(np.zeros(len(table.frame), dtype=np.int64))
            continue
        if column not in table.frame.columns:
            raise TableError(
                "{file}: expected the column {column}, found none. Give the list the output columns of the data set.",
                file=table.name,
                column=column,
            )
        columns.append(_codes(table, column, options, schema))
    return np.stack(columns, axis=1)


def _codes(table: Table, column: str, options: tuple[str, ...], schema: OutputSchema) -> np.ndarray:
    if schema.kind == "configurations":
        known = {option: code for code, option in enumerate(options)}
    elif schema.kind == "subsets":
        known = {"0": 0, "1": 1}
    else:
        known = {str(place + 1): place for place in range(len(schema.names))}
    codes = np.zeros(len(table.frame), dtype=np.int64)
    for position, cell in enumerate(table.frame[column].tolist()):
        text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
        if text not in known:
            raise TableError(
                "{file}, row {row}, column {column}: expected one of {known}, found {found!r}. Correct the cell.",
                file=table.name,
                row=table.row_number(position),
                column=column,
                known=", ".join(known),
                found=text,
            )
        codes[position] = known[text]
    return codes


__all__ = [
    "LogProbabilities",
    "Outcome",
    "condition_rows",
    "conditions",
    "fitted_model",
    "held_out_examples",
    "held_out_log_probabilities",
    "ranked",
    "read_list",
    "scored",
    "training_rows",
]
