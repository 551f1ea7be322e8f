"""Sets of labels that promise a recall, by MAPIE over other people's classifiers and by ours: how large are they?"""

from typing import Any

from tests.benchmarks.field.data import DATA
from tests.benchmarks.field.entries import SHARED_CODE, Entry, entered, function_of, missing, ourselves
from tests.benchmarks.field.packing import unpack
from tests.benchmarks.field.verdicts import OURS, compare
from tests.benchmarks.harness import Finding, Result, Results, Suite, Target, tell

SETS = ("yeast", "scene", "emotions")
SEEDS = (0, 1, 2, 3, 4)
RECALL = 0.9
CALIBRATION = 0.3
"""Share of the training rows that is set aside for the threshold, by seed."""
PEERS = {
    "MAPIE, random forest": Entry("label_sets", "forest_scores", SEEDS, "mapie"),
    "MAPIE, classifier chains": Entry("label_sets", "chain_scores", SEEDS, "mapie"),
}
TARGETS = {"recall": Target("≥", RECALL), "size": Target("≤", 0)}


def measure(settings: dict[str, Any]) -> Result:
    """One method on one data set: recall and size of the set of each test row, means over the seeds."""
    import numpy as np
    import torch

    from jebm_core.splits import split_examples
    from tests.benchmarks.field.data import read_multilabel
    from tests.benchmarks.field.packing import pack

    torch.set_num_threads(settings["threads"])
    if reason := missing(settings):
        return {"missing": reason}
    train, test = read_multilabel(settings["data"])
    sets_of = _ours if settings["method"] == OURS else _peers
    runs = []
    for seed in settings["seeds"]:
        runs.append(sets_of(settings, *split_examples(train, CALIBRATION, seed=seed), test, seed))
        tell(f"  seed {seed}: " + ", ".join(f"{key} {rows.mean():.3f}" for key, rows in runs[-1].items()))
    return {
        "means": {key: [float(run[key].mean()) for run in runs] for key in runs[0]},
        "rows": {key: pack(np.mean([run[key] for run in runs], axis=0)) for key in runs[0]},
    }


def _peers(settings: dict[str, Any], train: Any, calibration: Any, test: Any, seed: int) -> dict[str, Any]:
    from tests.benchmarks.field.data import encoded
    from tests.benchmarks.field.label_sets import recall_and_size, sets_by_mapie

    rows, aside = encoded(train, calibration)
    judged = encoded(train, test)[1]
    scores = function_of(settings)(rows, seed)
    return recall_and_size(judged.y, sets_by_mapie(scores, aside, judged.x, RECALL))


def _ours(settings: dict[str, Any], train: Any, calibration: Any, test: Any, seed: int) -> dict[str, Any]:
    """By expected shares; beside it by marginals, which is all that MAPIE would see of the same model."""
    from tests.benchmarks.field.label_sets import expected_shares, recall_and_size, sets_by_ours
    from tests.benchmarks.field.ours import fit_ours

    model, _ = fit_ours(train, seed)
    aside, judged = (model.context(part.table.part(part.keep)) for part in (calibration, test))
    found = {}
    for suffix, scores in (
        ("", lambda context: expected_shares(model, context)),
        (" by marginals", lambda context: model.marginals(context).double().numpy()),
    ):
        inside = sets_by_ours(scores(aside), calibration.outputs.values, scores(judged), RECALL)
        found |= {f"{key}{suffix}": rows for key, rows in recall_and_size(test.outputs.values, inside).items()}
    return found


def findings(results: Results) -> list[Finding]:
    """Each data set: our recall, our size beside the best peer's, then every peer."""
    rows = []
    for data in SETS:
        found = {name: results[f"{data}, {name}"] for name in (OURS, *PEERS) if f"{data}, {name}" in results}
        peers = [name for name in found if name != OURS and "missing" not in found[name]]
        if OURS in found:
            rows.append(_promise(data, found[OURS]))
            rows += [_beside(data, found, min(peers, key=lambda name: _mean(found[name], "size")))] if peers else []
        rows += [_peer(data, name, found[name]) for name in found if name != OURS]
    return rows


def _promise(data: str, ours: Result) -> Finding:
    recall = unpack(ours["rows"]["recall"])
    spread = compare(recall, 0 * recall)
    detail = f"{_mean(ours, 'recall'):.3f} ({spread.low:.3f} to {spread.high:.3f}); seeds: {_each(ours, 'recall')}"
    what = f"{data}: recall of jebm's sets, upper end"
    return Finding(what, spread.high, "", TARGETS["recall"], detail, (f"{data}, {OURS}",))


def _beside(data: str, found: dict[str, Result], best: str) -> Finding:
    """The end of the interval that is the kinder to us: above 0, we would be behind."""
    ours, theirs = found[OURS], found[best]
    gap, apart = (
        compare(*(unpack(result["rows"][key]) for result in (ours, theirs))) for key in ("size", "recall")
    )  # fmt: skip
    detail = (
        f"{gap.word(larger=False)}: {gap.difference:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}); "
        f"{_mean(ours, 'size'):.3f} labels beside {_mean(theirs, 'size'):.3f} of {best}; "
        f"recall {apart.difference:+.3f} ({apart.low:+.3f} to {apart.high:+.3f}); "
        f"by marginals {_mean(ours, 'size by marginals'):.3f} labels, recall {_mean(ours, 'recall by marginals'):.3f}"
    )
    sources = (f"{data}, {OURS}", f"{data}, {best}")
    return Finding(
        f"{data}: labels in a set less the best peer's, lower end", gap.low, "", TARGETS["size"], detail, sources
    )


def _peer(data: str, name: str, result: Result) -> Finding:
    what, sources = f"{data}: {name}, labels in a set", (f"{data}, {name}",)
    if "missing" in result:
        return Finding(what, float("nan"), "", None, result["missing"], sources)
    detail = f"seeds: {_each(result, 'size')}; recall {_mean(result, 'recall'):.3f}: {_each(result, 'recall')}"
    return Finding(what, _mean(result, "size"), "", None, detail, sources)


def _mean(result: Result, key: str) -> float:
    means = result["means"][key]
    return sum(means) / len(means)


def _each(result: Result, key: str) -> str:
    return ", ".join(f"{value:.3f}" for value in result["means"][key])


SUITE = Suite(
    "conformal",
    f"Sets of labels with a recall of at least {RECALL:g} promised on average over calibration rows and a new row: "
    f"{100 * CALIBRATION:.0f} % of the training rows, drawn by seed, set the threshold, the others are fitted to, the "
    "data's test rows judge; five seeds, of which each row's recall and size are averaged. MAPIE thresholds "
    "probabilities of labels, 500 thresholds tried; ours thresholds what a label adds to the expected recall "
    "(plain marginals of the same model are shown beside it, and do as well on these data). Smaller is better where "
    "the promise holds. 95 % intervals of 1,000 (paired) "
    "resamples of test rows.",
    (*SHARED_CODE, "jebm_core/decisions/conformal.py"),
    tuple(
        measurement
        for data in SETS
        for measurement in (*(entered(data, name, entry) for name, entry in PEERS.items()), ourselves(data, SEEDS))
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
