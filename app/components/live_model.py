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
from jebm_core.tables import Examples, Note, Table, read_table

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.model import Context

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
    return offered(result.view.id)


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

    A list that has every feature column is scored in its own conditions, each row in that of its line. Rows that can't
    be read or break a rule are left out and named: (row, column, rule, the sentence).

    Raises:
        UserError: the list can't be read or lacks a column.
    """
    return _scored(result.view.id, content, name, outcome, row)


def held_out_log_probabilities(result: Result) -> LogProbabilities:
    """Return log p of the rows of ``conditions``."""
    return _log_probabilities(result.view.id)


def context_of(run_id: str, row: int | None) -> "Context":
    """Return the contexts that are averaged over: one of those that are offered, or at most 64, evenly chosen."""
    return loaded(run_id).context(_rows_of(run_id, row))


def _rows_of(run_id: str, row: int | None) -> Table:
    examples = offered(run_id)
    return examples.table.part(examples.keep[_chosen(len(examples.keep), row)])


def _chosen(rows: int, row: int | None) -> np.ndarray:
    if row is not None:
        return np.array([min(row, rows - 1)])
    return np.unique(np.linspace(0, rows - 1, min(rows, MOST_CONDITIONS)).round().astype(int))


@st.cache_resource(max_entries=4, show_spinner=False)
def loaded(run_id: str) -> "FittedModel":
    """Return the model of a run."""
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


def offered(run_id: str) -> Examples:
    """Return the rows whose conditions a page offers: those kept out of training, else all."""
    train, held = _split(run_id)
    return held if len(held.keep) else train


@st.cache_data(max_entries=64, show_spinner=False)
def _ranked(run_id: str, n: int, outcome: Outcome | None, row: int | None) -> dict[str, Any]:
    from jebm_core import fitted
    from jebm_core.evaluation import rank_unseen
    from jebm_core.evaluation.widening import widened

    model, rows = loaded(run_id), _rows_of(run_id, row)
    # The same question has the same answer on every visit.
    generator = fitted.torch.Generator(model.device).manual_seed(0)
    table = rank_unseen(model, model.context(rows), n, outcome=outcome, generator=generator)
    return widened(table, [(member, member.context(rows)) for member in _replicates(run_id)]).to_json()


@st.cache_data(max_entries=8, show_spinner=False)
def _log_probabilities(run_id: str) -> LogProbabilities:
    from jebm_core import fitted
    from jebm_core.replicates import intervals

    model, examples = loaded(run_id), offered(run_id)
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
    from jebm_core.evaluation.lists import read_list
    from jebm_core.evaluation.widening import widened

    model = loaded(run_id)
    table = read_table(name, content=content)
    if len(table.frame) > MOST_SCORED:
        raise TableError(
            "{file}: expected at most {most} combinations to score, found {count}. Split the list.",
            file=name,
            most=MOST_SCORED,
            count=len(table.frame),
        )
    found = read_list(model, table, outcome=outcome)
    kept = found.allowed.nonzero().flatten().tolist()
    numbers = [table.row_number(int(found.keep[place])) for place in kept]
    y = found.y[found.allowed]
    entries: list[dict[str, Any]] = []
    if found.own and kept:
        rows = table.part(found.keep[kept])
        contexts = model.context(rows)
        members = [(member, member.context(rows)) for member in _replicates(run_id)]
        for line in range(len(y)):
            line_of = slice(line, line + 1)
            scored_line = score_candidates(model, contexts.rows(line_of), y[line_of], outcome=outcome)
            own = [(member, context.rows(line_of)) for member, context in members]
            entries += widened(scored_line, own).to_json()["entries"]
    elif kept:
        rows = _rows_of(run_id, row)
        together = score_candidates(model, model.context(rows), y, outcome=outcome)
        members = [(member, member.context(rows)) for member in _replicates(run_id)]
        entries = list(widened(together, members).to_json()["entries"])
    return {
        "entries": [{**entry, "rank": number} for entry, number in zip(entries, numbers, strict=True)],
        "own": found.own,
        "positions": [int(found.keep[place]) for place in kept],
        "errors": [
            (error.row, error.column, error.rule, Note(error.problem.template, error.problem.values))
            for error in found.errors
        ],
        "unused": found.unused,
    }


__all__ = [
    "LogProbabilities",
    "Outcome",
    "condition_rows",
    "conditions",
    "context_of",
    "held_out_log_probabilities",
    "loaded",
    "offered",
    "ranked",
    "scored",
    "training_rows",
]
