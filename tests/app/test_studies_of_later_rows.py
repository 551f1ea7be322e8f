"""Drift from the page: later rows uploaded, compared, drifted or not, refused; in both languages."""

import json
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.text import Language
from jebm_core.runs import RunStore
from jebm_core.runs.records import DRIFT, State
from tests.app.conftest import SAMPLES, healthy, small_spec, wait_until_ended
from tests.app.test_studies import keys, opened, said

TRAIN = "views/train.py"


@pytest.fixture
def run(finished: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return finished["suppliers"]


def table() -> pd.DataFrame:
    return pd.read_csv(SAMPLES / "suppliers.csv")


def compared(run: str, name: str, content: bytes, lang: Language = "en") -> tuple[AppTest, str]:
    """The page once the uploaded rows have been compared, and the study."""
    store = RunStore(idle_seconds=1.0)
    app = opened(run, TRAIN, lang)
    app.file_uploader(key=f"later_{run}_file").upload(name, content)
    healthy(app.run())
    if "start_drift" in keys(app):
        healthy(app.button(key="start_drift").click().run())
    study = store.about(run, DRIFT)[0]
    assert wait_until_ended(store, study.id) in (State.SUCCEEDED, State.FAILED)
    return healthy(app.run()), study.id


def test_rows_that_drifted_are_called_so_and_others_are_not(run: str) -> None:
    rows = table()
    ranks = [name for name in rows.columns if name.startswith("r_")]
    app, study = compared(run, "same.csv", rows.to_csv(index=False).encode())
    found = json.loads(RunStore().folder(study).study.read_text("utf-8"))
    assert (found["rows_after"], found["drifted"]) == (300, [])
    assert "nothing in these 300 rows differs" in said(app)
    assert set(_frame(app, found).iloc[:, -1]) == {"no"}
    rows[ranks] = 1 + len(ranks) - rows[ranks]  # the best supplier becomes the worst
    app, study = compared(run, "later.csv", rows.to_csv(index=False).encode())
    found = json.loads(RunStore().folder(study).study.read_text("utf-8"))
    assert {"outputs", "likelihood"} <= set(found["drifted"])
    assert "how well they are predicted" in said(app)
    assert study not in [view.id for view in RunStore().list_runs()]
    again = opened(run, TRAIN, "ja")  # the newest comparison is there when the page is opened again
    assert "later.csv" in said(again)
    assert "予測の当たりやすさ" in said(again)
    assert {"あり"} < set(_frame(again, found).iloc[:, -1])


def _frame(app: AppTest, found: dict[str, Any]) -> pd.DataFrame:
    return next(one.value for one in app.dataframe if len(one.value) == len(found["inputs"] + found["outputs"]))


def test_too_few_later_rows_are_refused(run: str) -> None:
    app, study = compared(run, "few.csv", table().head(5).to_csv(index=False).encode())
    try:
        assert RunStore().run(study).state is State.FAILED
        assert "expected at least 20 complete rows" in said(app)
        assert "欠けのない行が20行以上必要です" in said(opened(run, TRAIN, "ja"))
    finally:
        RunStore().delete(study)  # other tests open the same run


def test_a_file_that_is_no_table_is_not_kept(run: str) -> None:
    before = RunStore().datasets()
    app = opened(run, TRAIN)
    app.file_uploader(key=f"later_{run}_file").upload("rows.parquet", b"no parquet")
    app.run()
    assert not app.exception
    assert "Nothing was kept" in said(app)
    assert RunStore().datasets() == before


def test_a_run_without_held_out_rows_says_what_to_do(run: str) -> None:
    from dataclasses import replace

    store = RunStore(idle_seconds=1.0)
    spec = replace(small_spec("suppliers"), hold_out_fraction=0.0)
    alone = next((view.id for view in store.list_runs() if view.spec == spec), None) or store.submit(spec)
    assert wait_until_ended(store, alone) is State.SUCCEEDED
    app = opened(alone, TRAIN)
    assert "held out no rows to compare" in said(app)
    assert f"later_{alone}_file" not in [str(box.key) for box in app.file_uploader]
