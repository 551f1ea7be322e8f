"""Independent pieces of work in several threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from threadpoolctl import threadpool_limits

Task = TypeVar("Task")


def in_threads(work: Callable[[Task], None], tasks: Sequence[Task], workers: int) -> Iterator[int]:
    """Do every task, and yield how many are done after each. What raises, here or at the caller, ends all.

    For work that lets go of Python's lock, as trees and LAPACK do; each task gets one thread of BLAS, so that they
    don't compete.

    >>> squares = {}
    >>> list(in_threads(lambda n: squares.update({n: n * n}), [1, 2, 3], 2)), squares[3]
    ([1, 2, 3], 9)
    """
    if workers == 1:
        for done, task in enumerate(tasks, 1):
            work(task)
            yield done
        return
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
        started = [pool.submit(work, task) for task in tasks]
        try:
            for done, finished in enumerate(as_completed(started), 1):
                finished.result()
                yield done
        finally:
            pool.shutdown(cancel_futures=True)
