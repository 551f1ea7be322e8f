"""Labelled rows measured one by one: what `evaluate` summarises, and groups of rows are compared by."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from jebm_core.errors import Cancelled, TableError
from jebm_core.evaluation.calibration import event_indicators
from jebm_core.evaluation.decoded import decode_rows
from jebm_core.evaluation.likelihoods import likelihoods
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.tables import Examples

MAX_AUDITED = 1000
"""Rows of which the log-partition is audited, and on which every likelihood is then compared."""
_ANNEALING_BUDGET = 3_000_000  # rows · statistics² of an audit that samples: some ten seconds on one core


@final
@dataclass(frozen=True)
class Measured:
    """Numbers of each row.

    Attributes:
        y: the observed combinations of the rows that count.
        places: where these rows stand among the kept rows of the examples.
        outside: rows besides that the rules of the model call impossible.
        rows: as `decode_rows` gives them.
        happened: whether each event did, [row, event].
        audited: rows with an audited log-partition; nll: −log p of these, as `likelihoods` gives them.
        log_partition, log_partition_rows: the audit in one line, and each context of it.
    """

    y: Int64[Tensor, "row item"]
    places: Int64[np.ndarray, " row"]
    outside: int
    rows: dict[str, np.ndarray]
    happened: Bool[np.ndarray, "row event"]
    audited: Int64[Tensor, " audited"]
    nll: dict[str, np.ndarray]
    log_partition: dict[str, Any] | None
    log_partition_rows: dict[str, list[float]]


def measure(
    model: FittedModel,
    examples: Examples,
    *,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    seed: int = 0,
) -> Measured:
    """Measure every row; arguments, errors and cost are those of `evaluate`."""
    _check_schema(model, examples)

    def tell(share: float) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("The evaluation was stopped on request.")
        if on_progress is not None:
            on_progress(share)

    tell(0.0)
    context, y, places = possible_rows(model, examples)
    rows = decode_rows(model, context, y, seed, lambda share: tell(0.6 * share))
    audited = _audited_rows(model, context, seed)
    nll, record, learned_audit = likelihoods(
        model, context.rows(audited), y[audited], seed, lambda s: tell(0.6 + 0.4 * s)
    )
    happened = event_indicators(model.space, y).bool().cpu().numpy()
    tell(1.0)
    outside = len(examples.keep) - len(y)
    return Measured(y, places, outside, rows, happened, audited, nll, record, learned_audit)


def possible_rows(
    model: FittedModel, examples: Examples
) -> tuple[Context, Int64[Tensor, "row item"], Int64[np.ndarray, " row"]]:
    """The kept rows that the model calls possible: their contexts, combinations and places among the kept rows.

    Raises:
        TableError: the rules of the model call every row impossible.
    """
    context = model.context(examples.table.part(examples.keep))
    y = torch.from_numpy(examples.outputs.values).to(model.device)
    possible = model.supports(context, y)
    if not bool(possible.any()):
        raise TableError(
            "{file}: the rules of the model call all {count} rows impossible; judge it on rows that obey its rules.",
            file=examples.table.name,
            count=len(y),
        )
    places = possible.nonzero().squeeze(-1).cpu().numpy()
    if bool(possible.all()):
        return context, y, places
    return context.rows(possible), y[possible], places


def _audited_rows(model: FittedModel, context: Context, seed: int) -> Int64[Tensor, " audited"]:
    """At most `MAX_AUDITED` rows, fewer where the audit has to sample, drawn by seed; all rows of a single context,
    which one audit serves."""
    most, space, rows = MAX_AUDITED, model.space, len(context.x)
    if context.is_single:
        return torch.arange(rows, device=model.device)
    sampled = model.model.affinity.interaction is not None and space.log_cardinality() > math.log(2**17)
    if sampled:
        most = min(most, max(32, _ANNEALING_BUDGET // space.num_statistics**2))
    chosen = np.arange(rows)
    if rows > most:
        chosen = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return torch.from_numpy(chosen).to(model.device)


def _check_schema(model: FittedModel, examples: Examples) -> None:
    expected, found = model.record.schema, examples.outputs.schema
    named = (found.kind, found.columns) == (expected.kind, expected.columns)
    # Rules may name options that the data lack; they stand behind those that the data have.
    if named and all(e[: len(f)] == f for e, f in zip(expected.options, found.options, strict=True)):
        return
    what = "columns" if found.columns != expected.columns else "options" if found.kind == expected.kind else "kind"
    raise TableError(
        "{file}: expected the {count} targets that the model was fitted to ({kind}: {columns}), found others (their "
        "{what} differ). Read the table like the model does, with read_examples(…, like=model.record.schema).",
        file=examples.table.name,
        count=len(expected.columns),
        kind=expected.kind,
        columns=", ".join(expected.columns[:5]) + (", …" if len(expected.columns) > 5 else ""),
        what=what,
    )
