"""How the memory of a training step grows: linearly in rows, draws and items, with no matrix of pairs for a draw.

Peak memory is that of a fresh process whose large blocks go back to the system at once, less what it held before the
step.
"""

from typing import Any

from tests.benchmarks.harness import MODEL_CODE, Finding, Measurement, MeasurementError, Result, Results, Suite, Target

BATCH, SAMPLES, ITEMS, FEATURES = 256, 64, 256, 64
# affinity, base and proposal of each case
CASES = {
    "low-rank U(x), tilt": ("lowrank", "tilt", "tilt"),
    "low-rank U(x), mean field": ("lowrank", "meanfield", "meanfield"),
    "low-rank U(x), observed combinations": ("lowrank", "anchored", "anchored"),
    "constant full U, mean field": ("pairwise-constant", "meanfield", "meanfield"),
}
GROWTHS = ("batch", "samples", "items")
TARGETS = {"growth": Target("≤", 2.2)}
# Blocks above 128 KiB are mapped and unmapped one by one, so that the peak is what was in use and not what was kept.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}


def measure(settings: dict[str, Any]) -> Result:
    """Bytes that one step adds at its peak."""
    import torch

    from tests.benchmarks.steps import joint_step, observed

    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    rows = observed(settings["items"], settings["features"], max(512, settings["batch"]))
    affinity, base, proposal = CASES[settings["case"]]
    batch = rows.rows(slice(0, settings["batch"]))
    state: dict[str, Any] = {"rows": batch.rows(slice(0, 4))}

    class Switch:
        """The batch that the step sees: a small one first, so that what is allocated once is in place."""

        def __getattr__(self, name: str) -> Any:
            return getattr(state["rows"], name)

    step = joint_step(affinity, base, proposal, rows, Switch(), settings["samples"])  # pyright: ignore[reportArgumentType]
    step()
    before, peak_before = memory_now(), memory_peak()
    state["rows"] = batch
    step()
    after = memory_peak()
    if after <= peak_before:
        raise MeasurementError(
            f"expected the step to raise the peak of {peak_before} bytes; the step is too small to see"
        )
    return {"bytes": after - before}


def memory_now() -> int:
    """Bytes of this process that are in main memory."""
    import psutil

    return psutil.Process().memory_info().rss


def memory_peak() -> int:
    """The largest value that `memory_now` ever had in this process.

    On Linux this is VmHWM: ``ru_maxrss`` survives exec there, so that the child of a large process starts with its
    parent's peak.
    """
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def findings(results: Results) -> list[Finding]:
    """Peak with one size doubled over peak without."""
    rows = []
    for case in CASES:
        plain = f"{case}, as it is"
        for size in GROWTHS:
            doubled = f"{case}, {size} doubled"
            if plain not in results or doubled not in results:
                continue
            low, high = results[plain]["bytes"], results[doubled]["bytes"]
            scale = {"batch": 2 * BATCH, "samples": 2 * SAMPLES, "items": 2 * ITEMS}
            numbers = (
                high
                / 4
                / (scale[size] * BATCH * SAMPLES * ITEMS / {"batch": BATCH, "samples": SAMPLES, "items": ITEMS}[size])
            )
            detail = f"{low / 2**20:.0f} MiB to {high / 2**20:.0f} MiB; {numbers:.1f} numbers a draw and item"
            rows.append(Finding(doubled, high / low, "×", TARGETS["growth"], detail, (plain, doubled)))
    return rows


def _measurements() -> tuple[Measurement, ...]:
    plain = {"threads": 1, "batch": BATCH, "samples": SAMPLES, "items": ITEMS, "features": FEATURES}
    found = []
    for case in CASES:
        found.append(Measurement(f"{case}, as it is", {**plain, "case": case}, ENVIRONMENT))
        for size in GROWTHS:
            settings = {**plain, "case": case, size: 2 * plain[size]}
            found.append(Measurement(f"{case}, {size} doubled", settings, ENVIRONMENT))
    return tuple(found)


def _skip() -> str | None:
    from importlib.util import find_spec

    return None if find_spec("resource") else "this system does not report the peak memory of a process"


SUITE = Suite(
    "memory",
    f"Peak memory that one training step adds, with one size doubled: from {BATCH} rows, {SAMPLES} draws a row and "
    f"{ITEMS} items.",
    (*MODEL_CODE, "tests/benchmarks/steps.py"),
    _measurements(),
    findings,
    _skip,
)
