"""Scoring to a folder: parts are what one table gives, digit by digit; killed runs go on; nothing is done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest
import torch
from filelock import FileLock

from jebm_core import load
from jebm_core.cli import main
from jebm_core.errors import TableError, UserError
from jebm_core.scoring import Job, Scorer, Shard, find_sources, pool, reading, score_in_processes, shard
from jebm_core.scoring.reading import plain_outputs
from jebm_core.scoring.top import merge_top
from jebm_core.tables import OutputSchema, Roles, Table, read_outputs
from tests.conftest import ROOT

KINDS = ("subsets", "rankings", "configurations")
OPTIONS = np.array(["u", "v", "継手"], dtype=object)


def rows(kind: str, count: int, seed: int = 5) -> pd.DataFrame:
    """Rows with a number, a word and four outputs; some numbers, words and labels are missing."""
    r = np.random.default_rng(seed)
    frame = pd.DataFrame({"id": [f"n{seed}-{i}" for i in range(count)], "x_a": r.normal(size=count).round(3)})
    frame["x_k"] = np.array(["red", "blue", None], dtype=object)[r.integers(0, 3, count)]
    frame.loc[r.random(count) < 0.1, "x_a"] = np.nan
    if kind == "subsets":
        y = r.integers(0, 2, (count, 4))
        frame[[f"y_{i}" for i in range(4)]] = y.astype(np.int8)
        frame["y_3"] = pd.array(y[:, 3], "Int64")
        frame.loc[r.random(count) < 0.05, "y_3"] = pd.NA
    elif kind == "rankings":
        frame[[f"r_{i}" for i in range(4)]] = r.permuted(np.tile(np.arange(1, 5), (count, 1)), axis=1)
    else:
        for i in range(4):
            frame[f"c_{i}"] = OPTIONS[r.integers(0, 3, count)]
        frame.loc[r.random(count) < 0.05, "c_1"] = None
    return frame


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        rows(kind, 60).dropna(subset=["id"]).to_csv(folder / f"{kind}.csv", index=False)
        how = ("--affinity", "unary", "--reference", "uniform", "--epochs", "2", "--seed", "1")
        replicates = ("--replicates", "2") if kind == "rankings" else ()
        assert main(["fit", str(folder / f"{kind}.csv"), "--out", str(folder / kind), *how, *replicates]) == 0
    return {kind: folder / kind for kind in KINDS}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A folder with two Parquet files of five row groups of subsets, one of them in a folder of its own."""
    (tmp_path / "new" / "later").mkdir(parents=True)
    rows("subsets", 1000, 7).to_parquet(tmp_path / "new" / "a.parquet", row_group_size=400)
    rows("subsets", 500, 8).to_parquet(tmp_path / "new" / "later" / "b.parquet", row_group_size=250)
    return tmp_path / "new"


def parts_of(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted((out / "parts").iterdir())], ignore_index=True)


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """What changes when a part is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (out / "parts").glob("*.parquet")}


def run(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jebm_core", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


# ---- the same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_what_one_table_gives_to_the_last_digit(kind, models, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 300)  # rows carry over from batch to batch, and from block to block
    monkeypatch.setattr(shard, "BLOCK", 512)
    frame = rows(kind, 1700, 11)
    frame.to_parquet(tmp_path / "t.parquet")
    assert main(["score", str(models[kind]), str(tmp_path / "t.parquet"), "--out", str(tmp_path / "one.parquet")]) == 0
    expected = pd.read_parquet(tmp_path / "one.parquet")
    verdict = expected["verdict"].dropna().iloc[0]
    job = Job(str(models[kind]), str(tmp_path / "out"), verdict, ("id",), nearest=True)
    (source,) = find_sources(tmp_path / "t.parquet")
    (only,) = source.shards(0)
    found, best = Scorer(job).results(only)
    assert best is None
    assert found.column("id").to_pylist() == frame["id"].tolist()
    assert found.column_names == ["id", *expected.columns]
    for name in expected.columns:
        assert found.column(name).null_count == expected[name].isna().sum(), name
        if name == "verdict":
            assert found.column(name).to_pylist() == [None if pd.isna(v) else v for v in expected[name]]
            continue
        filled = expected[name].dropna().to_numpy()
        ours = found.column(name).drop_null().to_numpy()
        if name.startswith(("log", "normalisation", "model")):
            assert ours.dtype == expected[name].dtype == np.float32
        assert ours.astype(filled.dtype).tobytes() == filled.tobytes(), name


def test_one_context_for_all_rows_is_what_each_row_gives(models, tmp_path):
    rows("subsets", 60).to_csv(tmp_path / "t.csv", index=False)
    how = ("--features", "", "--affinity", "lowrank", "--reference", "uniform", "--epochs", "2")
    assert main(["fit", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m"), *how]) == 0
    for model in (load(tmp_path / "m"), load(models["subsets"])):
        table = Table(rows("subsets", 5000, 3), "t", "", "parquet", None, (), 1)
        context = model.context(table)
        y = torch.randint(0, 2, (5000, 4), generator=torch.Generator().manual_seed(0))
        y[3] = 2  # not a subset
        value, supported = shard.log_prob_and_support(model, context, y)
        expected = model.log_prob(context, y).value
        if context.is_single:
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-5)
        else:
            assert torch.equal(value, expected)
        assert torch.equal(supported, model.supports(context, y))
    assert {value[3].item(), bool(supported[3])} == {-np.inf, False}


@pytest.mark.parametrize("kind", KINDS)
def test_straight_arrays_agree_with_reading_a_table(kind, models):
    schema = load(models[kind]).record.schema
    frame = rows(kind, 500, 3)
    batch = pa.Table.from_pandas(frame)
    found = plain_outputs(schema, batch)
    assert found is not None
    y, complete = found
    kept = np.flatnonzero(frame[list(schema.columns)].notna().all(axis=1))
    assert np.flatnonzero(complete).tolist() == kept.tolist()
    table = Table(frame, "t", "", "parquet", None, (), 1).part(kept)
    assert (y == read_outputs(table, Roles((), schema.columns, schema.kind), like=schema).values).all()


def schema_of(kind: Any) -> OutputSchema:
    options = (("1", "2"), ("1", "2")) if kind == "configurations" else ((), ())
    return OutputSchema(kind, ("a", "b"), ("t_a", "t_b"), options)


@pytest.mark.parametrize(
    ("kind", "cells", "straight"),
    [
        ("subsets", pa.array([True, False]), True),
        ("subsets", pa.array([1.0, 0.0]), True),
        ("subsets", pa.array([1.0, float("nan")]), False),
        ("subsets", pa.array(["1", "0"]), False),
        ("subsets", pa.array([1, 2]), False),
        ("subsets", pa.array([2**63, 0], pa.uint64()), False),
        ("subsets", pa.array([1e300, 0.0]), False),
        ("rankings", pa.array([True, True]), False),
        ("configurations", pa.array([1, 2]), True),
        ("configurations", pa.array([1.0, 2.0]), False),
        ("configurations", pa.array(["1", "3"]), False),
        ("configurations", pa.array(["1", "2.0"]), True),
    ],
)
def test_only_plain_cells_are_taken_straight(kind, cells, straight):
    other = pa.array([1, 1]) if kind == "configurations" else pa.array([2, 2] if kind == "rankings" else [0, 1])
    found = plain_outputs(schema_of(kind), pa.table({"t_a": cells, "t_b": other}))
    assert (found is not None) == straight


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("y_0", 2, "row 702, column 'y_0': expected 0 or 1"),
        ("x_a", np.inf, "row 702, column 'x_a': expected a finite number, found inf"),
        ("x_a", 1e300, "row 702, column 'x_a': 1e+300 is too far from the training values"),
    ],
)
def test_bad_cells_are_named_as_in_one_table(column, value, problem, models, tmp_path):
    frame = rows("subsets", 1000, 7)
    frame["y_3"] = 1
    frame.loc[701, column] = value
    path = tmp_path / "t.parquet"
    frame.to_parquet(path, row_group_size=400)
    (source,) = find_sources(path)
    job = Job(str(models["subsets"]), str(tmp_path), "trusted")
    with pytest.raises(TableError) as found:
        Scorer(job).results(list(source.shards(0))[1])
    assert problem in str(found.value)
    assert main(["score", str(models["subsets"]), str(path), "--out", str(tmp_path / "s.csv")]) == 2
    assert "t.parquet" in str(found.value)


def test_bad_cells_say_the_same_as_one_table(models, tmp_path, capsys):
    frame = rows("configurations", 100, 7)
    frame.loc[41, "c_2"] = "w"
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=30)
    model, path = str(models["configurations"]), str(tmp_path / "t.parquet")
    assert main(["score", model, path, "--out", str(tmp_path / "s.csv")]) == 2
    one = capsys.readouterr().err.strip().splitlines()[-1]
    assert main(["score", model, path, "--out", str(tmp_path / "folder"), "--workers", "1"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1] == one
    assert "row 42, column 'c_2'" in one


# ---- the command ----------------------------------------------------------------------------------------------------


def test_command_scores_a_folder_and_finds_the_best(models, new, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["score", str(models["subsets"]), str(new), "--out", str(out), "--keep", "id", "--top", "30"]
    assert main([*arguments, "--workers", "2", "--nearest", "--json", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr()
    assert "1500 rows in 5 parts" in said.out
    frames = [pd.read_parquet(new / "a.parquet"), pd.read_parquet(new / "later" / "b.parquet")]
    together = pd.concat(frames, ignore_index=True)
    found = parts_of(out)
    assert found["id"].tolist() == together["id"].tolist()
    record = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert (record["rows"], record["parts"], record["parts_scored"], record["files"]) == (1500, 5, 5, 2)
    assert record["empty"] == found["log_prob"].isna().sum() == together["y_3"].isna().sum() > 0
    # Scores of few combinations tie all the time: the earliest row goes first.
    best = pd.read_parquet(out / "top.parquet")
    expected = found.dropna(subset="log_prob").sort_values("log_prob", ascending=False, kind="stable").head(30)
    assert best["id"].tolist() == expected["id"].tolist()
    assert best["log_prob"].to_numpy().tobytes() == expected["log_prob"].to_numpy().tobytes()
    for place in (0, 17, 29):
        line = best.iloc[place]
        origin = pd.read_parquet(new / line["file"]).iloc[line["row"] - 1]
        assert origin["id"] == line["id"]
        assert [origin[f"y_{i}"] for i in range(4)] == [line[f"y_{i}"] for i in range(4)]
    # The same command again finds all parts there.
    before = identities(out)
    assert main([*arguments, "--nearest"]) == 0
    assert "0 of the parts scored now" in capsys.readouterr().out
    assert identities(out) == before
    for changed, problem in (
        ([], "expected nearest true, as when it began, found false"),
        (["--top", "31", "--nearest"], "expected top 30, as when it began, found 31"),
        (["--workers", "1", "--nearest"], None),
        (["--keep", "x_a", "--nearest"], "expected keep"),
    ):
        assert main([*arguments, *changed]) == (2 if problem else 0)
        assert problem is None or problem in capsys.readouterr().err
    os.utime(new / "a.parquet", (1, 1))
    assert main([*arguments, "--nearest"]) == 2
    assert "expected modified of a.parquet" in capsys.readouterr().err
    assert identities(out) == before


def test_merging_keeps_the_order_of_the_rows_where_equal(tmp_path):
    r = np.random.default_rng(0)
    paths, frames = [], []
    for number in range(6):
        frame = pd.DataFrame({"log_prob": -r.integers(1, 4, 20).astype(np.float32), "row": np.arange(20) + 20 * number})
        frames.append(frame)
        paths.append(tmp_path / f"{number}.parquet")
        frame.sort_values("log_prob", ascending=False, kind="stable").head(15).to_parquet(paths[-1])
    expected = pd.concat(frames).sort_values("log_prob", ascending=False, kind="stable").head(15)
    assert merge_top(paths, 15).column("row").to_pylist() == expected["row"].tolist()


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda f: [p.unlink() for p in f.rglob("*.parquet")], "expected Parquet files, found none"),
        (lambda f: (f / "a.parquet").write_bytes((f / "a.parquet").read_bytes()[:-100]), "a.parquet: expected a whole"),
        (lambda f: (f / "a.parquet").write_bytes(b""), "a.parquet: expected a whole Parquet file"),
        (lambda f: rows("subsets", 9).drop(columns="y_2").to_parquet(f / "c.parquet"), "has no column 'y_2'"),
        (lambda f: rows("subsets", 9).drop(columns="x_a").to_parquet(f / "c.parquet"), "has no column 'x_a'"),
        (lambda f: rows("subsets", 9).drop(columns="id").to_parquet(f / "c.parquet"), "'id', which option --keep"),
        (
            lambda f: rows("subsets", 9).assign(y_1=pd.Timestamp("2026-01-01")).to_parquet(f / "c.parquet"),
            "c.parquet, column 'y_1': expected labels, ranks or options, found dates",
        ),
        (lambda f: (f.parent / "out").mkdir() or (f.parent / "out" / "mine.txt").touch(), "it holds mine.txt"),
        (lambda f: (f.parent / "out").touch(), "is a file; expected a folder"),
    ],
)
def test_wrong_input_is_one_sentence(break_it, problem, models, new, capsys):
    break_it(new)
    out = new.parent / "out"
    code = main(["score", str(models["subsets"]), str(new), "--out", str(out), "--keep", "id"])
    said = capsys.readouterr().err.strip().splitlines()
    assert (code, len(said)) == (2, 1)
    assert problem in said[0]
    assert not list(out.rglob("*.parquet"))


def test_options_of_a_folder_need_one(models, new, tmp_path, capsys):
    model, table = str(models["subsets"]), str(new / "a.parquet")
    for more, problem in (
        (["--out", str(tmp_path / "s.csv"), "--top", "3"], "Option --top is for Parquet files"),
        (["--out", str(tmp_path / "s"), "--errors", str(tmp_path / "e.csv")], "Option --errors is for one table"),
        (["--out", str(tmp_path / "s"), "--keep", "seen"], "Option --keep: 'seen' is the name of a result"),
        (["--out", str(tmp_path / "s"), "--engine", "dask"], "expected one of local, ray, found 'dask'"),
    ):
        assert main(["score", model, table, *more]) == 2
        assert problem in capsys.readouterr().err
    rows("subsets", 9).to_csv(tmp_path / "t.csv")
    assert main(["score", model, str(tmp_path / "t.csv"), "--out", str(tmp_path / "s")]) == 2
    assert "s ends in ''; expected .csv, .parquet or .xlsx" in capsys.readouterr().err
    assert main(["score", model, str(new / "*.pq"), "--out", str(tmp_path / "s")]) == 2
    assert "expected Parquet files, found none" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "none"), table, "--out", str(tmp_path / "s")]) == 2
    assert "expected a model folder" in capsys.readouterr().err


# ---- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    rows("subsets", 60_000, 9).to_parquet(tmp_path / "many.parquet", row_group_size=1000)
    return tmp_path / "many.parquet"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_run_goes_on_without_doing_anything_twice(models, many, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["score", models["subsets"], many, "--out", out, "--top", 9, "--workers", 2]
    process = run(*arguments)
    wait_for(lambda: len(identities(out)) >= 3 or process.poll() is not None)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == [], "processes outlive the one that started them"
    before = identities(out)
    assert 3 <= len(before) < 60
    (out / "parts" / "00000-00059.parquet.1.partial").write_bytes(b"half")
    second = run(*arguments)
    wait_for(lambda: len(identities(out)) >= len(before) + 3)
    second.send_signal(signal.SIGTERM)
    said = second.communicate()[1]
    assert second.returncode == 130
    assert "parts are finished" in said.splitlines()[-1]
    assert not list(out.rglob("*.partial"))
    then = identities(out)
    assert before.items() <= then.items()
    assert len(then) < 60
    assert main([*map(str, arguments), "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parts_scored"] == 60 - len(then)
    assert then.items() <= identities(out).items()
    found = parts_of(out)
    assert len(found) == 60_000
    expected = found.dropna(subset="log_prob").sort_values("log_prob", ascending=False, kind="stable").head(9)
    assert pd.read_parquet(out / "top.parquet")["row"].tolist() == (expected.index + 1).tolist()


def job_for(models: dict[str, Path], source: Path, out: Path) -> tuple[Job, list[Shard]]:
    for name in ("parts", "tops"):
        (out / name).mkdir(parents=True)
    (found,) = find_sources(source)
    return Job(str(models["subsets"]), str(out), "trusted"), list(found.shards(0))


def test_two_runs_in_one_folder_are_refused(models, new, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    with FileLock(out / ".lock"):
        assert main(["score", str(models["subsets"]), str(new), "--out", str(out)]) == 2
    assert "another jebm score is at work in this folder" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_worker_is_replaced_and_its_part_done_again(models, many, tmp_path):
    job, shards = job_for(models, many, tmp_path / "out")
    killed: list[int] = []

    def kill_one(pace: pool.Pace) -> None:
        if pace.parts >= 2 and not killed:
            killed.append(psutil.Process().children()[-1].pid)
            os.kill(killed[0], signal.SIGKILL)

    assert score_in_processes(job, shards, 1, kill_one) == len(shards)
    assert killed
    assert len(parts_of(tmp_path / "out")) == 60_000


def end_at_once(job: Job, pipe: object) -> None:
    """A process that ends before it has said anything."""
    os._exit(7)


def test_part_that_always_ends_its_process_is_given_up(models, many, tmp_path, monkeypatch):
    job, shards = job_for(models, many, tmp_path / "out")
    monkeypatch.setattr(pool, "_serve", end_at_once)
    monkeypatch.setattr(pool, "ATTEMPTS", 2)
    with pytest.raises(UserError, match=r"many.parquet, row group 0: .* ended 2 times .*\(exit code 7\)"):
        score_in_processes(job, shards[:1], 1)


def test_full_disk_leaves_no_part(models, many, tmp_path, monkeypatch):
    job, shards = job_for(models, many, tmp_path / "out")
    scorer = Scorer(replace(job, top=3))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shard.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            scorer.score(shards[0])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    scorer.score(shards[0])
    assert job.is_done(shards[0])
    assert job.best(shards[0]).exists()


@pytest.mark.parametrize("error", [TableError("{a} {b}", a="{", b=1), OSError(28, "full"), ValueError("odd {")])
def test_errors_survive_the_way_between_processes(error):
    found = pool.rebuilt(pool.described(error))
    assert str(error) in str(found)
    if isinstance(error, TableError):
        assert (type(found), found.values) == (TableError, error.values)
    if isinstance(error, OSError):
        assert found.errno == 28


# ---- Ray ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
def test_ray_gives_the_same_parts(models, new, tmp_path):
    arguments = ["score", models["subsets"], new, "--keep", "id", "--top", 5]
    assert main([*map(str, arguments), "--out", str(tmp_path / "here"), "--workers", "1"]) == 0
    process = run(*arguments, "--out", tmp_path / "there", "--workers", 1, "--engine", "ray")
    said = process.communicate()[1]
    assert process.returncode == 0, said
    for name in ("parts", "tops"):
        files = sorted((tmp_path / "here" / name).iterdir())
        assert len(files) == 5
        assert [p.read_bytes() for p in files] == [
            p.read_bytes() for p in sorted((tmp_path / "there" / name).iterdir())
        ]
    bad = rows("subsets", 50, 2)
    bad.loc[7, "y_0"] = 3
    bad.to_parquet(new / "z.parquet")
    process = run(*arguments, "--out", tmp_path / "bad", "--workers", 1, "--engine", "ray")
    said = process.communicate()[1].splitlines()
    assert process.returncode == 2, said
    assert "z.parquet, row 8, column 'y_0': expected 0 or 1" in said[-1]


def test_without_ray_its_engine_says_so(models, new, tmp_path, monkeypatch, capsys):
    from jebm_core.scoring import on_ray

    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    out = str(tmp_path / "out")
    assert main(["score", str(models["subsets"]), str(new), "--out", out, "--engine", "ray"]) == 2
    assert "needs the extra ray" in capsys.readouterr().err
