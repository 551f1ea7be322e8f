"""Rules that are plain logic, compiled by d4 where its extra is installed: what diagrams are too wide for.

The circuit counts combinations of all variables, hidden ones included. That is the number of combinations of outputs
only where the outputs leave hidden variables no choice; rules where they do are refused.
"""

from typing import final

from jebm_core.errors import Phrase
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.cnf import Cnf, plain_logic
from jebm_core.rules.compiler import RuleTooLarge
from jebm_core.rules.d4 import compile_clauses, is_installed
from jebm_core.rules.dnnf import Dnnf
from jebm_core.rules.problem import Problem

MANY = 500
"""Boolean variables from which a diagram is only tried as long as it stays narrow, where d4 could take over."""
NARROW = 4096
"""Nodes of a layer up to which it does."""
_SECONDS = 30.0
"""What d4 may take: what it suits takes it a few."""
_HIDDEN_SECONDS = 10.0


@final
class NotLogicError(RuleTooLarge):
    """The extra d4 isn't there, or doesn't suit the rules."""


def prefers_circuit(problem: Problem) -> bool:
    """Whether a wide diagram should give way to a circuit. Cost: nothing."""
    many = sum(1 if size == 2 else size for size in problem.sizes) >= MANY
    return many and problem.is_plain and not problem.is_ranking and is_installed()


def compile_logic(problem: Problem, budget: Budget) -> Dnnf:
    """The rules as a circuit, over the outputs.

    Raises:
        RuleTooLarge: they are no plain logic, hidden variables have a choice, the extra d4 isn't installed, or time ran
            out.
        Cancelled: the budget's ``should_stop`` said so.
    """
    cnf = plain_logic(problem) if is_installed() else None
    if cnf is None:
        raise NotLogicError(frozenset(), Phrase("no plain logic, or the extra d4 is not installed"))
    fresh = budget.smaller(width=budget.width, seconds=_SECONDS)
    try:
        if problem.outputs < len(problem.sizes) and not _outputs_decide(cnf, problem, budget):
            raise NotLogicError(frozenset(), Phrase("hidden variables that have a choice"))
        return compile_clauses(Cnf(cnf.count, cnf.clauses, cnf.literals[: problem.outputs]), fresh)
    except TooLarge as error:
        raise RuleTooLarge(frozenset(), error.reason) from error


def advises_d4(problem: Problem) -> bool:
    """Whether installing the extra could help."""
    return not is_installed() and plain_logic(problem) is not None


def _outputs_decide(cnf: Cnf, problem: Problem, budget: Budget) -> bool:
    """Whether no two valid combinations differ in hidden variables alone; no where that takes long.

    Two copies of the clauses that share the outputs and differ in a hidden variable have no model then.
    """
    shared = {abs(literal) for options in cnf.literals[: problem.outputs] for literal in options}
    twin = {v: v for v in shared}
    count = cnf.count
    for v in range(1, cnf.count + 1):
        if v not in shared:
            count += 1
            twin[v] = count

    def copied(literal: int) -> int:
        return twin[literal] if literal > 0 else -twin[-literal]

    clauses = [*cnf.clauses, *(tuple(copied(literal) for literal in clause) for clause in cnf.clauses)]
    differs = []
    for v in sorted({abs(literal) for options in cnf.literals[problem.outputs :] for literal in options}):
        count += 1
        differs.append(count)
        clauses += [(-count, v, twin[v]), (-count, -v, -twin[v])]
    clauses.append(tuple(differs))
    own = budget.smaller(width=budget.width, seconds=_HIDDEN_SECONDS)
    try:
        return compile_clauses(Cnf(count, tuple(clauses), ()), own).count() == 0
    except TooLarge:
        return False
