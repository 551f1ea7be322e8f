"""The combinations of the training rows: which occurred, how often, and the nearest to any other."""

from typing import final

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from jebm_core.spaces import OutputSpace
from jebm_core.spaces.distance import distance_features, distance_of_agreement

_CHUNK = 512


@final
class Seen:
    """Distinct combinations, most frequent first.

    Attributes:
        points: the combinations, [combination, item]; counts: how often each occurred.
    """

    def __init__(
        self, space: OutputSpace, points: Int64[Tensor, "combination item"], counts: Int64[Tensor, " combination"]
    ) -> None:
        self.space, self.points, self.counts = space, points, counts
        self._keys = space.key(points).sort().values
        self._features = distance_features(space, points)

    @classmethod
    def of(cls, space: OutputSpace, y: Int64[Tensor, "row item"]) -> "Seen":
        """What occurs in these rows."""
        points, counts = torch.unique(y, dim=0, return_counts=True)
        order = counts.argsort(descending=True, stable=True)
        return cls(space, points[order], counts[order])

    def __len__(self) -> int:
        return len(self.points)

    def contains(self, y: Int64[Tensor, "row item"]) -> Bool[Tensor, " row"]:
        """Whether each combination occurred."""
        keys = self.space.key(y)
        slot = torch.searchsorted(self._keys, keys).clamp_max(len(self._keys) - 1)
        return self._keys[slot] == keys

    def nearest(self, y: Int64[Tensor, "row item"]) -> tuple[Int64[Tensor, " row"], Int64[Tensor, " row"]]:
        """(distance, index into ``points``) of the nearest one.

        Distance: items or slots that differ; for rankings, pairs of items in the other order.
        Cost: one product [row, feature] · [feature, combination], in chunks of rows.
        """
        # Written in place: small tensors kept from each piece would pin the heap between large freed ones.
        agreement = self._features.new_empty(len(y))
        index = torch.empty(len(y), dtype=torch.int64, device=y.device)
        for start in range(0, len(y), _CHUNK):
            rows = slice(start, start + _CHUNK)
            products = distance_features(self.space, y[rows]) @ self._features.T
            torch.max(products, -1, out=(agreement[rows], index[rows]))
        return distance_of_agreement(self.space, agreement), index
