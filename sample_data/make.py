"""Writes every file of the sample projects: ``python -m sample_data.make [FOLDER]``, the same bytes each time.

Two numbers are set rather than chosen by hand: the intercept of ``assembly`` so that 31 % of what is built fails, and
one shift common to all actions of ``maintenance`` so that a visit has 3.5 actions. Both by bisection on the exact
expectation at the contexts drawn here.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sample_data import assembly, maintenance, suppliers
from sample_data.assembly_rules import RULES, dimacs, text
from sample_data.design import ALWAYS, Effect, Project
from sample_data.readme import readme
from sample_data.truth import Truth

# Chosen among eight seeds so that the drawn share of failures lies near the expected one.
SEED = 20267
ROWS = {"assembly": 420, "maintenance": 600, "suppliers": 300}
CANDIDATES = 30
FAILURES = 0.31
ACTIONS_PER_VISIT = 3.5


def _spec(project: Project, effects: Sequence[Effect]) -> dict[str, Any]:
    return {
        "kind": project.kind,
        "contexts": [column.context() for column in project.contexts],
        "outputs": {column.name: [option.value for option in column.options] for column in project.outputs},
        "effects": [asdict(effect) for effect in effects],
    }


def _solve(excess: Callable[[float], float], low: float = -8.0, high: float = 8.0) -> float:
    """The root of an increasing function, to three decimals."""
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return round((low + high) / 2, 3)


def _assembly(rng: np.random.Generator, x: pd.DataFrame) -> dict[str, Any]:
    spec = _spec(assembly.PROJECT, assembly.preference(rng))
    spec["rules"] = [rule.record() for rule in RULES]
    spec["success"] = [asdict(effect) for effect in assembly.success(rng)]
    truth = Truth(spec)
    built = truth.probabilities(x)
    odds = truth.success_probabilities(x)
    odds /= 1 - odds

    def excess(intercept: float) -> float:
        return float((built / (1 + 1 / (odds * np.exp(intercept)))).sum() / len(x) - (1 - FAILURES))

    spec["success"].insert(0, asdict(Effect(ALWAYS, ALWAYS, _solve(excess))))
    return spec


def _maintenance(rng: np.random.Generator, x: pd.DataFrame) -> dict[str, Any]:
    spec = _spec(maintenance.PROJECT, maintenance.score(rng))
    truth = Truth(spec)
    sizes = np.arange(len(truth.columns) + 1, dtype=np.float64)
    mass = truth.probabilities(x) @ (truth.listing.sum(axis=1)[:, None] == sizes).astype(np.float64)

    def excess(shift: float) -> float:
        # A shift common to all actions multiplies the weight of a set by exp(shift × size).
        tilted = mass * np.exp(shift * sizes)
        return float((tilted @ sizes / tilted.sum(axis=1)).mean() - ACTIONS_PER_VISIT)

    shift = _solve(excess, -3.0, 3.0)
    spec["effects"] += [asdict(Effect(ALWAYS, action.name, shift)) for action in maintenance.ACTIONS]
    return spec


def _candidates(truth: Truth, built: pd.DataFrame, x: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Valid configurations that were never built: half as an engineer would propose them, half from all valid ones."""
    seen = set(map(tuple, truth.encode(built)[:, :-1].tolist()))
    rows: list[tuple[int, ...]] = []
    while len(rows) < CANDIDATES:
        i = len(rows)
        proposed = truth.sample(x.iloc[[i]], rng)[0, :-1] if i < CANDIDATES // 2 else rng.choice(truth.listing)
        key = tuple(int(code) for code in proposed)
        if key not in seen:
            seen.add(key)
            rows.append(key)
    return pd.concat([x.iloc[:CANDIDATES], truth.decode(np.array(rows, dtype=np.int64))], axis=1)


def _japanese(table: pd.DataFrame) -> pd.DataFrame:
    columns = (*assembly.PROJECT.contexts, *assembly.PROJECT.outputs)
    cells = {c.name: table[c.name].replace({o.value: o.ja for o in c.options}) for c in columns if c.options}
    return table.assign(**cells).rename(columns={c.name: c.japanese_name() for c in columns})


def _csv(table: pd.DataFrame, encoding: str = "utf-8") -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode(encoding)


def _json(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


def build() -> dict[str, bytes]:
    """Every generated file: its name → its content."""
    projects = (assembly, maintenance, suppliers)
    streams = [np.random.default_rng([SEED, i]) for i in range(len(projects))]
    drawn = [module.contexts(ROWS[module.PROJECT.name], rng) for module, rng in zip(projects, streams, strict=True)]
    specs = {
        "assembly": _assembly(streams[0], drawn[0]),
        "maintenance": _maintenance(streams[1], drawn[1]),
        "suppliers": _spec(suppliers.PROJECT, suppliers.score(streams[2])),
    }
    truths = {name: Truth(spec) for name, spec in specs.items()}
    tables = {
        name: pd.concat([x, truth.decode(truth.sample(x, rng))], axis=1)
        for (name, truth), x, rng in zip(truths.items(), drawn, streams, strict=True)
    }
    new_x = assembly.contexts(CANDIDATES, streams[0])
    candidates = _candidates(truths["assembly"], tables["assembly"], new_x, streams[0])
    files = {f"{name}.csv": _csv(table) for name, table in tables.items()}
    files["assembly_ja.csv"] = _csv(_japanese(tables["assembly"]), "cp932")
    files["assembly_candidates.csv"] = _csv(candidates)
    files["assembly_rules.cnf"] = dimacs().encode()
    files["assembly.rules"] = text("en").encode()
    files["assembly_ja.rules"] = text("ja").encode()
    files["truth.json"] = _json(specs)
    files["labels.json"] = _json({module.PROJECT.name: module.PROJECT.labels() for module in projects})
    files["README.md"] = readme(truths, tables, CANDIDATES).encode()
    return files


def main(folder: Path) -> None:
    """Write every file into the folder."""
    for name, content in build().items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
