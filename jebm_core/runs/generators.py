"""Saved candidate generators: every change is a new version, and no version ever changes."""

import time
from dataclasses import asdict
from typing import final

from sqlalchemy import delete, insert, select

from jebm_core.errors import UserError
from jebm_core.runs.database import Database, explained
from jebm_core.runs.home import new_id
from jebm_core.runs.records import GeneratorVersion
from jebm_core.runs.schema import generator

MOST_NAME = 80


@final
class GeneratorStore:
    """The generator versions of one home; `RunStore.generators` is one.

    >>> import tempfile; from pathlib import Path
    >>> shelf = GeneratorStore(Database(Path(tempfile.mkdtemp()) / "runs.sqlite"))
    >>> shelf.save("Assembly", "A requires B").title, shelf.save("Assembly", "A excludes B").title
    ('Assembly · 1', 'Assembly · 2')
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, name: str, rules: str, reference: str = "auto", source: str = "") -> GeneratorVersion:
        """Keep a generator under a name. What equals the newest version of that name is that version.

        Raises:
            UserError: the name is empty or too long, or the store can't be written.
        """
        name = " ".join(name.split())
        if not 0 < len(name) <= MOST_NAME:
            raise UserError(
                "Expected a name of 1 to {most} characters for the generator, found {found}. Choose another name.",
                most=MOST_NAME,
                found=len(name),
            )
        with explained(self._database.where), self._database.writing(alone=True) as connection:
            newest = select(generator).where(generator.c.name == name).order_by(generator.c.version.desc()).limit(1)
            row = connection.execute(newest).mappings().first()
            last = None if row is None else GeneratorVersion(**row)
            if last is not None and (last.rules, last.reference, last.source) == (rules, reference, source):
                return last
            number = 1 if last is None else last.version + 1
            saved = GeneratorVersion(new_id(), name, number, rules, reference, source, time.time())
            connection.execute(insert(generator), asdict(saved))
        return saved

    def versions(self) -> tuple[GeneratorVersion, ...]:
        """Every version, newest first."""
        with self._database.reading() as connection:
            query = select(generator).order_by(generator.c.created.desc(), generator.c.version.desc())
            return tuple(GeneratorVersion(**row) for row in connection.execute(query).mappings())

    def version(self, generator_id: str) -> GeneratorVersion:
        """One version.

        Raises:
            UserError: there is no such version.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(generator).where(generator.c.id == generator_id)).mappings().first()
        if row is None:
            raise UserError(
                "There is no generator version {found!r} in {folder}. Choose one from the list of generators.",
                found=generator_id,
                folder=self._database.name,
            )
        return GeneratorVersion(**row)

    def delete(self, generator_id: str) -> None:
        """Delete a version. Runs keep the rules that they were started with.

        Raises:
            UserError: there is no such version, or the store can't be written.
        """
        self.version(generator_id)
        with explained(self._database.where), self._database.writing() as connection:
            connection.execute(delete(generator).where(generator.c.id == generator_id))
