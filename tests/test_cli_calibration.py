"""``jebm evaluate --event --cohort`` and ``jebm recalibrate``: what they write, and what is said of wrong input."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jebm_core.cli import main
from jebm_core.fitted import load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three labels with a number and a word as features, and labelled rows that it has not seen."""
    place, generator = tmp_path_factory.mktemp("cli"), np.random.default_rng(5)
    x = generator.normal(size=400)
    y = generator.random((400, 3)) < 1 / (1 + np.exp(-x[:, None] * [1.0, -1.0, 0.5]))
    frame = pd.DataFrame(y.astype(int), columns=["y_a", "y_b", "y_c"])
    frame.insert(0, "x_season", generator.choice(["summer", "winter"], 400))
    frame.insert(0, "x_size", x.round(3))
    frame[:200].to_csv(place / "train.csv", index=False)
    frame[200:].to_csv(place / "new.csv", index=False)
    frame[200:].drop(columns="x_season").to_csv(place / "less.csv", index=False)
    quick = ("--reference", "uniform", "--affinity", "pairwise", "--epochs", "8")
    assert main(["fit", str(place / "train.csv"), "--out", str(place / "model"), *quick]) == 0
    return place


def test_events_and_groups_are_judged(folder, tmp_path, capsys):
    out = tmp_path / "e.json"
    more = ("--event", "a and not b", "--event", "size >= 2", "--cohort", "x_season", "--cohort", "x_size")
    assert main(["evaluate", str(folder / "model"), str(folder / "new.csv"), "--json", str(out), *more]) == 0
    said, record = capsys.readouterr().out, json.loads(out.read_text())
    assert [event["expression"] for event in record["events"]] == ["a and not b", "size >= 2"]
    labels = pd.read_csv(folder / "new.csv")[["y_a", "y_b", "y_c"]].to_numpy()
    shares = ((labels[:, 0] == 1) & (labels[:, 1] == 0)).mean(), (labels.sum(1) >= 2).mean()
    assert [event["observed"] for event in record["events"]] == pytest.approx(shares)
    assert [cohort["column"] for cohort in record["cohorts"]] == ["x_season", "x_size"]
    assert "a and not b" in said
    assert "x_season" in said


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--event", "a and and b"), ("column 7", "written like this")),
        (("--event", "d"), ("'d'", "written like this")),
        (("--cohort", "x_saeson"), ("'x_saeson'", "'x_season'")),
    ],
)
def test_wrong_events_and_groups_are_one_sentence(more, parts, folder, capsys):
    assert main(["evaluate", str(folder / "model"), str(folder / "new.csv"), *more]) == 2
    said = capsys.readouterr().err
    assert all(part in said for part in parts), said


def test_recalibrating_writes_a_model_and_both_judgements(folder, tmp_path, capsys):
    out, table = tmp_path / "again", str(folder / "new.csv")
    done = main(["recalibrate", str(folder / "model"), table, "--out", str(out), "--json", str(tmp_path / "r.json")])
    assert done == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert load(out).record.summary["temperature"] == pytest.approx(record["temperature"]["value"], rel=1e-6)
    assert "emperature" in capsys.readouterr().out
    assert {one["name"] for one in record["changes"]} == {"ece_marginal", "ece_joint", "brier", "nll"}
    assert all(one["low"] <= one["after"] - one["before"] <= one["high"] for one in record["changes"])
    wrong = ["--out", str(tmp_path / "none"), "--method", "platt"]
    assert main(["recalibrate", str(folder / "model"), table, *wrong]) == 2
    assert "found 'platt'" in capsys.readouterr().err
    shifted = ["--out", str(tmp_path / "shifted"), "--method", "vector", "--json", str(tmp_path / "v.json")]
    assert main(["recalibrate", str(folder / "model"), table, *shifted]) == 0
    vector = json.loads((tmp_path / "v.json").read_text())
    assert len(vector["shift"]) == load(tmp_path / "shifted").space.num_statistics
    few = tmp_path / "few.csv"
    few.write_text("\n".join((folder / "new.csv").read_text().splitlines()[:8]))
    assert main(["recalibrate", str(folder / "model"), str(few), "--out", str(tmp_path / "none")]) == 2
    assert "has 7 complete rows" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
