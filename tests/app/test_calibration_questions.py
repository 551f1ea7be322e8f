"""Calibration of a person's own questions: an event, groups of rows, scores in parts; in both languages."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from app.components import calibration_service
from app.text import FOLDER, Language
from jebm_core.evaluation import measured
from jebm_core.runs import RunStore
from tests.app.conftest import healthy, with_data

MAIN = FOLDER.parent / "main.py"


def opened(run: str, lang: Language = "en", depth: str = "business") -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params["lang"], app.query_params["run"], app.query_params["depth"] = lang, run, depth
    app.run()
    app.switch_page("views/calibration.py").run()
    return healthy(app)


def said(app: AppTest) -> str:
    return "\n".join(str(part.value).replace("\\", "") for part in [*app.markdown, *app.caption, *app.error])


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("name", ["assembly", "suppliers"])
def test_the_example_that_is_shown_is_an_event_that_is_judged(
    lang: Language, name: str, finished: dict[str, str]
) -> None:
    app = opened(finished[name], lang)
    charts = len(app.get("plotly_chart"))
    field = app.text_input(key="own_event")
    field.set_value(field.placeholder).run()
    assert not healthy(app).error
    assert len(app.get("plotly_chart")) == charts + 1


@pytest.mark.parametrize(("lang", "part"), [("en", "An event is written like this"), ("ja", "のように書きます")])
def test_an_event_that_cannot_be_read_is_one_sentence(lang: Language, part: str, finished: dict[str, str]) -> None:
    app = opened(finished["assembly"], lang)
    app.text_input(key="own_event").set_value("nothing = of this").run()
    assert len(healthy(app).error) == 1
    assert part in said(app)
    app.text_input(key="own_event").set_value("").run()
    assert not healthy(app).error


def test_a_run_of_no_trust_makes_no_number_of_an_event_large(finished: dict[str, str]) -> None:
    file = RunStore().folder(finished["assembly"]).evaluation
    whole = file.read_text(encoding="utf-8")
    record = json.loads(whole)
    for part in filter(None, (record["held_out"], record["train"])):
        part["log_partition"] |= {"verdict": "do not trust", "mae": 1.7}
    large = []
    try:
        for content in (whole, json.dumps(record)):
            file.write_text(content, encoding="utf-8")
            app = opened(finished["assembly"])
            field = app.text_input(key="own_event")
            field.set_value(field.placeholder).run()
            large.append([part.value for part in healthy(app).subheader if "%" in part.value])
    finally:
        file.write_text(whole, encoding="utf-8")
    assert large[0]
    assert not large[1]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_column_groups_the_rows(lang: Language, finished: dict[str, str]) -> None:
    app = opened(finished["assembly"], lang)
    charts = len(app.get("plotly_chart"))
    choice = app.selectbox(key="group_by")
    assert len(choice.options) > 1
    for place in range(len(choice.options)):
        app.selectbox(key="group_by").select_index(place).run()
        assert not healthy(app).error
        assert len(app.get("plotly_chart")) == charts + 1


def test_quarters_of_numbers_are_named_in_the_language_of_the_page(finished: dict[str, str]) -> None:
    app = opened(finished["assembly"], "ja")
    app.selectbox(key="group_by").select_index(0).run()  # the temperature around the drive
    names = [table.value.iloc[:, 0].tolist() for table in with_data(app).dataframe if len(table.value.columns) == 8]
    assert names
    assert not any(" to " in name for name in names[0])


def test_rows_are_measured_once_for_all_columns(finished: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    measure = measured.measure
    monkeypatch.setattr(measured, "measure", lambda *args, **more: asked.append(1) or measure(*args, **more))
    for kept in (calibration_service.measured_rows, calibration_service._grouped):
        kept.clear()
    app = opened(finished["assembly"])
    assert not asked  # nobody has asked for groups yet
    for place in (0, 1, 0):
        app.selectbox(key="group_by").select_index(place).run()
    assert asked == [1]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_experts_see_scores_in_parts_that_add_up(lang: Language, finished: dict[str, str]) -> None:
    def tables(app: AppTest) -> list:
        return [table.value for table in app.dataframe]

    expert, business = (tables(opened(finished["assembly"], lang, depth)) for depth in ("expert", "business"))
    parts = next(table for table in expert if len(table) == 4 and len(table.columns) == 7)
    score, miscalibration, discrimination, uncertainty = (parts.iloc[:, place] for place in (2, 3, 4, 5))
    assert (score - (miscalibration - discrimination + uncertainty)).abs().max() < 3e-4
    assert len(business) == len(expert) - 2
