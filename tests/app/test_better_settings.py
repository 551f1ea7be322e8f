"""Trials of settings from the page: chosen, going on, found out, compared, done anew; in both languages."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.components import place
from app.components.better_settings import answer
from app.components.run_list import FELL_BEHIND
from app.samples import samples
from app.text import Language, translate
from jebm_core.runs import RunStore
from jebm_core.runs.database import Database
from jebm_core.runs.history import note_event
from jebm_core.runs.records import FIT, SWEEP, State
from jebm_core.runs.trials import PRUNED, trial_title
from tests.app.conftest import healthy, wait_until_ended, with_data
from tests.app.test_studies import keys, opened, said

TRAIN = "views/train.py"


@pytest.fixture
def run(finished: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return finished["suppliers"]


def tried(run: str) -> str:
    """The sweep of three trials around a run, started from the page unless it has been."""
    store = RunStore(idle_seconds=1.0)
    if not store.about(run, SWEEP):
        app = opened(run, TRAIN, depth="expert")
        app.segmented_control(key="sweep_trials").set_value(3).run()
        app.multiselect(key="sweep_names").set_value(["samples"]).run()
        assert "3 trials, of 5 possible choices" in said(app)
        healthy(app.button(key="start_sweep").click().run())
    sweep = store.about(run, SWEEP)[0]
    assert wait_until_ended(store, sweep.id) is State.SUCCEEDED, str(store.run(sweep.id).message)
    return sweep.id


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_trials_are_made_and_shown(lang: Language, run: str) -> None:
    found = json.loads(RunStore().folder(tried(run)).study.read_text(encoding="utf-8"))
    assert [trial["state"] for trial in found["trials"]] == ["succeeded"] * 3
    assert found["space"] == {"samples": [8, 16, 32, 64, 128]}
    app = opened(run, TRAIN, lang, depth="expert")
    with place.speaking(lang):
        assert answer(found) in said(app)
    table = next(frame.value for frame in with_data(app).dataframe if len(frame.value) == 3)
    assert table.iloc[:, 0].tolist() == [1, 2, 3]
    assert table.iloc[:, 3].tolist() == pytest.approx([trial["held_out_nll"] for trial in found["trials"]], abs=1e-4)
    assert "start_sweep" not in keys(app)


def test_a_trial_keeps_what_the_run_was_made_with(run: str) -> None:
    store = RunStore()
    mine = store.run(run).spec
    found = json.loads(store.folder(tried(run)).study.read_text(encoding="utf-8"))
    first, second = (store.run(trial["run"]).spec for trial in found["trials"][:2])
    assert first.settings == {**mine.settings, "replicates": 0}
    assert second.settings == {**mine.settings, "replicates": 0} | found["trials"][1]["choice"]
    assert (first.dataset, first.seed, first.hold_out_fraction) == (mine.dataset, mine.seed, mine.hold_out_fraction)


def test_trials_do_not_crowd_out_the_runs_that_people_started(run: str) -> None:
    store = RunStore()
    trials = {view.id for view in store.about(tried(run), FIT)}
    assert trials <= {view.id for view in store.list_runs()}
    assert not trials & {view.id for view in store.list_runs(trials=False)}
    assert run in {view.id for view in store.list_runs(trials=False)}
    shown = keys(opened(run, "views/overview.py"))
    assert f"run_{run}" in shown
    assert not {f"run_{trial}" for trial in trials} & set(shown)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_trial_that_fell_behind_was_not_cancelled(lang: Language, run: str, no_runner: None) -> None:
    store = RunStore()
    spec = store.run(run).spec
    sweep = store.about(run, SWEEP)[0].id if store.about(run, SWEEP) else run
    trial = store.enqueue(replace(spec, parent=sweep, title=trial_title(spec.dataset_name, 4)))
    try:
        with Database(store.home.database).writing() as connection:
            note_event(connection, trial, 1, PRUNED)
        store.cancel(trial)
        early, why = translate("Stopped early", lang), translate(FELL_BEHIND, lang)
        for page in (TRAIN, "views/overview.py", "views/partition.py"):
            app = opened(trial, page, lang)
            assert why in "\n".join([said(app), *(str(one.value) for one in app.warning)]), page
        listed = said(opened(trial, "views/runs.py", lang))
        assert early in listed
        (title,) = [sample.title for sample in samples(lang) if sample.file == spec.dataset_name]
        assert f"**{title} · 4**" in listed
    finally:
        store.delete(trial)


def test_trials_are_offered_again_and_need_something_to_try(run: str) -> None:
    tried(run)
    app = opened(run, TRAIN, depth="expert")
    healthy(app.button(key="sweep_again").click().run())
    assert "start_sweep" in keys(app)
    app.multiselect(key="sweep_names").set_value([]).run()
    assert "Choose at least one setting to try." in said(healthy(app))
    assert app.button(key="start_sweep").disabled


def test_everybody_else_is_not_asked_about_settings(run: str) -> None:
    tried(run)
    assert not {"start_sweep", "sweep_again"} & set(keys(opened(run, TRAIN)))


def test_the_best_trial_is_compared_with_the_run_and_opened(run: str) -> None:
    sweep = tried(run)
    file = RunStore().folder(sweep).study
    kept = file.read_text(encoding="utf-8")
    found = json.loads(kept)
    for trial in found["trials"]:  # as if the second one had come out best
        trial["held_out_objective"] = {1: 6.0, 2: 5.5, 3: 5.75}[trial["number"]]
        trial["log_partition_error"] = trial["number"] / 10
    second = found["trials"][1]["run"]
    try:
        file.write_text(json.dumps(found | {"best": 2, "pareto": [2]}), encoding="utf-8")
        app = opened(run, TRAIN, depth="expert")
        assert "Trial 2 predicts validation rows 0.500 nat better" in said(app)
        beside = next(table.value for table in app.table if "Trial 2" in table.value.columns)
        assert beside.iloc[1].tolist() == ["0.100", "0.200"], "what the best pays for its likelihood"
        app.button(key="sweep_compare").click().run()
        assert app.query_params["runs"] in (f"{run},{second}", [f"{run},{second}"])
        assert not healthy(app).error
        app = opened(run, TRAIN, depth="expert")
        app.button(key="sweep_open").click().run()
        assert app.query_params["run"] in (second, [second])
        assert not healthy(app).error
    finally:
        file.write_text(kept, encoding="utf-8")


@pytest.mark.parametrize(
    ("objectives", "best", "words"),
    [
        ([None, None], None, "No trial brought a model"),
        ([1.0, 2.0, 3.0], 1, "None of 2 other choices"),
        ([None, 2.0], 2, "Trial 2 predicts validation rows best"),
    ],
)
def test_what_trials_say(objectives: list[float | None], best: int | None, words: str) -> None:
    trials: list[dict[str, Any]] = [
        {"number": number, "held_out_objective": one} for number, one in enumerate(objectives, 1)
    ]
    with place.speaking("en"):
        assert words in answer({"trials": trials, "best": best})
