"""Kills at random moments, and a disk that fills up: every run ends as if nothing had happened.

``make faults`` kills servers, runners, jobs, and torchrun with its processes, twenty times each within a minute of
work; without it the same tests are shorter.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jebm_core.runs import Home, RunStore, State
from jebm_core.runs.queue import RunQueue
from tests.test_runs import ROOT, ended, processes_of, spec_of, steps_of, until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")

KILLS = int(os.environ.get("JEBM_FAULT_KILLS", "4"))
SECONDS = float(os.environ.get("JEBM_FAULT_SECONDS", "5"))
PAUSE = 0.05

PAGE = """
import sys, time
from contextlib import suppress
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from jebm_core.errors import UserError
from jebm_core.runs import Home, RunStore
store = RunStore(Home(Path(sys.argv[1])), idle_seconds=0.5)
while True:
    with suppress(UserError):  # a runner that was killed while it started: the next look starts another
        store.ensure_runner()
    [store.history(view.id) for view in store.list_runs()]
    time.sleep(0.05)
"""
"""What a server does for the pages that look at runs."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    store = RunStore(Home(tmp_path / "home"), idle_seconds=0.5)
    yield store
    for process in processes_of(store.home):
        with suppress(psutil.Error):
            process.kill()
    for page in PAGES:
        page.wait()
    PAGES.clear()


PAGES: list[subprocess.Popen[bytes]] = []


def open_page(store: RunStore) -> subprocess.Popen[bytes]:
    PAGES.append(subprocess.Popen([sys.executable, "-c", PAGE, str(store.home.folder), str(ROOT)]))
    return PAGES[-1]


def jobs_of(home: Home) -> list[int]:
    """Jobs lead sessions of their own; a process that a job has just begun to start looks like it for a moment."""
    found = []
    for process in processes_of(home, "jebm_core.runs.job"):
        with suppress(ProcessLookupError):
            found += [process.pid] if os.getsid(process.pid) == process.pid else []
    return found


def victims(store: RunStore, run_id: str, page: subprocess.Popen[bytes]) -> dict[str, Callable[[], int | None]]:
    def runner() -> int | None:
        found = processes_of(store.home, "jebm_core.runs.runner")
        return found[0].pid if found else None

    return {"server": lambda: page.pid, "runner": runner, "job": lambda: store.run(run_id).pid}


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["server", "runner", "job"])
def test_killed_at_random_moments_the_run_ends_as_if_undisturbed(store: RunStore, victim: str) -> None:
    """Seeded moments; which instruction a kill hits still differs from run to run."""
    steps = round(SECONDS / PAUSE)
    page = open_page(store)
    run_id = store.submit(spec_of(store, steps=steps, pause=PAUSE, child=True))
    chance = random.Random(f"{victim} 0")
    done = 0
    for _ in range(KILLS):
        wait = time.monotonic() + chance.uniform(0.2, 2 * SECONDS / KILLS - 0.2)
        while time.monotonic() < wait:
            assert len(jobs_of(store.home)) <= 1, "never two jobs on a slot"
            time.sleep(0.03)
        pid = victims(store, run_id, page)[victim]()
        if pid is None or store.run(run_id).state.ended:
            continue
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done += 1
        if victim == "server":
            page.wait()
            page = open_page(store)
    view = ended(store, run_id, 60 + 4 * SECONDS)
    page.kill()
    page.wait()
    assert done >= KILLS / 2
    assert view.attempt == 1 or victim == "job"
    require_undisturbed(store, run_id, steps)


def require_undisturbed(store: RunStore, run_id: str, steps: int) -> None:
    """The run succeeded with the history of a run that nobody disturbs, and nothing of it is left."""
    view = store.run(run_id)
    assert view.state is State.SUCCEEDED, (str(view.message), store.events(run_id))
    assert steps_of(store, run_id) == list(range(steps))
    assert [row.values["objective"] for row in store.history(run_id)] == [1 / (1 + step) for step in range(steps)]
    until(lambda: not processes_of(store.home), "no process is left", 20)


def torchrun_and_ranks(home: Home) -> tuple[list[int], list[int]]:
    """What torchrun has just begun to start has its command line for a moment, but no session of its own."""
    torchrun, ranks = [], []
    found = processes_of(home, "jebm_core.runs.job")
    for process in found:
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) != process.pid:
                continue
            if "torch.distributed.run" not in process.cmdline():
                ranks.append(process.pid)
            elif process.ppid() not in {one.pid for one in found}:  # else a child that is about to become a rank
                torchrun.append(process.pid)
    return torchrun, ranks


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["any", "torchrun", "first", "other"] if KILLS > 4 else ["any"])
def test_processes_of_torchrun_killed_at_random_moments(store: RunStore, victim: str) -> None:
    """The first process, the other one, torchrun itself, or any of the three and the runner.

    It takes them seconds to start. A run is given up that dies twice before its first checkpoint or four times at the
    same place, so no more than two kills in succession hit a start; the others come at a random moment after a new
    report.
    """
    steps = round(SECONDS / PAUSE)
    page = open_page(store)
    run_id = store.submit(replace(spec_of(store, steps=steps, pause=PAUSE, child=True), processes=2))
    chance = random.Random(f"{victim} 0")
    done = 0
    while done < KILLS and not store.run(run_id).state.ended:
        wait = time.monotonic() + chance.uniform(0.1, max(0.2, 2 * SECONDS / KILLS - 0.2))
        while (time.monotonic() < wait or not may_be_killed(store, run_id)) and not store.run(run_id).state.ended:
            torchrun, ranks = torchrun_and_ranks(store.home)
            assert len(torchrun) <= 1, "never two jobs on a slot"
            assert len(ranks) <= 2
            time.sleep(0.03)
        chosen = chance.choice(["torchrun", "first", "other", "runner"]) if victim == "any" else victim
        pid = one_of(store, run_id, chosen)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                done += 1
    view = ended(store, run_id, 120 + 8 * SECONDS)
    page.kill()
    page.wait()
    assert done >= KILLS / 2
    assert view.attempt > 1
    require_undisturbed(store, run_id, steps)


def may_be_killed(store: RunStore, run_id: str) -> bool:
    """Whether it would be taken up again, twice over."""
    claim = RunQueue(store.home).watched(run_id)
    return claim is not None and claim.retries > 1 and store.folder(run_id).has_checkpoint()


def one_of(store: RunStore, run_id: str, victim: str) -> int | None:
    torchrun, ranks = torchrun_and_ranks(store.home)
    first = store.run(run_id).pid
    runner = [process.pid for process in processes_of(store.home, "jebm_core.runs.runner")]
    found = {
        "torchrun": torchrun,
        "first": [pid for pid in ranks if pid == first],
        "other": [pid for pid in ranks if pid != first],
        "runner": runner,
    }[victim]
    return found[0] if found else None


@pytest.mark.slow
def test_a_full_disk_loses_nothing_once_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JEBM_TEST_WORK", "1")
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk: mounting a tmpfs needs root")
    try:
        store = RunStore(Home(disk / "home"), idle_seconds=0.5)
        run_id = store.submit(spec_of(store, steps=100, pause=0.05))
        until(lambda: len(steps_of(store, run_id)) > 5, "the first reports")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        time.sleep(1.5)
        stuck = len(steps_of(store, run_id))
        time.sleep(0.5)
        assert len(steps_of(store, run_id)) == stuck, "the disk is full"
        filler.unlink()
        store.ensure_runner()
        view = ended(store, run_id, 60)
        assert view.state is State.SUCCEEDED, str(view.message)
        assert steps_of(store, run_id) == list(range(100))
        until(lambda: not processes_of(store.home), "no process is left", 20)
    finally:
        for process in processes_of(Home(disk / "home")):
            process.kill()
        until(lambda: subprocess.run(["umount", str(disk)], capture_output=True).returncode == 0, "unmounted")
