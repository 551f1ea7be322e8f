"""Collect every sentence that a person can see, from the dashboard and from the errors and notes of ``jebm_core``."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from app.text import FOLDER

ROOT = FOLDER.parent.parent
KEYWORDS = {
    **DEFAULT_KEYWORDS,
    **dict.fromkeys(
        (
            "marked",
            "Message",
            "UserError",
            "TableError",
            "SpecError",
            "RuleError",
            "ModelFolderError",
            "ProcessError",
            "TrainingStopped",
            "Note",
            "Sentence",
            "Phrase",
        ),
        None,
    ),
}
# A fixed date: a catalogue that changes only when a sentence does gives a readable history.
_STAMP = datetime(2026, 1, 1, tzinfo=UTC)


def extract(root: Path = ROOT) -> Catalog:
    """Return the template of all messages below ``app`` and ``jebm_core``, in order of place.

    >>> catalog = extract()
    >>> "Data" in catalog
    True
    """
    catalog = Catalog(project="jebm", creation_date=_STAMP, revision_date=_STAMP, fuzzy=False, header_comment="")
    for place, message in _messages(root):
        catalog.add(message, locations=[(place, 1)])
    return catalog


def refresh(root: Path = ROOT) -> list[str]:
    """Rewrite ``messages.pot``, update and compile the Japanese catalogue, and return what lacks a translation.

    Translations of changed sentences are never guessed: a new sentence is empty until somebody writes it.
    """
    template = extract(root)
    with (FOLDER / "messages.pot").open("wb") as file:
        write_po(file, template, width=118, no_location=False, include_lineno=False, sort_by_file=True)
    folder = FOLDER / "ja" / "LC_MESSAGES"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "messages.po"
    old = Catalog(locale="ja")
    if source.exists():
        with source.open("rb") as file:
            old = read_po(file, locale="ja")
    new = Catalog(
        locale="ja", project="jebm", creation_date=_STAMP, revision_date=_STAMP, fuzzy=False, header_comment=""
    )
    for message in template:
        if message.id:
            known = old.get(message.id)
            new.add(message.id, known.string if known else None, locations=message.locations)
    with source.open("wb") as file:
        write_po(file, new, width=118, include_lineno=False, sort_by_file=True)
    with (folder / "messages.mo").open("wb") as file:
        write_mo(file, new)
    return [str(message.id) for message in new if message.id and not message.string]


def _messages(root: Path) -> Iterator[tuple[str, str]]:
    for package in ("app", "jebm_core"):
        found = extract_from_dir(root / package, method_map=[("**.py", "python")], keywords=KEYWORDS)
        for name, _line, message, _comments, _context in found:
            text = message if isinstance(message, str) else message[0]
            # The command line speaks English on a terminal, and nothing of it reaches a page.
            if text and not (package == "jebm_core" and (" " not in text or name.startswith("cli/"))):
                yield f"{package}/{name}", text
    for file in sorted((root / "jebm_core").rglob("*.py")):
        for text in _sentences_of_enumerations(file):
            yield file.relative_to(root).as_posix(), text


def _sentences_of_enumerations(file: Path) -> Iterator[str]:
    """Sentences that are values of an enumeration, such as why training stopped."""
    for entry in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(entry, ast.ClassDef) or not any(ast.unparse(base) == "Enum" for base in entry.bases):
            continue
        for line in entry.body:
            value = line.value if isinstance(line, ast.Assign) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and " " in value.value:
                yield value.value
