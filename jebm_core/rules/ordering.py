"""The order of the variables of a diagram, on which its size depends.

FORCE: every rule pulls its variables towards the middle of them all, until the total span of the rules stops falling;
the best of several random starts is kept. Source: Aloul, Markov, Sakallah, *FORCE: a fast and easy-to-implement
variable-ordering heuristic*, GLSVLSI 2003.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STARTS = 12
_ROUNDS = 40
_MAX_WORK = 40_000_000  # scope entries looked at, over all starts: about a second


def force_order(variables: int, scopes: Sequence[Sequence[int]], *, seed: int = 0) -> list[int]:
    """An order of 0 … ``variables`` − 1 in which variables of one scope stand close together.

    Variables of no scope come last. Cost: starts · rounds · entries of all scopes.

    >>> order = force_order(4, [(0, 3), (3, 1), (1, 2)])
    >>> order in ([0, 3, 1, 2], [2, 1, 3, 0])
    True
    """
    edges = sorted({tuple(sorted(set(scope))) for scope in scopes if len(set(scope)) > 1})
    used = np.unique(np.fromiter((v for edge in edges for v in edge), dtype=np.int64))
    free = np.setdiff1d(np.arange(variables), used).tolist()
    if not edges:
        return free
    number = np.zeros(variables, dtype=np.int64)
    number[used] = np.arange(len(used))
    member = number[np.fromiter((v for edge in edges for v in edge), dtype=np.int64)]
    sizes = np.array([len(edge) for edge in edges])
    edge = np.repeat(np.arange(len(edges)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    degree = np.bincount(member, minlength=len(used))
    rounds = max(4, min(_ROUNDS, _MAX_WORK // (_STARTS * len(member))))
    random = np.random.default_rng(seed)
    best, best_cost = np.arange(len(used)), np.inf
    for start in range(_STARTS):
        place = np.arange(len(used)) if start == 0 else random.permutation(len(used))
        cost = np.inf
        for _ in range(rounds):
            centre = np.add.reduceat(place[member].astype(np.float64), starts) / sizes
            pull = np.bincount(member, weights=centre[edge], minlength=len(used)) / degree
            place = np.empty_like(place)
            place[np.argsort(pull, kind="stable")] = np.arange(len(used))
            found = _cost(place, member, starts)
            if found >= cost:
                break
            cost = found
            if cost < best_cost:
                best, best_cost = place, cost
    order = np.empty(len(used), dtype=np.int64)
    order[best] = used
    return [*order.tolist(), *free]


def _cost(place: npt.NDArray[np.int64], member: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> float:
    """How wide a diagram gets, roughly: the sum over cuts of 2^(scopes that cross it), as a logarithm."""
    at = place[member]
    first, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
    crossing = np.zeros(len(place) + 1)
    np.add.at(crossing, first, 1)
    np.add.at(crossing, last, -1)
    cut = np.cumsum(crossing)
    top = cut.max()
    return float(top + np.log2(np.exp2(cut - top).sum()) + 1e-4 * (last - first).sum())
