"""Sentences as templates with values, so that they can be kept in a store and shown in the reader's language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast, final

from jebm_core.errors import Phrase, UserError


@final
@dataclass(frozen=True)
class Message:
    """A sentence as its template and values, so that a page can show it in the reader's language.

    >>> message = Message("{n} rows were left out.", {"n": 3})
    >>> str(message)
    '3 rows were left out.'
    >>> message.render({"{n} rows were left out.": "{n}行を除外しました。"}.get)
    '3行を除外しました。'
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def render(self, translate: Callable[[str], str | None] = str) -> str:
        """The sentence, through a catalogue; English where the catalogue has none."""
        template = translate(self.template) or self.template
        values = {name: _rendered(value, translate) for name, value in self.values.items()}
        return template.format(**values) if values else template

    def __str__(self) -> str:
        return self.render()

    def to_json(self) -> dict[str, object]:
        """A dictionary that JSON can hold; a value of any other type becomes its text."""
        return {"template": self.template, "values": {name: plain(value) for name, value in self.values.items()}}

    @staticmethod
    def from_json(content: Mapping[str, object]) -> "Message":
        """The inverse of ``to_json``."""
        values = cast(Mapping[str, object], content["values"])
        return Message(str(content["template"]), {name: _restored(value) for name, value in values.items()})

    @staticmethod
    def of(error: BaseException) -> "Message":
        """The sentence of an error raised on purpose."""
        if isinstance(error, UserError):
            return Message(error.template, error.values)
        return Message(str(error))


def plain(value: object) -> object:
    """The value as JSON can hold it: numbers, text and lists as they are, anything else as its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Phrase | Message):
        return Message(value.template, value.values).to_json()
    return str(value)


def _rendered(value: object, translate: Callable[[str], str | None]) -> object:
    is_phrase = isinstance(value, Phrase | Message)
    return Message(value.template, value.values).render(translate) if is_phrase else value


def _restored(value: object) -> object:
    """A phrase inside a message as a message of its own."""
    is_message = isinstance(value, Mapping) and value.keys() == {"template", "values"}
    return Message.from_json(cast(Mapping[str, object], value)) if is_message else value
