"""See whether a page of the dashboard really shows its answer: in a browser, else by running the page's script."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jebm_core.cli.serve import app_folder, environment
from jebm_core.errors import JebmError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WITHIN = 120.0  # seconds; the first visit loads everything

# Runs the page as the server would, without one: the answer is the block of that key, with words in it.
_SCRIPT = """
import sys
from streamlit.testing.v1 import AppTest

def blocks(node):
    yield node
    for child in getattr(node, "children", {}).values():
        yield from blocks(child)

app = AppTest.from_file(sys.argv[1], default_timeout=float(sys.argv[3]))
app.query_params["run"] = sys.argv[2]
app.run().switch_page("views/partition.py").run()
problems = [str(found.value) for found in (*app.exception, *app.error)]
answers = [
    node for node in blocks(app.main)
    if str(getattr(getattr(node, "proto", None), "id", "")).endswith("-answer")
]
words = [str(found.value) for node in answers for found in node.markdown]
print("\\n".join([*problems, f"{len(answers)} answers"]), file=sys.stderr)
sys.exit(0 if any(words) and not problems else 1)
"""


def require_rendered_answer(address: str, run: str) -> str:
    """Wait until the page at the address shows the answer to its question.

    Returns:
        How it was seen, for the person.

    Raises:
        JebmError: it did not show one in time, or showed an error.
    """
    if find_spec("playwright") is not None:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = _browser(playwright)
            if browser is not None:
                try:
                    _look(browser, address)
                finally:
                    browser.close()
                return "in a browser"
    _run_script(run)
    return "by running its script, since no browser is installed"


def _browser(playwright: "Playwright") -> "Browser | None":
    """Playwright's own browser, else one of the system, else None."""
    from playwright.sync_api import Error

    for path in (None, *filter(None, map(shutil.which, _BROWSERS))):
        try:
            return playwright.chromium.launch(executable_path=path)
        except Error:
            continue
    return None


def _look(browser: "Browser", address: str) -> None:
    from playwright.sync_api import Error

    page = browser.new_page(locale="en")
    try:
        page.goto(address, timeout=_WITHIN * 1000)
        # The frame of the answer is there before its words are.
        answer = page.locator(".st-key-answer").filter(has_text=re.compile(r"\S")).first
        answer.wait_for(state="visible", timeout=_WITHIN * 1000)
        broken = page.locator("[data-testid=stException]").count()
    except Error as error:
        raise JebmError(f"The page {address} did not show its answer: {error.message.splitlines()[0]}") from error
    if broken:
        raise JebmError(f"The page {address} shows an error.")


def _run_script(run: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(app_folder() / "main.py"), run, str(_WITHIN)],
        env=environment(),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=2 * _WITHIN,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise JebmError(f"The partition page of run {run} did not show its answer: {last}")
