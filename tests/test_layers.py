"""The layout holds: imports point one way, computing never draws, files stay short, and shapes really are checked."""

import importlib
import pkgutil
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import jebm_core
from tests.conftest import ROOT

LONGEST_FILE = 350  # lines
SEARCHED_FOLDERS = (".ci", ".streamlit", "app", "jebm_core", "sample_data", "tests")
TEXT_SUFFIXES = {".cfg", ".css", ".html", ".js", ".json", ".md", ".po", ".pot", ".py", ".toml", ".txt", ".yaml", ".yml"}
MODULES_WITHOUT_TORCH = {"jebm_core.tables": "jebm_core/tables", "jebm_core.report": "jebm_core/report"}

# Signs of unfinished work, and of the place where the code was written. A letter in brackets keeps this list from
# finding itself.
FORBIDDEN_WORDS = (
    "TOD[O]",
    "FIXM[E]",
    "XX[X]",
    "/wor[k]/",
    "/roo[t]/",
    "/hom[e]/[a-z]",
    "/User[s]/[a-z]",
    "DESIG[N]\\.md",
    "CONTRAC[T]\\.md",
    "\\bU[X]\\.md",
    "pyp[i]\\.org",
    "pythonhoste[d]",
    "download\\.pytorc[h]",
)


def run_python(code: str) -> str:
    """Run ``code`` in a fresh interpreter, as a person would, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def project_files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in SEARCHED_FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_import_contracts_hold():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_that_need_no_torch_are_under_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    bound = {
        module
        for contract in contracts
        if contract["type"] == "forbidden" and "torch" in contract["forbidden_modules"]
        for module in contract["source_modules"]
        if not contract.get("allow_indirect_imports")
    }
    there = {
        module
        for module, path in MODULES_WITHOUT_TORCH.items()
        if (ROOT / path).is_dir() or (ROOT / path).with_suffix(".py").is_file()
    }
    assert there <= bound, (
        f"add {sorted(there - bound)} to the contract 'Reading tables needs no torch' in pyproject.toml"
    )


def test_importing_every_module_loads_no_drawing_library():
    modules = [
        module.name
        for module in pkgutil.walk_packages(jebm_core.__path__, "jebm_core.")
        if not module.name.endswith(("__main__", "migrations.env"))  # scripts
    ]
    loaded = run_python(f"""
        import importlib, sys
        for name in {["jebm_core", *modules]!r}:
            importlib.import_module(name)
        print(*sorted({{"streamlit", "plotly", "app"}} & set(sys.modules)))
    """)
    assert loaded.split() == []


def test_importing_the_package_changes_nothing_global():
    cost, *changed = run_python("""
        import logging, os, sys, time, warnings
        def state():
            return {
                "environment": dict(os.environ),
                "warning filters": list(warnings.filters),
                "log handlers": list(logging.getLogger().handlers),
                "log level": logging.getLogger().level,
            }
        def torch_state():
            return {
                "torch threads": torch.get_num_threads(),
                "torch dtype": torch.get_default_dtype(),
                "torch seed": torch.random.initial_seed(),
                "torch generator": torch.get_rng_state().tolist(),
                "torch validation": torch.distributions.Distribution._validate_args,
                "gradients": torch.is_grad_enabled(),
                "numpy errors": numpy.geterr(),
            }
        # What torch and numpy do to the process on their own import is theirs.
        started = time.perf_counter()
        import numpy, torch
        torch_seconds = time.perf_counter() - started
        torch.manual_seed(1)
        before = state() | torch_state()
        started = time.perf_counter()
        import jebm_core
        seconds = time.perf_counter() - started
        print(f"import jebm_core: {seconds:.2f} s after numpy and torch ({torch_seconds:.2f} s)")
        after = state() | torch_state()
        # A library underneath may prepend a filter for its own warnings.
        after["warning filters"] = after["warning filters"][-len(before["warning filters"]):]
        print(*(name for name in before if before[name] != after[name]), sep="\\n")
    """).splitlines()
    print(cost)  # for the eye only: pytest -rP shows it
    assert [name for name in changed if name] == []


def test_every_folder_of_modules_is_a_package():
    # Import contracts and doctests pass silently over a folder without __init__.py.
    folders = {
        path.parent for top in ("app", "jebm_core", "sample_data", "tests") for path in (ROOT / top).rglob("*.py")
    }
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_files_stay_short():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for folder in ("jebm_core", "app")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths, "found no file to measure"
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_project_speaks_of_itself_alone():
    pattern = re.compile("|".join(FORBIDDEN_WORDS))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_files()
        if path.suffix in TEXT_SUFFIXES or path.name in {"Makefile", "LICENSE", "run", ".gitignore"}
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []


def test_forbidden_words_would_be_found():
    pattern = re.compile("|".join(FORBIDDEN_WORDS))
    for word in FORBIDDEN_WORDS:
        plain = word.replace("[a-z]", "a").replace("[", "").replace("]", "").replace("\\b", "").replace("\\", "")
        assert pattern.search(f"see {plain}"), word


def test_every_public_name_exists():
    names = getattr(jebm_core, "__all__", ())
    if not names:
        pytest.skip("jebm_core has no __all__ yet")
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(jebm_core, name)] == []


def test_shapes_are_checked_in_every_annotated_module():
    # The pytest option --jaxtyping-packages wraps each annotated function while its module is imported. Without it, a
    # wrong shape would pass every test unseen, so the net itself is tested: on the real import path of the package.
    for module in pkgutil.walk_packages(jebm_core.__path__, "jebm_core."):
        if not module.name.endswith("__main__"):
            loader = importlib.util.find_spec(module.name).loader
            assert "jaxtyping" in type(loader).__module__, f"{module.name} is imported without shape checks"


def test_wrong_shape_raises(monkeypatch, tmp_path):
    # A module of the package that exists for this test only: imported the way every other one is.
    (tmp_path / "shape_probe.py").write_text(
        textwrap.dedent("""
            from jaxtyping import Float
            from torch import Tensor

            def inner(a: Float[Tensor, "batch item"], b: Float[Tensor, "batch item"]) -> Float[Tensor, "batch"]:
                return (a * b).sum(-1)
        """),
        encoding="utf-8",
    )
    monkeypatch.setattr(jebm_core, "__path__", [*jebm_core.__path__, str(tmp_path)])
    probe = importlib.import_module("jebm_core.shape_probe")
    monkeypatch.delitem(sys.modules, "jebm_core.shape_probe")
    monkeypatch.delattr(jebm_core, "shape_probe")
    assert probe.inner(torch.ones(2, 3), torch.ones(2, 3)).tolist() == [3.0, 3.0]
    # Broadcasting would hide both mistakes; the annotation does not.
    with pytest.raises(TypeCheckError):
        probe.inner(torch.ones(2, 3), torch.ones(1, 3))
    with pytest.raises(TypeCheckError):
        probe.inner(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64))
