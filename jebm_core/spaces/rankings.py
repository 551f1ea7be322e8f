"""Orders of items."""

import itertools
import math
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core import permanents
from jebm_core.errors import SpecError
from jebm_core.spaces.base import OutputSpace, distinct, position_of


@final
class Rankings(OutputSpace):
    """All orders of k items; A(θ) is a log-permanent, by a dynamic programme over subsets: O(k 2^k), up to 16 items.

    >>> space = Rankings(("x", "y", "z"))
    >>> space.cardinality(), space.decode(torch.tensor([2, 0, 1]))
    (6, ('y', 'z', 'x'))
    """

    factorises = False

    def __init__(self, items: Sequence[str]) -> None:
        if len(items) < 2:
            raise SpecError("Expected at least two items to rank, found {found}; name the items.", found=len(items))
        self.items = distinct(items, "items")
        self.num_items = len(self.items)
        self.num_statistics = self.num_items**2
        self.exact_linear = self.num_items <= permanents.MAX_EXACT_ITEMS

    @property
    def whole(self) -> "Rankings":
        return self

    def statistics(self, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch statistic"]:
        positions = torch.arange(self.num_items, device=y.device)
        return (y.unsqueeze(-1) == positions).to(torch.get_default_dtype()).flatten(-2)

    def contains(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        return (y.sort(-1).values == torch.arange(self.num_items, device=y.device)).all(-1)

    def cardinality(self) -> int:
        return math.factorial(self.num_items)

    def listing(self, device: torch.device | str = "cpu") -> Int64[Tensor, "combination item"]:
        self.check_listing()
        flat = np.fromiter(itertools.chain.from_iterable(itertools.permutations(range(self.num_items))), dtype=np.int64)
        return torch.from_numpy(flat.reshape(-1, self.num_items)).to(device)

    def argmax_linear(self, theta: Float[Tensor, "*batch statistic"]) -> Int64[Tensor, "*batch item"]:
        """The assignment problem, by scipy's Hungarian solver on the host."""
        from scipy.optimize import linear_sum_assignment

        matrices = theta.detach().reshape(-1, self.num_items, self.num_items).cpu().double().numpy()
        rows = [linear_sum_assignment(m, maximize=True)[1] for m in matrices]
        return torch.from_numpy(np.stack(rows)).to(theta.device).reshape(*theta.shape[:-1], self.num_items)

    def linear_log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        self._check_exact()
        return permanents.log_permanent(self._matrix(theta))

    def linear_marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        self._check_exact()
        return permanents.position_marginals(self._matrix(theta)).flatten(-2)

    def linear_sample(
        self, theta: Float[Tensor, "*batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample *batch item"]:
        self._check_exact()
        return permanents.sample_permanent(self._matrix(theta), num_samples, generator=generator)

    def matches(
        self, phi: Float[Tensor, "*batch statistic"], points: Float[Tensor, "point statistic"]
    ) -> Float[Tensor, "*batch point"]:
        return phi @ points.T

    def options_per_item(self) -> tuple[int, ...]:
        return (self.num_items,) * self.num_items

    def encode(self, label: Sequence[str]) -> Int64[Tensor, " item"]:
        order = [position_of(name, self.items, "item") for name in label]
        if sorted(order) != list(range(self.num_items)):
            raise SpecError(
                "Expected a ranking of all {count} items, each once, found {found}; list them from first to last.",
                count=self.num_items,
                found=", ".join(label),
            )
        return torch.tensor(order).argsort()

    def decode(self, y: Integer[Tensor, " item"]) -> tuple[str, ...]:
        return tuple(self.items[i] for i in y.argsort().tolist())

    def _matrix(self, theta: Tensor) -> Tensor:
        return theta.unflatten(-1, (self.num_items, self.num_items))

    def _check_exact(self) -> None:
        if not self.exact_linear:
            raise SpecError(
                "Expected at most {limit} items for an exact log-partition over rankings, found {found}; use the "
                "proposal plackett-luce.",
                limit=permanents.MAX_EXACT_ITEMS,
                found=self.num_items,
            )
