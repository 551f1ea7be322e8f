"""The command line: what every command writes and prints, each wrong input's sentence, and the exit codes."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from jebm_core.cli import app, main, spread
from jebm_core.cli.utilities import decide, read_value_table
from jebm_core.fitted import load
from jebm_core.tables import OutputSchema, read_table

QUICK = ("--affinity", "unary", "--reference", "uniform", "--epochs", "2")
COMMANDS = (
    "fit",
    "curve",
    "evaluate",
    "audit",
    "recalibrate",
    "drift",
    "decide",
    "score",
    "predict",
    "sample",
    "rules",
    "sweep",
    "runs",
    "worker",
    "app",
    "demo",
    "doctor",
)
EVALUATION_KEYS = [
    "n",
    "space",
    "nll",
    "nll_learned",
    "nll_independent",
    "f1",
    "f1_map",
    "subset_accuracy",
    "hamming_loss",
    "kendall_tau",
    "ece_marginal",
    "ece_joint",
    "brier",
    "log_partition",
]
PARTITION_KEYS = {
    "method",
    "exact",
    "n",
    "mae",
    "bias",
    "r2",
    "rank_correlation",
    "ess_median",
    "pareto_k_max",
    "verdict",
}
VALUES = {"true_positive": 1, "false_positive": -0.5, "false_negative": -1, "true_negative": 0}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _rows(kind: str, count: int = 40) -> str:
    r = np.random.default_rng(5)
    if kind == "subsets":
        rows = [
            f"{r.normal():.3f},{'uv'[r.integers(2)]},{','.join(map(str, r.integers(0, 2, 3)))}" for _ in range(count)
        ]
        return "\n".join(["x_a,x_k,y_p,y_q,y_r", *rows, ""])
    if kind == "rankings":
        rows = [f"{r.normal():.3f},{','.join(map(str, r.permutation(3) + 1))}" for _ in range(count)]
        return "\n".join(["x_a,r_p,r_q,r_r", *rows, ""])
    rows = [f"{r.normal():.3f},{'SML'[r.integers(3)]},{('=red', 'blue')[r.integers(2)]}" for _ in range(count)]
    return "\n".join(["x_a,c_p,c_q", *rows, ""])


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tables")
    files = {kind: folder / f"{kind}.csv" for kind in ("subsets", "rankings", "configurations")}
    for kind, file in files.items():
        file.write_text(_rows(kind), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def models(tables, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for kind, table in tables.items():
        assert main(["fit", str(table), "--out", str(folder / kind), *QUICK]) == 0
    return {kind: folder / kind for kind in tables}


def _fails(capsys, arguments: list[object], *parts: str, code: int = 2) -> str:
    """The command exits with the code, prints nothing on stdout and one line on stderr with these parts."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == code
    out, err = capsys.readouterr()
    sentences = [line for line in err.splitlines() if not re.match(r"Note: |\d+ s: ", line)]
    assert out == ""
    assert len(sentences) == 1, err
    assert "Traceback" not in err
    for part in parts:
        assert part in sentences[0]
    return sentences[0]


# ---- help and usage -------------------------------------------------------------------------------------------------


def test_no_arguments_print_help(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "Example: jebm fit" in shown
    assert set(COMMANDS) <= set(re.findall(r"^  (\w+) ", shown, flags=re.MULTILINE))


@pytest.mark.parametrize("command", [*COMMANDS, *(f"runs {name}" for name in ("list", "show", "cancel", "delete"))])
def test_help_of_every_command_shows_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert f"Example: jebm {command}" in " ".join(capsys.readouterr().out.split())


def test_every_registered_command_is_in_the_list():
    names = {entry.name or entry.callback.__name__ for entry in app.registered_commands}
    assert names | {"runs"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["fits"], "fits"),
        (["fit"], "TABLE"),
        (["fit", "t.csv", "--out", "m", "--bogus", "1"], "--bogus"),
        (["fit", "t.csv", "--out", "m", "--seed", "x"], "--seed"),
        (["sample", "m", "t.csv", "-n", "0", "--out", "o.csv"], "-n"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, part, capsys):
    assert "--help" in _fails(capsys, arguments, part)


def test_help_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from jebm_core.cli import main; main(['fit', '-h']); print({'torch', 'pandas'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "set()"


def test_module_and_version():
    command = [sys.executable, "-m", "jebm_core", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert re.fullmatch(r"jebm \d+\.\d+\.\d+\S*", done.stdout.strip())


def test_several_targets_after_one_option():
    given = ["fit", "t.csv", "--targets", "a", "b", "--features", "x", "--out", "m"]
    assert spread(given) == ["fit", "t.csv", "--targets", "a", "--targets", "b", "--features", "x", "--out", "m"]
    assert spread(["score", "m", "t", "--out", "o", "p"]) == ["score", "m", "t", "--out", "o", "p"]


# ---- fit ------------------------------------------------------------------------------------------------------------


def test_fit_writes_model_and_json(tables, tmp_path, capsys):
    out = tmp_path / "new" / "model"
    assert main(["fit", str(tables["subsets"]), "--out", str(out), *QUICK, "--seed", "3", "--json", "-"]) == 0
    shown, err = capsys.readouterr()
    record = json.loads(shown)  # nothing but JSON on stdout
    assert "preparing the data" in err
    assert {entry.name for entry in out.iterdir()} == {"model.json", "model.safetensors"}
    assert record["model"] == str(out)
    assert record["stop_reason"] == "EXHAUSTED"
    assert record["stop_sentence"].endswith(".")
    assert record["healthy"] is True
    assert (record["rows"], record["train_rows"], record["held_out_rows"]) == (40, 32, 8)
    assert record["seconds"] > 0
    assert record["settings"]["seed"] == 3
    assert record["architecture"]["affinity"] == "unary"
    assert math.isfinite(record["held_out"]["nll"])
    assert load(out).record.settings.seed == 3


def test_fit_takes_chosen_columns_and_none(tables, tmp_path):
    out = tmp_path / "m"
    chosen = ["--targets", "y_p", "y_q", "--features", "", "--out", str(out)]
    assert main(["fit", str(tables["subsets"]), *chosen, *QUICK]) == 0
    record = load(out).record
    assert record.schema.columns == ("y_p", "y_q")
    assert record.features == ()


def test_fit_tells_of_constant_columns_and_rows_left_out(tmp_path, capsys):
    lines = _rows("subsets").splitlines()
    lines[0] += ",y_s"
    table = tmp_path / "t.csv"
    table.write_text("\n".join([lines[0], *(f"{line},1" for line in lines[1:]), "0.5,u,1,,0,1"]), encoding="utf-8")
    assert main(["fit", str(table), "--out", str(tmp_path / "m"), *QUICK, "--json", str(tmp_path / "fit.json")]) == 0
    err = capsys.readouterr().err
    assert "Note: 1 target columns hold the same value in every row (y_s)" in err
    assert "1 rows with a missing label were left out (rows 42)" in err
    record = json.loads((tmp_path / "fit.json").read_text("utf-8"))
    assert record["rows_left_out"] == 1
    assert any("y_s" in note for note in record["notes"])


def test_fit_replaces_a_model_and_nothing_else(models, tables, tmp_path, capsys):
    out = tmp_path / "m"
    arguments = ["fit", tables["subsets"], "--out", out, *QUICK]
    assert main([*map(str, arguments)]) == 0
    (out / "model.json").write_text("{}", encoding="utf-8")  # also a damaged one is a model
    assert main([*map(str, arguments)]) == 0
    assert load(out).record.schema.kind == "subsets"
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    _fails(capsys, arguments, "is not a model folder", "thesis.txt", "nothing in it was touched")
    assert (out / "thesis.txt").read_text("utf-8") == "mine"
    _fails(capsys, ["fit", tables["subsets"], "--out", tables["rankings"], *QUICK], "is a file", "--out")
    _fails(capsys, ["fit", tables["subsets"], "--out", tables["rankings"] / "m", *QUICK], "can't be written")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]  # no drafts are left


def test_fit_refuses_unwritable_json_before_it_works(tables, tmp_path, capsys):
    base = ["fit", tables["subsets"], "--out", tmp_path / "m", *QUICK, "--json"]
    _fails(capsys, [*base, tmp_path], "is a folder")
    _fails(capsys, [*base, tmp_path / "none" / "f.json"], "does not exist")
    assert not (tmp_path / "m").exists()


def _bad_tables() -> dict[str, tuple[bytes, tuple[str, ...]]]:
    good = _rows("subsets").encode()
    ranks = _rows("rankings").splitlines()
    wide = ",".join(f"y_{i}" for i in range(2001)) + "\n" + (",".join(["0"] * 2001) + "\n") * 2
    return {
        "image.csv": (b"\x89PNG\r\n\x1a\n" + bytes(64), ("image.csv", "PNG")),
        "empty.csv": (b"", ("is empty",)),
        "nothing.csv": (b"a,b\n1,2\n" * 30, ("has no target columns", "--targets")),
        "label.csv": (
            good.replace(b"y_p,y_q,y_r", b"y_p,y_q,y_r", 1) + b"0.1,u,2,0,0\n",
            ("row 42", "'y_p'", "0 or 1"),
        ),
        "tie.csv": ("\n".join([*ranks, "0.5,1,1,2"]).encode(), ("row 42", "rank")),
        "gap.csv": ("\n".join([*ranks, "0.5,1,2,4"]).encode(), ("row 42",)),
        "few.csv": (_rows("subsets", 19).encode(), ("19 complete rows", "20")),
        "same.csv": (b"x_a,y_p\n" + b"0.5,1\n" * 30, ("the same output",)),
        "wide.csv": (wide.encode(), ("2,000",)),
        "infinite.csv": (good + b"inf,u,1,0,0\n", ("row 42", "'x_a'")),
        "twice.csv": (good.replace(b"y_r", b"y_p", 1), ("'y_p'", "twice")),
        "mixed.csv": (good + "0.1,é,1,0,0\n".encode() + b"0.1," + b"\x82\xff\xfe,1,0,0\n", ("mixed.csv",)),
        "table.docx": (b"PK\x03\x04", (".docx",)),
    }


@pytest.mark.parametrize("name", _bad_tables())
def test_fit_explains_bad_tables(name, tmp_path, capsys):
    content, parts = _bad_tables()[name]
    (tmp_path / name).write_bytes(content)
    _fails(capsys, ["fit", tmp_path / name, "--out", tmp_path / "m", *QUICK], *parts)
    assert not (tmp_path / "m").exists()


def test_fit_refuses_a_huge_file_without_reading_it(tmp_path, capsys):
    table = tmp_path / "huge.csv"
    with table.open("wb") as file:
        file.truncate(1_000_000_001)  # sparse: takes no room
    begun = time.monotonic()
    _fails(capsys, ["fit", table, "--out", tmp_path / "m"], "huge.csv", "GB")
    assert time.monotonic() - begun < 5


def test_fit_explains_missing_files_and_settings(tables, tmp_path, capsys):
    out = ["--out", tmp_path / "m"]
    _fails(capsys, ["fit", tmp_path / "none.csv", *out], "none.csv was not found")
    _fails(capsys, ["fit", tmp_path / "m.csv" / "x.csv", *out], "x.csv")
    _fails(capsys, ["fit", tmp_path, *out], "expected .csv")
    (tmp_path / "dir.csv").mkdir()
    _fails(capsys, ["fit", tmp_path / "dir.csv", *out], "is a folder")
    table = tables["subsets"]
    _fails(capsys, ["fit", table, *out, "--affinity", "magic"], "Setting affinity", "pairwise", "'magic'")
    _fails(capsys, ["fit", table, *out, "--divergence", "magic"], "'magic'")
    _fails(capsys, ["fit", table, *out, "--validation-fraction", "0.9"], "0.05 to 0.5")
    _fails(capsys, ["fit", table, *out, "--targets", "z_*"], "no column matches 'z_*'")
    _fails(capsys, ["fit", table, *out, "--space", "rankings"], "rankings", "r_")
    _fails(capsys, ["fit", table, *out, "--resume", table], "--resume", "checkpoints")
    if not torch.cuda.is_available():
        _fails(capsys, ["fit", table, *out, "--device", "cuda"], "CUDA GPU")


# ---- evaluate and audit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["subsets", "rankings", "configurations"])
def test_evaluate_has_the_promised_keys(kind, models, tables, tmp_path, capsys):
    file = tmp_path / "e.json"
    assert main(["evaluate", str(models[kind]), str(tables[kind]), "--json", str(file)]) == 0
    record = json.loads(file.read_text("utf-8"))
    assert set(EVALUATION_KEYS) <= set(record)
    assert set(record["log_partition"]) >= PARTITION_KEYS
    assert (record["n"], record["space"]) == (40, kind)
    assert record["nll"] == pytest.approx(record["nll_learned"], abs=0.05)  # τ of a model without interactions
    assert (record["kendall_tau"] is None) == (kind != "rankings")
    assert (record["f1"] is None) == (kind != "subsets")
    shown = capsys.readouterr().out
    assert "negative log-likelihood, audited (nats)" in shown
    assert record["log_partition"]["verdict"] in shown


def test_audit_gives_a_row_for_every_context(models, tables, tmp_path, capsys):
    contexts = tmp_path / "contexts.csv"  # without labels
    pd.read_csv(tables["subsets"])[["x_a", "x_k"]].to_csv(contexts, index=False)
    assert main(["audit", str(models["subsets"]), str(contexts), "--method", "exact", "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["log_partition"]) == PARTITION_KEYS
    assert record["log_partition"]["exact"] is True
    model = load(models["subsets"])
    learned = model.log_partition(model.context(read_table(contexts))).tolist()
    for place in (record, record["rows"]):
        assert place["learned"] == pytest.approx(learned, abs=1e-5)
        assert [len(place[name]) for name in ("learned", "audited", "low", "high")] == [40] * 4
    assert record["rows"]["row"] == list(range(2, 42))
    _fails(capsys, ["audit", models["subsets"], contexts, "--method", "magic"], "--method", "importance", "'magic'")


# ---- score, predict, sample -----------------------------------------------------------------------------------------


def test_score_agrees_with_the_model_and_keeps_places(models, tables, tmp_path, capsys):
    lines = tables["subsets"].read_text("utf-8").splitlines()
    lines.insert(3, "0.5,u,1,,0")
    table, out = tmp_path / "t.csv", tmp_path / "o.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    assert main(["score", str(models["subsets"]), str(table), "--out", str(out)]) == 0
    shown, err = capsys.readouterr()
    assert "1 of them are empty" in shown
    assert "1 rows with a missing label were left out (rows 4)" in err
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    results = pd.read_csv(out)
    columns = ["log_prob", "log_prob_low", "log_prob_high", "seen", "nearest_seen_distance", "in_support", "verdict"]
    assert list(results.columns) == columns
    assert len(results) == 41
    assert results.iloc[2].isna().all()
    kept = results.drop(index=2)
    assert kept["seen"].all()  # every row was given to the fit
    assert kept["in_support"].all()
    assert (kept["nearest_seen_distance"] == 0).all()
    model = load(models["subsets"])
    read = read_table(tables["subsets"])
    y = torch.tensor(read.frame[["y_p", "y_q", "y_r"]].to_numpy().tolist())
    expected = model.log_prob(model.context(read), y).value.numpy()
    assert kept["log_prob"].to_numpy() == pytest.approx(expected, abs=1e-5)
    assert (kept["log_prob_low"] <= kept["log_prob"]).all()


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_results_come_back_from_every_format(ending, models, tables, tmp_path):
    out = tmp_path / f"o{ending}"
    out.write_bytes(b"old")  # results are written over
    arguments = [str(models["configurations"]), str(tables["configurations"]), "--out", str(out)]
    assert main(["predict", *arguments, "--utility", "hamming"]) == 0
    read = read_table(out).frame
    assert list(read.columns) == ["c_p", "c_q", "expected_utility"]
    assert set(read["c_q"]) <= {"=red", "blue"}  # text, and no formula
    assert read["expected_utility"].between(0, 1).all()


def test_ranks_count_from_one(models, tables, tmp_path):
    out = tmp_path / "o.csv"
    assert (
        main(["predict", str(models["rankings"]), str(tables["rankings"]), "--utility", "kendall", "--out", str(out)])
        == 0
    )
    ranks = pd.read_csv(out)[["r_p", "r_q", "r_r"]].to_numpy()
    assert (np.sort(ranks, axis=1) == [1, 2, 3]).all()


def test_value_table_and_threshold(models, tables, tmp_path, capsys):
    values, least, out = tmp_path / "v.json", tmp_path / "t.json", tmp_path / "o.csv"
    values.write_text(json.dumps({**VALUES, "items": {"y_q": {**VALUES, "true_positive": 9}}}), encoding="utf-8")
    least.write_text('{"min_expected_utility": 4.0}', encoding="utf-8")
    base = ["predict", str(models["subsets"]), str(tables["subsets"]), "--out", str(out)]
    assert main([*base, "--utility", str(values), "--threshold", str(least)]) == 0
    results = pd.read_csv(out)
    assert list(results.columns) == ["y_p", "y_q", "y_r", "expected_utility", "abstain"]
    assert (results["abstain"] == (results["expected_utility"] < 4.0)).all()
    assert "abstain" in capsys.readouterr().out
    # Against the sum over all combinations, one by one.
    model = load(models["subsets"])
    log_p = model.model(model.context(read_table(tables["subsets"]))).log_prob_of(model.space.listing()).detach()
    table = read_value_table(values, model.record.schema)
    points = model.space.listing().numpy()
    worth = np.array(
        [[sum(table[i, (0 if t else 1) if c else (2 if t else 3)] for i, (c, t) in enumerate(zip(a, b, strict=True)))
          for b in points] for a in points]
    )  # fmt: skip
    expected = worth @ log_p.softmax(0).double().numpy()
    assert results["expected_utility"].to_numpy() == pytest.approx(expected.max(0), abs=1e-4)


def test_decide_is_the_best_of_all_subsets():
    r = np.random.default_rng(1)
    marginals, values = r.random((20, 3)), r.normal(size=(3, 4))
    y, value = decide(marginals, values)
    points = (np.arange(8)[:, None] >> np.arange(3)) & 1
    worth = [
        [
            sum(m[i] * values[i, 0 if p[i] else 2] + (1 - m[i]) * values[i, 1 if p[i] else 3] for i in range(3))
            for p in points
        ]
        for m in marginals
    ]
    assert value == pytest.approx(np.max(worth, axis=1))
    assert (points[np.argmax(worth, axis=1)] == y).all()


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("{", ("expected JSON",)),
        ("[1]", ("value table", "[1]")),
        ('{"true_positive": 1}', ("false_positive",)),
        (json.dumps({**VALUES, "true_positive": "much"}), ("'true_positive'", "finite number", '"much"')),
        (json.dumps({**VALUES, "true_positive": math.nan}), ("'true_positive'", "finite number")),
        (json.dumps({**VALUES, "bonus": 1}), ("'bonus'",)),
        (json.dumps({"items": {"y_z": VALUES}}), ("no item 'y_z'", "p, q, r")),
        (json.dumps({"items": {"p": VALUES}}), ("'q' has no value table",)),
        (json.dumps({"items": {"p": 3, "q": VALUES, "r": VALUES}}), ("item 'p'", "true_positive")),
        (json.dumps({"items": 3}), ("'items'", "found 3")),
    ],
)
def test_wrong_value_tables(content, parts, models, tables, tmp_path, capsys):
    file = tmp_path / "v.json"
    file.write_text(content, encoding="utf-8")
    base = ["predict", models["subsets"], tables["subsets"], "--out", tmp_path / "o.csv"]
    _fails(capsys, [*base, "--utility", file], "v.json", *parts)


def test_wrong_utilities_and_thresholds(models, tables, tmp_path, capsys):
    out = ["--out", tmp_path / "o.csv"]
    subsets, rankings = [models["subsets"], tables["subsets"]], [models["rankings"], tables["rankings"]]
    _fails(capsys, ["predict", *rankings, *out, "--utility", "f1"], "'f1'", "rankings", "kendall")
    _fails(capsys, ["predict", *subsets, *out, "--utility", "profit"], "--utility", "'profit'", "hamming")
    values = tmp_path / "v.json"
    values.write_text(json.dumps(VALUES), encoding="utf-8")
    _fails(capsys, ["predict", *rankings, *out, "--utility", values], "needs a model of subsets")
    for content, part in (
        ("{}", "none"),
        ('{"min_expected_utility": "a"}', "finite number"),
        ('{"least": 1}', "'least'"),
    ):
        values.write_text(content, encoding="utf-8")
        _fails(capsys, ["predict", *subsets, *out, "--threshold", values], "min_expected_utility", part)
    _fails(capsys, ["predict", *subsets, *out, "--threshold", tmp_path / "none.json"], "none.json was not found")


def test_sample_draws_for_every_row(models, tables, tmp_path):
    out = tmp_path / "o.parquet"
    arguments = ["sample", str(models["rankings"]), str(tables["rankings"]), "-n", "5", "--out", str(out)]
    assert main(arguments) == 0
    first = pd.read_parquet(out)
    assert list(first.columns) == ["row", "draw", "r_p", "r_q", "r_r", "effective_sample_size"]
    assert first["row"].tolist() == np.repeat(np.arange(2, 42), 5).tolist()
    assert first["draw"].tolist() == [1, 2, 3, 4, 5] * 40
    assert (np.sort(first[["r_p", "r_q", "r_r"]].to_numpy(), axis=1) == [1, 2, 3]).all()
    assert (first["effective_sample_size"] > 0).all()
    assert main(arguments) == 0
    assert pd.read_parquet(out).equals(first)
    assert main([*arguments, "--seed", "1"]) == 0
    assert not pd.read_parquet(out).equals(first)


def test_wrong_tables_for_a_model(models, tables, tmp_path, capsys):
    out = ["--out", tmp_path / "o.csv"]
    table = tmp_path / "t.csv"
    table.write_text("x_a,c_p,c_q\n0.5,S,green\n", encoding="utf-8")
    _fails(capsys, ["score", models["configurations"], table, *out], "row 2", "'c_q'", "'green'")
    _fails(capsys, ["score", models["subsets"], table, *out], "y_p")
    table.write_text("x_b,c_p,c_q\n0.5,S,blue\n", encoding="utf-8")
    _fails(capsys, ["predict", models["configurations"], table, *out], "x_a")
    table.write_text("x_a\nmuch\n", encoding="utf-8")
    _fails(capsys, ["sample", models["configurations"], table, *out], "row 2", "'x_a'", "expected a number")
    assert not (tmp_path / "o.csv").exists()


def test_wrong_result_files(models, tables, tmp_path, capsys):
    base = ["score", models["subsets"], tables["subsets"], "--out"]
    _fails(capsys, [*base, tmp_path / "o.txt"], "'.txt'", ".parquet")
    _fails(capsys, [*base, tmp_path / "none" / "o.csv"], "does not exist")
    (tmp_path / "d.csv").mkdir()
    _fails(capsys, [*base, tmp_path / "d.csv"], "is a folder")


def test_wrong_models(models, tables, tmp_path, capsys):
    rest = [tables["subsets"], "--out", tmp_path / "o.csv"]
    _fails(capsys, ["score", tmp_path / "none", *rest], "was not found", "model folder")
    _fails(capsys, ["score", tables["subsets"], *rest], "is a file", "model folder")
    _fails(capsys, ["score", tmp_path, *rest], "model.json")
    source = models["subsets"]
    for name, file, content in (
        ("cut", "model.safetensors", (source / "model.safetensors").read_bytes()[:-100]),
        ("text", "model.json", b"not json"),
        ("list", "model.json", b"[1]"),
        (
            "other",
            "model.json",
            (source / "model.json").read_bytes().replace(b'"kind": "subsets"', b'"kind": "rankings"'),
        ),
        ("later", "model.json", (source / "model.json").read_bytes().replace(b'"format": 2', b'"format": 99')),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for entry in source.iterdir():
            (folder / entry.name).write_bytes(content if entry.name == file else entry.read_bytes())
        _fails(capsys, ["score", folder, *rest], str(folder), "99" if name == "later" else "damaged")
    _fails(capsys, ["score", source, *rest, "--device", "abacus"], "--device", "'abacus'")


# ---- runs, worker, app, doctor --------------------------------------------------------------------------------------


def test_runs_are_listed_shown_cancelled_and_deleted(tables, tmp_path, monkeypatch, capsys):
    from jebm_core.runs import Home, RunSpec, RunStore

    home = tmp_path / "home"
    monkeypatch.setenv("JEBM_HOME", str(home))
    assert main(["runs"]) == 0
    assert "No runs" in capsys.readouterr().out
    store = RunStore(Home(home), idle_seconds=0.1)
    dataset = store.add_dataset(tables["subsets"], "t.csv")
    run = store.enqueue(RunSpec(dataset.sha256, "t.csv", title="first", settings={"epochs": 2}))
    assert main(["runs", "list"]) == 0
    assert re.search(rf"^{run} +queued .*first$", capsys.readouterr().out, flags=re.MULTILINE)
    assert main(["runs", "cancel", run]) == 0
    assert main(["runs", "show", run, "--json", "-"]) == 0
    out = capsys.readouterr().out
    record = json.loads(out[out.index("{") :])
    assert (record["id"], record["state"], record["spec"]["title"]) == (run, "cancelled", "first")
    assert main(["runs", "cancel", run]) == 0
    assert "already ended" in capsys.readouterr().out
    assert main(["runs", "delete", run]) == 0
    _fails(capsys, ["runs", "show", run], f"no run '{run}'")
    _fails(capsys, ["runs", "show", "../x"], "Expected the name of a run")


def test_worker_ends_when_idle(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JEBM_HOME", str(tmp_path))
    assert main(["worker", "--idle", "0.1"]) == 0
    assert "holds the queue" in capsys.readouterr().out


def test_doctor_finds_this_installation_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))
    assert main(["doctor", "--json", "-"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["ok"] is True
    assert {check["name"] for check in record["checks"]} >= {"versions", "device", "home", "run store", "tiny fit"}
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    assert re.search(r"^problem +home: ", capsys.readouterr().out, flags=re.MULTILINE)


# ---- faults and interruptions ---------------------------------------------------------------------------------------


def test_a_fault_of_ours_leaves_a_log_and_no_traceback(models, tables, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JEBM_HOME", str(tmp_path / "home"))

    def broken(*_):
        raise ZeroDivisionError("the cause")

    monkeypatch.setattr(sys.modules["jebm_core.cli.score"], "write_results", broken)
    arguments = ["score", models["subsets"], tables["subsets"], "--out", tmp_path / "o.csv"]
    sentence = _fails(capsys, arguments, "A fault of jebm's own", "the cause", "Please report it with the log", code=1)
    log = Path(sentence.rpartition(" log ")[2].rstrip("."))
    assert log.is_relative_to(tmp_path / "home")
    assert "Traceback" in log.read_text("utf-8")
    monkeypatch.setenv("JEBM_DEBUG", "1")
    assert main(list(map(str, arguments))) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_failed_training_is_exit_code_one(tables, tmp_path, monkeypatch, capsys):
    from jebm_core.errors import TrainingStopped

    def stopped(*_, **__):
        raise TrainingStopped("A number stopped being finite.")

    monkeypatch.setattr("jebm_core.fitting.fit", stopped)
    _fails(capsys, ["fit", tables["subsets"], "--out", tmp_path / "m"], "A number stopped being finite.", code=1)
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(os.name != "posix", reason="no SIGINT can be sent to a process of its own here")
def test_interrupt_of_a_real_process(tables, tmp_path):
    command = [sys.executable, "-m", "jebm_core", "fit", str(tables["subsets"]), "--out", str(tmp_path / "m")]
    fit = subprocess.Popen(
        [*command, "--proposal", "reference", "--affinity", "set", "--epochs", "100000", "--samples", "100000"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Background jobs of a shell ignore Ctrl-C, and hand that down to what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert fit.stderr is not None
    assert "preparing" in fit.stderr.readline()
    fit.send_signal(signal.SIGINT)
    rest = fit.communicate(timeout=60)[1]
    assert fit.returncode == 130
    assert rest.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in rest
    assert not (tmp_path / "m").exists()


@pytest.mark.skipif(os.name != "posix", reason="no SIGINT can be sent to a process of its own here")
def test_interrupted_fit_goes_on_from_its_checkpoint(tables, tmp_path, capsys):
    checkpoints, before = tmp_path / "checkpoints", signal.getsignal(signal.SIGINT)
    arguments = ["fit", str(tables["subsets"]), "--out", str(tmp_path / "m"), "--affinity", "set", "--epochs", "8"]
    arguments += ["--resume", str(checkpoints)]

    def interrupt():
        while signal.getsignal(signal.SIGINT) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert main(arguments) == 130
    thread.join()
    assert "Stopping after a checkpoint" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "m").exists()
    assert main(arguments) == 0
    assert (tmp_path / "m" / "model.json").is_file()
    assert list(checkpoints.iterdir()) == []


def test_output_schema_of_a_value_table_without_items():
    schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
    file = Path(__file__).with_name("no such file.json")
    with pytest.raises(Exception, match="was not found"):
        read_value_table(file, schema)
