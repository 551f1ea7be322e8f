"""Known truth: do 95 % intervals hold it, and what is an untried combination worth beside simple ways of guessing?

Sample projects: log p of rows that the fit has not seen, whose true value is known since the files are generated. The
published measurements of jHipster: every product was built, so the share that fails among the untried products with two
given options is known; 10 % of the products are trained on.
"""

from collections.abc import Sequence
from itertools import combinations
from math import isnan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tests.benchmarks.field.data import DATA
from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Finding, Measurement, Result, Results, Suite, Target, tell

if TYPE_CHECKING:
    import numpy as np

    from jebm_core.fitted import FittedModel
    from jebm_core.tables import Examples

SAMPLES = ("assembly", "maintenance", "suppliers")
JHIPSTER = "jhipster"
SEEDS = (0, 1, 2, 3, 4)
REPLICATES = 8
LEAST_PRODUCTS = 50
"""Untried products that two options must share for their failures to be judged."""
NEIGHBOURS = 5
TARGETS = {"low": Target("≥", 0.90), "high": Target("≤", 0.98), "ahead": Target("<", 0.0)}


def measure(settings: dict[str, Any]) -> Result:
    """One data set and seed."""
    import torch

    torch.set_num_threads(settings["threads"])
    return _jhipster(settings["seed"]) if settings["data"] == JHIPSTER else _sample(settings["data"], settings["seed"])


def _fitted(train: "Examples", seed: int) -> "tuple[FittedModel, tuple[FittedModel, ...]]":
    from jebm_core import FitSettings, fit
    from jebm_core.replicates import fit_replicates

    settings = FitSettings(seed=seed, replicates=REPLICATES)
    model = fit(train, settings).model
    tell("  fitted")
    return model, fit_replicates(train, settings)


def _sample(name: str, seed: int) -> Result:
    import numpy as np
    import torch

    from jebm_core import guess_roles, read_examples, read_table
    from jebm_core.evaluation.likelihoods import likelihoods
    from jebm_core.replicates import intervals
    from jebm_core.splits import split_examples
    from sample_data.truth import load_truth
    from tests.benchmarks.harness import ROOT

    table = read_table(ROOT / "sample_data" / f"{name}.csv")
    train, test = split_examples(read_examples(table, guess_roles(table)), 0.2, "rows", seed)
    truth = load_truth(name)  # pyright: ignore[reportArgumentType]
    frame = test.table.part(test.keep).frame
    true = torch.from_numpy(truth.log_prob(frame, frame.filter(items=list(truth.columns))))
    model, members = _fitted(train, seed)
    y, rows = torch.from_numpy(test.outputs.values), test.table.part(test.keep)
    found = model.log_prob(model.context(rows), y)
    others = torch.stack([member.log_prob(member.context(rows), y).value for member in members])
    spans = intervals(*found, others)
    new = ~model.seen.contains(y).numpy()
    nll = likelihoods(model, model.context(rows), y, seed, lambda _: None)[0]
    names = ("nll", "nll_independent", "nll_neighbours", "nll_frequency")
    return {
        "cases": len(y),
        "covered": int(((spans.low <= true) & (true <= spans.high)).sum()),
        "covered_without": int(((found.low <= true) & (true <= found.high)).sum()),
        "half_width": float(((spans.high - spans.low) / 2).median()),
        "error": float((spans.value - true).abs().mean()),
        "untried": int(new.sum()),
        **{key: float(np.mean(nll[key][new])) for key in names},
    }


def _jhipster(seed: int) -> Result:
    import numpy as np
    import pandas as pd
    import torch

    from jebm_core import guess_roles, read_examples, read_table
    from jebm_core.replicates import half_width

    frame = pd.read_parquet(DATA / "configuration" / "jhipster_3_6_1" / "data.parquet")
    frame = frame.rename(columns={name: f"x_{name[2:]}" for name in frame.columns if name.startswith("c_")})
    tried = np.zeros(len(frame), dtype=bool)
    tried[np.random.default_rng(seed).permutation(len(frame))[: len(frame) // 10]] = True
    table = read_table("tried.csv", content=frame[tried].to_csv(index=False).encode())
    every = read_table("all.csv", content=frame[~tried].to_csv(index=False).encode())
    model, members = _fitted(read_examples(table, guess_roles(table)), seed)
    passes = torch.ones(len(every.frame), 1, dtype=torch.int64)

    def passing(one: "FittedModel") -> "np.ndarray":
        return one.log_prob(one.context(every), passes).value.double().exp().numpy()

    p, others = passing(model), np.stack([passing(member) for member in members])
    happened = frame.y_pass.to_numpy()[~tried] == 1
    options = pd.get_dummies(frame.drop(columns="y_pass").astype(str)).to_numpy(dtype=float)
    centre, spread, true = [], [], []
    for a, b in combinations(range(options.shape[1]), 2):
        both = (options[~tried, a] * options[~tried, b]).astype(bool)
        if both.sum() >= LEAST_PRODUCTS:
            centre.append(p[both].mean())
            spread.append(others[:, both].mean(1))
            true.append(happened[both].mean())
    middle = torch.tensor(np.array(centre)).logit()
    width = half_width(middle, torch.tensor(np.array(spread).T).logit())
    low, high = (middle - width).sigmoid().numpy(), (middle + width).sigmoid().numpy()
    covered = (low <= np.array(true)) & (np.array(true) <= high)
    baselines = _guesses(options, frame.y_pass.to_numpy(), tried)
    return {
        "cases": len(true),
        "covered": int(covered.sum()),
        "half_width": float(np.median((high - low) / 2)),
        "error": float(np.abs(np.array(centre) - np.array(true)).mean()),
        "untried": int((~tried).sum()),
        "nll": _log_loss(p, happened),
        **{key: _log_loss(guess, happened) for key, guess in baselines.items()},
    }


def _guesses(options: "np.ndarray", y: "np.ndarray", tried: "np.ndarray") -> "dict[str, np.ndarray]":
    """P(pass) of untried products by a logistic regression on single options, near products and the share of all."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    x, seen = options[tried], y[tried]
    logistic = LogisticRegression(max_iter=2000).fit(x, seen)
    near = KNeighborsClassifier(NEIGHBOURS).fit(x, seen)
    share = near.predict_proba(options[~tried])[:, 1]
    return {
        "nll_independent": logistic.predict_proba(options[~tried])[:, 1],
        "nll_neighbours": (NEIGHBOURS * share + seen.mean()) / (NEIGHBOURS + 1),
        "nll_frequency": np.full(int((~tried).sum()), seen.mean()),
    }


def _log_loss(p: "np.ndarray", happened: "np.ndarray") -> float:
    import numpy as np

    clipped = p.clip(1e-7, 1 - 1e-7)
    return float(-np.where(happened, np.log(clipped), np.log1p(-clipped)).mean())


def findings(results: Results) -> list[Finding]:
    """A data set's coverage, then log-loss on untried combinations beside each baseline."""
    rows = []
    for data in (*SAMPLES, JHIPSTER):
        names = tuple(_name(data, seed) for seed in SEEDS if _name(data, seed) in results)
        if names:
            rows += _rows_of(data, [results[name] for name in names], names)
    return rows


def _rows_of(data: str, found: Sequence[Result], names: tuple[str, ...]) -> list[Finding]:
    cases, covered = sum(r["cases"] for r in found), sum(r["covered"] for r in found)
    each = ", ".join(f"{r['covered'] / r['cases']:.2f}" for r in found)
    what = "log p of rows not seen" if data != JHIPSTER else "share that fails of untried products with two options"
    half, unit = fmean(r["half_width"] for r in found), " nats" if data != JHIPSTER else ""
    detail = f"{covered} of {cases}; seeds: {each}; median half-width {half:.3f}{unit}"
    if data != JHIPSTER:
        alone = sum(r["covered_without"] for r in found) / cases
        detail += f"; the interval of the normalisation alone holds {alone:.2f}"
    share = covered / cases
    rows = [
        Finding(f"{data}: 95 % intervals that hold the truth, {what}", share, "", TARGETS["low"], detail, names),
        Finding(f"{data}: the same, not too often", share, "", TARGETS["high"], "", names),
    ]
    mean = {key: fmean(r[key] for r in found) for key in found[0] if key.startswith("nll")}
    for key, name in (
        ("nll_independent", "independent parts" if data != JHIPSTER else "a logistic regression on single options"),
        ("nll_neighbours", "near combinations"),
        ("nll_frequency", "smoothed frequency"),
    ):
        if isnan(mean[key]):  # rankings have no independent parts
            continue
        gaps = ", ".join(f"{r['nll'] - r[key]:+.3f}" for r in found)
        detail = f"{mean['nll']:.3f} beside {mean[key]:.3f}; seeds: {gaps}"
        gap = mean["nll"] - mean[key]
        rows.append(
            Finding(f"{data}: −log p of untried, less that of {name}", gap, "nats", TARGETS["ahead"], detail, names)
        )
    return rows


def _name(data: str, seed: int) -> str:
    return f"{data}, seed {seed}"


SUITE = Suite(
    "coverage",
    f"Intervals where the truth is known: default settings with {REPLICATES} replicates, one thread, five seeds. "
    "Sample projects: 20 % of the rows judge. jHipster: every two options that at least "
    f"{LEAST_PRODUCTS} untried products share; independent parts are a logistic regression, near combinations the "
    f"{NEIGHBOURS} nearest products. The factor in the intervals was chosen on other, simulated distributions.",
    (*MODEL_CODE, *TABLE_CODE, "jebm_core/evaluation/likelihoods.py", "jebm_core/evaluation/neighbours.py"),
    tuple(
        Measurement(_name(data, seed), {"data": data, "seed": seed, "threads": 1})
        for seed in SEEDS
        for data in (*SAMPLES, JHIPSTER)
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
