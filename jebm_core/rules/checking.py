"""Whether combinations obey a formula, one after another by its words alone: no diagram, any size.

The slow twin of a diagram, vectorised over combinations; and what rules are checked with that no diagram can hold.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from jebm_core.rules.bound import Before, Beside, Between, Bound, Every, Negation, Rows, Some, Sum, Takes

_CELLS = 2**24
"""Cells compared at a time with the rows of a table."""


def holds(formula: Bound, options: Integer[Tensor, "*batch variable"]) -> Bool[Tensor, "*batch"]:
    """Whether each combination obeys a formula; ``options`` has the option of every variable in its own order.

    Cost: one pass over the formula for each combination.

    >>> holds(Some((Takes(0, frozenset((1,))), Takes(1, frozenset((0,))))), torch.tensor([[1, 1], [0, 1]])).tolist()
    [True, False]
    """
    match formula:
        case Takes(variable, chosen):
            return torch.isin(options[..., variable], _numbers(sorted(chosen), options))
        case Negation(part):
            return ~holds(part, options)
        case Every(parts):
            return reduce(torch.logical_and, (holds(part, options) for part in parts), _always(options))
        case Some(parts):
            return reduce(torch.logical_or, (holds(part, options) for part in parts), ~_always(options))
        case Between(low, high, parts):
            count = sum((holds(part, options).long() for part in parts), _always(options).long() * 0)
            return _within(count, low, high)
        case Sum(low, high, weights):
            total = _always(options).long() * 0
            for variable, values in weights:
                total = total + _numbers(values, options)[options[..., variable].long()]
            return _within(total, low, high)
        case Rows(variables, rows):
            return _in_rows(options[..., list(variables)], rows)
        case Before(first, second):
            return _place_of(first, options) < _place_of(second, options)
        case Beside(first, second):
            return (_place_of(first, options) - _place_of(second, options)).abs() == 1


def _numbers(values: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=like.device)


def _always(options: Tensor) -> Tensor:
    return torch.ones(options.shape[:-1], dtype=torch.bool, device=options.device)


def _within(number: Tensor, low: int | None, high: int | None) -> Tensor:
    inside = torch.ones_like(number, dtype=torch.bool) if low is None else number >= low
    return inside if high is None else inside & (number <= high)


def _in_rows(options: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    flat = options.reshape(-1, options.shape[-1])
    found = torch.zeros(len(flat), dtype=torch.bool, device=options.device)
    if rows:
        table = _numbers([cell for row in rows for cell in row], options).reshape(len(rows), -1)
        for part in table.split(max(1, _CELLS // max(1, flat.numel()))):
            found |= ((flat.unsqueeze(1) == part) | (part < 0)).all(-1).any(1)
    return found.reshape(options.shape[:-1])


def _place_of(item: int, options: Tensor) -> Tensor:
    """The place of an item; in a ranking variables are places, and hidden ones come behind them."""
    return (options == item).long().argmax(-1)
