"""What each idea adds: the published setting first, then one change a row up to the default; defaults otherwise."""

from statistics import fmean

from tests.benchmarks.accuracy import DATA, measure
from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Finding, Measurement, Result, Results, Suite

SEEDS = (0, 1, 2)
SETS = ("yeast", "emotions")
UNIFORM = {"reference": "uniform", "affinity": "pairwise-constant"}
PREDICTED = {"reference": "forest", "affinity": "pairwise-constant"}
# Each a step from the one before it.
STEPS = {
    "as published: uniform q and draws from it, τ a network": {**UNIFORM, "proposal": "reference", "samples": 1000},
    "draws from the tilt, which also starts τ": {**UNIFORM, "proposal": "tilt"},
    "draws by mean field": {**UNIFORM, "proposal": "meanfield"},
    "observed combinations in draws and τ": {**UNIFORM, "proposal": "anchored"},
    "pairs that x changes": {"reference": "uniform", "affinity": "pairwise", "proposal": "anchored"},
    "q with the shares of the data": {"reference": "marginals"},
    "q by one forest, pairs that no x changes": PREDICTED,
    "q stacked, no pairs": {"affinity": "unary"},
    "q stacked: the default": {},
}

__all__ = ["SUITE", "measure"]


def findings(results: Results) -> list[Finding]:
    """A row a step and data set: −log p, and beside it F1 by each rule and the error of τ."""
    rows = []
    for data in SETS:
        for step in STEPS:
            names = tuple(name for name in (_name(data, step, seed) for seed in SEEDS) if name in results)
            if names:
                rows.append(_row(f"{data}: {step}", [results[name] for name in names], names))
    return rows


def _row(what: str, found: list[Result], names: tuple[str, ...]) -> Finding:
    good = [result for result in found if "stopped" not in result]
    if not good:
        return Finding(what, float("nan"), "nats", None, found[0]["stopped"], names)
    mean = {key: fmean(result[key] for result in good) for key in ("nll", "f1", "f1_map", "seconds")}
    error = fmean(result["log_partition"]["mae"] for result in good)
    detail = (
        f"F1 {mean['f1']:.3f}, of the most probable subset {mean['f1_map']:.3f}; τ off by {error:.3f} nats; "
        f"{mean['seconds']:.0f} s a fit"
    )
    if len(good) < len(found):
        detail += f"; {len(found) - len(good)} of {len(found)} fits ended without a model"
    return Finding(what, mean["nll"], "nats", None, detail, names)


def _name(data: str, step: str, seed: int) -> str:
    return f"{data}, {step}, seed {seed}"


SUITE = Suite(
    "ablation",
    "Joint −log p of test rows (mean over three seeds), one idea after the other; everything else is the default, and "
    "the log-partition is audited by listing.",
    ("tests/benchmarks/accuracy.py", *MODEL_CODE, *TABLE_CODE),
    tuple(
        Measurement(_name(data, step, seed), {"data": data, "seed": seed, "threads": 1, "fit": chosen})
        for seed in SEEDS
        for data in SETS
        for step, chosen in STEPS.items()
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
