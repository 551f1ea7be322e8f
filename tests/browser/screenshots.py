"""``python -m tests.browser.screenshots [FOLDER]``: a picture of every page in both languages, of finished runs.

``--run ID`` takes a run of the home in JEBM_HOME instead of fitting the sample anew. ``--readme`` also puts the three
that the README shows where it looks for them, cut and with few colours.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from app.pages import PAGES
from jebm_core.runs import Home, RunSpec, RunStore
from jebm_core.runs.records import State
from sample_data.assembly_rules import text
from tests.app.conftest import SAMPLES, wait_until_ended
from tests.browser.server import ROOT, browser, dashboard, settled

WIDE, NARROW = 1280, 390
NAME = "Drive assemblies"
# States of the generator page: what is added to the sample's rules, or stands in their place.
ADDED = {
    "generator": "",
    "generator_conflict": '\n# Too strict\nsensor != resolver\nif housing = polymer then seal = "PTFE lip"\n',
}
INSTEAD = {
    "generator_error": 'sensor != Hall\nif gearbox = worm then bearing = "taperd roller"\n',
    "generator_nothing": 'sensor = Hall\nbearing != "tapered roller"\nsensor = resolver\n',
}


SHOWN = {"overview_en": 1000, "partition_en": 1150, "unseen_ja": 1400}
"""Pictures of the README, with their heights."""
PICTURES = Path(__file__).with_name("pictures")


def places_of(home: Path, run: str, pages: list[str]) -> dict[str, str]:
    """The address of each picture, without language and depth; the generator page has one a state."""
    found = {name: f"{'' if name == 'overview' else name}?run={run}" for name in pages}
    if "runs" in found:
        found |= {"runs": f"runs?run={run}&runs={','.join(to_compare(home, run))}", "runs_list": f"runs?run={run}"}
    if found.pop("generator", None) is None:
        return found
    store = RunStore(Home(home))
    data = store.run(run).spec.dataset
    rules = {name: text("en") + more for name, more in ADDED.items()} | INSTEAD
    for name, content in rules.items():
        kept = NAME if name in ADDED else name.removeprefix("generator_").capitalize()
        found[name] = f"generator?dataset={data}&generator={store.generators.save(kept, content).id}"
    return found | {"generator_start": f"generator?dataset={data}", "generator_empty": "generator?"}


def to_compare(home: Path, run: str) -> list[str]:
    """The run, and up to two other finished ones on the same data."""
    store = RunStore(Home(home))
    spec = store.run(run).spec
    alike = [
        view.id for view in store.list_runs() if view.state is State.SUCCEEDED and view.spec.dataset == spec.dataset
    ]
    return [run, *[one for one in alike if one != run][:2]]


def take(folder: Path, home: Path, run: str, chromium: str, pages: list[str], depth: str) -> None:
    """Save the pictures of these pages, ``<page>_<language>[_390].png``."""
    folder.mkdir(parents=True, exist_ok=True)
    places = places_of(home, run, pages)
    with dashboard(home) as address, browser(chromium) as found:
        for lang in ("en", "ja"):
            for width in (WIDE, NARROW):
                for name, place in places.items():
                    # A page of its own for each: what was written in one state is not kept for the next.
                    page = found.new_page(viewport={"width": width, "height": 900}, locale=lang)
                    page.goto(f"{address}/{place}&lang={lang}&depth={depth}")
                    page.wait_for_selector("h1", timeout=90_000)
                    settled(page)
                    height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                    page.set_viewport_size({"width": width, "height": min(int(height) + 40, 16000)})
                    settled(page)
                    suffix = "" if width == WIDE else f"_{width}"
                    page.screenshot(path=folder / f"{name}_{lang}{suffix}.png")
                    page.close()


def show(folder: Path) -> None:
    """Put the pictures of the README in their place."""
    PICTURES.mkdir(exist_ok=True)
    for name, height in SHOWN.items():
        with Image.open(folder / f"{name}.png") as taken:
            cut = taken.convert("RGB").crop((0, 0, taken.width, min(height, taken.height)))
            few = cut.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(PICTURES / f"{name}.png", optimize=True)


def main() -> None:
    """Read the command line, fit the sample where no run is named, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "screenshots")
    parser.add_argument("--run")
    parser.add_argument("--pages", default=",".join(Path(entry.file).stem for entry in PAGES))
    parser.add_argument("--depth", default="business")
    parser.add_argument("--readme", action="store_true")
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
            version = store.generators.save(NAME, text("en"))
            run = store.submit(RunSpec(dataset.sha256, dataset.name, rules=version.rules, generator=version.id))
            # A second run beside it, without the rules and by parts alone.
            other = store.submit(RunSpec(dataset.sha256, dataset.name, settings={"affinity": "unary", "epochs": 25}))
            for one in (run, other):
                wait_until_ended(store, one, 900)
        take(chosen.folder, home, run, chromium, chosen.pages.split(","), chosen.depth)
    if chosen.readme:
        show(chosen.folder)
    print(f"pictures are in {chosen.folder}")


if __name__ == "__main__":
    main()
