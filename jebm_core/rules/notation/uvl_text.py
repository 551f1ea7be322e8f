"""The text of a UVL file as lines: without comments, and joined where brackets go on in the next line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from jebm_core.errors import RuleError

_COMMENT = re.compile(r"""(?P<quoted>"[^"\n]*"|'[^'\n]*')|//[^\n]*|/\*.*?\*/""", re.DOTALL)
_BRACKETS = re.compile(r""""[^"\n]*"|'[^'\n]*'|[{}()\[\]]""")
_ENTRY = re.compile(r"""\s*("[^"]*"|[^\s,{}\[\]"']+)\s*(.*?)\s*""", re.DOTALL)
# A line end inside a comment: it ends no line, but is counted.
_INSIDE = "\0"


@final
@dataclass(frozen=True)
class Line:
    """What stands in a line, and behind how much white space.

    Attributes:
        number: of the first line, where several were joined.
        column: where the text begins.
    """

    number: int
    indent: str
    text: str

    @property
    def column(self) -> int:
        """The column of the text, counted from 1."""
        return len(self.indent) + 1


def logical_lines(text: str, source: str) -> Iterator[Line]:
    """The lines that hold something.

    Raises:
        RuleError: brackets that are not closed.

    >>> list(logical_lines("features // all\\n  A {cost 5,\\n mass 2}\\n", "m.uvl"))[1]
    Line(number=2, indent='  ', text='A {cost 5, mass 2}')
    """
    plain = _COMMENT.sub(_blank, text.replace("\r\n", "\n").replace("\r", "\n"))
    begun: Line | None = None
    depth = 0
    number = 0
    for line in plain.split("\n"):
        first = number + 1
        number = first + line.count(_INSIDE)
        indent = line[: len(line) - len(line.lstrip())]
        content = line.replace(_INSIDE, " ").strip()
        if not content:
            continue
        if begun is None:
            begun = Line(first, indent, content)
        else:
            begun = Line(begun.number, begun.indent, f"{begun.text} {content}")
        depth += sum((mark in "{([") - (mark in "})]") for mark in _BRACKETS.findall(content) if len(mark) == 1)
        if depth <= 0:
            yield begun
            begun, depth = None, 0
    if begun is not None:
        raise RuleError(
            "{source}, line {line}: a bracket that opens here is not closed. Close it with }}, ) or ].",
            line=begun.number,
            source=source,
        )


def entries(braces: str) -> Iterator[tuple[str, str]]:
    """The keys and values of attributes in braces; a key alone has an empty value.

    >>> list(entries("{cost 5, abstract, note 'a, b', sizes [1, 2]}"))
    [('cost', '5'), ('abstract', ''), ('note', "'a, b'"), ('sizes', '[1, 2]')]
    """
    inside = braces.strip()[1:-1]
    begin = depth = 0
    for mark in re.finditer(r""""[^"\n]*"|'[^'\n]*'|[{}()\[\],]|$""", inside):
        depth += (mark[0] in tuple("{([")) - (mark[0] in tuple("})]"))
        if (mark[0] == "," and depth == 0) or not mark[0]:
            entry = _ENTRY.fullmatch(inside[begin : mark.start()])
            if entry is not None:
                yield entry[1].strip('"'), entry[2]
            begin = mark.end()


def _blank(match: re.Match[str]) -> str:
    return match[0] if match["quoted"] else " " + _INSIDE * match[0].count("\n")
