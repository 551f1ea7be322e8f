"""How long a person waits before anything happens: imports in fresh processes, and the dashboard's first page."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.harness import (
    MODEL_CODE,
    ROOT,
    Finding,
    Measurement,
    MeasurementError,
    Result,
    Results,
    Suite,
    Target,
)

ROUNDS, PAGES = 7, 3
TARGETS = {"jebm_core after torch": Target("≤", 0.3), "page": Target("<", 3)}
IMPORTS = {
    "python": "pass",
    "torch": "import torch",
    "jebm_core": "import jebm_core",
    "jebm_core after torch": "import torch; import jebm_core",
    "jebm_core.fitting after torch": "import torch; import jebm_core.fitting",
    "jebm_core.tables": "import jebm_core.tables",
    "jebm --help": "import sys; sys.argv[1:] = ['--help']; import jebm_core.__main__",
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The app's page shows its heading, or the answer to its question.
_RENDERED = "[data-testid=stMain] h1, .st-key-answer"


def measure(settings: dict[str, Any]) -> Result:
    """Seconds of fresh processes, in turns, or seconds until the first page shows."""
    return _imports(settings["rounds"]) if settings["what"] == "imports" else _first_pages(settings["rounds"])


def _imports(rounds: int) -> Result:
    from tests.benchmarks.timing import in_turns

    def fresh(code: str) -> None:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MeasurementError(f"{code!r} ended with exit code {done.returncode}")

    taken = in_turns({name: lambda code=code: fresh(code) for name, code in IMPORTS.items()}, rounds)
    return {name: {"seconds": median(times.wall)} for name, times in taken.items()}


def browser_path() -> str | None:
    """A Chromium or Chrome of this machine."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def _first_pages(count: int) -> Result:
    """Each with a server and a browser of its own, and an empty home: from the request to the heading on the screen."""
    with tempfile.TemporaryDirectory() as home:
        seconds = [_first_page(Path(home) / str(turn)) for turn in range(count)]
    return {"seconds": [round(value, 3) for value in seconds]}


def _first_page(home: Path) -> float:
    import os

    from playwright.sync_api import sync_playwright

    from jebm_core.cli.serve import HOST, dashboard

    home.mkdir()
    os.environ["JEBM_HOME"] = str(home)  # of this process, which ends with the measurement; the server inherits it
    port = _free_port()
    with dashboard(port), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path())
        try:
            page = browser.new_page(locale="en")
            started = time.perf_counter()
            page.goto(f"http://{HOST}:{port}/", wait_until="commit")
            page.locator(_RENDERED).first.wait_for(state="visible", timeout=60_000)
            taken = time.perf_counter() - started
            if page.locator("[data-testid=stException]").count():
                raise MeasurementError("the first page shows an error")
            return taken
        finally:
            browser.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def findings(results: Results) -> list[Finding]:
    """Differences between fresh processes, and the first page."""
    rows = []
    if "imports" in results:
        found = {name: value["seconds"] for name, value in results["imports"].items()}
        for name, without in (
            ("jebm_core after torch", "torch"),
            ("jebm_core.fitting after torch", "torch"),
            ("jebm_core", "python"),
            ("jebm_core.tables", "python"),
            ("jebm --help", "python"),
        ):
            detail = f"{found[name]:.2f} s beside {found[without]:.2f} s of {without}"
            rows.append(Finding(name, found[name] - found[without], "s", TARGETS.get(name), detail, ("imports",)))
    if "first page" in results:
        seconds = results["first page"]["seconds"]
        detail = ", ".join(f"{value:.2f} s" for value in seconds)
        rows.append(
            Finding("first page of the dashboard", median(seconds), "s", TARGETS["page"], detail, ("first page",))
        )
    return rows


def _measurements() -> tuple[Measurement, ...]:
    found = [Measurement("imports", {"what": "imports", "rounds": ROUNDS})]
    if _no_page() is None:
        found.append(Measurement("first page", {"what": "page", "rounds": PAGES}))
    return tuple(found)


def _no_page() -> str | None:
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return None if browser_path() else f"no browser: none of {', '.join(_BROWSERS)} is on the path"


SUITE = Suite(
    "startup",
    f"Fresh processes, started in turns; medians of {ROUNDS}, and what they take beyond the process named beside them. "
    f"First page: a new server that has just become healthy and a new browser, from the request to the heading; "
    f"median of {PAGES}." + (f" The first page is skipped: {_no_page()}." if _no_page() else ""),
    (*MODEL_CODE, "jebm_core/tables/*.py", "jebm_core/cli/*.py", "jebm_core/runs/*.py", "app/*.py", "app/*/*.py"),
    _measurements(),
    findings,
)
