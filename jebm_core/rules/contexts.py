"""The contexts of a table under rules that hold in some contexts only: which conditions hold, and that something is
possible wherever they do."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from jebm_core.errors import RuleError
from jebm_core.rules.compiled import CompiledRules
from jebm_core.rules.conditions import condition_flags
from jebm_core.rules.diagram import Diagram
from jebm_core.tables import Table
from jebm_core.tables.records import listed


def flags_of_rows(rules: CompiledRules, table: Table) -> npt.NDArray[np.bool_]:
    """Whether each condition of the rules holds, [row, condition].

    Raises:
        RuleError: a feature that the table lacks, or rows whose conditions together leave no combination.
    """
    problem = rules.problem
    flags = condition_flags(problem.conditions, table.frame, source=problem.rules.source)
    if rules.weighted is None or not flags.shape[1]:
        return flags
    kinds, kind = np.unique(flags, axis=0, return_inverse=True)
    for place, holds in enumerate(kinds):
        fixed = {rules.condition_variable(number): int(flag) for number, flag in enumerate(holds)}
        if is_possible(rules.weighted, fixed):
            continue
        positions = np.flatnonzero(kind.reshape(-1) == place)
        lines = {problem.rules.rules[d.rule].line for d in problem.demands if d.condition is not None
                 and holds[d.condition]}  # fmt: skip
        raise RuleError(
            "{source}: in {count} rows of {file} (rows {rows}) the rules whose conditions hold there leave no "
            "combination; they are in lines {lines}. Change one of them, or its condition.",
            line=min(lines, default=0),
            source=problem.rules.source,
            count=len(positions),
            file=table.name,
            rows=listed([table.row_number(int(position)) for position in positions]),
            lines=listed(sorted(lines)),
        )
    return flags


def is_possible(diagram: Diagram, fixed: Mapping[int, int]) -> bool:
    """Whether a diagram holds any combination in which these variables have these options. Cost: one pass."""
    reached = np.array([diagram.root])
    for variable, table in zip(diagram.order, diagram.children, strict=True):
        onward = table[reached] if variable not in fixed else table[reached, fixed[variable]]
        reached = np.unique(onward[onward > 0])
        if not len(reached):
            return False
    return diagram.root == 1
