"""This project in the field: fitted with default settings, scored by its own evaluation, a number a row."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.tables import Examples


def fit_ours(train: "Examples", seed: int) -> tuple["FittedModel", dict[str, Any]]:
    """A fit with nothing but a seed, and how it ended."""
    from jebm_core import FitSettings, fit

    done = fit(train, FitSettings(seed=seed))
    summary = done.model.record.summary
    ended = {"stop_reason": done.stop_reason.name.lower(), "epochs": summary["epochs"], "proposal": summary["proposal"]}
    return done.model, ended


def score_ours(
    model: "FittedModel", test: "Examples", seed: int, *, answers: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """The scores of a peer (without ``answers`` −log p alone), and the audit of the log-partition that −log p rests on.

    Raises:
        ValueError: a row that the model calls impossible.
    """
    import torch

    from jebm_core.evaluation.decoded import decode_rows
    from jebm_core.evaluation.likelihoods import likelihoods

    context, y = model.context(test.table.part(test.keep)), torch.from_numpy(test.outputs.values)
    if not bool(model.supports(context, y).all()):
        raise ValueError("expected that every test row is possible under the model")
    nll, audit, _ = likelihoods(model, context, y, seed, lambda _: None)
    found = {"nll": nll["nll"]}
    if not answers:
        return found, audit
    rows = decode_rows(model, context, y, seed, lambda _: None)
    if test.outputs.kind == "rankings":
        return {"tau": rows["kendall_tau"], **found}, audit
    from tests.benchmarks.field.decisions import example_f1

    half = example_f1(test.outputs.values, (rows["events"] > 0.5).astype(np.int64))
    return {"half": half, "map": rows["f1_map"], "f1": rows["f1"], **found}, audit
