"""Rules that are too entangled for one diagram: some are left out of it, and every draw is checked against them.

With D the diagram of the others, V ⊆ D what obeys all and u the uniform distribution on D,

    |V| = α |D|,    α = P_{y∼u}(y ∈ V),

where α is estimated from independent draws with a Clopper–Pearson interval. Membership stays exact; counts and
everything that is summed over V become estimates.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Integer
from scipy.stats import beta
from torch import Tensor

from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.checking import holds
from jebm_core.rules.circuit import Circuit
from jebm_core.rules.compiler import Compiler, order_for
from jebm_core.rules.diagram import Diagram, combine, everything
from jebm_core.rules.problem import Demand, Problem

RELAXED_WIDTH = 20_000
"""Nodes of one layer at most; what exceeds it is checked instead."""
_SECONDS = 20.0
_DRAWS = 2**16
_ENOUGH = 400
"""Draws that obey all rules, from which the estimate is good to a tenth."""
_ROUNDS = 32


@final
@dataclass(frozen=True)
class Checked:
    """The demands that a diagram leaves out.

    Attributes:
        places: which of the problem's demands.
        share, low, high: α and its 95 % interval.
    """

    demands: tuple[Demand, ...]
    places: tuple[int, ...]
    share: float
    low: float
    high: float

    def obeyed_by(self, options: Integer[Tensor, "*batch variable"]) -> Bool[Tensor, "*batch"]:
        """Whether combinations obey these demands; options of the variables in their own order."""
        found = torch.ones(options.shape[:-1], dtype=torch.bool, device=options.device)
        for demand in self.demands:
            found &= holds(demand.formula, options)
        return found


def relax(problem: Problem, leave_out: Collection[int] | None, budget: Budget) -> tuple[Diagram, list[int]] | None:
    """A diagram of as many demands as fit, the small ones first, and the places of the others; None where not even
    the outputs alone fit.

    Args:
        leave_out: places of the demands to leave out, where that was settled before.
    """
    sizes = problem.sizes
    places = problem.outputs if problem.is_ranking else 0
    demands = [(d.formula, d.rule) for d in problem.demands]
    order = list(range(places)) if places else order_for(sizes, demands)
    # What was settled before has to come out the same on a slower machine; width alone decides then.
    own = budget.smaller(width=RELAXED_WIDTH, seconds=_SECONDS if leave_out is None else budget.seconds)
    compiler = Compiler(sizes, order, own, places=places)
    parts: list[tuple[int, Diagram]] = []
    open_places: list[int] = []
    for place, (formula, _) in enumerate(demands):
        if leave_out is not None and place in leave_out:
            open_places.append(place)
            continue
        try:
            parts.append((place, compiler.diagram(formula)))
        except TooLarge:
            open_places.append(place)
    whole = everything((), ())
    try:
        finished = compiler.finished(whole)
    except TooLarge:
        return None
    for place, part in sorted(parts, key=lambda entry: entry[1].nodes):
        try:
            more = combine(whole, part, "and", compiler.rank, own)
            finished, whole = compiler.finished(more), more
        except TooLarge:
            open_places.append(place)
    return finished, sorted(open_places)


def checked(problem: Problem, diagram: Diagram, places: Sequence[int]) -> Checked | None:
    """The demands left out, with the share of the diagram's combinations that obey them; None where no draw did."""
    demands = tuple(problem.demands[place] for place in places)
    none = [[-1] * problem.sizes[variable] for variable in diagram.order]
    circuit = Circuit(diagram, none, 0)
    even = torch.zeros(1, 0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    back = torch.tensor(sorted(range(len(diagram.order)), key=lambda layer: diagram.order[layer]))
    drawn = obeyed = 0
    for _ in range(_ROUNDS):
        options = circuit.sample(even, _DRAWS, generator=generator)[:, 0].index_select(-1, back)
        for demand in demands:  # what broke one rule need not be held against the next: there may be thousands
            options = options[holds(demand.formula, options)]
        drawn, obeyed = drawn + _DRAWS, obeyed + len(options)
        if obeyed >= _ENOUGH:
            break
    if obeyed == 0:
        return None
    high = 1.0 if obeyed == drawn else float(beta.ppf(0.975, obeyed + 1, drawn - obeyed))
    return Checked(demands, tuple(places), obeyed / drawn, float(beta.ppf(0.025, obeyed, drawn - obeyed + 1)), high)
