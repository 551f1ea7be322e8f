"""Which run needs what: asked before anything is deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, func, select

from jebm_core.runs.records import STUDIES, SWEEP
from jebm_core.runs.schema import dataset, generator, parameter, run


@final
@dataclass(frozen=True)
class Known:
    """What of a run says whether it may go.

    Attributes:
        source: the data set or the run that it needs besides; empty for none.
        until: when it ended, or was made.
    """

    id: str
    kind: str
    parent: str
    source: str
    dataset: str
    state: str
    until: float
    project: str

    @property
    def ended(self) -> bool:
        """True if nothing more will happen to it by itself."""
        return self.state not in ("queued", "running")

    def belongs_to_parent(self, known: "Mapping[str, Known]") -> bool:
        """True for what makes no sense without its parent: a study, and the trial of a sweep."""
        parent = known.get(self.parent)
        return parent is not None and (self.kind in STUDIES or parent.kind == SWEEP)


def known_runs(connection: Connection) -> dict[str, Known]:
    """Every run by its name, the oldest first. Cost: one query over the runs."""
    source = select(parameter.c.value).where(parameter.c.run == run.c.id, parameter.c.key == "source").scalar_subquery()
    columns = (run.c.id, run.c.kind, run.c.parent, source, run.c.dataset, run.c.state)
    query = select(*columns, func.coalesce(run.c.finished, run.c.created), run.c.project).order_by(run.c.created)
    rows = connection.execute(query).fetchall()
    return {row[0]: Known(*row[:3], json.loads(row[3] or '""'), *row[4:]) for row in rows}


def with_belongings(run_ids: Sequence[str], known: Mapping[str, Known]) -> list[str]:
    """The runs with the studies of them, the trials of sweeps, and the studies of those."""
    found = dict.fromkeys(run_ids)
    before = 0
    while before != len(found):
        before = len(found)
        found |= dict.fromkeys(one.id for one in known.values() if one.parent in found and one.belongs_to_parent(known))
    return list(found)


def datasets_only_of(connection: Connection, going: Sequence[str], known: Mapping[str, Known]) -> tuple[str, ...]:
    """The data sets that these runs refer to and that neither another run nor a saved generator does."""
    leaves = set(going)
    kept = {name for one in known.values() if one.id not in leaves for name in (one.dataset, one.source)}
    kept.update(connection.execute(select(generator.c.source)).scalars())
    named = {name for run_id in going for name in (known[run_id].dataset, known[run_id].source)} - kept
    there = connection.execute(select(dataset.c.sha256).where(dataset.c.sha256.in_(named))).scalars()
    return tuple(sorted(there))
