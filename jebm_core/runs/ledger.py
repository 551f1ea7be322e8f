"""Who did what and when: a table that nothing is ever taken out of, deletions of runs included.

It holds names and numbers, never what was in a table or a model: what is deleted must be gone from here too.
"""

import getpass
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, insert, select

from jebm_core.runs.database import Database, explained
from jebm_core.runs.schema import ledger

RAN, UPLOADED, EXPORTED, DELETED, PROMOTED = "ran", "uploaded", "exported", "deleted", "promoted"
"""What is written down."""


@final
@dataclass(frozen=True)
class LedgerEntry:
    """One thing that somebody did.

    Attributes:
        who: the name that the person signed in with, else the account on the machine.
        what: ``ran``, ``uploaded``, ``exported``, ``deleted`` or ``promoted``.
        about: the name of a run, a model version (``drive · 2``) or a project, or the SHA-256 of a data set.
        details: more names and numbers.
    """

    written: float
    who: str
    what: str
    about: str
    details: Mapping[str, object]


@final
class Ledger:
    """What was done with one store; `RunStore.ledger` is one.

    Args:
        who: does what is noted here.

    >>> import tempfile; from pathlib import Path
    >>> notes = Ledger(Database(Path(tempfile.mkdtemp()) / "runs.sqlite"), "aoi")
    >>> notes.add(EXPORTED, "k3m9xq2a", rows=12)
    >>> [(one.who, one.what, one.about, one.details["rows"]) for one in notes.entries()]
    [('aoi', 'exported', 'k3m9xq2a', 12)]
    """

    def __init__(self, database: Database, who: str) -> None:
        self._database = database
        self.who = who

    def add(self, what: str, about: str, **details: object) -> None:
        """Note something that was done.

        Raises:
            UserError: the store can't be written.
        """
        with explained(self._database.where), self._database.writing() as connection:
            write_down(connection, self.who, what, about, **details)

    def entries(self, about: str | None = None, limit: int | None = None) -> tuple[LedgerEntry, ...]:
        """Everything that was done, the newest first, or what was done about one thing."""
        query = select(ledger).order_by(ledger.c.id.desc()).limit(limit)
        if about is not None:
            query = query.where(ledger.c.about == about)
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        return tuple(LedgerEntry(row.written, row.who, row.what, row.about, json.loads(row.details)) for row in rows)


def write_down(connection: Connection, who: str, what: str, about: str, **details: object) -> None:
    """Note something within the transaction that does it: neither happens without the other."""
    row = {"written": time.time(), "who": who, "what": what, "about": about}
    connection.execute(insert(ledger), row | {"details": json.dumps(details, ensure_ascii=False)})


def account() -> str:
    """The account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this number, as in many containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
