"""Small changes of a combination: K(y|c), with exact density, for proposals that draw around observed combinations."""

import math
from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.spaces import OutputSpace, Ruled
from jebm_core.spaces.distance import agreement_weights
from jebm_core.spaces.ruled import MAX_PREPARED


class Kernel(ABC):
    """K(·|c) for centres c = 0, 1, …

    Attributes:
        centres: how many there are.
    """

    centres: int

    @abstractmethod
    def log_density(self, phi: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch centre"]:
        """log K(y|c) of combinations, given by their statistics, around every centre."""

    @abstractmethod
    def draw(
        self, centre: Int64[Tensor, "sample batch"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch item"]:
        """One independent draw around each of these centres."""


def kernel_around(space: OutputSpace, points: Int64[Tensor, "point item"], flip: float) -> Kernel:
    """The kernel that re-draws each item with probability ``flip``; under rules, given that the result is valid."""
    return RuledKernel(space, points, flip) if isinstance(space, Ruled) else FlipKernel(space, points, flip)


@final
class FlipKernel(Kernel):
    """Each item independently takes another option with probability ε, all others alike."""

    def __init__(self, space: OutputSpace, points: Int64[Tensor, "point item"], flip: float) -> None:
        self.space, self._points, self._flip, self.centres = space, points, flip, len(points)
        self._phi = space.statistics(points)
        self._options = integers_on(space.options_per_item(), points.device)
        choice = self._options > 1  # a slot without a choice stays as it is, with certainty
        stay = torch.where(choice, math.log1p(-flip), 0.0)
        move = torch.where(choice, (flip / (self._options - 1).clamp(min=1)).log(), 0.0)
        self._move_all = move.sum()
        # Every item contributes log(stay) if it agrees and log(flip/(n−1)) if not; weights by statistic let one
        # product do it for slots of any size.
        self._gain = stay - move

    def log_density(self, phi: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch centre"]:
        if self.space.num_statistics == self.space.num_items:  # all items have two options: agreement is enough
            return self._move_all + self._gain[0] * self.space.matches(phi, self._phi)
        gain = self._gain.repeat_interleave(self._options, output_size=self.space.num_statistics)
        return self._move_all + (phi * gain) @ self._phi.T

    def draw(
        self, centre: Int64[Tensor, "sample batch"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch item"]:
        start = self._points[centre]
        uniform = torch.rand(start.shape, device=start.device, generator=generator)
        # One uniform number decides both whether an item moves and by how much: u/ε is uniform given u < ε.
        step = 1 + (uniform / self._flip * (self._options - 1)).long()
        return torch.where(uniform < self._flip, (start + step) % self._options, start)


@final
class RuledKernel(Kernel):
    """K(y|c) ∝ exp(β · items in which y agrees with c) over what is valid: the flips above, kept to the rules, with one
    β for slots of every size. Of very large diagrams only the first centres are used, as many as memory allows."""

    def __init__(self, space: Ruled, points: Int64[Tensor, "point item"], flip: float) -> None:
        self.space = space
        points = points[: max(1, MAX_PREPARED // max(1, space.edges))]
        self.centres = len(points)
        others = max(1.0, space.num_statistics / space.num_items - 1)  # options besides the one that agrees
        self._theta = math.log((1 - flip) / flip * others) * agreement_weights(space, space.statistics(points))
        self._log_total = space.linear_log_partition(self._theta)
        self._draws = space.prepared(self._theta)

    def log_density(self, phi: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch centre"]:
        return phi @ self._theta.T - self._log_total

    def draw(
        self, centre: Int64[Tensor, "sample batch"], *, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "sample batch item"]:
        return self._draws(centre, generator)
