"""What a job's work is given: its data, its folder, and the two callbacks that tie it to the store."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from jebm_core.runs.database import FAULTS
from jebm_core.runs.history import Report
from jebm_core.runs.home import Home
from jebm_core.runs.queue import RunQueue
from jebm_core.runs.records import RunSpec, progress_step

if TYPE_CHECKING:
    from jebm_core.distributed import Group

_LOOK = 0.5  # seconds between two looks at the cancel flag
_BEAT = 5.0  # seconds between two signs of life


@final
class JobContext:
    """The work's side of the store. Where several processes do the work, each has one; only that of the first has a
    queue, and all that the others say goes nowhere.

    A thread looks at the store twice a second, so that ``should_stop`` costs nothing and the job gives signs of life
    through stages that report nothing.

    Attributes:
        spec: what was asked for.
        folder: where the results go.
        superseded: the store has given this attempt up; nothing it writes counts any more.
        cancelled: somebody asked the run to stop.
        group: the processes that do the work together, if they are several.
        home, run_id, attempt: what this job is an attempt at.
    """

    def __init__(self, home: Home, queue: RunQueue | None, run_id: str, attempt: int, spec: RunSpec) -> None:
        self.spec = spec
        self.folder = home.run(run_id)
        self.superseded = False
        self.cancelled = False
        self.group: Group | None = None
        self.home, self.run_id, self.attempt = home, run_id, attempt
        self._queue = queue
        self._waiting: list[Report] = []
        self._over = threading.Event()
        self._watch: threading.Thread | None = None
        if queue is not None:
            self._watch = threading.Thread(target=self._look, args=(queue,), name="jebm-watch", daemon=True)
            self._watch.start()

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks and writes files; usually there is no other."""
        return self._queue is not None

    @property
    def data(self) -> Path:
        """The file of the data set.

        Raises:
            UserError: if it is no longer there.
        """
        return self.home.dataset_file(self.spec.dataset)

    @property
    def other_data(self) -> Path:
        """The file that the work needs besides: candidates of the reference ``table``, later rows of a drift.

        Raises:
            UserError: if it is no longer there.
        """
        return self.home.dataset_file(self.spec.source)

    @property
    def generator(self) -> Path:
        """The model folder of the run that the reference ``model`` needs.

        Raises:
            UserError: if the run's name is not one.
        """
        return self.home.run(self.spec.source).model

    @property
    def parent(self) -> Path:
        """The model folder of the run that the work is about.

        Raises:
            UserError: if the run's name is not one.
        """
        return self.home.run(self.spec.parent).model

    def should_stop(self) -> bool:
        """True if the work should leave a checkpoint and raise ``Cancelled``."""
        return self.cancelled or self.superseded

    def on_progress(self, progress: object) -> None:
        """Write a report: a dataclass with ``stage`` and ``epoch`` among its fields.

        Call it before the checkpoint of the same epoch is written, so that a resumed run has no gap in its history.
        """
        if not is_dataclass(progress) or isinstance(progress, type):
            raise TypeError(f"on_progress takes a dataclass instance, not {type(progress).__name__}")
        self.report(asdict(progress))

    def report(self, fields: Mapping[str, object]) -> None:
        """Write a report. While the disk refuses, reports wait in memory; the work is not disturbed."""
        if self._queue is None:
            return
        step = progress_step(str(fields["stage"]), int(str(fields["epoch"])))
        self._waiting.append((step, time.time(), json.loads(json.dumps(fields, default=_as_number))))
        self.flush()

    def flush(self) -> bool:
        """Write the reports that wait. False if the disk still refuses."""
        if not self._waiting or self._queue is None:
            return True
        try:
            if not self._queue.record(self.run_id, self.attempt, self._waiting):
                self.superseded = True
        except FAULTS:
            return False
        self._waiting.clear()
        return True

    def close(self) -> None:
        """Stop looking at the store."""
        self._over.set()
        if self._watch is not None:
            self._watch.join()

    def start_again(self, why: str) -> None:
        """Forget what was reported: the work starts from its beginning. ``why`` is noted among the run's events.

        Raises:
            SQLAlchemyError: the database can't be written.
        """
        self._waiting.clear()
        if self._queue is not None and not self._queue.start_again(self.run_id, self.attempt, why):
            self.superseded = True

    def _look(self, queue: RunQueue) -> None:
        beaten = 0.0
        while not self._over.wait(_LOOK):
            try:
                claim = queue.watched(self.run_id)
                if claim is None or claim.attempt != self.attempt:
                    self.superseded = True
                elif claim.cancel_requested is not None:
                    self.cancelled = True
                if time.monotonic() - beaten > _BEAT and queue.beat(self.run_id, self.attempt):
                    beaten = time.monotonic()
            except FAULTS:
                continue  # a full disk or a busy file; the next look will tell


def _as_number(value: object) -> float:
    """NumPy and torch scalars among a report's fields."""
    return float(str(value)) if not isinstance(value, float | int) else value


Work = Callable[[JobContext], "str | None"]
"""Does a run's work and returns the sentence that says why training stopped, or None."""
