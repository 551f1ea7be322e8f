"""The page Decisions: values, guarantee, policy; in both languages, with bad values, and nothing computed twice."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from app.components import decision_service
from app.text import FOLDER, Language
from jebm_core.fitted import FittedModel
from jebm_core.report import answer_decisions
from tests.app.conftest import healthy

MAIN = FOLDER.parent / "main.py"


def _open(run: str | None, lang: Language = "en") -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=90)
    app.query_params["lang"] = lang
    if run is not None:
        app.query_params["run"] = run
    app.run()
    app.switch_page("views/decisions.py").run()
    return healthy(app)


def _text(app: AppTest) -> str:
    return "\n".join(str(part.value).replace("\\", "") for part in [*app.markdown, *app.caption, *app.info, *app.error])


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_finished_run_has_an_answer_a_guarantee_and_both_charts(lang: Language, finished: dict[str, str]) -> None:
    app = _open(finished["assembly"], lang)
    assert not app.error
    assert len(app.get("plotly_chart")) == 2
    if lang == "en":
        assert "Following the policy is worth" in _text(app)
        assert "Guarantee: on average over 84 calibration rows" in _text(app)
    app.selectbox(key="delta").set_value(0.1).run()
    if lang == "en":
        assert "with 90 % certainty" in _text(healthy(app))
    assert not healthy(app).error


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize(("key", "value", "part"), [("alpha", 1.5, "1.5"), ("alpha", 0.0, "0"), ("bonus", -3.0, "−3")])
def test_a_bad_value_is_one_sentence(
    lang: Language, key: str, value: float, part: str, finished: dict[str, str]
) -> None:
    app = _open(finished["assembly"], lang)
    app.number_input(key=key).set_value(value).run()
    assert len(healthy(app).error) == 1
    assert part in app.error[0].value.replace("\\", "")
    app.number_input(key=key).set_value(0.3).run()
    assert not healthy(app).error


def test_an_empty_cell_is_one_sentence(finished: dict[str, str]) -> None:
    from jebm_core.errors import SpecError
    from jebm_core.tables import OutputSchema

    schema = OutputSchema("subsets", ("a",), ("y_a",), ((),))
    frame = decision_service.first_values(schema)
    for cell, part in ((None, "None"), (-1.0, "at least 0"), (float("inf"), "inf")):
        with pytest.raises(SpecError) as caught:
            decision_service.edited_values(frame.assign(miss=[cell]), schema, decision_service.Besides(), "table")
        assert "labels.a.miss" in str(caught.value)
        assert part in str(caught.value)


def test_costs_by_size_and_a_row_left_alone_are_part_of_the_values() -> None:
    from jebm_core.errors import SpecError
    from jebm_core.tables import OutputSchema

    schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
    frame = decision_service.first_values(schema)

    def values(size: object, cost: object) -> decision_service.ValueTable:
        sizes = pd.DataFrame({"size": [size], "cost": [cost]})
        besides = decision_service.Besides(bonus=2.0, not_acting=0.5, sizes=sizes)
        return decision_service.edited_values(frame, schema, besides, "table")

    found = values(2, 0.25)
    assert (found.cost_per_item, found.not_acting, found.exact_bonus) == (((2, 0.25),), 0.5, 2.0)
    assert decision_service.values_of(found.to_record(), schema, "table").to_record() == found.to_record()
    for size, cost, part in ((3, 1.0, "sizes from 0 to 2"), (1.5, 1.0, "1.5"), (None, 1.0, "None"), (1, None, "None"),
                             (1, -1.0, "at least 0")):  # fmt: skip
        with pytest.raises(SpecError) as caught:
            values(size, cost)
        assert part in str(caught.value)


def test_a_row_left_alone_is_worth_what_is_typed(finished: dict[str, str]) -> None:
    app = _open(finished["assembly"])
    app.number_input(key="not_acting").set_value(0.75).run()
    ways = next(table.value for table in healthy(app).dataframe if len(table.value) == 5)
    assert 0.75 in ways.iloc[:, 1].tolist()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the model was asked; it still answers."""
    calls: list[int] = []
    real = FittedModel.weighted_draws

    def asked(self: FittedModel, *args: object, **kwargs: object) -> object:
        calls.append(1)
        return real(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(FittedModel, "weighted_draws", asked)
    return calls


def test_a_second_visit_and_another_risk_ask_the_model_nothing(finished: dict[str, str], counted: list[int]) -> None:
    app = _open(finished["assembly"])
    app.number_input(key="bonus").set_value(2.5).run()
    before = len(counted)
    assert before > 0
    app.number_input(key="alpha").set_value(0.35).run()
    app.switch_page("views/calibration.py").run()
    app.switch_page("views/decisions.py").run()
    assert not healthy(app).error
    app = _open(finished["assembly"])
    app.number_input(key="bonus").set_value(2.5).run()
    assert len(counted) == before


def test_rankings_and_no_run_say_what_is_missing(finished: dict[str, str]) -> None:
    assert "this run ranks items" in _text(_open(finished["suppliers"]))
    assert _open(None).button(key="empty_action").label == "Go to training"


def test_verdicts_of_the_answer() -> None:
    record = {
        "n": 100, "verdict": "trusted", "with_policy": [2.0, 1.0, 3.0], "not_acting": 0.0,
        "gain_not_acting": [2.0, 1.0, 3.0, 0.001], "gain_independent": [0.1, -0.1, 0.3, 0.4],
        "guarantee": {"kind": "crc", "loss": "exact", "coverage": 0.8, "alpha": 0.1, "delta": 0.0, "n": 100},
    }  # fmt: skip
    assert answer_decisions(record).verdict == "trusted"
    for change in (
        {"n": 20},
        {"gain_not_acting": [0.1, -0.1, 0.3, 0.5]},
        {"gain_independent": [-0.2, -0.3, -0.1, 0.001]},
        {"verdict": "caution"},
        {"guarantee": {**record["guarantee"], "coverage": 0.0}},
    ):
        assert answer_decisions({**record, **change}).verdict == "caution"
    assert answer_decisions({**record, "verdict": "do not trust"}).flagged
    for kind, loss in (("crc", "items"), ("ltt", "exact"), ("ltt", "items")):
        given = {**record["guarantee"], "kind": kind, "loss": loss, "delta": 0.1}
        assert "Guarantee:" in "".join(map(str, answer_decisions({**record, "guarantee": given}).reasons))


def test_the_policy_of_the_page_is_one_that_predict_reads(finished: dict[str, str], tmp_path: Path) -> None:
    from jebm_core.decisions.policy import read_policy
    from jebm_core.fitted import load
    from jebm_core.runs import RunStore

    run = finished["assembly"]
    model = load(RunStore().folder(run).model)
    schema = model.record.schema
    values = decision_service.edited_values(
        decision_service.first_values(schema), schema, decision_service.Besides(unit="JPY"), "table"
    )
    text = decision_service._policy(run, values.to_record(), ("items", 0.2, None), "caution")
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_policy(path, model).values.currency == "JPY"
    assert yaml.safe_load(text)["escalation"]["rows"] == 336
