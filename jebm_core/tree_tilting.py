"""Fit a `TiltedTreeReference`: trees over the outputs, and how far x tilts them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.references import MarginalReference
from jebm_core.spaces import OutputSpace
from jebm_core.splits import held_out_rows
from jebm_core.tree_learning import fit_trees
from jebm_core.tree_references import TiltedTreeReference, TreeReference
from jebm_core.trees import TreeMixture, Trees

MAX_ROWS = 4000
"""Rows that choose a and b; two numbers need no more."""
KEPT_ASIDE = 0.15
"""Share of the rows by which trees choose their number."""
START = (0.6, -0.6)


class TiltedTrees(NamedTuple):
    """The reference for new rows; log q of the rows it was fitted to, by trees that have not seen them; and these, one
    a fold."""

    reference: TiltedTreeReference
    out_of_fold: Float[Tensor, " row"]
    apart: tuple[TiltedTreeReference, ...]


def fit_tilted_trees(
    space: OutputSpace,
    eta: Float[Tensor, "row statistic"],
    y: Int64[Tensor, "row item"],
    fold: npt.NDArray[np.int64],
    *,
    seed: int = 0,
    on_part: Callable[[int, int], None] | None = None,
) -> TiltedTrees:
    """Maximum likelihood of a and b in c = b η_0, with η_0 the natural parameters of the rows' shares:

        max Σ_n log q_trees(y_n) + ⟨a η_n + b η_0, φ(y_n)⟩ − A_trees(a η_n + b η_0) − |(a, b) − start|² / 2.

    The trees in it have not seen the row's own fold, as η has not: else trees that know the rows by heart would leave
    nothing to x. The trees of the reference are learned from all rows.

    Args:
        eta: out-of-fold natural parameters.
        fold: the fold of each row in which they were predicted.
        on_part: hears how many trees are ready, as (done, of), and may raise to stop.

    Cost: one fit of trees more than there are folds, see `fit_trees`; then some twenty walks over the trees.
    """
    folds = int(fold.max()) + 1
    shares = MarginalReference.fit(space, y).eta
    chosen = torch.zeros(len(y), dtype=torch.bool)
    chosen[np.linspace(0, len(y) - 1, min(len(y), MAX_ROWS)).round().astype(np.int64)] = True
    trees: list[Trees] = []
    for number in range(folds + 1):
        if on_part is not None:
            on_part(number, folds + 1)
        trees.append(_learn(space, y[torch.from_numpy(fold != number)], seed))  # the last is of no fold: of all rows
    apart = [TreeReference(space, part)(torch.zeros(1, 0)) for part in trees[:folds]]
    parts = [torch.from_numpy(fold == number) for number in range(folds)]
    numbers = torch.tensor(START, requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=20, line_search_fn="strong_wolfe")

    def log_q(rows: Tensor, q: TreeMixture) -> Tensor:
        return _log_prob(q, numbers[0] * eta[rows] + numbers[1] * shares, y[rows])

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = sum((log_q(rows & chosen, q).sum() for rows, q in zip(parts, apart, strict=True)), torch.zeros(()))
        prior = (numbers - torch.tensor(START)).square().sum() / 2
        loss = (prior - total) / int(chosen.sum())
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    slope, shift = numbers.detach()
    out_of_fold = torch.zeros(len(y))
    with torch.no_grad():
        for rows, q in zip(parts, apart, strict=True):
            out_of_fold[rows] = log_q(rows, q)
    how = {"slope": slope.item(), "shift": (shift * shares).detach()}
    *each, whole = (TiltedTreeReference(space, part, **how) for part in trees)
    return TiltedTrees(whole, out_of_fold, tuple(each))


def _learn(space: OutputSpace, y: Tensor, seed: int) -> Trees:
    aside = torch.from_numpy(held_out_rows(y.numpy(), KEPT_ASIDE, "rows", seed))
    return fit_trees(space, y[~aside], y[aside], seed=seed)


def _log_prob(
    q: TreeMixture, theta: Float[Tensor, "row statistic"], y: Int64[Tensor, "row item"]
) -> Float[Tensor, " row"]:
    """log of the tilt of q by each row's own θ, at the row's own y."""
    energy = (theta * q.space.statistics(y)).sum(-1)
    return q.log_prob(y.unsqueeze(1)).squeeze(1) + energy - q.log_normalizer(theta)
