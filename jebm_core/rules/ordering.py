"""The order of the variables of a diagram, on which its size depends.

FORCE: every rule pulls its variables towards the middle of them all, until the order stops getting better; the best of
several random starts is then improved by moving one variable at a time. What is minimised is an estimate of the width:
the sum over cuts of 2^(rules that cross it). Source: Aloul, Markov, Sakallah, *FORCE: a fast and easy-to-implement
variable-ordering heuristic*, GLSVLSI 2003.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_STARTS = 24
_ROUNDS = 40
_MAX_WORK = 20_000_000  # scope entries looked at, over all starts: about half a second
_MAX_MOVES = 150_000_000  # numbers looked at while variables are moved: about a second and a half
_SWEEPS = 3


def force_order(variables: int, scopes: Sequence[Sequence[int]], *, seed: int = 0) -> list[int]:
    """An order of 0 … ``variables`` − 1 in which variables of one scope stand close together.

    Variables of no scope come last. Cost: starts · rounds · entries of all scopes, then variables² · scopes.

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
    place = _moved(_forced(len(used), member, sizes, np.random.default_rng(seed)), member, sizes)
    order = np.empty(len(used), dtype=np.int64)
    order[place] = used
    return [*order.tolist(), *free]


def _forced(
    count: int, member: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The place of each variable, by FORCE."""
    edge = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    degree = np.bincount(member, minlength=count)
    rounds = max(4, min(_ROUNDS, _MAX_WORK // (_STARTS * len(member))))
    best, best_cost = np.arange(count), np.inf
    for start in range(_STARTS):
        place = np.arange(count) if start == 0 else random.permutation(count)
        cost = np.inf
        for _ in range(rounds):
            centre = np.add.reduceat(place[member].astype(np.float64), starts) / sizes
            pull = np.bincount(member, weights=centre[edge], minlength=count) / degree
            place = np.empty_like(place)
            place[np.argsort(pull, kind="stable")] = np.arange(count)
            at = place[member]
            first, last = np.minimum.reduceat(at, starts), np.maximum.reduceat(at, starts)
            found = float(_costs(first[None], last[None], count)[0])
            if found >= cost:
                break
            cost = found
            if cost < best_cost:
                best, best_cost = place, cost
    return best


def _moved(
    place: npt.NDArray[np.int64], member: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The same with each variable in turn moved to where the order is best, until nothing helps."""
    count, starts = len(place), np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sweeps = min(_SWEEPS, _MAX_MOVES // (count * count * (len(sizes) + count)))
    edge = np.repeat(np.arange(len(sizes)), sizes)
    edges_of = [np.unique(edge[member == variable]) for variable in range(count)]
    for _ in range(sweeps):
        changed = False
        for variable in np.argsort(place).tolist():
            rest = place - (place > place[variable])  # places of the others without it
            at = rest[member]
            own = member == variable
            low, high = np.where(own, count, at), np.where(own, -1, at)
            first, last = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
            target = np.arange(count)[:, None]
            firsts, lasts = first + (first >= target), last + (last >= target)
            mine = edges_of[variable]
            firsts[:, mine] = np.minimum(firsts[:, mine], target)
            lasts[:, mine] = np.maximum(lasts[:, mine], target)
            cost = _costs(firsts, lasts, count)
            best = int(cost.argmin())
            if cost[best] < cost[place[variable]] - 1e-9:
                place = rest + (rest >= best)
                place[variable] = best
                changed = True
        if not changed:
            break
    return place


def _costs(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    """How wide a diagram gets, roughly, as a logarithm, for orders given by the ends of each scope, [order, scope]."""
    orders = len(first)
    offset = np.arange(orders)[:, None] * (count + 1)
    opened = np.bincount((first + offset).ravel(), minlength=orders * (count + 1))
    closed = np.bincount((last + offset).ravel(), minlength=orders * (count + 1))
    cut = (opened - closed).reshape(orders, count + 1).cumsum(1).astype(np.float64)
    top = cut.max(1, keepdims=True)
    return top[:, 0] + np.log2(np.exp2(cut - top).sum(1)) + 1e-4 * (last - first).sum(1)
