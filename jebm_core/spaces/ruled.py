"""The combinations of another space that obey rules."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from jebm_core.devices import integers_on
from jebm_core.errors import SpecError
from jebm_core.rules.best import k_best
from jebm_core.rules.circuit import Circuit
from jebm_core.rules.compiled import CompiledRules
from jebm_core.rules.dnnf import Dnnf
from jebm_core.rules.dnnf_circuit import DnnfCircuit
from jebm_core.rules.paths import PathSampler
from jebm_core.spaces.base import OutputSpace
from jebm_core.spaces.configurations import Configurations
from jebm_core.spaces.rankings import Rankings

MAX_PREPARED = 50_000_000
"""Numbers that draws may be prepared with: edges of the diagram times vectors of weights."""
_MANY_DRAWS = 20_000
"""Draws of one distribution from which its alias tables pay."""


@final
class Ruled(OutputSpace):
    """{y ∈ 𝒴 : y obeys the rules}, with the statistics of 𝒴. A(θ), marginals, draws and maxima are exact, by one pass
    over a diagram of what is valid: O(edges) each, however many combinations that are.

    Rules that no diagram could hold (``rules.checked``) are left out of A(θ), marginals, draws and maxima; membership
    and lists obey them, and scores are `jebm_core.interactions.FORBIDDEN` where they fail.

    Args:
        whole: 𝒴.
        compiled: the rules; what they demand in some contexts only is left to the reference.

    >>> from jebm_core.rules.compiled import compile_rules
    >>> from jebm_core.rules.notation.parser import parse_rules
    >>> from jebm_core.rules.problem import bind
    >>> from jebm_core.spaces.subsets import Subsets
    >>> rules = compile_rules(bind(parse_rules("items a, b, c\\na requires b\\nsize at least 1")))
    >>> space = Ruled(Subsets(("a", "b", "c")), rules)
    >>> space.cardinality(), space.contains(torch.tensor([[1, 0, 1], [1, 1, 0]])).tolist()
    (5, [False, True])
    """

    factorises, exact_linear = False, True

    def __init__(self, whole: OutputSpace, compiled: CompiledRules) -> None:
        self.unruled, self.rules = whole, compiled
        self.items, self.num_items, self.num_statistics = whole.items, whole.num_items, whole.num_statistics
        cells = statistic_cells(whole, compiled.diagram.order)
        self.circuit: Circuit | DnnfCircuit = (
            DnnfCircuit(compiled.diagram, cells, whole.num_statistics)
            if isinstance(compiled.diagram, Dnnf)
            else Circuit(compiled.diagram, cells, whole.num_statistics)
        )
        self._inverse = tuple(np.argsort(compiled.diagram.order).tolist())
        self._sampler: tuple[Tensor, PathSampler] | None = None

    @property
    def whole(self) -> OutputSpace:
        return self.unruled

    def statistics(self, y: Integer[Tensor, "*batch item"]) -> Float[Tensor, "*batch statistic"]:
        return self.unruled.statistics(y)

    def contains(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"]:
        inside = self.unruled.contains(y)
        # What is no combination at all has no path to follow; any will do, it is refused already.
        path = torch.where(inside.unsqueeze(-1), self._options(y), 0)
        inside &= self.circuit.contains(path)
        allowed = self.allows(torch.where(inside.unsqueeze(-1), y, 0))
        return inside if allowed is None else inside & allowed

    @property
    def checks_draws(self) -> bool:
        return self.rules.checked is not None

    def allows(self, y: Integer[Tensor, "*batch item"]) -> Bool[Tensor, "*batch"] | None:
        return None if self.rules.checked is None else self.rules.allows(options_of(self.unruled, y))

    def cardinality(self) -> int:
        return self._cardinality

    @cached_property
    def _cardinality(self) -> int:
        return self.rules.diagram.count()

    def listing(self, device: torch.device | str = "cpu") -> Int64[Tensor, "combination item"]:
        self.check_listing()
        found = self._outputs(torch.from_numpy(self.rules.diagram.listing()).to(device))
        return found if self.rules.checked is None else found[self.contains(found)]

    def argmax_linear(self, theta: Float[Tensor, "*batch statistic"]) -> Int64[Tensor, "*batch item"]:
        best = self.circuit.best(theta.reshape(-1, self.num_statistics))
        return self._outputs(best).reshape(*theta.shape[:-1], self.num_items)

    def best_linear(
        self, theta: Float[Tensor, " statistic"], k: int
    ) -> tuple[Int64[Tensor, "best item"], Float[Tensor, " best"]]:
        """The k combinations with the largest ⟨θ, φ⟩ from the best down, and that value; exact.

        Raises:
            SpecError: more than one of rules that no diagram could hold.
        """
        if isinstance(self.circuit, DnnfCircuit):
            if k > 1:
                raise SpecError(
                    "Expected rules that a diagram can hold to list the {count} best combinations, found rules that "
                    "only the extra d4 could sum; ask for the best one alone.",
                    count=k,
                )
            y = self.argmax_linear(theta.unsqueeze(0))
            return y, (self.statistics(y).to(theta) @ theta).to(theta)
        best = k_best(self.circuit, theta, k)
        y = self._outputs(torch.from_numpy(best.options).to(theta.device))
        return y, torch.from_numpy(best.values).to(theta)

    def linear_log_partition(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch"]:
        if _is_one(theta):  # a reference that ignores x: once is enough for all rows
            return self.circuit.log_partition(theta.reshape(-1, self.num_statistics)[:1]).expand(theta.shape[:-1])
        return self.circuit.log_partition(theta)

    def linear_marginals(self, theta: Float[Tensor, "*batch statistic"]) -> Float[Tensor, "*batch statistic"]:
        return self.circuit.marginals(theta)

    def linear_sample(
        self, theta: Float[Tensor, "*batch statistic"], num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample *batch item"]:
        flat = theta.detach().reshape(-1, self.num_statistics)
        batch, total = theta.shape[:-1], num_samples * len(flat)
        if _is_one(theta) and isinstance(self.circuit, DnnfCircuit):
            drawn = self.circuit.sample(flat[:1], total, generator=generator)
            return self._outputs(drawn).reshape(num_samples, *batch, self.num_items)
        if _is_one(theta) and isinstance(self.circuit, Circuit) and total >= _MANY_DRAWS:
            drawn = self._paths(self.circuit, flat[0]).sample(total, order=self._inverse, generator=generator)
            return outputs_of(self.unruled, drawn).reshape(num_samples, *batch, self.num_items)
        drawn = self.circuit.sample(flat, num_samples, generator=generator)
        return self._outputs(drawn).reshape(num_samples, *batch, self.num_items)

    @property
    def edges(self) -> int:
        """Edges of the diagram: what every pass costs."""
        return self.rules.diagram.edges

    def prepared(
        self, theta: Float[Tensor, "vector statistic"]
    ) -> Callable[[Int64[Tensor, "sample batch"], torch.Generator | None], Int64[Tensor, "sample batch item"]]:
        """From vector numbers to one independent draw for each, of p ∝ exp⟨θ_v, φ⟩. Memory: edges · vectors."""
        walks = self.circuit.prepared(theta)
        return lambda vectors, generator: self._outputs(walks.draw(vectors, generator=generator))

    def matches(
        self, phi: Float[Tensor, "*batch statistic"], points: Float[Tensor, "point statistic"]
    ) -> Float[Tensor, "*batch point"]:
        return self.unruled.matches(phi, points)

    def options_per_item(self) -> tuple[int, ...]:
        return self.unruled.options_per_item()

    def encode(self, label: Sequence[str]) -> Int64[Tensor, " item"]:
        return self.unruled.encode(label)

    def decode(self, y: Integer[Tensor, " item"]) -> tuple[str, ...]:
        return self.unruled.decode(y)

    def _paths(self, circuit: Circuit, theta: Tensor) -> PathSampler:
        if self._sampler is None or self._sampler[0].device != theta.device or not self._sampler[0].equal(theta):
            self._sampler = (theta.clone(), PathSampler(circuit, theta))
        return self._sampler[1]

    def _options(self, y: Tensor) -> Tensor:
        """The option in each layer."""
        return options_of(self.unruled, y).index_select(-1, integers_on(self.rules.diagram.order, y.device))

    def _outputs(self, options: Tensor) -> Tensor:
        """From the options in each layer to y."""
        inverse = integers_on(self._inverse, options.device)
        by_variable = options.flatten(0, -2).index_select(-1, inverse).reshape(options.shape)
        return outputs_of(self.unruled, by_variable)


def _is_one(theta: Tensor) -> bool:
    """Whether all rows are one row, repeated without a copy."""
    return theta.numel() > 0 and all(
        n == 1 or step == 0 for n, step in zip(theta.shape[:-1], theta.stride(), strict=False)
    )


def statistic_cells(whole: OutputSpace, order: Sequence[int]) -> list[list[int]]:
    """For each of these variables, the statistic that each of its options switches on; −1 where there is none."""
    sizes = whole.options_per_item()
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    found = []
    for variable in order:
        if isinstance(whole, Rankings):  # the variable is a place, the option an item
            found.append([item * whole.num_items + variable for item in range(whole.num_items)])
        elif isinstance(whole, Configurations):
            found.append([starts[variable] + option for option in range(sizes[variable])])
        else:
            found.append([-1, variable])
    return found


def options_of(whole: OutputSpace, y: Integer[Tensor, "*batch item"]) -> Int64[Tensor, "*batch variable"]:
    """Outputs as the options of the rules' variables: in a ranking, the item in each place."""
    return y.argsort(-1) if isinstance(whole, Rankings) else y.long()


def outputs_of(whole: OutputSpace, options: Integer[Tensor, "*batch variable"]) -> Integer[Tensor, "*batch item"]:
    """The way back."""
    return options.argsort(-1) if isinstance(whole, Rankings) else options
