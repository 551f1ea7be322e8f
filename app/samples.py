"""The sample projects: files made with the project, whose truth is known, and the words that name them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from app.text import Language
from sample_data import assembly_rules

FIRST = "assembly"


@dataclass(frozen=True)
class Sample:
    """One sample project: its file and what it is called, asked and described as, in a language."""

    name: str
    file: str
    title: str
    question: str
    description: str

    def content(self) -> bytes:
        """Return the file's bytes."""
        return (resources.files("sample_data") / self.file).read_bytes()


def samples(lang: Language) -> list[Sample]:
    """Return the sample projects, the one to begin with first."""
    names = sorted(_labels(), key=lambda name: (name != FIRST, name))
    return [
        Sample(name, f"{name}.csv", *(_said(name, part, lang) for part in ("title", "question", "description")))
        for name in names
    ]


@dataclass(frozen=True)
class Labels:
    """What columns and options are called in a language; what has no name keeps the one it has in the file."""

    columns: Mapping[str, str]
    options: Mapping[str, Mapping[str, str]]

    def column(self, name: str) -> str:
        """Return the display name of a column."""
        return self.columns.get(name, name)

    def option(self, column: str, value: str) -> str:
        """Return the display name of an option."""
        return self.options.get(column, {}).get(value, value)


def labels_of(file: str, lang: Language) -> Labels:
    """Return the display names of a sample file; for any other file, none.

    >>> labels_of("mine.csv", "en").column("y_a")
    'y_a'
    """
    entry = _labels().get(file.removesuffix(".csv"), {}) if file.endswith(".csv") else {}
    return Labels(
        {name: words[lang] for name, words in entry.get("columns", {}).items()},
        {
            column: {value: words[lang] for value, words in options.items()}
            for column, options in entry.get("options", {}).items()
        },
    )


def sample_rules(file: str, lang: Language) -> str | None:
    """Return the rules of a sample project as text, with notes in the language; nothing for any other file.

    >>> (sample_rules("assembly.csv", "en") or "").startswith("# Design rules"), sample_rules("mine.csv", "en")
    (True, None)
    """
    words: dict[str, Language] = {"assembly.csv": "en", "assembly_ja.csv": "ja"}
    return assembly_rules.text(words[file], lang) if file in words else None


def _said(name: str, part: str, lang: Language) -> str:
    text: str = _labels()[name][part][lang]
    return text.replace(":", "：") if lang == "ja" else text


@cache
def _labels() -> dict[str, Any]:
    source = resources.files("sample_data") / "labels.json"
    entries = json.loads(source.read_text(encoding="utf-8"))
    return {name: entry for name, entry in entries.items() if isinstance(entry, dict) and "title" in entry}
