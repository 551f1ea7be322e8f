"""Decisions by expected value: what the joint model earns on test rows beside independent labels, and beside idleness.

The three ways of paying were written down before anything was measured, and are the same for every data set.
"""

from statistics import fmean
from typing import TYPE_CHECKING, Any

from tests.benchmarks.field.data import DATA
from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Finding, Measurement, Result, Results, Suite, Target, tell

if TYPE_CHECKING:
    from jebm_core.decisions.values import ValueTable

SETS = ("yeast", "emotions", "birds", "cal500")
SEEDS = (0, 1, 2)
LEAST_SETS = 2
"""Data sets on which independent labels must be beaten."""
PAID = {
    # Each label by itself: marginals are all that counts, and both models know them.
    "part by part": {"entries": (1.0, 1.0, 0.0)},
    # As before, and five more for an answer that needs no rework.
    "right as a whole": {"entries": (1.0, 1.0, 0.0), "exact_bonus": 5.0},
    # A hit is worth more, but every label of an answer of three or more has to be looked at.
    "looked at from three on": {"entries": (2.0, 1.0, 0.0), "cost_per_item": ((3, 0.5),), "exact_bonus": 2.0},
}
TARGETS = {"sets": Target("≥", LEAST_SETS)}


def measure(settings: dict[str, Any]) -> Result:
    """One data set and seed, under every way of paying."""
    import numpy as np
    import torch

    from jebm_core.decisions.measuring import measure_decisions, paired
    from tests.benchmarks.field.data import read_multilabel
    from tests.benchmarks.field.ours import fit_ours

    torch.set_num_threads(settings["threads"])
    train, test = read_multilabel(settings["data"])
    model, ended = fit_ours(train, settings["seed"])
    tell(f"  fitted: {ended}")
    context = model.context(test.table.part(test.keep))
    found: Result = {}
    for name in PAID:
        decided = measure_decisions(
            model, context, test.outputs.values, _table(name, model.record.schema.columns), seed=settings["seed"]
        )
        if decided.independent is None:
            return {"missing": "the model is its own independent baseline"}
        gap = paired(decided.value - decided.independent, seed=settings["seed"])
        found[name] = {
            "value": float(decided.value.mean()),
            "independent": float(decided.independent.mean()),
            "oracle": float(decided.oracle.mean()),
            "not_acting": float(decided.not_acting.mean()),
            "expected": float(np.mean(decided.decisions.expected_value)),
            "gap": [gap.value, gap.low, gap.high, gap.p],
        }
    return found


def _table(name: str, labels: "tuple[str, ...]") -> "ValueTable":
    import numpy as np

    from jebm_core.decisions.values import ValueTable

    paid = dict(PAID[name])
    entries = np.tile(np.array(paid.pop("entries")), (len(labels), 1))
    return ValueTable("subsets", tuple(labels), entries, **paid)


def findings(results: Results) -> list[Finding]:
    """A data set's gain under each way of paying, the largest p over its seeds; then how many are beaten."""
    rows = []
    for paid in PAID:
        ahead = []
        for data in SETS:
            names = tuple(name for seed in SEEDS if (name := _name(data, seed)) in results)
            found = [results[name][paid] for name in names if "missing" not in results[name]]
            if not found:
                continue
            gaps = [one["gap"] for one in found]
            worst = max(gap[3] for gap in gaps)
            if worst < 0.05 and min(gap[0] for gap in gaps) > 0:
                ahead.append(data)
            each = ", ".join(f"{gap[0]:+.3f} ({gap[1]:.3f} to {gap[2]:.3f}, p = {gap[3]:.2g})" for gap in gaps)
            means = {key: fmean(one[key] for one in found) for key in ("value", "independent", "expected", "oracle")}
            detail = f"{means['value']:.3f} beside {means['independent']:.3f}; expected {means['expected']:.3f}; "
            detail += f"at best {means['oracle']:.3f}; seeds: {each}"
            gain = fmean(gap[0] for gap in gaps)
            rows.append(
                Finding(f"{data}, paid {paid}: worth a row over independent labels", gain, "", None, detail, names)
            )
        sources = tuple(_name(data, seed) for data in SETS for seed in SEEDS if _name(data, seed) in results)
        if sources:
            target = None if paid == next(iter(PAID)) else TARGETS["sets"]
            what = f"paid {paid}: data sets on which independent labels are beaten, p < 0.05 with every seed"
            rows.append(Finding(what, len(ahead), "", target, ", ".join(ahead), sources))
    return rows


def _name(data: str, seed: int) -> str:
    return f"{data}, seed {seed}"


SUITE = Suite(
    "decisions",
    "Answers with the largest expected value under three ways of paying, by the joint model and by the same network on "
    "independent labels; what they were worth on the data's test rows. Default settings, one thread, three seeds; "
    "paired bootstrap over test rows.",
    (
        "tests/benchmarks/field/data.py",
        "tests/benchmarks/field/ours.py",
        "jebm_core/decisions/*.py",
        *MODEL_CODE,
        *TABLE_CODE,
    ),
    tuple(
        Measurement(_name(data, seed), {"data": data, "seed": seed, "threads": 1}) for seed in SEEDS for data in SETS
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
