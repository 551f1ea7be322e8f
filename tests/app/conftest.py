"""Finished runs of small samples, really done by the job process once a session."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from streamlit.testing.v1 import AppTest

from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.records import State

SAMPLES = Path(__file__).resolve().parents[2] / "sample_data"
SMALL = {"epochs": 6, "samples": 8}


def small_spec(name: str, **settings: object) -> RunSpec:
    """A fit of seconds: the rankings of the suppliers, or two slots of the assemblies with their result."""
    store = RunStore(idle_seconds=1.0)
    dataset = store.add_dataset(SAMPLES / f"{name}.csv", f"{name}.csv")
    targets = ("c_seal", "c_bearing", "c_result") if name == "assembly" else ()
    return RunSpec(dataset.sha256, dataset.name, targets=targets, settings=SMALL | settings)


def healthy(app: AppTest) -> AppTest:
    """The page, which met neither an exception nor a fault of ours."""
    assert not app.exception
    assert not [error.value for error in app.error if "report reference" in error.value or "参照番号" in error.value]
    return app


def with_data(app: AppTest) -> AppTest:
    """The page after a click on the data under each of its charts."""
    for block in app.expander:
        if (block.key or "").endswith("_table"):
            app.session_state[block.key] = True
    return healthy(app.run())


def wait_until_ended(store: RunStore, run: str, seconds: float = 240.0) -> State:
    """The state in which a run ended."""
    until = time.monotonic() + seconds
    while not (view := store.run(run)).state.ended:
        assert time.monotonic() < until, f"the run is still {view.state.value}"
        time.sleep(0.2)
    return view.state


@pytest.fixture
def no_runner(private_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is queued stays so: nobody starts a runner, and nobody else can be it."""
    monkeypatch.setattr("jebm_core.runs.store.start_runner", lambda *_args, **_more: False)
    home = RunStore().home
    lock = FileLock(home.runner_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:  # earlier tests left one behind, which waits a minute for more work
        os.kill(json.loads((home.folder / "runner.json").read_text("utf-8"))["pid"], signal.SIGTERM)
        lock.acquire(timeout=60)
    yield
    lock.release()


@pytest.fixture(scope="session")
def finished(private_home: Path) -> dict[str, str]:
    """Names of finished runs: ``suppliers``, with replicates, and ``assembly``, without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        store = RunStore(idle_seconds=1.0)
        specs = {"suppliers": small_spec("suppliers", replicates=2), "assembly": small_spec("assembly")}
        runs = {name: store.submit(spec) for name, spec in specs.items()}
        for name, run in runs.items():
            state = wait_until_ended(store, run)
            assert state is State.SUCCEEDED, (name, str(store.run(run).message))
    return runs
