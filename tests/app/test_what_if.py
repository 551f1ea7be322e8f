"""One part changed on the page: the effect, what drives it, features, the smallest flip, in both languages."""

import json

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from app.charts import MOST_BARS, contribution_bars
from app.text import Language, translate
from jebm_core.runs import RunStore
from tests.app.conftest import with_data
from tests.app.test_runs_on_pages import LANGUAGES, _has_japanese, _healthy, _open, _text

TYPED = -1


def _terms(app: AppTest) -> list[float]:
    """The contributions of the chart of terms, from its table."""
    frame = next(
        frame.value for frame in with_data(app).dataframe if list(frame.value.columns[:3]) == ["Kind", "Term", "Before"]
    )
    return frame.iloc[:, -1].tolist()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_part_is_changed(lang: Language, finished: dict[str, str]) -> None:
    app = _open("unseen", finished["assembly"], lang)
    assert not app.error
    assert translate("Change one part", lang) in [part.value for part in app.subheader]
    assert translate("Choose one row under “Conditions” to see what each feature adds.", lang) in _text(app)
    before = _text(app)
    app.selectbox(key="what_if_part").set_value(1).run()
    assert _text(_healthy(app)) != before
    app.selectbox(key="condition").set_value(3).run()
    assert not _healthy(app).error
    note = "Under one row of conditions the log-partition cancels in the ratio, so there is no interval of it."
    assert translate(note, lang) in _text(app)
    app.button(key="what_if_flip").click().run()
    assert not _healthy(app).error
    said = [
        translate(words, lang).split("{")[0 if words[0] != "{" else 2].split("}")[-1]
        for words in (
            "{changes}: from {before} to {after}. No smaller change crosses {threshold}.",
            "No change whatever crosses {threshold}; all combinations were looked at.",
        )
    ]
    assert any(words in _text(app) for words in said)
    app.selectbox(key="what_if_start").set_value(TYPED).run()
    app.selectbox(key="what_if_slot_seal").set_value(2).run()
    assert not _healthy(app).error
    app.selectbox(key="outcome").set_value(("", "")).run()
    assert not _healthy(app).error


def test_the_bars_are_the_sum_of_the_change(finished: dict[str, str]) -> None:
    app = _open("unseen", finished["assembly"])
    app.selectbox(key="condition").set_value(2).run()
    app.selectbox(key="outcome").set_value(("", "")).run()
    line = next(part.value for part in _healthy(app).markdown if "Probability\\: from" in part.value)
    ratio = float(line.split("%, ")[-1].split(" ×")[0].replace(",", ""))
    total = sum(_terms(app))
    assert ratio == pytest.approx(2.718281828**total, rel=0.02)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rankings_are_changed_by_place(lang: Language, finished: dict[str, str]) -> None:
    app = _open("unseen", finished["suppliers"], lang)
    app.selectbox(key="what_if_start").set_value(TYPED).run()
    assert not _healthy(app).error
    app.multiselect(key="what_if_order").set_value([]).run()
    assert translate("Choose every item once, from first to last.", lang) in _text(_healthy(app))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_run_of_no_trust_mutes_every_number(lang: Language, finished: dict[str, str]) -> None:
    file = RunStore().folder(finished["assembly"]).evaluation
    whole = file.read_text(encoding="utf-8")
    record = json.loads(whole)
    for part in ("held_out", "train"):
        if record[part]:
            record[part]["log_partition"] |= {"verdict": "do not trust", "mae": 1.7}
            record[part]["unseen"]["model"] |= {"value": 0.99, "low": 0.98, "high": 1.0}
            record[part]["unseen"]["observed"] |= {"value": 0.01, "low": 0.0, "high": 0.02}
    try:
        file.write_text(json.dumps(record), encoding="utf-8")
        app = _open("unseen", finished["assembly"], lang)
        assert translate("Do not trust", lang) in _text(app)
        words = "The numbers below come from a run that is not to be trusted; take none of them for a fact."
        assert translate(words, lang) in [part.value for part in app.caption]
        bold = [part.value for part in app.markdown if part.value.startswith("**") and "%" in part.value]
        assert len(bold) == 1, "nothing but the answer itself, with its verdict"
    finally:
        file.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_ladder_says_what_drives_each(lang: Language, finished: dict[str, str]) -> None:
    app = _open("unseen", finished["assembly"], lang)
    app.selectbox(key="outcome").set_value(("", "")).run()
    column = translate("What counts most", lang)
    frame = next(frame.value for frame in app.dataframe if column in frame.value.columns)
    assert all("nat" in cell or "ナット" in cell or cell == "–" for cell in frame[column])
    if lang == "ja":
        assert all(_has_japanese(cell) for cell in frame[column] if cell != "–")


def test_bars_show_the_largest_and_tell_how_many() -> None:
    names, values = [f"term {i}" for i in range(20)], [(-1) ** i * (20 - i) / 4 for i in range(20)]
    chart = contribution_bars(names, values, title="A finding", axis="nat")
    assert isinstance(chart, go.Figure)
    assert len(chart.data[0].x) == MOST_BARS
    assert chart.layout.meta == {"shown": MOST_BARS, "total": 20}
    assert chart.data[0].marker.pattern.shape[1] == "/", "not colour alone"
    assert (chart.data[0].text[0], chart.data[0].text[1]) == ("+5.00", "−4.75"), "with the minus sign of the axis"
    assert contribution_bars([], [], title="Nothing", axis="nat").layout.meta["total"] == 0
