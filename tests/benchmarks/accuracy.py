"""What a fit with default settings reaches on public data that is not seen in training, over three seeds."""

import time
from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import (
    MODEL_CODE,
    ROOT,
    TABLE_CODE,
    Finding,
    Measurement,
    Result,
    Results,
    Suite,
    Target,
    tell,
)

if TYPE_CHECKING:
    from jebm_core.progress import Progress
    from jebm_core.tables import Examples

DATA = ROOT.parent / "shared" / "data"
SEEDS = (0, 1, 2)
SUBSETS, RANKINGS = ("emotions", "scene", "yeast"), ("wine", "glass", "vowel")
PUBLISHED = {"proposal": "reference", "samples": 1000}
TARGETS = {
    "f1": {"yeast": Target("≥", 0.650), "emotions": Target("≥", 0.665), "scene": Target("≥", 0.755)},
    "nll": {"yeast": Target("≤", 4.6), "emotions": Target("≤", 2.55), "scene": Target("≤", 1.05)},
    "kendall": {"vowel": Target("≥", 0.87), "glass": Target("≥", 0.86), "wine": Target("≥", 0.92)},
    "gain": Target(">", 0),
    "mae": {"subsets": Target("≤", 0.10), "rankings": Target("≤", 0.05)},
    "r2": Target("≥", 0.97),
    "seconds": Target("<", 180),
}


def measure(settings: dict[str, Any]) -> Result:
    """Fit with these settings, evaluate on the rows held out."""
    import torch

    from jebm_core import FitSettings, evaluate, fit
    from jebm_core.errors import TrainingStopped

    torch.set_num_threads(settings["threads"])
    train, test = read(settings["data"], settings["seed"])
    given = FitSettings(seed=settings["seed"], **settings["fit"])
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        done = fit(train, given, on_progress=_teller())
    except TrainingStopped as error:
        return {"stopped": str(error), "seconds": time.perf_counter() - wall}
    seconds = {"seconds": time.perf_counter() - wall, "processor_seconds": time.process_time() - cpu}
    found = evaluate(done.model, test, seed=settings["seed"]).to_json()
    keys = ("n", "f1", "f1_map", "nll", "nll_learned", "nll_independent", "kendall_tau", "ece_marginal", "ece_joint")
    summary = done.model.record.summary
    return {
        **{key: found[key] for key in keys},
        **seconds,
        "log_partition": found["log_partition"],
        "stop_reason": done.stop_reason.name,
        "proposal": summary["proposal"],
        "epochs": summary["epochs"],
    }


def read(data: str, seed: int) -> "tuple[Examples, Examples]":
    """Training and test rows: the data's own split, or 80 and 20 % by the seed."""
    from jebm_core import guess_roles, read_examples, read_table
    from jebm_core.splits import split_examples

    if data in RANKINGS:
        table = read_table(DATA / "ranking" / data / "data.parquet")
        return split_examples(read_examples(table, guess_roles(table)), 0.2, seed=seed)
    table = read_table(DATA / "multilabel" / data / "train.parquet")
    train = read_examples(table, guess_roles(table))
    test = read_table(DATA / "multilabel" / data / "test.parquet")
    return train, read_examples(test, train.roles, like=train.outputs.schema)


def _teller() -> "Callable[[Progress], None]":
    """A line every few seconds."""
    last = [time.monotonic()]

    def on_progress(progress: "Progress") -> None:
        if time.monotonic() - last[0] > 10:
            last[0] = time.monotonic()
            tell(f"  {progress.stage}, epoch {progress.epoch} of {progress.epochs}, {progress.seconds:.0f} s")

    return on_progress


def findings(results: Results) -> list[Finding]:
    """Means over the seeds; of times, the longest."""
    rows = []
    for data in (*SUBSETS, *RANKINGS):
        names = tuple(name for name in (_name(data, seed) for seed in SEEDS) if name in results)
        if names:
            rows += _of_data(data, [results[name] for name in names], names)
    ours, theirs = ([_name("yeast", s, p) for s in SEEDS] for p in (False, True))
    pairs = tuple((a, b) for a, b in zip(ours, theirs, strict=True) if a in results and b in results)
    if pairs:
        rows += _beside_published([(results[a], results[b]) for a, b in pairs], tuple(n for p in pairs for n in p))
    return rows


def _of_data(data: str, found: list[Result], names: tuple[str, ...]) -> list[Finding]:
    stopped = [result for result in found if "stopped" in result]
    if stopped:
        return [
            Finding(
                f"{data}: fits that ended without a model",
                len(stopped),
                "",
                Target("≤", 0),
                stopped[0]["stopped"],
                names,
            )
        ]

    def row(what: str, values: list[float], unit: str, target: Target | None, add: str = "") -> Finding:
        detail = "seeds: " + ", ".join(f"{value:.3f}" if unit != "s" else f"{value:.0f}" for value in values)
        if len(values) < len(SEEDS):
            detail = f"only {len(values)} of {len(SEEDS)} {detail}"
        return Finding(f"{data}: {what}", (max if unit == "s" else fmean)(values), unit, target, detail + add, names)

    ranks = data in RANKINGS
    audits = [result["log_partition"] for result in found]
    nll = [result["nll"] for result in found]
    rows = []
    if ranks:
        kendall = [result["kendall_tau"] for result in found]
        rows.append(row("Kendall's τ", kendall, "", TARGETS["kendall"][data]))
        rows.append(row("joint −log p", nll, "nats", None))
    else:
        gain = [result["nll_independent"] - result["nll"] for result in found]
        rows.append(row("F1", [result["f1"] for result in found], "", TARGETS["f1"][data]))
        rows.append(row("joint −log p", nll, "nats", TARGETS["nll"][data]))
        rows.append(row("gain over independent items", gain, "nats", TARGETS["gain"]))
    kind = "rankings" if ranks else "subsets"
    method = f"; audit: {audits[0]['method']}"
    rows.append(
        row("log-partition, mean absolute error", [a["mae"] for a in audits], "nats", TARGETS["mae"][kind], method)
    )
    if all(audit["r2"] is not None for audit in audits):
        r2 = [audit["r2"] for audit in audits]
        rows.append(row("log-partition, R²", r2, "", None if ranks else TARGETS["r2"]))
    ends = "; ".join(f"{r['stop_reason'].lower()} after {r['epochs']} epochs, {r['proposal']}" for r in found)
    busy = ", ".join(f"{result['processor_seconds']:.0f}" for result in found)
    rows.append(
        row("longest fit", [r["seconds"] for r in found], "s", TARGETS["seconds"], f"; processor {busy}; {ends}")
    )
    return rows


def _beside_published(pairs: list[tuple[Result, Result]], names: tuple[str, ...]) -> list[Finding]:
    """The published setting – draws from q, a network as log-partition – beside the default, on the same rows."""
    stopped = [theirs["stopped"] for _, theirs in pairs if "stopped" in theirs]
    if stopped:
        return [
            Finding(
                "yeast: fits of the published setting that ended without a model",
                len(stopped),
                "",
                None,
                stopped[0],
                names,
            )
        ]
    ours, theirs = (fmean(pair[place]["log_partition"]["mae"] for pair in pairs) for place in (0, 1))
    r2 = [pair[1]["log_partition"]["r2"] for pair in pairs]
    nll = fmean(pair[1]["nll"] for pair in pairs)
    detail = (
        f"{theirs:.3f} nats beside {ours:.3f}; R² {', '.join(f'{value:.2f}' for value in r2)}; joint −log p {nll:.2f}"
    )
    seconds = [pair[1]["seconds"] for pair in pairs]
    what = "yeast: log-partition error of the published setting over the default's"
    return [
        Finding(what, theirs / ours, "×", None, detail, names),
        Finding("yeast: longest fit of the published setting", max(seconds), "s", None, "", names),
    ]


def _name(data: str, seed: int, published: bool = False) -> str:
    return f"{data}, seed {seed}" + (", published setting" if published else "")


def _measurements() -> tuple[Measurement, ...]:
    found = [
        Measurement(_name(data, seed), {"data": data, "seed": seed, "threads": 1, "fit": {}})
        for seed in SEEDS
        for data in (*SUBSETS, *RANKINGS)
    ]
    for seed in SEEDS:
        settings = {"data": "yeast", "seed": seed, "threads": 1, "fit": PUBLISHED}
        found.append(Measurement(_name("yeast", seed, True), settings))
    return tuple(found)


def _skip() -> str | None:
    return None if DATA.is_dir() else "no public data sets beside the checkout"


SUITE = Suite(
    "accuracy",
    "Fits with default settings on one thread, on rows that the fit has not seen: the data's own test split (emotions, "
    "scene, yeast) or 20 % of the rows (wine, glass, vowel); means of three seeds. −log p has the audited "
    "log-partition. The published setting draws 1000 combinations a context from the reference and learns the "
    "log-partition by a network alone.",
    (*MODEL_CODE, *TABLE_CODE, "jebm_core/evaluation/*.py", "jebm_core/splits.py"),
    _measurements(),
    findings,
    _skip,
)
