"""Several processes train one model: the numbers of one process, and a clean end whatever happens to any of them.

The processes are real, started by torchrun and joined by gloo; what they do stands in `tests.distributed_worker`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jebm_core.distributed import ALONE, PARTS, Group, checksum, require_fitting
from jebm_core.errors import SpecError
from jebm_core.proposals import ListingProposal
from jebm_core.steps import Plan, make_optimizer, training_step
from tests.conftest import ROOT
from tests.oracle import seeded
from tests.test_training import SPACE, make, shape, some_rows

RELATIVE = 1e-5
"""How far numbers of one and of two processes may be apart; on one machine they usually are the same, bit for bit."""
QUICK = ("--reference", "marginals", "--affinity", "unary", "--device", "cpu")


def command(processes: int, module: str, *arguments: object) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, "-m", module, *map(str, arguments)]


def run(processes: int, module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(processes, module, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )


def table(folder: Path, rows: int = 60) -> Path:
    y = some_rows(SPACE, rows).y.tolist()
    x = torch.rand(rows, 2, generator=seeded(0)).tolist()
    lines = [",".join(map(str, (*features, *labels))) for features, labels in zip(x, y, strict=True)]
    file = folder / "table.csv"
    file.write_text("\n".join(["x_a,x_b,y_1,y_2,y_3,y_4,y_5", *lines]) + "\n", "utf-8")
    return file


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[dict[str, Any], Path]]:
    """What one process and two find, and the folders with their models."""
    results = {}
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp(f"processes_{processes}")
        table(folder)
        done = run(processes, "tests.distributed_worker", "everything", folder)
        assert done.returncode == 0, done.stderr
        results[processes] = json.loads((folder / "found.json").read_text("utf-8")), folder
    return results


def farthest(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference of two models, relative to the largest weight of each tensor."""
    assert first.keys() == second.keys()
    apart = [0.0]
    for name, value in first.items():
        if value.is_floating_point() and value.numel() and value.abs().max() > 0:
            apart.append(((second[name] - value).abs().max() / value.abs().max()).item())
        else:
            assert torch.equal(value, second[name]), name
    return max(apart)


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(found):
    """Dropout, unequal batches and unequal parts included."""
    for name in ("curve", "figures"):
        one, two = (torch.tensor(found[n][0][name], dtype=torch.float64) for n in (1, 2))
        assert one.shape == two.shape
        assert len(one) >= 5
        torch.testing.assert_close(two, one, rtol=RELATIVE, atol=RELATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["trained", "whole"])
def test_two_processes_have_the_model_of_one(found, model: str):
    one, two = (load_file(found[n][1] / f"{model}.safetensors") for n in (1, 2))
    assert farthest(one, two) < RELATIVE
    assert found[1][0]["interval"] == pytest.approx(found[2][0]["interval"], rel=RELATIVE, abs=RELATIVE)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_resumed_fit_has_the_numbers_of_an_unbroken_one(found, processes: int):
    """One process alone asked to stop; all stopped after the same epoch and went on from there."""
    told, folder = found[processes]
    assert told["cancelled"]
    assert told["first_epoch_again"] == 3
    assert farthest(load_file(folder / "whole.safetensors"), load_file(folder / "again.safetensors")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_number_that_is_not_finite_anywhere_is_skipped_everywhere(found, processes: int):
    assert found[processes][0]["skipped"]
    assert found[processes][0]["kept"]


@pytest.mark.slow
def test_processes_that_drift_apart_are_caught(found):
    assert found[1][0]["drift"] is None  # there is nothing to be apart from
    assert "After epoch 2 the 2 processes expected to hold the same parameters" in found[2][0]["drift"]


@pytest.mark.slow
def test_the_command_line_writes_one_model_and_speaks_once(tmp_path: Path):
    out = tmp_path / "model"
    how = (*QUICK, "--epochs", 2, "--json", tmp_path / "fit.json")
    done = run(2, "jebm_core", "fit", table(tmp_path), "--out", out, *how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model written to") == 1
    assert json.loads((tmp_path / "fit.json").read_text("utf-8"))["epochs"] == 2
    assert (out / "model.safetensors").exists()


@pytest.mark.slow
def test_an_error_of_one_process_ends_all_with_one_sentence(tmp_path: Path):
    arguments = ("fit", table(tmp_path), "--out", tmp_path / "model", *QUICK)
    begun = time.monotonic()
    done = run(2, "tests.distributed_worker", "broken", *arguments)
    assert time.monotonic() - begun < 60
    assert done.returncode == 1
    assert done.stderr.count("More memory was needed than the machine has.") == 1
    assert "Another process" not in done.stderr
    assert "fault of jebm's own" not in done.stderr
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_an_error_of_all_processes_is_said_once(tmp_path: Path):
    done = run(2, "jebm_core", "fit", tmp_path / "missing.csv", "--out", tmp_path / "model")
    assert done.returncode == 1
    assert done.stderr.count("missing.csv was not found") == 1


@pytest.mark.slow
def test_other_commands_than_fit_are_refused_once():
    done = run(2, "jebm_core", "runs", "list")
    assert done.returncode == 1  # torchrun's own
    said = "torchrun: expected the command fit, which several processes can share; found 'runs'."
    assert done.stderr.count(said) == 1
    assert done.stdout == ""


@pytest.mark.slow
def test_a_process_that_says_nothing_is_not_waited_for_forever(tmp_path: Path):
    begun = time.monotonic()
    assert run(2, "tests.distributed_worker", "silence", tmp_path).returncode != 0
    assert time.monotonic() - begun < 45
    assert "Another process of this fit ended, or did not answer" in (tmp_path / "said.txt").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process end with its parent")
def test_killing_torchrun_leaves_no_process_behind(tmp_path: Path):
    how = ("--reference", "marginals", "--epochs", 300, "--samples", 512, "--device", "cpu")
    torchrun = subprocess.Popen(
        command(2, "jebm_core", "fit", table(tmp_path, 2000), "--out", tmp_path / "model", *how),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert torchrun.stderr is not None
        while not any(word in (line := torchrun.stderr.readline()) for word in ("baseline", "epoch")):
            assert line, "the fit ended before it was killed"
        ranks = psutil.Process(torchrun.pid).children(recursive=True)
        assert len(ranks) == 2
    finally:
        os.kill(torchrun.pid, signal.SIGKILL)
        torchrun.wait()
        torchrun.stderr.close()
    _, alive = psutil.wait_procs(ranks, timeout=5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


# ---- in one process -------------------------------------------------------------------------------------------------


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """A group of this process alone, that talks to nobody."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_: None)
    return Group(0, 1, True)


@pytest.mark.parametrize("features", [3, 0])
def test_unequal_parts_add_up_to_the_gradient_of_the_whole_batch(joined: Group, features: int):
    """Every combination listed, so that no random number tells the two apart: 13 rows in 8 parts."""
    rows = some_rows(SPACE, 13)
    rows = rows._replace(context=rows.context._replace(x=rows.context.x[:, :features]))
    hidden = (16,) if features else ()
    model = make(shape(features=features, hidden=hidden, dropout=0.0), rows)
    found = []
    for group in (ALONE, joined):
        optimizer = make_optimizer(model, Plan(learning_rate=0.0))
        how: dict[str, Any] = {"samples": 4, "penalty": 0.1, "generator": seeded(0), "group": group, "key": (0,)}
        info = training_step(model, optimizer, rows, ListingProposal(SPACE), **how)
        found.append((torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]), info))
    (whole, whole_info), (parts, parts_info) = found
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(parts_info.objective, whole_info.objective)


@pytest.mark.parametrize("size", range(1, PARTS + 1))
@pytest.mark.parametrize("rows", [1, 7, 8, 13, 512])
def test_every_row_is_in_the_part_of_one_process(size: int, rows: int):
    parts = [part for rank in range(size) for part in Group(rank, size).parts(rows)]
    assert sorted(row for _, part in parts for row in range(rows)[part]) == list(range(rows))
    assert len({number for number, _ in parts}) == len(parts)


def test_more_processes_than_parts_are_refused():
    require_fitting(Group(0, PARTS, True), "cpu")
    with pytest.raises(SpecError, match=r"at most 8 processes .* found 9; start fewer"):
        require_fitting(Group(0, PARTS + 1, True), "cpu")


def test_a_checksum_sees_every_bit():
    values = torch.randn(50, generator=seeded(0))
    for place in range(50):
        other = values.clone()
        other[place] = torch.nextafter(other[place], torch.tensor(torch.inf))
        assert checksum([values]) != checksum([other])


def test_a_process_that_torchrun_did_not_start_joins_nobody():
    code = """
    import sys, torch
    from jebm_core.distributed import ALONE, join
    before = "torch.distributed.distributed_c10d" in sys.modules
    assert join("auto") is ALONE
    assert ("torch.distributed.distributed_c10d" in sys.modules) == before
    assert not torch.distributed.is_initialized()
    """
    lines = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
