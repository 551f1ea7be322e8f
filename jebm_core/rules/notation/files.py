"""Read a rule file of any notation; the ending of its name says which, else its first words."""

import re
from pathlib import Path
from typing import Literal

from jebm_core.errors import RuleError
from jebm_core.rules.language import RuleSet
from jebm_core.rules.notation.dimacs import read_dimacs
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.notation.structured import read_structured
from jebm_core.rules.notation.uvl import read_uvl

Notation = Literal["text", "structured", "dimacs", "uvl"]

MOST_BYTES = 20_000_000
_ENDINGS: dict[str, Notation] = {
    ".uvl": "uvl",
    ".cnf": "dimacs",
    ".dimacs": "dimacs",
    ".json": "structured",
    ".yaml": "structured",
    ".yml": "structured",
    ".rules": "text",
}
# How the first line begins that is no comment; comments of DIMACS begin with c, those of UVL with //.
_BEGINNINGS: tuple[tuple[re.Pattern[str], Notation], ...] = (
    (re.compile(r"p\s+cnf\s"), "dimacs"),
    (re.compile(r"(?:namespace\s+\S+|include|imports|features)\s*(?://|$)"), "uvl"),
    (re.compile(r"\{"), "structured"),
)
_COMMENT = re.compile(r"c(?:\s|$)|//")
# Bytes that Python's cp932 lets through although Windows assigns them no character.
_NOT_CP932 = re.compile("[\x80\xa0\uf8f0-\uf8f3]")


def read_rule_file(path: Path | str, content: bytes | None = None) -> RuleSet:
    """Read rules from a file, or from the bytes of an uploaded one.

    ``.uvl`` is UVL, ``.cnf`` and ``.dimacs`` are DIMACS CNF, ``.json``, ``.yaml`` and ``.yml`` are structured rules,
    ``.rules`` is text. Under another ending, a file that begins like DIMACS CNF, UVL or JSON is read as such, and
    every other one as text. Characters are UTF-8, with or without a byte order mark, or else cp932 (Shift_JIS).

    Args:
        path: the file; with ``content``, only its name.
        content: the bytes of an uploaded file.

    Raises:
        RuleError: the file is missing, too large, no text, or its rules can't be read.

    >>> read_rule_file("r.txt", b"items A, B").kind, read_rule_file("r.txt", b"c 1 A\\np cnf 1 0\\n").kind
    ('subsets', 'subsets')
    """
    path = Path(path)
    text = _decoded(path.name, _bytes(path, content)).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise RuleError(
            "{file} is empty; expected rules, for example: A requires B. Write them into it, or leave the file out.",
            file=path.name,
        )
    match notation_of(path.name, text):
        case "uvl":
            return read_uvl(text, path.name)
        case "dimacs":
            return read_dimacs(text, path.name)
        case "structured":
            return read_structured(text, path.name)
        case "text":
            return parse_rules(text, path.name)


def notation_of(name: str, text: str) -> Notation:
    """The notation of a file, by the ending of its name or else by how its text begins.

    >>> notation_of("model.UVL", ""), notation_of("model", "features\\n\\tA"), notation_of("r", "features requires A")
    ('uvl', 'uvl', 'text')
    """
    known = _ENDINGS.get(Path(name).suffix.lower())
    if known is not None:
        return known
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and not _COMMENT.match(line)), "")
    for beginning, notation in _BEGINNINGS:
        if beginning.match(first):
            return notation
    return "text"


def _bytes(path: Path, content: bytes | None) -> bytes:
    if content is None and path.is_dir():
        raise RuleError("{file} is a folder; expected a file with rules. Name the file in it.", file=path.name)
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > MOST_BYTES:
            raise RuleError(
                "{file} holds {size} MB; rule files of up to {most} MB are read. Split the rules into several files.",
                file=path.name,
                size=f"{size / 1e6:.1f}",
                most=MOST_BYTES // 1_000_000,
            )
        return path.read_bytes() if content is None else content
    except FileNotFoundError:
        raise RuleError("{file} was not found. Check the name and the folder.", file=path.name) from None
    except OSError as error:
        raise RuleError(
            "{file} can't be read: {reason}. Check that it may be opened and is not open elsewhere.",
            file=path.name,
            reason=error.strerror or type(error).__name__,
        ) from None


def _decoded(file: str, content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content:
        raise RuleError(
            "{file} is no text in UTF-8 or cp932 (Shift_JIS): it holds zero bytes or begins like UTF-16. Give rules as "
            "text, JSON, YAML, DIMACS CNF or UVL, saved as UTF-8.",
            file=file,
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf8_at = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
    try:
        text = content.decode("cp932")
        odd = _NOT_CP932.search(text)
        if odd is None:
            return text
        cp932_at = len(text[: odd.start()].encode("cp932"))
    except UnicodeDecodeError as error:
        cp932_at = error.start
    raise RuleError(
        "{file} is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte {utf8_at} (line {utf8_line}), as "
        "cp932 at byte {cp932_at} (line {cp932_line}). Save the whole file as UTF-8.",
        file=file,
        utf8_at=utf8_at,
        utf8_line=content.count(b"\n", 0, utf8_at) + 1,
        cp932_at=cp932_at,
        cp932_line=content.count(b"\n", 0, cp932_at) + 1,
    )
