"""Projects, model versions, who did what, and deletions that leave nothing behind, killed in between or not."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from jebm_core.cli import main
from jebm_core.errors import SpecError, UserError
from jebm_core.runs import Home, RunSpec, RunStore
from jebm_core.runs.database import Database
from jebm_core.runs.projects import see_to
from jebm_core.runs.queue import RunQueue
from jebm_core.runs.records import LEARNING_CURVE, RECALIBRATE, SWEEP
from jebm_core.runs.schema import leaving, model_version
from jebm_core.runs.schema import run as run_table

ROOT = Path(__file__).resolve().parent.parent
MARKER = "Ryokan-Matsu-4711"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RunStore:
    """A store in a file, and one in PostgreSQL."""
    url = request.getfixturevalue("database_url") if request.param == "postgresql" else None
    return RunStore(Home(tmp_path / "home", url), who="aoi")


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A store in a file, which the command line finds too."""
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    return RunStore(Home(tmp_path / "home"), who="aoi")


def enqueued(store: RunStore, content: bytes = b"y_a,y_b\n1,0\n", **values: object) -> str:
    data = store.add_dataset(content, "t.csv")
    return store.enqueue(RunSpec(data.sha256, data.name, **values))  # pyright: ignore[reportArgumentType]


def set_state(store: RunStore, *runs: str, state: str = "succeeded", finished: float | None = None) -> None:
    with Database(store.home.database).writing() as connection:
        change = update(run_table).where(run_table.c.id.in_(runs))
        connection.execute(change.values(state=state, finished=time.time() if finished is None else finished))


def succeeded(store: RunStore, content: bytes = b"y_a,y_b\n1,0\n", **values: object) -> str:
    """A run that ended well, with files as a job leaves them."""
    run = enqueued(store, content, **values)
    set_state(store, run)
    folder = store.folder(run)
    for file in (folder.model / "model.json", folder.checkpoint / "c.bin", folder.evaluation, folder.log):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"of {run}")
    return run


def files_of(home: Home) -> list[Path]:
    return [file for file in home.folder.rglob("*") if file.is_file()]


# ---- projects and versions -------------------------------------------------------------------------------------------


def test_runs_belong_to_projects(store: RunStore) -> None:
    first, second = enqueued(store), enqueued(store, project="Drive units")
    assert {one.name: (one.owner, one.runs) for one in store.projects.projects()} == {
        "default": ("", 1),
        "Drive units": ("", 1),
    }
    assert store.run(first).spec.project == "default"
    assert [view.id for view in store.list_runs(project="Drive units")] == [second]
    assert store.projects.add(" Boats ", owner="aoi").owner == "aoi"
    assert store.projects.add("Boats", owner="aoi").name == "Boats"
    with pytest.raises(UserError, match="belongs to 'aoi'"):
        store.projects.add("Boats", owner="ren")
    assert store.projects.give("Boats", "ren").owner == "ren"
    with pytest.raises(UserError, match=r"no project 'Ships'.*Boats"):
        store.projects.give("Ships", "ren")
    with pytest.raises(SpecError, match="1 to 80 characters"):
        store.projects.add("  ")


def test_a_version_goes_up_the_stages_and_one_is_in_production(store: RunStore) -> None:
    first, second = succeeded(store), succeeded(store)
    shelf = store.models
    one, two = shelf.add(" drive ", first, "the first"), shelf.add("drive", second)
    assert (one.title, one.stage, one.note, two.version) == ("drive · 1", "candidate", "the first", 2)
    assert shelf.add("drive", first) == one, "a run is one version of a name"
    assert shelf.add("boat", first).version == 1
    shelf.promote("drive", 1, "production")
    assert shelf.in_stage("drive").version == 1
    shelf.promote("drive", 2, "production")
    assert {two.version: two.stage for two in shelf.versions("drive")} == {1: "archived", 2: "production"}
    assert shelf.annotate("drive", 2, "better on new orders").note == "better on new orders"
    assert [version.title for version in shelf.of_run(first)] == ["boat · 1", "drive · 1"]
    with pytest.raises(UserError, match="no model 'drive' in the stage trial"):
        shelf.in_stage("drive", "trial")
    with pytest.raises(SpecError, match="Expected a stage among candidate, trial"):
        shelf.promote("drive", 1, "live")
    with pytest.raises(UserError, match="no version 9"):
        shelf.promote("drive", 9, "trial")
    with pytest.raises(UserError, match="is queued"):
        shelf.add("drive", enqueued(store))
    with pytest.raises(UserError, match="no run 'zzzz'"):
        shelf.add("drive", "zzzz")
    with pytest.raises(SpecError, match="at most 2000 characters"):
        shelf.annotate("drive", 1, "x" * 2001)
    with pytest.raises(IntegrityError), Database(store.home.database).writing() as connection:
        connection.execute(update(model_version).where(model_version.c.name == "drive").values(stage="production"))


def test_versions_promoted_at_once_leave_one_in_production(store: RunStore) -> None:
    versions = [store.models.add("drive", succeeded(store)).version for _ in range(6)]
    threads = [threading.Thread(target=store.models.promote, args=("drive", one, "production")) for one in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stages = sorted(version.stage for version in store.models.versions("drive"))
    assert stages == ["archived"] * 5 + ["production"]


def test_what_was_done_is_written_down_and_stays(store: RunStore) -> None:
    run = succeeded(store, project="Boats")
    store.models.add("boat", run)
    store.models.promote("boat", 1, "trial")
    store.ledger.add("exported", run, rows=3)
    sha256 = store.run(run).spec.dataset
    RunStore(store.home, who="ren").delete_project("Boats")
    said = [(one.who, one.what, one.about) for one in reversed(store.ledger.entries())]
    assert said == [
        ("aoi", "ran", run),
        ("aoi", "promoted", "boat · 1"),
        ("aoi", "promoted", "boat · 1"),
        ("aoi", "exported", run),
        ("ren", "deleted", run),
        ("ren", "deleted", sha256),
        ("ren", "deleted", "Boats"),
    ]
    assert [one.details for one in store.ledger.entries("boat · 1")] == [
        {"stage": "trial"},
        {"run": run, "stage": "candidate"},
    ]
    assert RunStore(store.home).who, "without a name it is the account"


# ---- deletion --------------------------------------------------------------------------------------------------------


def test_what_only_the_deleted_runs_need_goes_with_them(store: RunStore) -> None:
    shared, own, later, other = (f"y_a\n{row}\n".encode() for row in ("1", "0", "1\n1", "0\n0"))
    stays = succeeded(store, shared)
    third = store.add_dataset(later, "later.csv").sha256
    used_by_generator = store.add_dataset(b"y_a\n0\n1\n", "candidates.csv").sha256
    store.generators.save("G", "", "table", used_by_generator)
    unrelated = store.add_dataset(other, "not yet used.csv").sha256
    on_shared = succeeded(store, shared, source=used_by_generator)
    on_own = succeeded(store, own, source=third)
    study = succeeded(store, own, kind_of_work=LEARNING_CURVE, parent=on_own)
    mended = succeeded(store, shared, kind_of_work=RECALIBRATE, parent=on_own)
    sweep = succeeded(store, shared, kind_of_work=SWEEP)
    trial = succeeded(store, shared, parent=sweep)
    of_trial = succeeded(store, shared, kind_of_work=LEARNING_CURVE, parent=trial)
    plan = store.retention.planned([on_own, on_shared, sweep])
    removal = store.delete([on_own, on_shared, sweep])
    assert removal == plan
    assert set(removal.runs) == {on_own, on_shared, study, sweep, trial, of_trial}
    assert len(removal.datasets) == 2
    assert removal.bytes == sum(4 * len(f"of {run}") for run in removal.runs) + len(own) + len(later)
    assert {view.id for view in store.list_runs()} == {stays, mended}
    kept = {data.sha256 for data in store.datasets()}
    assert kept == {store.run(stays).spec.dataset, used_by_generator, unrelated}
    assert {folder.name for folder in (store.home.folder / "datasets").iterdir()} == kept
    assert {folder.name for folder in (store.home.folder / "runs").iterdir()} == {stays, mended}
    with Database(store.home.database).reading() as connection:
        assert connection.execute(select(leaving)).all() == []


def test_a_run_that_something_needs_is_not_deleted(store: RunStore) -> None:
    run = succeeded(store)
    needs = enqueued(store, source=run)
    with pytest.raises(UserError, match=f"Run {needs} needs run {run}"):
        store.delete(run)
    queue = RunQueue(store.home)
    queue.claim()
    with pytest.raises(UserError, match="still running"):
        store.delete([run, needs])
    set_state(store, needs, state="cancelled")
    sweep = enqueued(store, kind_of_work=SWEEP)
    trial = succeeded(store, parent=sweep)
    with pytest.raises(UserError, match=f"belongs to run {sweep}"):
        store.delete(trial)
    with pytest.raises(UserError, match="There is no run"):
        store.delete([run, "nosuch"])
    with pytest.raises(UserError, match="no project"):
        store.delete_project("nosuch")
    assert {view.id for view in store.list_runs()} == {run, needs, trial}
    store.models.add("drive", run)
    store.models.promote("drive", 1, "production")
    with pytest.raises(UserError, match="version 1 of the model drive, which is in production"):
        store.delete(run)
    store.models.promote("drive", 1, "archived")
    store.delete(run)
    (version,) = store.models.versions("drive")
    assert (version.run, version.stage) == (None, "archived")
    assert store.models.add("drive", trial).version == 2, "no number is given twice"
    with pytest.raises(UserError, match="that of drive · 1 was deleted"):
        store.models.promote("drive", 1, "production")


def has_marker(home: Home) -> list[str]:
    return [file.name for file in files_of(home) if MARKER.encode() in file.read_bytes()]


def marked_run(store: RunStore) -> str:
    """A run whose every text has the marker in it, and enough rows that SQLite moves them between pages."""
    run = succeeded(store, f"y_a,x_{MARKER}\n1,0\n".encode(), title=MARKER, rules=MARKER * 200, project="p")
    set_state(store, run, state="queued")
    queue = RunQueue(store.home)
    claim = queue.claim()
    assert claim is not None
    fields = {"stage": "training", MARKER: 1.5, "words": MARKER * 5}
    queue.record(run, claim.attempt, [(step, 0.0, fields) for step in range(300)])
    set_state(store, run)
    store.models.add("drive", run, f"note {MARKER}")
    (store.folder(run).model / "model.json").write_text(MARKER)
    # What an earlier version, or a SQLite that does not wipe by itself, left in pages that are free now.
    with closing(sqlite3.connect(store.home.database, isolation_level=None)) as old:
        old.execute("PRAGMA secure_delete = OFF")
        old.execute("CREATE TABLE t (x)")
        old.executemany("INSERT INTO t VALUES (?)", [(MARKER * 100,)] * 50)
        old.execute("DROP TABLE t")
    return run


def test_nothing_of_deleted_data_is_left_in_any_file(filed: RunStore) -> None:
    stays = succeeded(filed)
    run = marked_run(filed)
    reader = Database(filed.home.database).held_open()
    with reader:  # as a runner or a job of another run does
        assert len(has_marker(filed.home)) >= 2
        filed.delete(run)
        assert has_marker(filed.home) == []
    assert [view.id for view in filed.list_runs()] == [stays]


def test_a_reader_that_holds_on_delays_the_last_of_it_and_the_next_page_does_it(
    filed: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jebm_core.runs.retention._PATIENCE", 0.3)
    run = marked_run(filed)
    with closing(sqlite3.connect(filed.home.database, isolation_level=None)) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT * FROM run").fetchall()
        filed.delete(run)
        assert [view.id for view in filed.list_runs()] == []
        assert has_marker(filed.home) != [], "the reader still sees the old state"
        slow.execute("ROLLBACK")
    filed.ensure_runner()
    assert has_marker(filed.home) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from jebm_core.runs import Home, RunStore
import jebm_core.runs.retention as retention
where, home, run = sys.argv[1:]
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "rows":
    begin = retention.Retention._remove_rows
    retention.Retention._remove_rows = lambda *given: (begin(*given), die())
elif where == "files":
    first = retention._remove_folder
    retention._remove_folder = lambda folder: (first(folder / "model"), die())
elif where == "data":
    first = retention._remove_folder
    retention._remove_folder = lambda folder: die() if "datasets" in str(folder) else first(folder)
else:
    retention.Database.rewritten = die
RunStore(Home(Path(home))).delete(run)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills processes by POSIX signals")
@pytest.mark.parametrize("where", ["rows", "files", "data", "rewriting"])
def test_killed_in_between_a_deletion_is_whole_or_has_not_begun(filed: RunStore, where: str) -> None:
    run = marked_run(filed)
    line = [sys.executable, "-c", KILLED, where, str(filed.home.folder), run]
    assert subprocess.run(line, cwd=ROOT).returncode == -signal.SIGKILL
    assert has_marker(filed.home) != []
    if where == "rows":
        assert filed.run(run).spec.title == MARKER
        assert filed.folder(run).evaluation.exists()
        assert not filed.ensure_runner()
        assert filed.run(run).state.ended, "opening a page deletes nothing by itself"
        filed.delete(run)
    else:
        assert filed.list_runs() == (), "gone for everybody from the first moment"
        filed.ensure_runner()
    assert has_marker(filed.home) == []
    assert not filed.folder(run).folder.exists()


def test_contents_uploaded_again_meanwhile_stay(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"y_a\n1\n0\n"
    run = succeeded(store, content)
    monkeypatch.setattr("jebm_core.runs.retention.Retention.clear", lambda _self: True)
    store.delete(run)
    monkeypatch.undo()
    again = store.add_dataset(content, "again.csv")
    assert RunStore(store.home).retention.clear()
    assert store.dataset_file(again.sha256).read_bytes() == content


def test_a_folder_that_cannot_be_removed_is_told_and_removed_later(
    filed: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = succeeded(filed)

    def refuse(_folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(UserError, match=r"could not use it.*Permission denied"):
        filed.delete(run)
    assert not filed.ensure_runner(), "a page goes on"
    assert filed.folder(run).folder.exists()
    monkeypatch.undo()
    filed.ensure_runner()
    assert not filed.folder(run).folder.exists()


# ---- the command line ------------------------------------------------------------------------------------------------


def test_prune_names_what_goes_and_keeps_what_counts(filed: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = time.time() - 100 * 86400
    old, tried, top, young = (succeeded(filed, f"y_a\n{i}\n".encode() * 9) for i in (0, 1, 0, 1))
    set_state(filed, old, tried, top, finished=long_ago)
    waiting = enqueued(filed)
    for name, run, stage in (("a", tried, "trial"), ("b", top, "production")):
        filed.models.add(name, run)
        filed.models.promote(name, 1, stage)
    line = ["runs", "prune", "--older-than", "90d", "--keep-stage", "trial"]
    assert main([*line, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "1 run" in said
    assert old in said
    assert filed.run(old)
    assert main([*line, "--yes"]) == 0
    assert {view.id for view in filed.list_runs()} == {tried, top, young, waiting}
    assert main(["runs", "prune", "--older-than", "90d", "--yes"]) == 0
    assert {view.id for view in filed.list_runs()} == {top, young, waiting}
    assert main(["runs", "prune", "--older-than", "90d", "--yes"]) == 0
    assert "Nothing" in capsys.readouterr().out
    assert main(["runs", "prune", "--older-than", "soon"]) == 2
    assert "90d" in capsys.readouterr().err


def test_models_and_ledger_on_the_command_line(filed: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    run = succeeded(filed, project="Boats")
    assert main(["models"]) == 0
    assert "No model versions" in capsys.readouterr().out
    assert main(["models", "add", run, "drive", "--note", "all orders of May"]) == 0
    assert main(["models", "promote", "drive", "1", "production"]) == 0
    assert main(["models", "note", "drive", "1", "checked"]) == 0
    assert "drive · 1 is in production" in capsys.readouterr().out
    assert main(["models", "list", "--json", "-"]) == 0
    assert '"note": "checked"' in capsys.readouterr().out
    assert main(["models", "path", "drive"]) == 0
    assert capsys.readouterr().out.strip() == str(filed.folder(run).model)
    assert main(["runs", "delete", run]) == 2
    assert "in production" in capsys.readouterr().err
    assert main(["models", "promote", "drive", "1", "archived"]) == 0
    assert main(["runs", "delete", "--project", "Boats"]) == 0
    assert "Deleted: 1 run and 1 data set" in capsys.readouterr().out
    assert filed.list_runs() == ()
    assert main(["runs", "delete"]) == 2
    assert "Expected the names of runs" in capsys.readouterr().err
    assert main(["runs", "ledger"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert main(["models"]) == 0
    assert "its run was deleted" in capsys.readouterr().out


def test_the_row_of_a_project_is_made_once(store: RunStore) -> None:
    with Database(store.home.database).writing(alone=True) as connection:
        see_to(connection, "p", "aoi")
        see_to(connection, "p", "ren")
        connection.execute(insert(leaving), {"what": "runs/gone"})
    assert store.projects.project("p").owner == "aoi"
    assert store.retention.clear()
