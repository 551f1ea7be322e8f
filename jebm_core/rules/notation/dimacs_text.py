"""The text of a DIMACS CNF file as clauses of numbers, before any name means anything."""

import re
from dataclasses import dataclass
from typing import final

from jebm_core.errors import RuleError

MOST_VARIABLES = 1_000_000
_NAMING = re.compile(r"c\s+([1-9][0-9]{0,8})\s+(\S.*)")
# Kconfig extractors write the type of a variable after its name, and after the type perhaps a value.
_TYPE = re.compile(r"(?:[a-z]+_)?(?:non)?bool(?:ean)?|tristate")


@final
@dataclass(frozen=True)
class Clauses:
    """A formula in conjunctive normal form.

    Attributes:
        count: how many variables there are, numbered from 1.
        names: what comment lines call some of them, and the line that does.
        clauses: literals, negative where the variable must not hold.
        lines: the line on which each clause begins.
    """

    count: int
    names: dict[int, tuple[str, int]]
    clauses: list[tuple[int, ...]]
    lines: list[int]


def read_clauses(text: str, source: str) -> Clauses:
    """Read the header, the clauses, and the names in comment lines ``c 7 name``.

    Where every name is followed by a Kconfig type such as ``bool``, the type is left out.

    Raises:
        RuleError: something that is no DIMACS CNF, or a clause or name too many or too few.

    >>> read_clauses("c 1 A\\nc 2 B\\np cnf 2 1\\n-1 2 0\\n", "r.cnf").clauses
    [(-1, 2)]
    """
    header: tuple[int, int, int] | None = None
    named: dict[int, tuple[str, int]] = {}
    clauses: list[tuple[int, ...]] = []
    lines: list[int] = []
    clause: list[int] = []
    begun = 0
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        words = line.split()
        if not words or words[0][0] == "c":
            naming = _NAMING.fullmatch(line.strip())
            if naming is not None:
                _add_name(named, int(naming[1]), naming[2], number, source)
            continue
        if words[0] == "%":  # older collections end their files like this
            break
        if words[0] == "p":
            header = _header(words, header, number, source)
            continue
        if header is None:
            raise RuleError(
                "{source}, line {line}: expected the header 'p cnf VARIABLES CLAUSES' before the first clause, found "
                "{found!r}. Add the header.",
                line=number,
                source=source,
                found=line.strip()[:40],
            )
        for word in words:
            literal = _literal(word, header[0], number, source)
            if literal:
                begun = begun or number
                clause.append(literal)
                continue
            clauses.append(tuple(clause))
            lines.append(begun or number)
            clause, begun = [], 0
    if header is None:
        raise RuleError(
            "{source} has no header; expected a line 'p cnf VARIABLES CLAUSES' and then the clauses. Give a DIMACS CNF "
            "file.",
            source=source,
        )
    if clause:
        raise RuleError(
            "{source}, line {line}: expected 0 at the end of the clause that begins here, found the end of the file. "
            "Add it, or look whether the file was cut off.",
            line=begun,
            source=source,
        )
    if len(clauses) != header[1]:
        raise RuleError(
            "{source}, line {line}: the header announces {expected} clauses, but the file holds {found}. Correct the "
            "header, or look whether the file was cut off.",
            line=header[2],
            source=source,
            expected=header[1],
            found=len(clauses),
        )
    return Clauses(header[0], _names(named, header[0], source), clauses, lines)


def plain_names(names: list[str]) -> list[str]:
    """The names without the Kconfig types that follow them, if every one has such a type.

    >>> plain_names(["NET bool", "PATH nonbool /usr"]), plain_names(["A bool", "B"])
    (['NET', 'PATH /usr'], ['A bool', 'B'])
    """
    for parts in ([name.split(maxsplit=2) for name in names], [name.rsplit(maxsplit=1) for name in names]):
        if all(len(words) > 1 and _TYPE.fullmatch(words[1]) for words in parts):
            return [" ".join([words[0], *words[2:]]) for words in parts]
    return names


def _header(words: list[str], before: tuple[int, int, int] | None, line: int, source: str) -> tuple[int, int, int]:
    if (
        before is not None
        or len(words) != 4
        or words[1] != "cnf"
        or not (words[2].isdecimal() and words[3].isdecimal())
    ):
        raise RuleError(
            "{source}, line {line}: expected one header 'p cnf VARIABLES CLAUSES' with two whole numbers, found "
            "{found!r}. Correct the header.",
            line=line,
            source=source,
            found=" ".join(words)[:40],
        )
    if len(words[2]) > 12 or len(words[3]) > 12 or int(words[2]) > MOST_VARIABLES:
        raise RuleError(
            "{source}, line {line}: expected at most {most} variables, found {found}. Split the rules into several "
            "files.",
            line=line,
            source=source,
            most=MOST_VARIABLES,
            found=words[2][:40],
        )
    return int(words[2]), int(words[3]), line


def _literal(word: str, count: int, line: int, source: str) -> int:
    digits = word.removeprefix("-")
    literal = int(word) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else count + 1
    if abs(literal) > count:
        raise RuleError(
            "{source}, line {line}: expected variables from 1 to {most}, negated by a minus sign, and 0 at the end of "
            "a clause, found {found!r}. Correct the clause or the header.",
            line=line,
            source=source,
            most=count,
            found=word[:40],
        )
    return literal


def _add_name(named: dict[int, tuple[str, int]], variable: int, name: str, line: int, source: str) -> None:
    known, before = named.setdefault(variable, (name, line))
    if known != name:
        raise RuleError(
            "{source}, line {line}: variable {variable} is called {found!r} here and {known!r} in line {before}. Give "
            "it one name.",
            line=line,
            source=source,
            variable=variable,
            found=name,
            known=known,
            before=before,
        )


def _names(named: dict[int, tuple[str, int]], count: int, source: str) -> dict[int, tuple[str, int]]:
    # A comment that begins with another number names nothing: it only is a comment.
    numbers = sorted(variable for variable in named if variable <= count)
    names = plain_names([named[variable][0] for variable in numbers])
    first: dict[str, int] = {}
    for variable, name in zip(numbers, names, strict=True):
        if first.setdefault(name, variable) != variable:
            raise RuleError(
                "{source}, line {line}: the name {found!r} is that of variable {variable} and of variable {before}. "
                "Names must differ.",
                line=named[variable][1],
                source=source,
                found=name,
                variable=variable,
                before=first[name],
            )
    return {variable: (name, named[variable][1]) for variable, name in zip(numbers, names, strict=True)}
