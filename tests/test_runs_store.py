"""The run store without a runner: what is kept, what is refused, and who may write."""

import json
import math
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, text, update
from sqlalchemy.exc import IntegrityError

from jebm_core.errors import SpecError, UserError
from jebm_core.runs import Home, Message, RunSpec, RunStore, State, default_home
from jebm_core.runs.context import JobContext
from jebm_core.runs.database import HEAD, Database, this_host
from jebm_core.runs.home import plain_name, write_atomically, write_json
from jebm_core.runs.identity import ProcessIdentity, identity_of, is_alive
from jebm_core.runs.migrations import known
from jebm_core.runs.queue import LastWord, RunQueue
from jebm_core.runs.records import Span, progress_step
from jebm_core.runs.schema import held_slot, metadata
from jebm_core.runs.schema import run as run_table
from jebm_core.runs.streams import LogStream

ROOT = Path(__file__).resolve().parent.parent
ME = identity_of(os.getpid()) or ProcessIdentity(0, "", "")


@pytest.fixture
def filed(tmp_path: Path) -> RunStore:
    """A store in a file."""
    return RunStore(Home(tmp_path / "home of 組合せ"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """A store in a file, and one in PostgreSQL: whoever uses them finds no difference."""
    url = request.getfixturevalue("database_url") if request.param == "postgresql" else None
    return RunStore(Home(tmp_path / "home of 組合せ", url))


def spec_of(store: RunStore, **values: object) -> RunSpec:
    data = store.add_dataset(b"y_a,y_b\n1,0\n", "t.csv")
    return RunSpec(data.sha256, data.name, **values)  # pyright: ignore[reportArgumentType]


def test_importing_runs_imports_no_torch() -> None:
    code = (
        "import sys, jebm_core.runs, jebm_core.runs.runner; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_home_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "here"))
    assert default_home().folder == tmp_path / "here"
    monkeypatch.delenv("JEBM_HOME")
    assert default_home().folder.name == "jebm"
    assert default_home().folder.is_absolute()


@pytest.mark.parametrize("name", ["", "..", "a/..", "a\nb.csv", "x" * 201, "組" * 70 + ".csv"])
def test_a_name_that_is_no_file_name_is_refused(store: RunStore, name: str) -> None:
    with pytest.raises(UserError, match="Rename the file"):
        store.add_dataset(b"1", name)


@pytest.mark.parametrize("run_id", ["", "../../etc", "ab/cd", "AB12CD", "a b c d", "x" * 40])
def test_a_text_that_is_no_run_name_is_refused(store: RunStore, run_id: str) -> None:
    with pytest.raises(UserError, match="name of a run"):
        store.run(run_id)
    with pytest.raises(UserError, match="name of a run"):
        store.delete(run_id)


def test_contents_are_kept_once(store: RunStore, tmp_path: Path) -> None:
    first = store.add_dataset(b"y_a\n1\n", r"C:\data\注文.csv")
    (tmp_path / "other.csv").write_bytes(b"y_a\n1\n")
    second = store.add_dataset(tmp_path / "other.csv", "other.csv")
    assert (first.name, second.name, first.sha256) == ("注文.csv", "other.csv", second.sha256)
    assert store.dataset_file(first.sha256).read_bytes() == b"y_a\n1\n"
    assert second.bytes == 6
    assert [path.name for path in (store.home.folder / "datasets").rglob("*.csv")] == ["注文.csv"]
    assert [data.name for data in RunStore(store.home).datasets()] == ["注文.csv"]


def test_equal_uploads_at_once(store: RunStore) -> None:
    failures: list[Exception] = []

    def upload(place: int) -> None:
        try:
            store.add_dataset(b"y_a\n1\n" * 1000, f"t{place}.csv")
        except Exception as error:  # noqa: BLE001  a thread can't fail a test by itself
            failures.append(error)

    threads = [threading.Thread(target=upload, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.datasets()) == 1
    assert len([path for path in (store.home.folder / "datasets").rglob("*") if path.is_file()]) == 1


def test_four_processes_make_one_store(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from jebm_core.runs import *; RunStore(Home(Path(sys.argv[1])))"
    line = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "new")]
    makers = [subprocess.Popen(line, cwd=ROOT) for _ in range(4)]
    assert [maker.wait(30) for maker in makers] == [0] * 4


def test_a_store_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="set JEBM_HOME"):
        RunStore(Home(tmp_path / "file" / "home"))
    (tmp_path / "jebm.sqlite").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(UserError, match="could not use it: file is not a database"):
        RunStore(Home(tmp_path))


OLD = """
CREATE TABLE dataset (
    sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE run (
    id TEXT PRIMARY KEY, dataset TEXT NOT NULL REFERENCES dataset (sha256), spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    message TEXT, stop_reason TEXT, created REAL NOT NULL, place INTEGER NOT NULL, claimed REAL, started REAL,
    finished REAL, heartbeat REAL, cancel_requested REAL, attempt INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 1, pid INTEGER, process_started TEXT, boot TEXT, last_step INTEGER
) WITHOUT ROWID;
CREATE INDEX run_by_state ON run (state, place);
CREATE TABLE progress (
    run TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE, step INTEGER NOT NULL, written REAL NOT NULL,
    fields TEXT NOT NULL, PRIMARY KEY (run, step)
) WITHOUT ROWID;
"""
"""Files from before the store knew alembic: version 1, and what versions 2 and 3 added."""
ADDED = {
    2: """CREATE TABLE generator (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, rules TEXT NOT NULL, reference TEXT NOT NULL,
    source TEXT NOT NULL, created REAL NOT NULL, UNIQUE (name, version)
) WITHOUT ROWID;""",
    3: """ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT 'fit';
ALTER TABLE run ADD COLUMN parent TEXT NOT NULL DEFAULT '';
CREATE INDEX run_by_parent ON run (parent, kind, created);""",
}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_store_of_an_earlier_version_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    home = Home(tmp_path / "old")
    home.folder.mkdir()
    data, run = "ab" * 32, "abcdef"
    spec = json.dumps({"dataset": data, "dataset_name": "t.csv", "settings": {"samples": 4}})
    reports = [
        (run, step, 5.0, json.dumps({"epoch": step, "stage": "training", "x": x, "y": None})) for step, x in REPORTS
    ]
    with sqlite3.connect(home.folder / "jebm.sqlite") as old:
        old.executescript(OLD + "".join(ADDED[step] for step in range(2, version + 1)))
        old.execute("INSERT INTO dataset VALUES (?, 't.csv', 3, 1.0)", (data,))
        old.execute(
            "INSERT INTO run (id, dataset, spec, state, created, place, last_step) VALUES (?, ?, ?, 'failed', 2, 1, 2)",
            (run, data, spec),
        )
        old.executemany("INSERT INTO progress VALUES (?, ?, ?, ?)", reports)
        old.execute(f"PRAGMA user_version = {version}")
    old.close()
    code = "import sys; from pathlib import Path; from jebm_core.runs import *; RunStore(Home(Path(sys.argv[1])))"
    line = [sys.executable, "-W", "error", "-c", code, str(home.folder)]
    upgrades = [subprocess.Popen(line, cwd=ROOT) for _ in range(3)]
    assert [upgrade.wait(60) for upgrade in upgrades] == [0] * 3
    new = RunStore(home)
    view = new.run(run)
    assert (view.spec.rules, view.spec.generator, view.spec.settings) == ("", "", {"samples": 4})
    assert [other.id for other in new.list_runs()] == [run]
    assert new.about(run, "learning-curve") == ()
    assert [dataset.name for dataset in new.datasets()] == ["t.csv"]
    assert new.generators.save("G", "a").title == "G · 1"
    history = new.history(run)
    assert [dict(row.values) for row in history] == [
        {"epoch": step, "stage": "training", "x": x, "y": None} for step, x in REPORTS
    ]
    assert view.progress == history[-1]
    assert new.parameters(run)["settings.samples"] == 4
    assert new.spans([run], ["x"])[run, "x"] == Span(0.25, 0.25, math.inf)


REPORTS = ((1, math.inf), (2, 0.25))


def test_a_run_that_is_running_during_the_upgrade_keeps_its_slot(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.folder.mkdir()
    file = Path(home.database)
    config = Config()
    config.set_main_option("script_location", str(ROOT / "jebm_core" / "runs" / "migrations"))
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(text("INSERT INTO dataset VALUES ('ab', 't.csv', 3, 1.0)"))
        row = "('abcdef', 'ab', '{}', 'running', 2, 1, 1, :host, 'cuda:1')"
        names = "(id, dataset, spec, state, created, place, attempt, host, slot)"
        connection.execute(text(f"INSERT INTO run {names} VALUES {row}"), {"host": this_host()})
    engine.dispose()
    store = RunStore(home)
    data = store.add_dataset(b"y_a\n1\n", "t.csv")
    store.enqueue(RunSpec(data.sha256, data.name))
    queue = RunQueue(home)
    assert queue.claim(("cuda:1",)) is None, "the run from before holds it"
    claim = queue.claim(("cuda:0", "cuda:1"))
    assert claim is not None
    assert claim.slot == "cuda:0"


def test_the_steps_of_the_upgrade_lead_to_the_tables_that_the_code_works_with(store: RunStore) -> None:
    with Database(store.home.database).reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert known()[0] == HEAD


def test_studies_are_found_by_their_run_and_go_with_it(store: RunStore) -> None:
    data = store.add_dataset(b"y_a\n1\n", "t.csv")
    run = store.enqueue(RunSpec(data.sha256, data.name))
    of_run = {"kind_of_work": "learning-curve", "parent": run}
    first, second = (store.enqueue(RunSpec(data.sha256, data.name, **of_run)) for _ in range(2))
    mended = store.enqueue(RunSpec(data.sha256, data.name, kind_of_work="recalibrate", parent=run))
    assert [view.id for view in store.list_runs()] == [mended, run]  # a study is no model
    assert [view.id for view in store.about(run, "learning-curve")] == [second, first]
    with Database(store.home.database).writing() as connection:
        connection.execute(update(run_table).where(run_table.c.id != second).values(state="succeeded"))
    with pytest.raises(UserError, match="study of run"):
        store.delete(run)
    store.cancel(second)
    store.delete(run)
    assert [view.id for view in store.list_runs()] == [mended]
    assert store.about(run, "learning-curve") == ()


def test_generator_versions_count_up_and_never_change(store: RunStore) -> None:
    shelf = store.generators
    first = shelf.save("  Drive   units ", "A requires B", "uniform")
    assert (first.title, first.reference, first.source) == ("Drive units · 1", "uniform", "")
    assert shelf.save("Drive units", "A requires B", "uniform") == first, "the same again is no new version"
    second = shelf.save("Drive units", "A requires B", "table", "abc")
    other = shelf.save("別の候補生成器", "A requires B", "uniform")
    assert (second.version, other.version) == (2, 1)
    assert shelf.save("Drive units", "A requires B", "uniform").version == 3, "an older text again is a new version"
    assert [version.title for version in shelf.versions()][-1] == "Drive units · 1"
    assert shelf.version(second.id) == second
    shelf.delete(second.id)
    assert shelf.save("Drive units", "C", "uniform").version == 4, "a number is not given twice"
    with pytest.raises(UserError, match="no generator version"):
        shelf.version(second.id)
    with pytest.raises(UserError, match="no generator version"):
        shelf.delete(second.id)
    assert RunStore(store.home).generators.versions() == shelf.versions()


@pytest.mark.parametrize("name", ["", "   ", "x" * 81])
def test_a_generator_needs_a_name(store: RunStore, name: str) -> None:
    with pytest.raises(UserError, match="1 to 80 characters"):
        store.generators.save(name, "A requires B")


def test_equal_names_saved_at_once_get_numbers_of_their_own(store: RunStore) -> None:
    threads = [threading.Thread(target=store.generators.save, args=("G", f"rule {i}")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(version.version for version in store.generators.versions()) == list(range(1, 9))


def test_a_store_of_a_later_version_is_refused(store: RunStore) -> None:
    with Database(store.home.database).writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    with pytest.raises(UserError, match="version 0099"):
        RunStore(store.home)


def test_a_spec_survives_the_store(store: RunStore) -> None:
    spec = spec_of(
        store,
        title="試行",
        targets=("y_*",),
        features=(),
        kind="subsets",
        settings={"epochs": 3, "nested": {"a": [1, None]}},
        hold_out_fraction=0.25,
        hold_out_mode="combinations",
        seed=7,
        language="ja",
    )
    run_id = store.enqueue(spec)
    view = store.run(run_id)
    assert view.spec == spec
    assert view.state is State.QUEUED
    assert view.attempt == 0
    assert view.elapsed is None
    assert view.seconds_left is None
    assert view.progress is None
    with pytest.raises(SpecError, match="unknown entries later"):
        RunSpec.from_json({**spec.to_json(), "later": 1})


@pytest.mark.parametrize(
    "values",
    [
        {"hold_out_fraction": 1.0},
        {"hold_out_fraction": float("nan")},
        {"hold_out_fraction": -0.1},
        {"seed": -1},
        {"processes": 0},
        {"processes": 9},
    ],
)
def test_an_impossible_spec_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="Choose"):
        RunSpec("0", "t.csv", **values)  # pyright: ignore[reportArgumentType]


def test_a_run_needs_its_data(store: RunStore) -> None:
    with pytest.raises(UserError, match="Upload the file again"):
        store.enqueue(RunSpec("ab" * 32, "t.csv"))


def test_runs_are_claimed_one_at_a_time_in_their_order(store: RunStore) -> None:
    spec = spec_of(store)
    first, second = store.enqueue(spec), store.enqueue(spec)
    assert [view.id for view in store.list_runs()] == [second, first]
    assert len(store.list_runs(limit=1)) == 1
    queue = RunQueue(store.home)
    claim = queue.claim()
    assert claim is not None
    assert (claim.run_id, claim.attempt, claim.process) == (first, 1, None)
    assert queue.claim() is None
    assert queue.finish(first, LastWord(1, State.SUCCEEDED))
    claim = queue.claim()
    assert claim is not None
    assert claim.run_id == second


def test_a_run_of_several_processes_takes_several_slots_and_is_not_passed_by(store: RunStore) -> None:
    gpus = ("cuda:0", "cuda:1", "cuda:2")
    one, pair = spec_of(store), spec_of(store, processes=2)
    first, second, third, fourth = (store.enqueue(spec) for spec in (one, pair, pair, one))
    queue = RunQueue(store.home)
    claims = [queue.claim(gpus) for _ in range(2)]
    assert [(claim.run_id, claim.slot, claim.processes) for claim in claims if claim is not None] == [
        (first, "cuda:0", 1),
        (second, "cuda:1,cuda:2", 2),
    ]
    assert queue.finish(first, LastWord(1, State.SUCCEEDED))
    assert queue.claim(gpus) is None, "one slot is free, and the next run needs two: nobody goes before it"
    assert queue.requeue(second, 1)
    assert store.run(second).state is State.QUEUED
    claims = [queue.claim(gpus) for _ in range(2)]
    assert [(claim.run_id, claim.slot) for claim in claims if claim is not None] == [(second, "cuda:0,cuda:1")]
    assert queue.finish(second, LastWord(2, State.FAILED))
    claims = [queue.claim(gpus) for _ in range(3)]
    assert [(claim.run_id, claim.slot) for claim in claims if claim is not None] == [
        (third, "cuda:0,cuda:1"),
        (fourth, "cuda:2"),
    ]


def test_fewer_gpus_than_processes_are_all_taken_and_a_processor_is_one_slot(store: RunStore) -> None:
    first, second = (store.enqueue(spec_of(store, processes=4)) for _ in range(2))
    queue = RunQueue(store.home)
    claim = queue.claim(("cuda:0", "cuda:1"))
    assert claim is not None
    assert (claim.run_id, claim.slot) == (first, "cuda:0,cuda:1")
    assert queue.finish(first, LastWord(1, State.SUCCEEDED))
    claim = queue.claim()
    assert claim is not None
    assert (claim.run_id, claim.slot, claim.processes) == (second, "cpu", 4)


def test_the_database_refuses_a_second_job_on_a_slot(store: RunStore) -> None:
    first, second = (store.enqueue(spec_of(store)) for _ in range(2))
    claim = RunQueue(store.home).claim()
    assert claim is not None
    row = {"host": claim.host, "slot": "cpu", "run": second}
    with pytest.raises(IntegrityError), Database(store.home.database).writing() as connection:
        connection.execute(insert(held_slot), row)
    with Database(store.home.database).writing() as connection:  # as nothing in jebm does
        connection.execute(update(run_table).where(run_table.c.id == first).values(state="failed"))
    claim = RunQueue(store.home).claim()
    assert claim is not None
    assert claim.run_id == second, "a run that is not running holds no slot"


def test_a_superseded_attempt_can_write_nothing(store: RunStore) -> None:
    run_id = store.enqueue(spec_of(store))
    queue = RunQueue(store.home)
    queue.claim()
    assert queue.begin(run_id, 1, ME) == store.run(run_id).spec
    assert queue.begin(run_id, 1, ME) is None, "a second process of the same attempt"
    assert queue.record(run_id, 1, [(1, 0.0, {"epoch": 1})])
    assert queue.beat(run_id, 1)
    assert queue.requeue(run_id, 1)
    assert queue.claim() is not None
    assert not queue.beat(run_id, 1)
    assert not queue.record(run_id, 1, [(2, 0.0, {"epoch": 2})])
    assert not queue.finish(run_id, LastWord(1, State.SUCCEEDED))
    assert not queue.requeue(run_id, 1)
    assert queue.begin(run_id, 1, ME) is None
    assert queue.begin(run_id, 2, ME) is not None
    assert not queue.requeue(run_id, 2, least=4), "three tries were left"
    assert queue.finish(run_id, LastWord(2, State.FAILED, Message("{a}", {"a": 1})))
    assert len(store.history(run_id)) == 1
    assert str(store.run(run_id).message) == "1"


@dataclass(frozen=True)
class Report:
    stage: str
    epoch: int
    objective: float


def test_a_resumed_run_writes_over_its_reports_and_waits_for_room(filed: RunStore) -> None:
    store = filed
    run_id = store.enqueue(spec_of(store))
    queue = RunQueue(store.home)
    queue.claim()
    spec = queue.begin(run_id, 1, ME)
    assert spec is not None
    context = JobContext(store.home, queue, run_id, 1, spec)
    try:
        for epoch in (0, 1, 1, 2):
            context.on_progress(Report("training", epoch, float("inf")))
        context.on_progress(Report("audit", 0, 0.5))
        context.on_progress(Report("reference", 0, 2.0))
        assert [row.values["objective"] for row in store.history(run_id)] == [2.0, *[float("inf")] * 3, 0.5]
        latest = store.run(run_id).progress
        assert latest is not None
        assert latest.values["stage"] == "reference"
        database = Path(store.home.database)
        away = database.with_suffix(".away")
        database.rename(away)
        context.on_progress(Report("training", 3, 1.0))
        assert not context.flush()
        away.rename(database)
        assert context.flush()
        assert store.history(run_id)[-2].step == progress_step("training", 3)
        assert not context.should_stop()
    finally:
        context.close()


def test_a_last_word_survives_its_file() -> None:
    word = LastWord(2, State.FAILED, Message("{a!r} of {b}", {"a": "x", "b": (1, 2.5)}), None)
    again = LastWord.from_text(json.dumps(word.to_json()))
    assert (again.attempt, again.state, again.stop_reason) == (2, State.FAILED, None)
    assert again.message is not None
    assert again.message.render({}.get) == "'x' of [1, 2.5]"


def test_a_process_is_known_by_more_than_its_number() -> None:
    assert is_alive(ME)
    assert not is_alive(ProcessIdentity(ME.pid, "an earlier start", ME.boot))
    assert not is_alive(ProcessIdentity(ME.pid, ME.started, "an earlier boot"))
    child = subprocess.Popen([sys.executable, "-c", ""])
    identity = identity_of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) if os.name == "posix" else child.wait()
    assert identity is not None
    assert not is_alive(identity), "a zombie does not live"
    child.wait()


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.json"
    write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"a": float("nan")})
    write_atomically(target.with_name("b"), b"2")
    assert sorted(path.name for path in target.parent.iterdir()) == ["b", "file.json"]
    assert '"a": 1' in target.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_does_not_end_a_job_that_prints(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    room = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    descriptor = os.dup(full)
    try:
        stream = LogStream(descriptor)
        print("lost", file=stream, flush=True)
        assert stream.dropped == 5
        os.dup2(room, descriptor)
        print("kept", file=stream, flush=True)
        content = (tmp_path / "log").read_text()
        assert content == "[5 characters of this log were lost: the disk was full]\nkept\n"
    finally:
        for each in (full, room, descriptor):
            os.close(each)


def test_the_last_part_of_a_name_counts() -> None:
    assert plain_name("a\\b/c.csv") == "c.csv"
