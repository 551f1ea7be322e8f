"""The list of runs and their comparison: links, filters, what is said of pairs, of other data, of other outputs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import pages
from app.components.run_compare import MEASURES
from app.components.run_differences import SETTINGS
from app.text import FOLDER, Language, translate
from app.text.numbers import decimal
from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.records import State
from jebm_core.settings import FitSettings
from tests.app.conftest import SAMPLES, SMALL, healthy, small_spec, wait_until_ended

MAIN = FOLDER.parent / "main.py"
LANGUAGES: tuple[Language, ...] = ("en", "ja")


def opened(lang: Language = "en", page: str = "runs", **query: str) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params.update({"lang": lang, **query})
    app.run()
    if page != "overview":
        app.switch_page(f"views/{page}.py").run()
    return healthy(app)


def said(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.subheader, *app.text]
    return "\n".join(str(part.value).replace("\\", "").replace("\u00a0", " ") for part in parts)


def in_url(app: AppTest, key: str) -> str:
    found = app.query_params.get(key, "")
    return found[0] if isinstance(found, list) else found


def frame_with(app: AppTest, heading: str) -> pd.DataFrame:
    return next(table.value for table in app.table if table.value.index.name == heading)


@pytest.fixture(scope="module")
def runs(finished: dict[str, str]) -> dict[str, str]:
    """Beside the finished runs: ``rival`` on the suppliers with another score, ``other`` on most of their rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        store = RunStore(idle_seconds=1.0)
        lines = (SAMPLES / "suppliers.csv").read_bytes().splitlines(keepends=True)
        most = store.add_dataset(b"".join(lines[:-20]), "suppliers.csv")
        made = {
            "rival": store.submit(small_spec("suppliers", affinity="unary", seed=1)),
            "other": store.submit(RunSpec(most.sha256, most.name, settings=SMALL)),
        }
        for name, run in made.items():
            assert wait_until_ended(store, run) is State.SUCCEEDED, (name, str(store.run(run).message))
    return {**finished, **made}


@pytest.fixture
def cancelled(no_runner: None) -> Iterator[str]:
    """A run that was cancelled before it started."""
    store = RunStore()
    run = store.enqueue(small_spec("suppliers", affinity="unary", seed=77))
    store.cancel(run)
    assert store.run(run).state is State.CANCELLED
    yield run
    if run in [view.id for view in store.list_runs()]:
        store.delete(run)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_comparison_is_a_link(lang: Language, runs: dict[str, str]) -> None:
    pair = f"{runs['suppliers']},{runs['rival']}"
    app = opened(lang, runs=pair)
    assert not app.error
    text = said(app)
    verdicts = [translate(word, lang) for word in ("Trusted", "Caution", "Do not trust")]
    assert any(word in text for word in verdicts)
    nats = r"\(.+ nat\)" if lang == "en" else "（.+ナット）"
    assert re.search(nats, text.split("All runs")[0])
    assert "explain" not in text
    heading = translate("Measure", lang)
    numbers = frame_with(app, heading)
    first = RunStore().folder(runs["suppliers"]).evaluation.read_text(encoding="utf-8")
    nll = float(re.search(r'"nll": ([\d.]+)', first)[1])  # pyright: ignore[reportOptionalSubscript]
    assert numbers["A"].iloc[0] == decimal(nll, lang)
    different = frame_with(app, translate("Setting", lang))
    assert translate("Score (affinity)", lang) in different.index
    assert translate("Data", lang) not in different.index, "what is the same is left out"
    assert (different["A"] != different["B"]).all()
    assert in_url(app, "runs") == pair
    app.switch_page("views/glossary.py").run()
    assert not in_url(app, "runs"), "it stands in the link of its own page only"
    app.switch_page("views/runs.py").run()
    assert in_url(app, "runs") == pair


def test_the_same_run_three_times_over_is_no_difference(runs: dict[str, str]) -> None:
    made = {"lang": "en", "depth": "expert"}
    three = ",".join(runs[name] for name in ("suppliers", "rival", "other"))
    app = opened(**made, runs=three)
    assert "judged on other data, so rows can't be paired" in said(app)
    assert len(frame_with(app, "Measure").columns) == 3 + 2
    assert "Data" in frame_with(app, "Setting").index
    assert len(app.get("latex")) == 1


def test_runs_with_other_outputs_are_told_apart_by_their_settings_only(runs: dict[str, str]) -> None:
    app = opened(runs=f"{runs['suppliers']},{runs['assembly']}")
    assert "no common scale" in said(app)
    assert "Not done yet" in said(app)
    assert [table.value.index.name for table in app.table] == ["Setting"]
    assert "Outputs" in app.table[0].value.index


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("names", [("suppliers",), ("suppliers", "suppliers"), ("suppliers", "unknown")])
def test_a_link_that_names_no_pair_says_so(names: tuple[str, ...], lang: Language, runs: dict[str, str]) -> None:
    app = opened(lang, runs=",".join(runs.get(name, name) for name in names))
    assert len(app.error) == 1
    assert any(mark > "\u3040" for mark in str(app.error[0].value)) == (lang == "ja")
    healthy(app.button(key="leave_comparison").click().run())
    assert not in_url(app, "runs")
    assert not app.error


def test_an_unfinished_run_is_not_compared(cancelled: str, runs: dict[str, str]) -> None:
    app = opened(runs=f"{runs['suppliers']},{cancelled}")
    assert f"Run {cancelled} has not finished" in str(app.error[0].value)


def test_ticks_become_a_comparison(runs: dict[str, str]) -> None:
    app = opened(find="suppliers")
    assert app.button(key="compare_runs").disabled
    app.checkbox(key=f"tick_{runs['rival']}").check().run()
    assert "A ·" in app.checkbox(key=f"tick_{runs['rival']}").label
    assert app.button(key="compare_runs").disabled
    app.checkbox(key=f"tick_{runs['suppliers']}").check().run()
    assert app.button(key="compare_runs").label == "Compare 2 runs"
    healthy(app.button(key="compare_runs").click().run())
    assert in_url(app, "runs") == f"{runs['rival']},{runs['suppliers']}"
    assert [table.value.index.name for table in app.table] == ["Measure", "Setting"]
    healthy(app.button(key="compare_clear").click().run())
    assert not in_url(app, "runs")
    assert not app.table
    healthy(app.button(key="compare_newest").click().run())
    assert len(in_url(app, "runs").split(",")) == 2


def test_a_run_that_never_began_has_no_start(cancelled: str, runs: dict[str, str]) -> None:
    (began,) = opened(find=runs["suppliers"], columns="started").text
    assert re.search(r"20\d\d", began.value)
    (never,) = opened(find=cancelled, columns="started").text
    assert never.value == "–"


def test_filters_and_columns_are_part_of_the_link(cancelled: str, runs: dict[str, str]) -> None:
    app = opened(states="cancelled,nonsense", columns="best,name,nonsense", data="nonsense")
    assert app.multiselect(key="run_states").value == ["cancelled"]
    assert app.multiselect(key="run_columns").value == ["best", "name"]
    assert cancelled in said(app)
    assert runs["assembly"] not in said(app)
    app.multiselect(key="run_states").set_value([]).run()
    assert not in_url(app, "states")
    app.text_input(key="run_find").set_value("ASSEMBL").run()
    assert in_url(app, "find") == "ASSEMBL"
    assert runs["assembly"] in said(app)
    assert cancelled not in said(app)
    app.text_input(key="run_find").set_value("nothing like it").run()
    assert "No run is like that" in said(app)
    healthy(app.button(key="filters_off").click().run())
    assert cancelled in said(app)
    app.multiselect(key="run_columns").set_value([]).run()
    assert in_url(app, "columns") == "-"
    again = opened(columns="-")
    assert again.multiselect(key="run_columns").value == []


def keys(app: AppTest) -> list[str]:
    return [str(button.key) for button in app.button]


def test_deleting_names_what_goes_and_asks(cancelled: str, runs: dict[str, str]) -> None:
    app = opened()
    healthy(app.menu_button(key=f"menu_{cancelled}").click("delete").run())
    assert "Its model, curves and evaluation" in said(app)
    assert "The data file" not in said(app), "other runs need it"
    healthy(app.button(key="delete_no").click().run())
    assert "delete_yes" not in keys(app)
    app.menu_button(key=f"menu_{cancelled}").click("delete").run()
    healthy(app.button(key="delete_yes").click().run())
    assert cancelled not in [view.id for view in RunStore().list_runs()]
    assert runs["suppliers"] in [view.id for view in RunStore().list_runs()]


def test_a_run_is_duplicated_with_its_settings_laid_out(runs: dict[str, str]) -> None:
    app = opened()
    healthy(app.menu_button(key=f"menu_{runs['rival']}").click("duplicate").run())
    assert app.selectbox(key="affinity").value == "unary"
    assert app.number_input(key="epochs").value == SMALL["epochs"]
    assert app.number_input(key="seed").value == 1
    assert in_url(app, "dataset") == RunStore().run(runs["rival"]).spec.dataset


def test_a_cancelled_run_is_taken_up_again(cancelled: str, runs: dict[str, str]) -> None:
    app = opened()
    healthy(app.menu_button(key=f"menu_{cancelled}").click("resume").run())
    assert RunStore().run(cancelled).state is State.QUEUED
    assert "It starts within a few seconds" in said(app)
    healthy(app.button(key=f"cancel_{cancelled}").click().run())
    assert RunStore().run(cancelled).state is State.CANCELLED


def test_every_setting_and_score_has_a_word() -> None:
    assert set(FitSettings().to_json()) <= set(SETTINGS)
    for word in (*SETTINGS.values(), *MEASURES.values()):
        assert translate(word, "ja")
        assert translate(word, "en") == word


def test_depth_hides_and_never_changes_a_number(runs: dict[str, str]) -> None:
    query = {"run": runs["suppliers"], "runs": f"{runs['suppliers']},{runs['rival']}"}
    business, expert = (opened("en", "overview", depth=depth, **query) for depth in ("business", "expert"))
    equations = 0
    for page in [Path(entry.file).stem for entry in pages.PAGES]:
        if page != "overview":
            for app in (business, expert):
                healthy(app.switch_page(f"views/{page}.py").run())
        assert not business.get("latex"), page
        equations += len(expert.get("latex"))
        shown, more = ([line.value for line in app.subheader] for app in (business, expert))
        assert [line for line in more if line in shown] == shown, page
        assert not set(said(business).splitlines()) - set(said(expert).splitlines()), page
        for kind in ("table", "plotly_chart"):
            assert len(business.get(kind)) <= len(expert.get(kind)), page
    assert equations > 5
