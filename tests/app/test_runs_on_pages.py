"""Runs on the pages, in every state: finished, waiting, under way, failed, cancelled, missing, damaged."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import pages
from app.components.train_settings import DIVERGENCES, WORDS
from app.preflight import expected_seconds, log_combinations
from app.text import FOLDER, Language, translate
from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.records import State
from jebm_core.settings import AFFINITIES, DEVICES, LOG_PARTITIONS, PROPOSALS, REFERENCES
from jebm_core.tables import guess_roles, read_examples, read_table
from tests.app.conftest import SAMPLES, small_spec, wait_until_ended, with_data

MAIN = FOLDER.parent / "main.py"
LANGUAGES: tuple[Language, ...] = ("en", "ja")
RESULTS = ("partition", "calibration", "unseen")
ALL = [Path(entry.file).stem for entry in pages.PAGES]


def _open(page: str, run: str, lang: Language = "en", depth: str = "business") -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params.update({"lang": lang, "run": run, "depth": depth})
    app.run()
    if page != "overview":
        app.switch_page(f"views/{page}.py").run()
    return _healthy(app)


def _walk(
    run: str, lang: Language, depth: str = "business", names: Sequence[str] = ALL
) -> Iterator[tuple[str, AppTest]]:
    """One visit to page after page, as a person goes through the menu."""
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params.update({"lang": lang, "run": run, "depth": depth})
    app.run()
    for page in names:
        if page != "overview":
            app.switch_page(f"views/{page}.py").run()
        yield page, _healthy(app)


def _healthy(app: AppTest) -> AppTest:
    assert not app.exception
    assert not [error.value for error in app.error if "report reference" in error.value or "参照番号" in error.value]
    return app


def _text(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.subheader, *app.error, *app.warning, *app.info]
    return "\n".join(str(part.value).replace("\\", "") for part in parts)


def _has_japanese(text: str) -> bool:
    return any("\u3040" <= mark <= "\u9fff" for mark in text)


@pytest.fixture
def queued(no_runner: None) -> Iterator[str]:
    """A run that waits, without anybody to start it."""
    store = RunStore()
    run = store.enqueue(small_spec("suppliers"))
    yield run
    if store.run(run).state is State.QUEUED:
        store.cancel(run)


@pytest.fixture
def copy_of_finished(finished: dict[str, str]) -> str:
    """A finished run whose files a test may spoil."""
    return finished["suppliers"]


@pytest.mark.parametrize(("lang", "depth"), [("en", "business"), ("ja", "expert")])
def test_every_page_shows_a_finished_run(lang: Language, depth: str, finished: dict[str, str]) -> None:
    verdicts = [translate(word, lang) for word in ("Trusted", "Caution", "Do not trust")]
    for page, app in _walk(finished["assembly"], lang, depth):
        assert not app.error, page
        if page not in ("glossary", "generator", "runs"):  # no rules and no second run: nothing to judge yet
            assert any(word in _text(app) for word in verdicts), page
        if lang == "ja" and page not in ("data", "glossary"):
            for part in (*app.markdown, *app.subheader):
                words = str(part.value)
                named = any(mark in words for mark in ("badge", "- ", "`")) or not any(mark.isalpha() for mark in words)
                named |= any(version.title in words for version in RunStore().generators.versions())
                assert named or _has_japanese(words), f"English on a Japanese page: {words}"
        folded = {key for block in app.expander if (key := block.key or "").endswith("_table")}
        assert len(folded) == len(app.get("plotly_chart")), page
        files = {str(button.key) for button in with_data(app).get("download_button")}
        assert {key.replace("_table", "_download") for key in folded} <= files, page


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rankings_have_all_pages_too(lang: Language, finished: dict[str, str]) -> None:
    for page, app in _walk(finished["suppliers"], lang, names=("overview", *RESULTS)):
        assert not app.error, page
        shown = "\n".join(line for line in _text(app).splitlines() if "`" not in line)
        assert "supplier_a" not in shown, "raw names where the sample has display names"


def test_the_answer_has_the_key_that_the_demo_waits_for(finished: dict[str, str]) -> None:
    for page, app in _walk(finished["suppliers"], "en", names=("overview", *RESULTS, "train")):
        assert "answer" in {str(getattr(block.proto, "id", "")).split("-")[-1] for block in _blocks(app)}, page


def _blocks(app: AppTest) -> list:
    found, waiting = [], [app.main]
    while waiting:
        node = waiting.pop()
        found += [node] if hasattr(node, "proto") and node.proto is not None else []
        waiting += list(getattr(node, "children", {}).values())
    return found


def test_the_truth_stands_beside_the_estimates_of_a_sample(finished: dict[str, str]) -> None:
    app = _open("unseen", finished["suppliers"])
    assert "truly hold" not in _text(app)
    app.toggle(key="truth").set_value(True).run()
    assert "truly hold" in _text(_healthy(app))
    app.switch_page("views/partition.py").run()
    assert "true ones" in _text(_healthy(app)), "the switch is the same on every page"


def test_no_truth_for_outputs_that_the_sample_was_not_made_with(finished: dict[str, str]) -> None:
    assert not _open("unseen", finished["assembly"]).toggle


def test_untried_combinations_are_ranked_by_outcome_and_condition(finished: dict[str, str]) -> None:
    app = _open("unseen", finished["assembly"], "ja")
    assert app.selectbox(key="outcome").value == ("result", "pass")
    assert translate("No untried combination is at least as plausible as one picked at random.", "ja") in _text(app)
    app.selectbox(key="outcome").set_value(("", "")).run()
    before = _ladder(_healthy(app), "ja")
    app.selectbox(key="condition").set_value(3).run()
    assert not _healthy(app).error
    assert not _ladder(app, "ja").equals(before)


def _ladder(app: AppTest, lang: Language) -> pd.DataFrame:
    heading = translate("What counts most", lang)
    return next(frame.value for frame in app.dataframe if heading in frame.value.columns)


def test_intervals_say_whether_they_hold_the_models_own_uncertainty(finished: dict[str, str]) -> None:
    said = "fitted to random halves of the rows"
    assert said in _text(_open("unseen", finished["suppliers"]))
    assert said not in _text(_open("unseen", finished["assembly"]))
    for name in finished:
        assert _open("train", finished[name]).error == []


def test_a_list_is_scored_and_wrong_cells_are_named(finished: dict[str, str]) -> None:
    app = _open("unseen", finished["assembly"])
    app.button(key="sample_list").click().run()
    scored = next(frame.value for frame in app.dataframe if len(frame.value) == 30)
    assert "Row" in scored.columns
    content = b"c_seal,c_bearing,note\nNBR lip,tapered roller,a\nrubber,Hall,b\n"
    app.file_uploader(key="list_upload").upload("mine.csv", content)
    app.run()
    assert not _healthy(app).error
    assert "mine.csv: 1 rows were not scored, for 2 reasons" in _text(app)
    assert "not used: note" in _text(app)
    errors = app.dataframe[-1].value
    assert errors[["Row", "Column"]].to_numpy().tolist() == [[3, "c_seal"], [3, "c_bearing"]]
    assert "row 3, column 'c_seal': expected one of" in errors["What is wrong"][0]
    assert app.dataframe[-2].value["Row"].tolist() == [2]
    app.file_uploader(key="list_upload").upload("mine.csv", b"c_seal,c_lager\nNBR lip,Hall\n")
    app.run()
    assert "no column 'c_bearing'" in _healthy(app).error[0].value.replace("\\", "")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_unknown_run_is_said_so(lang: Language) -> None:
    for page, app in _walk("unknown", lang, names=("overview", *RESULTS, "train")):
        assert len(app.error) == 1, page
        assert _has_japanese(app.error[0].value) == (lang == "ja")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_waiting_run_says_so(lang: Language, queued: str) -> None:
    for page, app in _walk(queued, lang, names=("overview", *RESULTS, "train")):
        assert not app.error, page
        assert translate("Waiting for its turn" if page == "train" else "Waiting", lang) in _text(app), page


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"held_out": {"n": 3}, "train": null}'])
def test_a_damaged_evaluation_is_one_sentence(damage: str, copy_of_finished: str) -> None:
    file = RunStore().folder(copy_of_finished).evaluation
    whole = file.read_text(encoding="utf-8")
    names = ("overview", *RESULTS, "train") if damage == "{" else ("overview",)
    try:
        file.write_text(damage, encoding="utf-8")
        for page, app in _walk(copy_of_finished, "ja", names=names):
            assert len(app.error) == 1, page
            assert "もう一度実行" in app.error[0].value
    finally:
        file.write_text(whole, encoding="utf-8")


def test_a_verdict_of_no_trust_greys_every_number(copy_of_finished: str) -> None:
    file = RunStore().folder(copy_of_finished).evaluation
    whole = file.read_text(encoding="utf-8")
    record = json.loads(whole)
    for part in ("held_out", "train"):
        record[part]["log_partition"] |= {"verdict": "do not trust", "mae": 1.7}
    try:
        file.write_text(json.dumps(record), encoding="utf-8")
        app = _open("partition", copy_of_finished)
        assert "Do not trust" in _text(app)
        assert not app.subheader, "no number is large"
    finally:
        file.write_text(whole, encoding="utf-8")


def test_a_failed_run_says_why_and_what_to_do() -> None:
    lang: Language = "ja"
    store = RunStore(idle_seconds=1.0)
    dataset = store.add_dataset(SAMPLES / "suppliers.csv", "suppliers.csv")
    run = store.submit(RunSpec(dataset.sha256, dataset.name, settings={"affinity": "pairwise"}))
    assert wait_until_ended(store, run) is State.FAILED
    app = _open("train", run, lang)
    assert len(app.error) == 1
    assert app.button(key="resume").label == translate("Take it up again", lang)
    _healthy(app.button(key="again").click().run())
    assert app.button(key="start").label == translate("Start training", lang)
    assert not _open("partition", run, lang).error


def test_start_cancel_and_take_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    store = RunStore(idle_seconds=1.0)
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params["dataset"] = store.add_dataset(SAMPLES / "suppliers.csv", "suppliers.csv").sha256
    app.query_params["depth"] = "expert"
    app.run()
    app.switch_page("views/train.py").run()
    app.number_input(key="epochs").set_value(300)
    app.number_input(key="processes").set_value(2)
    _healthy(app.button(key="start").click().run())
    run = str(app.query_params["run"][0] if isinstance(app.query_params["run"], list) else app.query_params["run"])
    again = AppTest.from_file(MAIN, default_timeout=60)
    again.query_params.update({key: app.query_params[key] for key in ("dataset", "depth")})
    again.run()
    again.switch_page("views/train.py").run()
    again.number_input(key="epochs").set_value(300)
    again.number_input(key="processes").set_value(2)
    again.button(key="start").click().run()
    second = again.query_params["run"]
    assert run in second, "an equal run under way is joined, not started twice"
    assert store.run(run).spec.processes == 2
    app.button(key="cancel").click().run()
    assert wait_until_ended(store, run) is State.CANCELLED
    app.run()
    assert "cancelled" in _text(_healthy(app))
    app.button(key="resume").click().run()
    assert store.run(run).state in (State.QUEUED, State.RUNNING)
    time.sleep(0.1)
    store.cancel(run)
    assert wait_until_ended(store, run) is State.CANCELLED


def test_every_setting_has_a_word() -> None:
    for codes in (AFFINITIES, PROPOSALS, REFERENCES, LOG_PARTITIONS, DEVICES, DIVERGENCES):
        assert set(codes) <= set(WORDS)


def test_the_size_of_a_space_and_its_time() -> None:
    table = read_table("assembly.csv", content=(SAMPLES / "assembly.csv").read_bytes())
    outputs = read_examples(table, guess_roles(table)).outputs
    assert round(2.718281828459045 ** log_combinations(outputs)) == 225_000
    low, high = expected_seconds(outputs, 420, None, None)
    assert 5 < low < high < 600
