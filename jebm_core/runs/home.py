"""Where jebm keeps its runs: one home folder per person and machine.

::

    home/
      jebm.sqlite                    the run store (see ``database``)
      runner.lock  runner.log        the one runner of this home; runner.json says which process it is
      datasets/<sha256>/<name>       every uploaded file, kept once
      runs/<run id>/
        model/  checkpoint/          written by the fit
        evaluation.json              numbers and provenance, for the pages
        study.json                   instead of both, where the run is about another one
        log.txt                      everything the job printed
        exit.json                    the job's last word
"""

import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from jebm_core.errors import UserError

_RUN_ID = re.compile(r"[a-z0-9]{4,32}")
_ID_SIGNS = "abcdefghjkmnpqrstuvwxyz23456789"  # no 0/o, 1/i/l: people read names aloud
_LONGEST_NAME = 200  # bytes; common file systems stop at 255, and a temporary suffix must fit


@final
@dataclass(frozen=True)
class RunFolder:
    """The files of one run. Nothing is created by naming them."""

    folder: Path

    @property
    def model(self) -> Path:
        """The saved model, a folder."""
        return self.folder / "model"

    @property
    def checkpoint(self) -> Path:
        """What an interrupted fit resumes from, a folder."""
        return self.folder / "checkpoint"

    @property
    def evaluation(self) -> Path:
        """The evaluation with its provenance, JSON."""
        return self.folder / "evaluation.json"

    @property
    def study(self) -> Path:
        """What a study found out about its parent, JSON."""
        return self.folder / "study.json"

    @property
    def log(self) -> Path:
        """Everything the job printed, with the traceback of a fault."""
        return self.folder / "log.txt"

    @property
    def last_word(self) -> Path:
        """How the job says that it ended, JSON; readable even if no runner was watching."""
        return self.folder / "exit.json"

    def has_checkpoint(self) -> bool:
        """True if an interrupted fit left something to resume from."""
        return self.checkpoint.is_dir() and any(self.checkpoint.iterdir())


@final
@dataclass(frozen=True)
class Home:
    """The home folder and the names inside it.

    Args:
        url: of a PostgreSQL database that keeps the runs in place of a file; several machines may share it where they
            share the folder too.

    >>> Home(Path("h")).run("ab12").log.as_posix()
    'h/runs/ab12/log.txt'
    """

    folder: Path
    url: str | None = field(default=None, repr=False)  # it may hold a password

    @property
    def database(self) -> Path | str:
        """The run store: a SQLite file of this folder, or the URL of a PostgreSQL database."""
        return self.folder / "jebm.sqlite" if self.url is None else self.url

    def still_there(self) -> bool:
        """False once somebody has deleted the home folder, or the store in it."""
        return self.folder.is_dir() and (self.url is not None or (self.folder / "jebm.sqlite").exists())

    @property
    def runner_lock(self) -> Path:
        """Locked for as long as a runner lives; the kernel frees it when the runner dies."""
        return self.folder / "runner.lock"

    @property
    def runner_log(self) -> Path:
        """What the runners of this home did."""
        return self.folder / "runner.log"

    def dataset(self, sha256: str) -> Path:
        """The folder that holds the one file with these contents."""
        return self.folder / "datasets" / sha256

    def dataset_file(self, sha256: str) -> Path:
        """Where the contents of a data set are.

        Raises:
            UserError: if they are not in this home.
        """
        folder = self.dataset(sha256) if sha256.isalnum() else None
        files = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
        if not files:
            raise UserError(
                "Expected the data file with SHA-256 {sha256} among the uploads; found none. Upload the file again.",
                sha256=sha256,
            )
        return files[0]

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run.

        Raises:
            UserError: if the text can't be a run's name, such as one that leads out of the home folder.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise UserError(
                "Expected the name of a run, lower-case letters and digits such as k3m9xq2a; found {run!r}. "
                "Copy the name from the list of runs.",
                run=run_id,
            )
        return RunFolder(self.folder / "runs" / run_id)


def home_at(folder: Path) -> Home:
    """The home in a folder, with the database that ``JEBM_DATABASE`` names where it is set."""
    return Home(folder.expanduser().absolute(), os.environ.get("JEBM_DATABASE") or None)


def default_home() -> Home:
    """The home folder of this person: ``JEBM_HOME`` where it is set, else the platform's folder for user data."""
    chosen = os.environ.get("JEBM_HOME")
    if chosen:
        return home_at(Path(chosen))
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home_at(base / "jebm")


def new_id() -> str:
    """A name that people can read aloud, for a run or a generator version."""
    return "".join(secrets.choice(_ID_SIGNS) for _ in range(8))


def plain_name(name: str) -> str:
    """The last part of an uploaded file's name, whichever system it came from.

    Raises:
        UserError: if no usable name is left.

    >>> plain_name("C:\\\\data\\\\orders.csv"), plain_name("../../orders.csv")
    ('orders.csv', 'orders.csv')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    too_long = len(last.encode("utf-8", "surrogatepass")) > _LONGEST_NAME
    if last in ("", ".", "..") or too_long or any(ord(sign) < 32 for sign in last):
        raise UserError(
            "Expected a file name of at most {longest} bytes without control characters; found {name!r}. "
            "Rename the file and upload it again.",
            longest=_LONGEST_NAME,
            name=name,
        )
    return last


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk never leaves half of it under its name.

    Raises:
        OSError: if the disk refuses; the old file, if any, is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON atomically. NaN and infinities are an error, since other programs can't read them."""
    write_atomically(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1).encode("utf-8"))
