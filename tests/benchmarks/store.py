"""``RESULTS.json``: every finished measurement, so that an interrupted benchmark goes on where it stopped."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from tests.benchmarks import machine
from tests.benchmarks.harness import Finding, Measurement, Result, Suite, fingerprint, run_in_child, tell

FORMAT = 1


@final
@dataclass(frozen=True)
class Record:
    """A finished measurement: what was measured, when, how busy the machine was, and the numbers."""

    fingerprint: str
    date: str
    seconds: float
    load: float | None
    settings: dict[str, Any]
    result: Result


@final
@dataclass
class Store:
    """The records of all suites; written after every measurement."""

    path: Path
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """What is in the file; empty where there is none, or one of another format."""
        store = cls(path)
        if path.exists():
            read = json.loads(path.read_text(encoding="utf-8"))
            if read.get("format") == FORMAT:
                for suite, records in read["measurements"].items():
                    store.records[suite] = {name: Record(**record) for name, record in records.items()}
                store.skipped = dict(read["skipped"])
        return store

    def of(self, suite: Suite) -> dict[str, Record]:
        """The suite's records, in its order; measurements that it no longer has are left out."""
        found = self.records.get(suite.name, {})
        return {m.name: found[m.name] for m in suite.measurements if m.name in found}

    def outdated(self, suite: Suite) -> set[str]:
        """Names of records that were made with other code or settings than there are now."""
        found = self.of(suite)
        return {
            m.name for m in suite.measurements if m.name in found and found[m.name].fingerprint != fingerprint(suite, m)
        }

    def findings(self, suite: Suite) -> list[Finding]:
        """The suite's rows."""
        return suite.findings({name: record.result for name, record in self.of(suite).items()})

    def write(self, suites: list[Suite]) -> None:
        """Write the file, whole or not at all."""
        document = {
            "format": FORMAT,
            "machine": machine.facts(),
            "versions": machine.versions(),
            "findings": [
                {"suite": suite.name, **asdict(finding), "met": finding.met}
                for suite in suites
                for finding in self.findings(suite)
            ],
            "skipped": self.skipped,
            "failed": self.failed,
            "measurements": {
                suite: {name: asdict(record) for name, record in records.items()}
                for suite, records in self.records.items()
            },
        }
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        fresh = self.path.with_suffix(".partial")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self.path)


def run_suite(suite: Suite, store: Store, save: Callable[[], None], *, fresh: bool = False) -> bool:
    """Measure what is not there yet, and save after each. False where a measurement failed."""
    store.failed.pop(suite.name, None)
    store.skipped.pop(suite.name, None)
    if reason := suite.skip():
        store.skipped[suite.name] = reason
        tell(f"{suite.name}: skipped: {reason}")
        return True
    outdated = store.outdated(suite)
    for place, measurement in enumerate(suite.measurements, 1):
        title = f"{suite.name} {place}/{len(suite.measurements)}: {measurement.name}"
        if not fresh and measurement.name in store.of(suite) and measurement.name not in outdated:
            tell(f"{title}: kept")
            continue
        tell(f"{title} …")
        _measure(suite, measurement, store)
        save()
    return suite.name not in store.failed


def _measure(suite: Suite, measurement: Measurement, store: Store) -> None:
    mark, load = fingerprint(suite, measurement), machine.load()
    started = datetime.now(UTC)
    try:
        result = run_in_child(f"tests.benchmarks.{suite.name}", measurement.settings, measurement.environment)
    except Exception as error:  # noqa: BLE001 - one failure must not cost the other measurements
        store.failed.setdefault(suite.name, {})[measurement.name] = str(error)
        tell(f"{suite.name}: {measurement.name}: failed: {error}")
        return
    seconds = (datetime.now(UTC) - started).total_seconds()
    record = Record(
        mark, started.strftime("%Y-%m-%d"), round(seconds, 1), load, dict(measurement.settings), result
    )  # fmt: skip
    store.records.setdefault(suite.name, {})[measurement.name] = record
