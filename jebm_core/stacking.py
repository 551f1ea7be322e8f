"""Fit a `StackedReference`: which observed combinations get a probability of their own, and how much."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import logsigmoid

from jebm_core.references import COMPLETED, StackedReference
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.tree_tilting import TiltedTrees

BIAS_VARIANCE = 3.0
"""Prior variance of b: a factor of six more or less frequent than the marginals say is nothing unusual."""
MAX_ROWS = 4000
"""Rows that the table is fitted to."""
LEAST_TREE_SHARE = 0.05
"""Share below which trees are left out: they cost more than they say."""
_STEPS = 100  # of expectation–maximisation


def fit_stacked(
    space: OutputSpace,
    eta: Float[Tensor, "row statistic"],
    y: Int64[Tensor, "row item"],
    fold: npt.NDArray[np.int64],
    points: Int64[Tensor, "point item"],
    trees: TiltedTrees | None = None,
) -> StackedReference | None:
    """Maximum likelihood of s, b, α, β and ε; None where no combination comes back and no trees are worth a share.

        max Σ_n log(α 1[y_n known] π(y_n|x_n) + (1 − α) r(y_n|x_n)) − |b|² / (2 · variance) + log(α ε (1 − α)),
        r = (1 − β) q_η + β q_trees,    with log β(1 − β) in the prior, too.

    The prior stands for a few more rows: one that surprised the classifiers, one that the table did not have, one that
    trees and one that independent items said better. With few rows nothing is ever certain.

    A row's combination counts as known, and competes for its probability, only where it also occurs outside of the
    row's own fold: else a combination that was seen once would look like one that is to be expected again. γ comes
    last, see `_log_discount`.

    Args:
        eta: out-of-fold natural parameters.
        fold: the fold of each row in which they were predicted.
        points: distinct combinations, among those of ``y``.
        trees: trees that x tilts, and what they say of each row of ``y`` out of fold.

    Cost: about 100 products of rows by statistics by points; 4,000 rows at most.
    """
    given = eta, y
    kept = torch.from_numpy(np.linspace(0, len(y) - 1, min(len(y), MAX_ROWS)).round().astype(np.int64))
    occurs, which = _known(space, y, fold, points)
    eta, y, known, which = eta[kept].double(), y[kept], occurs[torch.from_numpy(fold)[kept]], which[kept]
    phi = space.statistics(points).double()
    score = eta @ phi.T
    background = (eta * space.statistics(y).double()).sum(-1) - space.linear_log_partition(eta)
    listed = which >= 0
    column = which.clamp_min(0).unsqueeze(-1)
    listed = listed & known.gather(1, column).squeeze(-1)
    if not listed.any():
        return None if trees is None else _trees_alone(space, background, trees, trees.out_of_fold[kept].double())
    known = known | ~known.any(1, keepdim=True)  # a fold that holds all of them: nothing is listed there

    frequency = torch.bincount(which[which >= 0], minlength=len(points)).double()
    frequency = frequency / frequency.sum()
    bias = torch.zeros(len(points), dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    odds = torch.tensor([0.0, -3.0, 0.0], dtype=torch.float64, requires_grad=True)  # of α, ε and β
    by_trees = torch.full_like(background, -torch.inf) if trees is None else trees.out_of_fold[kept].double()
    optimizer = torch.optim.LBFGS([bias, scale, odds], max_iter=100, line_search_fn="strong_wolfe")
    no_frequency = torch.where(known, frequency, 0.0).sum(1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        (log_share, log_surprise, log_trees), (log_rest, log_expected, log_items) = logsigmoid(odds), logsigmoid(-odds)
        rest = background if trees is None else torch.logaddexp(log_items + background, log_trees + by_trees)
        expected = torch.where(known, scale * score + bias, -torch.inf)
        expected = expected.gather(1, column).squeeze(-1) - expected.logsumexp(1)
        surprising = (frequency[column.squeeze(-1)] / no_frequency).log()
        own = torch.logaddexp(log_expected + torch.where(listed, expected, 0.0), log_surprise + surprising)
        both = torch.logaddexp(log_share + own, log_rest + rest)
        likelihood = torch.where(listed, both, log_rest + rest).mean()
        unsure = log_share + log_surprise + log_rest + log_trees + log_items
        prior = (unsure - bias.square().sum() / (2 * BIAS_VARIANCE)) / len(fold)
        loss = -likelihood - prior
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    share, surprise, tree_share = odds.detach().sigmoid().tolist()
    if trees is not None and tree_share < LEAST_TREE_SHARE:
        return fit_stacked(space, *given, fold, points)
    dtype = torch.get_default_dtype()
    table = bias.detach().to(dtype), frequency.to(dtype)
    how = {"scale": scale.item(), "share": share, "surprise": surprise, "tree_share": tree_share}
    if trees is None and not isinstance(space.whole, Rankings):
        return StackedReference(space, points, *table, **how)

    def apart(number: int) -> StackedReference:
        """q as the rows of a fold see it: from a table and trees that know nothing of them."""
        own, seen = (part[occurs[number]] for part in table)
        of_fold = None if trees is None else trees.apart[number]
        return StackedReference(space, points[occurs[number]], own, seen / seen.sum(), trees=of_fold, **how)

    of = torch.from_numpy(fold)[kept]
    parts = [(apart(number), given[0][kept][of == number], listed[of == number]) for number in of.unique().tolist()]
    how |= {"trees": None if trees is None else trees.reference, "log_discount": _log_discount(parts)}
    return StackedReference(space, points, *table, **how)


def _log_discount(parts: Sequence[tuple[StackedReference, Tensor, Tensor]]) -> float:
    """Maximum likelihood of γ, all else as it is,

        max Σ_n γ 1[y_n ∈ A_n] − log(1 + (e^γ − 1) q_n(A_n)) − γ²/2,

    with A_n the table without the row's own fold: its probability is what it should be on average.

    Args:
        parts: for each fold q without a discount, by what is known outside of it; η [row, statistic]; whether a row's
            combination is listed there [row].
    """
    mass, seen = [], []
    with torch.no_grad():
        for q, eta, listed in parts:
            if len(q.points):
                mass += [q(part).log_prob_of(q.points).exp().sum(0) for part in eta.split(COMPLETED)]
                seen.append(listed)
    if not mass:
        return 0.0
    share, back = torch.cat(mass).double(), torch.cat(seen).double()
    gamma = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([gamma], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (torch.log1p(torch.expm1(gamma) * share) - gamma * back).sum() + gamma.square() / 2
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return gamma.item()


def _trees_alone(space: OutputSpace, by_items: Tensor, trees: TiltedTrees, by_trees: Tensor) -> StackedReference | None:
    """Without a table: β by expectation–maximisation."""
    share = torch.tensor(0.5, dtype=torch.float64)
    for _ in range(_STEPS):
        share = (1 + torch.sigmoid(by_trees - by_items + share.logit()).sum()) / (2 + len(by_trees))
    nothing = torch.zeros(0)
    empty = torch.zeros(0, space.num_items, dtype=torch.int64)
    if share < LEAST_TREE_SHARE:
        return None
    how = {"trees": trees.reference, "tree_share": share.item()}
    return StackedReference(space, empty, nothing, nothing, share=0.0, surprise=0.0, **how)


def _known(
    space: OutputSpace, y: Int64[Tensor, "row item"], fold: npt.NDArray[np.int64], points: Int64[Tensor, "point item"]
) -> tuple[Tensor, Tensor]:
    """Which points occur outside of each fold [fold, point], and which point each row is (−1: none)."""
    keys, order = space.key(points).sort()
    own = space.key(y)
    slot = torch.searchsorted(keys, own).clamp_max(len(keys) - 1)
    which = torch.where(keys[slot] == own, order[slot], -1)
    folds = int(fold.max()) + 1
    counts = torch.zeros(folds, len(points), dtype=torch.int64)
    inside = which >= 0
    counts.index_put_(
        (torch.from_numpy(fold)[inside], which[inside]), torch.ones(1, dtype=torch.int64), accumulate=True
    )
    return counts.sum(0) - counts > 0, which
