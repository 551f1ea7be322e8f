"""Signing in with a real OpenID provider: a stranger sees nothing, a person their own, and others what is shared."""

from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from app.safety import HEADERS
from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.home import home_at
from tests.browser.identity_provider import CLIENT, identity_provider
from tests.browser.server import browser, dashboard, free_port, settled, watched
from tests.conftest import ROOT

SECRETS = """
[auth]
redirect_uri = "{address}/oauth2callback"
cookie_secret = "a secret of this test alone, and long enough"
client_id = "{client}"
client_secret = "unused"
server_metadata_url = "{provider}/.well-known/openid-configuration"
"""


def _signed_in(found: Browser, address: str, name: str) -> tuple[Page, list[str]]:
    page = found.new_context(locale="en", viewport={"width": 1280, "height": 900}).new_page()
    wrong = watched(page)
    page.goto(address)
    page.locator(".st-key-sign_in_button button").click(timeout=60_000)
    page.get_by_role("link", name=name).click(timeout=20_000)
    expect(page.get_by_text(f"Signed in as {name}@example.com")).to_be_visible(timeout=60_000)
    return page, wrong


def _ended_run(home: Path, dataset: str) -> str:
    """A run in the project of one of them that needs no training."""
    store = RunStore(home_at(home), who="aoi@example.com")
    spec = RunSpec(dataset=dataset, dataset_name="orders.csv", targets=("r_*",), project="aoi@example.com")
    run = store.enqueue(spec)
    store.cancel(run)
    return run


def test_people_see_their_own_and_what_is_shared(chromium: str, tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    file, secrets = tmp_path / "orders.csv", tmp_path / "secrets.toml"
    file.write_bytes((ROOT / "sample_data" / "suppliers.csv").read_bytes() + b"\n")
    with identity_provider() as provider:
        secrets.write_text(SECRETS.format(address=address, client=CLIENT, provider=provider))
        with dashboard(tmp_path, f"--secrets.files={secrets}", port=port), browser(chromium) as found:
            stranger = found.new_context(locale="ja").new_page()
            stranger.goto(f"{address}/data")
            expect(stranger.locator(".st-key-sign_in")).to_contain_text("サインイン", timeout=60_000)
            assert not stranger.locator("[data-testid=stSidebarNav], .st-key-own_data").count()

            aoi, wrong = _signed_in(found, address, "aoi")
            aoi.goto(f"{address}/data")
            aoi.locator("input[type=file]").set_input_files(file, timeout=20_000)
            expect(aoi.locator(".st-key-continue")).to_be_visible(timeout=30_000)
            assert "dataset=" in aoi.url
            data = aoi.url

            ren, also_wrong = _signed_in(found, address, "ren")
            ren.goto(data)
            expect(ren.get_by_text("uploaded by somebody else")).to_be_visible(timeout=30_000)
            assert not ren.locator(".st-key-continue").count()

            run = f"{address}/train?run={_ended_run(tmp_path, aoi.url.partition('dataset=')[2].partition('&')[0])}"
            ren.goto(run)
            expect(ren.get_by_text("Ask its owner to share it")).to_be_visible(timeout=30_000)
            aoi.goto(run)
            expect(aoi.locator(".st-key-problem")).to_have_count(0, timeout=30_000)
            aoi.get_by_test_id("stPopover").get_by_role("button").click()
            aoi.locator(".st-key-share_project label").click()
            settled(aoi)
            ren.goto(run)
            expect(ren.get_by_text("This run was cancelled")).to_be_visible(timeout=30_000)
            ren.goto(data)
            expect(ren.locator(".st-key-continue")).to_be_visible(timeout=30_000)
            settled(ren)
            assert not wrong + also_wrong, (wrong, also_wrong)
    store = RunStore(home_at(tmp_path))
    assert [entry.who for entry in store.ledger.entries() if entry.what == "uploaded"] == ["aoi@example.com"]
    assert ("aoi@example.com", "aoi@example.com") in [(one.name, one.owner) for one in store.projects.projects()]


def test_every_answer_is_guarded(tmp_path: Path) -> None:
    with dashboard(tmp_path) as address:
        with urlopen(address, timeout=10) as answer:
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        for path, host, code in (("/", "elsewhere.example", 400), ("/_stcore/metrics", "127.0.0.1", 404)):
            with pytest.raises(HTTPError) as refused:
                urlopen(Request(address + path, headers={"Host": host}), timeout=10)
            assert refused.value.code == code
            refused.value.close()
