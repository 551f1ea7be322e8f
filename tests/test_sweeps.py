"""Sweeps: what is tried next, what is said of a trial, and that no kill loses or doubles one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from sqlalchemy import update

from jebm_core.cli import main
from jebm_core.errors import SpecError
from jebm_core.runs import Home, RunSpec, RunStore, State
from jebm_core.runs.database import Database
from jebm_core.runs.history import note_event
from jebm_core.runs.identity import ProcessIdentity, identity_of
from jebm_core.runs.job import find_work, run_job
from jebm_core.runs.message import Message
from jebm_core.runs.queue import LastWord, RunQueue
from jebm_core.runs.records import FIT, progress_step
from jebm_core.runs.schema import run as run_table
from jebm_core.runs.search_space import choices_of, default_space, read_space, size_of
from jebm_core.runs.sweeping import falls_behind, next_choice, sweep_of_run, sweep_spec, trial_of_sweep
from jebm_core.runs.trials import PRUNED, Trial, pareto, read_trials, title_and_number, trial_title
from tests.test_runs import ended, processes_of, until

pytest.importorskip("optuna")

ROOT = Path(__file__).resolve().parent.parent
ME = identity_of(os.getpid()) or ProcessIdentity(0, "", "")
SPACE = {"reference": ("marginals", "uniform"), "samples": (8, 16)}


def tiny_table() -> bytes:
    """Two outputs that mostly agree, and one beside them."""
    chance = random.Random(0)
    rows = ["y_a,y_b,y_c"]
    for _ in range(120):
        a = chance.random() < 0.5
        rows.append(f"{a:d},{a ^ (chance.random() < 0.2):d},{chance.random() < 0.3:d}")
    return ("\n".join(rows) + "\n").encode()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store in a file, and one in PostgreSQL, without a runner."""
    url = request.getfixturevalue("database_url") if request.param == "postgresql" else None
    if url is not None:
        monkeypatch.setenv("JEBM_DATABASE", url)
    return RunStore(Home(tmp_path / "home", url))


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """A store whose runner leaves soon after the last run; no process is left."""
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    store = RunStore(Home(tmp_path / "home"), idle_seconds=0.5)
    yield store
    try:
        until(lambda: not processes_of(store.home), "every process of the home has ended", 30)
    finally:
        for process in processes_of(store.home):
            with suppress(psutil.Error):
                process.kill()


def fit_spec(store: RunStore, **settings: object) -> RunSpec:
    data = store.add_dataset(tiny_table(), "tiny.csv")
    return RunSpec(data.sha256, data.name, settings={"epochs": 3, **settings}, hold_out_fraction=0.2)


def step_of(store: RunStore, sweep: str) -> int:
    """Let the sweep's job have its turn, in this process."""
    claim = RunQueue(store.home).claim()
    assert claim is not None
    assert claim.run_id == sweep
    return in_this_process(store, sweep, claim.attempt)


def in_this_process(store: RunStore, run: str, attempt: int) -> int:
    """Do a job's work here, and leave the signals of this process as they were."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return run_job(store.home, run, attempt)
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(store: RunStore, objectives: list[float], error: float = 0.1, state: State = State.SUCCEEDED) -> str:
    """Do the waiting trial's work as a fit would leave it: a history by epoch, and the model's record."""
    queue = RunQueue(store.home)
    claim = queue.claim()
    assert claim is not None
    assert queue.begin(claim.run_id, claim.attempt, ME) is not None
    for epoch, value in enumerate(objectives):
        fields = {"stage": "training", "epoch": epoch, "held_out_objective": value, "held_out_nll": value + 0.5}
        queue.record(claim.run_id, claim.attempt, [(progress_step("training", epoch), time.time(), fields)])
    if state is State.SUCCEEDED:
        record = {"summary": {"held_out_objective": min(objectives)}, "interval": [-error, error / 2]}
        folder = store.folder(claim.run_id).model
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps(record))
    message = Message("Expected {n}.", {"n": 3}) if state is State.FAILED else None
    queue.finish(claim.run_id, LastWord(claim.attempt, state, message))
    return claim.run_id


# ---- what is tried ---------------------------------------------------------------------------------------------------


def test_a_space_is_read_or_follows_from_the_data() -> None:
    assert read_space(["samples=16,16,64"]) == {"samples": (16, 64)}
    for line in ("samples", "width=3", "samples=", "samples=1", "samples=many", "affinity=wide"):
        with pytest.raises(SpecError, match="Search space"):
            read_space([line])
    for kind, features, rules in (("rankings", True, False), ("subsets", True, True), ("subsets", False, True)):
        assert read_space([f"{n}={','.join(map(str, v))}" for n, v in default_space(kind, features, rules).items()])
    assert "trees" in default_space("subsets", False, False)["reference"]
    assert "trees" not in default_space("subsets", False, True)["reference"]
    assert size_of(SPACE) == len(list(choices_of(SPACE))) == 4
    with pytest.raises(SpecError, match="1 to 10000 trials"):
        sweep_spec(RunSpec("0", "t.csv"), 0, SPACE)


def test_every_choice_comes_once_and_the_good_ones_first() -> None:
    space = {"affinity": ("pairwise", "unary", "lowrank"), "samples": (8, 16, 32, 64)}
    trials: list[Trial] = []
    order = []
    for number in range(1, 14):
        choice = next_choice(trials, space, seed=3)
        assert choice is not None
        assert choice == next_choice(trials, space, seed=3), "the same trials and seed, the same question"
        order.append(choice)
        value = 0.0 if choice.get("affinity") == "pairwise" else 5.0
        trials.append(Trial(number, f"r{number}", "succeeded", choice, value, value, 0.1, 1.0, {}))
    assert order[0] == {}, "the first is what the data would choose"
    assert sorted(map(str, order[1:])) == sorted(map(str, choices_of(space)))
    assert next_choice(trials, space, seed=3) is None
    late = [choice["affinity"] for choice in order[1:]]
    assert late.index("pairwise") < 8


def test_trials_that_failed_or_run_are_not_asked_for_again() -> None:
    choices = [{}, *choices_of(SPACE)]
    states = ("succeeded", "failed", "running", PRUNED)
    trials = [Trial(n, f"r{n}", s, choices[n], 1.0 if not n else None, epochs={0: 1.0}) for n, s in enumerate(states)]
    assert next_choice(trials, SPACE, 0) == choices[4]
    assert next_choice([*trials, Trial(9, "r", "cancelled", choices[4])], SPACE, 0) == choices[4], "it may come again"


def test_a_trial_falls_behind_only_after_enough_others_and_epochs() -> None:
    good = [Trial(n, f"g{n}", "succeeded", {}, 1.0, epochs=dict.fromkeys(range(20), 1.0)) for n in range(4)]
    for epochs, others, behind in ((9, 4, True), (9, 3, False), (3, 4, False)):
        mine = Trial(9, "mine", "running", {}, epochs=dict.fromkeys(range(epochs), 2.0))
        assert falls_behind([*good[:others], mine], SPACE, "mine") is behind
    better = Trial(9, "mine", "running", {}, epochs=dict.fromkeys(range(9), 0.5))
    assert not falls_behind([*good, better], SPACE, "mine")
    assert not falls_behind(good, SPACE, "nobody")


def test_the_front_holds_what_nothing_beats() -> None:
    figures = [(1.0, 0.1, 9.0), (1.0, 0.1, 9.0), (0.9, 0.3, 9.0), (0.9, 0.3, 9.5), (2.0, 0.2, 1.0), (2.0, 0.2, 2.0)]
    trials = [Trial(n, "", "succeeded", {}, 0.0, *three) for n, three in enumerate(figures, 1)]
    assert pareto([*trials, Trial(9, "", "failed", {})]) == (1, 2, 3, 5)


# ---- turns of a sweep ------------------------------------------------------------------------------------------------


def test_a_sweep_steps_aside_for_its_trials_and_sums_them_up(store: RunStore) -> None:
    sweep = store.enqueue(sweep_spec(fit_spec(store), 3, SPACE))
    assert find_work(store.run(sweep).spec) is sweep_of_run
    for objectives in ([3.0, 2.0], [2.5, 1.5], [4.0]):
        assert step_of(store, sweep) == 3
        assert store.run(sweep).state is State.QUEUED
        (waiting,) = [view for view in store.about(sweep, FIT) if view.state is State.QUEUED]
        assert waiting.spec.parent == sweep
        assert find_work(waiting.spec) is trial_of_sweep
        assert finish(store, objectives) == waiting.id, "the trial comes before the sweep's next turn"
    assert step_of(store, sweep) == 0
    view = store.run(sweep)
    assert (view.state, str(view.stop_reason)) == (State.SUCCEEDED, "Every trial was made.")
    said = json.loads(store.folder(sweep).study.read_text())
    assert [trial["held_out_objective"] for trial in said["trials"]] == [2.0, 1.5, 4.0]
    assert [trial["held_out_nll"] for trial in said["trials"]] == [2.5, 2.0, 4.5]
    assert {trial["log_partition_error"] for trial in said["trials"]} == {0.1}
    assert (said["best"], said["wanted"], said["trials"][0]["choice"]) == (2, 3, {})
    assert 2 in said["pareto"]
    assert store.sweeps()[0].id == sweep
    assert sweep not in [view.id for view in store.list_runs()]
    assert len(store.list_runs()) == 3
    alone = store.enqueue(fit_spec(store))
    assert [view.id for view in store.list_runs(2, trials=False)] == [alone], "no trial among them"
    store.delete(alone)
    trial = store.run(said["trials"][1]["run"])
    assert trial.spec.settings == {"epochs": 3, **said["trials"][1]["choice"]}
    assert trial.spec.title == "tiny.csv · 2"
    assert [event.what for event in store.events(sweep)].count("stepped aside") == 3
    store.delete(sweep)
    assert store.list_runs() == ()


def test_a_small_space_ends_early_and_a_cancelled_sweep_goes_on_when_resumed(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jebm_core.runs.store.start_runner", lambda *_: False)
    sweep = store.enqueue(sweep_spec(fit_spec(store), 9, {"samples": (8, 16)}))
    step_of(store, sweep)
    finish(store, [1.0])
    step_of(store, sweep)
    store.cancel(sweep)
    assert {view.state for view in store.about(sweep, FIT)} == {State.SUCCEEDED, State.CANCELLED}
    assert store.run(sweep).state is State.CANCELLED
    assert not store.is_waited_for()
    store.resume(sweep)
    for objective in (2.0, 3.0):
        step_of(store, sweep)
        finish(store, [objective])
    step_of(store, sweep)
    assert str(store.run(sweep).stop_reason) == "Every choice of the search space was tried."
    assert len(store.about(sweep, FIT)) == 4


def test_a_sweep_that_is_being_cancelled_makes_no_trial_and_stays_no_longer(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jebm_core.runs.store.start_runner", lambda *_: False)
    sweep = store.enqueue(sweep_spec(fit_spec(store), 3, SPACE))
    claim = RunQueue(store.home).claim()
    assert claim is not None
    store.cancel(sweep)
    assert not RunQueue(store.home).put_back(sweep, claim.attempt)
    assert in_this_process(store, sweep, claim.attempt) == 0
    assert store.run(sweep).state is State.CANCELLED
    assert store.about(sweep, FIT) == ()


def test_a_sweep_whose_first_trials_all_fail_says_why(store: RunStore) -> None:
    sweep = store.enqueue(sweep_spec(fit_spec(store), 9, SPACE))
    for _ in range(3):
        step_of(store, sweep)
        finish(store, [1.0], state=State.FAILED)
    assert step_of(store, sweep) == 0
    assert str(store.run(sweep).message) == "Each of the first 3 trials failed. The first said: Expected 3."


def test_test_rows_choose_nothing(store: RunStore) -> None:
    sweep = store.enqueue(sweep_spec(fit_spec(store), 1, SPACE))
    step_of(store, sweep)
    run = finish(store, [1.0])
    before = read_trials(store, sweep, SPACE)
    store.folder(run).evaluation.write_text('{"held_out": {"nll": -100.0}}')
    assert read_trials(store, sweep, SPACE) == before
    store.folder(run).evaluation.unlink()
    assert read_trials(store, sweep, SPACE) == before


KILLED = """
import os, signal, sys
from pathlib import Path
import jebm_core.runs.sweeping as sweeping
from jebm_core.runs import Home
from jebm_core.runs.home import home_at
from jebm_core.runs.job import run_job
from jebm_core.runs.queue import RunQueue
where, home, run = sys.argv[1:]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "asked":
    sweeping._enter_trial = die
elif where == "entered":
    enter = sweeping._enter_trial
    sweeping._enter_trial = lambda *given: (enter(*given), die())
elif where == "entering":
    enter = sweeping.enter
    sweeping.enter = lambda *given: (enter(*given), die())
else:
    RunQueue.put_back = die
queue = RunQueue(home_at(Path(home)))
run_job(home_at(Path(home)), run, queue.claim().attempt)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")
@pytest.mark.parametrize("where", ["asked", "entering", "entered", "leaving"])
def test_a_sweep_killed_at_any_step_has_each_trial_once(store: RunStore, where: str) -> None:
    sweep = store.enqueue(sweep_spec(fit_spec(store), 2, SPACE))
    line = [sys.executable, "-c", KILLED, where, str(store.home.folder), sweep]
    for round_ in range(2):
        assert subprocess.run(line, cwd=ROOT).returncode == -signal.SIGKILL
        claim = RunQueue(store.home).watched(sweep)
        assert claim is not None
        assert RunQueue(store.home).requeue(sweep, claim.attempt)  # as the runner does
        if where in ("asked", "entering"):
            assert len(store.about(sweep, FIT)) == round_
            step_of(store, sweep)
        else:  # put back in its old place, it looks before its trial has run, and steps aside
            step_of(store, sweep)
        assert len(store.about(sweep, FIT)) == round_ + 1
        finish(store, [float(round_)])
    step_of(store, sweep)
    assert store.run(sweep).state is State.SUCCEEDED
    choices = [trial.choice for trial in read_trials(store, sweep, SPACE)]
    assert (choices[0], len(choices[1])) == ({}, 2)
    assert len(choices) == 2


# ---- real fits -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")
def test_real_trials_with_everything_killed_once(running: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    store = running
    sweep = store.submit(sweep_spec(fit_spec(store), 3, SPACE))
    killed = set()
    chance = random.Random(5)
    end = time.monotonic() + 400
    while not store.run(sweep).state.ended:
        assert time.monotonic() < end, (store.events(sweep), store.home.runner_log.read_text())
        runner = processes_of(store.home, "jebm_core.runs.runner")
        trials = [view for view in store.about(sweep, FIT) if view.state is State.RUNNING]
        victims = {
            "sweep": store.run(sweep).pid,
            "trial": trials[0].pid if trials else None,
            "runner": runner[0].pid if runner else None,
        }
        for name, pid in victims.items():
            if pid is not None and name not in killed:
                time.sleep(chance.uniform(0, 0.3))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(name)
        store.ensure_runner()
        time.sleep(0.1)
    assert killed == {"sweep", "trial", "runner"}
    assert store.run(sweep).state is State.SUCCEEDED, str(store.run(sweep).message)
    said = json.loads(store.folder(sweep).study.read_text())
    assert [trial["state"] for trial in said["trials"]] == ["succeeded"] * 3
    assert len({str(trial["choice"]) for trial in said["trials"]}) == 3
    for trial in said["trials"]:
        record = json.loads((store.folder(trial["run"]).model / "model.json").read_text())
        assert trial["held_out_objective"] == record["summary"]["held_out_objective"]
        assert trial["held_out_nll"] == pytest.approx(trial["held_out_objective"], abs=0.3)
        assert trial["log_partition_error"] == max(map(abs, record["interval"]))
        assert trial["seconds"] > 0
    assert said["best"] == min(said["trials"], key=lambda trial: trial["held_out_objective"])["number"]
    assert main(["runs", "list"]) == 0
    assert "tiny.csv, sweep" in capsys.readouterr().out


@pytest.mark.slow
def test_a_hopeless_real_trial_is_stopped_early(running: RunStore) -> None:
    store = running
    data = store.add_dataset(ROOT / "sample_data" / "suppliers.csv", "suppliers.csv")
    spec = RunSpec(data.sha256, data.name, settings={"epochs": 200, "samples": 64, "affinity": "preference"})
    sweep = store.enqueue(sweep_spec(spec, 9, SPACE))
    with Database(store.home.database).writing() as connection:
        connection.execute(update(run_table).where(run_table.c.id == sweep).values(state="succeeded"))
    others = [RunSpec(data.sha256, data.name, parent=sweep) for _ in range(4)]
    for other in others:  # fits that came out far better than any can
        store.enqueue(other)
        finish(store, [-9.0] * 200)
    trial = store.submit(RunSpec(**{**spec.to_json(), "parent": sweep}))
    view = ended(store, trial, 240)
    assert view.state is State.CANCELLED, str(view.message)
    assert PRUNED in [event.what for event in store.events(trial)]
    (pruned,) = [one for one in read_trials(store, sweep, SPACE) if one.run == trial]
    assert pruned.state == PRUNED
    assert 5 <= max(pruned.epochs or {}) < 199


@pytest.mark.slow
def test_the_command(running: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "tiny.csv"
    table.write_bytes(tiny_table())
    line = ["sweep", str(table), "--search", "samples=8,16", "--epochs", "2", "--trials"]
    assert main([*line, "2", "--json", "-", "--project", "Boats"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [trial["state"] for trial in said["trials"]] == ["succeeded"] * 2
    assert running.run(said["run"]).spec.project == "Boats"
    assert running.run(said["trials"][0]["run"]).spec.project == "Boats"
    assert main(["runs", "delete", "--project", "Boats"]) == 0
    assert main([*line, "0"]) == 2
    assert "1 to 10000 trials" in capsys.readouterr().err
    assert main(["sweep", str(table), "--search", "width=3"]) == 2
    assert "Search space: expected a setting among affinity" in capsys.readouterr().err
    for process in processes_of(running.home):  # the command's runner would wait a minute for more
        process.kill()


def test_sweeps_are_found_whatever_they_are_about(running: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    fit = running.enqueue(fit_spec(running))
    alone = running.enqueue(sweep_spec(fit_spec(running), 2, SPACE))
    about_it = running.enqueue(replace(sweep_spec(fit_spec(running), 2, SPACE), parent=fit, project="Boats"))
    assert [view.id for view in running.sweeps()] == [about_it, alone]
    assert [view.id for view in running.sweeps("Boats")] == [about_it]
    assert main(["runs", "list", "--json", "-"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["runs"]] == [about_it, alone, fit]


def test_a_trial_is_called_by_its_sweep_and_its_number(store: RunStore) -> None:
    spec = fit_spec(store)
    views = {
        title: store.run(store.enqueue(replace(spec, title=title, parent=parent)))
        for title, parent in ((trial_title("A · 2", 13), "sweep"), ("A · 3", ""), ("A · b", "sweep"))
    }
    assert {title: title_and_number(view) for title, view in views.items()} == {
        "A · 2 · 13": ("A · 2", " · 13"),
        "A · 3": ("A · 3", ""),
        "A · b": ("A · b", ""),
    }


def test_noted_events_are_not_taken_for_others(store: RunStore) -> None:
    sweep = store.enqueue(sweep_spec(fit_spec(store), 2, SPACE))
    step_of(store, sweep)
    (trial,) = store.about(sweep, FIT)
    with Database(store.home.database).writing() as connection:
        note_event(connection, trial.id, 1, PRUNED)
    assert read_trials(store, sweep, SPACE)[0].state == "queued", "it was asked to stop and has not stopped yet"
