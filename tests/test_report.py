"""Sentences, verdicts and tables from evaluations, real ones and ones bent on purpose."""

import copy
import json
import string
import subprocess
import sys
from typing import Any

import pytest

from jebm_core import report
from jebm_core.evaluation import rank_unseen
from tests.test_evaluate import evaluated, examples_of, fitted

ANSWERS = [report.answer_overview, report.answer_partition, report.answer_calibration, report.answer_unseen]
KINDS = ["subsets", "configurations", "rankings"]


@pytest.fixture
def e() -> dict[str, Any]:
    """A real evaluation whose evidence is made good, to be bent."""
    record = copy.deepcopy(evaluated("subsets").to_json())
    for name in ("pooled", "joint"):
        record["calibration"][name] |= {"ece": 0.02, "ece_chance": 0.03}
    for row in record["calibration"]["coverage"]:
        row |= {"covered": row["level"], "low": row["level"] - 0.02, "high": row["level"] + 0.02}
    record["log_partition"] |= {"verdict": "trusted", "mae": 0.02}
    share = {"value": 0.1, "low": 0.08, "high": 0.12}
    record["unseen"] |= {"model": dict(share), "observed": dict(share), "good_turing": dict(share)}
    record["differences"] |= {"independent": [0.5, 0.4, 0.6], "frequency": [0.2, 0.1, 0.3]}
    return record


def test_no_torch() -> None:
    code = "import sys, jebm_core.report; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_every_sentence_can_be_said(kind: str, answer: Any) -> None:
    found = answer(evaluated(kind).to_json())
    for sentence in (found.sentence, *found.reasons):
        named = {name for _, name, _, _ in string.Formatter().parse(sentence.template) if name}
        assert named == set(sentence.values)
        assert str(sentence).endswith(".")
        assert "nan" not in str(sentence)
    json.dumps([dict(s.values) for s in (found.sentence, *found.reasons)], allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_tables_are_plain(kind: str) -> None:
    record = evaluated(kind).to_json()
    run = {"held_out": record, "train": record}
    tables = [
        report.partition_rows(run),
        report.partition_summary_rows(run),
        report.reliability_rows(run),
        report.event_rows(run),
        report.coverage_rows(run),
        report.baseline_rows(run),
    ]
    for rows in tables:
        assert rows
        assert len({tuple(row) for row in rows}) == 1  # the same columns in every row
        json.dumps(rows, allow_nan=False)
    assert {row["group"] for row in tables[0]} == {"held_out", "train"}
    assert {row["kind"] for row in tables[2]} == {"pooled", "joint", "event"}


def test_ladder_rows() -> None:
    model = fitted("subsets")
    table = rank_unseen(model, model.context(examples_of("subsets", 10, 1, like=model).table), 4).to_json()
    rows = report.unseen_rows(json.loads(json.dumps(table)))
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert all("→" in row["changes"] for row in rows)


def test_good_evidence_is_trusted(e: dict[str, Any]) -> None:
    assert report.verdict(e) == ("trusted", ())
    found = report.answer_overview(e)
    assert not found.flagged
    assert str(found.sentence) == (
        "Whole combinations are predicted 0.50 nat better (0.40 to 0.60) than by treating the parts as independent, "
        "on 150 rows."
    )
    assert str(report.answer_partition(e).sentence).startswith("The probabilities are audited: on 150 contexts")


@pytest.mark.parametrize(("gap", "verdict"), [(0.04, "trusted"), (0.1, "caution"), (0.3, "do not trust")])
def test_each_miss_lowers_the_verdict(e: dict[str, Any], gap: float, verdict: str) -> None:
    for name in ("pooled", "joint"):
        bent = copy.deepcopy(e)
        bent["calibration"][name]["ece"] = bent["calibration"][name]["ece_chance"] + gap
        assert report.answer_calibration(bent).verdict == verdict
    bent = copy.deepcopy(e)
    for level in (0.5, 0.9):
        bent = copy.deepcopy(e)
        next(c for c in bent["calibration"]["coverage"] if c["level"] == level)["high"] = level - gap
        assert report.answer_calibration(bent).verdict == verdict
    bent = copy.deepcopy(e)
    bent["unseen"]["observed"] = {"value": 0.5, "low": 0.12 + gap, "high": 0.9}
    assert report.answer_unseen(bent).verdict == verdict
    assert report.verdict(bent)[0] == verdict


@pytest.mark.parametrize("exact", [True, False])
def test_audit_lowers_the_verdict(e: dict[str, Any], exact: bool) -> None:
    e["log_partition"] |= {"verdict": "do not trust", "mae": 2.0, "exact": exact}
    found = report.answer_overview(e)
    assert found.flagged
    assert len(found.reasons) == 1
    if exact:
        assert "639 %" in str(found.reasons[0])


def test_no_audit_is_not_trusted(e: dict[str, Any]) -> None:
    e["log_partition"] = None
    e["nll"] = None
    e["differences"]["independent"] = [None, None, None]
    assert report.answer_partition(e).flagged
    assert report.answer_overview(e).flagged
    assert report.partition_summary_rows(e) == []


@pytest.mark.parametrize("baseline", ["independent", "frequency"])
def test_a_better_baseline_is_said(e: dict[str, Any], baseline: str) -> None:
    e["differences"][baseline] = [-0.3, -0.4, -0.2]
    verdict, (reason,) = report.verdict(e)
    assert verdict == "caution"
    assert "0.30 nat" in str(reason)


def test_few_rows_and_fitted_rows_are_said(e: dict[str, Any]) -> None:
    few = {**e, "n": 20}
    assert report.verdict(few)[0] == "caution"
    fitted_only = {"held_out": None, "train": e}
    assert report.verdict(fitted_only)[0] == "caution"
    assert any("held out" in str(reason) for reason in report.verdict(fitted_only)[1])


def test_sentences_are_literals_that_can_be_extracted() -> None:
    import ast
    from pathlib import Path

    trees = [ast.parse(file.read_text("utf-8")) for file in Path(report.__file__).parent.glob("*.py")]
    calls = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Sentence"]
    assert len(made) > 15
    assert all(isinstance(call.args[0], ast.Constant) for call in made)
