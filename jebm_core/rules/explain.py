"""Why rules and data disagree, and what rules do: conflicts, violations, redundant and forcing rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from jebm_core.errors import Phrase, RuleError
from jebm_core.rules.bound import variables_of
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.checking import holds
from jebm_core.rules.compiler import Compiler, RuleTooLarge, order_for
from jebm_core.rules.diagram import Diagram, combine, everything, without
from jebm_core.rules.dnnf import Dnnf
from jebm_core.rules.language import Rule
from jebm_core.rules.places import place_of
from jebm_core.rules.problem import Demand, Problem

MAX_EXPLAINED = 400
"""Rules up to which the effect of each is computed."""
_MOST_NAMED = 6


def codes_of(problem: Problem, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Outputs as the options of variables: for rankings the item in each place, else the same."""
    return values.argsort(axis=1) if problem.is_ranking else values


def violations(
    problem: Problem, values: npt.NDArray[np.int64], flags: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Which rows break which rule, [row, rule], and in a last column what a declaration says.

    What a hidden variable could still mend breaks nothing.

    Args:
        values: outputs as tables hold them, [row, item].
        flags: which conditions hold in each row; without them all do.
    """
    broken = np.zeros((len(values), len(problem.rules.rules) + 1), dtype=bool)
    codes = codes_of(problem, values)
    compiler = _compiler(problem)
    options = torch.from_numpy(codes)
    for demand in problem.demands:
        if problem.is_ranking or all(v < problem.outputs for v in variables_of(demand.formula)):
            here = ~holds(demand.formula, options).numpy()
        else:
            here = ~_visible(compiler.diagram(demand.formula), problem, compiler).contains(codes)
        if demand.condition is not None and flags is not None:
            here &= flags[:, demand.condition]
        broken[:, demand.rule] |= here
    return broken


def possible_options(diagram: Diagram | Dnnf) -> dict[int, npt.NDArray[np.bool_]]:
    """For each variable, which of its options occur in anything valid."""
    if isinstance(diagram, Dnnf):
        return diagram.possible_options()
    return {variable: (table != 0).any(0) for variable, table in zip(diagram.order, diagram.children, strict=True)}


def fixed_options(problem: Problem, diagram: Diagram | Dnnf) -> tuple[list[str], list[str]]:
    """(what every valid combination has, what none has), named ``item``, ``slot=option`` or ``item in place n``."""
    schema, possible = problem.schema, possible_options(diagram)
    forced, impossible = [], []
    for variable in range(problem.outputs):
        options = possible[variable]
        if schema.kind == "subsets":
            if not options.all():
                (forced if options[1] else impossible).append(schema.names[variable])
            continue
        for option in range(len(options)):
            if schema.kind == "rankings":
                name = f"{schema.names[option]} in place {variable + 1}"
            else:
                name = f"{schema.names[variable]}={schema.options[variable][option]}"
            if not options[option]:
                impossible.append(name)
            elif options.sum() == 1 and len(options) > 1:
                forced.append(name)
    return forced, impossible


@final
@dataclass(frozen=True)
class Effect:
    """What one rule does: how many combinations there would be without it."""

    rule: int
    count_without: int

    def is_redundant(self, count: int) -> bool:
        """Whether the others say it all already."""
        return self.count_without == count


def effects(problem: Problem, budget: Budget | None = None) -> list[Effect] | None:
    """The effect of every rule that holds in all contexts; None where there are too many, or they are too entangled.

    Every rule is left out once: the product of those before it with the product of those after it.
    """
    demands = [demand for demand in problem.demands if demand.condition is None]
    if len(demands) > MAX_EXPLAINED:
        return None
    budget, compiler = budget or Budget(seconds=10.0), _compiler(problem)
    try:
        parts = [compiler.diagram(demand.formula) for demand in demands]
        before, after = [everything((), ())], [everything((), ())]
        for part, back in zip(parts, reversed(parts), strict=True):
            before.append(combine(before[-1], part, "and", compiler.rank, budget))
            after.append(combine(after[-1], back, "and", compiler.rank, budget))
        found = []
        for place, demand in enumerate(demands):
            if demand.rule >= 0:
                rest = combine(before[place], after[len(parts) - place - 1], "and", compiler.rank, budget)
                found.append(Effect(demand.rule, compiler.finished(rest).count()))
    except (TooLarge, RuleTooLarge):
        return None
    return found


def conflict(problem: Problem, demands: Sequence[Demand], budget: Budget) -> list[Demand]:
    """Demands that can't hold together, none of which can be left out of the set.

    Source: Junker, *QuickXplain: preferred explanations and relaxations for over-constrained problems*, AAAI 2004.
    """
    compiler = _compiler(problem)
    parts = {place: compiler.diagram(demand.formula) for place, demand in enumerate(demands)}

    def fails(chosen: Sequence[int]) -> bool:
        product = everything((), ())
        for place in sorted(chosen, key=lambda p: len(parts[p].order)):
            product = combine(product, parts[place], "and", compiler.rank, budget)
            if product.root == 0:
                return True
        return compiler.finished(product).root == 0

    def search(background: list[int], added: bool, candidates: list[int]) -> list[int]:
        if added and fails(background):
            return []
        if len(candidates) == 1:
            return candidates
        half = len(candidates) // 2
        first, second = candidates[:half], candidates[half:]
        of_second = search(background + first, bool(first), second)
        of_first = search(background + of_second, bool(of_second), first)
        return of_first + of_second

    return [demands[place] for place in sorted(search([], False, list(parts)))]


def conflict_error(problem: Problem, demands: Sequence[Demand], budget: Budget) -> RuleError:
    """The sentence for rules that leave nothing, with the rules that can't hold together."""
    try:
        guilty = conflict(problem, demands, budget)
    except (TooLarge, RuleTooLarge):
        return RuleError(
            "{source}: no combination obeys all the rules. Relax some of them.", source=problem.rules.source
        )
    rules = [problem.rules.rules[place] for place in sorted({demand.rule for demand in guilty if demand.rule >= 0})]
    if not rules:
        return RuleError(
            "{source}: no combination obeys what is declared. Declare further options.", source=problem.rules.source
        )
    if len(rules) == 1:
        return RuleError(
            "{place}: no combination obeys this rule: {rule}. Change it, or take it out.",
            **place_of(rules[0], problem.rules.source),
            rule=_shown(rules[0]),
        )
    return RuleError(
        "{source}: no combination obeys all the rules; these {count} can't hold together: {rules}. Change or remove "
        "one of them.",
        line=rules[0].line,
        source=problem.rules.source,
        count=len(rules),
        rules=_listed(rules),
    )


def _listed(rules: Sequence[Rule]) -> Phrase:
    """The first rules, each with its line if it has one."""
    shown: dict[str, object] = {}
    for number, rule in enumerate(rules[:_MOST_NAMED]):
        values = {"line": rule.line, "rule": _shown(rule)}
        shown[f"rule_{number}"] = Phrase("line {line}: {rule}", values) if rule.line else values["rule"]
    template = "; ".join(f"{{{key}}}" for key in shown) + ("; …" if len(rules) > _MOST_NAMED else "")
    return Phrase(template, shown)


def _shown(rule: Rule) -> str:
    from jebm_core.rules.notation.expressible import shortened
    from jebm_core.rules.notation.printer import describe

    return shortened(describe(rule))


def _compiler(problem: Problem) -> Compiler:
    demands = [(demand.formula, demand.rule) for demand in problem.demands]
    places = problem.outputs if problem.is_ranking else 0
    order = list(range(places)) if places else order_for(problem.sizes, demands)
    return Compiler(problem.sizes, order, Budget(), places=places)


def _visible(diagram: Diagram, problem: Problem, compiler: Compiler) -> Diagram:
    for variable in diagram.order:
        if variable >= problem.outputs:
            diagram = without(diagram, variable, compiler.rank, compiler.budget)
    return diagram
