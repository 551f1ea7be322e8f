"""What rules amount to, as a command line and a page say it: how much they leave, what they force, which rows break
them, and what valid combinations look like."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, final

import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.recipes import describe_space
from jebm_core.rules.budget import Budget
from jebm_core.rules.compiled import CompiledRules
from jebm_core.rules.data import broken_rules
from jebm_core.rules.explain import effects, fixed_options
from jebm_core.rules.notation.printer import describe
from jebm_core.rules.problem import Problem
from jebm_core.spaces import Ruled
from jebm_core.tables import Examples

MARGINAL_DRAWS = 20_000
"""Draws that shares rest on where rules are checked on draws."""
TOGETHER = "the rules and declarations taken together"
"""What a row breaks that obeys every rule alone."""


@final
@dataclass(frozen=True)
class RuleSummary:
    """How much the rules leave.

    Attributes:
        count: valid combinations of all variables, hidden ones included; exact, unless rules are checked on draws:
            then an estimate with the 95 % interval ``count_low`` … ``count_high``.
        checked: lines of the rules that are checked on draws; nothing where the count is exact.
        everything: combinations without any rule; share: count / everything.
        valid_outputs: valid combinations of the outputs alone.
        forced, impossible: what every valid combination has, and what none has.
        nodes: size of the diagram.
    """

    kind: str
    count: int
    everything: int
    valid_outputs: int
    variables: int
    outputs: int
    conditions: int
    preferences: int
    nodes: int
    forced: tuple[str, ...]
    impossible: tuple[str, ...]
    count_low: int
    count_high: int
    checked: tuple[int, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether the counts are exact."""
        return not self.checked

    @property
    def log_count(self) -> float:
        """log of the count, in nats."""
        return math.log(self.count)

    @property
    def share(self) -> float:
        """Valid combinations as a share of all."""
        return math.exp(math.log(self.count) - math.log(self.everything))


def summarise_rules(compiled: CompiledRules) -> RuleSummary:
    """Count, and what is forced or impossible. Cost: one pass over the diagram."""
    problem = compiled.problem
    everything = math.factorial(problem.outputs) if problem.is_ranking else math.prod(problem.sizes)
    forced, impossible = fixed_options(problem, compiled.diagram)
    checked, total = compiled.checked, compiled.total
    shares = (1.0, 1.0, 1.0) if checked is None else (checked.share, checked.low, checked.high)
    count, low, high = (total if share == 1.0 else int(Fraction(share) * total) for share in shares)
    lines = {problem.rules.rules[d.rule].line for d in (checked.demands if checked else ()) if d.rule >= 0}
    return RuleSummary(
        problem.schema.kind,
        count,
        everything,
        compiled.diagram.count() if checked is None else count,
        len(problem.sizes),
        problem.outputs,
        len(problem.conditions),
        len(problem.preferences),
        compiled.diagram.nodes,
        tuple(forced),
        tuple(impossible),
        low,
        high,
        tuple(sorted(lines)),
    )


@final
@dataclass(frozen=True)
class RuleEffect:
    """One rule, and how many combinations there would be without it."""

    line: int
    rule: str
    count_without: int
    redundant: bool


def rule_effects(compiled: CompiledRules, budget: Budget | None = None) -> tuple[RuleEffect, ...] | None:
    """What each rule does; None where there are too many of them, or they are too entangled for the budget."""
    given = compiled.problem.rules.rules
    found = None if compiled.checked is not None else effects(compiled.problem, budget)
    if found is None:
        return None
    return tuple(
        RuleEffect(given[e.rule].line, describe(given[e.rule]), e.count_without, e.is_redundant(compiled.total))
        for e in found
    )


def space_under(compiled: CompiledRules) -> Ruled:
    """The valid combinations as a space."""
    schema = compiled.problem.schema
    return describe_space(schema.kind, schema.names, schema.options, compiled)  # pyright: ignore[reportReturnType]


def statistic_names(problem: Problem) -> list[str]:
    """What each linear statistic is called: an item, ``slot=option``, or ``item in place n``."""
    schema = problem.schema
    if schema.kind == "configurations":
        return [
            f"{name}={option}" for name, options in zip(schema.names, schema.options, strict=True) for option in options
        ]
    if schema.kind == "rankings":
        return [f"{name} in place {place}" for name in schema.names for place in range(1, len(schema.names) + 1)]
    return list(schema.names)


def rule_marginals(compiled: CompiledRules) -> dict[str, float]:
    """How often each item, option or place occurs among all valid combinations; from draws where rules are checked."""
    space = space_under(compiled)
    if compiled.checked is not None:
        means = space.statistics(_draws(space, MARGINAL_DRAWS, 0)).double().mean(0).tolist()
        return dict(zip(statistic_names(compiled.problem), means, strict=True))
    shares = space.linear_marginals(torch.zeros(1, space.num_statistics, dtype=torch.float64))[0].tolist()
    return dict(zip(statistic_names(compiled.problem), shares, strict=True))


def _draws(space: Ruled, count: int, seed: int) -> Int64[Tensor, "sample item"]:
    """Valid combinations, evenly; what is refused by a rule that is checked is drawn again."""
    even = torch.zeros(1, space.num_statistics, dtype=torch.float64)
    generator, parts, have = torch.Generator().manual_seed(seed), [], 0
    checked = space.rules.checked
    wanted = count if checked is None else math.ceil(1.1 * count / checked.share) + 100
    while have < count:
        drawn = space.linear_sample(even, min(wanted, 2**18), generator=generator)[:, 0].long()
        allowed = space.allows(drawn)
        parts.append(drawn if allowed is None else drawn[allowed])
        have += len(parts[-1])
    return torch.cat(parts)[:count]


def rule_samples(compiled: CompiledRules, count: int, seed: int) -> list[dict[str, Any]]:
    """Valid combinations drawn evenly, in the columns of a table: 0 or 1, options, or ranks from 1."""
    schema, space = compiled.problem.schema, space_under(compiled)
    drawn = _draws(space, count, seed).tolist()
    if schema.kind == "configurations":
        named = ([slot[o] for slot, o in zip(schema.options, row, strict=True)] for row in drawn)
    else:
        named = ([place + 1 for place in row] if schema.kind == "rankings" else row for row in drawn)
    return [dict(zip(schema.columns, row, strict=True)) for row in named]


@final
@dataclass(frozen=True)
class BrokenRule:
    """One rule and how many rows break it; line 0 is `TOGETHER`."""

    line: int
    rule: str
    rows: int


@final
@dataclass(frozen=True)
class RowCheck:
    """Rows held against rules.

    Attributes:
        rows: how many there are.
        rules: the rules that any row breaks, as they stand in the file.
        broken: row numbers as a person sees them, each with the places in ``rules`` of what it breaks.
    """

    rows: int
    rules: tuple[BrokenRule, ...]
    broken: tuple[tuple[int, tuple[int, ...]], ...]


def check_rows(compiled: CompiledRules, examples: Examples) -> RowCheck:
    """Which rows break which rule.

    Raises:
        RuleError: a condition of the rules can't be read from the table.
    """
    broken = broken_rules(compiled, examples)
    named = [(rule.line, describe(rule)) for rule in compiled.problem.rules.rules] + [(0, TOGETHER)]
    times = broken.sum(0)
    kept = [place for place, count in enumerate(times) if count]
    rules = tuple(BrokenRule(*named[place], int(times[place])) for place in kept)
    rows = tuple(
        (examples.table.row_number(position), tuple(number for number, place in enumerate(kept) if line[place]))
        for position, line in zip(examples.keep, broken, strict=True)
        if line.any()
    )
    return RowCheck(len(broken), rules, rows)
