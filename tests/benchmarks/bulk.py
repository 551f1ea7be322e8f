"""Scoring to a folder: rows a second and memory of the whole tree of processes, killed half-way and gone on with."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import (
    MODEL_CODE,
    TABLE_CODE,
    Finding,
    Measurement,
    MeasurementError,
    Result,
    Results,
    Suite,
    Target,
)

if TYPE_CHECKING:
    import psutil

ROWS, GROUP, FILES, ITEMS, FEATURES, WORKERS, TOP = 10_000_000, 131_072, 4, 20, 4, 2, 100
TARGETS = {"rows": Target("≥", 500_000), "memory": Target("<", 1000), "twice": Target("≤", 0)}
# affinity, features of the model
CASES = {"unary, 4 features": ("unary", FEATURES), "low-rank, no features": ("lowrank", 0)}


def measure(settings: dict[str, Any]) -> Result:
    """Fit, write the rows, score half, kill, go on; seconds are from the start of the commands to their end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, settings)
        out = folder / "out"
        total = sum(-(-rows // settings["group"]) for rows in _sizes(settings))
        first = _score(folder, settings, until=lambda: len(_parts(out)) >= total // 2)
        before = _parts(out)
        second = _score(folder, settings)
        after = _parts(out)
        again = sum(after.get(part) != identity for part, identity in before.items())
        if len(after) != total:
            raise MeasurementError(f"expected {total} parts, found {len(after)}")
        return {"rows": settings["rows"], "parts": total, "parts_before": len(before), "again": again} | {
            "killed": first,
            "went_on": second,
        }


def _sizes(settings: dict[str, Any]) -> list[int]:
    return [settings["rows"] // settings["files"]] * settings["files"]


def _prepare(folder: Path, settings: dict[str, Any]) -> None:
    """A model of 3000 rows, and files of random rows."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from jebm_core import FitSettings, fit, guess_roles, read_examples, read_table

    generator = np.random.default_rng(0)
    items, width = settings["items"], settings["features"]

    def some(count: int) -> dict[str, Any]:
        x = generator.standard_normal((count, width), dtype=np.float32)
        y = generator.random((count, items), dtype=np.float32) < 0.3
        if width:
            y |= x[:, :1] > 1
        features = {f"x_{i}": x[:, i] for i in range(width)}
        return features | {f"y_{i:02}": y[:, i].astype(np.int8) for i in range(items)}

    pd.DataFrame(some(3000)).to_parquet(folder / "train.parquet")
    table = read_table(folder / "train.parquet")
    chosen = FitSettings(epochs=settings["epochs"], affinity=settings["affinity"], reference="marginals")
    fit(read_examples(table, guess_roles(table)), chosen).model.save(folder / "model")
    (folder / "new").mkdir()
    for number, rows in enumerate(_sizes(settings)):
        writer = None
        for start in range(0, rows, settings["group"]):
            part = pa.table(some(min(settings["group"], rows - start)))
            writer = writer or pq.ParquetWriter(folder / "new" / f"{number}.parquet", part.schema)
            writer.write_table(part)
        assert writer is not None
        writer.close()


def _parts(out: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (out / "parts").glob("*.parquet")}


def _score(folder: Path, settings: dict[str, Any], until: Any = lambda: False) -> dict[str, Any]:
    """One run of the command, killed once ``until`` says so."""
    import psutil

    command = [sys.executable, "-m", "jebm_core", "score", folder / "model", folder / "new", "--out", folder / "out"]
    more = ["--workers", settings["workers"], "--top", settings["top"]]
    there, started = len(_parts(folder / "out")), time.perf_counter()
    process = subprocess.Popen([str(word) for word in (*command, *more)], stdout=subprocess.DEVNULL)
    watch = _Watch(psutil.Process(process.pid))
    with watch:
        while process.poll() is None and not until():
            time.sleep(0.05)
    killed = process.poll() is None
    if killed:
        process.kill()
    if process.wait() and not killed:
        raise MeasurementError(f"jebm score ended with exit code {process.returncode}")
    seconds = time.perf_counter() - started
    time.sleep(1.0)  # the others notice
    return {"seconds": seconds, "parts": len(_parts(folder / "out")) - there} | watch.summary()


class _Watch:
    """Memory and time of a tree of processes, looked at four times a second."""

    def __init__(self, root: "psutil.Process") -> None:
        self.root, self.over = root, threading.Event()
        self.pss = self.rss = 0
        self.cpu: dict[int, float] = {}
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        import psutil

        while not self.over.wait(0.25):
            pss = rss = 0
            try:
                for process in (self.root, *self.root.children(recursive=True)):
                    found = process.memory_full_info()
                    pss, rss = pss + getattr(found, "pss", found.rss), rss + found.rss
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
            except psutil.Error:
                continue
            self.pss, self.rss = max(self.pss, pss), max(self.rss, rss)

    def summary(self) -> dict[str, Any]:
        return {"pss": self.pss, "rss": self.rss, "cpu_seconds": sum(self.cpu.values()), "load": os.getloadavg()[0]}


def findings(results: Results) -> list[Finding]:
    """Rows a second of both runs together, starts included; the larger of the peaks; parts that were written twice."""
    rows = []
    for name, found in results.items():
        runs = [found["killed"], found["went_on"]]
        seconds, cpu = (sum(run[key] for run in runs) for key in ("seconds", "cpu_seconds"))
        detail = f"{found['rows']:,} rows in {seconds:.0f} s and {cpu:.0f} CPU seconds, two starts included; "
        detail += f"load {max(run['load'] for run in runs):.1f}"
        rows.append(Finding(f"{name}: rows a second", found["rows"] / seconds, "", TARGETS["rows"], detail, (name,)))
        pss, rss = (max(run[key] for run in runs) / 2**20 for key in ("pss", "rss"))
        rows.append(
            Finding(
                f"{name}: peak memory of all processes, MiB",
                pss,
                "",
                TARGETS["memory"],
                f"shared pages counted once; counted in each process: {rss:.0f} MiB",
                (name,),
            )
        )
        detail = f"killed after {found['parts_before']} of {found['parts']} parts"
        rows.append(Finding(f"{name}: parts scored twice", found["again"], "", TARGETS["twice"], detail, (name,)))
    return rows


def _settings(affinity: str, features: int) -> dict[str, Any]:
    sizes = {"rows": ROWS, "group": GROUP, "files": FILES, "items": ITEMS, "features": features}
    return {"threads": 1, "workers": WORKERS, "top": TOP, "epochs": 3, "affinity": affinity, **sizes}


SUITE = Suite(
    "bulk",
    f"jebm score of {ROWS:,} rows in {FILES} Parquet files to a folder, {ITEMS} items, {WORKERS} processes of one "
    "thread, killed by SIGKILL half-way and given again.",
    (*MODEL_CODE, *TABLE_CODE, "jebm_core/scoring/*.py", "jebm_core/cli/bulk.py"),
    tuple(Measurement(name, _settings(*case)) for name, case in CASES.items()),
    findings,
)
