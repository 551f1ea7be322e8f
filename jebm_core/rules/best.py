"""The k best combinations under a linear score, exactly."""

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from torch import Tensor

from jebm_core.rules.circuit import Circuit


class Best(NamedTuple):
    """Combinations from the best down: the option in each layer, and ⟨θ, φ⟩."""

    options: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def k_best(circuit: Circuit, theta: Float[Tensor, " statistic"], k: int) -> Best:
    """The k valid combinations with the largest ⟨θ, φ⟩, or all where there are fewer.

    Best-first search over paths; what a path can still gain is known exactly from one pass towards the root, so that
    none is followed that does not end among the k best. Cost: edges, then about k · layers steps.
    """
    cells = circuit.edge_cells
    weights = np.append(theta.detach().double().cpu().numpy(), 0.0)
    tables, edges = circuit.diagram.children, [weights[list(layer)] for layer in cells]
    ahead = [np.array([-np.inf, 0.0])]
    for table, edge in zip(reversed(tables), reversed(edges), strict=True):
        ahead.append((ahead[-1][table] + edge).max(1))
    ahead.reverse()
    root = circuit.diagram.root
    found: list[tuple[int, ...]] = []
    values: list[float] = []
    waiting: list[tuple[float, int, float, int, tuple[int, ...]]] = []
    count = 0
    if ahead[0][root] > -np.inf:
        waiting.append((-float(ahead[0][root]), count, 0.0, root, ()))
    while waiting and len(found) < k:
        total, _, gained, node, path = heapq.heappop(waiting)
        layer = len(path)
        if layer == len(tables):
            found.append(path)
            values.append(-total)
            continue
        for option, below in enumerate(tables[layer][node].tolist()):
            reach = ahead[layer + 1][below]
            if reach > -np.inf:
                so_far = gained + float(edges[layer][option])
                count += 1
                heapq.heappush(waiting, (-(so_far + float(reach)), count, so_far, below, (*path, option)))
    options = np.array(found, dtype=np.int64).reshape(len(found), len(tables))
    return Best(options, np.array(values))
