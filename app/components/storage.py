"""The data sets and runs that outlive a page, and what is read from them once for everybody."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.components import person, place, projects
from app.text import marked
from jebm_core.errors import UserError
from jebm_core.runs.ledger import UPLOADED
from jebm_core.runs.records import RunSpec, RunView, State
from jebm_core.runs.store import RunStore
from jebm_core.runs.trials import PRUNED
from jebm_core.tables import Examples, OutputSchema, Roles, Table, read_examples, read_table

MAX_BYTES = 1_000_000_000
DAMAGED = marked(
    "This run's {what} can't be read ({file}). Start the run again with the same settings to write it anew."
)
_STARTING = threading.Lock()


def store() -> RunStore:
    """Return the run store of this machine's home folder, in the name of whoever is at the page."""
    return RunStore(who=person.who())


def recent_runs(limit: int = 8, *, trials: bool = False) -> tuple[RunView, ...]:
    """Return the newest runs of the open project, with trials of settings or without, and see to it that queued ones
    have a runner, even after a restart of the machine."""
    kept = store()
    runs = kept.list_runs(limit, project=projects.current(kept), trials=trials)
    if any(not run.state.ended for run in runs):
        kept.ensure_runner()
    return runs


def runs_here() -> tuple[RunView, ...]:
    """Return the runs of the open project, the newest first."""
    kept = store()
    return kept.list_runs(project=projects.current(kept))


def project_here() -> str:
    """Return the project that new runs go to."""
    return projects.current(store())


def run_of(run_id: str) -> RunView:
    """Return a run that the person may see.

    Raises:
        UserError: there is no such run, or it belongs to somebody else.
    """
    kept = store()
    view = kept.run(run_id)
    projects.require(kept, view.spec.project)
    return view


def start_run(spec: RunSpec) -> str:
    """Start a run and return its name. A second click finds the run of the first one instead of starting another.

    Raises:
        UserError: the run can't be written or started.
    """
    with _STARTING:
        for run in store().about(spec.parent, spec.kind_of_work) if spec.parent else runs_here():
            if not run.state.ended and run.spec.to_json() == spec.to_json():
                return run.id
        return store().submit(spec)


def study_of(run_id: str) -> Mapping[str, Any]:
    """Return what a finished study found out.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = store().folder(run_id).study
    return _json(str(file), _stamp(file, "study"), marked("study"))


def evaluation_of(run_id: str) -> Mapping[str, Any]:
    """Return the evaluation record of a finished run.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = store().folder(run_id).evaluation
    return _json(str(file), _stamp(file, "evaluation"), marked("evaluation"))


def model_record(run_id: str) -> Mapping[str, Any]:
    """Return what the model of a finished run says of itself, without loading it.

    Raises:
        UserError: the file is missing or damaged.
    """
    file = store().folder(run_id).model / "model.json"
    return _json(str(file), _stamp(file, "model"), marked("model"))


def schema_of(run_id: str) -> OutputSchema:
    """Return the outputs of a finished run's model.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return OutputSchema.from_json(model_record(run_id)["schema"])
    except (KeyError, TypeError, ValueError) as error:
        raise damaged("model", str(store().folder(run_id).model / "model.json")) from error


def damaged(what: str, file: str) -> UserError:
    """Return the error that says which file of a run can't be read and what to do."""
    return UserError(DAMAGED, what=what, file=file)


def keep_upload(content: bytes, name: str) -> None:
    """Read an upload, keep it and open it. A file that can't be read is refused and not kept.

    Raises:
        UserError: the file can't be read or kept.
    """
    digest = hashlib.sha256(content).hexdigest()
    _read(digest, name, MAX_BYTES, _content=content)
    kept = store().add_dataset(content, name)
    store().ledger.add(UPLOADED, kept.sha256, bytes=kept.bytes)
    open_dataset(kept.sha256)


def keep_later_rows(content: bytes, name: str) -> str:
    """Read an upload and keep it beside the open data set; return its SHA-256.

    Raises:
        UserError: the file can't be read or kept.
    """
    _read(hashlib.sha256(content).hexdigest(), name, MAX_BYTES, _content=content)
    kept = store().add_dataset(content, name)
    store().ledger.add(UPLOADED, kept.sha256, bytes=kept.bytes)
    return kept.sha256


def open_dataset(sha256: str | None) -> None:
    """Go to a data set, or leave the present one; roles, run and generator of another data set don't follow."""
    place.put(dataset=sha256, roles=None, run=None, generator=None)


def stopped_early(runs: Sequence[RunView]) -> frozenset[str]:
    """Return which runs are trials that a sweep stopped since they had fallen behind: nobody cancelled them."""
    ended = [run.id for run in runs if run.state is State.CANCELLED and run.spec.parent]
    return store().noted(PRUNED, ended) if ended else frozenset()


def open_run_from_list(run: RunView) -> None:
    """Go to a run: to its results where it has finished, else to its training."""
    place.put(run=run.id, dataset=None, roles=None, generator=None)
    st.switch_page("views/partition.py" if run.state is State.SUCCEEDED else "views/train.py")


def open_table() -> Table | None:
    """Return the table of the data set in the URL, or nothing where none is open.

    Raises:
        UserError: the URL names a data set that isn't kept here, or that can't be read.
    """
    sha256 = place.get("dataset")
    if sha256 is None:
        return None
    kept = store()
    file = kept.dataset_file(sha256)
    projects.require_dataset(kept, sha256)
    return _read(sha256, file.name, MAX_BYTES, _file=file)


@st.cache_resource(max_entries=4, show_spinner=False)
def open_examples(sha256: str, roles: Roles, _table: Table) -> Examples:
    """Return the examples of a table under given roles. Shared by all sessions: never to be changed.

    Raises:
        TableError: a cell isn't what its role asks for.
    """
    return read_examples(_table, roles)


# A table is shared, not copied, and is found again by what is in it: equal bytes are equal tables.
@st.cache_resource(max_entries=4, show_spinner=False)
def _read(sha256: str, name: str, max_bytes: int, _content: bytes | None = None, _file: Path | None = None) -> Table:
    return read_table(_file or name, content=_content, max_bytes=max_bytes)


def _stamp(file: Path, what: str) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError as error:
        raise damaged(what, str(file)) from error


@st.cache_resource(max_entries=8, show_spinner=False)
def _json(file: str, stamp: int, what: str) -> Mapping[str, Any]:
    try:
        record = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(what, file) from error
    if not isinstance(record, dict):
        raise damaged(what, file)
    return record
