"""The dashboard in use: seconds from a click to a page that is still, and what it costs to watch a run."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks.harness import MODEL_CODE, ROOT, Finding, Measurement, MeasurementError, Result, Results, Suite
from tests.benchmarks.harness import Target as Bound
from tests.benchmarks.startup import browser_path

if TYPE_CHECKING:
    import psutil
    from playwright.sync_api import Page

    from jebm_core.runs import RunStore

CLICKS = 10
VIEWERS, WINDOW, TURNS = 20, 20.0, 3
COPIES = 5
"""Of every row, so that the training outlasts the viewers."""
TARGETS = {"page": Bound("<", 1), "poll": Bound("<", 0.03), "slower": Bound("≤", 0.10)}
_STILL = "[data-testid=stApp][data-test-script-state=notRunning]"
_NOTHING_GROWS = "() => !document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')"


def measure(settings: dict[str, Any]) -> Result:
    """Seconds a click, or processor time of the server and pace of the training with and without viewers."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["JEBM_HOME"] = name  # of this process, which ends with the measurement
        return _clicks(settings) if settings["what"] == "clicks" else _watching(settings)


def _started(store: "RunStore", copies: int = 1, **settings: object) -> str:
    """A run on the sample, each of its rows so many times over."""
    from dataclasses import replace

    from jebm_core.cli.demo import FILE, sample_spec

    head, *rows = (ROOT / "sample_data" / FILE).read_bytes().splitlines(keepends=True)
    content = b"".join([head, *rows * copies])
    spec = sample_spec(store.add_dataset(content, FILE).sha256)
    return store.submit(replace(spec, settings={**spec.settings, **settings}))


def _wait(store: "RunStore", run: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not store.run(run).state.ended:
        if time.monotonic() > until:
            raise MeasurementError(f"the run did not end within {seconds:.0f} s")
        time.sleep(0.5)


@contextmanager
def _served() -> "Iterator[tuple[str, psutil.Process]]":
    import psutil

    from jebm_core.cli.serve import HOST, dashboard
    from tests.browser.server import free_port

    port = free_port()
    with dashboard(port) as server:
        yield f"http://{HOST}:{port}", psutil.Process(server.pid)


def _clicks(settings: dict[str, Any]) -> Result:
    """From a click in the menu until the script has run, nothing waits and the heading is the page's, page by page."""
    from playwright.sync_api import sync_playwright

    from jebm_core.runs import RunStore

    store = RunStore()
    run = _started(store)
    _wait(store, run, 300)
    with _served() as (address, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--disable-gpu"])
        try:
            page = browser.new_page(locale="en", viewport={"width": 1280, "height": 900})
            page.goto(f"{address}/?run={run}")
            page.locator("h1").wait_for(timeout=60_000)
            _settle(page)
            names = page.get_by_test_id("stSidebarNavLink").all_inner_texts()
            names = [name.splitlines()[-1].strip() for name in names]  # the icon's name comes first
            taken: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(settings["rounds"] + 1):
                for name in names:
                    taken[name].append(_click(page, name))
        finally:
            browser.close()
    return {"first": {n: t[0] for n, t in taken.items()}, "then": {n: t[1:] for n, t in taken.items()}}


def _click(page: "Page", name: str) -> float:
    link = page.get_by_test_id("stSidebarNavLink").get_by_text(name, exact=True)
    before = time.perf_counter()
    link.click()
    page.locator("h1").get_by_text(name, exact=True).wait_for(timeout=60_000)
    _settle(page)
    return time.perf_counter() - before


def _settle(page: "Page") -> None:
    page.wait_for_selector(_STILL, timeout=60_000)
    page.wait_for_function(_NOTHING_GROWS, timeout=60_000)


def _watching(settings: dict[str, Any]) -> Result:
    """Windows without viewers, with one and with many, in turns, beside a long run: processor time and epochs."""
    from jebm_core.runs import RunStore

    store = RunStore()
    found: dict[str, list[dict[str, float]]] = {str(count): [] for count in settings["viewers"]}
    with _served() as (address, server):
        for _ in range(settings["turns"]):
            # A training of its own for each turn: one that goes on for long stops improving, and ends.
            run = _started(store, copies=COPIES, reference="marginals", epochs=100_000, time_budget=3600.0)
            try:
                _wait_for_epochs(store, run)
                for count in settings["viewers"]:
                    found[str(count)].append(_watched(store, run, address, server, count, settings["seconds"]))
            finally:
                store.cancel(run)
                _wait(store, run, 60)
    return {"windows": found, "seconds": settings["seconds"]}


def _watched(
    store: "RunStore", run: str, address: str, server: "psutil.Process", count: int, seconds: float
) -> dict[str, float]:
    """What so many viewers cost for a while."""
    from tests.benchmarks.viewer import Viewer

    viewers = [Viewer(address, "train", f"run={run}&lang=en") for _ in range(count)]
    time.sleep(4 + 0.4 * count)  # their first pages
    looks = sum(viewer.looks for viewer in viewers)
    seen = _window(store, run, server, seconds)
    seen["looks"] = sum(viewer.looks for viewer in viewers) - looks
    for viewer in viewers:
        viewer.leave()
        if viewer.failed:
            raise MeasurementError(f"a viewer failed: {viewer.failed}")
    if store.run(run).state.ended:
        raise MeasurementError("the run ended while it was watched")
    return seen


def _wait_for_epochs(store: "RunStore", run: str) -> None:
    until = time.monotonic() + 120
    while _epochs(store, run) < 2:
        if time.monotonic() > until:
            raise MeasurementError("the run did not begin within two minutes")
        time.sleep(0.5)


def _epochs(store: "RunStore", run: str) -> int:
    rows = [row for row in store.history(run) if row.values.get("stage") == "training"]
    return int(str(rows[-1].values["epoch"])) if rows else 0


def _window(store: "RunStore", run: str, server: "psutil.Process", seconds: float) -> dict[str, float]:
    def spent() -> float:
        times = server.cpu_times()
        return times.user + times.system

    cpu, epochs, before = spent(), _epochs(store, run), time.perf_counter()
    time.sleep(seconds)
    taken = time.perf_counter() - before
    return {"cpu": (spent() - cpu) / taken, "epochs": (_epochs(store, run) - epochs) / taken}


def findings(results: Results) -> list[Finding]:
    """Medians of clicks; processor time a viewer; how much slower the training was beside the viewers."""
    rows = []
    if "clicks" in results:
        then = {name: median(times) for name, times in results["clicks"]["then"].items()}
        for name, seconds in then.items():
            detail = f"first time {results['clicks']['first'][name]:.2f} s"
            rows.append(Finding(f"click to still: {name}", seconds, "s", TARGETS["page"], detail, ("clicks",)))
    if "watching" in results:
        windows = results["watching"]["windows"]
        cpu = {count: median(w["cpu"] for w in found) for count, found in windows.items()}
        pace = {count: median(w["epochs"] for w in found) for count, found in windows.items()}
        most = str(max(map(int, windows)))
        detail = ", ".join(f"{count} viewers: {cpu[count]:.3f} of a core" for count in windows)
        each = (cpu[most] - cpu["0"]) / int(most)
        rows.append(Finding("watching a run, of a core a viewer", each, "", TARGETS["poll"], detail, ("watching",)))
        detail = ", ".join(f"{count} viewers: {pace[count]:.2f} epochs a second" for count in windows)
        slower = 1 - pace[most] / pace["0"]
        name = f"training beside {most} viewers, slower by"
        rows.append(Finding(name, slower, "", TARGETS["slower"], detail, ("watching",)))
    return rows


SUITE = Suite(
    "pages",
    f"A finished run of the sample project: seconds from a click in the menu until the page is still, medians of "
    f"{CLICKS}. A run under way, watched by sessions that speak the framework's protocol without a browser, in turns "
    f"of {WINDOW:.0f} s: processor time of the server, and epochs a second.",
    (*MODEL_CODE, "jebm_core/runs/*.py", "jebm_core/report/*.py", "app/*.py", "app/*/*.py"),
    (
        Measurement("clicks", {"what": "clicks", "rounds": CLICKS}),
        Measurement("watching", {"what": "watch", "viewers": [0, 1, VIEWERS], "seconds": WINDOW, "turns": TURNS}),
    ),
    findings,
    lambda: None if browser_path() else "no browser",
)
