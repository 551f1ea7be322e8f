"""The learned log-partition on unseen contexts: how right it is, raw and corrected by a few draws, and what it costs.

Models are fitted with default settings, one thread. A context is timed from its encoded features and the inputs of its
reference; predicting these inputs by classifiers is timed apart, since no log-partition could do without them.
"""

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tests.benchmarks.field.data import DATA, MULTILABEL
from tests.benchmarks.harness import (
    MODEL_CODE,
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
    from jebm_core.fitted import FittedModel
    from jebm_core.model import Context

SEEDS = (0, 1, 2)
DRAWS = 64
"""Draws a context behind the corrected value."""
BATCH = 10_000
"""Contexts in a call that is timed: the test rows, again and again."""
CHAINS, TEMPERATURES, ANNEALED = 64, 500, 8
"""Annealed importance sampling beside it, and on how many contexts it is timed."""
TIMED = 20
"""Temperatures that are timed; each costs the same, so that all of them are a multiple."""
SIZES = (6, 8, 10, 12, 14, 16)
MANY = 100_000
TARGETS = {
    "mae": {**dict.fromkeys(MULTILABEL, Target("≤", 0.06)), "cal500": Target("≤", 0.3)},
    "milliseconds": Target("≤", 0.1),
    "annealing": Target("≥", 1e4),
    "network": Target("≥", 0.5),
}


def measure(settings: dict[str, Any]) -> Result:
    """One data set, or one size of space."""
    import torch

    torch.set_num_threads(settings["threads"])
    return _of_size(settings) if "items" in settings else _of_data(settings)


def _of_data(settings: dict[str, Any]) -> Result:
    import torch

    from jebm_core.evaluation.annealing import anneal
    from jebm_core.evaluation.partition import audit_partition
    from tests.benchmarks.field.data import read_multilabel
    from tests.benchmarks.field.ours import fit_ours
    from tests.benchmarks.timing import in_turns

    train, test = read_multilabel(settings["data"])
    model, ended = fit_ours(train, settings["seed"])
    table = test.table.part(test.keep)
    context = model.context(table)
    tell(f"  fitted: {ended}")
    audit = audit_partition(model.model, context, seed=settings["seed"])
    corrected, k = _corrected(model, context, settings["seed"])
    found = {"mae": audit.summary().mae, "r2": audit.summary().r2, "method": audit.method, "exact": audit.exact}
    found |= {"verdict": audit.summary().verdict, "half_width": ((audit.high - audit.low) / 2).median().item()}
    found |= {"mae_corrected": (corrected - audit.audited).abs().mean().item()}
    found |= {"k_median": k.median().item(), "k_reliable": (k <= 0.7).double().mean().item()}
    many = context.rows(torch.arange(BATCH) % len(context.x))
    few = context.rows(slice(0, ANNEALED))

    @torch.no_grad()
    def annealed() -> None:
        anneal(model.model.unnormalised(few), num_chains=CHAINS, temperatures=TIMED)

    x = model.record.encoder.transform(table)
    once = {"annealing": annealed, "reference": lambda: model.context_of(x)}
    cases: dict[str, Callable[[], object]] = {"tau": lambda: model.log_partition(many)}
    per = {"annealing": len(few.x) * TIMED / TEMPERATURES, "reference": len(x), "tau": BATCH}
    taken = {**in_turns(cases, 5), **in_turns(once, 1, warm=0)}
    return {**found, **{f"ms_{name}": 1e3 * times.summary()["wall"] / per[name] for name, times in taken.items()}}


def _corrected(model: "FittedModel", context: "Context", seed: int) -> tuple[Any, Any]:
    """(log Z from a few draws, k̂) of each context: what τ is corrected to where that is asked for."""
    import torch

    from jebm_core.evaluation.partition import importance_log_partition, strongest_proposal

    proposal = strongest_proposal(model.model, model.model.unnormalised(context.rows(slice(0, 1))))
    generator = torch.Generator().manual_seed(seed)
    parts = []
    with torch.no_grad():
        for _, part in model.chunks(context):
            p = model.model.unnormalised(part)
            parts.append(importance_log_partition(p, proposal, DRAWS, generator=generator))
    return torch.cat([part.value for part in parts]).double(), torch.cat([part.pareto_k for part in parts])


def _of_size(settings: dict[str, Any]) -> Result:
    """Milliseconds a context of τ and of listing, with pairs that x changes; and of the bare network over many rows."""
    import torch

    from jebm_core.evaluation.listing import listed_log_partition
    from tests.benchmarks.scoring import fitted
    from tests.benchmarks.timing import in_turns

    model = fitted({"items": settings["items"], "features": 40, "epochs": 2})
    x = torch.randn(MANY if settings["many"] else BATCH, 40)
    context = model.context_of(x.numpy())
    few = context.rows(slice(0, max(1, 2**21 // 2 ** settings["items"])))

    @torch.no_grad()
    def listed() -> None:
        for _, part in model.chunks(few):
            listed_log_partition(model.model.unnormalised(part))

    @torch.no_grad()
    def bare() -> None:
        for _, part in model.chunks(context):
            model.model.affinity(part.x)

    cases: dict[str, Callable[[], object]] = {"tau": lambda: model.log_partition(context), "bare": bare}
    per = {"tau": len(x), "bare": len(x), "listing": len(few.x)}
    if not settings["many"]:
        cases["listing"] = listed
    taken = {name: times.summary()["wall_median"] for name, times in in_turns(cases, 5).items()}
    base = model.record.architecture.base
    return {"base": base, **{f"ms_{name}": 1e3 * seconds / per[name] for name, seconds in taken.items()}}


def findings(results: Results) -> list[Finding]:
    """A data set's means over its seeds, then the sizes of space."""
    rows = []
    for data in MULTILABEL:
        names = tuple(_name(data, seed) for seed in SEEDS if _name(data, seed) in results)
        if names:
            rows += _rows_of(data, [results[name] for name in names], names)
    return rows + _sizes(results)


def _rows_of(data: str, found: list[Result], names: tuple[str, ...]) -> list[Finding]:
    mean = {key: fmean(result[key] for result in found) for key, value in found[0].items() if isinstance(value, float)}
    audited = f"audit: {found[0]['method']}"
    if not found[0]["exact"]:
        audited += f" (± {mean['half_width']:.3f})"
    seeds = ", ".join(f"{result['mae']:.3f}" for result in found)
    said = "; ".join(sorted({result["verdict"] for result in found}))
    k = f"k̂ {mean['k_median']:.2f}, at most 0.7 on {100 * mean['k_reliable']:.0f} % of contexts"
    cost = f"classifiers of the reference {mean['ms_reference']:.2f} ms a row"
    ratio = fmean(result["ms_annealing"] / result["ms_tau"] for result in found)
    slow = f"{mean['ms_annealing']:.0f} ms with {TEMPERATURES} temperatures, {CHAINS} chains"
    return [
        Finding(
            f"{data}: τ on unseen contexts, mean absolute error",
            mean["mae"],
            "nats",
            TARGETS["mae"][data],
            f"seeds: {seeds}; {audited}; {said}",
            names,
        ),
        Finding(f"{data}: the same, corrected by {DRAWS} draws", mean["mae_corrected"], "nats", None, k, names),
        Finding(f"{data}: τ, milliseconds a context", mean["ms_tau"], "", TARGETS["milliseconds"], cost, names),
        Finding(f"{data}: annealing over τ, time a context", ratio, "×", TARGETS["annealing"], slow, names),
    ]


def _sizes(results: Results) -> list[Finding]:
    rows, names = [], []
    for items in SIZES:
        if (name := f"{items} items") in results:
            found = results[name]
            detail = f"{found['ms_listing']:.4f} ms beside {found['ms_tau']:.4f} ms of τ"
            ratio = found["ms_listing"] / found["ms_tau"]
            rows.append(
                Finding(f"{items} items, pairs: listing over τ, time a context", ratio, "×", None, detail, (name,))
            )
            names.append((items, ratio, name))
    over = [items for items, ratio, _ in names if ratio > 1]
    if over:
        sources = tuple(name for _, _, name in names)
        rows.append(
            Finding("pairs: fewest items of these at which τ overtakes listing", min(over), "", None, "", sources)
        )
    if _MANY in results:
        found = results[_MANY]
        detail = f"{1e3 / found['ms_tau']:,.0f} contexts a second beside {1e3 / found['ms_bare']:,.0f}; {found['base']}"
        what = f"τ of {MANY:,} contexts in one call: throughput over that of the bare network"
        rows.append(Finding(what, found["ms_bare"] / found["ms_tau"], "×", TARGETS["network"], detail, (_MANY,)))
    return rows


def _name(data: str, seed: int) -> str:
    return f"{data}, seed {seed}"


_MANY = f"{MANY:,} contexts"

SUITE = Suite(
    "partition",
    "Log-partition of models with default settings at the contexts of test rows: the error of τ, of its correction by "
    f"{DRAWS} draws from the strongest proposal, and the time of one context in a batch of {BATCH:,}, beside annealed "
    "importance sampling and listing. One thread.",
    (
        "tests/benchmarks/scoring.py",
        "tests/benchmarks/field/data.py",
        "tests/benchmarks/field/ours.py",
        "tests/benchmarks/timing.py",
        *MODEL_CODE,
        *TABLE_CODE,
        "jebm_core/evaluation/*.py",
    ),
    (
        *(
            Measurement(_name(data, seed), {"data": data, "seed": seed, "threads": 1})
            for seed in SEEDS
            for data in MULTILABEL
        ),
        *(Measurement(f"{items} items", {"items": items, "many": False, "threads": 1}) for items in SIZES),
        Measurement(_MANY, {"items": 14, "many": True, "threads": 1}),
    ),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
