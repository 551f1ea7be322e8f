"""Where in a file of rules something stands, for messages."""

from typing import Any

from jebm_core.errors import Phrase
from jebm_core.rules.language import Name, Rule


def place_of(at: Name | Rule, source: str) -> dict[str, Any]:
    """The values ``place``, ``line`` and ``column`` of a message. What stands in no line of a file, since it was read
    from JSON or YAML, has the file alone for a place.

    >>> str(place_of(Name("A", 3, 7), "r.txt")["place"]), str(place_of(Name("A"), "r.json")["place"])
    ('r.txt, line 3, column 7', 'r.json')
    """
    column = at.column if isinstance(at, Name) else 0
    values = {"source": source, "line": at.line, "column": column}
    place: object = source
    if column:
        place = Phrase("{source}, line {line}, column {column}", values)
    elif at.line:
        place = Phrase("{source}, line {line}", values)
    return {"place": place, "line": at.line, "column": column}
