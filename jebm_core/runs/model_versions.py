"""Versions of models: which run's model goes by a name, how far it has come, and why.

A version is a run under a name that people agree on, with a stage and a note. Of a name at most one version is in
production; who puts another there archives the one before in the same moment.
"""

import time
from dataclasses import asdict, dataclass
from typing import final

from sqlalchemy import Connection, func, insert, select, update

from jebm_core.errors import SpecError, UserError
from jebm_core.runs.database import Database, changed, explained
from jebm_core.runs.ledger import PROMOTED, write_down
from jebm_core.runs.schema import STAGES_OF_MODELS, model_version, run
from jebm_core.runs.views import no_such_run

CANDIDATE, TRIAL, PRODUCTION, ARCHIVED = STAGES_OF_MODELS
"""In which a version is: just made, tried out, the one that counts, or no longer used."""
MOST_NAME = 80
MOST_NOTE = 2000


@final
@dataclass(frozen=True)
class ModelVersion:
    """A version of a model.

    Attributes:
        version: 1, 2, … of this name; never given twice.
        run: whose model it is; None once that run was deleted.
        stage: ``candidate``, ``trial``, ``production`` or ``archived``.
    """

    name: str
    version: int
    run: str | None
    stage: str
    note: str
    created: float

    @property
    def title(self) -> str:
        """The name with its version: ``drive · 2``."""
        return f"{self.name} · {self.version}"


@final
class ModelStore:
    """The model versions of one home; `RunStore.models` is one.

    Args:
        who: adds and promotes.
    """

    def __init__(self, database: Database, who: str) -> None:
        self._database = database
        self._who = who

    def add(self, name: str, run_id: str, note: str = "") -> ModelVersion:
        """Give a run's model the next version number of a name; it is a candidate. A run that is a version of that
        name already stays that version.

        Raises:
            UserError: the run is unknown or has not succeeded, the name or the note is too long, or the store can't be
                written.
        """
        name, note = _plain_name(name), _plain_note(note)
        with explained(self._database.where), self._database.writing(alone=True) as connection:
            state = connection.execute(select(run.c.state).where(run.c.id == run_id)).scalar()
            if state is None:
                raise no_such_run(run_id, self._database.name)
            if state != "succeeded":
                raise UserError(
                    "Expected a run that brought a model; run {run} is {state}. Choose one that succeeded from "
                    "jebm runs list.",
                    run=run_id,
                    state=state,
                )
            query = select(model_version).where(model_version.c.name == name)
            known = connection.execute(query.where(model_version.c.run == run_id)).mappings().first()
            if known is not None:
                return ModelVersion(**known)
            last = select(func.coalesce(func.max(model_version.c.version), 0)).where(model_version.c.name == name)
            number = connection.execute(last).scalar_one() + 1
            made = ModelVersion(name, number, run_id, CANDIDATE, note, time.time())
            connection.execute(insert(model_version), asdict(made))
            write_down(connection, self._who, PROMOTED, made.title, run=run_id, stage=CANDIDATE)
        return made

    def versions(self, name: str | None = None) -> tuple[ModelVersion, ...]:
        """Every version, or those of one name, the newest first."""
        query = select(model_version).order_by(model_version.c.created.desc(), model_version.c.version.desc())
        if name is not None:
            query = query.where(model_version.c.name == name)
        with self._database.reading() as connection:
            return tuple(ModelVersion(**row) for row in connection.execute(query).mappings())

    def of_run(self, run_id: str) -> tuple[ModelVersion, ...]:
        """The versions that a run's model is."""
        return tuple(one for one in self.versions() if one.run == run_id)

    def version(self, name: str, number: int) -> ModelVersion:
        """One version.

        Raises:
            UserError: there is no such version.
        """
        found = next((one for one in self.versions(name) if one.version == number), None)
        if found is None:
            raise UserError(
                "There is no version {version} of a model {name!r} in {place}. See jebm models list.",
                version=number,
                name=name,
                place=self._database.name,
            )
        return found

    def in_stage(self, name: str, stage: str = PRODUCTION) -> ModelVersion:
        """The newest version of a name in a stage: in production there is one at most.

        Raises:
            UserError: there is none.
        """
        _require_stage(stage)
        found = next((one for one in self.versions(name) if one.stage == stage and one.run is not None), None)
        if found is None:
            raise UserError(
                "There is no model {name!r} in the stage {stage} in {place}. See jebm models list.",
                name=name,
                stage=stage,
                place=self._database.name,
            )
        return found

    def promote(self, name: str, number: int, stage: str) -> ModelVersion:
        """Put a version into a stage, up or down. What was in production before is archived.

        Raises:
            UserError: there is no such version or stage, its run was deleted, or the store can't be written.
        """
        _require_stage(stage)
        if self.version(name, number).run is None:
            raise UserError(
                "Expected a version whose run is still there; that of {name} · {version} was deleted. Choose another "
                "version.",
                name=name,
                version=number,
            )
        mine = (model_version.c.name == name) & (model_version.c.version == number)
        with explained(self._database.where), self._database.writing(alone=True) as connection:
            if stage == PRODUCTION:
                self._make_room(connection, name, number)
            if changed(connection, update(model_version).where(mine).values(stage=stage)):
                write_down(connection, self._who, PROMOTED, f"{name} · {number}", stage=stage)
        return self.version(name, number)

    def annotate(self, name: str, number: int, note: str) -> ModelVersion:
        """Replace the note of a version.

        Raises:
            UserError: there is no such version, the note is too long, or the store can't be written.
        """
        self.version(name, number)
        note = _plain_note(note)
        mine = (model_version.c.name == name) & (model_version.c.version == number)
        with explained(self._database.where), self._database.writing() as connection:
            changed(connection, update(model_version).where(mine).values(note=note))
        return self.version(name, number)

    def _make_room(self, connection: Connection, name: str, number: int) -> None:
        others = (model_version.c.name == name) & (model_version.c.version != number)
        top = update(model_version).where(others, model_version.c.stage == PRODUCTION).values(stage=ARCHIVED)
        for archived in connection.execute(top.returning(model_version.c.version)).scalars().all():
            write_down(connection, self._who, PROMOTED, f"{name} · {archived}", stage=ARCHIVED)


def _plain_name(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= MOST_NAME:
        raise SpecError(
            "Expected a name of 1 to {most} characters for the model, found {found}. Choose another name.",
            most=MOST_NAME,
            found=len(name),
        )
    return name


def _plain_note(note: str) -> str:
    if len(note) > MOST_NOTE:
        raise SpecError(
            "Expected a note of at most {most} characters, found {found}. Shorten it.", most=MOST_NOTE, found=len(note)
        )
    return note.strip()


def _require_stage(stage: str) -> None:
    if stage not in STAGES_OF_MODELS:
        raise SpecError(
            "Expected a stage among {known}; found {found!r}. Choose one of these.",
            known=", ".join(STAGES_OF_MODELS),
            found=stage,
        )
