"""Runs with real processes and a real store: what a page, a server, a runner or a job does to them by dying."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from jebm_core.cli import main
from jebm_core.errors import UserError
from jebm_core.runs import Home, RunSpec, RunStore, RunView, State
from jebm_core.runs.records import Span

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")

ROOT = Path(__file__).resolve().parent.parent
IDLE = 0.5  # seconds; the runner of each test leaves soon after it


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """A store in a fresh home; afterwards its runner must leave by itself and no process may be left."""
    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    store = RunStore(Home(tmp_path / "home"), idle_seconds=IDLE)
    yield store
    try:
        until(lambda: not processes_of(store.home), "every process of the home has ended", 15)
    finally:
        for process in processes_of(store.home):
            process.kill()


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain until {what}")
        time.sleep(0.05)


def processes_of(home: Home, module: str = "") -> list[psutil.Process]:
    """Every living process whose command line names the home (and the module)."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            ours = module in line if module else any(part.startswith(str(home.folder)) for part in line)
            if ours and str(home.folder) in " ".join(line) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def runner_of(store: RunStore) -> psutil.Process:
    until(lambda: "holds the queue" in log_of(store), "a runner holds the queue")
    (runner,) = processes_of(store.home, "jebm_core.runs.runner")
    return runner


def log_of(store: RunStore) -> str:
    return store.home.runner_log.read_text() if store.home.runner_log.exists() else ""


def spec_of(store: RunStore, **settings: object) -> RunSpec:
    data = store.add_dataset(b"y_a,y_b\n1,0\n0,1\n", "t.csv")
    return RunSpec(data.sha256, data.name, title="test", settings=settings, kind_of_work="tests.runs_worker:work")


def ended(store: RunStore, run_id: str, seconds: float = 20.0) -> RunView:
    until(lambda: store.run(run_id).state.ended, f"run {run_id} ends; log: {log_of(store)}", seconds)
    return store.run(run_id)


def steps_of(store: RunStore, run_id: str) -> list[object]:
    return [row.values["epoch"] for row in store.history(run_id)]


def test_a_run_succeeds_and_a_reloaded_page_sees_it(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=5))
    assert not store.ensure_runner(), "the runner holds the queue before submit returns"
    assert not store.home.runner_log.read_text().count("Traceback")
    view = ended(RunStore(store.home), run_id)
    assert (view.state, view.message) == (State.SUCCEEDED, None), log_of(store)
    assert str(view.stop_reason) == "All steps were done."
    assert view.attempt == 1
    assert view.pid is None
    assert view.seconds_left is None
    assert view.elapsed is not None
    assert 0 < view.elapsed < 20
    assert steps_of(store, run_id) == [0, 1, 2, 3, 4]
    history = store.history(run_id)
    assert store.history(run_id, after_step=history[2].step) == history[3:]
    assert view.progress == history[-1]
    folder = store.folder(run_id)
    assert folder.evaluation.exists()
    assert folder.last_word.exists()
    assert "worker starts at step 0" in folder.log.read_text()
    assert [event.what for event in store.events(run_id)] == ["queued", "claimed", "started", "succeeded"]
    (brought,) = store.artifacts(run_id)
    content = folder.evaluation.read_bytes()
    assert (brought.path, brought.bytes) == ("evaluation.json", len(content))
    assert brought.sha256 == hashlib.sha256(content).hexdigest()
    assert store.parameters(run_id)["settings.steps"] == 5
    assert store.spans([run_id], ["objective"]) == {(run_id, "objective"): Span(1 / 5, 1 / 5, 1.0)}


def test_a_page_can_watch_a_run_and_gets_an_estimate_of_the_time_left(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=25, pause=0.05))
    until(lambda: store.run(run_id).progress is not None, "the first report")
    view = store.run(run_id)
    assert view.state is State.RUNNING
    assert view.pid is not None
    assert psutil.pid_exists(view.pid)
    assert view.seconds_left is not None
    assert 0 <= view.seconds_left <= 2
    assert [other.id for other in store.list_runs()] == [run_id]
    assert not store.ensure_runner()
    with pytest.raises(UserError, match="still running"):
        store.delete(run_id)
    ended(store, run_id)


def test_the_run_goes_on_without_its_runner_and_the_next_runner_adopts_it(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=40, pause=0.05))
    until(lambda: steps_of(store, run_id), "the first report")
    runner_of(store).kill()
    job = store.run(run_id).pid
    before = len(steps_of(store, run_id))
    until(lambda: len(steps_of(store, run_id)) > before + 3, "reports without a runner")
    assert store.ensure_runner()
    view = ended(store, run_id)
    assert view.state is State.SUCCEEDED
    assert view.attempt == 1
    assert {row.values["attempt_pid"] for row in store.history(run_id)} == {job}
    assert steps_of(store, run_id) == list(range(40))


def test_a_job_that_ended_while_no_runner_lived_is_settled_by_its_last_word(store: RunStore) -> None:
    first, second = (store.submit(spec_of(store, steps=steps, pause=0.05)) for steps in (20, 2))
    until(lambda: steps_of(store, first), "the first report")
    runner_of(store).kill()
    assert ended(store, first).state is State.SUCCEEDED
    assert store.run(second).state is State.QUEUED
    store.ensure_runner()
    assert ended(store, second).state is State.SUCCEEDED


def test_a_killed_job_is_queued_once_more_and_resumes(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=8, die_at=3, child=True))
    view = ended(store, run_id)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2), str(view.message)
    assert steps_of(store, run_id) == list(range(8))
    assert len({row.values["attempt_pid"] for row in store.history(run_id)}) == 2
    assert "worker starts at step 4" in store.folder(run_id).log.read_text()
    until(lambda: len(processes_of(store.home)) <= 1, "the children of both attempts are gone")


@pytest.mark.postgres
def test_the_same_in_postgresql(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JEBM_DATABASE", database_url)
    store = RunStore(idle_seconds=IDLE)
    assert store.home.url == database_url
    run_id = store.submit(spec_of(store, steps=8, die_at=3))
    view = ended(store, run_id)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2), str(view.message)
    assert steps_of(store, run_id) == list(range(8))
    assert not (store.home.folder / "jebm.sqlite").exists()
    assert main(["runs", "list"]) == 0
    assert run_id in capsys.readouterr().out
    line = " ".join(part for process in processes_of(store.home) for part in process.cmdline())
    assert database_url not in line, "a URL may hold a password, and everybody can read arguments"
    until(lambda: not processes_of(store.home), "every process of the home has ended", 15)


def test_a_database_that_cannot_be_reached_says_so_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/none"
    with pytest.raises(UserError, match=r"could not use it.*take JEBM_DATABASE away") as caught:
        RunStore(Home(tmp_path, url))
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Home(tmp_path, url))
    with pytest.raises(UserError, match="could not use it"):
        RunStore(Home(tmp_path, "no url at all"))


def test_a_killed_job_without_a_checkpoint_fails_with_a_sentence(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=8, die_at=3, checkpoints=False))
    view = ended(store, run_id)
    assert view.state is State.FAILED
    assert view.attempt == 2, "once more from the beginning, and no third time"
    assert view.message is not None
    assert "ended from outside" in str(view.message)
    assert "exit code -9" in str(view.message)
    assert view.message.values == {"attempts": 2, "code": -9, "log": str(store.folder(run_id).log)}


def test_four_deaths_at_the_same_place_are_enough(store: RunStore) -> None:
    run_id = store.submit(spec_of(store, steps=8, die_always_at=3))
    view = ended(store, run_id)
    assert view.state is State.FAILED
    assert view.attempt == 4
    assert "attempt 4" in str(view.message)
    whats = [event.what for event in store.events(run_id)]
    assert whats == ["queued", *["claimed", "started", "requeued"] * 3, "claimed", "started", "failed"]
    store.resume(run_id)
    until(lambda: store.run(run_id).attempt == 8, "four more tries")
    assert ended(store, run_id).state is State.FAILED


def test_each_slot_has_one_job_and_each_job_its_own_device(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    runs = [store.submit(spec_of(store, steps=10, pause=0.05)) for _ in range(5)]
    views = [ended(store, run, 40) for run in runs]
    assert {view.state for view in views} == {State.SUCCEEDED}
    assert {view.slot for view in views} == {"cuda:0", "cuda:3"}
    for slot in ("cuda:0", "cuda:3"):
        mine = [view for view in views if view.slot == slot]
        spans = sorted((view.started or 0, view.finished or 0) for view in mine)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "one job on a slot at a time"
        for view in mine:
            said = f"with devices {slot.removeprefix('cuda:')}"
            assert said in store.folder(view.id).log.read_text()
    starts, ends = [view.started or 0 for view in views], [view.finished or 0 for view in views]
    assert sorted(starts)[1] < min(ends), "two jobs at once"


@pytest.mark.parametrize("deaf", [False, True])
def test_cancel_within_six_seconds(store: RunStore, deaf: bool) -> None:
    waiting = spec_of(store, steps=2)
    run_id = store.submit(spec_of(store, steps=10_000, pause=0.05, deaf=deaf, child=True))
    queued = store.submit(waiting)
    until(lambda: steps_of(store, run_id), "the first report")
    store.cancel(queued)
    assert store.run(queued).state is State.CANCELLED
    begun = time.monotonic()
    store.cancel(run_id)
    assert store.run(run_id).cancelling or store.run(run_id).state.ended
    view = ended(store, run_id)
    assert view.state is State.CANCELLED
    assert time.monotonic() - begun < 6
    assert ("ended by force" in log_of(store)) == deaf
    store.cancel(run_id)  # twice does nothing
    until(lambda: len(processes_of(store.home)) <= 1, "the job and its child are gone", 2)


def test_twenty_submits_from_four_processes_share_one_runner(store: RunStore) -> None:
    spec_of(store)
    code = (
        "import sys, threading; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from jebm_core.runs import Home, RunStore; from tests.test_runs import spec_of;"
        "go = lambda: (s := RunStore(Home(Path(sys.argv[1])), idle_seconds=0.5)).submit(spec_of(s, steps=2));"
        "threads = [threading.Thread(target=go) for _ in range(5)];"
        "[t.start() for t in threads]; [t.join() for t in threads]"
    )
    line = [sys.executable, "-W", "error", "-c", code, str(store.home.folder), str(ROOT)]
    people = [subprocess.Popen(line) for _ in range(4)]
    assert [person.wait(60) for person in people] == [0] * 4
    until(lambda: all(view.state.ended for view in store.list_runs()), "all runs end", 90)
    views = store.list_runs()
    assert [view.state for view in views] == [State.SUCCEEDED] * 20
    assert log_of(store).count("holds the queue") == 1
    spans = sorted((view.started or 0, view.finished or 0) for view in views)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans)), "one job at a time"


def test_the_sentence_of_an_error_reaches_the_store(store: RunStore) -> None:
    sentences = {
        "user": "Expected 3 slots; found 2. Add one.",
        "stopped": "The samples were worth too little {here}. Choose another proposal.",
        "memory": "The run needed more memory than the machine has.",
        "fault": "A fault of jebm's own ended the run",
    }
    runs = {error: store.submit(spec_of(store, steps=1, error=error)) for error in sentences}
    for error, sentence in sentences.items():
        view = ended(store, runs[error])
        assert view.state is State.FAILED
        assert str(view.message).startswith(sentence)
        assert "secret" not in str(view.message)
        log = store.folder(runs[error]).log.read_text()
        assert "Traceback" in log
        assert ("secret detail" in log) == (error == "fault")
    message = store.run(runs["user"]).message
    assert message is not None
    assert message.template == "Expected {expected} slots; found {found}. Add one."
    assert message.values == {"expected": 3, "found": 2}


def test_code_named_by_a_spec_is_refused_outside_tests(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JEBM_TEST_WORK")
    view = ended(store, store.submit(spec_of(store)))
    assert view.state is State.FAILED
    assert "Expected a kind of work among fit" in str(view.message)


def test_deleting_a_run_removes_its_files_and_nothing_else(store: RunStore) -> None:
    first, second = store.submit(spec_of(store)), store.submit(spec_of(store))
    ended(store, second)
    store.delete(first)
    assert not store.folder(first).folder.exists()
    assert store.folder(second).folder.exists()
    assert [view.id for view in store.list_runs()] == [second]
    assert store.history(first) == ()
    with pytest.raises(UserError, match="There is no run"):
        store.run(first)
    queued = store.enqueue(spec_of(store))
    store.delete(queued)
    assert [view.id for view in store.list_runs()] == [second]
    assert len(store.datasets()) == 1
    assert store.dataset_file(store.datasets()[0].sha256).exists()
