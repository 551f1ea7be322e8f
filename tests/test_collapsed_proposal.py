"""A fit that is forced to train with draws that miss the model: every command and every page says so in words."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jebm_core import report
from jebm_core.cli import main

ITEMS = 60
FLAGS = ["--proposal", "reference", "--reference", "uniform", "--samples", "2", "--affinity"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """640 rows of 60 labels, about 6 of them present, that follow three features: far from uniform. Seed 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 3))
    y = rng.random((640, ITEMS)) < 1 / (1 + np.exp(4 - 1.5 * x @ rng.normal(size=(3, ITEMS))))
    frame = pd.DataFrame({**{f"x_{i}": x[:, i] for i in range(3)}, **{f"y_{i}": y[:, i] * 1 for i in range(ITEMS)}})
    place = tmp_path_factory.mktemp("collapsed") / "t.csv"
    frame.to_csv(place, index=False)
    frame.head(60).to_csv(place.with_name("few.csv"), index=False)  # what is asked about
    return place


@pytest.fixture(scope="module", params=["lowrank", "pairwise"])
def model(table: Path, request: pytest.FixtureRequest) -> Path:
    """Full pairs run away from such draws until numbers overflow; pairs of low rank do not get that far."""
    folder = table.parent / request.param
    assert main(["fit", str(table), "--out", str(folder), *FLAGS, request.param, "--epochs", "20"]) == 0
    return folder


def test_the_commands_say_so(model, table, capsys):
    table = table.with_name("few.csv")
    made = json.loads((model / "model.json").read_text("utf-8"))
    assert (made["summary"]["proposal"], made["summary"]["healthy"]) == ("reference", False)
    out, said = table.parent / "o.csv", table.parent / "s.json"
    assert main(["score", str(model), str(table), "--out", str(out), "--json", str(said)]) == 0
    assert "Warning: Do not trust these probabilities." in capsys.readouterr().err
    record = json.loads(said.read_text("utf-8"))
    assert record["verdict"] == "do not trust"
    assert record["warning"].startswith("Do not trust these probabilities. ")
    results = pd.read_csv(out)
    assert set(results["verdict"]) == {"do not trust"}
    assert {"log_prob", "log_prob_low", "log_prob_high", "seen", "nearest_seen_distance", "in_support"} < set(results)
    assert main(["score", str(model), str(table), "--out", str(out), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "do not trust"  # nothing but JSON on stdout
    assert main(["audit", str(model), str(table), "--json", str(said)]) == 0
    assert "Warning: do not trust the probabilities" in capsys.readouterr().err
    audit = json.loads(said.read_text("utf-8"))
    assert audit["log_partition"]["verdict"] == "do not trust"
    assert len(audit["rows"]["bound_low"]) == len(audit["bound_high"]) == 60
    for low, audited, high in zip(audit["bound_low"], audit["high"], audit["bound_high"], strict=True):
        assert low <= audited + 1e-3
        assert high is None or audited <= high + 1e-6
    assert main(["predict", str(model), str(table), "--out", str(out)]) == 0
    assert "Warning: Do not trust these probabilities." in capsys.readouterr().err


def test_the_answers_of_the_pages_say_so(model, table, capsys):
    table = table.with_name("few.csv")
    said = table.parent / "e.json"
    assert main(["evaluate", str(model), str(table), "--json", str(said)]) == 0
    assert "Warning: do not trust the probabilities" in capsys.readouterr().err
    record = json.loads(said.read_text("utf-8"))
    assert report.verdict(record)[0] == "do not trust"
    for answer in (report.answer_overview, report.answer_partition, report.answer_calibration, report.answer_unseen):
        found = answer(record)
        assert found.flagged
        assert any("another proposal" in str(reason) or "log-partition" in str(reason) for reason in found.reasons)
