"""Runs copied to an MLflow server that a team has already: one way, again and again without doubling anything.

``JEBM_MLFLOW`` names the server, as MLflow names it: ``http://mlflow.example:5000``, or ``sqlite:///runs.db`` for its
own store in a file. A run is found again there by its tag ``jebm.run``; the tag ``jebm.step`` says how far its metrics
have been copied. A copy that is broken off goes on from there, and values that come twice are the same values.

After a run has ended, its job starts a process of its own for the copy. Nothing waits for that, and a server that is
down changes nothing about the run; ``jebm runs mirror --all`` copies what is missing.
"""

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from urllib.parse import urlsplit, urlunsplit

from filelock import FileLock

from jebm_core.errors import SpecError, UserError
from jebm_core.runs.home import Home, home_at
from jebm_core.runs.ledger import EXPORTED
from jebm_core.runs.records import ProgressRow, RunView, State
from jebm_core.runs.store import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VARIABLE = "JEBM_MLFLOW"
RUN, STEP = "jebm.run", "jebm.step"
"""Tags of a copied run: its name here, and the last step whose numbers were copied."""
STATUS = {
    State.QUEUED: "SCHEDULED",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "FINISHED",
    State.FAILED: "FAILED",
    State.CANCELLED: "KILLED",
}
LONGEST_VALUE = 500
"""Characters of a parameter or tag; older servers take no more."""
LARGEST_FILE = 5_000_000
_BATCH = 500  # numbers in a request; a server takes 1000
_PARAMETERS = 100  # in a request


@final
class Mirror:
    """Copies runs of one store to one MLflow server.

    Args:
        uri: where the server is; None takes ``JEBM_MLFLOW``.

    Raises:
        SpecError: no server is named, or MLflow's client is not installed.
    """

    def __init__(self, store: RunStore, uri: str | None = None) -> None:
        chosen = uri or os.environ.get("JEBM_MLFLOW")
        if not chosen:
            raise SpecError(
                "Expected the address of an MLflow server in {variable}; it is not set. Set it, for example to "
                "http://127.0.0.1:5000.",
                variable=VARIABLE,
            )
        self._store = store
        self._uri = chosen
        self.name = without_password(chosen)
        self._client = _client(chosen)
        self._experiments: dict[str, str] = {}

    def copy_all(self) -> Iterator[tuple[str, bool]]:
        """Copy every run, sweeps included, the oldest first, and tell each name with whether it is new there.

        Raises:
            UserError: as `copy`.
        """
        views = [*self._store.list_runs(), *self._store.sweeps()]
        for view in sorted(views, key=lambda view: view.created):
            yield view.id, self.copy(view.id)

    def copy(self, run_id: str) -> bool:
        """Copy a run, or what is new of it. True if it was not there before.

        Raises:
            UserError: the run is unknown, or the server can't be reached or refuses.
        """
        view = self._store.run(run_id)
        with FileLock(self._store.home.folder / "mirror.lock"):  # of two at once, the second finds the first one's run
            try:
                return self._copy(view)
            except _refusals() as error:
                raise UserError(
                    "Run {run} could not be copied to the MLflow server {server}: {reason}. See that it runs and takes "
                    "runs; then use jebm runs mirror {run}. The run itself is as it was.",
                    run=run_id,
                    server=self.name,
                    reason=_one_line(error).replace(self._uri, self.name),
                ) from error

    def _copy(self, view: RunView) -> bool:
        place = self._experiment(view)
        known = self._find(place, view.id)
        there = known or self._create(place, view)
        mirrored = there.info.run_id
        self._copy_numbers(mirrored, view, int(there.data.tags.get(STEP, -1)))
        self._copy_files(mirrored, view)
        if view.state.ended:
            self._client.set_terminated(mirrored, STATUS[view.state], end_time=_milliseconds(view.finished))
        else:
            self._client.update_run(mirrored, status=STATUS[view.state])
        if known is None:
            self._store.ledger.add(EXPORTED, view.id, server=self.name)
        return known is None

    def _experiment(self, view: RunView) -> str:
        name = f"jebm/{view.spec.project}"
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            self._experiments[name] = found.experiment_id if found else self._client.create_experiment(name)
        return self._experiments[name]

    def _find(self, experiment: str, run_id: str) -> Any:
        found = self._client.search_runs([experiment], f"tags.`{RUN}` = '{run_id}'", max_results=1)
        return found[0] if found else None

    def _create(self, experiment: str, view: RunView) -> Any:
        tags = {RUN: view.id, "jebm.kind": view.spec.kind_of_work, "jebm.version": view.code_version}
        tags["jebm.data"] = view.spec.dataset
        if view.spec.parent:
            tags["jebm.parent"] = view.spec.parent
            above = self._find(experiment, view.spec.parent)
            if above is not None:
                tags["mlflow.parentRunId"] = above.info.run_id
        title = view.spec.title or view.spec.dataset_name
        return self._client.create_run(experiment, _milliseconds(view.created), tags, run_name=title)

    def _copy_numbers(self, mirrored: str, view: RunView, after: int) -> None:
        from mlflow.entities import Metric, Param, RunTag

        given = self._store.parameters(view.id)
        parameters = [Param(key, _short(value)) for key, value in sorted(given.items())]
        for part in _parts(parameters, _PARAMETERS):
            self._client.log_batch(mirrored, params=part)
        said = {"message": view.message, "stop_reason": view.stop_reason}
        tags = [RunTag(f"jebm.{name}", _short(str(value))) for name, value in said.items() if value is not None]
        if tags:
            self._client.log_batch(mirrored, tags=tags)
        waiting: list[Metric] = []
        rows = self._store.history(view.id, after)
        for row in rows:
            waiting += [Metric(*one) for one in _numbers(row)]
            if row is rows[-1] or len(waiting) >= _BATCH:
                for part in _parts(waiting, _BATCH):
                    self._client.log_batch(mirrored, metrics=part)
                self._client.set_tag(mirrored, STEP, str(row.step))
                waiting.clear()

    def _copy_files(self, mirrored: str, view: RunView) -> None:
        folder = self._store.folder(view.id)
        for file in (folder.evaluation, folder.study):
            if file.is_file() and file.stat().st_size <= LARGEST_FILE:
                self._client.log_artifact(mirrored, str(file))
        names = [vars(one) for one in self._store.artifacts(view.id)]
        if names:
            self._client.log_text(mirrored, json.dumps({"files": names}, indent=1), "files.json")


def start_mirror(home: Home, run_id: str) -> bool:
    """Copy a run in a process of its own, if a server is named; what that says goes to ``mirror.log`` of the home.

    Returns:
        True if a process was started. One that can't be is no fault of the run: the copy is made later by hand.
    """
    if not os.environ.get("JEBM_MLFLOW"):
        return False
    line = [sys.executable, "-m", "jebm_core.runs.mirror", run_id, "--home", str(home.folder)]
    try:
        with (home.folder / "mirror.log").open("ab") as log:
            subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=os.name == "posix"
            )
    except OSError:
        return False
    return True


def without_password(uri: str) -> str:
    """An address as it may be shown.

    >>> without_password("https://aoi:secret@mlflow.example:5000/x"), without_password("sqlite:///runs.db")
    ('https://mlflow.example:5000/x', 'sqlite:///runs.db')
    """
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def _client(uri: str) -> "MlflowClient":
    # Before the import: nothing is sent to anybody but the server, and one that is down is soon given up.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    try:
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise SpecError(
            "Copies to MLflow need the Python package {package}, which is not installed. Install it by: "
            "pip install 'jebm[mlflow]'.",
            package=str(error.name),
        ) from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        return MlflowClient(uri)
    except _refusals() as error:
        raise SpecError(
            "{variable}: expected the address of an MLflow server, found {found}: {reason}. Set it, for example to "
            "http://127.0.0.1:5000.",
            variable=VARIABLE,
            found=without_password(uri),
            reason=_one_line(error).replace(uri, without_password(uri)),
        ) from error


def _refusals() -> tuple[type[Exception], ...]:
    """What MLflow's client raises where a server is down, refuses or answers nonsense."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, RequestException, SQLAlchemyError, OSError, ValueError, KeyError)


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split())[:300] or type(error).__name__).rstrip(".")


def _numbers(row: ProgressRow) -> Iterator[tuple[str, float, int, int]]:
    """What MLflow calls metrics: name, value, time and step of each number of a report."""
    stage, epoch = row.values.get("stage"), row.values.get("epoch")
    for name, value in row.values.items():
        if isinstance(value, float) and math.isfinite(value):
            step = epoch if isinstance(epoch, int) else row.step
            yield f"{stage}.{name}", value, round(row.written * 1000), step


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _parts(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    whole = list(values)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def main(arguments: list[str] | None = None) -> int:
    """``python -m jebm_core.runs.mirror RUN_ID --home FOLDER``: copy one run, and say in one line what came of it."""
    parser = argparse.ArgumentParser(prog="jebm_core.runs.mirror", description="Copy a run to an MLflow server.")
    parser.add_argument("run_id")
    parser.add_argument("--home", type=Path, required=True, help="the home folder")
    chosen = parser.parse_args(arguments)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    try:
        mirror = Mirror(RunStore(home_at(chosen.home)))
        mirror.copy(chosen.run_id)
    except UserError as error:
        print(f"{now} {error}", flush=True)
        return 1
    print(f"{now} run {chosen.run_id} was copied to {mirror.name}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
