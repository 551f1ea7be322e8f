"""Who takes part: a method as a measurement, with all that its result depends on, and back to its function."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tests.benchmarks.field.verdicts import OURS, Field
from tests.benchmarks.harness import MODEL_CODE, TABLE_CODE, Measurement, Results, Suite, fingerprint

FOLDER = "tests/benchmarks/field"
SHARED_CODE = tuple(f"{FOLDER}/{name}.py" for name in ("data", "decisions", "distributions", "measuring", "packing"))
"""What every result depends on; what a single method depends on is in the settings of its measurement."""
OUR_CODE = (*MODEL_CODE, *TABLE_CODE, "jebm_core/evaluation/*.py", f"{FOLDER}/ours.py")
NEEDS = {
    "chains": ("independent",),
    "powerset": ("independent",),
    "pairwise": ("networks",),
    "mallows": ("independent",),
    "plackett_luce": ("networks", "mallows"),
    "label_sets": ("independent", "chains"),
    "hidden_trees": ("circuits",),
}
"""Other modules that a method's module computes with."""


@dataclass(frozen=True)
class Entry:
    """A method of others: where its function is, its seeds, and a package that the project itself does without."""

    module: str
    function: str
    seeds: Sequence[int]
    package: str | None = None


def entered(data: str, method: str, entry: Entry) -> Measurement:
    """The measurement of a peer."""
    files = tuple(f"{FOLDER}/{name}.py" for name in (entry.module, *NEEDS.get(entry.module, ())))
    about = {"data": data, "method": method, "seeds": list(entry.seeds), "threads": 1, "code": _digest(files)}
    about |= {"module": entry.module, "function": entry.function}
    about |= {"package": entry.package, "version": _version(entry.package), "sklearn": version("scikit-learn")}
    return Measurement(f"{data}, {method}", about)


def ourselves(data: str, seeds: Sequence[int]) -> Measurement:
    """The measurement of this project."""
    about = {"data": data, "method": OURS, "seeds": list(seeds), "threads": 1, "code": _digest(OUR_CODE)}
    return Measurement(f"{data}, {OURS}", about)


def missing(settings: Mapping[str, Any]) -> str | None:
    """Why a peer can't be measured here; None where it can."""
    package = settings.get("package")
    return None if package is None or settings["version"] else f"{package} is not installed: pip install '.[bench]'"


def function_of(settings: Mapping[str, Any]) -> Any:
    """The peer's ``fit``; None for this project."""
    if settings["method"] == OURS:
        return None
    return getattr(import_module(f"tests.benchmarks.field.{settings['module']}"), settings["function"])


def fields(results: Results, names: Iterable[str], peers: Iterable[str]) -> list[Field]:
    """Data set by data set, what was found."""
    found = []
    for data in names:
        of_data = {name: results[f"{data}, {name}"] for name in (OURS, *peers) if f"{data}, {name}" in results}
        found += [Field(data, of_data)] if of_data else []
    return found


@functools.cache
def _digest(files: tuple[str, ...]) -> str:
    """A change in one method asks for that method again, and one in this project for ours: not for everything."""
    return fingerprint(Suite("code", "", files, (), lambda _: []), Measurement("code", {}))[:16]


def _version(package: str | None) -> str | None:
    try:
        return None if package is None else version(package)
    except PackageNotFoundError:
        return None
