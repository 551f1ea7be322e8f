"""What rules cost: compiling them, drawing what obeys them, and summing over it for many tilts at once."""

import csv
import dataclasses
import math
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import ROOT, Finding, Measurement, Result, Results, Suite, Target
from tests.benchmarks.rule_instances import INSTANCES, feature_model, instance, instance_text
from tests.benchmarks.weighted_counter import count_tilts, is_installed

if TYPE_CHECKING:
    import numpy as np

    from jebm_core.rules.compiled import CompiledRules

MODELS = ROOT.parent / "shared" / "data" / "feature_models"
DRAWS, TILTS, ROUNDS, COMPILATIONS, COUNTED, LIMIT = 1_000_000, 256, 15, 9, 3, 60.0
FEATURES = 2500
TARGETS = {
    "compile": {"items": 0.1, "slots": 0.05, "budget": 0.05, "large": 1.5},
    "draws": {"items": 3e6, "slots": 4e6, "budget": 4e6, "large": 0.7e6},
    "gradient": Target("≤", 3),
    "counter": Target("≥", 100),
    "models": Target("<", 10),
    "generated": Target("<", 5),
    "live": Target("<", 0.5),
}


def measure(settings: dict[str, Any]) -> Result:
    """One instance, the published feature models, the generated one, or the live count."""
    import torch

    torch.set_num_threads(settings["threads"])
    match settings["what"]:
        case "instance":
            return _instance(settings)
        case "models":
            return {"models": [_model(row) for row in _published()]}
        case "generated":
            return _generated(settings)
        case _:
            return _live(settings)


def _instance(settings: dict[str, Any]) -> Result:
    import torch

    from jebm_core.evaluation.rules import space_under
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.problem import bind
    from tests.benchmarks.timing import in_turns

    rules = instance(settings["kind"], settings["seed"])
    problem = bind(rules)
    compiling = in_turns({"compile": lambda: compile_rules(problem)}, settings["compilations"])
    compiled = compile_rules(problem)
    space = space_under(compiled)
    generator = torch.Generator().manual_seed(settings["seed"])
    size = (settings["tilts"], space.num_statistics)
    theta = torch.randn(size, generator=generator, dtype=torch.float64)
    leaf = theta.clone().requires_grad_()
    even = torch.zeros(1, space.num_statistics, dtype=torch.float64)
    cases = {
        "forward": lambda: space.linear_log_partition(theta),
        "gradient": lambda: torch.autograd.grad(space.linear_log_partition(leaf).sum(), leaf),
        "draws": lambda: space.linear_sample(even, settings["draws"], generator=generator),
    }
    taken = {**compiling, **in_turns(cases, settings["rounds"])}
    found = {name: times.summary() for name, times in taken.items()}
    size = {"count": str(compiled.total), "nodes": compiled.diagram.nodes, "draws_at_once": settings["draws"]}
    logs = space.linear_log_partition(theta).tolist()
    counted = _counted(compiled, theta.numpy(), logs, settings) if is_installed() else None
    return {**found, **size, "tilts": settings["tilts"], "counter": counted}


def _counted(
    compiled: "CompiledRules", theta: "np.ndarray", logs: list[float], settings: dict[str, Any]
) -> dict[str, Any]:
    """The same log-partitions by the weighted counter, on a CNF whose variables stand in the order of the diagram."""
    from jebm_core.errors import RuleError
    from jebm_core.evaluation.rules import statistic_names
    from jebm_core.rules.notation.dimacs import write_dimacs
    from jebm_core.rules.notation.dimacs_text import read_clauses

    rules = compiled.problem.rules
    ordered = dataclasses.replace(rules, variables=tuple(rules.variables[v] for v in compiled.diagram.order))
    try:
        cnf = read_clauses(write_dimacs(ordered), "cnf")
    except RuleError as error:
        return {"unwritable": str(error)}
    literal = {name: variable for variable, (name, _) in cnf.names.items()}
    literals = [literal[name] for name in statistic_names(compiled.problem)]
    tilts = [{v: math.exp(t) for v, t in zip(literals, row, strict=True)} for row in theta[: settings["counted"]]]
    done = count_tilts([list(clause) for clause in cnf.clauses], cnf.count, tilts, settings["limit"])
    off = [abs(math.log(value) - log) for (_, value), log in zip(done, logs, strict=False)]
    return {"seconds": [seconds for seconds, _ in done], "limit": settings["limit"], "off": max(off, default=None)}


def _published() -> list[dict[str, str]]:
    with (MODELS / "counts.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _model(row: dict[str, str]) -> Result:
    """Read, bind, compile and count."""
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.notation.dimacs import read_dimacs
    from jebm_core.rules.problem import bind

    text = (MODELS.parent / row["file"]).read_text(encoding="utf-8")
    started = time.perf_counter()
    compiled = compile_rules(bind(read_dimacs(text, row["name"])))
    right = compiled.total == int(row["exact_count"])
    seconds = time.perf_counter() - started
    return {"name": row["name"], "seconds": seconds, "right": right, "nodes": compiled.diagram.nodes}


def _generated(settings: dict[str, Any]) -> Result:
    """From the text of a large feature model to its count and a first thousand draws, each checked."""
    import torch

    from jebm_core.evaluation.rules import space_under
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.notation.dimacs import read_dimacs
    from jebm_core.rules.problem import bind

    text, seconds = feature_model(settings["features"], settings["seed"]), []
    for _ in range(settings["rounds"]):
        started = time.perf_counter()
        compiled = compile_rules(bind(read_dimacs(text, "generated")))
        space = space_under(compiled)
        count, even = space.cardinality(), torch.zeros(1, space.num_statistics, dtype=torch.float64)
        drawn = space.linear_sample(even, settings["draws"], generator=torch.Generator().manual_seed(0))
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    space.linear_sample(even, 20 * settings["draws"], generator=torch.Generator().manual_seed(0))
    rate = 20 * settings["draws"] / (time.perf_counter() - started)
    valid = float(space.contains(drawn[:, 0]).double().mean())
    kind, nodes = type(compiled.diagram).__name__, compiled.diagram.nodes
    return {"seconds": seconds, "valid": valid, "digits": len(str(count)), "rate": rate, "kind": kind, "nodes": nodes}


def _live(settings: dict[str, Any]) -> Result:
    """From a keystroke to what the editor shows."""
    from jebm_core.evaluation.rules import summarise_rules
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.notation.parser import parse_rules
    from jebm_core.rules.problem import bind
    from tests.benchmarks.timing import in_turns

    text = instance_text("items", settings["seed"])
    cases = {"live": lambda: summarise_rules(compile_rules(bind(parse_rules(text, "editor"))))}
    return {name: times.summary() for name, times in in_turns(cases, settings["rounds"]).items()}


def findings(results: Results) -> list[Finding]:
    """Medians, and their ratios."""
    rows = []
    for name, kind in INSTANCES.items():
        if name in results:
            rows += _of_instance(name, kind, results[name])
    for row in results.get("published feature models", {}).get("models", ()):
        right = "the exact count" if row["right"] else "a wrong count"
        value = row["seconds"] if row["right"] else math.nan
        detail = f"{right}, {row['nodes']:,} nodes"
        what = f"read and compile {row['name'].split('__', 1)[-1]}"
        rows.append(Finding(what, value, "s", TARGETS["models"], detail, ("published feature models",)))
    name = f"generated feature model, {FEATURES:,} features"
    if name in results:
        found = results[name]
        seconds = sorted(found["seconds"])[len(found["seconds"]) // 2]
        detail = (
            f"{found['kind']} of {found['nodes']:,} nodes, a count of {found['digits']} digits, "
            f"{100 * found['valid']:.0f} % of the draws valid, {found['rate']:,.0f} draws a second"
        )
        value = seconds if found["valid"] == 1 else math.nan
        rows.append(Finding(f"{name}: to a count and 1,000 draws", value, "s", TARGETS["generated"], detail, (name,)))
    if "live count" in results:
        times = results["live count"]["live"]
        what = "60 items, 40 rules: from the text to counts and findings"
        detail = f"{times['cpu_median']:.3f} s of the processor"
        rows.append(Finding(what, times["wall_median"], "s", TARGETS["live"], detail, ("live count",)))
    return rows


def _of_instance(name: str, kind: str, found: Result) -> list[Finding]:
    def row(what: str, value: float, unit: str, target: Target | None, detail: str) -> Finding:
        return Finding(f"{name}: {what}", value, unit, target, detail, (name,))

    compiling, forward, gradient = (found[case]["wall_median"] for case in ("compile", "forward", "gradient"))
    rate = found["draws_at_once"] / found["draws"]["wall_median"]
    size = f"{found['nodes']:,} nodes, {int(found['count']):,} valid combinations"
    busy = f"{found['draws_at_once'] / found['draws']['cpu_median'] / 1e6:.2f} a second of the processor"
    rows = [
        row("compile", compiling, "s", Target("≤", TARGETS["compile"][kind]), size),
        row("million draws a second", rate / 1e6, "", Target("≥", TARGETS["draws"][kind] / 1e6), busy),
        row(
            f"log-partition of {found['tilts']} tilts with gradient over without",
            gradient / forward,
            "×",
            TARGETS["gradient"],
            f"{1e3 * gradient:.1f} ms beside {1e3 * forward:.1f} ms",
        ),
    ]
    counter, each = found["counter"], gradient / found["tilts"]
    what = "a weighted counter's log-partition of one tilt over ours with gradient"
    if counter is None:
        return [*rows, row(what, math.nan, "×", None, "pyganak is not installed: pip install '.[bench]'")]
    if "unwritable" in counter:
        return [*rows, row(what, math.nan, "×", None, f"no CNF: {counter['unwritable']}")]
    if not counter["seconds"]:
        detail = (
            f"pyganak was stopped after {counter['limit']:.0f} s: the ratio is at least this; ours {1e6 * each:.0f} µs"
        )
        return [*rows, row(what, counter["limit"] / each, "×", TARGETS["counter"], detail)]
    theirs = sorted(counter["seconds"])[len(counter["seconds"]) // 2]
    detail = f"{1e3 * theirs:.0f} ms beside {1e6 * each:.0f} µs; they differ by {counter['off']:.0e} nats at most"
    return [*rows, row(what, theirs / each, "×", TARGETS["counter"], detail)]


def _measurements() -> tuple[Measurement, ...]:
    alike = {"what": "instance", "threads": 1, "seed": 0, "rounds": ROUNDS, "compilations": COMPILATIONS}
    alike |= {"draws": DRAWS, "tilts": TILTS, "counted": COUNTED, "limit": LIMIT}
    found = [Measurement(name, {**alike, "kind": kind}) for name, kind in INSTANCES.items()]
    if MODELS.is_dir():
        found.append(Measurement("published feature models", {"what": "models", "threads": 1}))
    if find_spec("py_d4") is not None:
        settings = {"what": "generated", "threads": 1, "seed": 0, "features": FEATURES, "draws": 1000, "rounds": 3}
        found.append(Measurement(f"generated feature model, {FEATURES:,} features", settings))
    found.append(Measurement("live count", {"what": "live", "threads": 1, "seed": 0, "rounds": ROUNDS}))
    return tuple(found)


SUITE = Suite(
    "rules",
    "Rules made from a seed and compiled, on one thread: seconds of compiling alone (median of "
    f"{COMPILATIONS}), {DRAWS:,} even draws at once, and exact log-partitions of {TILTS} random tilts in double "
    f"precision; medians of {ROUNDS} in turns. The counter is pyganak on a CNF written in the diagram's order, "
    f"{COUNTED} tilts one after another within {LIMIT:.0f} s. Feature models are read, compiled and counted; their "
    "folder and the extra d4 may be absent, and are then left out.",
    (
        "jebm_core/rules/*.py",
        "jebm_core/rules/notation/*.py",
        "jebm_core/spaces/*.py",
        "jebm_core/evaluation/rules.py",
        "tests/benchmarks/rule_instances.py",
        "tests/benchmarks/weighted_counter.py",
        "tests/benchmarks/timing.py",
    ),
    _measurements(),
    findings,
)
