"""What joint training costs beside plain multi-label classification.

The yardstick is a step of the same network without interactions on binary cross-entropy: forward, backward, clipped,
and updated by the same optimizer. Everything is stepped in turns on the same batch in one process.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import MODEL_CODE, Finding, Measurement, Result, Results, Suite, Target, tell

if TYPE_CHECKING:
    from torch import Tensor

    from jebm_core.model import JointModel
    from jebm_core.steps import Rows

ITEMS, FEATURES, BATCH, SAMPLES, ROUNDS = 174, 68, 128, 32, 60
TARGETS = {
    "unary, exact tilt": Target("≤", 1.5),
    "low-rank U(x), tilt": Target("≤", 4),
    "low-rank U(x), mean field": Target("≤", 4),
}
# affinity, base and proposal of each case
CASES = {
    "unary, exact tilt": ("unary", "tilt", "tilt"),
    "low-rank U(x), tilt": ("lowrank", "tilt", "tilt"),
    "low-rank U(x), mean field": ("lowrank", "meanfield", "meanfield"),
    "low-rank U(x), observed combinations in the base, mean field": ("lowrank", "anchored", "meanfield"),
    "low-rank U(x), observed combinations in base and proposal": ("lowrank", "anchored", "anchored"),
    "constant full U, tilt": ("pairwise-constant", "tilt", "tilt"),
    "constant full U, mean field": ("pairwise-constant", "meanfield", "meanfield"),
}


def measure(settings: dict[str, Any]) -> Result:
    """Lower quartiles and medians of each step's seconds, by processor and by the wall."""
    import torch

    from tests.benchmarks.timing import in_turns

    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    rows = observed(settings["items"], settings["features"], 4 * settings["batch"])
    batch = rows.rows(torch.randperm(len(rows.y))[: settings["batch"]])
    cases = {"binary cross-entropy": _cross_entropy_step(rows, batch)}
    for name, (affinity, base, proposal) in CASES.items():
        cases[name] = joint_step(affinity, base, proposal, rows, batch, settings["samples"])
    taken = in_turns(cases, settings["rounds"], warm=3)
    return {name: times.summary() for name, times in taken.items()}


def observed(items: int, features: int, count: int) -> "Rows":
    """Random rows: subsets with about 15 % of the items."""
    import torch

    from jebm_core.model import Context
    from jebm_core.steps import Rows

    y = (torch.rand(count, items) < 0.15).long()
    return Rows(Context(torch.randn(count, features), torch.zeros(count, 0)), y)


def network(affinity: str, base: str, rows: "Rows") -> "JointModel":
    """A model of the default size with fresh weights, ready to train."""
    from jebm_core.recipes import RANK, Architecture, build_model
    from jebm_core.reference_recipes import anchors_of
    from jebm_core.spaces import Subsets

    count = rows.y.shape[1]
    anchors = len(anchors_of(rows.y)) if base == "anchored" else 0
    shape = Architecture(
        rows.context.x.shape[1], (256, 256), 0.5, affinity, RANK, "marginals", "kl", base, anchors, "mlp"
    )  # fmt: skip
    model = build_model(Subsets([str(item) for item in range(count)]), shape, rows.y)
    model.fit_feature_scale(rows.context)
    return model.train()


def joint_step(
    affinity: str, base: str, proposal: str, rows: "Rows", batch: "Rows", samples: int
) -> Callable[[], object]:
    """A joint training step, as the trainer makes it."""
    from jebm_core.proposals import AnchoredProposal, MeanFieldProposal, TiltProposal
    from jebm_core.reference_recipes import anchors_of
    from jebm_core.steps import Plan, make_optimizer, training_step

    model = network(affinity, base, rows)
    optimizer = make_optimizer(model, Plan())
    match proposal:
        case "tilt":
            way = TiltProposal()
        case "meanfield":
            way = MeanFieldProposal()
        case _:
            way = AnchoredProposal(model.space, anchors_of(rows.y))
    return lambda: training_step(model, optimizer, batch, way, samples=samples)


def _cross_entropy_step(rows: "Rows", batch: "Rows") -> Callable[[], object]:
    """The yardstick: the unary network of the unary model, and that model's optimizer."""
    import torch

    from jebm_core.steps import Plan, make_optimizer

    model, plan = network("unary", "tilt", rows), Plan()
    optimizer = make_optimizer(model, plan)

    def step() -> "Tensor":
        optimizer.zero_grad(set_to_none=True)
        scores = model.affinity(batch.context.x).theta
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, batch.y.to(scores.dtype))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip, foreach=True)
        optimizer.step()
        return loss.detach()

    return step


def findings(results: Results) -> list[Finding]:
    """Ratios to the yardstick; processor and wall time are both held to the target."""
    rows = []
    for measured, times in results.items():
        yardstick = times["binary cross-entropy"]
        for name in CASES:
            for clock, words in (("cpu", "processor time"), ("wall", "wall time")):
                detail = f"{1e3 * times[name][clock]:.1f} ms beside {1e3 * yardstick[clock]:.1f} ms"
                ratio = times[name][clock] / yardstick[clock]
                what = f"{name}; {measured}, {words}"
                rows.append(Finding(what, ratio, "×", TARGETS.get(name), detail, (measured,)))
    return rows


def _settings(threads: int) -> dict[str, int]:
    sizes = {"items": ITEMS, "features": FEATURES, "batch": BATCH, "samples": SAMPLES}
    return {"threads": threads, "rounds": ROUNDS, **sizes}


SUITE = Suite(
    "steps",
    "A joint training step over a step of the same network without interactions on binary cross-entropy: "
    f"{ITEMS} items, {FEATURES} features, batch {BATCH}, {SAMPLES} draws a context; lower quartile of {ROUNDS} steps "
    "in turns.",
    (*MODEL_CODE, "tests/benchmarks/timing.py"),
    (Measurement("1 thread", _settings(1)), Measurement("2 threads", _settings(2))),
    findings,
)

if __name__ == "__main__":  # a look at one case from within: python -m tests.benchmarks.steps "low-rank U(x), tilt"
    import sys

    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    torch.manual_seed(0)
    everything = observed(ITEMS, FEATURES, 4 * BATCH)
    some = everything.rows(torch.arange(BATCH))
    chosen = (
        joint_step(*CASES[sys.argv[1]], everything, some, SAMPLES)
        if sys.argv[1] in CASES
        else _cross_entropy_step(everything, some)
    )
    for _ in range(3):
        chosen()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(10):
            chosen()
    tell(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=22, max_name_column_width=50))
