"""ARFF, the text format of Weka, Mulan and MEKA: numeric, nominal and string attributes; dense and sparse rows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import pandas as pd

from jebm_core.errors import TableError
from jebm_core.tables.records import Note
from jebm_core.tables.text import Parsed, clean_names, no_rows

_TOKEN = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,]*?))\s*(,|$)""")
_ATTRIBUTE = re.compile(r"""@attribute\s+(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(\S+?))\s*(?=[\s{])(.+)$""", re.I)
_SPARSE_ENTRY = re.compile(r"""\s*(\d+)\s+(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,\s]+))\s*(,|$)""")
_WEIGHT = re.compile(r",\s*\{[^{}]*\}\s*$")
_MEKA = re.compile(r"-C\s+(-?\d+)")


@final
@dataclass(frozen=True)
class Attribute:
    """One declared column. ``levels`` is None unless it is nominal."""

    name: str
    numeric: bool
    levels: tuple[str, ...] | None


def parse_arff(file: str, text: str) -> Parsed:
    """Cells of an ARFF file.

    A sparse row ``{i v, …}`` leaves out zeros: a column it does not name is 0, or the first level of a nominal
    attribute. A string column that it does not name is missing. ``?`` is missing. Instance weights are not used (said
    in a note). Rows are numbered from 1 at the first row after ``@data``.
    """
    lines = _lines(text)
    attributes, relation = _header(file, lines)
    names, notes = clean_names(file, [attribute.name for attribute in attributes])
    body = list(lines)
    if not body:
        raise no_rows(file)
    columns = [_empty(attribute, len(body)) for attribute in attributes]
    level_of = [{level: code for code, level in enumerate(attribute.levels or ())} for attribute in attributes]
    sparse_rows = np.array([content.startswith("{") for _, content in body])
    for attribute, column in zip(attributes, columns, strict=True):
        if attribute.numeric or attribute.levels is not None:
            column[sparse_rows] = 0
    weighted = 0
    for row, (line, content) in enumerate(body):
        sparse = bool(sparse_rows[row])
        bare = content
        weight = _WEIGHT.search(content)
        if weight is not None:
            weighted += 1
            bare = content[: weight.start()].rstrip()
        for place, cell in _sparse(file, line, bare, attributes) if sparse else _dense(file, line, bare, attributes):
            if cell is not None:
                columns[place][row] = _value(file, line, attributes[place], level_of[place], cell)
            elif sparse:  # a written ? takes the place of the implied zero
                columns[place][row] = _empty(attributes[place], 1)[0]
    series = {
        name: _series(attribute, column) for name, attribute, column in zip(names, attributes, columns, strict=True)
    }
    found = list(notes)
    if weighted:
        found.append(Note("{count} rows carry a weight; weights are not used.", {"count": weighted}))
    meka = _MEKA.search(relation)
    if meka is not None:
        count = int(meka.group(1))
        labels = names[:count] if count > 0 else names[count:]
        found.append(
            Note(
                "The header marks {count} columns as labels, from {first!r} to {last!r}. Choose them as target "
                "columns.",
                {"count": len(labels), "first": labels[0], "last": labels[-1]},
            )
        )
    return Parsed(pd.DataFrame(series, columns=pd.Index(names)), tuple(found), 1)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        line = raw.strip()
        if line and not line.startswith("%"):
            yield number, line


def _header(file: str, lines: Iterator[tuple[int, str]]) -> tuple[list[Attribute], str]:
    attributes: list[Attribute] = []
    relation = ""
    for number, line in lines:
        word = line.split(None, 1)[0].lower()
        if word == "@relation":
            relation = line
        elif word == "@attribute":
            attributes.append(_attribute(file, number, line))
        elif word == "@data" and attributes:
            return attributes, relation
        else:
            raise TableError(
                "{file}, line {line}: expected @relation, @attribute or @data, found {found!r}. "
                "An ARFF file lists its attributes before the line @data.",
                file=file,
                line=number,
                found=line[:40],
            )
    raise TableError(
        "{file} has no line @data, so it holds no rows. An ARFF file lists its attributes, then @data, then its rows.",
        file=file,
    )


def _attribute(file: str, number: int, line: str) -> Attribute:
    match = _ATTRIBUTE.match(line)
    if match is not None:
        name = next((part for part in match.groups()[:3] if part is not None), "")
        name = re.sub(r"\\(.)", r"\1", name)
        kind = match.group(4).strip()
        if kind.startswith("{") and kind.endswith("}"):
            levels = tuple(token for token, _ in _tokens(kind[1:-1].strip()) if token is not None)
            return Attribute(name, False, levels)
        word = kind.split()[0].lower()
        if word in ("numeric", "real", "integer"):
            return Attribute(name, True, None)
        if word in ("string", "date"):
            return Attribute(name, False, None)
    raise TableError(
        "{file}, line {line}: expected an attribute that is numeric, real, integer, string, date or a list of levels "
        "in braces, found {found!r}. Correct the line, or leave the attribute out.",
        file=file,
        line=number,
        found=line[:60],
    )


def _tokens(text: str) -> Iterator[tuple[str | None, bool]]:
    """Fields between commas; None for a bare ?. The flag says whether reading went well."""
    if "'" not in text and '"' not in text:
        for raw in text.split(","):
            field = raw.strip()
            yield (None if field == "?" else field), True
        return
    place = 0
    while True:
        match = _TOKEN.match(text, place)
        if match is None:
            yield text[place:], False
            return
        quoted = match.group(1) if match.group(1) is not None else match.group(2)
        if quoted is not None:
            yield re.sub(r"\\(.)", r"\1", quoted), True
        else:
            bare = match.group(3)
            yield (None if bare == "?" else bare), not bare.startswith(("'", '"'))
        place = match.end()
        if match.group(4) != ",":
            return


def _dense(file: str, line: int, content: str, attributes: list[Attribute]) -> Iterator[tuple[int, str | None]]:
    if "," not in content and "\t" in content:
        content = content.replace("\t", ",")
    cells = list(_tokens(content))
    if len(cells) != len(attributes) or not all(well for _, well in cells):
        raise TableError(
            "{file}, line {line}: expected {expected} fields, one for each attribute, found {found}. "
            "Put text that holds a comma in quotes, and close every quote.",
            file=file,
            line=line,
            expected=len(attributes),
            found=len(cells),
        )
    for place, (cell, _) in enumerate(cells):
        yield place, cell


def _sparse(file: str, line: int, content: str, attributes: list[Attribute]) -> Iterator[tuple[int, str | None]]:
    inside = content[1:-1].strip() if content.endswith("}") else None
    entries = [] if inside == "" else _sparse_entries(inside) if inside is not None else None
    seen = -1
    for place, cell in entries if entries is not None else [(-1, None)]:
        if not seen < place < len(attributes):
            raise TableError(
                "{file}, line {line}: expected a sparse row such as {{0 1.5, 3 yes}} with growing attribute numbers "
                "from 0 to {last}, found {found!r}. Correct the row.",
                file=file,
                line=line,
                last=len(attributes) - 1,
                found=content[:60],
            )
        seen = place
        yield place, cell


def _sparse_entries(inside: str) -> list[tuple[int, str | None]]:
    entries: list[tuple[int, str | None]] = []
    place = 0
    while True:
        match = _SPARSE_ENTRY.match(inside, place)
        if match is None:
            return [*entries, (-1, None)]
        quoted = match.group(2) if match.group(2) is not None else match.group(3)
        cell = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match.group(4)
        entries.append((int(match.group(1)), None if quoted is None and cell == "?" else cell))
        place = match.end()
        if match.group(5) != ",":
            return entries


def _empty(attribute: Attribute, rows: int) -> np.ndarray:
    if attribute.numeric:
        return np.full(rows, np.nan)
    if attribute.levels is not None:
        return np.full(rows, -1, dtype=np.int64)
    return np.full(rows, None, dtype=object)


def _value(file: str, line: int, attribute: Attribute, level_of: dict[str, int], cell: str) -> object:
    if attribute.numeric:
        try:
            return float(cell)
        except ValueError:
            raise TableError(
                "{file}, line {line}, attribute {column!r}: expected a number, found {found!r}. "
                "Correct the cell, or write ? where the value is missing.",
                file=file,
                line=line,
                column=attribute.name,
                found=cell,
            ) from None
    if attribute.levels is None:
        return cell
    if cell not in level_of:
        raise TableError(
            "{file}, line {line}, attribute {column!r}: expected one of its declared levels, found {found!r}. "
            "Correct the cell, or add the level to the @attribute line.",
            file=file,
            line=line,
            column=attribute.name,
            found=cell,
        )
    return level_of[cell]


def _series(attribute: Attribute, column: np.ndarray) -> pd.Series:
    if attribute.numeric:
        return pd.Series(column)
    if attribute.levels is not None:
        return pd.Series(pd.Categorical.from_codes(column, categories=pd.Index(attribute.levels, dtype="str")))
    return pd.Series(column, dtype="str")
