"""What scoring a table costs beside the forward pass over the same pieces of it, and whether memory stays bounded."""

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Finding, Measurement, Result, Results, Suite, Target

if TYPE_CHECKING:
    import numpy as np

    from jebm_core.fitted import FittedModel
    from jebm_core.tables import Examples

ITEMS, FEATURES, ROWS, ROUNDS, EPOCHS = 14, 40, 100_000, 5, 8
TARGETS = {
    "log_prob": Target("≥", 0.5),
    "score": Target("≥", 0.5),
    "memory": Target("≤", 1.5),  # pieces of 512 rows in work add a few MiB, whatever the number of rows
}
_PEAKS = ("memory at its peak, 100,000 rows", "memory at its peak, 200,000 rows")


def measure(settings: dict[str, Any]) -> Result:
    """Either seconds of each way, or the peak of one pass over so many rows."""
    import torch

    torch.set_num_threads(settings["threads"])
    if "folder" in settings:
        return _peak(Path(settings["folder"]), settings)
    model = fitted(settings)
    if settings["what"] == "speed":
        return _speed(model, settings)
    from tests.benchmarks.harness import run_in_child

    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return run_in_child(__name__, {**settings, "folder": folder})


def fitted(settings: dict[str, Any]) -> "FittedModel":
    """A pairwise model of the default size; a few epochs, since what it has learned does not change what it costs."""
    from jebm_core import FitSettings, fit

    return fit(examples(settings), FitSettings(epochs=settings["epochs"], affinity="pairwise")).model


def examples(settings: dict[str, Any]) -> "Examples":
    """1500 rows whose labels follow features and one another."""
    import numpy as np
    import pandas as pd

    from jebm_core import guess_roles, read_examples, read_table

    generator = np.random.default_rng(0)
    x = generator.normal(size=(1500, settings["features"]))
    weights = generator.normal(size=(settings["features"], settings["items"])) / settings["features"] ** 0.5
    shared = generator.normal(size=(1500, 1))
    y = (x @ weights + shared + generator.normal(size=(1500, settings["items"])) > 1).astype(int)
    columns = {f"x_{i}": x[:, i] for i in range(x.shape[1])} | {f"y_{i}": y[:, i] for i in range(y.shape[1])}
    text = io.StringIO()
    pd.DataFrame(columns).to_csv(text, index=False)
    table = read_table("synthetic.csv", content=text.getvalue().encode())
    return read_examples(table, guess_roles(table))


def _requests(settings: dict[str, Any]) -> "tuple[np.ndarray, np.ndarray]":
    """Encoded features and combinations to score, made in place: no copy of them raises the peak."""
    import numpy as np

    generator = np.random.default_rng(1)
    x = generator.standard_normal((settings["rows"], settings["features"]), dtype=np.float32)
    return x, generator.integers(0, 2, (settings["rows"], settings["items"]))


def _speed(model: "FittedModel", settings: dict[str, Any]) -> Result:
    import torch

    from tests.benchmarks.timing import in_turns

    x, values = _requests(settings)
    context, y = model.context_of(x), torch.from_numpy(values)

    @torch.no_grad()
    def forward() -> None:
        for _, part in model.chunks(context):
            model.model(part)

    def score() -> None:
        model.log_prob(context, y)
        model.seen.contains(y)
        model.seen.nearest(y)

    cases = {
        "forward": forward,
        "log_prob": lambda: model.log_prob(context, y),
        "score": score,
        "nearest_seen": lambda: model.seen.nearest(y),
        "seen_before": lambda: model.seen.contains(y),
    }
    taken = {name: times.summary() for name, times in in_turns(cases, settings["rounds"]).items()}
    return {"rows": settings["rows"], "base": model.record.architecture.base, "seen": len(model.seen), **taken}


def _peak(folder: Path, settings: dict[str, Any]) -> Result:
    from jebm_core.fitted import CHUNK, load
    from tests.benchmarks.memory import memory_now, memory_peak

    model = load(folder)
    small = _requests({**settings, "rows": 2 * CHUNK})
    _score(model, *small)
    before = memory_now()
    x, values = _requests(settings)
    held = _score(model, x, values)
    size = x.nbytes + values.nbytes + sum(part.numel() * part.element_size() for part in held)
    return {"peak": memory_peak(), "before": before, "inputs_and_outputs": size}


def _score(model: "FittedModel", x: "np.ndarray", values: "np.ndarray") -> "list[Any]":
    """Everything that ``jebm score`` computes from the fitted model, kept until the end as the command does."""
    import torch

    context, y = model.context_of(x), torch.from_numpy(values)
    return [*model.log_prob(context, y), model.seen.contains(y), *model.seen.nearest(y)]


def findings(results: Results) -> list[Finding]:
    """Throughput over the forward pass, and the growth of the peak over what must be held."""
    rows = []
    for name in ("1 thread", "2 threads"):
        if name not in results:
            continue
        found = results[name]
        forward = found["forward"]["wall_median"]
        for way, words in (("log_prob", "log_prob"), ("score", "log_prob, seen and nearest seen")):
            seconds = found[way]["wall_median"]
            bare = f"{found['rows'] / forward:,.0f} of the forward pass"
            detail = f"{found['rows'] / seconds:,.0f} rows a second beside {bare}"
            if way == "score":
                extra = found["nearest_seen"]["wall_median"]
                detail += f"; nearest seen among {found['seen']}: {extra / forward:.2f} forward passes"
            rows.append(
                Finding(f"throughput, {words}; {name}", forward / seconds, "×", TARGETS[way], detail, (name,))
            )  # fmt: skip
    for name, target in zip(_PEAKS, (None, TARGETS["memory"]), strict=True):
        if name in results:
            found = results[name]
            growth, size = found["peak"] - found["before"], found["inputs_and_outputs"]
            detail = f"peak grows by {growth / 2**20:.0f} MiB, inputs and outputs are {size / 2**20:.0f} MiB"
            what = f"{name}, over inputs and outputs"
            rows.append(Finding(what, growth / size, "×", target, detail, (name,)))
    return rows


def _settings(what: str, threads: int, rows: int) -> dict[str, Any]:
    sizes = {"rows": rows, "items": ITEMS, "features": FEATURES}
    return {"what": what, "threads": threads, "epochs": EPOCHS, "rounds": ROUNDS, **sizes}


SUITE = Suite(
    "scoring",
    f"Scoring {ROWS:,} rows with a fitted pairwise model of {ITEMS} items, over the bare forward pass (scores, "
    f"interactions and log-partition) on the same pieces of the table; medians of {ROUNDS} passes in turns.",
    (*MODEL_CODE, *TABLE_CODE, "tests/benchmarks/memory.py", "tests/benchmarks/timing.py"),
    (
        Measurement("1 thread", _settings("speed", 1, ROWS)),
        Measurement("2 threads", _settings("speed", 2, ROWS)),
        Measurement(_PEAKS[0], _settings("memory", 1, ROWS)),
        Measurement(_PEAKS[1], _settings("memory", 1, 2 * ROWS)),
    ),
    findings,
)
