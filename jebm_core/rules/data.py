"""Rules held against data: which rows obey, and what is kept of a table for a fit."""

import numpy as np
import numpy.typing as npt
import torch

from jebm_core.errors import RuleError
from jebm_core.rules.compiled import CompiledRules
from jebm_core.rules.contexts import flags_of_rows
from jebm_core.rules.explain import codes_of, violations
from jebm_core.rules.notation.expressible import shortened
from jebm_core.rules.notation.printer import describe
from jebm_core.tables import Examples, Note
from jebm_core.tables.records import listed


def flags_of_table(rules: CompiledRules, examples: Examples) -> npt.NDArray[np.bool_]:
    """Whether each condition of the rules holds, [kept row, condition]. Raises as `flags_of_rows`."""
    return flags_of_rows(rules, examples.table.part(examples.keep))


def broken_rules(rules: CompiledRules, examples: Examples) -> npt.NDArray[np.bool_]:
    """Which kept rows break which rule in their context, [row, rule], the last column being the declarations.

    A row may obey every rule taken alone and still be invalid, where hidden variables can't satisfy all; such a row
    breaks the last column.
    """
    problem = rules.problem
    broken = violations(problem, examples.outputs.values, flags_of_table(rules, examples))
    together = ~obeyed(rules, examples.outputs.values)
    broken[:, -1] |= together & ~broken.any(1)
    return broken


def checked_note(rules: CompiledRules) -> tuple[Note, ...]:
    """What a person has to know where rules are checked instead of summed."""
    checked = rules.checked
    if checked is None:
        return ()
    lines = sorted({rules.problem.rules.rules[d.rule].line for d in checked.demands if d.rule >= 0})
    shares = {name: f"{100 * getattr(checked, name):.3g}" for name in ("share", "low", "high")}
    note = Note(
        "{source}: the rules in lines {lines} are too entangled to be summed exactly; every combination is checked "
        "against them instead. About {share} % of what the other rules allow obeys them (95 % interval {low} % to "
        "{high} %), so counts, and probabilities under this generator, are estimates.",
        {"source": rules.problem.rules.source, "lines": listed(lines), **shares},
    )
    return (note,)


def obeyed(rules: CompiledRules, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether outputs, [row, item] as tables hold them, obey the rules of all contexts, checked ones included."""
    codes = codes_of(rules.problem, values)
    return rules.diagram.contains(codes) & rules.allows(torch.from_numpy(codes)).numpy()


def keep_valid(rules: CompiledRules, examples: Examples) -> tuple[Examples, tuple[Note, ...]]:
    """The rows that obey the rules that apply to them, with a note that counts the others.

    Raises:
        RuleError: no row does; names the rule that most rows break.
    """
    if not rules.problem.conditions and obeyed(rules, examples.outputs.values).all():
        return examples, ()  # which rule a row breaks is the costly question
    broken = broken_rules(rules, examples)
    bad: npt.NDArray[np.bool_] = np.logical_or.reduce(broken, axis=1)
    if not bad.any():
        return examples, ()
    worst = int(broken.sum(0).argmax())
    given = rules.problem.rules
    said = {"count": int(bad.sum()), "broken": int(broken[:, worst].sum())}
    if bad.all() and worst < len(given.rules):
        raise RuleError(
            "{source}: none of the {count} rows of {file} obeys the rules; most often broken, in {broken} rows, is "
            "{rule}. Correct the rule, or the columns that are read.",
            source=given.source,
            file=examples.table.name,
            rule=shortened(describe(given.rules[worst])),
            **said,
        )
    if bad.all():
        raise RuleError(
            "{source}: none of the {count} rows of {file} obeys the rules; most often broken, in {broken} rows, is "
            "what they declare or say together. Correct the declarations, or the columns that are read.",
            source=given.source,
            file=examples.table.name,
            **said,
        )
    rows = {"rows": listed([examples.table.row_number(position) for position in examples.keep[bad]])}
    if worst < len(given.rules):
        note = Note(
            "{count} rows break the rules and were left out (rows {rows}); most often broken, in {broken} rows: "
            "{rule}.",
            {**said, **rows, "rule": shortened(describe(given.rules[worst]))},
        )
    else:
        note = Note(
            "{count} rows break the rules and were left out (rows {rows}); most often broken, in {broken} rows, is "
            "what the rules declare or say together.",
            {**said, **rows},
        )
    return examples.part(~bad), (note,)
