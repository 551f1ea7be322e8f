"""Distributions over rules that weigh and that depend on x.

    q(y|x) ∝ exp(⟨η(x), φ(y)⟩ + Σ_j w_j c_j(x) 1[formula j holds for y]) · 1[y obeys every rule whose condition holds],

with c the conditions of x (1 where a preference has none). Conditions and preferences are layers of the same diagram:
a condition's layer has weight −∞ on what does not apply, and in a preference's layer only the option that tells the
truth leads on. So normalisation, draws, marginals and every tilt stay exact, in one pass, for all contexts at once.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from jebm_core.distributions import Background, ReferenceDistribution, whole_background
from jebm_core.rules.circuit import Circuit
from jebm_core.rules.compiled import CompiledRules
from jebm_core.spaces.factored import PointStatistics
from jebm_core.spaces.ruled import Ruled, options_of, outputs_of, statistic_cells


@final
class WeightedRules:
    """Rules with conditions and preferences as one circuit. Its statistics are those of the outputs, then two a
    condition (it fails, it holds), then one a preference."""

    def __init__(self, space: Ruled) -> None:
        rules = space.rules
        if rules.weighted is None:
            raise AssertionError("plain rules need no weights: their space says it all")
        self.space, self.problem = space, rules.problem
        outputs, statistics = rules.problem.outputs, space.num_statistics
        self.conditions, self.preferences = len(rules.problem.conditions), len(rules.problem.preferences)
        self.kinds = tuple(_kind(variable, rules, outputs) for variable in rules.weighted.order)
        of_outputs = iter(statistic_cells(space.whole, _only_outputs(rules, outputs)))
        cells: list[list[int]] = []
        for kind, number in self.kinds:
            if kind == "output":
                cells.append(next(of_outputs))
            elif kind == "condition":
                cells.append([statistics + 2 * number, statistics + 2 * number + 1])
            else:
                cells.append([-1, statistics + 2 * self.conditions + number])
        self.circuit = Circuit(rules.weighted, cells, statistics + 2 * self.conditions + self.preferences)
        places = [layer for layer, (kind, _) in enumerate(self.kinds) if kind == "output"]
        by_variable = {self.kinds[layer][1]: layer for layer in places}
        self.output_layers = tuple(by_variable[variable] for variable in range(outputs))

    def base_weights(self) -> tuple[Float[Tensor, " statistic"], Float[Tensor, "condition statistic"]]:
        """(log-weights of options in every context, what each condition adds where it holds)."""
        always = torch.zeros(self.space.num_statistics)
        where = torch.zeros(self.conditions, self.space.num_statistics)
        sizes = self.space.options_per_item()
        starts = [sum(sizes[:variable]) for variable in range(len(sizes))]
        binary = self.space.num_statistics == self.space.num_items
        for weight in self.problem.weights:
            place = weight.variable if binary else starts[weight.variable] + weight.option
            target = always if weight.condition is None else where[weight.condition]
            target[place] += weight.value
        return always, where

    def preference_weights(self) -> tuple[Float[Tensor, " preference"], Float[Tensor, "condition preference"]]:
        """The same for preferences."""
        always = torch.zeros(self.preferences)
        where = torch.zeros(self.conditions, self.preferences)
        for number, preference in enumerate(self.problem.preferences):
            target = always if preference.condition is None else where[preference.condition]
            target[number] += preference.weight
        return always, where


def _kind(variable: int, rules: CompiledRules, outputs: int) -> tuple[str, int]:
    if variable < outputs:
        return "output", variable
    number = variable - len(rules.problem.sizes)
    conditions = len(rules.problem.conditions)
    return ("condition", number) if number < conditions else ("preference", number - conditions)


def _only_outputs(rules: CompiledRules, outputs: int) -> Sequence[int]:
    return [variable for variable in (rules.weighted.order if rules.weighted else ()) if variable < outputs]


@final
class WeightedDistribution(ReferenceDistribution):
    """q(·|x) over weighted rules, and each of its tilts.

    Args:
        eta: log-weights of the outputs' statistics.
        flags: whether each condition holds.
        preferred: log-weights of the preferences.
    """

    def __init__(
        self,
        rules: WeightedRules,
        eta: Float[Tensor, "batch statistic"],
        flags: Bool[Tensor, "batch condition"],
        preferred: Float[Tensor, "batch preference"],
    ) -> None:
        self.space, self.rules = rules.space, rules
        self.eta, self.flags, self.preferred = eta, flags, preferred
        never = torch.full_like(eta[:, :1], -math.inf)
        choice = torch.stack([torch.where(flags, never, 0.0), torch.where(flags, 0.0, never)], -1).flatten(1)
        self._theta = torch.cat([eta, choice.to(eta.dtype), preferred], -1)

    @cached_property
    def log_partition(self) -> Float[Tensor, " batch"]:
        """log of what the weights add up to."""
        return self.rules.circuit.log_partition(self._theta)

    def log_prob(self, y: Integer[Tensor, "*sample batch item"]) -> Float[Tensor, "*sample batch"]:
        valid, holds = self._follow(y, self.flags)
        weight = (self.space.statistics(y) * self.eta).sum(-1) + (holds * self.preferred).sum(-1)
        return torch.where(valid, weight - self.log_partition, -math.inf)

    def log_prob_of(
        self, points: Integer[Tensor, "point item"], phi: PointStatistics | None = None
    ) -> Float[Tensor, "point batch"]:
        every = points.unsqueeze(1).expand(-1, self.eta.shape[0], -1)
        valid, holds = self._follow(every, self.flags)
        phi = self.space.statistics(points) if phi is None else phi
        weight = phi @ self.eta.T + (holds * self.preferred).sum(-1)
        return torch.where(valid, weight - self.log_partition, -math.inf)

    def added_by_preferences(self, points: Integer[Tensor, "point item"]) -> Float[Tensor, "point batch preference"]:
        """What each preference adds to log q of the same points in every context, before q is normalised; in nats."""
        every = points.unsqueeze(1).expand(-1, self.eta.shape[0], -1)
        return self._follow(every, self.flags)[1] * self.preferred

    def sample(
        self, num_samples: int, *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        drawn = self.rules.circuit.sample(self._theta, num_samples, generator=generator)
        return outputs_of(self.space.whole, drawn[..., list(self.rules.output_layers)])

    def log_normalizer(self, theta: Float[Tensor, "batch statistic"]) -> Float[Tensor, " batch"]:
        return self.tilt(theta).log_partition - self.log_partition

    def tilt(self, theta: Float[Tensor, "batch statistic"]) -> "WeightedDistribution":
        return WeightedDistribution(self.rules, self.eta + theta, self.flags, self.preferred)

    def marginals(self) -> Float[Tensor, "batch statistic"]:
        return self.rules.circuit.marginals(self._theta)[:, : self.space.num_statistics]

    def is_product(self) -> bool:
        return False

    def background(self) -> Background:
        return whole_background(self, self.eta)

    def _follow(
        self, y: Integer[Tensor, "*sample batch item"], flags: Bool[Tensor, "batch condition"]
    ) -> tuple[Bool[Tensor, "*sample batch"], Float[Tensor, "*sample batch preference"]]:
        """Walk the diagram: is y valid in its context, and which preferences hold."""
        inside = self.space.whole.contains(y)
        options = torch.where(inside.unsqueeze(-1), options_of(self.space.whole, y), 0)
        node = torch.full(y.shape[:-1], self.rules.circuit.diagram.root, dtype=torch.int64, device=y.device)
        holds: list[Tensor] = [torch.zeros_like(inside)] * self.rules.preferences
        for (kind, number), layer in zip(self.rules.kinds, self.rules.circuit.layers(y.device), strict=True):
            if kind == "output":
                option = options[..., number]
            elif kind == "condition":
                option = flags[:, number].long().expand(node.shape)
            else:  # all that it depends on lies above: one of the two leads on, and tells whether it holds
                option = (layer.by_option[1][node] > 0).long()
                holds[number] = option > 0
            node = layer.children.view(-1)[node * len(layer.by_option) + option]
        found = torch.stack(holds, -1) if holds else inside.new_zeros((*inside.shape, 0))
        return inside & (node == 1), found.to(self.eta.dtype)


def flags_of(inputs: Float[Tensor, "batch width"], conditions: int) -> Bool[Tensor, "batch condition"]:
    """The conditions, which stand last among a reference's inputs as 0 and 1. A mix of two rows has those of the nearer
    one."""
    return inputs[:, inputs.shape[1] - conditions :] > 0.5
