"""The same work on a Ray cluster, through Ray Data. Ray is an extra: ``pip install 'jebm[ray]'``.

Row groups go to actors that each hold one `Scorer`; parts go to the same folder under the same names, so the folder
must be one that every machine of the cluster sees. Which parts are finished, and what is merged at the end, does not
depend on who made them.
"""

import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, final

from jebm_core.errors import SpecError
from jebm_core.scoring.pool import Pace, described, rebuilt, use_one_thread
from jebm_core.scoring.shard import Job, Scorer
from jebm_core.scoring.shards import Shard


@final
class _Actor:
    """A process of the cluster with the model in it."""

    def __init__(self, job: Job) -> None:
        use_one_thread()
        self.scorer = Scorer(job)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        shard = Shard(**row)
        try:
            if not self.scorer.job.is_done(shard):
                self.scorer.score(shard)
        except Exception as error:  # noqa: BLE001 - told where the scoring was started, as it would be there
            return {"rows": 0, "error": pickle.dumps(described(error))}
        return {"rows": shard.rows, "error": b""}


def score_on_ray(
    job: Job, shards: Sequence[Shard], workers: int, on_progress: Callable[[Pace], None] = lambda pace: None
) -> int:
    """Score the row groups whose parts are not there, in ``workers`` actors of one core each.

    Uses the cluster that this process is connected to, that of ``RAY_ADDRESS``, or one that it starts on this machine
    and ends again. Usage statistics are not sent.

    Returns:
        How many row groups were scored.

    Raises:
        SpecError: Ray is not installed.
        UserError: a cell that can't be read.
    """
    if find_spec("ray") is None:
        raise SpecError("Scoring on Ray needs the extra ray, which is not installed. Install jebm[ray], or score here.")
    waiting = [shard for shard in shards if not job.is_done(shard)]
    if not waiting:
        return 0
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # pyright: ignore[reportMissingImports]
    import ray.data  # pyright: ignore[reportMissingImports]

    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        return _score(ray, job, waiting, workers, on_progress)
    finally:
        if ours:
            ray.shutdown()


def _score(ray: Any, job: Job, waiting: list[Shard], workers: int, on_progress: Callable[[Pace], None]) -> int:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    items = ray.data.from_items([asdict(shard) for shard in waiting], override_num_blocks=len(waiting))
    count = min(workers, len(waiting))
    done = items.map(_Actor, fn_constructor_args=(job,), num_cpus=1, concurrency=count)
    started, parts, rows, of = time.monotonic(), 0, 0, sum(shard.rows for shard in waiting)
    for row in done.iter_rows():
        if row["error"]:
            raise rebuilt(pickle.loads(row["error"]))
        parts, rows = parts + 1, rows + int(row["rows"])
        on_progress(Pace(rows, of, parts, len(waiting), time.monotonic() - started))
    return parts
