"""Bound rules, compiled: what is valid, how many that are, and the diagram that weighted rules are summed over."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from jebm_core.errors import RuleError
from jebm_core.rules.bound import Bound, Every, Negation, Some, Takes, variables_of
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.compiler import Compiler, RuleTooLarge, order_for
from jebm_core.rules.diagram import Diagram, without
from jebm_core.rules.dnnf import Dnnf
from jebm_core.rules.logic import NARROW, advises_d4, compile_logic, prefers_circuit
from jebm_core.rules.problem import Demand, Problem
from jebm_core.rules.relaxing import Checked, checked, relax


@final
@dataclass(frozen=True, eq=False)
class CompiledRules:
    """Rules as diagrams.

    Attributes:
        diagram: what is valid, over the outputs alone; rules that hold in some contexts only are left out of it. A
            d-DNNF where no diagram could hold rules that are plain logic.
        total: how many combinations of *all* variables are valid, hidden ones included.
        checked: demands that no diagram could hold, which every combination is checked against instead; None where
            all are exact. ``diagram`` and ``total`` leave them out.
        weighted: over outputs, then one variable a condition and one a preference, numbered by ``condition_variable``
            and ``preference_variable``; None where the rules are plain.
        seconds: what compiling took.
    """

    problem: Problem
    diagram: Diagram | Dnnf
    total: int
    weighted: Diagram | None
    seconds: float
    checked: Checked | None = None

    def allows(self, options: Integer[Tensor, "*batch variable"]) -> Bool[Tensor, "*batch"]:
        """Whether combinations obey the demands that are checked; options of the outputs in their own order."""
        if self.checked is None:
            return torch.ones(options.shape[:-1], dtype=torch.bool, device=options.device)
        return self.checked.obeyed_by(options)

    def condition_variable(self, number: int) -> int:
        """The variable of a condition in ``weighted``: 1 where it holds."""
        return len(self.problem.sizes) + number

    def preference_variable(self, number: int) -> int:
        """The variable of a preference in ``weighted``: 1 where its formula holds."""
        return len(self.problem.sizes) + len(self.problem.conditions) + number


def compile_rules(
    problem: Problem, budget: Budget | None = None, *, leave_out: Collection[int] | None = None
) -> CompiledRules:
    """Compile bound rules. Where they are too entangled for one diagram, plain logic becomes a d-DNNF with the extra d4
    (`jebm_core.rules.logic`); of others, those that don't fit are checked on every combination instead
    (`jebm_core.rules.relaxing`).

    Args:
        leave_out: places of the demands that are to be checked, where an earlier compilation settled that; with none,
            that all are exact.

    Raises:
        RuleError: nothing is valid – with a set of rules that can't hold together – or the budget was exceeded, with
            the rules at which that happened and what to do.
        Cancelled: the budget's ``should_stop`` said so.
    """
    started = time.monotonic()
    budget = budget or Budget()
    if leave_out:
        found = _relaxed(problem, leave_out, budget, started)
        if found is not None:
            return found
    check_order_cycles(problem)
    attempts = (_as_narrow, _as_circuit, _as_diagrams) if prefers_circuit(problem) else (_as_diagrams, _as_circuit)
    failures = []
    for attempt in attempts:
        try:
            return attempt(problem, budget, started)
        except RuleTooLarge as error:
            failures.append(error)
    found = _relaxed(problem, None, budget, started) if leave_out is None else None
    if found is None:
        failure = max(reversed(failures), key=lambda error: len(error.rules))
        raise _too_large(problem, failure) from failure
    return found


def _as_diagrams(problem: Problem, budget: Budget, started: float) -> CompiledRules:
    always = [demand for demand in problem.demands if demand.condition is None]
    try:
        whole = _conjunction(problem.sizes, [(d.formula, d.rule) for d in always], (), problem, budget)
        diagram = _projected(whole, problem, budget)
        weighted = None if problem.is_plain else _weighted(problem, budget)
    except TooLarge as error:  # while hidden variables were projected away, which no rule is to blame for
        raise RuleTooLarge(frozenset(), error.reason) from error
    _require_some(diagram, problem, budget)
    return CompiledRules(problem, diagram, whole.count(), weighted, time.monotonic() - started)


def _as_narrow(problem: Problem, budget: Budget, started: float) -> CompiledRules:
    return _as_diagrams(problem, budget.smaller(width=NARROW, seconds=budget.seconds / 4), started)


def _as_circuit(problem: Problem, budget: Budget, started: float) -> CompiledRules:
    circuit = compile_logic(problem, budget)
    _require_some(circuit, problem, budget)
    return CompiledRules(problem, circuit, circuit.count(), None, time.monotonic() - started)


def _require_some(found: Diagram | Dnnf, problem: Problem, budget: Budget) -> None:
    if found.root == 0:
        from jebm_core.rules.explain import conflict_error

        raise conflict_error(problem, [demand for demand in problem.demands if demand.condition is None], budget)


def _relaxed(
    problem: Problem, leave_out: Collection[int] | None, budget: Budget, started: float
) -> CompiledRules | None:
    """With demands that are checked; None where that can't be done: under weights, conditions or hidden variables, or
    where no draw obeys them all."""
    if not problem.is_plain or problem.outputs < len(problem.sizes):
        return None
    found = relax(problem, leave_out, budget)
    if found is None or found[0].root == 0:
        return None
    demands = checked(problem, *found)
    if demands is None:
        return None
    return CompiledRules(problem, found[0], found[0].count(), None, time.monotonic() - started, demands)


def _conjunction(
    sizes: Sequence[int],
    demands: Sequence[tuple[Bound, int]],
    after: Sequence[tuple[int, frozenset[int]]],
    problem: Problem,
    budget: Budget,
) -> Diagram:
    """All demands as one diagram; each variable of ``after`` comes behind all that it depends on."""
    places = problem.outputs if problem.is_ranking else 0
    late = {variable for variable, _ in after}
    if places:
        order = [*(v for v in range(places, len(sizes)) if v not in late), *range(places)]
    else:
        order = [variable for variable in order_for(sizes, demands) if variable not in late]
    for variable, depends in after:
        rank = {v: place for place, v in enumerate(order)}
        last = max((rank[v] for v in depends), default=-1) if not places else len(order) - 1
        order.insert(last + 1, variable)
    return Compiler(sizes, order, budget, places=places).conjunction(demands)


def _projected(diagram: Diagram, problem: Problem, budget: Budget) -> Diagram:
    """Without the hidden variables."""
    rank = [0] * (max(diagram.order, default=0) + 1)
    for place, variable in enumerate(diagram.order):
        rank[variable] = place
    for variable in reversed(diagram.order):
        if problem.outputs <= variable < len(problem.sizes):
            diagram = without(diagram, variable, rank, budget)
    return diagram


def _weighted(problem: Problem, budget: Budget) -> Diagram:
    """Over outputs, conditions and preferences. The variable of a preference is 1 exactly where its formula holds."""
    count = len(problem.sizes)
    sizes = [*problem.sizes, *[2] * (len(problem.conditions) + len(problem.preferences))]
    demands: list[tuple[Bound, int]] = []
    for demand in problem.demands:
        demands.append((_where(demand, count), demand.rule))
    after = []
    for number, preference in enumerate(problem.preferences, count + len(problem.conditions)):
        holds = Takes(number, frozenset((1,)))
        both = Some((Negation(holds), preference.formula)), Some((holds, Negation(preference.formula)))
        demands.append((Every(both), preference.rule))
        after.append((number, variables_of(preference.formula)))
    return _projected(_conjunction(sizes, demands, after, problem, budget), problem, budget)


def _where(demand: Demand, count: int) -> Bound:
    if demand.condition is None:
        return demand.formula
    return Some((Takes(count + demand.condition, frozenset((0,))), demand.formula))


def check_order_cycles(problem: Problem) -> None:
    """Refuse rules that put every item of a circle above the next.

    Raises:
        RuleError: names the circle.
    """
    from jebm_core.rules.bound import Before

    above: dict[int, set[int]] = {}
    for demand in problem.demands:
        if isinstance(demand.formula, Before) and demand.condition is None:
            above.setdefault(demand.formula.first, set()).add(demand.formula.second)
    cycle = _cycle(above)
    if cycle:
        names = [problem.schema.names[item] for item in cycle]
        raise RuleError(
            "{source}: the order rules go in a circle: {circle}. Take one of them out.",
            source=problem.rules.source,
            circle=" above ".join([*names, names[0]]),
        )


def _cycle(above: dict[int, set[int]]) -> list[int]:
    """A circle in a directed graph, or nothing."""
    done: set[int] = set()
    for start in above:
        path, waiting = [start], [iter(sorted(above[start]))]
        while waiting:
            following = next(waiting[-1], None)
            if following is None:
                done.add(path.pop())
                waiting.pop()
            elif following in path:
                return path[path.index(following) :]
            elif following not in done:
                path.append(following)
                waiting.append(iter(sorted(above.get(following, ()))))
    return []


def _too_large(problem: Problem, error: RuleTooLarge) -> RuleError:
    if advises_d4(problem):
        return RuleError(
            "{source}: the rules are too entangled for a diagram ({reason}). Since they are plain logic, the extra d4 "
            "can sum them all the same: run pip install '.[d4]' in the folder of jebm.",
            source=problem.rules.source,
            reason=error.reason,
        )
    rules = sorted(rule for rule in error.rules if rule >= 0)
    lines = [problem.rules.rules[rule].line for rule in rules][:8]
    shown = ", ".join(str(line) for line in lines if line)
    if not shown:
        return RuleError(
            "{source}: the rules are too entangled to be summed exactly ({reason}). Leave out wide rules (totals with "
            "many digits, large counts) or rules that join distant parts.",
            source=problem.rules.source,
            reason=error.reason,
        )
    return RuleError(
        "{source}: the rules are too entangled to be summed exactly ({reason}), seen at line {lines}. Leave out wide "
        "rules (totals with many digits, large counts) or rules that join distant parts.",
        source=problem.rules.source,
        reason=error.reason,
        lines=shown + (", …" if len(rules) > 8 else ""),
    )
