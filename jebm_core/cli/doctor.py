"""``jebm doctor``: does this installation work on this machine?"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import typer

from jebm_core.cli.options import JsonOption
from jebm_core.cli.output import require_writable, show, write_json
from jebm_core.errors import JebmError

_LEAST_FREE = 1_000_000_000  # bytes; a run with checkpoints stays far below
_PACKAGES = ("jebm", "torch", "streamlit", "numpy", "pandas", "scikit-learn")
_TOLERANCE = 1e-3  # nats, of a log-partition that is exact but for rounding


def doctor(json: JsonOption = None) -> None:
    """Check the installation.

    Looks at versions, the device, the home folder, the run store and one tiny fit; exits 1 if anything is wrong.

    Example: jebm doctor --json doctor.json
    """
    require_writable(json)
    checks = []
    for name, check in _CHECKS.items():
        try:
            ok, detail = True, check()
        except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
            ok, detail = False, f"{type(error).__name__}: {error}" if not isinstance(error, JebmError) else str(error)
        checks.append({"name": name, "ok": ok, "detail": detail})
    fine = all(check["ok"] for check in checks)
    write_json(json, {"ok": fine, "checks": checks})
    show((f"{'ok' if check['ok'] else 'problem':<9}{check['name']}: {check['detail']}" for check in checks), json)
    if not fine:
        raise typer.Exit(1)


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            raise JebmError(f"{name} is not installed.") from None
    return ", ".join(found)


def _device() -> str:
    import torch

    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} processors"
    if not torch.cuda.is_available():
        return f"cpu ({platform.machine()}), {threads}; no CUDA GPU"
    ones = torch.ones(8, 8, device="cuda")
    if float((ones @ ones).sum()) != 512.0:
        raise JebmError("The GPU multiplies wrongly.")
    return f"{torch.cuda.get_device_name()}, {threads}"


def _home() -> str:
    from jebm_core.runs import default_home

    folder = default_home().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise JebmError(f"{folder} has only {free / 1e9:.1f} GB free; expected at least {_LEAST_FREE / 1e9:.0f} GB.")
    return f"{folder}, writable, {free / 1e9:.0f} GB free"


def _store() -> str:
    from jebm_core.runs import RunStore

    return f"opens, {len(RunStore().list_runs())} runs"


def _dashboard() -> str:
    from jebm_core.cli.serve import app_folder

    return str(app_folder())


def _tiny_fit() -> str:
    """A fit in a second or two, whose log-partition is held against the sum over all combinations."""
    from jebm_core.evaluation.partition import listed_log_partition
    from jebm_core.fitting import fit
    from jebm_core.settings import FitSettings
    from jebm_core.tables import guess_roles, read_examples, read_table

    rows = [f"{i % 7},{i % 2},{(i // 2) % 2},{(i % 3) % 2}" for i in range(42)]
    table = read_table("check.csv", content="\n".join(["x_a,y_a,y_b,y_c", *rows]).encode())
    examples = read_examples(table, guess_roles(table))
    model = fit(examples, FitSettings(affinity="unary", epochs=2)).model
    context = model.context(table)
    learned = model.log_partition(context)
    listed = listed_log_partition(model.model.unnormalised(context))
    error = float((learned - listed).abs().max())
    if not error <= _TOLERANCE:
        raise JebmError(f"The log-partition of a tiny model is {error:.2g} nats off; expected at most {_TOLERANCE}.")
    return f"log-partition within {error:.1g} nats of the sum over all combinations"


_CHECKS: dict[str, Callable[[], str]] = {
    "versions": _versions,
    "device": _device,
    "home": _home,
    "run store": _store,
    "dashboard": _dashboard,
    "tiny fit": _tiny_fit,
}
