"""The data sets and runs that outlive a page, and tables read once for everybody."""

import hashlib
from pathlib import Path

import streamlit as st

from app.components import place
from jebm_core.runs.records import RunView
from jebm_core.runs.store import RunStore
from jebm_core.tables import Examples, Roles, Table, read_examples, read_table

MAX_BYTES = 1_000_000_000


def store() -> RunStore:
    """Return the run store of this machine's home folder."""
    return RunStore()


def recent_runs(limit: int = 8) -> tuple[RunView, ...]:
    """Return the newest runs, and see to it that queued ones have a runner, even after a restart of the machine."""
    runs = store().list_runs(limit)
    if any(not run.state.ended for run in runs):
        store().ensure_runner()
    return runs


def keep_upload(content: bytes, name: str) -> None:
    """Read an upload, keep it and open it. A file that can't be read is refused and not kept.

    Raises:
        UserError: the file can't be read or kept.
    """
    digest = hashlib.sha256(content).hexdigest()
    _read(digest, name, MAX_BYTES, _content=content)
    open_dataset(store().add_dataset(content, name).sha256)


def open_dataset(sha256: str | None) -> None:
    """Go to a data set, or leave the present one; roles and run of another data set don't follow."""
    place.put(dataset=sha256, roles=None, run=None)


def open_table() -> Table | None:
    """Return the table of the data set in the URL, or nothing where none is open.

    Raises:
        UserError: the URL names a data set that isn't kept here, or that can't be read.
    """
    sha256 = place.get("dataset")
    if sha256 is None:
        return None
    file = store().dataset_file(sha256)
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
