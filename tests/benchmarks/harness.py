"""What a suite is, and running one measurement in a process of its own.

A suite is one module with three parts: ``SUITE`` says what is measured, ``measure(settings)`` measures one of them
and returns plain numbers, and ``findings(results)`` holds the numbers against the targets. Measuring happens in a
fresh process, so that no suite inherits another's memory, threads or imports; judging is done again whenever the
results are written.
"""

import ast
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

ROOT = Path(__file__).resolve().parent.parent.parent
SUITES = (
    "steps",
    "scoring",
    "bulk",
    "memory",
    "startup",
    "pages",
    "accuracy",
    "objectives",
    "partition",
    "ablation",
    "rules",
    "peers",
    "sets",
    "large",
    "coverage",
    "decisions",
    "conformal",
)
MODEL_CODE = ("jebm_core/*.py", "jebm_core/spaces/*.py", "jebm_core/decoding/*.py")
TABLE_CODE = ("jebm_core/tables/*.py",)
_JUDGES = frozenset({"findings", "TARGETS", "COUNTS"})

Result = dict[str, Any]
Results = Mapping[str, Result]


class MeasurementError(Exception):
    """A measurement ended without a result; the message is its last word."""


@final
@dataclass(frozen=True)
class Target:
    """What a value should be: ``Target("≤", 4)``."""

    relation: str
    bound: float

    def is_met(self, value: float) -> bool:
        """Whether the value is as it should be; a value that is not a number never is."""
        match self.relation:
            case "≤":
                return value <= self.bound
            case "<":
                return value < self.bound
            case "≥":
                return value >= self.bound
            case ">":
                return value > self.bound
        raise ValueError(f"expected one of ≤ < ≥ >, found {self.relation!r}")


@final
@dataclass(frozen=True)
class Finding:
    """One row of the table: a value, and where there is one, its target.

    Attributes:
        unit: "×" for a ratio, "s" for seconds, "nats", or "" for a score.
        target: None for a value that is only shown.
        detail: the numbers behind the value.
        sources: names of the measurements it was made from.
    """

    what: str
    value: float
    unit: str = "×"
    target: Target | None = None
    detail: str = ""
    sources: tuple[str, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else math.isfinite(self.value) and self.target.is_met(self.value)


@final
@dataclass(frozen=True)
class Measurement:
    """One call of a suite's ``measure``: its name within the suite, and what it is called with."""

    name: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Suite:
    """A set of measurements that belong together.

    Attributes:
        code: patterns, from the root of the repository, of the files on which the results depend; a change in one
            asks for a new measurement.
        skip: a reason why this machine can't measure it, or None.
    """

    name: str
    purpose: str
    code: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    findings: Callable[[Results], list[Finding]]
    skip: Callable[[], str | None] = lambda: None


def open_suite(name: str) -> Suite:
    """The suite of that name."""
    return import_module(f"tests.benchmarks.{name}").SUITE


def fingerprint(suite: Suite, measurement: Measurement, root: Path = ROOT) -> str:
    """Identifies what was measured: code, settings, and the versions that compute. Judging is no part of it."""
    digest = hashlib.sha256()
    for pattern in suite.code:
        for path in sorted(root.glob(pattern)):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(_meaning(path.read_text(encoding="utf-8"), frozenset()).encode())
    own = Path(__file__).with_name(f"{suite.name}.py")
    if own.exists():
        digest.update(_meaning(own.read_text(encoding="utf-8"), _JUDGES).encode())
    said = [dict(measurement.settings), dict(measurement.environment), platform.python_version(), version("torch")]
    digest.update(json.dumps(said, sort_keys=True).encode())
    return digest.hexdigest()


@cache  # each record of each suite asks again
def _meaning(source: str, without: frozenset[str]) -> str:
    """A module as Python understands it: no comments, no layout, no docstrings, and none of the names ``without``."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not without & _names(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


def run_in_child(module: str, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Result:
    """``measure(settings)`` of that module in a fresh process; what it says on stderr passes through.

    Raises:
        MeasurementError: the process ended without a result.
    """
    threads = str(settings.get("threads", 1))
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.child", module],
        input=json.dumps(dict(settings)),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **(environment or {})},
        check=False,
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    except json.JSONDecodeError:
        answer = {}
    if "result" not in answer:
        raise MeasurementError(answer.get("error", f"the process ended with exit code {done.returncode}"))
    return answer["result"]


def tell(text: str) -> None:
    """A line of progress, for the person who waits."""
    print(text, file=sys.stderr, flush=True)
