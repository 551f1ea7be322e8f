"""Many items: how a step grows with their number, and a fit of nearly a thousand labels from start to audit."""

import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks.field.data import DATA
from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Finding, Measurement, Result, Results, Suite, Target, tell
from tests.benchmarks.steps import BATCH, FEATURES, SAMPLES, joint_step, observed

if TYPE_CHECKING:
    from jebm_core.progress import Progress

SIZES = (100, 200, 500, 1000)
ROUNDS = 20
AUDITED = 200
"""Test rows whose log-partition is audited."""
TARGETS = {
    "growth": Target("≤", SIZES[-1] / SIZES[0]),
    "minutes": Target("<", 10),
    "memory": Target("<", 4),
}
CASES = {
    "unary, exact tilt": ("unary", "tilt", "tilt"),
    "low-rank U(x), mean field": ("lowrank", "anchored", "meanfield"),
}


def measure(settings: dict[str, Any]) -> Result:
    """Seconds of a step at each size, or one fit."""
    import torch

    torch.set_num_threads(settings["threads"])
    return _fit(settings) if "data" in settings else _steps(settings)


def _steps(settings: dict[str, Any]) -> Result:
    import torch

    from tests.benchmarks.timing import in_turns

    torch.manual_seed(0)
    steps = {}
    for items in settings["sizes"]:
        rows = observed(items, FEATURES, 4 * BATCH)
        batch = rows.rows(torch.arange(BATCH))
        for name, (affinity, base, proposal) in CASES.items():
            steps[f"{name}: {items}"] = joint_step(affinity, base, proposal, rows, batch, SAMPLES)
    return {name: times.summary() for name, times in in_turns(steps, ROUNDS, warm=2).items()}


def _fit(settings: dict[str, Any]) -> Result:
    """Default settings on every training row; test rows are audited afterwards, and seen by nothing before."""
    from jebm_core import FitSettings, fit
    from jebm_core.evaluation.partition import audit_partition
    from tests.benchmarks.field.data import read_multilabel
    from tests.benchmarks.memory import memory_peak

    train, test = read_multilabel(settings["data"])
    started, stages = time.perf_counter(), {}

    def on_progress(progress: "Progress") -> None:
        if progress.stage not in stages:
            tell(f"  {progress.stage} after {progress.seconds:.0f} s")
        stages[progress.stage] = progress.seconds

    done = fit(train, FitSettings(seed=settings["seed"]), on_progress=on_progress)
    fitted = time.perf_counter() - started
    table = test.table.part(test.keep[:AUDITED])
    context = done.model.context(table)
    audit = audit_partition(done.model.model, context, seed=settings["seed"]).summary()
    return {
        "seconds": fitted,
        "seconds_with_audit": time.perf_counter() - started,
        "stages": stages,
        "memory": memory_peak(),
        "audit": audit.to_json(),
        "architecture": done.model.record.architecture.to_json(),
        "stop_reason": done.stop_reason.name,
        "epochs": done.model.record.summary["epochs"],
        "rows": len(train.keep),
        "items": len(train.outputs.names),
    }


def findings(results: Results) -> list[Finding]:
    """Growth from the smallest to the largest size; then the fit."""
    rows = []
    for name in (n for n in ("1 thread",) if n in results):
        for case in CASES:
            first, last = (results[name][f"{case}: {items}"]["cpu"] for items in (SIZES[0], SIZES[-1]))
            all_of_them = ", ".join(f"{1e3 * results[name][f'{case}: {items}']['cpu']:.1f} ms" for items in SIZES)
            what = f"{case}: a step with {SIZES[-1]} items over one with {SIZES[0]}"
            detail = f"{all_of_them} with {', '.join(map(str, SIZES))} items"
            rows.append(Finding(what, last / first, "×", TARGETS["growth"], detail, (name,)))
    if (name := "delicious") in results:
        found = results[name]
        audit, shape = found["audit"], found["architecture"]
        detail = f"{found['rows']:,} rows, {found['items']} labels; {shape['affinity']}, {shape['reference']}; "
        detail += f"{found['seconds'] / 60:.1f} without the audit of {audit['n']} test rows"
        rows.append(
            Finding(
                f"{name}: minutes to a fit and its audit",
                found["seconds_with_audit"] / 60,
                "",
                TARGETS["minutes"],
                detail,
                (name,),
            )
        )
        rows.append(
            Finding(f"{name}: memory at its peak, GiB", found["memory"] / 2**30, "", TARGETS["memory"], "", (name,))
        )
        said = f"{audit['method']}; {audit['verdict']}"
        rows.append(Finding(f"{name}: τ on test rows, mean absolute error", audit["mae"], "nats", None, said, (name,)))
    return rows


SUITE = Suite(
    "large",
    f"A joint step with {', '.join(map(str, SIZES))} items ({FEATURES} features, batch {BATCH}, {SAMPLES} draws a "
    "context, lower quartile of processor time, one thread), and a fit with default settings of delicious on two.",
    ("tests/benchmarks/steps.py", "tests/benchmarks/timing.py", *MODEL_CODE, *TABLE_CODE),
    (
        Measurement("1 thread", {"threads": 1, "sizes": list(SIZES)}),
        Measurement("delicious", {"threads": 2, "data": "delicious", "seed": 0}),
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
