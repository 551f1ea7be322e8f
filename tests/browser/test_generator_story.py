"""The story of a candidate generator in a browser: write rules, see the count fall, mend a conflict, compare, train."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from app.components.rule_editor import PAUSE
from app.text import Language, translate
from jebm_core.runs import Home, RunStore
from tests.browser.server import browser, dashboard, settled, watched

RULES = (
    'if motor in {"servo 0.75 kW", "servo 1.5 kW"} then controller = "servo drive"',
    'if motor in {"induction 0.75 kW", "induction 1.5 kW"} then controller in {"relay starter", "frequency inverter"}',
    'housing = polymer excludes seal = labyrinth, seal = "mechanical face"',
    'gearbox = "strain wave" excludes bearing = "tapered roller"',
    "sensor != resolver",
)
WITHIN = 20_000
ITEMS = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generator_home")


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with dashboard(home) as found:
        yield found


def _count(page: Page, lang: Language = "en") -> int:
    pattern = r"leave ([\d,]+) of" if lang == "en" else r"うち([\d,]+)通り"
    found = re.search(pattern, page.locator(".st-key-answer").first.inner_text())
    return int(found[1].replace(",", "")) if found else -1


def _until_count(page: Page, before: int, lang: Language = "en") -> int:
    """The count as soon as it is another one."""
    until = time.monotonic() + WITHIN / 1000
    while (now := _count(page, lang)) in (before, -1):
        assert time.monotonic() < until, "the count did not change"
        page.wait_for_timeout(20)
    return now


def _write(page: Page, lang: Language = "en") -> None:
    """Write the five rules, one after another; the count falls with each."""
    page.get_by_label(translate("Rules, one a line", lang)).click()
    before = -1
    for rule in RULES:
        page.keyboard.type(f"{rule}\n")
        now = _until_count(page, before, lang)
        assert before == -1 or now < before, rule
        before = now


def test_story_of_a_generator(address: str, chromium: str) -> None:
    with browser(chromium) as found:
        page = found.new_page(viewport={"width": 1280, "height": 900}, locale="en")
        wrong = watched(page)
        page.goto(f"{address}/?depth=expert")
        page.locator(".st-key-open_sample button").click()
        expect(page.locator(".st-key-preflight")).to_be_visible(timeout=WITHIN)
        page.get_by_role("link", name="Candidate generator").first.click()
        answer = page.locator(".st-key-answer").first
        expect(answer).to_contain_text("all 225,000 combinations", timeout=WITHIN)
        _write(page)

        # The last rule is too strict: 40 assemblies that were built have a resolver.
        expect(answer).to_contain_text("40 of 420 past rows break them")
        page.locator(".st-key-off_0 button").first.click()
        expect(answer).to_contain_text("all 420 past rows obey them", timeout=WITHIN)
        editor = page.get_by_label("Rules, one a line")
        expect(editor).to_have_value(re.compile("# sensor != resolver"))
        settled(page)
        page.reload()
        expect(editor).to_have_value(re.compile("# sensor != resolver"), timeout=WITHIN)
        expect(answer).to_contain_text("all 420 past rows obey them", timeout=WITHIN)

        page.locator(".st-key-save_version button").click()
        expect(page.locator(".st-key-train_with button")).to_be_visible(timeout=WITHIN)
        page.locator(".st-key-sample_rules button").click()
        expect(answer).to_contain_text("24,128", timeout=WITHIN)
        settled(page)
        page.locator(".st-key-save_version button").click()
        expect(page.locator(".st-key-train_with button")).to_be_visible(timeout=WITHIN)
        page.locator(".st-key-compare button").click()
        comparison = page.locator(".st-key-comparison")
        expect(comparison).to_contain_text("assembly · 2 is better", timeout=120_000)
        page.locator(".st-key-train_with_best button").click()

        expect(page.locator("h1")).to_have_text("Train")
        expect(page.get_by_text("24,128 valid combinations")).to_be_visible(timeout=WITHIN)
        epochs = page.locator(".st-key-epochs input")
        epochs.fill("6")
        epochs.press("Tab")
        page.locator(".st-key-start button").click()
        expect(page.get_by_text("generator “assembly · 2”").first).to_be_visible(timeout=WITHIN)
        expect(page.locator(".st-key-answer")).to_be_visible(timeout=90_000)
        assert not page.locator("[data-testid=stException], .st-key-fault, .st-key-problem").count()
        assert not wrong, wrong


def test_the_page_in_japanese(address: str, home: Path, chromium: str) -> None:
    sample = Path(__file__).resolve().parents[2] / "sample_data" / "assembly.csv"
    sha256 = RunStore(Home(home)).add_dataset(sample, "assembly.csv").sha256
    with browser(chromium) as found:
        page = found.new_page(viewport={"width": 390, "height": 844}, locale="ja")
        wrong = watched(page)
        page.goto(f"{address}/generator?dataset={sha256}")
        expect(page.locator("h1")).to_have_text("候補生成器", timeout=WITHIN)
        page.get_by_label("ルール（1行に1つ）").click()
        page.keyboard.type('if motor = "servo 1.5 kW" then sensor = hall')
        expect(page.locator(".st-key-problem")).to_contain_text("1行目", timeout=WITHIN)
        for _mark in range(4):
            page.keyboard.press("Backspace")
        page.keyboard.type("Hall")
        expect(page.locator(".st-key-answer").first).to_contain_text("うち195,000通り", timeout=WITHIN)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out on a phone"
        assert not wrong, wrong


def test_the_count_follows_a_key_at_once(address: str, home: Path, chromium: str) -> None:
    """Sixty items, forty rules and a size: how long after the keyboard rests the new count is there."""
    random = np.random.default_rng(0)
    names = [f"y_item_{i:02d}" for i in range(ITEMS)]
    rows = [",".join(map(str, (random.random(ITEMS) < 0.12).astype(int))) for _ in range(300)]
    content = "\n".join([",".join(names), *rows]).encode()
    sha256 = RunStore(Home(home)).add_dataset(content, "sixty.csv").sha256
    pairs = random.integers(ITEMS, size=(40, 2))
    rules = [f"item_{a:02d} excludes item_{b:02d}" for a, b in pairs if a != b]
    version = RunStore(Home(home)).generators.save("Sixty", "\n".join(["size between 5 and 12", *rules, ""]))
    with browser(chromium) as found:
        page = found.new_page(viewport={"width": 1280, "height": 900}, locale="en")
        page.goto(f"{address}/generator?dataset={sha256}&generator={version.id}")
        expect(page.locator(".st-key-answer").first).to_contain_text("The rules leave", timeout=WITHIN)
        settled(page)
        page.get_by_label("Rules, one a line").click()
        page.keyboard.press("Control+End")
        taken = []
        for item in range(6):
            before = _count(page)
            page.keyboard.type(f"\nitem_{item:02d} requires item_{item + 30:02d}")
            started = time.monotonic()
            _until_count(page, before)
            taken.append(time.monotonic() - started - PAUSE / 1000)
            settled(page)
        print(f"count after a pause at {ITEMS} items: {sorted(round(1000 * t) for t in taken)} ms")
        # Half a second on a machine of its own; this one may be busy.
        assert sorted(taken)[len(taken) // 2] < 2.0
