"""Runs copied to an MLflow server: whole, once, again from where it broke off, and never in the way of the run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jebm_core.cli import main
from jebm_core.errors import SpecError, UserError
from jebm_core.runs import Home, RunSpec, RunStore, State
from jebm_core.runs.identity import ProcessIdentity, identity_of
from jebm_core.runs.message import Message
from jebm_core.runs.mirror import RUN, STEP, Mirror
from jebm_core.runs.queue import LastWord, RunQueue
from jebm_core.runs.records import SWEEP, Artifact, progress_step
from tests.test_runs import ended, processes_of, until
from tests.test_runs import spec_of as working_spec

mlflow = pytest.importorskip("mlflow.tracking")
pytestmark = [
    pytest.mark.slow,  # MLflow takes seconds to make its own tables
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # and uses them in a way of before
]
ME = identity_of(os.getpid()) or ProcessIdentity(0, "", "")
SECRET = "tracking-password"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JEBM_MLFLOW", raising=False)
    return RunStore(Home(tmp_path / "home"), idle_seconds=0.5, who="aoi")


@pytest.fixture(params=["file", "http"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's own store in a file, and the same behind HTTP."""
    place = tmp_path / "mlflow"
    place.mkdir()
    monkeypatch.chdir(place)  # the store in a file keeps files below the working folder
    if request.param == "file":
        yield f"sqlite:///{place / 'server.sqlite'}"
        return
    from tests.mlflow_server import tracking_server

    with tracking_server(place) as (url, asked):
        yield url
        assert "runs/log-batch" in asked


def there(tmp_path: Path) -> Any:
    """What the server has, read past HTTP."""
    return mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow' / 'server.sqlite'}")


def all_runs(tmp_path: Path) -> list[Any]:
    client = there(tmp_path)
    return client.search_runs([one.experiment_id for one in client.search_experiments()])


def made(store: RunStore, epochs: int = 5, state: State = State.SUCCEEDED, **values: Any) -> str:
    """A run with a history, as its job would leave it."""
    data = store.add_dataset(b"y_a,y_b\n1,0\n", "t.csv")
    settings = values.pop("settings", {"samples": 8})
    run = store.enqueue(RunSpec(data.sha256, data.name, settings=settings, **values))
    queue = RunQueue(store.home)
    claim = queue.claim()
    assert claim is not None
    assert queue.begin(run, claim.attempt, ME) is not None
    for epoch in range(epochs):
        fields = {"stage": "training", "epoch": epoch, "held_out_nll": 2.0 - epoch / 10, "objective": float("inf")}
        queue.record(run, claim.attempt, [(progress_step("training", epoch), 1e9 + epoch, fields)])
    if state.ended:
        store.folder(run).folder.mkdir(parents=True, exist_ok=True)
        store.folder(run).evaluation.write_text('{"held_out": 1}')
        message = Message("Expected {n}.", {"n": 3}) if state is State.FAILED else None
        word = LastWord(claim.attempt, state, message, Message("It converged."))
        queue.finish(run, word, [Artifact("model/model.json", "ab" * 32, 7)])
    return run


def test_a_run_is_copied_whole_and_once(store: RunStore, server: str, tmp_path: Path) -> None:
    sweep = made(store, 0, kind_of_work=SWEEP)
    run = made(store, title="試行", parent=sweep, project="Boats", settings={"samples": 8, "note": "x" * 900})
    failed = made(store, 1, State.FAILED)
    about_it = made(store, 0, kind_of_work=SWEEP, parent=run)
    mirror = Mirror(store, server)
    assert list(mirror.copy_all()) == [(sweep, True), (run, True), (failed, True), (about_it, True)]
    assert list(mirror.copy_all()) == [(sweep, False), (run, False), (failed, False), (about_it, False)]
    copies = {copy.data.tags[RUN]: copy for copy in all_runs(tmp_path)}
    assert set(copies) == {sweep, run, failed, about_it}
    copy = copies[run]
    view = store.run(run)
    assert (copy.info.status, copy.info.run_name) == ("FINISHED", "試行")
    assert copy.info.start_time == round(view.created * 1000)
    assert copy.info.end_time == round((view.finished or 0) * 1000)
    assert copy.data.params["settings.samples"] == "8"
    assert len(copy.data.params["settings.note"]) == 500
    assert set(copy.data.params) == set(store.parameters(run))
    assert copy.data.tags["jebm.stop_reason"] == "It converged."
    assert copy.data.tags["jebm.data"] == view.spec.dataset
    assert copy.data.tags["jebm.parent"] == sweep
    client = there(tmp_path)
    history = client.get_metric_history(copy.info.run_id, "training.held_out_nll")
    assert sorted((m.step, m.value) for m in history) == [(epoch, 2.0 - epoch / 10) for epoch in range(5)]
    assert set(copy.data.metrics) == {"training.held_out_nll"}, "infinities stay out"
    assert {file.path for file in client.list_artifacts(copy.info.run_id)} == {"evaluation.json", "files.json"}
    assert client.get_experiment(copy.info.experiment_id).name == "jebm/Boats"
    assert (copies[failed].info.status, copies[failed].data.tags["jebm.message"]) == ("FAILED", "Expected 3.")
    assert [one.what for one in store.ledger.entries(run)] == ["exported", "ran"]


def test_a_running_run_is_copied_on_later(store: RunStore, server: str, tmp_path: Path) -> None:
    run = made(store, 3, State.RUNNING)
    mirror = Mirror(store, server)
    assert mirror.copy(run)
    (copy,) = all_runs(tmp_path)
    assert copy.info.status == "RUNNING"
    assert copy.data.tags[STEP] == str(progress_step("training", 2))
    queue = RunQueue(store.home)
    queue.record(run, 1, [(progress_step("training", 9), 1e9, {"stage": "training", "epoch": 9, "held_out_nll": 0.5})])
    queue.finish(run, LastWord(1, State.CANCELLED))
    assert not mirror.copy(run)
    (copy,) = all_runs(tmp_path)
    assert copy.info.status == "KILLED"
    history = there(tmp_path).get_metric_history(copy.info.run_id, "training.held_out_nll")
    assert sorted(m.step for m in history) == [0, 1, 2, 9]


KILLED = """
import os, signal, sys
from pathlib import Path
from jebm_core.runs import Home, RunStore
import jebm_core.runs.mirror as mirror
home, uri, run = sys.argv[1:]
mirror._BATCH = 2
made = mirror.Mirror(RunStore(Home(Path(home))), uri)
log, count = made._client.log_batch, [0]
def once(*given, metrics=(), **more):
    log(*given, metrics=metrics, **more)
    count[0] += bool(metrics)
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
made._client.log_batch = once
made.copy(run)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")
def test_a_copy_that_was_killed_goes_on_without_doubling(store: RunStore, server: str, tmp_path: Path) -> None:
    run = made(store, 9)
    line = [sys.executable, "-c", KILLED, str(store.home.folder), server, run]
    assert subprocess.run(line).returncode == -signal.SIGKILL
    (copy,) = all_runs(tmp_path)
    assert copy.info.status == "RUNNING"
    assert copy.data.tags[STEP] == str(progress_step("training", 3))
    assert not Mirror(store, server).copy(run), "the same run there"
    (copy,) = all_runs(tmp_path)
    assert copy.info.status == "FINISHED"
    history = there(tmp_path).get_metric_history(copy.info.run_id, "training.held_out_nll")
    assert sorted((m.step, m.value) for m in history) == [(epoch, 2.0 - epoch / 10) for epoch in range(9)]


def test_a_server_that_is_down_is_told_without_its_password(
    store: RunStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(store)
    url = f"http://aoi:{SECRET}@127.0.0.1:9"
    with pytest.raises(UserError, match=r"could not be copied to the MLflow server http://127\.0\.0\.1:9") as caught:
        Mirror(store, url).copy(run)
    assert SECRET not in str(caught.value)
    assert store.run(run).state is State.SUCCEEDED
    assert main(["runs", "mirror", "--all", "--to", url]) == 2
    assert SECRET not in capsys.readouterr().err
    assert main(["runs", "mirror", run]) == 2
    assert "JEBM_MLFLOW" in capsys.readouterr().err
    assert main(["runs", "mirror"]) == 2
    assert main(["runs", "mirror", "nosuchrun", "--to", url]) == 2
    assert "There is no run" in capsys.readouterr().err
    with pytest.raises(SpecError, match="expected the address of an MLflow server"):
        Mirror(store, "nonsense://server")


@pytest.mark.skipif(os.name != "posix", reason="starts processes in sessions of their own")
def test_a_run_is_copied_when_it_has_ended(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.mlflow_server import tracking_server

    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    (tmp_path / "mlflow").mkdir()
    monkeypatch.chdir(tmp_path / "mlflow")  # as in `server`
    with tracking_server(tmp_path / "mlflow") as (url, _):
        monkeypatch.setenv("JEBM_MLFLOW", url)
        run = store.submit(working_spec(store, steps=4))
        assert ended(store, run).state is State.SUCCEEDED
        until(lambda: all_runs(tmp_path) and all_runs(tmp_path)[0].info.status == "FINISHED", "the copy is there", 90)
    (copy,) = all_runs(tmp_path)
    assert copy.data.tags[RUN] == run
    assert copy.data.metrics["training.objective"] == 1 / 4
    until(lambda: not processes_of(store.home), "every process has ended", 60)
    assert f"run {run} was copied to {url}" in (store.home.folder / "mirror.log").read_text()


@pytest.mark.skipif(os.name != "posix", reason="starts processes in sessions of their own")
def test_a_server_that_is_down_disturbs_no_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    monkeypatch.setenv("JEBM_MLFLOW", f"http://aoi:{SECRET}@127.0.0.1:9")
    run = store.submit(working_spec(store, steps=2))
    view = ended(store, run)
    assert (view.state, view.message) == (State.SUCCEEDED, None)
    log = store.home.folder / "mirror.log"
    until(lambda: "could not be copied" in (log.read_text() if log.exists() else ""), "the log says so", 90)
    assert SECRET not in log.read_text()
    assert json.loads(store.folder(run).evaluation.read_text()) == {"steps": 2}
    until(lambda: not processes_of(store.home), "every process has ended", 60)
