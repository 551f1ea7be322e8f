"""The words in which a sample project is written down: columns, effects, rules, and nothing that computes."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, final

import numpy as np

Kind = Literal["configurations", "subsets", "rankings"]
ALWAYS = "always"


@final
@dataclass(frozen=True)
class Option:
    """One value of a column as the files spell it, and its name in both languages."""

    value: str
    en: str
    ja: str


@final
@dataclass(frozen=True)
class Column:
    """One column of a file. A column with options is categorical; one without is a number or a 0/1 label.

    Numbers enter the truth as z = (v − centre) / scale, after a natural logarithm where ``log`` is set.
    """

    name: str
    en: str
    ja: str
    options: tuple[Option, ...] = ()
    unit_en: str = ""
    unit_ja: str = ""
    centre: float = 0.0
    scale: float = 1.0
    log: bool = False

    def label(self) -> dict[str, str]:
        """Display label in both languages, with the unit where there is one."""
        en = f"{self.en} ({self.unit_en})" if self.unit_en else self.en
        ja = f"{self.ja}({self.unit_ja})" if self.unit_ja else self.ja
        return {"en": en, "ja": ja}

    def japanese_name(self) -> str:
        """Header of the Japanese file: the ASCII prefix stays, so that the role of the column is still recognised."""
        return self.name.split("_", 1)[0] + "_" + self.ja

    def context(self) -> dict[str, Any]:
        """What the truth has to know of a context column."""
        if self.options:
            return {"name": self.name, "options": [option.value for option in self.options]}
        return {"name": self.name, "centre": self.centre, "scale": self.scale, "log": self.log}


@final
@dataclass(frozen=True)
class Effect:
    """``nats`` are added to the score, times the context term ``when``, where ``event`` happens."""

    when: str
    event: str
    nats: float


@final
@dataclass(frozen=True)
class Rule:
    """Where every slot of ``when`` has one of its options, the slot of ``then`` must, or must not, have one of its."""

    id: str
    when: dict[str, list[str]]
    kind: Literal["requires", "excludes"]
    then: dict[str, list[str]]
    en: str
    ja: str

    def record(self) -> dict[str, Any]:
        """The rule as it stands in ``truth.json``."""
        fields = asdict(self)
        text = {"en": fields.pop("en"), "ja": fields.pop("ja")}
        return {**fields, "text": text}


@final
@dataclass(frozen=True)
class Project:
    """The texts and columns of one sample project."""

    name: str
    kind: Kind
    title: dict[str, str]
    question: dict[str, str]
    description: dict[str, str]
    contexts: tuple[Column, ...]
    outputs: tuple[Column, ...]

    def labels(self) -> dict[str, Any]:
        """The project's entry in ``labels.json``."""
        columns = (*self.contexts, *self.outputs)
        return {
            "title": self.title,
            "question": self.question,
            "description": self.description,
            "columns": {column.name: column.label() for column in columns},
            "options": {
                column.name: {option.value: {"en": option.en, "ja": option.ja} for option in column.options}
                for column in columns
                if column.options
            },
        }


def options(*rows: str) -> tuple[Option, ...]:
    """Options written as ``value | English | Japanese``.

    >>> options("dry | Dry | 乾燥")[0].ja
    '乾燥'
    """
    return tuple(Option(*(cell.strip() for cell in row.split("|"))) for row in rows)


def effects(text: str) -> list[Effect]:
    """Effects written one a line as ``when | event | nats``.

    >>> effects("always | y_a & y_b | -2")
    [Effect(when='always', event='y_a & y_b', nats=-2.0)]
    """
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [Effect(when, event, float(nats)) for when, event, nats in rows]


def scatter(whens: list[str], events: list[str], spread: float, rng: np.random.Generator) -> list[Effect]:
    """Small effects that nobody chose: one normal draw for each pair of term and event, to two decimals."""
    draws = rng.normal(0.0, spread, size=(len(whens), len(events))).round(2)
    return [Effect(w, e, float(draws[i, j])) for i, w in enumerate(whens) for j, e in enumerate(events)]
