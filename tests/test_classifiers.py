"""Classifiers as references: out-of-fold where it matters, smoothed, and stored without running anything."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skops.io
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from jebm_core.classifiers import FLOOR, SMOOTHING, PooledMarginals, folds_of, named_classifiers
from jebm_core.errors import ModelFolderError
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.threads import in_threads
from tests import oracle
from tests.contract.cases import configurations, rankings, subsets
from tests.oracle import seeded

SPACES = {"subsets": subsets(3), "configurations": configurations(3, 2), "rankings": rankings(3)}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def data(space: OutputSpace, rows: int = 60) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    theta = oracle.uniform(1, rows, space.num_statistics, spread=3.0)
    y = space.linear_sample(theta, 1, generator=seeded(2))[0].long().numpy()
    return theta[:, :2].numpy().astype(np.float32), y


def probabilities(space: OutputSpace, eta: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float64]]:
    """Of each option of each item, from natural parameters."""
    if space.num_statistics == space.num_items:
        present = 1 / (1 + np.exp(-eta.astype(np.float64)))
        return [np.stack([1 - present[:, i], present[:, i]], 1) for i in range(space.num_items)]
    parts = np.split(eta.astype(np.float64), np.cumsum(space.options_per_item())[:-1], axis=1)
    return [np.exp(part) for part in parts]


def shares(space: OutputSpace, y: npt.NDArray[np.int64], item: int) -> npt.NDArray[np.float64]:
    """Of the options of one item among the rows, with one pseudo-observation."""
    size = space.options_per_item()[item]
    return (np.bincount(y[:, item], minlength=size) + 1 / size) / (len(y) + 1)


@every_space
def test_natural_parameters_are_the_smoothed_predictions(space: OutputSpace):
    x, y = data(space)
    whole, _ = PooledMarginals.fit(space, [LogisticRegression()], x, y)
    eta = whole.predict(x)
    assert eta.shape == (60, space.num_statistics)
    assert eta.dtype == np.float32
    for item, found in enumerate(probabilities(space, eta)):
        fitted = LogisticRegression().fit(x, y[:, item])
        expected = np.tile(SMOOTHING * shares(space, y, item), (60, 1))
        expected[:, fitted.classes_] += (1 - SMOOTHING) * fitted.predict_proba(x)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


@every_space
def test_training_rows_are_predicted_by_clones_that_have_not_seen_them(space: OutputSpace):
    x, y = data(space)
    whole, out_of_fold = PooledMarginals.fit(space, [DecisionTreeClassifier(random_state=0)], x, y, seed=5)

    def of_the_truth(eta: npt.NDArray[np.float32]) -> float:
        found = probabilities(space, eta)
        return float(np.mean([found[item][np.arange(60), y[:, item]] for item in range(space.num_items)]))

    assert of_the_truth(whole.predict(x)) > 0.99  # a tree knows its own rows by heart
    assert of_the_truth(out_of_fold) < 0.9
    train, test = next(iter(KFold(5, shuffle=True, random_state=5).split(x)))
    one = DecisionTreeClassifier(random_state=0).fit(x[train], y[train, 0])
    expected = np.tile(SMOOTHING * shares(space, y[train], 0), (len(test), 1))
    expected[:, one.classes_] += (1 - SMOOTHING) * one.predict_proba(x[test])
    np.testing.assert_allclose(probabilities(space, out_of_fold[test])[0], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["logistic", "forest", "stacked"])
@every_space
def test_named_classifiers_come_back_from_their_file(name: str, space: OutputSpace, tmp_path: Path):
    x, y = data(space, 30)
    estimators = named_classifiers(name, space, 30, 2, seed=3)
    assert len(estimators) == (5 if name == "stacked" else 1)
    for estimator in estimators:
        if hasattr(estimator, "n_estimators"):
            estimator.set_params(n_estimators=3)
    fitted, _ = PooledMarginals.fit(space, estimators, x, y)
    fitted.save(tmp_path / "reference.skops")
    again = PooledMarginals.load(space, tmp_path / "reference.skops")
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))


def test_an_item_that_never_varies_needs_no_classifier(tmp_path: Path):
    space = subsets(2)
    x, y = data(space)
    y[:, 1] = 1
    fitted, out_of_fold = PooledMarginals.fit(space, [LogisticRegression()], x, y)
    for number in range(5):
        rows = folds_of(60) == number
        absent = SMOOTHING * shares(space, y[~rows], 1)[0]
        np.testing.assert_allclose(out_of_fold[rows, 1], np.log((1 - absent) / absent), rtol=1e-5)
    fitted.save(tmp_path / "r.skops")
    np.testing.assert_array_equal(PooledMarginals.load(space, tmp_path / "r.skops").predict(x), fitted.predict(x))


class Unheard:
    """A type that nobody vouches for."""


@pytest.mark.parametrize("content", ["a neighbour", "anything"])
def test_unknown_types_are_refused_before_they_are_loaded(content: str, tmp_path: Path):
    x, y = data(subsets(1))
    stored: Any = [KNeighborsClassifier().fit(x, y[:, 0])] if content == "a neighbour" else [Unheard()]
    skops.io.dump(stored, tmp_path / "reference.skops")
    with pytest.raises(ModelFolderError) as caught:
        PooledMarginals.load(subsets(1), tmp_path / "reference.skops")
    sentence = str(caught.value)
    assert sentence.startswith("reference.skops: expected classifiers of known types, found ")
    assert sentence.endswith("; load only models that you trust and fitted with this version.")
    assert ("KDTree" if content == "a neighbour" else "Unheard") in sentence


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_damaged_file_is_an_error_for_the_person(content: bytes, tmp_path: Path):
    (tmp_path / "reference.skops").write_bytes(content)
    with pytest.raises(ModelFolderError) as caught:
        PooledMarginals.load(subsets(1), tmp_path / "reference.skops")
    assert str(caught.value).startswith("reference.skops: expected")


def order(eta: npt.NDArray[np.float64], items: int) -> npt.NDArray[np.float64]:
    """The order of the positions that a member expects, item by item."""
    found = np.zeros_like(eta)
    middle = (items - 1) / 2
    for row in range(len(eta)):
        for item in range(items):
            weight = np.exp(eta[row, item * items : (item + 1) * items])
            expected = sum(p * w for p, w in enumerate(weight)) / weight.sum()
            for position in range(items):
                found[row, item * items + position] = (expected - middle) * (position - middle)
    return found


@every_space
def test_the_weights_of_a_pool_have_the_largest_likelihood(space: OutputSpace):
    """Out of fold, and with the prior; a classifier that knows nothing is left out."""
    x, y = data(space)
    noise = DecisionTreeClassifier(random_state=0, max_depth=4, splitter="random", max_features=1)
    pool, eta = PooledMarginals.fit(space, [LogisticRegression(), noise], x, y)
    parts = [PooledMarginals.fit(space, [e], x, y)[1].astype(float) for e in (LogisticRegression(), noise)]
    phi = space.statistics(torch.from_numpy(y)).double()

    def loss(weights: npt.NDArray[np.float64]) -> float:
        pooled = torch.from_numpy(np.tensordot(weights, apart, 1))
        nll = (space.linear_log_partition(pooled) - (pooled * phi).sum(-1)).mean().item()
        return nll + float(np.square(weights - prior).sum()) / (2 * len(x))

    probability = [shares(space, y, item) for item in range(space.num_items)]
    binary = space.num_statistics == space.num_items
    base = np.concatenate([np.log(p[1:] / p[0]) if binary else np.log(p) for p in probability])
    orders = [order(part, space.num_items) for part in parts] if isinstance(space, Rankings) else []
    apart = np.stack([np.broadcast_to(base, parts[0].shape), *parts, *orders])
    prior = np.array([0, 0.5, 0.5, 0, 0][: len(apart)])
    assert len(pool.weights) == len(apart)
    assert (pool.weights[1:] >= 0).all()
    np.testing.assert_allclose(eta, np.tensordot(pool.weights, apart, 1), rtol=1e-4, atol=1e-4)
    members = [PooledMarginals.fit(space, [e], x, y)[0].predict(x).astype(float) for e in (LogisticRegression(), noise)]
    orders = [order(part, space.num_items) for part in members] if isinstance(space, Rankings) else []
    whole = np.stack([np.broadcast_to(base, parts[0].shape), *members, *orders])
    np.testing.assert_allclose(pool.predict(x), np.tensordot(pool.weights, whole, 1), rtol=1e-4, atol=1e-4)
    best = loss(pool.weights)
    for place in range(len(apart)):
        for step in (-0.05, 0.05):
            moved = pool.weights + step * np.eye(len(apart))[place]
            if (moved[1:] >= 0).all():
                assert loss(moved) > best - 1e-7


@every_space
def test_a_regression_stands_for_probabilities(space: OutputSpace):
    """Least squares on the indicators of all options, never below the floor; items that never vary included."""
    x, y = data(space)
    whole, _ = PooledMarginals.fit(space, [LinearRegression()], x, y)
    indicators = np.concatenate([np.eye(n)[y[:, i]] for i, n in enumerate(space.options_per_item())], 1)
    predicted = LinearRegression().fit(x, indicators).predict(x).clip(FLOOR, 1)
    parts = np.split(predicted, np.cumsum(space.options_per_item())[:-1], axis=1)
    for item, found in enumerate(probabilities(space, whole.predict(x))):
        expected = (1 - SMOOTHING) * parts[item] / parts[item].sum(1, keepdims=True)
        np.testing.assert_allclose(found, expected + SMOOTHING * shares(space, y, item), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("items", "rows", "members"), [(14, 1500, 5), (174, 400, 5), (22, 20_000, 3), (983, 13_000, 0)]
)
def test_classifiers_are_those_that_are_affordable(items: int, rows: int, members: int):
    assert len(named_classifiers("stacked", subsets(items), rows, 500, seed=0)) == members


def test_forests_of_many_rows_are_grown_on_a_part_of_them():
    """4,500 rows, so that a fold has fewer rows than a tree may be grown on."""
    space = subsets(2)
    x, y = data(space, 4500)
    estimators = [e for e in named_classifiers("stacked", space, 4500, 2, seed=0) if hasattr(e, "n_estimators")]
    assert len(estimators) == 2
    for estimator in estimators:
        assert estimator.bootstrap
        estimator.set_params(n_estimators=2)
    pool, eta = PooledMarginals.fit(space, estimators, x, y, folds=2)
    assert np.isfinite(eta).all()
    assert np.isfinite(pool.predict(x)).all()


@every_space
def test_classifiers_that_learn_at_the_same_time_learn_the_same(space: OutputSpace, monkeypatch: pytest.MonkeyPatch):
    x, y = data(space)
    estimators = [LogisticRegression(), DecisionTreeClassifier(max_depth=3, random_state=0), KNeighborsClassifier(5)]
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        heard: list[tuple[int, int]] = []
        pool, apart = PooledMarginals.fit(
            space, estimators, x, y, on_part=lambda *part, heard=heard: heard.append(part)
        )
        assert heard == [(done, 18) for done in range(1, 19)]
        found.append((apart, pool.predict(x), pool.weights))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_goes_wrong_in_a_thread_is_raised_and_stops_the_others():
    done: list[int] = []

    def work(task: int) -> None:
        if task == 2:
            raise ValueError("two")
        time.sleep(0.001)
        done.append(task)

    with pytest.raises(ValueError, match="two"):
        list(in_threads(work, range(1000), 3))
    assert len(done) < 900
    for number in in_threads(work, range(3, 1003), 3):
        if number == 5:
            break  # a caller that stops listening stops the work
    assert len(done) < 1900
