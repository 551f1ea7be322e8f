"""Rule files: the notation follows the ending or the first words, and what is no rule file gets one sentence."""

import os
import time

import pytest

from jebm_core.errors import RuleError
from jebm_core.rules.notation import files
from jebm_core.rules.notation.dimacs import write_dimacs
from jebm_core.rules.notation.files import notation_of, read_rule_file
from jebm_core.rules.notation.parser import parse_rules

RULES = parse_rules("items A, B\nA requires B")
TEXTS = {
    "text": "items A, B\nA requires B",
    "structured": '{"items": ["A", "B"], "rules": ["A requires B"]}',
    "dimacs": write_dimacs(RULES),
    "uvl": "// pumps\nfeatures\n\tA\n\t\toptional\n\t\t\tB\n",
}


@pytest.mark.parametrize(
    ("name", "notation"),
    [
        ("a.rules", "text"),
        ("a.json", "structured"),
        ("a.yaml", "structured"),
        ("a.YML", "structured"),
        ("a.cnf", "dimacs"),
        ("model.dimacs", "dimacs"),
        ("model.uvl", "uvl"),
    ],
)
def test_the_ending_says_which_notation(tmp_path, name, notation):
    (tmp_path / name).write_text(TEXTS[notation], encoding="utf-8")
    rules = read_rule_file(tmp_path / name)
    assert rules == read_rule_file(str(tmp_path / name)) == read_rule_file(name, TEXTS[notation].encode())
    assert rules.source == name
    assert [variable.name.text for variable in rules.variables] == ["A", "B"]


@pytest.mark.parametrize("notation", TEXTS)
@pytest.mark.parametrize("name", ["a.txt", "a", "a.b"])
def test_under_other_endings_the_first_words_do(name, notation):
    assert notation_of(name, TEXTS[notation]) == notation
    assert read_rule_file(name, TEXTS[notation].encode()).kind == "subsets"


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("c 1 A\nc\n\nc another comment\n p  cnf 1 0\n", "dimacs"),
        ("namespace pumps\nfeatures\n", "uvl"),
        ("include\n", "uvl"),
        ("features or A", "text"),
        ("c or d", "text"),
        ("p = cnf", "text"),
        ("# {\nA", "text"),
        ("", "text"),
    ],
)
def test_what_only_looks_alike_is_text(text, notation):
    assert notation_of("a.txt", text) == notation


def test_looking_at_the_beginning_takes_no_time():
    text = "c\n" * 300_000 + " " * 300_000 + "\n" * 300_000
    started = time.process_time()
    assert notation_of("a.txt", text) == "text"
    assert time.process_time() - started < 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_japanese_text_may_be_utf8_or_cp932(encoding):
    content = "items 洗浄、乾燥\r\n洗浄 requires 乾燥".encode(encoding)
    rules = read_rule_file("規則.txt", content)
    assert [variable.name.text for variable in rules.variables] == ["洗浄", "乾燥"]
    assert rules.source == "規則.txt"


def refusal(path, content=None):
    with pytest.raises(RuleError) as caught:
        read_rule_file(path, content)
    return str(caught.value)


def test_files_that_can_not_be_read(tmp_path, monkeypatch):
    assert refusal(tmp_path / "a.txt") == "a.txt was not found. Check the name and the folder."
    (tmp_path / "b.uvl").mkdir()
    assert refusal(tmp_path / "b.uvl") == "b.uvl is a folder; expected a file with rules. Name the file in it."
    assert refusal("a.txt", b" " * 20_000_001) == (
        "a.txt holds 20.0 MB; rule files of up to 20 MB are read. Split the rules into several files."
    )
    (tmp_path / "large.txt").touch()
    os.truncate(tmp_path / "large.txt", 30_000_000)
    assert refusal(tmp_path / "large.txt").startswith("large.txt holds 30.0 MB; ")
    (tmp_path / "c.txt").write_text("A", encoding="utf-8")
    monkeypatch.setattr(files.Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    assert refusal(tmp_path / "c.txt") == (
        "c.txt can't be read: denied. Check that it may be opened and is not open elsewhere."
    )


def test_bytes_that_are_no_text():
    sentence = (
        "a.txt is no text in UTF-8 or cp932 (Shift_JIS): it holds zero bytes or begins like UTF-16. Give rules "
        "as text, JSON, YAML, DIMACS CNF or UVL, saved as UTF-8."
    )
    assert refusal("a.txt", "A".encode("utf-16")) == sentence
    assert refusal("a.txt", b"PK\x03\x04\0\0") == sentence
    broken = "A\n洗浄\n".encode() + "乾燥".encode("cp932") + b"\xff"
    assert refusal("a.txt", broken) == (
        "a.txt is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte 9 (line 3), as cp932 at byte 7 "
        "(line 2). Save the whole file as UTF-8."
    )
    assert refusal("a.txt", b"A\n\x80\xfd") == (
        "a.txt is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte 2 (line 2), as cp932 at byte 2 "
        "(line 2). Save the whole file as UTF-8."
    )


def test_messages_name_the_file():
    assert refusal("/somewhere/r.txt", b"A requirs B").startswith("r.txt, line 1, column 3: expected 'requires', ")
    assert refusal("r.cnf", b"p cnf 1 1").startswith("r.cnf, line 1: the header announces 1 clauses")
