"""Counts and totals in notations that only know *and*, *or* and *not*."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias, final

from jebm_core.rules.language import And, Formula, Not, Or

Step: TypeAlias = Sequence[tuple[int, int]]
"""Alternatives of which exactly one holds: (literal, weight)."""


@final
@dataclass(frozen=True)
class Node:
    """A partial sum before a step, as long as it decides nothing."""

    step: int
    total: int


def spelled_out(low: int, high: int | None, parts: Sequence[Formula], most: int) -> Formula | None:
    """From ``low`` to ``high`` of the parts hold, without counting; None where that takes more than ``most`` clauses.

    >>> from jebm_core.rules.language import Chosen, Name
    >>> a, b = Chosen(Name("A")), Chosen(Name("B"))
    >>> spelled_out(1, None, (a, b), 8) == Or((a, b)), spelled_out(2, 3, (a, b, a, b, a), 8)
    (True, None)
    """
    count = len(parts)
    least = min(low, count + 1)
    ceiling = count if high is None else min(high, count)
    clauses = (math.comb(count, count - least + 1) if least else 0) + math.comb(count, ceiling + 1)
    if clauses > most:
        return None
    if least > count:
        return Or(())
    # Of so many parts that fewer than `least` are left, one holds; of one more than the most, one does not.
    enough = [Or(some) for some in itertools.combinations(parts, count - least + 1)] if least else []
    few = [Or(tuple(map(Not, some))) for some in itertools.combinations(parts, ceiling + 1)]
    both = (*enough, *few)
    return both[0] if len(both) == 1 else And(both)


def whole(numbers: Sequence[Decimal | None]) -> list[int | None]:
    """The numbers as whole ones, all multiplied by the same power of ten.

    >>> whole([Decimal("0.5"), None, Decimal(3)])
    [5, None, 30]
    """
    exponents = [number.as_tuple().exponent for number in numbers if number is not None]
    scale = 10 ** max([0, *(-exponent for exponent in exponents if isinstance(exponent, int))])
    return [None if number is None else int(Fraction(number) * scale) for number in numbers]


def decisions(
    steps: Sequence[Step], low: int | None, high: int | None, most: int
) -> tuple[Node | bool, dict[Node, list[tuple[int, Node | bool]]]] | None:
    """Whether a sum of one weight from each step lies between the bounds, as decisions one step after the other.

    Returns:
        Where the decisions begin, and what each alternative leads to; None where there are more than ``most`` nodes.

    >>> root, nodes = decisions([[(1, 3), (-1, 0)], [(2, 1), (-2, 0)]], 3, None, 100)
    >>> root, nodes[root]
    (Node(step=0, total=0), [(1, True), (-1, False)])
    """
    least, largest = [0], [0]  # of what is still to come
    for step in reversed(steps):
        least.append(least[-1] + min(weight for _, weight in step))
        largest.append(largest[-1] + max(weight for _, weight in step))
    least.reverse()
    largest.reverse()

    def outcome(step: int, total: int) -> Node | bool:
        bottom, top = total + least[step], total + largest[step]
        if (low is None or bottom >= low) and (high is None or top <= high):
            return True
        if (low is not None and top < low) or (high is not None and bottom > high):
            return False
        return Node(step, total)

    root = outcome(0, 0)
    nodes: dict[Node, list[tuple[int, Node | bool]]] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, bool) or node in nodes:
            continue
        if len(nodes) == most:
            return None
        alternatives = steps[node.step]
        nodes[node] = [(literal, outcome(node.step + 1, node.total + weight)) for literal, weight in alternatives]
        waiting += [child for _, child in nodes[node]]
    return root, dict(sorted(nodes.items(), key=lambda entry: entry[0].step))
