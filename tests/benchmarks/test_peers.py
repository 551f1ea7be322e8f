"""The suites ``peers`` and ``sets``: what a method gets to see, what is kept, and verdicts on made-up numbers."""

import json

import numpy as np
import pytest

from jebm_core import guess_roles, read_examples, read_table
from tests.benchmarks import peers, sets
from tests.benchmarks.field import mallows
from tests.benchmarks.field.data import Rows, encoded, require_apart
from tests.benchmarks.field.decisions import score_subsets
from tests.benchmarks.field.distributions import Product
from tests.benchmarks.field.measuring import measure_rankings, measure_sets, measure_subsets, run_peer
from tests.benchmarks.field.packing import pack, pack_whole, unpack, unpack_whole
from tests.benchmarks.field.verdicts import NLL, Field, compare

ITEMS = 4


@pytest.fixture
def some() -> Rows:
    """Sixty rows with two features; the last item never varies."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)).astype(np.float32)
    y = (x @ random.normal(size=(2, ITEMS)) + 0.5 * random.normal(size=(60, ITEMS)) > 0).astype(np.int64)
    y[:, -1] = 0
    return Rows(x, y, tuple(f"train:{i}" for i in range(60)))


@pytest.fixture
def ranked() -> Rows:
    random = np.random.default_rng(1)
    x = random.normal(size=(60, 2)).astype(np.float32)
    scores = x @ random.normal(size=(2, 3)) + 0.2 * random.normal(size=(60, 3))
    return Rows(x, mallows.positions_of(scores), tuple(f"train:{i}" for i in range(60)))


def test_a_method_sees_training_rows_and_then_the_features_of_test_rows_alone(some: Rows) -> None:
    train, test = some.part(np.arange(40)), some.part(np.arange(40, 60))
    seen = []

    def fit(rows: Rows, seed: int):
        seen.append((rows, seed))
        return lambda x: seen.append(x) or Product(np.full((len(x), ITEMS), 0.5))

    run = run_peer(fit, train, test, 7, score_subsets)
    assert seen[0] == (train, 7)
    assert seen[1] is test.x
    assert run.rows["nll"].tolist() == pytest.approx([ITEMS * np.log(2)] * 20)
    with pytest.raises(ValueError, match="expected no row in both parts, found 1, for example train:39"):
        run_peer(fit, train, some.part(np.arange(39, 60)), 7, score_subsets)
    require_apart(train.ids, test.ids)


def _examples(outputs: str, cells: np.ndarray):
    x = np.random.default_rng(0).normal(size=len(cells))
    lines = [",".join(["x_a", *(f"{outputs}_{i}" for i in range(cells.shape[1]))])]
    lines += [",".join(map(str, [value, *row])) for value, row in zip(x, cells.tolist(), strict=True)]
    table = read_table("made.csv", content="\n".join(lines).encode())
    examples = read_examples(table, guess_roles(table))
    first = np.arange(len(cells)) < 40
    return examples.part(first), examples.part(~first)


def test_features_are_encoded_by_the_training_rows(some: Rows) -> None:
    train, test = encoded(*_examples("y", some.y[:, :3]))
    assert train.x.mean() == pytest.approx(0, abs=1e-6)
    assert train.x.std() == pytest.approx(1, abs=1e-6)
    assert test.y.tolist() == some.y[40:, :3].tolist()
    assert test.ids[0] == "made.csv:40"


def test_what_is_measured_is_what_the_rows_say(some: Rows, ranked: Rows) -> None:
    parts = _examples("y", some.y[:, :3])

    def shares(train: Rows, seed: int):
        return lambda x: Product(np.tile(train.y.mean(0) + 0.01 * seed, (len(x), 1)))

    found = json.loads(json.dumps(measure_subsets(shares, lambda: parts, (0, 1))))
    assert len(found["means"]["nll"]) == 2
    assert unpack(found["rows"]["nll"]).mean() == pytest.approx(np.mean(found["means"]["nll"]), rel=1e-3)
    assert unpack_whole(found["labelled"]).tolist() == some.y[40:, :3].any(1).astype(int).tolist()

    found = measure_sets(shares, lambda: parts, (0,))
    known = {tuple(row) for row in some.y[:40, :3].tolist()}
    assert unpack_whole(found["new"]).tolist() == [tuple(row) not in known for row in some.y[40:, :3].tolist()]

    def centre(train: Rows, seed: int):
        return lambda x: mallows.Mallows(np.tile(np.arange(3), (len(x), 1)), 0.5)

    found = measure_rankings(centre, lambda _: _examples("r", ranked.y + 1), (0, 1))
    assert unpack_whole(found["units"]).tolist() == [*range(40, 60)] * 2
    want = mallows.kendall_tau(ranked.y[40:], np.tile(np.arange(3), (20, 1)))
    np.testing.assert_allclose(unpack(found["rows"]["tau"]), [*want, *want], atol=1e-3)


def test_rows_are_packed_to_about_three_digits() -> None:
    values = np.array([0.0, 1.0, 0.3333, -2.5, 57.31, 1e9])
    np.testing.assert_allclose(unpack(pack(values)), [0, 1, 0.3333, -2.5, 57.31, 60000], rtol=1e-3)
    assert unpack_whole(pack_whole(np.array([0, 1, 65535]))).tolist() == [0, 1, 65535]


def test_verdicts() -> None:
    random = np.random.default_rng(0)
    theirs = random.random(400)
    noise = 0.5 * random.normal(size=400)
    better, same, worse = (theirs + noise - noise.mean() + shift for shift in (0.2, 0.0, -0.2))
    assert [compare(ours, theirs).word(larger=True) for ours in (better, same, worse)] == ["ahead", "tied", "behind"]
    assert [compare(ours, theirs).word(larger=False) for ours in (better, same, worse)] == ["behind", "tied", "ahead"]
    found = compare(better, theirs)
    assert found.difference == pytest.approx(0.2)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.5 / 20, rel=0.15)
    assert compare(theirs, theirs).word(larger=True) == "tied"
    with pytest.raises(ValueError, match="expected two scores of the same rows, found 400 and 3"):
        compare(theirs, theirs[:3])


def test_rows_of_one_unit_count_as_one() -> None:
    gap = np.random.default_rng(0).normal(size=300)
    once, often = compare(gap, 0 * gap), compare(np.tile(gap, 4), np.zeros(1200), np.tile(np.arange(300), 4))
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    alone = compare(np.tile(gap, 4), np.zeros(1200))
    assert alone.high - alone.low < 0.6 * (once.high - once.low)


def _result(values: dict[str, np.ndarray], **more) -> dict:
    facts = {"log_partition": {"mae": 0.01, "r2": None, "method": "listing"}}
    rows = {key: pack(value) for key, value in values.items()}
    means = {key: [float(value.mean())] for key, value in values.items()}
    return {"rows": rows, "means": means, "fit_seconds": [1.0], "answer_seconds": [0.1], "facts": [facts], **more}


def _scores(f1: float, nll: float, rows: int = 200) -> dict[str, np.ndarray]:
    noise = 0.1 * np.sin(np.arange(rows))
    return {"half": noise + 0.1, "map": noise + 0.2, "f1": noise + f1, "nll": 1.5 * noise + nll}


def test_findings_need_nothing_but_results() -> None:
    ours, theirs, apart = _scores(0.7, 2.0), _scores(0.6, 2.5), _scores(0.9, 1.0, rows=7)
    results = {
        "emotions, jebm": _result(ours),
        "emotions, random forest": _result(theirs),
        "emotions, LightGBM": {"missing": "lightgbm is not installed: pip install '.[bench]'"},
        "emotions, neural network": _result(apart),  # from other rows than ours: shown, not compared
    }
    rows = {row.what: row for row in peers.findings(json.loads(json.dumps(results)))}
    assert rows["emotions: F1"].value == pytest.approx(0.7, abs=0.02)
    assert rows["emotions: F1"].met
    beside = rows["emotions: joint −log p less the best peer's, lower end"]
    assert beside.met
    assert beside.detail.startswith("ahead: -0.5")
    assert "the best peer is random forest" in beside.detail
    assert rows["emotions: LightGBM, F1"].detail == "lightgbm is not installed: pip install '.[bench]'"
    assert rows["emotions: LightGBM, F1"].target is None
    assert rows["subsets: data sets, of 1, with joint −log p clearly ahead of every peer's"].value == 1
    behind = {**results, "emotions, jebm": _result(theirs), "emotions, random forest": _result(ours)}
    rows = {row.what: row for row in peers.findings(behind)}
    assert rows["emotions: F1 less the best peer's, upper end"].met is False


def test_f1_is_compared_on_rows_with_a_label() -> None:
    labelled = np.arange(200) % 2 == 0
    ours, theirs = _scores(0.6, 2.0), _scores(0.5, 2.0)
    for scores in (ours, theirs):
        scores["f1"] = scores["f1"] * labelled
    field = {name: _result(s, labelled=pack_whole(labelled)) for name, s in (("jebm", ours), ("random forest", theirs))}
    rows = {row.what: row for row in peers.findings({f"birds, {name}": found for name, found in field.items()})}
    assert rows["birds: F1"].value == pytest.approx(0.6, abs=0.02)
    assert "on rows with a label, 0.30" in rows["birds: F1"].detail


def test_sets_and_rankings_are_judged_alike() -> None:
    new = pack_whole(np.arange(200) < 20)
    scores = {"nll": _scores(0, 5.0)["nll"]}
    rows = sets.findings({f"nltcs, {name}": _result(scores, new=new) for name in ("jebm", "independent items")})
    assert "on the 10 % of rows that training did not have" in rows[0].detail
    assert rows[1].detail.startswith("tied")

    scores |= {"tau": 0.9 + 0.1 * np.sin(np.arange(200))}
    units = pack_whole(np.arange(200) % 50)
    found = {f"iris, {name}": _result(scores, units=units) for name in ("jebm", "kernel ridge")}
    rows = {row.what: row for row in peers.findings(found)}
    assert rows["iris: Kendall's τ"].met is False  # below the published one
    assert rows["rankings: data sets, of 1, with Kendall's τ clearly ahead of every peer's"].value == 0
    assert Field("iris", {"kernel ridge": _result(scores)}).peers == []
    assert NLL.larger is False


def test_a_peer_that_is_not_installed_is_left_out_with_a_sentence() -> None:
    [found] = {
        peers.measure({"threads": 1, "package": "lightgbm", "version": None})["missing"],
        sets.measure({"threads": 1, "package": "lightgbm", "version": None})["missing"],
    }
    assert found == "lightgbm is not installed: pip install '.[bench]'"


def test_every_measurement_says_what_it_depends_on() -> None:
    for suite in (peers.SUITE, sets.SUITE):
        for measurement in suite.measurements:
            assert len(measurement.settings["code"]) == 16
            json.dumps(dict(measurement.settings))
    assert set(peers.TARGETS) == {*peers.MULTILABEL, *peers.RANKINGS}
