"""What the terms of an explanation are called."""

from collections.abc import Mapping
from typing import Any

from app.components.language import _
from app.text import Language
from app.text.numbers import decimal
from app.words import OutputWords


def term_name(term: Mapping[str, Any], words: OutputWords) -> str:
    """Return a part or a pair by its values, a rule by its text, anything else by what it is."""
    parts = [words.pair(item, value) for item, value in zip(term["items"], term["after"], strict=False)]
    match term["kind"]:
        case "part":
            return parts[0]
        case "pair":
            return _("{first} with {second}").format(first=parts[0], second=parts[1])
        case "rule":
            return _("rule “{rule}”").format(rule=term["items"][0])
        case "together":
            return _("all parts together")
        case "reference":
            return _("candidate generator and reference")
    return _("form of the divergence")


def nats(value: float, lang: Language) -> str:
    """Return a contribution with its sign and its unit."""
    unit = _("nat")
    return ("+" if value > 0 else "") + decimal(value, lang, 2) + (f" {unit}" if lang == "en" else unit)


def driver_words(term: Mapping[str, Any], words: OutputWords, lang: Language) -> str:
    """Return a term with what it adds or takes."""
    return _("{term}: {value}").format(term=term_name(term, words), value=nats(term["value"], lang))
