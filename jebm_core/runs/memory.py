"""A second try, with half as many rows a step, for a fit that needs more memory than the graphics processor has."""

import dataclasses
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jebm_core.runs.message import Message

HALVED = Message(
    "The graphics processor ran out of memory: the fit was started again with half as many rows in each step of the "
    "training."
)
"""The note of a run to which that happened."""
EVENT = "batch halved"

Result = TypeVar("Result")


def with_halved_batches(
    fit: Callable[[], Result], start_again: Callable[[str], object], already: bool = False
) -> tuple[Result, bool]:
    """Do a fit, and where it needs too much memory of a GPU do it once more with batches of half the rows.

    Args:
        start_again: called before the second try, with what happened.
        already: an earlier attempt at the run found out that whole batches are too large.

    Returns:
        The fit, and whether batches were halved.

    Raises:
        torch.OutOfMemoryError: half the rows were still too many.
    """
    import torch

    if already:
        with halved_batches():
            return fit(), True
    try:
        return fit(), False
    except torch.OutOfMemoryError as error:
        # The traceback holds everything that filled the memory, and its lines are all that is needed of it.
        print(f"Out of memory: {error}", file=sys.stderr)
        error.__traceback__ = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    start_again(EVENT)
    with halved_batches():
        return fit(), True


@contextmanager
def halved_batches() -> Iterator[None]:
    """Meanwhile fits of this process take half as many rows in a step as is chosen for their data.

    A job does one fit at a time. How many rows there are in a step follows from the data and is no setting of a person.
    """
    from jebm_core import fitting

    chosen = fitting.choose_plan

    def halved(*given: Any) -> Any:
        plan = chosen(*given)
        return dataclasses.replace(plan, batch_size=max(1, plan.batch_size // 2))

    fitting.choose_plan = halved
    try:
        yield
    finally:
        fitting.choose_plan = chosen
