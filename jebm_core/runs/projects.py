"""Projects: what runs belong to, with somebody who owns them."""

import time
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, func, insert, select, update

from jebm_core.errors import SpecError, UserError
from jebm_core.runs.database import Database, changed, explained
from jebm_core.runs.schema import project, run

MOST_NAME = 80


@final
@dataclass(frozen=True)
class Project:
    """A project. ``owner`` is the name of whoever signed in and made it; empty where nobody signs in.

    Attributes:
        shared: whether everybody may see it; a project that nobody owns is.
        runs: how many belong to it, studies included.
    """

    name: str
    owner: str
    shared: bool
    created: float
    runs: int


@final
class ProjectStore:
    """The projects of one home; `RunStore.projects` is one.

    >>> import tempfile; from pathlib import Path
    >>> shelf = ProjectStore(Database(Path(tempfile.mkdtemp()) / "runs.sqlite"))
    >>> shelf.add("  Drive   units ", owner="aoi").name, [one.name for one in shelf.projects()]
    ('Drive units', ['Drive units', 'default'])
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, owner: str = "") -> Project:
        """Make a project. One of that name and owner that is there already is that project.

        Raises:
            UserError: the name is empty or too long, somebody else owns a project of that name, or the store can't be
                written.
        """
        name = plain_project(name)
        with explained(self._database.where), self._database.writing(alone=True) as connection:
            see_to(connection, name, owner)
        found = self.project(name)
        if found.owner != owner:
            raise UserError(
                "Expected a new name for the project; {name!r} is there already and belongs to {owner!r}. Choose "
                "another name.",
                name=name,
                owner=found.owner,
            )
        return found

    def projects(self) -> tuple[Project, ...]:
        """Every project, the newest first."""
        counted = select(func.count()).where(run.c.project == project.c.name).scalar_subquery()
        query = select(project.c.name, project.c.owner, project.c.shared, project.c.created, counted)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(project.c.created.desc(), project.c.name)).fetchall()
        return tuple(Project(name, owner, bool(shared) or not owner, *rest) for name, owner, shared, *rest in rows)

    def project(self, name: str) -> Project:
        """One project.

        Raises:
            UserError: there is no such project.
        """
        found = next((one for one in self.projects() if one.name == name), None)
        if found is None:
            raise UserError(
                "There is no project {name!r} in {place}. Choose one of: {known}.",
                name=name,
                place=self._database.name,
                known=", ".join(one.name for one in self.projects()),
            )
        return found

    def share(self, name: str, shared: bool) -> Project:
        """Let everybody see a project, or its owner alone.

        Raises:
            UserError: there is no such project, or the store can't be written.
        """
        self.project(name)
        with explained(self._database.where), self._database.writing() as connection:
            changed(connection, update(project).where(project.c.name == name).values(shared=int(shared)))
        return self.project(name)

    def give(self, name: str, owner: str) -> Project:
        """Let somebody else own a project.

        Raises:
            UserError: there is no such project, or the store can't be written.
        """
        self.project(name)
        with explained(self._database.where), self._database.writing() as connection:
            changed(connection, update(project).where(project.c.name == name).values(owner=owner))
        return self.project(name)


def see_to(connection: Connection, name: str, owner: str = "") -> None:
    """Make a project where there is none of that name; for a transaction that goes on alone."""
    if connection.execute(select(project.c.name).where(project.c.name == name)).first() is None:
        connection.execute(insert(project), {"name": name, "owner": owner, "created": time.time()})


def plain_project(name: str) -> str:
    """A project's name with single spaces.

    Raises:
        SpecError: it is empty or too long.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= MOST_NAME:
        raise SpecError(
            "Expected a name of 1 to {most} characters for the project, found {found}. Choose another name.",
            most=MOST_NAME,
            found=len(name),
        )
    return name
