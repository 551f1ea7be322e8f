"""A weighted model counter beside which log-partitions over rules are held: pyganak, in a process that can be stopped.

``python -m tests.benchmarks.weighted_counter`` reads a CNF and weights as JSON and prints one line a tilt: seconds and
the weighted count. Only counting is timed; a counter works once, so that every tilt is a new one.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from tests.benchmarks.harness import ROOT


def is_installed() -> bool:
    """Whether the extra ``bench`` is there."""
    return find_spec("pyganak") is not None


def count_tilts(
    clauses: Sequence[Sequence[int]], variables: int, tilts: Sequence[Mapping[int, float]], limit: float
) -> list[tuple[float, float]]:
    """(seconds, weighted count) of those tilts that were counted within the limit of all, in seconds.

    Args:
        tilts: for each, the weight of every positive literal that has one other than 1.
    """
    request = {"clauses": clauses, "variables": variables, "tilts": [list(tilt.items()) for tilt in tilts]}
    command = [sys.executable, "-m", "tests.benchmarks.weighted_counter"]
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), stdout=subprocess.PIPE, timeout=limit, cwd=ROOT, check=True
        )
        said = done.stdout
    except subprocess.TimeoutExpired as stopped:
        said = stopped.stdout or b""
    lines = [line.split() for line in said.decode().splitlines() if line.startswith("tilt ")]
    return [(float(seconds), float(value)) for _, seconds, value in lines]


def main() -> None:
    """Count what stdin asks for."""
    from pyganak import WeightedCounter

    request: dict[str, Any] = json.load(sys.stdin)
    for weights in request["tilts"]:
        counter = WeightedCounter()
        counter.new_vars(request["variables"])
        counter.add_clauses(request["clauses"])
        for literal, weight in weights:
            counter.set_lit_weight(literal, weight)
            counter.set_lit_weight(-literal, 1.0)
        started = time.perf_counter()
        value = counter.count()
        print("tilt", time.perf_counter() - started, value, flush=True)


if __name__ == "__main__":
    main()
