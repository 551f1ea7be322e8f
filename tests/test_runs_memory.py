"""A fit that needs more memory than a GPU has: batches are halved once, and the run says so.

No GPU is needed: a job is told that there is room for so many rows in a step, and has what PyTorch raises there.
"""

import json
import os

import pytest
import torch

from jebm_core import fitting
from jebm_core.runs import RunSpec, RunStore, State
from jebm_core.runs.memory import EVENT, HALVED, halved_batches, with_halved_batches
from jebm_core.steps import Plan
from tests.test_runs import ended, log_of, store

__all__ = ["store"]  # a fixture

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the store's fixture needs POSIX")

ROWS = 120  # in batches of 64
SETTINGS = {"epochs": 3, "reference": "marginals", "affinity": "pairwise", "device": "cpu", "samples": 8}


def spec_for(store: RunStore, most: int) -> RunSpec:
    y = torch.randint(0, 2, (ROWS, 3), generator=torch.Generator().manual_seed(0)).tolist()
    x = torch.rand(ROWS, generator=torch.Generator().manual_seed(1)).tolist()
    lines = ["x_a,y_a,y_b,y_c", *(f"{a:.4f},{b[0]},{b[1]},{b[2]}" for a, b in zip(x, y, strict=True))]
    data = store.add_dataset("\n".join(lines).encode(), "t.csv")
    return RunSpec(data.sha256, data.name, title=str(most), settings=SETTINGS, kind_of_work="tests.runs_worker:tight")


@pytest.mark.slow
def test_batches_are_halved_once_and_the_run_says_so(store: RunStore) -> None:
    run_id = store.submit(spec_for(store, most=40))
    view = ended(store, run_id, 120)
    assert (view.state, view.attempt) == (State.SUCCEEDED, 1), (str(view.message), log_of(store))
    assert [event.what for event in store.events(run_id)] == ["queued", "claimed", "started", EVENT, "succeeded"]
    folder = store.folder(run_id)
    assert HALVED.to_json() in json.loads(folder.evaluation.read_text())["notes"]
    assert "64 rows, there is room for 40" in folder.log.read_text()
    told = [(row.values["stage"], row.values["epoch"]) for row in store.history(run_id)]
    assert [epoch for stage, epoch in told if stage == "training"] == [1, 2, 3]
    assert (folder.folder / "halved").exists(), "an attempt that goes on from a checkpoint must go on like this one"


@pytest.mark.slow
@pytest.mark.parametrize("most", [20, 64])
def test_half_a_batch_that_is_too_large_fails_and_a_whole_one_that_fits_is_kept(store: RunStore, most: int) -> None:
    run_id = store.submit(spec_for(store, most))
    view = ended(store, run_id, 120)
    halved = [event.what for event in store.events(run_id)].count(EVENT)
    if most == 64:
        assert (view.state, halved) == (State.SUCCEEDED, 0)
        assert HALVED.to_json() not in json.loads(store.folder(run_id).evaluation.read_text())["notes"]
    else:
        assert (view.state, halved) == (State.FAILED, 1)
        assert str(view.message).startswith("The run needed more memory than the machine has.")


def test_other_errors_are_not_tried_again() -> None:
    tries = []

    def fit() -> None:
        tries.append(1)
        raise MemoryError

    with pytest.raises(MemoryError):
        with_halved_batches(fit, tries.append)
    assert tries == [1]


def test_what_is_halved_is_whole_again_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "choose_plan", lambda: Plan(batch_size=5))
    with halved_batches():
        assert fitting.choose_plan() == Plan(batch_size=2)
    assert fitting.choose_plan() == Plan(batch_size=5)
    assert with_halved_batches(lambda: fitting.choose_plan().batch_size, print, already=True) == (2, True)
