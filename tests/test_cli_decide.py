"""``jebm decide`` and ``jebm predict --policy``: what they write, and each wrong input's sentence."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from jebm_core.cli import main
from tests.test_cli import _fails

VALUES = "every: {hit: 3, false_alarm: 1, miss: 2}\nexact_bonus: 4\ncurrency: EUR\n"


def _rows(seed: int, rows: int) -> str:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    y = (x @ np.array([[2.0, -1.0, 0.5], [0.0, 2.0, 1.0]]) + rng.logistic(size=(rows, 3)) > 0).astype(int)
    lines = [",".join([*(f"{v:.4f}" for v in a), *map(str, b)]) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return "\n".join(["x_a,x_b,y_p,y_q,y_r", *lines])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("decide")
    (place / "train.csv").write_text(_rows(0, 150), encoding="utf-8")
    (place / "labelled.csv").write_text(_rows(1, 300), encoding="utf-8")
    (place / "new.csv").write_text(_rows(2, 40) + "\n60,60,0,0,0", encoding="utf-8")
    (place / "values.yaml").write_text(VALUES, encoding="utf-8")
    fit = ["--affinity", "pairwise-constant", "--reference", "marginals", "--epochs", "10"]
    assert main(["fit", str(place / "train.csv"), "--out", str(place / "model"), *fit]) == 0
    return place


def _decide(folder: Path, *more: str) -> list[str]:
    base = ["decide", str(folder / "model"), str(folder / "labelled.csv"), "--values", str(folder / "values.yaml")]
    return [*base, "--out", str(folder / "policy.yaml"), *more]


@pytest.mark.parametrize("more", [("--alpha", "0.2"), ("--alpha", "0.3", "--delta", "0.1", "--loss", "items")])
def test_a_policy_is_made_and_applied(more: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(_decide(folder, *more, "--json", str(folder / "record.json"))) == 0
    shown = capsys.readouterr().out
    assert "independent parts" in shown
    assert "300 calibration rows" in shown
    record = json.loads((folder / "record.json").read_text("utf-8"))
    policy = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    assert policy["provenance"]["rows"] == record["n"] == 300
    assert record["oracle"] >= record["value"][0]
    out = folder / "out.csv"
    base = ["predict", str(folder / "model"), str(folder / "new.csv"), "--policy", str(folder / "policy.yaml")]
    assert main([*base, "--out", str(out)]) == 0
    found = pd.read_csv(out, keep_default_na=False)
    assert list(found.columns) == [
        "y_p", "y_q", "y_r", "expected_utility", "expected_value", "abstain", "abstain_reason",
    ]  # fmt: skip
    assert found["abstain_reason"].iloc[-1] in ("far", "verdict")
    assert set(found["abstain_reason"]) <= {"", "far", "verdict", "confidence", "unsupported"}
    assert (found["abstain"] == (found["abstain_reason"] != "")).all()


def test_wrong_inputs_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model, labelled = str(folder / "model"), str(folder / "labelled.csv")
    values = ["--values", str(folder / "values.yaml"), "--out", str(tmp_path / "p.yaml")]
    _fails(capsys, ["decide", model, str(folder / "train.csv"), *values], "was fitted to", "has not seen")
    _fails(capsys, ["decide", model, labelled, *values, "--alpha", "2"], "Alpha", "2")
    _fails(capsys, ["decide", model, labelled, *values, "--delta", "0"], "Delta")
    _fails(capsys, ["decide", model, labelled, *values, "--loss", "money"], "'money'", "exact, items")
    _fails(capsys, ["decide", model, labelled, *values, "--far", "1"], "Far".lower())
    bad = tmp_path / "bad.yaml"
    bad.write_text("every: {hit: much, false_alarm: 1, miss: 2}", encoding="utf-8")
    _fails(capsys, ["decide", model, labelled, "--values", bad, "--out", tmp_path / "p.yaml"], "bad.yaml", "every.hit")
    predict = ["predict", model, labelled, "--out", tmp_path / "o.csv", "--policy"]
    _fails(capsys, [*predict, bad], "bad.yaml", "expected a policy")
    _fails(capsys, [*predict, tmp_path / "none.yaml"], "none.yaml was not found")
    _fails(capsys, [*predict, bad, "--utility", "f1"], "--policy", "leave --utility")
    assert not (tmp_path / "p.yaml").exists()
