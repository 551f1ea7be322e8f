"""No sentence reaches a person past the catalogue: no literal text is passed to anything that draws."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.text import FOLDER

APP = FOLDER.parent
DRAWN = [*sorted((APP / "views").glob("*.py")), *sorted((APP / "components").glob("*.py")), APP / "main.py"]
# Arguments that hold a code and not a word.
CODES = {
    "key",
    "icon",
    "type",
    "color",
    "width",
    "height",
    "gap",
    "layout",
    "page_icon",
    "vertical_alignment",
    "horizontal_alignment",
    "file_name",
    "mime",
    "label_visibility",
    "on_click",
    "mode",
    "hide_index",
    "disabled",
    "column_order",
    "format",
}
OWN = {"page_heading", "empty_state", "explain", "problem", "Quantity", "Action", "Stage", "answer_line", "figure"}


def _literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield from (
            part.value for part in node.values if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BinOp):
        yield from _literals(node.left)
        yield from _literals(node.right)
    elif isinstance(node, ast.List | ast.Tuple):
        for part in node.elts:
            yield from _literals(part)


def untranslated(source: str) -> list[str]:
    """Return the literals with letters in them that reach a drawing call of ``source`` by themselves."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        target = call.func
        drawn = isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name | ast.Attribute)
        root = target
        while isinstance(root, ast.Attribute):
            root = root.value
        by_streamlit = drawn and isinstance(root, ast.Name) and root.id == "st"
        if by_streamlit and isinstance(target, ast.Attribute) and target.attr in ("switch_page", "Page", "latex"):
            words = [part.value for part in call.keywords if part.arg in ("title", "help")]
        elif by_streamlit and isinstance(target, ast.Attribute) and target.attr in ("page_link",):
            words = [part.value for part in call.keywords if part.arg not in CODES]
        elif by_streamlit or (isinstance(target, ast.Name) and target.id in OWN):
            words = [*call.args, *(part.value for part in call.keywords if part.arg not in CODES)]
        else:
            continue
        for word in words:
            found += [text for text in _literals(word) if _is_prose(text)]
    return found


def _is_prose(text: str) -> bool:
    code = text.startswith((":material/", "views/", "\\")) or (text.islower() and " " not in text)
    return any(mark.isalpha() for mark in text) and not code


@pytest.mark.parametrize("file", DRAWN, ids=lambda file: file.name)
def test_every_visible_string_is_looked_up(file: Path) -> None:
    allowed = {"jebm", " · jebm", r"\hat u = \frac{N_1}{n} "}
    texts = [text for text in untranslated(file.read_text(encoding="utf-8")) if text not in allowed]
    assert not texts, f"pass these through _(): {texts}"


@pytest.mark.parametrize(
    "line",
    [
        'st.title("Data")',
        'st.button(label="Open it")',
        'st.markdown(f"Rows: {n}")',
        'st.error(message if bad else "All is well")',
        'empty_state("Nothing here", _("why"), _("go"), "views/data.py")',
    ],
)
def test_the_check_finds_a_forgotten_string(line: str) -> None:
    assert untranslated(line)


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda file: file.name)
def test_pages_stay_light_and_charts_stay_pure(file: Path) -> None:
    names = {
        name.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert "torch" not in names
    if {"charts", "text"} & set(file.relative_to(APP).parts):
        assert "streamlit" not in names
