"""Recalibration and learning curves from the page: offered, going on, done, failed, cancelled; in both languages."""

import json

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from app.text import FOLDER, Language
from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.database import Database
from jebm_core.runs.records import FIT, LEARNING_CURVE, RECALIBRATE, State
from jebm_core.runs.schema import run as run_table
from tests.app.conftest import SMALL, healthy, wait_until_ended, with_data

MAIN = FOLDER.parent / "main.py"
PAGES = {RECALIBRATE: "views/calibration.py", LEARNING_CURVE: "views/train.py"}


def opened(run: str, page: str, lang: Language = "en", depth: str = "business") -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params["lang"], app.query_params["run"], app.query_params["depth"] = lang, run, depth
    app.run()
    app.switch_page(page).run()
    return healthy(app)


def said(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.subheader]
    return "\n".join(str(part.value).replace("\\", "") for part in parts)


def keys(app: AppTest) -> list[str]:
    return [str(button.key) for button in app.button]


def done(run: str, kind: str, key: str, method: str = "") -> str:
    """Start the work by its button unless it has been done before, and wait."""
    store = RunStore(idle_seconds=1.0)
    found = [view for view in store.about(run, kind) if view.spec.method == method]
    if not found:
        app = opened(run, PAGES[kind], depth="expert" if method == "vector" else "business")
        if method == "vector":
            app.segmented_control(key="recalibration_method").set_value("vector").run()
        healthy(app.button(key=key).click().run())
        found = [view for view in store.about(run, kind) if view.spec.method == method]
        assert len(found) == 1
    assert wait_until_ended(store, found[0].id) is State.SUCCEEDED, str(store.run(found[0].id).message)
    return found[0].id


@pytest.fixture
def run(finished: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return finished["suppliers"]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_recalibrated_run_is_a_run_of_its_own(lang: Language, run: str) -> None:
    made = done(run, RECALIBRATE, "start_recalibrate", "temperature")
    assert made in [view.id for view in RunStore().list_runs()]
    app = opened(run, PAGES[RECALIBRATE], lang)
    table = app.table[-1].value
    record = json.loads(RunStore().folder(made).evaluation.read_text(encoding="utf-8"))["recalibration"]
    assert len(table) == len(record["changes"]) == 4
    assert f"{100 * record['changes'][0]['after']:.1f}" in str(table.iloc[0].tolist())
    app.button(key="open_recalibrated").click().run()
    assert app.query_params["run"] in (made, [made])
    assert len(healthy(app).table[-1].value) == 4
    assert "start_recalibrate" not in keys(app)
    for page in ("views/partition.py", "views/unseen.py", "views/decisions.py", "views/overview.py", "views/train.py"):
        healthy(app.switch_page(page).run())
    app.button(key="open_trained").click().run()
    assert app.query_params["run"] in (run, [run])


def test_a_recalibrated_run_has_replicates_where_its_parent_has(run: str) -> None:
    made = done(run, RECALIBRATE, "start_recalibrate", "temperature")
    folders = [RunStore().folder(name).model / "replicates" for name in (run, made)]
    assert len(list(folders[0].iterdir())) == len(list(folders[1].iterdir())) == 2


def test_experts_may_shift_every_part(run: str) -> None:
    made = done(run, RECALIBRATE, "start_recalibrate", "vector")
    record = json.loads(RunStore().folder(made).evaluation.read_text(encoding="utf-8"))["recalibration"]
    assert len(record["shift"]) > 1
    app = opened(run, PAGES[RECALIBRATE], depth="expert")
    app.segmented_control(key="recalibration_method").set_value("vector").run()
    assert f"a shift for each of {len(record['shift'])} parts" in said(app)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_learning_curve_is_an_answer_and_no_run_of_the_list(lang: Language, run: str) -> None:
    made = done(run, LEARNING_CURVE, "start_learning_curve")
    assert made not in [view.id for view in RunStore().list_runs()]
    app = opened(run, PAGES[LEARNING_CURVE], lang)
    found = json.loads(RunStore().folder(made).study.read_text(encoding="utf-8"))
    tables = [table.value for table in with_data(app).dataframe]
    frame = next(table for table in tables if len(table) == len(found["rows"]) + len(found["ahead"]))
    assert frame.iloc[: len(found["rows"]), 0].tolist() == found["rows"]
    assert "start_learning_curve" not in keys(app)


def test_a_study_can_be_cancelled_and_started_again(run: str) -> None:
    def page() -> None:
        import streamlit as st

        from app.components.study import study
        from jebm_core.runs import RunStore
        from jebm_core.runs.records import LEARNING_CURVE

        study(RunStore().run(st.query_params["run"]), LEARNING_CURVE, "Find out", ":material/timeline:")

    store = RunStore(idle_seconds=1.0)
    spec = store.run(run).spec
    parent = store.enqueue(spec)
    with Database(store.home.database).writing() as connection:  # as if it had been done
        connection.execute(update(run_table).where(run_table.c.id == parent).values(state="succeeded"))
    studied = store.submit(RunSpec(spec.dataset, spec.dataset_name, kind_of_work=LEARNING_CURVE, parent=parent))
    app = AppTest.from_function(page, default_timeout=60)
    app.query_params["run"] = parent
    assert keys(healthy(app.run())) == ["cancel_learning_curve"]
    app.button(key="cancel_learning_curve").click().run()
    assert wait_until_ended(store, studied) is State.CANCELLED
    assert keys(healthy(app.run())) == ["start_learning_curve"]
    assert "cancelled" in said(app)
    store.delete(parent)
    assert store.about(parent, LEARNING_CURVE) == ()


@pytest.mark.parametrize(("lang", "part"), [("en", "rows to choose by"), ("ja", "温度を選ぶための行")])
def test_too_few_rows_to_choose_by_is_one_sentence(lang: Language, part: str, run: str) -> None:
    store = RunStore(idle_seconds=1.0)
    few = store.add_dataset(
        b"x_a,y_a,y_b\n" + b"".join(b"%d,%d,%d\n" % (n % 7, n % 2, n % 3 == 0) for n in range(60)), "few.csv"
    )
    fits = [view for view in store.list_runs() if view.spec.kind_of_work == FIT]
    same = [view.id for view in fits if view.spec.dataset == few.sha256]
    small = same[0] if same else store.submit(RunSpec(few.sha256, few.name, settings=SMALL))
    assert wait_until_ended(store, small) is State.SUCCEEDED
    if not store.about(small, RECALIBRATE):
        healthy(opened(small, PAGES[RECALIBRATE]).button(key="start_recalibrate").click().run())
    assert wait_until_ended(store, store.about(small, RECALIBRATE)[0].id) is State.FAILED
    app = opened(small, PAGES[RECALIBRATE], lang)
    assert part in said(app)
    assert "start_recalibrate" in keys(app)
