"""A person's list of combinations, read for a model: what can be scored, and what is wrong with each other row."""

from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from jebm_core.errors import TableError
from jebm_core.evaluation.candidates import outcome_place
from jebm_core.fitted import FittedModel
from jebm_core.rules.bound import variables_of
from jebm_core.rules.compiled import CompiledRules
from jebm_core.rules.contexts import flags_of_rows
from jebm_core.rules.data import obeyed
from jebm_core.rules.explain import violations
from jebm_core.rules.notation.expressible import shortened
from jebm_core.rules.notation.printer import describe
from jebm_core.spaces import Ruled
from jebm_core.tables import Table
from jebm_core.tables.row_errors import RowError, readable_rows, wrong_rows


@final
@dataclass(frozen=True)
class CandidateList:
    """Combinations of a table.

    Attributes:
        y: of the rows at ``keep``; an outcome's slot holds an option that the rules allow.
        allowed: whether the rules do; without, a row has probability 0 and its errors say which rule it breaks.
        errors: by row: cells that can't be read, then rules that are broken.
        own: whether the table has every feature of the model, so that each row has a context of its own.
        unused: columns that the model has no use for.
    """

    y: Int64[Tensor, "candidate item"]
    keep: npt.NDArray[np.intp]
    allowed: Bool[Tensor, " candidate"]
    errors: tuple[RowError, ...]
    own: bool
    unused: tuple[str, ...]


def read_list(model: FittedModel, table: Table, *, outcome: tuple[str, str] | None = None) -> CandidateList:
    """Read every row that can be read, and say of each other one, and of each that breaks a rule, what is wrong.

    Nothing is repaired: a row with a wrong cell is not scored. Rules with a condition are held against a row's own
    features where the table has them; elsewhere only those that hold everywhere are.

    Args:
        outcome: a slot and its option; the list need not have the slot's column, and it isn't read.

    Raises:
        TableError: a missing column, or one that can't be read at all.
        RuleError: rows whose conditions leave no combination.
        SpecError: an unknown outcome.
    """
    schema, features = model.record.schema, model.record.features
    columns = [str(column) for column in table.frame.columns]
    skip = None if outcome is None else outcome_place(model.space, outcome)[0]
    own = bool(features) and set(features) <= set(columns)
    read = readable_rows(table, schema, skip=None if skip is None else schema.names[skip])
    errors = list(read.errors)
    if own:
        errors += wrong_rows(table, model.record.encoder.transform)
    bad = {error.position for error in errors}
    good = np.array([row not in bad for row in read.keep.tolist()], dtype=bool)
    keep, values = read.keep[good], read.values[good]
    allowed = np.ones(len(keep), dtype=bool)
    if isinstance(model.space, Ruled) and len(keep):
        part = table.part(keep)
        flags = flags_of_rows(model.space.rules, part) if own else None
        values, broken = _broken(model.space.rules, values, flags, skip)
        allowed = ~broken.any(1)
        errors += _rule_errors(model.space.rules, table, keep, broken)
    errors.sort(key=lambda error: error.position)
    used = {*features, *schema.columns}
    return CandidateList(
        torch.from_numpy(values).to(model.device),
        keep,
        torch.from_numpy(allowed).to(model.device),
        tuple(errors),
        own,
        tuple(column for column in columns if column not in used),
    )


def rules_broken_by(
    model: FittedModel, y: Int64[Tensor, " item"], *, outcome: tuple[str, str] | None = None
) -> tuple[str, ...]:
    """The rules of all contexts that a combination breaks – with an outcome, under each of its options; an empty text
    for what the rules declare or say together."""
    if not isinstance(model.space, Ruled):
        return ()
    rules = model.space.rules
    skip = None if outcome is None else outcome_place(model.space, outcome)[0]
    _, broken = _broken(rules, y.unsqueeze(0).cpu().numpy(), None, skip)
    given = rules.problem.rules.rules
    return tuple(shortened(describe(given[n])) if n < len(given) else "" for n in np.flatnonzero(broken[0]))


def _broken(
    rules: CompiledRules, values: npt.NDArray[np.int64], flags: npt.NDArray[np.bool_] | None, skip: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(values with an allowed option in the slot ``skip``, which rules break all of its options, [row, rule + 1])."""
    if flags is None:  # what holds in some contexts only is no fault of a list that names none
        flags = np.zeros((len(values), len(rules.problem.conditions)), dtype=bool)
    size = 1 if skip is None else rules.problem.sizes[skip]
    chosen, every = values.copy(), None
    done = np.zeros(len(values), dtype=bool)
    for option in range(size):
        tried = values.copy()
        if skip is not None:
            tried[:, skip] = option
        here = violations(rules.problem, tried, flags)
        here[:, -1] |= ~obeyed(rules, tried) & ~here.any(1)
        free = ~here.any(1) & ~done
        chosen[free] = tried[free]
        done |= free
        every = here if every is None else every & here
    broken = np.zeros_like(every) if every is None else every & ~done[:, None]
    broken[:, -1] |= ~done & ~broken.any(1)  # each option breaks another rule
    return chosen, broken


def _rule_errors(
    rules: CompiledRules, table: Table, keep: npt.NDArray[np.intp], broken: npt.NDArray[np.bool_]
) -> list[RowError]:
    problem, found = rules.problem, []
    for place, number in zip(*np.nonzero(broken), strict=True):
        position = int(keep[place])
        where = {"file": table.name, "row": table.row_number(position)}
        if number == len(problem.rules.rules):
            error = TableError(
                "{file}, row {row}: expected a combination that the rules allow, found one that breaks what they "
                "declare or say together. Change it, or leave the row out.",
                **where,
            )
            found.append(RowError(position, where["row"], ", ".join(problem.schema.columns), "", error))
            continue
        rule = shortened(describe(problem.rules.rules[number]))
        error = TableError(
            "{file}, row {row}: expected a combination that the rules allow, found one that breaks “{rule}”. Change "
            "it, or leave the row out.",
            **where,
            rule=rule,
        )
        found.append(RowError(position, where["row"], _columns(rules, int(number)), rule, error))
    return found


def _columns(rules: CompiledRules, number: int) -> str:
    """The columns that a rule is about; all of a ranking, whose rules are about places."""
    problem = rules.problem
    variables: set[int] = set()
    for demand in problem.demands:
        if demand.rule == number:
            variables |= {v for v in variables_of(demand.formula) if v < problem.outputs}
    if problem.is_ranking or not variables:
        return ", ".join(problem.schema.columns)
    return ", ".join(problem.schema.columns[v] for v in sorted(variables))
