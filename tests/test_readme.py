"""The README says what is so: its examples run, and its commands, options, keys, variables and links exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from jebm_core.cli import app, main
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
ELSEWHERE = ("make ", "jebm app", "jebm demo", "jebm worker")  # they serve or take minutes; other tests start them
CHAPTERS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", README, flags=re.MULTILINE | re.DOTALL))
ENVIRONMENT = {
    "JEBM_HOME",
    "JEBM_DATABASE",
    "JEBM_DEBUG",
    "JEBM_ENGINE",
    "JEBM_MLFLOW",
    "JEBM_SLOTS",
    "JEBM_SLURM",
}


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def console_lines() -> list[str]:
    """Every command of the console blocks; in them each line is a command."""
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def spoken_commands() -> list[str]:
    """What is written of ``jebm`` in console blocks and in code spans."""
    without_blocks = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", without_blocks)
    return [text for text in (*console_lines(), *spans) if re.match(r"jebm [a-z]", text)]


def documented_keys(chapter: str) -> list[set[str]]:
    """The keys in the first column of each table of a chapter."""
    tables: list[set[str]] = []
    for line in CHAPTERS[chapter].splitlines():
        if line.startswith("|---"):
            tables.append(set())
        elif tables and (key := re.match(r"\| `(\w+)` \|", line)):
            assert key[1] not in tables[-1], f"{chapter}: {key[1]} stands there twice"
            tables[-1].add(key[1])
    return tables


def keys_below(value: Any) -> Iterator[str]:
    """Every key of a record, at any depth."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_below(item)
    if isinstance(value, dict):
        yield from value


def commands() -> dict[str, Any]:
    """Every command by its full name, such as ``runs list``."""
    found: dict[str, Any] = {}

    def walk(group: Any, before: str) -> None:
        for name, command in group.commands.items():
            found[before + name] = command
            if hasattr(command, "commands"):
                walk(command, f"{before}{name} ")

    walk(typer.main.get_command(app), "")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data, in which every console line ran in turn and exited with 0."""
    place = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "sample_data", place / "sample_data", ignore=shutil.ignore_patterns("__pycache__"))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    home = str(place / "home")
    for line in console_lines():
        if line.startswith(ELSEWHERE):
            continue
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=place,
            env=os.environ | {"PATH": path, "JEBM_HOME": home, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, line
    return place


@pytest.mark.slow
def test_python_examples_run(folder):
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


@pytest.mark.slow
def test_keys_of_evaluate_are_those_documented(folder):
    record = json.loads((folder / "evaluation.json").read_text("utf-8"))
    of_evaluation, of_partition = documented_keys("JSON of `jebm evaluate`")
    assert of_evaluation == set(record)
    assert of_partition == set(record["log_partition"])
    said = set(re.findall(r"`(\w+)`", CHAPTERS["JSON of `jebm evaluate`"]))
    assert record["unseen"]["on_unseen"] is not None, "rows with a new combination are needed to see every key"
    assert set(keys_below(record)) <= said


@pytest.mark.slow
def test_keys_of_audit_are_those_documented(folder):
    record = json.loads((folder / "audit.json").read_text("utf-8"))
    (documented,) = documented_keys("JSON of `jebm audit`")
    assert documented == set(record)
    assert set(record["rows"]) == {"row", "learned", "audited", "low", "high", "bound_low", "bound_high"}
    assert set(record["log_partition"]) == documented_keys("JSON of `jebm evaluate`")[1]


@pytest.mark.slow
def test_model_files_are_those_documented(folder):
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", CHAPTERS["Files of a model"], flags=re.MULTILINE))
    assert {file.name for file in (folder / "model").iterdir()} == set(rows)
    record = json.loads((folder / "model" / "model.json").read_text("utf-8"))
    assert set(re.findall(r"`(\w+)`", rows["model.json"])) == set(record)


@pytest.mark.slow
def test_columns_of_score_are_those_documented(folder):
    header = (folder / "scores.csv").read_text("utf-8-sig").splitlines()[0]
    (line,) = [line for line in README.splitlines() if line.startswith("| `jebm score")]
    assert header.split(",") == re.findall(r"`(\w+)`", line)


def test_every_command_named_exists_with_its_options(capsys):
    known = commands()
    for text in spoken_commands():
        words = text.split()[1:]
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        assert name in known, text
        assert main([*name.split(), "--help"]) == 0
        offered = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out))
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text)) <= offered, text


def test_every_command_and_every_option_of_fit_is_named():
    spoken = spoken_commands()
    for name in commands():
        assert any(re.match(rf"jebm {name}\b", text) for text in spoken), name
    of_fit = {option for parameter in commands()["fit"].params for option in parameter.opts if option.startswith("--")}
    named = {option for text in spoken if text.startswith("jebm fit") for option in re.findall(r"--[a-z-]+", text)}
    assert of_fit - {"--help"} == named


def test_every_command_has_an_example_that_runs():
    shown = {line.split()[1] for line in console_lines() if line.startswith("jebm ")}
    assert shown == {name.split()[0] for name in commands()} - {"app", "demo", "worker"}


def test_variables_are_those_that_the_code_reads():
    named = set(re.findall(r"^\| `(\w+)` \|", CHAPTERS["Environment"], flags=re.MULTILINE))
    code = "\n".join(file.read_text("utf-8") for name in ("app", "jebm_core") for file in (ROOT / name).rglob("*.py"))
    read = set(re.findall(r"environ(?:\.get\(|\[|\.setdefault\()\"(JEBM_\w+)\"", code)) - {"JEBM_TEST_WORK"}
    assert {name for name in named if name.startswith("JEBM_")} == read == ENVIRONMENT
    assert all(name in code for name in named - {"OMP_NUM_THREADS"})  # that one is torch's own


def test_links_and_files_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in {chapter.lower() for chapter in CHAPTERS}
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target
    for line in CHAPTERS["Layout"].splitlines():
        for name in re.findall(r"`([\w./]+(?:/|\.py))`", line):
            places = (ROOT / name, ROOT / "jebm_core" / name)
            assert any(place.exists() for place in places), name


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in re.findall(r"(?:`|\$ )make ([a-z]+)", README):
        assert re.search(rf"^{name}:", makefile, flags=re.MULTILINE), name
