"""Row groups shared out among processes: one that dies is replaced, and what it was at is done again.

Each process has a pipe to this one, and is told of one row group at a time. It ends with the process that started it,
however that ends, so that nothing is written behind the back of a run that goes on.

Where the system has fork, processes are copies of one that has imported everything and computed nothing (Python's fork
server): torch is imported once instead of in each, and its pages are shared. A GPU must not be copied; there, and
elsewhere, each process starts afresh.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from types import ModuleType
from typing import Any, final

from jebm_core import errors
from jebm_core.errors import UserError
from jebm_core.scoring.shard import Job, Scorer
from jebm_core.scoring.shards import Shard

PRELOADED = ["jebm_core.scoring.shard"]
"""What the process that the others are copies of imports."""
ATTEMPTS = 3
"""How often a row group is tried whose process was killed."""


@final
@dataclass(frozen=True)
class Pace:
    """How far a scoring is.

    Attributes:
        rows, parts: done in this run; of, in_parts: to be done in it. seconds: since the first process was ready.
    """

    rows: int
    of: int
    parts: int
    in_parts: int
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Since the first process was ready."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this pace; None before there is one."""
        return (self.of - self.rows) / self.rows_per_second if self.rows and self.seconds else None


def score_in_processes(
    job: Job, shards: Sequence[Shard], workers: int, on_progress: Callable[[Pace], None] = lambda pace: None
) -> int:
    """Score the row groups whose parts are not there, in ``workers`` processes of one thread each.

    Returns:
        How many row groups were scored.

    Raises:
        UserError: a cell that can't be read, or a row group whose process was killed each time.
        OSError: the disk refuses.
    """
    waiting = deque(shard for shard in shards if not job.is_done(shard))
    pool = _Pool(job, waiting, on_progress)
    try:
        for _ in range(min(workers, len(waiting))):
            pool.start()
        while pool.workers:
            pool.attend()
    finally:
        pool.close()
    return pool.parts


@final
class _Worker:
    """A process, the pipe to it, and what it is at."""

    def __init__(self, job: Job) -> None:
        copies = os.name == "posix" and job.device == "cpu"
        context = multiprocessing.get_context("forkserver") if copies else multiprocessing.get_context("spawn")
        if copies:
            context.set_forkserver_preload(PRELOADED)  # of no effect where it runs already
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(job, theirs), daemon=True)
        # Ctrl-C goes to the whole group; the process that started the others ends them.
        with _without_interrupts(), _without_main():
            self.process.start()
        theirs.close()
        self.shard: Shard | None = None
        self.rows = 0  # of this row group, done


@final
class _Pool:
    def __init__(self, job: Job, waiting: deque[Shard], on_progress: Callable[[Pace], None]) -> None:
        self.job, self.waiting, self.on_progress = job, waiting, on_progress
        self.workers: list[_Worker] = []
        self.attempts: dict[str, int] = {}
        self.parts, self.rows = 0, 0
        self.in_parts, self.of = len(waiting), sum(shard.rows for shard in waiting)
        self.started: float | None = None

    def start(self) -> None:
        worker = _Worker(self.job)
        self.workers.append(worker)
        self.give(worker)

    def give(self, worker: _Worker) -> None:
        """The next row group, or leave."""
        worker.shard, worker.rows = (self.waiting.popleft() if self.waiting else None), 0
        with suppress(OSError):  # it is gone: noticed at once by whoever waits for it
            worker.pipe.send(worker.shard)
        if worker.shard is None:
            self.workers.remove(worker)
            worker.process.join()
            worker.pipe.close()

    def attend(self) -> None:
        """Wait for news, and see to it."""
        pipes = {worker.pipe: worker for worker in self.workers}
        ends = {worker.process.sentinel: worker for worker in self.workers}
        ready = connection.wait([*pipes, *ends], timeout=1.0)
        for worker in {id(w): w for w in (pipes.get(r) or ends[r] for r in ready)}.values():  # pyright: ignore
            try:
                while worker in self.workers and worker.pipe.poll():
                    self.hear(worker, worker.pipe.recv())
            except (EOFError, OSError):
                self.replace(worker)
        self.report()

    def report(self) -> None:
        rows = self.rows + sum(worker.rows for worker in self.workers)
        seconds = 0.0 if self.started is None else time.monotonic() - self.started
        self.on_progress(Pace(rows, self.of, self.parts, self.in_parts, seconds))

    def hear(self, worker: _Worker, news: tuple[str, Any]) -> None:
        kind, said = news
        if kind == "rows":
            worker.rows += said
        elif kind == "ready":
            self.started = self.started or time.monotonic()
        elif kind == "done":
            self.finish(worker.shard)
            self.give(worker)
        else:
            raise rebuilt(said)

    def finish(self, shard: Shard | None) -> None:
        if shard is not None:
            self.parts += 1
            self.rows += shard.rows

    def replace(self, worker: _Worker) -> None:
        """Another process for one that died; what it was at is tried again, unless its part was just written."""
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)
        shard = worker.shard
        if shard is None:
            return
        if self.job.is_done(shard):
            self.finish(shard)
        else:
            tried = self.attempts[shard.part] = self.attempts.get(shard.part, 0) + 1
            if tried >= ATTEMPTS:
                raise UserError(
                    "{file}, row group {group}: the process that scored it was ended {count} times by the system "
                    "(exit code {code}), perhaps for lack of memory. Use fewer workers or smaller row groups, then "
                    "start the command again: finished parts are kept.",
                    file=shard.name,
                    group=shard.group,
                    count=tried,
                    code=worker.process.exitcode,
                )
            self.waiting.appendleft(shard)
        if self.waiting:
            self.start()

    def close(self) -> None:
        """End what still runs; parts that are not whole go."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def _serve(job: Job, pipe: "connection.Connection") -> None:
    """The work of one process: row groups until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        use_one_thread()
        scorer = Scorer(job)
        pipe.send(("ready", None))
        while (shard := pipe.recv()) is not None:
            scorer.score(shard, lambda rows: pipe.send(("rows", rows)))
            pipe.send(("done", None))
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the process that started this one tells it
        with suppress(OSError):
            pipe.send(("error", described(error)))


def use_one_thread() -> None:
    """One thread for everything that computes in this process: processes share the cores."""
    import pyarrow
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    pyarrow.set_cpu_count(1)
    threadpool_limits(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def described(error: Exception) -> tuple[str, dict[str, Any]]:
    """An error in plain values, for another process."""
    if isinstance(error, UserError):
        return type(error).__name__, {"template": error.template, **error.values}
    if isinstance(error, OSError) and error.errno is not None:
        return "OSError", {"errno": error.errno, "strerror": error.strerror, "file": error.filename}
    return "", {"text": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def rebuilt(said: tuple[str, dict[str, Any]]) -> Exception:
    """The error of another process, in this one."""
    name, values = said
    if name == "OSError":
        return OSError(values["errno"], values["strerror"], values["file"])
    if not name:
        error = RuntimeError(values["text"])
        error.add_note(values["trace"])
        return error
    template = values.pop("template")
    return getattr(errors, name)(template, **values)


@contextmanager
def _without_main() -> Iterator[None]:
    """Start a process that does not run the program of this one again, whatever that is: a page of the dashboard, or a
    script that does not ask for its name. Nothing in it is needed there."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep SIGINT for later, in this thread and for good in processes that it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it changes the mask when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
