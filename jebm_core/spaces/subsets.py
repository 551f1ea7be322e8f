"""Subsets of items."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.spaces.base import OutputSpace, distinct, position_of


@final
class Subsets(OutputSpace):
    """All subsets of k items: 𝒴 = {0,1}^k, φ(y) = y, A(θ) = Σ_i log(1 + e^θ_i). Cost O(k).

    >>> space = Subsets(("red", "green", "blue"))
    >>> space.cardinality(), space.decode(torch.tensor([1, 0, 1]))
    (8, ('red', 'blue'))
    """

    factorises = exact_linear = True

    def __init__(self, items: Sequence[str]) -> None:
        if not items:
            raise SpecError("Expected at least one item for subsets, found none; name the items.")
        self.items = distinct(items, "items")
        self.num_items = self.num_statistics = len(self.items)

    @property
    def whole(self) -> "Subsets":
        return self

    def statistics(self, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch statistic"]:
        return y.to(torch.get_default_dtype())

    def contains(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        return ((y == 0) | (y == 1)).all(-1)

    def cardinality(self) -> int:
        return 2**self.num_items

    def listing(self, device: torch.device | str = "cpu") -> Int64[Tensor, "combination item"]:
        self.check_listing()
        index = torch.arange(self.cardinality(), device=device)
        return index.unsqueeze(-1) >> torch.arange(self.num_items, device=device) & 1

    def argmax_linear(self, theta: Float[Tensor, "*batch statistic"]) -> Int64[Tensor, "*batch item"]:
        return (theta > 0).long()

    def linear_log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        return torch.nn.functional.softplus(theta).sum(-1)

    def linear_marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        return torch.sigmoid(theta)

    def linear_sample(
        self, theta: Float[Tensor, "*batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample *batch item"]:
        uniform = torch.rand((num_samples, *theta.shape), device=theta.device, dtype=theta.dtype, generator=generator)
        return (uniform < torch.sigmoid(theta)).view(torch.uint8)

    def matches(
        self, phi: Float[Tensor, "*batch statistic"], points: Float[Tensor, "point statistic"]
    ) -> Float[Tensor, "*batch point"]:
        return self.num_items - phi.sum(-1, keepdim=True) - points.sum(-1) + 2 * phi @ points.T

    def options_per_item(self) -> tuple[int, ...]:
        return (2,) * self.num_items

    def encode(self, label: Sequence[str]) -> Int64[Tensor, " item"]:
        y = torch.zeros(self.num_items, dtype=torch.int64)
        for name in label:
            y[position_of(name, self.items, "item")] = 1
        return y

    def decode(self, y: Integer[Tensor, " item"]) -> tuple[str, ...]:
        return tuple(item for item, present in zip(self.items, y.tolist(), strict=True) if present)
