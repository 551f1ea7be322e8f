"""The public door: every name in ``jebm_core.__all__`` does what it is for, and costs nothing until it is used."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jebm_core
from jebm_core.errors import SpecError


def content() -> bytes:
    """Thirty rows with one feature and two labels."""
    x = np.random.default_rng(0).normal(size=30)
    return ("x_a,y_b,y_c\n" + "".join(f"{v:.3f},{int(v > 0)},{int(v < 0.5)}\n" for v in x)).encode()


def read() -> Any:
    table = jebm_core.read_table("t.csv", content=content())
    return jebm_core.read_examples(table, jebm_core.guess_roles(table))


@pytest.fixture(scope="module")
def done() -> Any:
    return jebm_core.fit(read(), jebm_core.FitSettings(epochs=2))


USES: dict[str, Callable[[Any, Path], object]] = {
    "Configurations": lambda done, path: jebm_core.Configurations(("a",), (("x", "y"),)).cardinality() == 2,
    "FitSettings": lambda done, path: (
        jebm_core.FitSettings.from_json(jebm_core.FitSettings(seed=3).to_json()).seed == 3
    ),
    "FittedModel": lambda done, path: isinstance(done.model, jebm_core.FittedModel),
    "Rankings": lambda done, path: jebm_core.Rankings(("a", "b", "c")).cardinality() == 6,
    "Subsets": lambda done, path: jebm_core.Subsets(("a", "b")).cardinality() == 4,
    "evaluate": lambda done, path: jebm_core.evaluate(done.model, read()) is not None,
    "fit": lambda done, path: done.stop_reason.is_healthy,
    "guess_roles": lambda done, path: jebm_core.guess_roles(read().table).kind == "subsets",
    "load": lambda done, path: done.model.save(path) or jebm_core.load(path).record == done.model.record,
    "read_examples": lambda done, path: len(read().keep) == 30,
    "read_table": lambda done, path: jebm_core.read_table("t.csv", content=content()).name == "t.csv",
}


def test_every_public_name_has_a_use():
    assert set(jebm_core.__all__) == set(USES)
    assert len(jebm_core.__all__) == len(set(jebm_core.__all__))
    assert set(jebm_core.__all__) <= set(dir(jebm_core))


@pytest.mark.parametrize("name", jebm_core.__all__)
def test_public_names_do_what_they_are_for(name: str, done: Any, tmp_path: Path):
    assert getattr(jebm_core, name).__doc__
    assert USES[name](done, tmp_path)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jebm_core' has no attribute 'nothing'"):
        jebm_core.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"affinity": "cubic"}, "Setting affinity: expected one of auto, unary, "),
        ({"epochs": 0}, "Setting epochs: expected at least 1, found 0."),
        ({"time_budget": float("nan")}, "Setting time_budget: expected at least 1, found nan."),
        ({"samples": 1}, "Setting samples: expected at least 2, found 1."),
        ({"validation_fraction": 0.9}, "Setting validation_fraction: expected a share from 0.05 to 0.5, found 0.9."),
        ({"seed": -1}, "Setting seed: expected a whole number from 0 to 2147483647, found -1."),
        ({"colour": "red"}, "Setting 'colour' is unknown; known are affinity, "),
    ],
)
def test_wrong_settings_are_named_in_one_sentence(record: dict[str, Any], sentence: str):
    with pytest.raises(SpecError) as caught:
        jebm_core.FitSettings.from_json(record)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import jebm_core", ("torch", "numpy", "pandas", "sklearn", "jebm_core.errors")),
        ("import jebm_core.settings", ("torch", "numpy", "pandas")),
        ("from jebm_core import FitSettings, read_table", ("torch", "sklearn")),
    ],
)
def test_imports_cost_only_what_they_need(statement: str, absent: tuple[str, ...]):
    check = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert found.stderr == ""
