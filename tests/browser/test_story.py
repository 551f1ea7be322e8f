"""The story of a first visit, in a browser: open the sample, train, reload in mid-run, look at every result."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from app.text import Language, translate
from tests.browser.server import browser, dashboard, settled, watched

RESULTS = ("partition", "calibration", "unseen")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("browser_home")
    with dashboard(home) as found:
        yield found


def _train(page: Page, lang: Language) -> None:
    """Open the smallest sample and start a short fit, as an expert."""
    page.locator(".st-key-own_data button").click()
    page.locator(".st-key-sample_suppliers button").click()
    page.locator(".st-key-continue button").click()
    epochs = page.locator(".st-key-epochs input")
    epochs.fill("25")
    epochs.press("Tab")
    page.locator(".st-key-start button").click()
    expect(page.locator(".st-key-live, .st-key-answer").first).to_be_visible(timeout=20_000)
    assert "run=" in page.url
    page.reload()
    expect(page.locator(".st-key-live, .st-key-answer").first).to_be_visible(timeout=20_000)
    expect(page.locator("h1")).to_have_text(translate("Train", lang))
    expect(page.locator(".st-key-answer")).to_be_visible(timeout=80_000)


def test_story_in_both_languages(address: str, chromium: str) -> None:
    with browser(chromium) as found:
        page = found.new_page(viewport={"width": 1280, "height": 900}, locale="en")
        wrong = watched(page)
        page.goto(f"{address}/?depth=expert")
        expect(page.locator("h1")).to_have_text("Overview", timeout=60_000)
        page.locator(".st-key-open_sample button").click()
        expect(page.locator(".st-key-preflight")).to_be_visible(timeout=20_000)
        page.goto(f"{address}/?depth=expert")
        _train(page, "en")
        run = page.url.partition("run=")[2].partition("&")[0]
        page.locator(".st-key-go_partition button").click()
        expect(page.locator("h1")).to_have_text("Partition function")
        for lang in ("en", "ja"):
            for name in ("", "train", *RESULTS):
                page.goto(f"{address}/{name}?run={run}&lang={lang}&depth=business")
                expect(page.locator(".st-key-answer").first).to_be_visible(timeout=40_000)
                settled(page)
                assert not page.locator("[data-testid=stException], .st-key-fault, .st-key-problem").count()
                assert page.evaluate("document.documentElement.lang") == lang
                if name:
                    assert page.locator(".js-plotly-plot").count(), "a figure is drawn"
        page.goto(f"{address}/?lang=ja&depth=business")
        page.locator(".st-key-open_sample button").click()
        expect(page.locator(".st-key-preflight")).to_contain_text("420", timeout=20_000)
        page.reload()
        expect(page.locator(".st-key-start button")).to_contain_text("学習を開始", timeout=20_000)
        assert not wrong, wrong
