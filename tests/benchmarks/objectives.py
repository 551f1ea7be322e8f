"""One network, one set of rows, trained in several ways: how soon each reaches what exact maximum likelihood does.

Every way has the same affinity network, rows, batches, optimizer and learning rate, and takes steps until its time is
used up. Only steps are timed. Between them the clock stands while −log p of rows that no step has seen is computed
from a log-partition that owes nothing to what was learned: the network is looked at at times that grow by 20 %.
"""

import time
from collections.abc import Callable, Iterator
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from tests.benchmarks.field.data import DATA
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
    from jebm_core.model import JointModel
    from jebm_core.preparation import Prepared
    from jebm_core.settings import FitSettings
    from jebm_core.steps import Rows
    from jebm_core.tables import Examples

SEEDS = (0, 1, 2)
MARGIN = 0.02
"""Nats above the best of exact maximum likelihood at which a way has arrived."""
FIRST_LOOK, LATER = 0.1, 1.2  # seconds, and how much later each look is than the one before
OURS, EXACT, PUBLISHED, CHAINS = "joint", "exact", "published", "persistent-cd"

# Data, affinity, ways, and seconds that each way may take.
RACES = {
    "yeast, pairs": ("yeast", "pairwise", (OURS, EXACT, PUBLISHED, CHAINS), 60.0),
    "cal500, low-rank pairs": ("cal500", "lowrank", (OURS, PUBLISHED, CHAINS), 40.0),
}
LOOKED_AT = 300
"""Unseen rows that a look is at, at most, and as many training rows at the last one."""
# What can be listed or has a closed form: is the joint objective's minimum that of exact maximum likelihood?
AGREEMENTS = {
    "yeast, pairs": ("yeast", "pairwise"),
    "emotions, pairs": ("emotions", "pairwise"),
    "scene, pairs": ("scene", "pairwise"),
    "nltcs, pairs": ("nltcs", "pairwise"),
    "vowel": ("vowel", "birkhoff"),
    "glass": ("glass", "birkhoff"),
}
UNARY = ("cal500", "unary", (OURS, EXACT, PUBLISHED), 2000)  # the last are steps, as many for each
TARGETS = {
    "time": Target("≤", 0.2),
    "agreement": Target("≤", 0.05),
    "unary": Target("≤", 0.1),
}


def measure(settings: dict[str, Any]) -> Result:
    """The path of one way: seconds, steps, −log p of unseen rows, and of training rows."""
    import torch

    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    race = _Race(settings)
    looks: list[dict[str, float]] = []
    taken, steps, following = 0.0, 0, FIRST_LOOK
    for step in race.steps():
        started = time.perf_counter()
        step()
        taken, steps = taken + time.perf_counter() - started, steps + 1
        over = taken >= settings["seconds"] or steps >= settings["steps"]
        if taken < following and not over:
            continue
        following = max(taken, following) * LATER
        looks.append({"seconds": taken, "steps": steps, "unseen": race.look(race.unseen)})
        tell(f"  {taken:.1f} s, {steps} steps: {looks[-1]['unseen']:.3f} nats")
        if over:
            break
    training = race.look(race.train.rows(slice(0, LOOKED_AT)))
    return {
        "looks": looks,
        "training": training,
        "method": race.method,
        "affinity": settings["affinity"],
        "proposal": race.proposal,
    }


class _Race:
    """One way to train, and a look at the network it has made."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch

        from jebm_core import FitSettings
        from jebm_core.baselines.setups import baseline_named, model_settings
        from jebm_core.preparation import prepare

        train, test = _read(settings["data"], settings["seed"])
        given = FitSettings(seed=settings["seed"], affinity=settings["affinity"], reference=settings["reference"])
        if settings["way"] != OURS:
            given = model_settings(baseline_named(settings["way"], given), given)
        prepared = prepare(train, given, torch.device("cpu"))
        self.train, self.unseen = prepared.train, _unseen(prepared, test).rows(slice(0, LOOKED_AT))
        self.model, self.batch_size, self.step = _way(settings["way"], prepared, given)
        self.proposal = given.proposal
        self.method = ""

    def steps(self) -> "Iterator[Callable[[], object]]":
        """One step after the other, over rows in a new order each epoch."""
        import torch

        shuffler = torch.Generator().manual_seed(0)
        while True:
            order = torch.randperm(len(self.train.y), generator=shuffler)
            for part in order.split(self.batch_size):
                yield lambda part=part: self.step(self.train.rows(part), part)

    def look(self, rows: "Rows") -> float:
        """Mean −log p of these rows in evaluation mode, with an audited log-partition."""
        import torch

        from jebm_core.evaluation.partition import audit_partition

        self.model.eval()
        method = "exact" if self.model.space.cardinality() <= 2**18 else "auto"
        audit = audit_partition(self.model, rows.context, method=method, temperatures=50, chains=32, seed=1)
        self.method = audit.method
        with torch.no_grad():
            p = self.model.unnormalised(rows.context.condensed())
            own = p.as_draws(rows.y)
            log_w = (p.reference.log_prob(own) + p.affinity(own)).flatten().double()
        self.model.train()
        return (audit.audited.to(log_w) - log_w).mean().item()


def _way(
    way: str, prepared: "Prepared", given: "FitSettings"
) -> "tuple[JointModel, int, Callable[[Rows, Any], object]]":
    """(a fresh network, rows a step, a step on these training rows that stand at these places)."""
    import torch

    from jebm_core.baselines.loop import Loop
    from jebm_core.baselines.objectives import make_objective, measuring_proposal
    from jebm_core.baselines.setups import baseline_named
    from jebm_core.recipes import build_model, choose_architecture, choose_plan, choose_proposals
    from jebm_core.training import Trainer

    space, train, valid = prepared.space, prepared.train, prepared.valid
    shape = choose_architecture(space, train, given, prepared.table, prepared.reference)
    model = build_model(space, shape, train.y, prepared.table, prepared.reference)
    model.fit_feature_scale(train.context)
    plan = choose_plan(space, train, given, shape)
    if way == OURS:
        proposals = choose_proposals(space, model, train, given)
        trainer = Trainer(model, train, valid, proposals, plan, seed=given.seed, clock=time.monotonic)
        trainer.model.train()
        return model, plan.batch_size, lambda rows, _: trainer.step(rows)
    generator = torch.Generator().manual_seed(given.seed)
    objective = make_objective(baseline_named(way, given), model, shape, train, plan, given, generator=generator)
    measuring = measuring_proposal(model, train, given, listed=1)
    how = {"learned": way == PUBLISHED, "generator": generator, "seed": given.seed, "clock": time.monotonic}
    loop = Loop(model, train, valid, objective, measuring, plan, **how)
    loop.model.train()
    return model, plan.batch_size, loop.step


def _read(data: str, seed: int) -> "tuple[Examples, Examples]":
    from tests.benchmarks.field.data import MULTILABEL, RANKINGS, read_multilabel, read_rankings, read_sets

    if data in MULTILABEL:
        return read_multilabel(data)
    return read_rankings(data, seed) if data in RANKINGS else read_sets(data)


def _unseen(prepared: "Prepared", test: "Examples") -> "Rows":
    """The rows that no step sees, encoded as the training rows are."""
    import torch

    from jebm_core.model import Context
    from jebm_core.steps import Rows

    x = torch.from_numpy(prepared.encoder.transform(test.table.part(test.keep)))
    return Rows(Context(x, torch.zeros(len(x), 0)), torch.from_numpy(test.outputs.values))


def findings(results: Results) -> list[Finding]:
    """Times to arrive, medians over the seeds; then lowest −log p of the joint objective beside exact likelihood."""
    rows = []
    for race, (_, _, ways, seconds) in RACES.items():
        rows += _arrivals(results, race, ways, seconds)
    for case in AGREEMENTS:
        rows += _agreement(results, case)
    return rows + _unary(results)


def _arrivals(results: Results, race: str, ways: tuple[str, ...], seconds: float) -> list[Finding]:
    """Seconds of the joint objective over those of the others; one that never arrives has used all of its time."""
    rows = []
    for rival in ways[1:]:
        ratios, words, names = [], [], []
        for seed in SEEDS:
            found = {way: results[name] for way in ways if (name := _name(race, way, seed)) in results}
            if len(found) < len(ways):
                continue
            goal = _lowest(found[EXACT] if EXACT in found else min(found.values(), key=_lowest)) + MARGIN
            took = {way: _arrival(found[way], goal) for way in (OURS, rival)}
            ratios.append((took[OURS] or seconds) / (took[rival] or seconds))
            said = {way: "never" if took[way] is None else f"{took[way]:.1f} s" for way in took}
            words.append(f"{said[OURS]} beside {said[rival]} to {goal:.2f} nats (lowest {_lowest(found[rival]):.2f})")
            names += [_name(race, way, seed) for way in ways]
        if ratios:
            target = None if rival == EXACT else TARGETS["time"]
            what = f"{race}: time to the lowest −log p + {MARGIN}, over that of {rival}"
            rows.append(Finding(what, median(ratios), "×", target, "; ".join(words), tuple(names)))
    return rows


def _agreement(results: Results, case: str) -> list[Finding]:
    pairs = [(_name(case, OURS, s), _name(case, EXACT, s)) for s in SEEDS]
    pairs = [pair for pair in pairs if pair[0] in results and pair[1] in results]
    if not pairs:
        return []
    values = [[_lowest(results[name]) for name in pair] for pair in pairs]
    detail = "; ".join(f"{a:.3f} beside {b:.3f}" for a, b in values)
    more = fmean(a - b for a, b in values)
    what = f"{case}: lowest −log p of unseen rows, less that of exact maximum likelihood"
    return [Finding(what, more, "nats", TARGETS["agreement"], detail, tuple(n for pair in pairs for n in pair))]


def _unary(results: Results) -> list[Finding]:
    rows = []
    for way in (OURS, PUBLISHED):
        names = [(_name("cal500, items alone", way, s), _name("cal500, items alone", EXACT, s)) for s in SEEDS]
        names = [pair for pair in names if pair[0] in results and pair[1] in results]
        if names:
            ends = [[results[name] for name in pair] for pair in names]
            gaps = [a["training"] - b["training"] for a, b in ends]
            steps = {result["looks"][-1]["steps"] for pair in ends for result in pair}
            detail = "; ".join(f"{a['training']:.2f} beside {b['training']:.2f}" for a, b in ends)
            detail += f"; after {' or '.join(map(str, sorted(steps)))} steps"
            what = f"cal500, items alone, {way}: training −log p, less that of exact maximum likelihood"
            target = TARGETS["unary"] if way == OURS else None
            rows.append(Finding(what, fmean(gaps), "nats", target, detail, tuple(n for pair in names for n in pair)))
    return rows


def _lowest(result: Result) -> float:
    return min(look["unseen"] for look in result["looks"])


def _arrival(result: Result, goal: float) -> float | None:
    """Seconds of the first look at which −log p was no higher; None where there is none."""
    return next((look["seconds"] for look in result["looks"] if look["unseen"] <= goal), None)


def _name(case: str, way: str, seed: int) -> str:
    return f"{case}, {way}, seed {seed}"


def _measurements() -> Iterator[Measurement]:
    plain = {"threads": 1, "reference": "marginals", "steps": 1_000_000}
    for seed in SEEDS:
        for case, (data, affinity, ways, seconds) in RACES.items():
            for way in ways:
                # A step of exact likelihood lists everything: it has as long as it needs to pass its lowest point.
                most = 2 * seconds if way == EXACT else seconds
                settings = {**plain, "data": data, "affinity": affinity, "way": way, "seed": seed, "seconds": most}
                yield Measurement(_name(case, way, seed), settings)
        for case, (data, affinity) in AGREEMENTS.items():
            if case not in RACES:
                for way in (OURS, EXACT):
                    settings = {**plain, "data": data, "affinity": affinity, "way": way, "seed": seed, "seconds": 25.0}
                    yield Measurement(_name(case, way, seed), settings)
        data, affinity, ways, steps = UNARY
        for way in ways:
            settings = {**plain, "data": data, "affinity": affinity, "way": way, "seed": seed, "seconds": 1e6}
            yield Measurement(_name("cal500, items alone", way, seed), {**settings, "steps": steps})


SUITE = Suite(
    "objectives",
    "The same network, rows, batches and optimizer under the joint objective as jebm chooses it, exact maximum "
    "likelihood (by listing, or in closed form), the published setting (uniform q, 1,000 draws from it, τ a network) "
    "and persistent contrastive divergence. Only steps are timed, on one thread; −log p of rows that no step has seen "
    "is looked at between them, with an audited log-partition. Where nothing can be listed (cal500 with pairs), the "
    "lowest of all ways takes the place of exact likelihood.",
    ("tests/benchmarks/field/data.py", *MODEL_CODE, *TABLE_CODE, "jebm_core/baselines/*.py"),
    tuple(_measurements()),
    findings,
    lambda: None if DATA.is_dir() else "no public data sets beside the checkout",
)
