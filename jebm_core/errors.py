"""The errors that jebm raises on purpose.

JebmError
├── UserError            the input is at fault: exit code 2, one sentence for the person
│   ├── TableError       a table or a cell of it
│   ├── SpecError        a setting, an option or a combination of them
│   ├── RuleError        a rule that can't be read, or rules that can't be met; knows line and column
│   └── ModelFolderError a saved model or run that can't be read
├── ProcessError         processes that train together lost one another, or no longer agree
├── TrainingStopped      a run ended without a model that may be used; carries the reason as a sentence
└── Cancelled            somebody asked the work to stop

A message says what was expected, what was found, where, and what to do next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True)
class Phrase:
    """A part of a sentence with a template of its own, so that it is translated with the sentence that holds it.

    >>> str(Phrase("line {line}", {"line": 3}))
    'line 3'
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values) if self.values else self.template


class JebmError(Exception):
    """Base of every error that jebm raises on purpose."""


class UserError(JebmError):
    """The input is at fault. ``str(error)`` is the sentence a person reads, in English.

    The sentence is kept as a template and its values, so that a catalogue can translate it:
    ``catalogue(error.template).format(**error.values)``.

    >>> error = TableError("Column {column!r} occurs twice in {file}.", column="y_a", file="t.csv")
    >>> str(error)
    "Column 'y_a' occurs twice in t.csv."
    """

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        self.values = values
        super().__init__(template.format(**values) if values else template)


class TableError(UserError):
    """A table, a column or a cell is not what was expected."""


class SpecError(UserError):
    """A setting, or a combination of settings, that can't be met."""


class RuleError(UserError):
    """A rule that can't be read or bound, or rules that can't be met.

    Attributes:
        line, column: where, counted from 1; 0 where it concerns no single place.
    """

    def __init__(self, template: str, *, line: int = 0, column: int = 0, **values: object) -> None:
        self.line, self.column = line, column
        super().__init__(template, line=line, column=column, **values)


class ModelFolderError(UserError):
    """A model folder or run folder that is missing, damaged or of another version."""


class ProcessError(JebmError):
    """Processes that train one model lost one another, or no longer hold the same numbers; a template and its
    values, as in `UserError`."""

    def __init__(self, template: str, **values: object) -> None:
        self.template = template
        self.values = values
        super().__init__(template.format(**values))


class TrainingStopped(JebmError):
    """Training ended without a usable model; the message is the reason."""


class Cancelled(JebmError):
    """The work was asked to stop and did so."""
