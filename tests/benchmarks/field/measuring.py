"""One method on one data set: every seed or split, its scores a row, and the processor seconds it took."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.field.data import Rows, encoded, require_apart
from tests.benchmarks.field.decisions import score_subsets
from tests.benchmarks.field.mallows import kendall_tau
from tests.benchmarks.field.ours import fit_ours, score_ours
from tests.benchmarks.field.packing import pack, pack_whole
from tests.benchmarks.harness import Result, tell

if TYPE_CHECKING:
    from jebm_core.tables import Examples

Fit = Callable[[Rows, int], Callable[[np.ndarray], Any]]


@dataclass(frozen=True)
class Run:
    """Scores [row] by name after one fit; seconds of the processor; what else there is to know."""

    rows: dict[str, np.ndarray]
    fit_seconds: float
    answer_seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


def score_rankings(said: Any, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Kendall's τ of the answer, and −log p in nats."""
    return {"tau": kendall_tau(truth, said.answer()), "nll": -said.log_prob(truth)}


def score_sets(said: Any, truth: np.ndarray) -> dict[str, np.ndarray]:
    """−log p in nats alone: without features there is one answer for all rows."""
    return {"nll": -said.log_prob(truth)}


def run_peer(fit: Fit, train: Rows, test: Rows, seed: int, score: Callable[..., dict[str, np.ndarray]]) -> Run:
    """Fit to training rows, ask about the features of test rows, and only then look at their outputs."""
    require_apart(train.ids, test.ids)
    started = time.process_time()
    predict = fit(train, seed)
    fitted = time.process_time()
    said = predict(test.x)
    rows = score(said, test.y)
    return Run(rows, fitted - started, time.process_time() - fitted)


def run_ours(train: "Examples", test: "Examples", seed: int, *, answers: bool = True) -> Run:
    """The same of this project."""
    started = time.process_time()
    model, ended = fit_ours(train, seed)
    fitted = time.process_time()
    rows, audit = score_ours(model, test, seed, answers=answers)
    return Run(rows, fitted - started, time.process_time() - fitted, {**ended, "log_partition": audit})


def measure_subsets(fit: Fit | None, read: "Callable[[], tuple[Examples, Examples]]", seeds: Sequence[int]) -> Result:
    """One split, some seeds; scores a row are means over the seeds. Without ``fit``: this project."""
    parts = read()
    train, test = encoded(*parts)
    runs = []
    for seed in seeds:
        run = run_ours(*parts, seed) if fit is None else run_peer(fit, train, test, seed, score_subsets)
        tell(f"  seed {seed}: {run.fit_seconds:.0f} s")
        runs.append(run)
    rows = {key: np.mean([run.rows[key] for run in runs], axis=0) for key in runs[0].rows}
    return {**_summary(runs), "rows": _packed(rows), "labelled": pack_whole(test.y.any(1))}


def measure_sets(fit: Fit | None, read: "Callable[[], tuple[Examples, Examples]]", seeds: Sequence[int]) -> Result:
    """The same without features; which test rows are sets that training did not have stands beside."""
    parts = read()
    train, test = encoded(*parts)
    runs = []
    for seed in seeds:
        run = run_ours(*parts, seed, answers=False) if fit is None else run_peer(fit, train, test, seed, score_sets)
        tell(f"  seed {seed}: {run.fit_seconds:.0f} s")
        runs.append(run)
    known = {row.tobytes() for row in train.y.astype(np.int8)}
    new = np.array([row.tobytes() not in known for row in test.y.astype(np.int8)])
    rows = {"nll": np.mean([run.rows["nll"] for run in runs], axis=0)}
    return {**_summary(runs), "rows": _packed(rows), "new": pack_whole(new)}


def measure_rankings(
    fit: Fit | None, read: "Callable[[int], tuple[Examples, Examples]]", splits: Iterable[int]
) -> Result:
    """Some splits, each with its own number as seed; scores of all test rows, split after split."""
    runs, units = [], []
    for split in splits:
        parts = read(split)
        train, test = encoded(*parts)
        run = run_ours(*parts, split) if fit is None else run_peer(fit, train, test, split, score_rankings)
        tell(f"  split {split}: {run.fit_seconds:.0f} s")
        runs.append(run)
        units.append(parts[1].keep)  # a row of the file is in the test part of several splits
    rows = {key: np.concatenate([run.rows[key] for run in runs]) for key in runs[0].rows}
    return {**_summary(runs), "rows": _packed(rows), "units": pack_whole(np.concatenate(units))}


def _packed(rows: dict[str, np.ndarray]) -> dict[str, str]:
    return {key: pack(values) for key, values in rows.items()}


def _summary(runs: list[Run]) -> Result:
    """Means of each run, in full precision."""
    return {
        "means": {key: [float(run.rows[key].mean()) for run in runs] for key in runs[0].rows},
        "fit_seconds": [round(run.fit_seconds, 2) for run in runs],
        "answer_seconds": [round(run.answer_seconds, 2) for run in runs],
        "facts": [run.facts for run in runs],
    }
