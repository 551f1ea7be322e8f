"""Distributions over sets without features: joint −log p of other people's methods and ours on the same test rows."""

from typing import Any

from tests.benchmarks.field.data import DATA, SETS
from tests.benchmarks.field.entries import SHARED_CODE, Entry, entered, fields, function_of, missing, ourselves
from tests.benchmarks.field.verdicts import NLL, count_ahead, judge
from tests.benchmarks.harness import Finding, Result, Results, Suite

SEEDS = (0, 1, 2)
PEERS = {
    "independent items": Entry("independent", "fit_shares", SEEDS[:1]),
    "Bayesian network, BDeu": Entry("bayesian_networks", "fit_bdeu", SEEDS[:1], "pyagrum"),
    "Bayesian network, BIC": Entry("bayesian_networks", "fit_bic", SEEDS[:1], "pyagrum"),
    "energy, pseudo-likelihood": Entry("pseudo_likelihood", "fit_energy", SEEDS, "ebmkit"),
    "circuit, LearnSPN": Entry("circuits", "fit_learned", SEEDS[:1], "spflow"),
    "circuit, hidden Chow–Liu tree": Entry("hidden_trees", "fit_tree", SEEDS[:1], "spflow"),
}


def measure(settings: dict[str, Any]) -> Result:
    """One method on one data set, with all its seeds."""
    import torch

    from tests.benchmarks.field.data import read_sets
    from tests.benchmarks.field.measuring import measure_sets

    torch.set_num_threads(settings["threads"])
    if reason := missing(settings):
        return {"missing": reason}
    return measure_sets(function_of(settings), lambda: read_sets(settings["data"]), settings["seeds"])


def findings(results: Results) -> list[Finding]:
    """Each data set: ours beside the best peer's, then the peers; at last the count."""
    found = fields(results, SETS, PEERS)
    rows = [row for field in found for row in judge(field, (NLL,), None)]
    return rows + count_ahead(found, NLL, "sets")


SUITE = Suite(
    "sets",
    "One distribution over sets, from the data's own training rows (of groceries 80 % of the rows), judged on its test "
    "rows; the validation rows of the data are used by nobody. Bayesian networks: pyAgrum, greedy hill climbing, "
    "tables smoothed by half a row. Energy: items, pairs and a network of 64 units trained by ebmkit's "
    "pseudo-likelihood, with log Z by listing (16 items) or by ebmkit's annealed importance sampling, which is too low "
    "on average and so flatters the peer; ours has the audited log-partition. Circuits: SPFlow, exact; LearnSPN with "
    "the best of four sizes, and a hidden Chow–Liu tree with 12 or 32 hidden values trained by Adam, both chosen on a "
    "tenth of the training rows, by which energy and tree stop as well. Three seeds where a method is random, of "
    "circuits one. Differences have 95 % intervals of 1,000 paired resamples of test rows.",
    SHARED_CODE,
    tuple(
        measurement
        for data in SETS
        for measurement in (*(entered(data, name, entry) for name, entry in PEERS.items()), ourselves(data, SEEDS))
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
