"""The text of the rules that somebody is writing, one draft a data set, until it is saved as a version.

The session holds it, and the browser's tab beside it: moving to another page, another language or a reload keeps it.
"""

from dataclasses import dataclass
from typing import Final

import streamlit as st

_STATE: Final = "rule_drafts"


@dataclass
class Draft:
    """A text under way.

    Attributes:
        slot: the data set it is about.
        base: the version it began as; empty for none.
        revision: changes whenever the text was changed by anything but the editor.
        touched: whether anybody changed it in this session.
        before: the text that the last replacement took away.
        goto: a line to show, and a number that makes each request new.
    """

    slot: str
    base: str = ""
    text: str = ""
    revision: int = 0
    touched: bool = False
    before: str | None = None
    goto: tuple[int, int] | None = None

    def replace(self, text: str, base: str | None = None) -> None:
        """Put another text in place of the present one, which can be brought back."""
        self.before = self.text if self.text.strip() and self.text != text else None
        self.text, self.touched = text, True
        self.revision += 1
        if base is not None:
            self.base = base

    def append(self, line: str) -> None:
        """Add a line at the end and show it."""
        start = self.text.rstrip("\n")
        self.text = f"{start}\n{line}\n" if start else f"{line}\n"
        self.touched, self.before = True, None
        self.revision += 1
        self.show(self.text.count("\n"))

    def comment_out(self, line: int) -> None:
        """Turn the statement that begins in a line into a note."""
        lines = self.text.split("\n")
        for at in range(line - 1, statement_end(lines, line - 1) + 1):
            lines[at] = f"# {lines[at]}"
        self.replace("\n".join(lines))

    def show(self, line: int) -> None:
        """Have the editor show a line."""
        self.goto = (line, (self.goto[1] if self.goto else 0) + 1)


def draft_of(slot: str) -> Draft:
    """Return the draft of a data set."""
    drafts: dict[str, Draft] = st.session_state.setdefault(_STATE, {})
    return drafts.setdefault(slot, Draft(slot))


def take_edit(slot: str, text: str, revision: int) -> None:
    """Take over what was typed, unless the text was replaced meanwhile."""
    draft = draft_of(slot)
    if revision == draft.revision:
        draft.text, draft.touched = text, True


def statement_end(lines: list[str], start: int) -> int:
    """Return the last line of a statement: it goes on after a comma, a colon and inside brackets.

    >>> statement_end(["A excludes B,", "  C", "D"], 0), statement_end(["at most 1 of (A, # one", "B)", ""], 0)
    (1, 1)
    """
    depth = 0
    for at in range(start, len(lines)):
        plain = _without_quotes(lines[at])
        depth += sum(plain.count(mark) for mark in "({（｛") - sum(plain.count(mark) for mark in ")}）｝")
        if depth <= 0 and not plain.rstrip().endswith((",", ":", "、", "，", "：")):
            return at
    return len(lines) - 1


def _without_quotes(line: str) -> str:
    """Return a line without its quoted names and without its note."""
    kept, closing = "", ""
    for mark in line:
        if closing:
            closing = "" if mark == closing else closing
        elif mark in '"「':
            closing = "」" if mark == "「" else mark
            kept += "x"
        elif mark == "#":
            break
        else:
            kept += mark
    return kept
