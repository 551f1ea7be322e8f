"""What every output space offers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.errors import SpecError

MAX_LISTING = 2**22
"""Largest space that is ever listed: four million combinations."""


class OutputSpace(ABC):
    """A finite set 𝒴 of combinations.

    Attributes:
        num_items: length of ``y``.
        num_statistics: length of φ(y).
        items: display name of each item or slot.
        exact_linear: whether A(θ) can be computed for this many items.
        factorises: whether the linear family is a product over items, so that mean-field bounds and flips of
            single items apply.
    """

    num_items: int
    num_statistics: int
    items: tuple[str, ...]
    factorises: bool
    exact_linear: bool

    @property
    @abstractmethod
    def whole(self) -> "OutputSpace":
        """The space without its rules; itself where it has none."""

    @abstractmethod
    def statistics(self, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch statistic"]:
        """φ(y) in the default floating dtype."""

    @abstractmethod
    def contains(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        """Whether each y is an element of 𝒴."""

    @property
    def checks_draws(self) -> bool:
        """Whether `allows` has a say: A(θ) and draws then leave rules out."""
        return False

    def allows(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"] | None:
        """Whether each y that a draw gave obeys the rules that draws don't know of; None where they know all."""
        return None

    @abstractmethod
    def cardinality(self) -> int:
        """|𝒴|, exactly; an upper bound where rules are checked on draws."""

    @abstractmethod
    def listing(self, device: torch.device | str = "cpu") -> Int64[Tensor, "combination item"]:
        """Every element of 𝒴 once. Raises `SpecError` above `MAX_LISTING`."""

    @abstractmethod
    def argmax_linear(self, theta: Float[Tensor, "*batch statistic"]) -> Int64[Tensor, "*batch item"]:
        """Linear maximisation oracle: argmax_y ⟨θ, φ(y)⟩ (ties to the first)."""

    @abstractmethod
    def linear_log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        """A(θ) = log Σ_y exp⟨θ, φ(y)⟩ in nats, differentiable: its gradient is the vector of marginals."""

    @abstractmethod
    def linear_marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        """E[φ(y)] under p ∝ exp⟨θ, φ⟩: the gradient of A."""

    @abstractmethod
    def linear_sample(
        self, theta: Float[Tensor, "*batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample *batch item"]:
        """Exact i.i.d. draws from p ∝ exp⟨θ, φ⟩."""

    @abstractmethod
    def matches(
        self, phi: Float[Tensor, "*batch statistic"], points: Float[Tensor, "point statistic"]
    ) -> Float[Tensor, "*batch point"]:
        """How many items of y agree with each point, from their statistics: one matrix product."""

    @abstractmethod
    def options_per_item(self) -> tuple[int, ...]:
        """How many values each item can take."""

    @abstractmethod
    def encode(self, label: Sequence[str]) -> Int64[Tensor, " item"]:
        """From a person's label (see `decode`) to y. Raises `SpecError` naming what is unknown."""

    @abstractmethod
    def decode(self, y: Integer[Tensor, " item"]) -> tuple[str, ...]:
        """To a person's label: items in the set; the option of each slot; or items from first to last."""

    def log_cardinality(self) -> float:
        """log |𝒴| in nats, exact to a rounding for integers of any size."""
        return math.log(self.cardinality())

    def key(self, y: Integer[Tensor, "*batch item"]) -> Int64[Tensor, "*batch"]:
        """An integer that identifies y: its mixed-radix index where |options|^k < 2^62, else a hash.

        The hash is a fixed random linear map modulo 2^64; two different y collide with probability about 2^-64.
        """
        sizes = self.options_per_item()
        multipliers = [1]
        for size in sizes[:-1]:
            multipliers.append(multipliers[-1] * size)
        if multipliers[-1] * sizes[-1] >= 2**62:
            multipliers = np.random.default_rng(20251).integers(-(2**63), 2**63 - 1, len(sizes)).tolist()
        return (y.to(torch.int64) * integers_on(tuple(multipliers), y.device)).sum(-1)

    def check_listing(self) -> None:
        """Raise `SpecError` where the space is too large to list."""
        if self.cardinality() > MAX_LISTING:
            raise SpecError(
                "Expected a space of at most {limit} combinations to list, found about 10^{power:.0f}; use a method "
                "that samples.",
                limit=MAX_LISTING,
                power=self.log_cardinality() / math.log(10),
            )


def distinct(names: Sequence[str], what: str) -> tuple[str, ...]:
    """The names; `SpecError` where one occurs twice, since labels could not be told apart."""
    known: set[str] = set()
    for name in names:
        if name in known:
            raise SpecError(
                "Expected different names for {what}, found {name!r} twice; rename one.", what=what, name=name
            )
        known.add(name)
    return tuple(names)


def position_of(name: str, known: Sequence[str], what: str) -> int:
    """Index of ``name`` among ``known``; `SpecError` names what is known."""
    if name not in known:
        raise SpecError(
            "Expected a known option for {what}, found {name!r}; known are {known}.",
            what=what,
            name=name,
            known=", ".join(known),
        )
    return list(known).index(name)
