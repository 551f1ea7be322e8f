"""References predicted by scikit-learn classifiers, with out-of-fold predictions for the training rows.

A classifier predicts for every item the distribution of its option (of its position, for rankings) from x; the logs of
these, smoothed, are natural parameters η_c(x). Several classifiers are pooled in the log domain,

    η(x) = w_0 η_0 + Σ_c (w_c η_c(x) + v_c ω_c(x)),      w_c, v_c ≥ 0,

with η_0 the shares of the training rows and the weights by maximum likelihood: no classifier has to be chosen, and one
that is too timid or too bold is put right. ω_c is there for rankings alone, where positions of one item say little of
how items stand to one another: the order of the positions that c expects,

    ω_c,ip(x) = (E_c[p_i|x] − p̄)(p − p̄),      p̄ the middle position,

which makes an item the more certain to stand before another one, the farther apart the two are expected. This is what
`jebm_core.references.PredictedReference` and `StackedReference` take as input.

Rows that the model is trained on get predictions from clones that have not seen them: with in-sample predictions q
would look better than it is and g would learn to distrust what holds for new rows. The same predictions choose the
weights.

Source: Wolpert, *Stacked generalization*, Neural Networks 5 (1992); logarithmic pools: Genest and Zidek, *Combining
probability distributions*, Statistical Science 1 (1986).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final
from zipfile import ZIP_DEFLATED, BadZipFile

import numpy as np
import numpy.typing as npt
import torch

from jebm_core.errors import ModelFolderError, SpecError
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.threads import in_threads

SMOOTHING = 0.01
"""Share of the training rows' own shares mixed into each prediction, so that no combination is impossible under q."""
FOLDS = 5
TREES, LEAST_TREES = 200, 25
MAX_TREE_ROWS = 4000
"""Rows that one tree is grown on; others are drawn for each."""
MAX_FOREST_COST = 2 * 10**9
"""Rows · log₂ rows · √features · options of all trees together, about 10 s of one core: fewer trees where each costs
more, and no forest where that leaves too few."""
MAX_POOLED_ROWS = 4000
"""Rows that choose the weights of a pool; a handful of numbers needs no more."""
MAX_TREE_NUMBERS = 2**24
"""Numbers that the leaves of one forest may hold: 128 MiB."""
MAX_LOGISTIC_COST = 3 * 10**8
"""Rows · features · items up to which one logistic regression an item is affordable."""
KERNEL_WIDTHS = (1.0, 4.0)
"""γ · features of the kernels exp(−γ ‖x − x′‖²) over standardised features."""
KERNEL_ROWS = 500
"""Rows that a kernel is laid out by (Nyström)."""
MAX_KERNEL_COST = 2 * 10**9
"""Rows · `KERNEL_ROWS`² up to which a kernel regression is affordable."""
WORKERS = 4
"""Classifiers that learn at the same time, at most, and no more than torch has threads."""
FLOOR = 0.02
"""Least probability that a regression is taken to mean, before it is normalised: its errors are of no known size."""
TRUSTED_TYPES = ("sklearn.tree._tree.Tree",)
"""What a stored classifier may contain beyond numbers, text and the estimators of scikit-learn, which skops admits by
itself; anything else is refused on loading."""


def named_classifiers(name: str, space: OutputSpace, rows: int, features: int, *, seed: int) -> list[Any]:
    """Unfitted classifiers for a setting: ``logistic``, ``forest``, or all that are affordable, for ``stacked``.

    The list is empty where none is affordable: for very many items.
    """
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "logistic":
        return [LogisticRegression(C=0.1, max_iter=500)]
    if name == "forest":
        return [RandomForestClassifier(TREES, min_samples_leaf=3, random_state=seed)]
    if name != "stacked":
        raise SpecError("Expected a classifier among logistic, forest, found {found!r}.", found=name)
    found: list[Any] = []
    jobs = -1 if rows > 1000 else None  # threads cost more than they save on few rows
    grown = min(rows, MAX_TREE_ROWS)
    options = sum(space.options_per_item())
    trees = min(TREES, int(MAX_FOREST_COST / (grown * math.log2(grown) * math.sqrt(features) * options)))
    share = MAX_TREE_ROWS / rows if rows > MAX_TREE_ROWS else None
    for forest, least in ((RandomForestClassifier, 1), (ExtraTreesClassifier, 3)):
        # Every node holds a number an option.
        leaves = [n for n in (1, 3, 10, 30) if n >= least and trees * 1.2 * grown / n * options <= MAX_TREE_NUMBERS]
        if leaves and trees >= LEAST_TREES:
            bootstrap = forest is RandomForestClassifier or share is not None
            how = {"bootstrap": bootstrap, "max_samples": share, "random_state": seed, "n_jobs": jobs}
            found.append(forest(trees, min_samples_leaf=leaves[0], **how))
    if rows * features * space.num_items <= MAX_LOGISTIC_COST:
        found.append(make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=300)))
    if rows * KERNEL_ROWS**2 <= MAX_KERNEL_COST:
        centres = min(KERNEL_ROWS, rows * (FOLDS - 1) // FOLDS)
        for width in KERNEL_WIDTHS:
            kernel = Nystroem(gamma=width / features, n_components=centres, random_state=seed)
            found.append(make_pipeline(StandardScaler(), kernel, RidgeCV(np.logspace(-3, 2, 11))))
    return found


def folds_of(rows: int, *, folds: int = FOLDS, seed: int = 0) -> npt.NDArray[np.int64]:
    """The fold of each row."""
    from sklearn.model_selection import KFold

    fold = np.zeros(rows, dtype=np.int64)
    for number, (_, test) in enumerate(KFold(folds, shuffle=True, random_state=seed).split(fold)):
        fold[test] = number
    return fold


@final
class PooledMarginals:
    """Fitted classifiers and their weights. Made by `fit`; `predict` gives η for new rows.

    Attributes:
        members: each a list of one classifier an item – a number where the item never varied – or of one for all; a
            regression for all predicts the indicators of their options.
        shares: of each option of each item among the training rows: what η_0 is the log of.
        weights: w_0, then w_c of each member; then v_c of each, where several members predict rankings.
    """

    def __init__(
        self,
        space: OutputSpace,
        members: list[list[Any]],
        shares: npt.NDArray[np.float64],
        weights: npt.NDArray[np.float64],
    ) -> None:
        self.space, self.members, self.shares, self.weights = space, members, shares, weights

    @classmethod
    def fit(
        cls,
        space: OutputSpace,
        estimators: Sequence[Any],
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.int64],
        *,
        folds: int = FOLDS,
        seed: int = 0,
        on_part: Callable[[int, int], None] | None = None,
    ) -> tuple["PooledMarginals", npt.NDArray[np.float32]]:
        """Fit to all rows, and predict each row from clones fitted without its fold. One estimator alone is taken at
        its word: it has weight one.

        Args:
            estimators: unfitted scikit-learn classifiers with ``predict_proba``, or regressors of many outputs.
            on_part: hears of progress as (done, of), and may raise to stop.

        Returns:
            The fitted marginals and out-of-fold η [row, statistic].
        """
        from sklearn.base import clone

        fold = folds_of(len(x), folds=folds, seed=seed)
        apart = np.zeros((len(estimators), len(x), space.num_statistics))
        members: list[list[Any]] = [[] for _ in estimators]

        def learn(task: tuple[int, int]) -> None:
            number, m = task
            rows = fold != number  # all of them for the number that no fold has
            part = _fit_member(space, clone(estimators[m]), x[rows], y[rows])
            if number == folds:
                members[m] = part
            else:
                apart[m, ~rows] = _parameters(space, part, x[~rows], _shares(space, y[rows]))

        tasks = [(number, m) for number in range(folds + 1) for m in range(len(estimators))]
        for done in in_threads(learn, tasks, min(WORKERS, torch.get_num_threads())):
            if on_part is not None:
                on_part(done, len(tasks))
        shares = _shares(space, y)
        apart = np.concatenate([_parameters(space, [], x, shares)[None], apart])
        if len(estimators) > 1 and isinstance(space.whole, Rankings):
            apart = np.concatenate([apart, [_order(space, eta) for eta in apart[1:]]])
        weights = np.array([0.0, 1.0]) if len(members) == 1 else _pool(space, y, apart, len(members))
        return cls(space, members, shares, weights), np.tensordot(weights, apart, 1).astype(np.float32)

    def predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """η(x): log-odds for subsets, log-weights of the options (positions) otherwise."""
        eta = self.weights[0] * _parameters(self.space, [], x, self.shares)
        own, order = np.split(self.weights[1:], [len(self.members)])
        for m, member in enumerate(self.members):
            ordered = order[m] if len(order) else 0.0
            if own[m] > 0 or ordered > 0:
                found = _parameters(self.space, member, x, self.shares)
                eta += own[m] * found
                if ordered > 0:
                    eta += ordered * _order(self.space, found)
        return eta.astype(np.float32)

    def save(self, path: Path) -> None:
        """Store with skops: a format that executes nothing on loading."""
        import skops.io

        stored = {"members": self.members, "shares": self.shares, "weights": self.weights}
        skops.io.dump(stored, path, compression=ZIP_DEFLATED, compresslevel=1)

    @classmethod
    def load(cls, space: OutputSpace, path: Path) -> "PooledMarginals":
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
        stored = skops.io.load(path, trusted=list(TRUSTED_TYPES))
        return cls(space, stored["members"], stored["shares"], stored["weights"])


def _fit_member(space: OutputSpace, estimator: Any, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> list[Any]:
    """One estimator for all items where it can learn them together, else one an item."""
    from sklearn.base import clone, is_regressor
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    if is_regressor(estimator):
        return [
            estimator.fit(x, np.concatenate([np.eye(n)[y[:, i]] for i, n in enumerate(space.options_per_item())], 1))
        ]
    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier) and y.shape[1] > 1:
        return [estimator.fit(x, y)]
    fitted: list[Any] = []
    for item in range(y.shape[1]):
        own: Any = clone(estimator)
        varies = (y[:, item] != y[0, item]).any()
        fitted.append(own.fit(x, y[:, item]) if varies else int(y[0, item]))
    return fitted


def _shares(space: OutputSpace, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The share of each option of each item, one after the other, with one pseudo-observation spread evenly."""
    sizes = space.options_per_item()
    counts = [np.bincount(y[:, i], minlength=size) for i, size in enumerate(sizes)]
    return np.concatenate([(count + 1 / size) / (len(y) + 1) for count, size in zip(counts, sizes, strict=True)])


def _parameters(
    space: OutputSpace, member: list[Any], x: npt.NDArray[np.float32], shares: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Natural parameters [row, statistic] of what one member predicts, smoothed by the shares; of these alone where
    there is no member."""
    columns = []
    binary = space.num_statistics == space.num_items
    parts = np.split(shares, np.cumsum(space.options_per_item())[:-1])
    for share, predicted in zip(parts, _predicted(space, member, x), strict=True):
        probability = np.tile(share, (len(x), 1))
        if predicted is not None:
            probability = (1 - SMOOTHING) * predicted + SMOOTHING * probability
        log = np.log(probability)
        columns.append(log[:, 1:] - log[:, :1] if binary else log)
    return np.concatenate(columns, axis=1)


def _order(space: OutputSpace, eta: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """ω [row, statistic]: the expected position of each item times each position, both from the middle one."""
    items = space.num_items
    log = eta.reshape(len(eta), items, items)
    share = np.exp(log - log.max(-1, keepdims=True))
    from_middle = np.arange(items) - (items - 1) / 2
    expected = (share @ from_middle) / share.sum(-1)
    return (expected[..., None] * from_middle).reshape(eta.shape)


def _predicted(
    space: OutputSpace, member: list[Any], x: npt.NDArray[np.float32]
) -> list[npt.NDArray[np.float64] | None]:
    """What one member predicts for each item [row, option]; None where there is no member."""
    sizes = space.options_per_item()
    if not member:
        return [None] * len(sizes)
    if not isinstance(member[0], int) and not hasattr(member[0], "predict_proba"):
        clipped = np.clip(member[0].predict(x).reshape(len(x), -1).astype(np.float64), FLOOR, 1.0)
        parts = np.split(clipped, np.cumsum(sizes)[:-1], axis=1)
        return [part / part.sum(1, keepdims=True) for part in parts]
    first: Any = member[0]
    together = first.predict_proba(x) if len(member) == 1 and len(sizes) > 1 else None
    found: list[npt.NDArray[np.float64] | None] = []
    for item, size in enumerate(sizes):
        classifier = member[0] if together is not None else member[item]
        predicted = np.zeros((len(x), size))
        if isinstance(classifier, int):  # the item never varied in training
            predicted[:, classifier] = 1.0
        elif together is not None:
            predicted[:, classifier.classes_[item]] = together[item]
        else:
            predicted[:, classifier.classes_] = classifier.predict_proba(x)
        found.append(predicted)
    return found


def _pool(
    space: OutputSpace, y: npt.NDArray[np.int64], apart: npt.NDArray[np.float64], members: int
) -> npt.NDArray[np.float64]:
    """The weights of most likelihood: min_w mean A(Σ_c w_c η_c) − ⟨Σ_c w_c η_c, φ(y)⟩, convex, w_c ≥ 0 but for the
    shares; with a normal prior of variance one around equal weights of the members, for data that a classifier never
    gets wrong. ``apart`` has the shares first, then the members, then their orders."""
    from scipy.optimize import minimize

    kept = np.linspace(0, len(y) - 1, min(len(y), MAX_POOLED_ROWS)).round().astype(np.int64)
    eta = torch.from_numpy(apart[:, kept])
    phi = space.statistics(torch.from_numpy(y[kept])).double()

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        w = torch.from_numpy(weights).requires_grad_()
        pooled = torch.einsum("c,crs->rs", w, eta)
        value = (space.linear_log_partition(pooled) - (pooled * phi).sum(-1)).mean()
        value = value + (w - torch.from_numpy(start)).square().sum() / (2 * len(kept))
        (gradient,) = torch.autograd.grad(value, w)
        return value.item(), gradient.numpy()

    start = np.zeros(len(apart))
    start[1 : members + 1] = 1 / members
    bounds = [(None, None), *[(0.0, None)] * (len(apart) - 1)]
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
