"""The story of a visit, in a browser and in both languages: make a project, bring a file of a Japanese Excel, fix a
role, write a rule, train, reload and lose the server in mid-run, take the report along, give the link to somebody else,
compare runs, delete one of them, and the project.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from app.pages import PAGES
from app.text import Language, translate
from jebm_core.runs import Home, RunSpec, RunStore
from jebm_core.runs.records import RunView, State
from tests.app.conftest import SMALL, wait_until_ended
from tests.browser.accessibility import ON_DARK_PAGES, violations
from tests.browser.server import browser, dashboard, free_port, settled, watched

RESULTS = ("partition", "calibration", "unseen")
WITHIN, FITTED_WITHIN = 90_000, 360_000  # a busy machine takes its time; nothing here waits longer than it must
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FORMATS = {"html": b"<!DOCTYPE html>", "pptx": b"PK", "pdf": b"%PDF", "xlsx": b"PK", "json": b"{"}
RULE = "材質 = 樹脂 excludes 継手 = 溶接"


def japanese_csv() -> bytes:
    """A table as a Japanese Excel writes it: Shift_JIS, and a feature whose name does not say that it is one."""
    random = np.random.default_rng(0)
    lines = ["温度,c_材質,c_継手,c_結果"]
    for _row in range(160):
        heat, material, joint = random.normal(60, 20), random.integers(3), random.integers(3)
        if (material, joint) == (1, 0):  # resin is never welded
            joint = 1
        good = random.random() < 1 / (1 + np.exp(-(1.5 * (material == joint) + (60 - heat) / 20)))
        words = ["鋼", "樹脂", "アルミ"][material], ["溶接", "ねじ", "接着"][joint], "良" if good else "不良"
        lines.append(",".join([f"{heat:.1f}", *words]))
    return "\r\n".join(lines).encode("cp932")


class Place:
    """A dashboard that can be killed and comes back at the same address."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self._life = ExitStack()
        self.address = ""

    def start(self) -> None:
        self.address = self._life.enter_context(dashboard(self.home, port=self.port))

    def end(self) -> None:
        self._life.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("browser_home"))
    found.start()
    yield found
    found.end()


@pytest.fixture(scope="module")
def chrome(chromium: str) -> Iterator[Browser]:
    with browser(chromium) as found:
        yield found


def _run_in(page: Page) -> str:
    found = re.search(r"[?&]run=(\w+)", page.url)
    assert found, page.url
    return found[1]


def _make_a_project(page: Page, name: str) -> None:
    page.locator(".st-key-projects button").first.click()
    page.locator(".st-key-project_name input").fill(name)
    page.locator(".st-key-make_project button").click()
    expect(page.locator(".st-key-project_switch input")).to_have_value(name)
    settled(page)
    page.keyboard.press("Escape")


def _delete_the_project(page: Page, name: str, lang: Language) -> None:
    page.locator(".st-key-projects button").first.click()
    page.locator(".st-key-delete_project button").click()
    expect(page.locator(".st-key-delete_project_ask")).to_contain_text(name)
    page.locator(".st-key-delete_project_yes button").click()
    expect(page.locator("h1")).to_have_text(translate("Overview", lang))
    expect(page.locator(".st-key-project_switch")).to_have_count(0)


def _roles_of_the_first_column(page: Page, grid: Locator) -> Locator:
    """Open the list of roles over the cell beside the column 温度."""
    options = page.locator("#portal [role=option]")
    for _ in range(5):  # on a busy machine the grid may miss a key; a person would press it again
        box = grid.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 40, box["y"] + 35 + 17)  # the first cell of the first row
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        try:
            options.first.wait_for(timeout=5_000)
        except PlaywrightTimeoutError:
            continue
        return options
    raise AssertionError("the list of roles did not open")


def _bring_the_file(page: Page, lang: Language) -> None:
    """Upload the file, and say by keyboard that the temperature is a feature."""
    page.locator(".st-key-own_data button").click()
    file = {"name": "組立.csv", "mimeType": "text/csv", "buffer": japanese_csv()}
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files([file])
    grid = page.locator("[data-testid=stDataFrame] canvas").first
    expect(grid).to_be_visible(timeout=WITHIN)
    settled(page)
    grid.scroll_into_view_if_needed()
    options, word = _roles_of_the_first_column(page, grid), translate("Feature", lang)
    page.keyboard.type(word)
    expect(options).to_have_text([word])
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("roles="), timeout=WITHIN)


def _write_a_rule(page: Page, lang: Language) -> None:
    page.get_by_role("link", name=translate("Candidate generator", lang)).first.click()
    expect(page.locator("h1")).to_have_text(translate("Candidate generator", lang), timeout=WITHIN)
    settled(page)
    answer = page.locator(".st-key-answer").first
    expect(answer).to_contain_text("18", timeout=WITHIN)
    page.get_by_label(translate("Rules, one a line", lang)).click()
    page.keyboard.type(f"{RULE}\n")
    expect(answer).to_contain_text("16", timeout=WITHIN)
    settled(page)
    page.locator(".st-key-save_version button").click()
    page.locator(".st-key-train_with button").click(timeout=WITHIN)


def _start(page: Page, epochs: int) -> str:
    field = page.locator(".st-key-epochs input")
    expect(field).to_be_visible(timeout=WITHIN)
    field.fill(str(epochs))
    field.press("Tab")
    settled(page)
    page.locator(".st-key-start button").click()
    expect(page.locator(".st-key-live, .st-key-answer").first).to_be_visible(timeout=WITHIN)
    return _run_in(page)


def _export(page: Page, lang: Language) -> None:
    """Fetch the report in every format."""
    page.get_by_role("link", name=translate("Report", lang), exact=True).first.click()
    expect(page.locator("h1")).to_have_text(translate("Report", lang), timeout=WITHIN)
    expect(page.locator(".st-key-answer")).to_be_visible(timeout=90_000)
    settled(page)
    for kind, start in FORMATS.items():
        with page.expect_download(timeout=90_000) as coming:
            page.locator(f".st-key-report_{kind} button").click()
        content = Path(coming.value.path()).read_bytes()
        assert content.lstrip().startswith(start), kind
        assert len(content) > 2000, kind
        # The framework asks for the file once more to see that it was there; gone to another page, it is not.
        settled(page)
        page.wait_for_load_state("networkidle")


def _finished(store: RunStore) -> list[RunView]:
    """The runs of the stories; one of the same file where none has been told."""
    if not any(run.state is State.SUCCEEDED for run in store.list_runs()):
        dataset = store.add_dataset(japanese_csv(), "組立.csv")
        assert wait_until_ended(store, store.submit(RunSpec(dataset.sha256, dataset.name, settings=SMALL)), 360) is (
            State.SUCCEEDED
        )
    return [run for run in store.list_runs() if run.state is State.SUCCEEDED]


def _is_sound(page: Page) -> None:
    assert not page.locator("[data-testid=stException], .st-key-fault, .st-key-problem").count()


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_the_whole_story(lang: Language, place: Place, chrome: Browser) -> None:
    store = RunStore(Home(place.home))
    page = chrome.new_page(viewport=WIDE, locale=lang)
    page.set_default_timeout(WITHIN)
    wrong = watched(page)
    page.goto(f"{place.address}/?lang={lang}&depth=expert")
    expect(page.locator("h1")).to_have_text(translate("Overview", lang), timeout=90_000)
    project = {"en": "Joints", "ja": "継手の検討"}[lang]
    _make_a_project(page, project)
    _bring_the_file(page, lang)
    _write_a_rule(page, lang)
    first = _start(page, 150)
    expect(page.locator(".st-key-stages")).to_be_visible(timeout=WITHIN)
    page.reload()
    expect(page.locator(".st-key-live")).to_be_visible(timeout=WITHIN)
    expect(page.locator("h1")).to_have_text(translate("Train", lang))
    assert not wrong, "\n".join(wrong)
    place.end()
    assert store.run(first).state is State.RUNNING, "the run goes on without the server"
    place.start()
    page.reload()
    expect(page.locator(".st-key-live, .st-key-answer").first).to_be_visible(timeout=WITHIN)
    wrong.clear()  # while there was no server, the page could not but complain
    expect(page.locator(".st-key-answer")).to_be_visible(timeout=FITTED_WITHIN)
    assert store.run(first).attempt == 1
    _is_sound(page)

    # Somebody else, who has nothing but the link.
    link = page.url
    context = chrome.new_context(viewport=WIDE, locale=lang)
    other = context.new_page()
    other.set_default_timeout(WITHIN)
    wrong_there = watched(other)
    other.goto(link)
    said = page.locator(".st-key-answer strong").inner_text()
    expect(other.locator(".st-key-answer strong")).to_have_text(said, timeout=WITHIN)

    _export(page, lang)

    # The same with other settings, and both side by side.
    page.get_by_role("link", name=translate("Compare", lang), exact=True).first.click()
    page.locator(f".st-key-menu_{first} button").click(timeout=WITHIN)
    page.get_by_text(translate("Duplicate with changes", lang), exact=True).click()
    second = _start(page, 3)
    assert second != first
    expect(page.locator(".st-key-answer")).to_be_visible(timeout=FITTED_WITHIN)
    page.get_by_role("link", name=translate("Compare", lang), exact=True).first.click()
    for run in (second, first):
        page.locator(f".st-key-tick_{run} label").click(timeout=WITHIN)
        settled(page)
    page.locator(".st-key-compare_runs button").click()
    expect(page.locator(".st-key-gains")).to_be_visible(timeout=90_000)
    settled(page)
    said = page.locator(".st-key-answer strong").inner_text()
    assert re.search(r"[AB].*[AB]", said)
    other.goto(page.url)
    expect(other.locator(".st-key-answer strong")).to_have_text(said, timeout=90_000)
    assert not wrong_there, "\n".join(wrong_there)
    context.close()

    page.locator(f".st-key-menu_{second} button").click()
    page.get_by_text(translate("Delete …", lang), exact=True).click()
    expect(page.locator(".st-key-delete_ask")).to_be_visible(timeout=WITHIN)
    page.locator(".st-key-delete_yes button").click()
    expect(page.locator(f".st-key-run_row_{second}")).to_have_count(0, timeout=WITHIN)
    assert second not in [run.id for run in store.list_runs()]
    assert not (store.home.folder / "runs" / second).exists()
    _delete_the_project(page, project, lang)
    assert project not in [one.name for one in store.projects.projects()]
    assert first not in [run.id for run in store.list_runs()]
    assert not (store.home.folder / "runs" / first).exists()
    assert "組立.csv" not in [one.name for one in store.datasets()]
    page.goto(f"{place.address}/runs?runs={first},{second}&lang={lang}")
    expect(page.locator(".st-key-problem, .st-key-empty").first).to_be_visible(timeout=WITHIN)
    assert not wrong, "\n".join(wrong)
    page.close()


# Every page in each language, at each width and by either theme, if not in every combination of them.
@pytest.mark.parametrize(("lang", "scheme"), [("en", "light"), ("ja", "dark")])
def test_every_page_is_accessible_and_fits_a_phone(lang: Language, scheme: str, place: Place, chrome: Browser) -> None:
    finished = _finished(RunStore(Home(place.home), idle_seconds=1.0))
    run, both = finished[0], ",".join(run.id for run in finished[:2])
    query = f"run={run.id}&dataset={run.spec.dataset}&generator={run.spec.generator}&lang={lang}&depth=expert"
    query += f"&runs={both}" if len(finished) > 1 else ""
    context = chrome.new_context(viewport=WIDE, locale=lang, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    page = context.new_page()
    page.set_default_timeout(WITHIN)
    wrong = watched(page)
    allowed = ON_DARK_PAGES if scheme == "dark" else ()
    found: list[str] = []
    for name in (Path(entry.file).stem for entry in PAGES):
        page.set_viewport_size(WIDE)
        page.goto(f"{place.address}/{'' if name == 'overview' else name}?{query}")
        expect(page.locator("h1")).to_be_visible(timeout=90_000)
        settled(page)
        _is_sound(page)
        assert page.evaluate("document.documentElement.lang") == lang
        if name in RESULTS:
            assert page.locator(".js-plotly-plot").count(), "a figure is drawn"
        found += [f"{name}, wide: {one}" for one in violations(page, allowed)]
        page.set_viewport_size(NARROW)
        settled(page)
        found += [f"{name}, narrow: {one}" for one in violations(page, allowed)]
        width = page.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.querySelector('[data-testid=stMain]').scrollWidth)"
        )
        if width > 390:
            found.append(f"{name}: {width} pixels wide on a phone")
    assert not found, "\n".join(found)
    assert not wrong, "\n".join(wrong)
    context.close()


def test_the_sample_is_three_clicks_away(place: Place, chrome: Browser) -> None:
    page = chrome.new_page(viewport=WIDE, locale="ja")
    page.set_default_timeout(WITHIN)
    wrong = watched(page)
    page.goto(f"{place.address}/?lang=ja")
    page.locator(".st-key-open_sample button").click(timeout=WITHIN)
    expect(page.locator(".st-key-preflight")).to_contain_text("420", timeout=WITHIN)
    page.reload()
    expect(page.locator(".st-key-start button")).to_contain_text("学習を開始", timeout=WITHIN)
    assert not wrong, "\n".join(wrong)
    page.close()
