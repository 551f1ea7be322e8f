"""A dashboard of its own on a free loopback port, and a browser that notes everything that goes wrong in it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
_START_WITHIN = 60.0


@contextmanager
def dashboard(home: Path, *options: str, port: int | None = None) -> Iterator[str]:
    """The address of a dashboard on this home, with its guards; it is ended by its own process on leaving."""
    port = port or free_port()
    environment = {**os.environ, "JEBM_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "streamlit", "run", "app/server.py", f"--server.port={port}", *options]
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + _START_WITHIN
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((home / "server.log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port on which nothing listens just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@contextmanager
def browser(path: str) -> Iterator[Browser]:
    """A headless browser of this machine."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--disable-dev-shm-usage", "--disable-gpu"])
        try:
            yield found
        finally:
            found.close()


def watched(page: Page) -> list[str]:
    """The list into which errors of the page, of its console, and requests that leave the machine are written."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(f"page error: {error}"))
    page.on("console", lambda line: found.append(f"console: {line.text} {line.location}") if _is_fault(line) else None)
    page.on(
        "request",
        lambda request: (
            found.append(f"outside request: {request.url}")
            if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
            else None
        ),
    )
    return found


def _is_fault(line: ConsoleMessage) -> bool:
    # Opened at a page's own address, the framework looks for its health beneath that page first, then at the root.
    probe = "/_stcore/" in line.location.get("url", "") and "404" in line.text
    return line.type == "error" and not probe


def settled(page: Page) -> None:
    """Wait until the page has run, its spinners have gone and its figures are drawn."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=90_000)
    page.wait_for_function(
        "() => !document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')",
        timeout=90_000,
    )
    page.wait_for_timeout(400)
