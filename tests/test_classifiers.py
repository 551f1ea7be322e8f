"""Classifiers as references: out-of-fold where it matters, smoothed, and stored without running anything."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from jebm_core.classifiers import SMOOTHING, ClassifierMarginals, named_classifier
from jebm_core.errors import ModelFolderError
from jebm_core.spaces import OutputSpace
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


@every_space
def test_natural_parameters_are_the_smoothed_predictions(space: OutputSpace):
    x, y = data(space)
    whole, _ = ClassifierMarginals.fit(space, LogisticRegression(), x, y)
    eta = whole.predict(x)
    assert eta.shape == (60, space.num_statistics)
    assert eta.dtype == np.float32
    for item, found in enumerate(probabilities(space, eta)):
        size = space.options_per_item()[item]
        fitted = LogisticRegression().fit(x, y[:, item])
        expected = np.full((60, size), SMOOTHING / size)
        expected[:, fitted.classes_] += (1 - SMOOTHING) * fitted.predict_proba(x)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


@every_space
def test_training_rows_are_predicted_by_clones_that_have_not_seen_them(space: OutputSpace):
    x, y = data(space)
    whole, out_of_fold = ClassifierMarginals.fit(space, DecisionTreeClassifier(random_state=0), x, y, seed=5)

    def of_the_truth(eta: npt.NDArray[np.float32]) -> float:
        found = probabilities(space, eta)
        return float(np.mean([found[item][np.arange(60), y[:, item]] for item in range(space.num_items)]))

    assert of_the_truth(whole.predict(x)) > 0.99  # a tree knows its own rows by heart
    assert of_the_truth(out_of_fold) < 0.9
    train, test = next(iter(KFold(5, shuffle=True, random_state=5).split(x)))
    one = DecisionTreeClassifier(random_state=0).fit(x[train], y[train, 0])
    expected = np.full((len(test), space.options_per_item()[0]), SMOOTHING / space.options_per_item()[0])
    expected[:, one.classes_] += (1 - SMOOTHING) * one.predict_proba(x[test])
    np.testing.assert_allclose(probabilities(space, out_of_fold[test])[0], expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["logistic", "forest"])
@every_space
def test_named_classifiers_come_back_from_their_file(name: str, space: OutputSpace, tmp_path: Path):
    x, y = data(space, 30)
    estimator = named_classifier(name, seed=3)
    if name == "forest":
        estimator.set_params(n_estimators=3)
    fitted, _ = ClassifierMarginals.fit(space, estimator, x, y, folds=2)
    fitted.save(tmp_path / "reference.skops")
    again = ClassifierMarginals.load(space, tmp_path / "reference.skops")
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))


def test_an_item_that_never_varies_needs_no_classifier(tmp_path: Path):
    space = subsets(2)
    x, y = data(space)
    y[:, 1] = 1
    fitted, out_of_fold = ClassifierMarginals.fit(space, LogisticRegression(), x, y)
    certain = np.log((1 - SMOOTHING / 2) / (SMOOTHING / 2))
    np.testing.assert_allclose(out_of_fold[:, 1], certain, rtol=1e-5)
    fitted.save(tmp_path / "r.skops")
    np.testing.assert_array_equal(ClassifierMarginals.load(space, tmp_path / "r.skops").predict(x), fitted.predict(x))


class Unheard:
    """A type that nobody vouches for."""


@pytest.mark.parametrize("content", ["a neighbour", "anything"])
def test_unknown_types_are_refused_before_they_are_loaded(content: str, tmp_path: Path):
    x, y = data(subsets(1))
    stored: Any = [KNeighborsClassifier().fit(x, y[:, 0])] if content == "a neighbour" else [Unheard()]
    skops.io.dump(stored, tmp_path / "reference.skops")
    with pytest.raises(ModelFolderError) as caught:
        ClassifierMarginals.load(subsets(1), tmp_path / "reference.skops")
    sentence = str(caught.value)
    assert sentence.startswith("reference.skops: expected classifiers of known types, found ")
    assert sentence.endswith("; load only models that you trust and fitted with this version.")
    assert ("KDTree" if content == "a neighbour" else "Unheard") in sentence


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_damaged_file_is_an_error_for_the_person(content: bytes, tmp_path: Path):
    (tmp_path / "reference.skops").write_bytes(content)
    with pytest.raises(ModelFolderError) as caught:
        ClassifierMarginals.load(subsets(1), tmp_path / "reference.skops")
    assert str(caught.value).startswith("reference.skops: expected")
