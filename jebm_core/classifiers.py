"""References predicted by a scikit-learn classifier, with out-of-fold predictions for the training rows.

For every item a clone of the classifier predicts the distribution of its option (of its position, for rankings)
from x; the logs of these, smoothed,
are the natural parameters η(x) of `jebm_core.references.PredictedReference`. Rows that the model is trained on get
predictions from clones that have
not seen them: with in-sample predictions q would look better than it is and g would learn to distrust what holds
for new rows.
"""

from pathlib import Path
from typing import Any, final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from jebm_core.errors import ModelFolderError, SpecError
from jebm_core.spaces import OutputSpace

SMOOTHING = 0.01
"""Share of the uniform distribution mixed into each prediction, so that no combination is impossible under q."""
TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
"""What a stored classifier may contain beyond numbers, text and the estimators of scikit-learn, which skops admits by
itself; anything else is refused on loading."""


def named_classifier(name: str, *, seed: int) -> Any:
    """The classifiers that settings can name; another can be passed to `ClassifierMarginals.fit` itself."""
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=0.1, max_iter=500)
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(200, min_samples_leaf=3, random_state=seed)
    raise SpecError("Expected a classifier among logistic, forest, found {found!r}.", found=name)


@final
class ClassifierMarginals:
    """One fitted classifier an item. Made by `fit`; `predict` gives η for new rows."""

    def __init__(self, space: OutputSpace, classifiers: list[Any]) -> None:
        self.space, self.classifiers = space, classifiers

    @classmethod
    def fit(
        cls,
        space: OutputSpace,
        estimator: Any,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int64],
        *,
        folds: int = 5,
        seed: int = 0,
    ) -> tuple["ClassifierMarginals", npt.NDArray[np.float32]]:
        """Fit to all rows, and predict each row from clones fitted without its fold.

        Args:
            estimator: an unfitted scikit-learn classifier with ``predict_proba``.

        Returns:
            The fitted marginals and out-of-fold η [row, statistic].
        """
        from sklearn.base import clone
        from sklearn.model_selection import KFold

        sizes = space.options_per_item()
        out_of_fold = np.zeros((len(x), space.num_statistics), dtype=np.float32)
        for train, test in KFold(folds, shuffle=True, random_state=seed).split(x):
            part = cls(space, [_fit_one(clone(estimator), x[train], y[train, i]) for i in range(len(sizes))])
            out_of_fold[test] = part.predict(x[test])
        whole = cls(space, [_fit_one(clone(estimator), x, y[:, i]) for i in range(len(sizes))])
        return whole, out_of_fold

    def predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """η(x): log-odds for subsets, log-probabilities of the options (positions) otherwise."""
        columns = []
        binary = self.space.num_statistics == self.space.num_items
        for classifier, size in zip(self.classifiers, self.space.options_per_item(), strict=True):
            probability = np.zeros((len(x), size))
            if isinstance(classifier, int):  # the item never varied in training
                probability[:, classifier] = 1.0
            else:
                probability[:, classifier.classes_] = classifier.predict_proba(x)
            probability = (1 - SMOOTHING) * probability + SMOOTHING / size
            log = np.log(probability)
            columns.append(log[:, 1:] - log[:, :1] if binary else log)
        return np.concatenate(columns, axis=1).astype(np.float32)

    def save(self, path: Path) -> None:
        """Store with skops: a format that executes nothing on loading."""
        import skops.io

        skops.io.dump(self.classifiers, path)

    @classmethod
    def load(cls, space: OutputSpace, path: Path) -> "ClassifierMarginals":
        """Load what `save` stored; a file with types outside `TRUSTED_TYPES` is refused."""
        import skops.io

        try:
            unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED_TYPES)
        except (BadZipFile, KeyError, ValueError) as error:
            raise ModelFolderError(
                "{file}: expected stored classifiers, found a damaged file ({detail}); copy the folder again or fit "
                "again.",
                file=path.name,
                detail=error,
            ) from error
        if unknown:
            raise ModelFolderError(
                "{file}: expected classifiers of known types, found {found}; load only models that you trust and "
                "fitted with this version.",
                file=path.name,
                found=", ".join(sorted(unknown)),
            )
        return cls(space, skops.io.load(path, trusted=list(TRUSTED_TYPES)))


def _fit_one(estimator: Any, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Any:
    """A fitted classifier, or the one class there is."""
    return int(y[0]) if (y == y[0]).all() else estimator.fit(x, y)
