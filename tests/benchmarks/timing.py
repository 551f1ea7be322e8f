"""Timing things against each other: in turns, so that a busy moment hits all of them, and by order statistics."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import final


@final
@dataclass(frozen=True)
class Times:
    """Repeats of one case, in seconds: of the process on all its cores, and on the wall."""

    cpu: tuple[float, ...]
    wall: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """Lower quartiles, for short work among noise, and medians, for long work."""
        return {
            "cpu": lower_quartile(self.cpu),
            "wall": lower_quartile(self.wall),
            "cpu_median": median(self.cpu),
            "wall_median": median(self.wall),
        }


def lower_quartile(values: tuple[float, ...]) -> float:
    """The value that a quarter of them stay below."""
    return sorted(values)[len(values) // 4]


def in_turns(cases: Mapping[str, Callable[[], object]], rounds: int, *, warm: int = 1) -> dict[str, Times]:
    """Time every case once a round. Each round starts with another case, so that none always follows the pause."""
    names = list(cases)
    for _ in range(warm):
        for name in names:
            cases[name]()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                cpu, wall = time.process_time(), time.perf_counter()
                cases[name]()
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    finally:
        if collecting:
            gc.enable()
    return {name: Times(tuple(c for c, _ in pairs), tuple(w for _, w in pairs)) for name, pairs in taken.items()}
