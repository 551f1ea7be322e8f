"""One option in each of several slots."""

import itertools
import math
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.errors import SpecError
from jebm_core.spaces.base import OutputSpace, distinct, position_of


@final
class Configurations(OutputSpace):
    """One option in each of several slots: 𝒴 = Π_j {1..n_j}, A(θ) = Σ_j logsumexp θ_j. Cost O(Σ n_j).

    >>> space = Configurations(("size", "colour"), (("S", "M", "L"), ("red", "blue")))
    >>> space.cardinality(), space.decode(torch.tensor([2, 0]))
    (6, ('L', 'red'))
    """

    factorises = exact_linear = True

    def __init__(self, slots: Sequence[str], options: Sequence[Sequence[str]]) -> None:
        if not slots or len(slots) != len(options):
            raise SpecError(
                "Expected the options of each slot, found {slots} slots and {options} lists of options; give one "
                "list a slot.",
                slots=len(slots),
                options=len(options),
            )
        self.items = distinct(slots, "slots")
        self.options = tuple(distinct(o, f"options of {slot}") for slot, o in zip(slots, options, strict=True))
        self.num_items = len(self.items)
        sizes = [len(o) for o in self.options]
        self.num_statistics = sum(sizes)
        self._offsets = tuple(itertools.accumulate(sizes, initial=0))[:-1]
        self._width = max(sizes)
        self._cells = tuple(slot * self._width + option for slot, size in enumerate(sizes) for option in range(size))

    @property
    def whole(self) -> "Configurations":
        return self

    def statistics(self, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch statistic"]:
        index = y.to(torch.int64) + integers_on(self._offsets, y.device)
        zeros = torch.zeros((*y.shape[:-1], self.num_statistics), device=y.device)
        return zeros.scatter(-1, index, 1.0)

    def contains(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        sizes = integers_on(self.options_per_item(), y.device)
        return ((y >= 0) & (y < sizes)).all(-1)

    def cardinality(self) -> int:
        return math.prod(self.options_per_item())

    def listing(self, device: torch.device | str = "cpu") -> Int64[Tensor, "combination item"]:
        self.check_listing()
        index = torch.arange(self.cardinality(), device=device)
        columns = []
        for size in self.options_per_item():
            columns.append(index % size)
            index = index // size
        return torch.stack(columns, -1)

    def padded(self, theta: Float[Tensor, "*batch statistic"], fill: float) -> Float[Tensor, "*batch item option"]:
        """[*batch, slot, option] with ``fill`` where a slot has fewer options than the widest."""
        cells = theta.new_full((*theta.shape[:-1], self.num_items * self._width), fill)
        cells = cells.index_copy(-1, integers_on(self._cells, theta.device), theta)
        return cells.unflatten(-1, (self.num_items, self._width))

    def unpadded(self, cells: Float[Tensor, "*batch item option"]) -> Float[Tensor, "*batch statistic"]:
        """The inverse of `padded`."""
        return cells.flatten(-2).index_select(-1, integers_on(self._cells, cells.device))

    def argmax_linear(self, theta: Float[Tensor, "*batch statistic"]) -> Int64[Tensor, "*batch item"]:
        return self.padded(theta, -math.inf).argmax(-1)

    def linear_log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        return self.padded(theta, -math.inf).logsumexp(-1).sum(-1)

    def linear_marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        return self.unpadded(self.padded(theta, -math.inf).softmax(-1))

    def linear_sample(
        self, theta: Float[Tensor, "*batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample *batch item"]:
        cumulative = self.padded(theta, -math.inf).softmax(-1).cumsum(-1)
        shape = (num_samples, *cumulative.shape[:-1], 1)
        uniform = torch.rand(shape, device=theta.device, dtype=theta.dtype, generator=generator)
        # Scaling by the last cumulative value keeps a rounding error from ever choosing a padded option.
        last = cumulative[..., -1:]
        limit = integers_on(self.options_per_item(), theta.device) - 1
        return (uniform * last >= cumulative).sum(-1).minimum(limit)

    def matches(
        self, phi: Float[Tensor, "*batch statistic"], points: Float[Tensor, "point statistic"]
    ) -> Float[Tensor, "*batch point"]:
        return phi @ points.T

    def options_per_item(self) -> tuple[int, ...]:
        return tuple(len(o) for o in self.options)

    def encode(self, label: Sequence[str]) -> Int64[Tensor, " item"]:
        if len(label) != self.num_items:
            raise SpecError(
                "Expected one option for each of {slots} slots, found {found}; give them in the order of the slots.",
                slots=self.num_items,
                found=len(label),
            )
        return torch.tensor(
            [position_of(name, known, slot) for name, known, slot in zip(label, self.options, self.items, strict=True)]
        )

    def decode(self, y: Integer[Tensor, " item"]) -> tuple[str, ...]:
        return tuple(options[i] for options, i in zip(self.options, y.tolist(), strict=True))
