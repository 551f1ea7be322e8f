"""``python -m tests.browser.screenshots [FOLDER]``: a picture of every page in both languages, of finished runs.

``--run ID`` takes a run of the home in JEBM_HOME instead of fitting the sample anew.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from app.pages import PAGES
from jebm_core.runs import Home, RunSpec, RunStore
from tests.app.conftest import SAMPLES, wait_until_ended
from tests.browser.server import ROOT, browser, dashboard, settled

WIDE, NARROW = 1280, 390
ON_A_PHONE = ("overview", "unseen")


def take(folder: Path, home: Path, run: str, chromium: str, pages: list[str], depth: str) -> None:
    """Save the pictures of these pages, ``<page>_<language>[_390].png``."""
    folder.mkdir(parents=True, exist_ok=True)
    with dashboard(home) as address, browser(chromium) as found:
        for lang in ("en", "ja"):
            for width in (WIDE, NARROW):
                page = found.new_page(viewport={"width": width, "height": 900}, locale=lang)
                for name in pages:
                    if width == NARROW and name not in ON_A_PHONE:
                        continue
                    place = "" if name == "overview" else name
                    page.goto(f"{address}/{place}?run={run}&lang={lang}&depth={depth}")
                    page.wait_for_selector("h1", timeout=90_000)
                    settled(page)
                    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                    page.set_viewport_size({"width": width, "height": min(int(height) + 40, 6000)})
                    settled(page)
                    suffix = "" if width == WIDE else f"_{width}"
                    page.screenshot(path=folder / f"{name}_{lang}{suffix}.png")
                    page.set_viewport_size({"width": width, "height": 900})
                page.close()


def main() -> None:
    """Read the command line, fit the sample where no run is named, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "screenshots")
    parser.add_argument("--run")
    parser.add_argument("--pages", default=",".join(Path(entry.file).stem for entry in PAGES))
    parser.add_argument("--depth", default="business")
    chosen = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("no browser: none of chromium, chromium-browser, google-chrome is on the PATH")
    with tempfile.TemporaryDirectory(prefix="jebm-screenshots-") as temporary:
        if chosen.run:
            home = RunStore().home.folder
            run = chosen.run
        else:
            home = Path(temporary)
            store = RunStore(Home(home), idle_seconds=1.0)
            dataset = store.add_dataset(SAMPLES / "assembly.csv", "assembly.csv")
            run = store.submit(RunSpec(dataset.sha256, dataset.name))
            wait_until_ended(store, run, 900)
        take(chosen.folder, home, run, chromium, chosen.pages.split(","), chosen.depth)
    print(f"pictures are in {chosen.folder}")


if __name__ == "__main__":
    main()
