"""The suite ``conformal``: sets that keep their promise, alike by both packages, and verdicts on made-up numbers."""

import json

import numpy as np
import pytest

from tests.benchmarks import conformal
from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.label_sets import GRID, recall_and_size, sets_by_mapie, sets_by_ours
from tests.benchmarks.field.packing import pack


def _rows(seed: int, count: int = 300, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels that are present with just these probabilities, at least one a row."""
    random = np.random.default_rng(seed)
    p = random.beta(0.6, 1.2, size=(count, labels))
    y = (random.random(p.shape) < p).astype(np.int64)
    y[np.arange(count), p.argmax(1)] |= ~y.any(1)
    return p, y


def test_a_set_misses_as_little_as_it_promises() -> None:
    found = []
    for seed in range(40):
        (known, truth), (scores, judged) = _rows(seed), _rows(1000 + seed)
        found.append(recall_and_size(judged, sets_by_ours(known, truth, scores, 0.9))["recall"].mean())
    assert np.mean(found) == pytest.approx(0.9, abs=0.01)


def test_the_threshold_is_the_largest_that_calibration_rows_allow() -> None:
    known, truth = _rows(0)
    inside = sets_by_ours(known, truth, known, 0.9)
    smallest = known[inside].min()

    def risk(threshold: float) -> float:
        return (np.sum(1 - recall_and_size(truth, known >= threshold)["recall"]) + 1) / (len(truth) + 1)

    assert risk(smallest) <= 0.1
    assert risk(np.min(known[known > smallest])) > 0.1 or truth[known == smallest].sum() == 0
    assert recall_and_size(np.array([[0, 0], [1, 1]]), np.array([[True, False], [True, False]])) == {
        "recall": pytest.approx([1.0, 0.5]),
        "size": pytest.approx([1.0, 1.0]),
    }


def test_both_packages_choose_alike_from_the_same_scores() -> None:
    pytest.importorskip("mapie")
    (known, truth), (scores, _) = _rows(0), _rows(1)
    ours = sets_by_ours(known, truth, scores, 0.9)
    theirs = sets_by_mapie(lambda x: x, Rows(known, truth, ()), scores, 0.9)
    assert theirs.shape == ours.shape
    between = np.abs(scores[ours != theirs] - scores[ours].min())
    assert (between <= GRID).all()
    assert (ours <= theirs).all()  # a grid can only stop earlier


def _result(recall: float, size: float, by_marginals: tuple[float, float] = (0.9, 6.5)) -> dict:
    noise = 0.05 * np.sin(np.arange(200))
    values = {"recall": noise + recall, "size": 10 * noise + size}
    values |= {f"{key} by marginals": noise + value for key, value in zip(list(values), by_marginals, strict=True)}
    means = {key: [float(value.mean())] for key, value in values.items()}
    return {"means": means, "rows": {key: pack(value) for key, value in values.items()}}


def test_findings_need_nothing_but_results() -> None:
    results = {
        "yeast, jebm": _result(0.91, 6.0),
        "yeast, MAPIE, random forest": _result(0.9, 8.0),
        "yeast, MAPIE, classifier chains": {"missing": "mapie is not installed: pip install '.[bench]'"},
    }
    rows = {row.what: row for row in conformal.findings(json.loads(json.dumps(results)))}
    assert rows["yeast: recall of jebm's sets, upper end"].met
    beside = rows["yeast: labels in a set less the best peer's, lower end"]
    assert beside.met
    assert beside.detail.startswith("ahead: -2.0")
    assert "of MAPIE, random forest" in beside.detail
    assert rows["yeast: MAPIE, classifier chains, labels in a set"].detail.startswith("mapie is not installed")
    broken = conformal.findings({"yeast, jebm": _result(0.8, 6.0)})
    assert [row.met for row in broken] == [False]


def test_a_peer_that_is_not_installed_is_left_out_with_a_sentence() -> None:
    found = conformal.measure({"threads": 1, "package": "mapie", "version": None})
    assert found == {"missing": "mapie is not installed: pip install '.[bench]'"}
