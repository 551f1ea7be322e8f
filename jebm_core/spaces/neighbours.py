"""Combinations one change away."""

import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.spaces.base import OutputSpace
from jebm_core.spaces.rankings import Rankings


def one_change_away(
    space: OutputSpace, y: Int64[Tensor, "point item"], most: int = 2**17
) -> tuple[Int64[Tensor, "neighbour item"], Int64[Tensor, " neighbour"]]:
    """(every combination of the space one change away from one of the points, the point it is next to).

    A change is another value for an item, another option for a slot, or two neighbours of a ranking that trade places.
    Of at most about ``most`` in all, the first points have theirs.

    >>> from jebm_core.spaces.subsets import Subsets
    >>> near, of = one_change_away(Subsets(("a", "b")), torch.tensor([[0, 1]]))
    >>> near.tolist(), of.tolist()
    ([[1, 1], [0, 0]], [0, 0])
    """
    found = []
    if isinstance(space.whole, Rankings):
        for place in range(space.num_items - 1):
            found.append(torch.where(y == place, place + 1, torch.where(y == place + 1, place, y)))
    else:
        for item, size in enumerate(space.options_per_item()):
            for step in range(1, size):
                changed = y.clone()
                changed[:, item] = (changed[:, item] + step) % size
                found.append(changed)
    if not found:
        return y[:0], torch.zeros(0, dtype=torch.int64, device=y.device)
    points = max(1, most // len(found))
    near = torch.cat([part[:points] for part in found])
    origin = torch.arange(len(y), device=y.device)[:points].repeat(len(found))
    inside = space.contains(near)
    return near[inside], origin[inside]
