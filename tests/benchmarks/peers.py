"""Other people's methods and ours on the same rows, under the same decision rules: F1, Kendall's τ and joint −log p."""

from typing import Any

from tests.benchmarks.field.data import DATA, MULTILABEL, RANKINGS, SPLITS
from tests.benchmarks.field.entries import SHARED_CODE, Entry, entered, fields, function_of, missing, ourselves
from tests.benchmarks.field.verdicts import F1, NLL, TAU, count_ahead, judge
from tests.benchmarks.harness import Finding, Measurement, Result, Results, Suite, Target

SEEDS = (0, 1, 2, 3, 4)
SUBSET_PEERS = {
    "logistic regressions": Entry("independent", "fit_logistic", SEEDS[:1]),
    "classifier chains": Entry("chains", "fit_chains", SEEDS),
    "random forest": Entry("independent", "fit_forest", SEEDS),
    "neural network": Entry("independent", "fit_network", SEEDS),
    "LightGBM": Entry("independent", "fit_lightgbm", SEEDS, "lightgbm"),
    "XGBoost": Entry("independent", "fit_xgboost", SEEDS, "xgboost-cpu"),
    "label powerset": Entry("powerset", "fit_powerset", SEEDS[:1]),
    "pairwise, exact likelihood": Entry("pairwise", "fit_pairwise", SEEDS),
}
RANKING_PEERS = {
    "random forest": Entry("mallows", "fit_forest", SPLITS),
    "kernel ridge": Entry("mallows", "fit_kernel_ridge", SPLITS),
    "linear Plackett–Luce": Entry("plackett_luce", "fit_linear", SPLITS),
    "Plackett–Luce network": Entry("plackett_luce", "fit_network", SPLITS),
}
LISTED = ("yeast", "scene", "emotions")
"""Data whose subsets are few enough for a likelihood that sums over all of them."""
# The best figures of Sander, Roulet, Liu, Blondel, ICML 2025, on test rows.
TARGETS = {
    "yeast": (0.6511, "logistic min-min, pairwise"),
    "scene": (0.7583, "sparsemax min-min"),
    "emotions": (0.6686, "sparsemax min-min"),
    "birds": (0.4648, "logistic min-min, unary"),
    "cal500": (0.4639, "sparsemax min-min, another split"),
    "authorship": (0.9080, "logistic min-min, Birkhoff, three splits"),
    "glass": (0.8594, "sparsemax min-min, permutahedron, three splits"),
    "iris": (0.9926, "sparsemax min-min, permutahedron, three splits"),
    "vehicle": (0.8641, "logistic min-min, Birkhoff, three splits"),
    "vowel": (0.7426, "logistic min-min, permutahedron, three splits"),
    "wine": (0.9198, "logistic min-min, Birkhoff, three splits"),
}
COUNTS = {"subsets": {"ahead": Target("≥", 4)}, "rankings": {"better": Target("≥", 4)}}
"""On how many of five or six data sets −log p should be ahead."""


def measure(settings: dict[str, Any]) -> Result:
    """One method on one data set, with all its seeds or on all splits."""
    import torch

    from tests.benchmarks.field.data import read_multilabel, read_rankings
    from tests.benchmarks.field.measuring import measure_rankings, measure_subsets

    torch.set_num_threads(settings["threads"])
    if reason := missing(settings):
        return {"missing": reason}
    data, fit, seeds = settings["data"], function_of(settings), settings["seeds"]
    if data in RANKINGS:
        return measure_rankings(fit, lambda split: read_rankings(data, split), seeds)
    return measure_subsets(fit, lambda: read_multilabel(data), seeds)


def findings(results: Results) -> list[Finding]:
    """Each data set: ours, beside the published and beside the best peer's, then the peers; at last the counts."""
    rows: list[Finding] = []
    counts: list[Finding] = []
    kinds = (("subsets", MULTILABEL, SUBSET_PEERS, F1), ("rankings", RANKINGS, RANKING_PEERS, TAU))
    for kind, names, peers, first in kinds:
        found = fields(results, names, peers)
        for field in found:
            rows += judge(field, (first, NLL), TARGETS[field.data])
        counts += count_ahead(found, first, kind)
        counts += count_ahead(found, NLL, kind, **COUNTS[kind])
    return rows + counts


def _measurements() -> tuple[Measurement, ...]:
    found = []
    for names, peers, seeds in ((MULTILABEL, SUBSET_PEERS, SEEDS), (RANKINGS, RANKING_PEERS, SPLITS)):
        for data in names:
            found += [
                entered(data, method, entry)
                for method, entry in peers.items()
                if entry.module != "pairwise" or data in LISTED
            ]
            found.append(ourselves(data, seeds))
    return tuple(found)


SUITE = Suite(
    "peers",
    "Every method gets the same rows, encoded alike by what the training rows say, and the same rules for its answer: "
    "each item above 0.5, the most probable subset, and exactly the subset with the largest expected F1, whose F1 is "
    "shown (0 where truth and answer are both empty). Subsets: the data's own test rows, of cal500 40 % of the rows; "
    "random methods with five seeds. Rankings: 20 % of the rows, ten times. −log p of independent items has "
    "probabilities clipped to 0.0001; that of a random forest and of kernel ridge over rankings is Mallows' model "
    "around the predicted one; ours has the audited log-partition. Settings of peers come from training rows; pace and "
    "sampling of boosted trees alone were compared on test rows, to their advantage. "
    "Differences have 95 % intervals of 1,000 paired resamples of test rows; the best peer is the best on these rows. "
    "Published figures: Sander et al., ICML 2025.",
    SHARED_CODE,
    _measurements(),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
