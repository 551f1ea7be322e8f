"""Formulas as clauses, where that takes few of them: *one of these variables has one of these options*.

Most rules – requires, excludes, if … then – are one clause or two, and many clauses are compiled in one pass.
"""

from collections.abc import Iterable, Sequence

from jebm_core.rules.bound import Between, Bound, Every, Negation, Rows, Some, Takes

Clause = dict[int, frozenset[int]]
MAX_CLAUSES = 32
"""Clauses that one formula may become; a larger one is compiled by itself."""


def clauses_of(formula: Bound, sizes: Sequence[int]) -> list[Clause] | None:
    """Clauses that hold together exactly where the formula does; None where there is no short form.

    >>> clauses_of(Negation(Every((Takes(0, frozenset({1})), Takes(1, frozenset({1}))))), (2, 2))
    [{0: frozenset({0}), 1: frozenset({0})}]
    """
    found = _clauses(formula, sizes, positive=True)
    return None if found is None else _distinct(found)


def _clauses(formula: Bound, sizes: Sequence[int], *, positive: bool) -> list[Clause] | None:
    match formula:
        case Takes(variable, options):
            left = options if positive else frozenset(range(sizes[variable])) - options
            return [] if len(left) == sizes[variable] else [{variable: left} if left else {}]
        case Negation(part):
            return _clauses(part, sizes, positive=not positive)
        case Every(parts) | Some(parts):
            each = [_clauses(part, sizes, positive=positive) for part in parts]
            known = [part for part in each if part is not None]
            if len(known) < len(each):
                return None
            return _all(known) if isinstance(formula, Every) == positive else _any(known, sizes)
        case Between(low, high, parts):
            return _some_of(low, high, parts, sizes, positive=positive)
        case Rows(variables, rows) if not positive and len(rows) <= MAX_CLAUSES:
            excluded = [
                Every(
                    tuple(
                        Takes(v, frozenset((option,))) for v, option in zip(variables, row, strict=True) if option >= 0
                    )
                )
                for row in rows
            ]
            return _clauses(Some(tuple(excluded)), sizes, positive=False)
    return None


def _some_of(
    low: int, high: int | None, parts: Sequence[Bound], sizes: Sequence[int], *, positive: bool
) -> list[Clause] | None:
    """None of them, at least one of them, all of them; other numbers have no short form."""
    count = len(parts)
    if low <= 0 and (high is None or high >= count):
        return [] if positive else [{}]
    if low <= 0 and high == 0:
        return _clauses(Some(tuple(parts)), sizes, positive=not positive)
    if low == 1 and (high is None or high >= count):
        return _clauses(Some(tuple(parts)), sizes, positive=positive)
    if low == count and (high is None or high >= count):
        return _clauses(Every(tuple(parts)), sizes, positive=positive)
    return None


def _all(parts: Iterable[list[Clause]]) -> list[Clause] | None:
    found = [clause for part in parts for clause in part]
    return found if len(found) <= MAX_CLAUSES else None


def _any(parts: Iterable[list[Clause]], sizes: Sequence[int]) -> list[Clause] | None:
    """By distribution: one clause of each part, all of them together."""
    found: list[Clause] = [{}]
    for part in parts:
        if len(found) * len(part) > MAX_CLAUSES:
            return None
        merged = (_merged(a, b, sizes) for a in found for b in part)
        found = [clause for clause in merged if clause is not None]
    return found


def _merged(a: Clause, b: Clause, sizes: Sequence[int]) -> Clause | None:
    """a ∨ b; None where it always holds."""
    union = dict(a)
    for variable, options in b.items():
        union[variable] = union.get(variable, frozenset()) | options
        if len(union[variable]) == sizes[variable]:
            return None
    return union


def _distinct(found: Iterable[Clause]) -> list[Clause]:
    """Each clause once."""
    return list({tuple(sorted((v, tuple(sorted(o))) for v, o in clause.items())): clause for clause in found}.values())
