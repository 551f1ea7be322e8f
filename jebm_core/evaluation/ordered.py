"""Combinations one after another, from the largest sum of scores down: nothing is listed that isn't asked for."""

import heapq
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt


def best_choices(scores: Sequence[Sequence[float]]) -> Iterator[tuple[float, list[int]]]:
    """Every choice of one option an item, (sum of scores, options), the largest sum first.

    Items stand in the order of what their second best option loses. From a choice whose last item off its best option
    is j, three steps lead on: j's next option; the next item off too; the next item off instead of j. None gains, and
    every choice is reached once. Cost: O(items) a choice, and a heap of three entries a choice.

    >>> [options for _, options in best_choices([[0.0, 1.0], [0.5, 0.0]])]
    [[1, 0], [1, 1], [0, 0], [0, 1]]
    """
    orders = [sorted(range(len(item)), key=lambda o, item=item: -item[o]) for item in scores]
    losses = [[item[order[0]] - item[o] for o in order] for item, order in zip(scores, orders, strict=True)]
    items = sorted((i for i, loss in enumerate(losses) if len(loss) > 1), key=lambda i: losses[i][1])
    top, best = sum(item[order[0]] for item, order in zip(scores, orders, strict=True)), [order[0] for order in orders]
    yield top, list(best)
    count = itertools.count()
    # (loss, tie, place of the last item off its best, its rank, the others: (place, rank, others))
    heap: list[tuple[float, int, int, int, tuple | None]] = []
    if items:
        heapq.heappush(heap, (losses[items[0]][1], next(count), 0, 1, None))
    while heap:
        loss, _, place, rank, others = heapq.heappop(heap)
        chosen, link = list(best), (place, rank, others)
        while link is not None:
            chosen[items[link[0]]] = orders[items[link[0]]][link[1]]
            link = link[2]
        yield top - loss, chosen
        own = losses[items[place]]
        if rank + 1 < len(own):
            heapq.heappush(heap, (loss + own[rank + 1] - own[rank], next(count), place, rank + 1, others))
        if place + 1 < len(items):
            following = losses[items[place + 1]][1]
            heapq.heappush(heap, (loss + following, next(count), place + 1, 1, (place, rank, others)))
            if rank == 1:
                heapq.heappush(heap, (loss + following - own[1], next(count), place + 1, 1, others))


def best_assignments(scores: npt.NDArray[np.float64]) -> Iterator[tuple[float, list[int]]]:
    """Every assignment of items to places, (sum of scores, place of each item), the largest sum first.

    Murty's partition: of a set of assignments whose best is known, those that agree with it on the first items and not
    on the next. Cost: items assignment problems an assignment.

    Source: Murty, *An algorithm for ranking all the assignments in order of increasing cost*, Operations Research 1968.

    >>> [places for _, places in best_assignments(np.array([[1.0, 0.0], [0.0, 0.0]]))]
    [[0, 1], [1, 0]]
    """
    from scipy.optimize import linear_sum_assignment

    size, count = len(scores), itertools.count()

    def solved(fixed: list[int], refused: frozenset[int]) -> tuple[float, list[int]] | None:
        """The best that gives the first items these places, and the next one none of the refused."""
        start = len(fixed)
        free = [place for place in range(size) if place not in fixed]
        part = scores[start:, free].copy()
        part[0, [free.index(place) for place in refused]] = -np.inf
        if np.isneginf(part[0]).all():
            return None
        _, chosen = linear_sum_assignment(np.where(np.isneginf(part), -1e15, part), maximize=True)
        places = fixed + [free[c] for c in chosen]
        return float(scores[range(size), places].sum()), places

    first = solved([], frozenset())
    if first is None:
        return
    # (−sum, tie, places, how many items are fixed, what the next item is refused)
    heap = [(-first[0], next(count), first[1], 0, frozenset[int]())]
    while heap:
        loss, _, places, start, refused = heapq.heappop(heap)
        yield -loss, places
        for item in range(start, size - 1):
            barred = frozenset({places[item]}) | (refused if item == start else frozenset())
            if (found := solved(places[:item], barred)) is not None:
                heapq.heappush(heap, (-found[0], next(count), found[1], item, barred))
