"""What starts a run's job: torchrun with two gloo processes, a local Ray head, submitit's local executor; all real."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from sqlalchemy import update

from jebm_core.cli import main
from jebm_core.errors import SpecError, UserError
from jebm_core.runs import Home, RunSpec, RunStore, State
from jebm_core.runs.database import Database
from jebm_core.runs.engines import Engine, engine_named, engine_or_none
from jebm_core.runs.engines.commands import additions, line_of
from jebm_core.runs.identity import ProcessIdentity
from jebm_core.runs.queue import LEASE, Claim, RunQueue
from jebm_core.runs.runner import Runner
from jebm_core.runs.schema import run as run_table
from tests.conftest import ROOT
from tests.test_runs import ended, log_of, processes_of, runner_of, spec_of, steps_of, store, until

__all__ = ["store"]  # a fixture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")

TORCHRUN = "torch.distributed.run"


def two(store: RunStore, **settings: object) -> RunSpec:
    return replace(spec_of(store, **settings), processes=2)


def ranks_of(home: Home) -> list[psutil.Process]:
    """The processes that torchrun started, without torchrun."""
    found = []
    for process in processes_of(home, "jebm_core.runs.job"):
        try:
            found += [] if TORCHRUN in process.cmdline() else [process]
        except psutil.Error:
            continue
    return found


# ---- several processes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_do_a_run_and_the_first_alone_speaks(store: RunStore) -> None:
    run_id = store.submit(two(store, steps=60, pause=0.05))
    until(lambda: steps_of(store, run_id), "the first report", 60)
    ranks = ranks_of(store.home)
    assert len(ranks) == 2
    assert store.run(run_id).pid in {rank.pid for rank in ranks}
    runner_of(store).kill()
    before = len(steps_of(store, run_id))
    until(lambda: len(steps_of(store, run_id)) > before, "reports without a runner")
    assert store.ensure_runner(), "another runner adopts torchrun"
    view = ended(store, run_id, 60)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 1), log_of(store)
    assert str(view.stop_reason) == "All steps were done."
    assert steps_of(store, run_id) == list(range(60))
    assert [row.values["objective"] for row in store.history(run_id)] == [1 / (1 + step) for step in range(60)]
    assert {row.values["attempt_pid"] for row in store.history(run_id)} <= {rank.pid for rank in ranks}
    assert store.parameters(run_id)["processes"] == 2
    log = store.folder(run_id).log.read_text()
    assert log.count("worker starts at step 0") == 2
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_killed_process_ends_all_and_the_run_goes_on_from_its_checkpoint(store: RunStore) -> None:
    run_id = store.submit(two(store, steps=30, pause=0.1, child=True))
    until(lambda: len(steps_of(store, run_id)) > 3, "some reports", 60)
    (other,) = [rank for rank in ranks_of(store.home) if rank.pid != store.run(run_id).pid]
    first = set(ranks_of(store.home))
    other.kill()
    until(lambda: store.run(run_id).attempt == 2, "another attempt", 60)
    assert not [process for process in first if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    view = ended(store, run_id, 60)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2), (str(view.message), log_of(store))
    assert steps_of(store, run_id) == list(range(30))
    assert [row.values["objective"] for row in store.history(run_id)] == [1 / (1 + step) for step in range(30)]
    log = store.folder(run_id).log.read_text()
    assert log.count("worker starts at step 0") == 2
    assert log.count("worker starts at step") == 4
    whats = [event.what for event in store.events(run_id)]
    assert whats == ["queued", "claimed", "started", "requeued", "claimed", "started", "succeeded"]


@pytest.mark.slow
@pytest.mark.parametrize("deaf", [False, True])
def test_cancelling_ends_every_process(store: RunStore, deaf: bool) -> None:
    run_id = store.submit(two(store, steps=10_000, pause=0.05, deaf=deaf, child=True))
    until(lambda: steps_of(store, run_id), "the first report", 60)
    store.cancel(run_id)
    view = ended(store, run_id)
    assert view.state is State.CANCELLED
    assert ("ended by force" in log_of(store)) == deaf
    until(lambda: len(processes_of(store.home)) <= 1, "all processes and their children are gone", 5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_the_sentence_of_any_process_reaches_the_store(store: RunStore, number: int) -> None:
    run_id = store.submit(two(store, steps=1000, pause=0.05, fail_on=number))
    view = ended(store, run_id, 60)
    assert view.state is State.FAILED
    assert view.attempt == 1
    assert str(view.message) == f"Process {number} expected more."


@pytest.mark.slow
def test_sigterm_to_torchrun_leaves_the_run_to_go_on(store: RunStore) -> None:
    run_id = store.submit(two(store, steps=30, pause=0.1))
    until(lambda: len(steps_of(store, run_id)) > 3, "some reports", 60)
    (torchrun,) = [p for p in processes_of(store.home, "jebm_core.runs.job") if TORCHRUN in p.cmdline()]
    torchrun.terminate()
    view = ended(store, run_id, 60)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2), str(view.message)
    assert steps_of(store, run_id) == list(range(30))


@pytest.mark.slow
def test_two_processes_fit_the_model_that_one_of_torchrun_fits(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real fit. Where a machine says that it has one GPU, one process does the work of two, to the same numbers."""
    y = torch.randint(0, 2, (120, 3), generator=torch.Generator().manual_seed(0))
    x = torch.rand(120, generator=torch.Generator().manual_seed(1))
    lines = ["x_a,y_a,y_b,y_c", *(f"{a:.4f},{b[0]},{b[1]},{b[2]}" for a, b in zip(x.tolist(), y.tolist(), strict=True))]
    data = store.add_dataset("\n".join(lines).encode(), "t.csv")
    settings = {"epochs": 3, "reference": "marginals", "affinity": "pairwise", "device": "cpu", "samples": 8}
    spec = RunSpec(data.sha256, data.name, settings=settings, processes=2)
    together = store.submit(spec)
    assert ended(store, together, 120).state is State.SUCCEEDED, store.folder(together).log.read_text()
    until(lambda: not processes_of(store.home), "the runner has left", 15)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    alone = store.submit(spec)
    view = ended(store, alone, 120)
    assert (view.state, view.slot) == (State.SUCCEEDED, "cuda:0"), store.folder(alone).log.read_text()
    told = [[dict(row.values) for row in store.history(run)] for run in (together, alone)]
    for row, other in zip(*told, strict=True):
        assert row.keys() == other.keys()
        for name in ("stage", "epoch", "objective", "held_out_objective", "held_out_nll"):
            same = pytest.approx(other[name], rel=1e-5) if isinstance(other[name], float) else other[name]
            assert row[name] == same
    assert sum(row["objective"] is not None for row in told[0]) > 3
    found = [json.loads(store.folder(run).evaluation.read_text())["held_out"]["nll"] for run in (together, alone)]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert [file.path for file in store.artifacts(together)] == [file.path for file in store.artifacts(alone)]


def test_the_command_of_a_job(tmp_path: Path) -> None:
    home = Home(tmp_path)
    job = ["-m", "jebm_core.runs.job", "abcd", "--attempt", "2", "--home", str(tmp_path)]
    one = Claim("abcd", 2, 1, 0.0, None, None, "cpu")
    assert line_of(home, one) == [sys.executable, *job]
    for slot, processes in (("cpu", 3), ("cuda:0,cuda:2,cuda:3", 3), ("cuda:0,cuda:2", 2), ("ray:1", 3)):
        claim = Claim("abcd", 2, 1, 0.0, None, None, slot, processes=3)
        torchrun = ["-m", TORCHRUN, "--standalone", f"--nproc-per-node={processes}"]
        assert line_of(home, claim, "--to-log") == [sys.executable, *torchrun, *job, "--to-log"]
    assert (
        additions(Claim("abcd", 2, 1, 0.0, None, None, "cuda:0,cuda:2", processes=2))["CUDA_VISIBLE_DEVICES"] == "0,2"
    )


# ---- engines --------------------------------------------------------------------------------------------------------


def test_an_engine_that_is_not_there_says_what_to_do(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JEBM_ENGINE", "kubernetes")
    with pytest.raises(SpecError, match="expected one of processes, ray, slurm, slurm-local, found 'kubernetes'"):
        store.submit(spec_of(store))
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    assert main(["worker", "--idle", "0"]) == 2
    assert "found 'kubernetes'" in capsys.readouterr().err
    assert main(["worker", "--engine", "neither", "--idle", "0"]) == 2
    assert "found 'neither'" in capsys.readouterr().err
    monkeypatch.setenv("JEBM_ENGINE", "slurm-local")
    for name, value in (("JEBM_SLOTS", "none"), ("JEBM_SLURM", "partition gpu")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(SpecError, match=name):
                engine_named("slurm", store.home)
            with pytest.raises(UserError, match="exit code 2"):
                store.ensure_runner()
            assert f"{name}: expected" in log_of(store)
    monkeypatch.delenv("JEBM_ENGINE")
    store.ensure_runner()
    until(lambda: all(view.state.ended for view in store.list_runs()), "the queue is empty")


def test_an_extra_that_is_missing_is_named(tmp_path: Path) -> None:
    """A Python that has neither package: its packages are found one by one, without these two."""
    code = """
    import sys
    from importlib.machinery import PathFinder
    class Without(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name in ("ray", "submitit") else PathFinder.find_spec(name, path, target)
    sys.meta_path[:] = [one for one in sys.meta_path if one is not PathFinder] + [Without]
    from jebm_core.cli import main
    sys.exit(main(["worker", "--idle", "0"]))
    """
    lines = "\n".join(line.removeprefix("    ") for line in code.splitlines())
    for engine, extra in (("ray", "ray"), ("slurm", "slurm"), ("slurm-local", "slurm")):
        environment = {**os.environ, "JEBM_HOME": str(tmp_path), "JEBM_ENGINE": engine}
        line = [sys.executable, "-c", lines]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert f"pip install 'jebm[{extra}]'" in done.stderr


def test_a_runner_that_cannot_speak_with_an_engine_goes_by_signs_of_life(store: RunStore) -> None:
    run_id = store.enqueue(spec_of(store))
    queue = RunQueue(store.home)
    claim = queue.claim(("elsewhere:1",), "elsewhere")
    assert claim is not None
    assert queue.launched(run_id, 1, "job 7")
    assert isinstance(engine_or_none("elsewhere", store.home), Engine)
    assert queue.begin(run_id, 1, ProcessIdentity(1, "on another machine", "another boot")) is not None
    runner = Runner(store.home, "processes")
    runner.work()
    assert store.run(run_id).state is State.RUNNING
    with Database(store.home.database).writing() as connection:
        connection.execute(update(run_table).values(heartbeat=time.time() - 2 * LEASE))
    runner.work()
    view = ended(store, run_id)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2)
    runner.work()


@pytest.mark.slow
def test_submitit_starts_jobs_and_another_runner_adopts_them(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JEBM_ENGINE", "slurm-local")
    monkeypatch.setenv("JEBM_SLOTS", "2")
    runs = [store.submit(spec_of(store, steps=60, pause=0.1)) for _ in range(2)]
    pair = store.submit(two(store, steps=20, pause=0.05))
    until(lambda: all(steps_of(store, run) for run in runs), "both runs report", 60)
    assert {store.run(run).slot for run in runs} == {"slurm-local:1", "slurm-local:2"}
    runner_of(store).kill()
    killed, kept = runs
    process = store.run(killed).pid
    assert process is not None
    os.kill(process, signal.SIGKILL)
    until(store.ensure_runner, "the lock of the killed runner is free")
    views = [ended(store, run, 90) for run in (*runs, pair)]
    assert {view.state for view in views} == {State.SUCCEEDED}, log_of(store)
    assert [view.attempt for view in views] == [2, 1, 1]
    for run, steps in ((killed, 60), (kept, 60), (pair, 20)):
        assert steps_of(store, run) == list(range(steps))
    assert "worker starts at step 0" in store.folder(kept).log.read_text(), "the log is the run's own"
    assert store.folder(pair).log.read_text().count("worker starts at step 0") == 2


@pytest.mark.slow
@pytest.mark.parametrize("deaf", [False, True])
def test_a_job_of_submitit_is_cancelled(store: RunStore, monkeypatch: pytest.MonkeyPatch, deaf: bool) -> None:
    monkeypatch.setenv("JEBM_ENGINE", "slurm-local")
    run_id = store.submit(spec_of(store, steps=10_000, pause=0.05, deaf=deaf, child=True))
    until(lambda: steps_of(store, run_id), "the first report", 60)
    store.cancel(run_id)
    assert ended(store, run_id).state is State.CANCELLED
    assert ("ended by force" in log_of(store)) == deaf


def test_slurm_that_is_not_there_fails_the_run_with_a_sentence(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("sbatch"):
        pytest.skip("this machine has Slurm")
    monkeypatch.setenv("JEBM_ENGINE", "slurm")
    view = ended(store, store.submit(spec_of(store)), 60)
    assert view.state is State.FAILED
    assert str(view.message).startswith("The run could not be given to Slurm: ")


@pytest.fixture
def ray_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray cluster of this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    short = Path(tempfile.mkdtemp(prefix="jebm-ray-"))  # paths of sockets must be short
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_DISABLE_USAGE_STATS": "1"}
    environment.pop("RAY_ADDRESS", None)
    options = ["--head", "--port=0", "--num-cpus=2", "--node-ip-address=127.0.0.1", f"--temp-dir={short}"]
    options += ["--object-store-memory=100000000", "--dashboard-host=127.0.0.1", f"--dashboard-port={port}"]
    options += ["--include-dashboard=true", "--disable-usage-stats", "--block"]
    log = (tmp_path / "ray.log").open("wb")
    line = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
    head = subprocess.Popen(line, env=environment, stdout=log, stderr=log, start_new_session=True)
    monkeypatch.setenv("RAY_ADDRESS", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")

    def answers() -> bool:
        assert head.poll() is None, (tmp_path / "ray.log").read_text()
        with suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=2).status == 200
        return False

    try:
        until(answers, "the head answers", 180)
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in [*psutil.Process(head.pid).children(recursive=True), head]:
            with suppress(psutil.Error):
                process.kill()
        head.wait()
        log.close()
        shutil.rmtree(short, ignore_errors=True)


@pytest.mark.slow
def test_a_ray_cluster_runs_jobs_of_one_and_of_several_processes(
    store: RunStore, ray_head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One head for all of it: it takes half a minute to start."""
    monkeypatch.setenv("JEBM_ENGINE", "ray")
    run_id = store.submit(spec_of(store, steps=100, pause=0.1))
    pair = store.submit(two(store, steps=20, pause=0.05))
    until(lambda: len(steps_of(store, run_id)) > 2, "reports", 120)
    assert store.run(run_id).slot == "ray:1"
    runner_of(store).kill()
    process = store.run(run_id).pid
    assert process is not None
    os.kill(process, signal.SIGKILL)
    until(store.ensure_runner, "another runner, that asks Ray for the job by its name")
    view = ended(store, run_id, 120)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 2), log_of(store)
    assert steps_of(store, run_id) == list(range(100))
    assert "worker starts at step 0" in store.folder(run_id).log.read_text()
    view = ended(store, pair, 120)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 1), store.folder(pair).log.read_text()
    assert [row.values["objective"] for row in store.history(pair)] == [1 / (1 + step) for step in range(20)]
    deaf = store.submit(spec_of(store, steps=10_000, pause=0.05, deaf=True))
    until(lambda: steps_of(store, deaf), "the first report", 120)
    store.cancel(deaf)
    assert ended(store, deaf, 60).state is State.CANCELLED


@pytest.mark.slow
def test_a_ray_cluster_that_is_not_there_fails_the_run_with_a_sentence(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JEBM_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    view = ended(store, store.submit(spec_of(store)), 120)
    assert view.state is State.FAILED
    assert str(view.message).startswith("The run could not be given to the Ray cluster: ")
