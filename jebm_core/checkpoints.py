"""Checkpoints of a training run: numbers in safetensors, the rest in JSON; resuming gives the numbers of an
unbroken run."""

import dataclasses
import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jebm_core.distributed import PARTS, Group
from jebm_core.rules.language import RuleSet
from jebm_core.settings import FitSettings
from jebm_core.tables import Examples
from jebm_core.training import Trainer, TrainingState


def fingerprint(examples: Examples, settings: FitSettings, rules: RuleSet | None, more: object, group: Group) -> str:
    """Identifies data and settings for checkpoints. Processes of any number share theirs; one that joined no others has
    other random numbers, and its own."""
    digest = hashlib.sha256(examples.outputs.values.tobytes())
    said = (version("jebm"), examples.table.sha256, examples.roles, settings, rules, more)
    digest.update(repr((*said, PARTS) if group.joined else said).encode())
    return digest.hexdigest()


def save_checkpoint(folder: Path, trainer: Trainer, fingerprint: str, extra: dict[str, Any]) -> None:
    """Write the whole state, atomically: a kill in between leaves the previous checkpoint.

    Args:
        fingerprint: identifies data and settings; another fingerprint never resumes from this checkpoint.
        extra: JSON to keep beside it (the history).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v for k, v in trainer.model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in trainer.state.best_model.items()}
    for index, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": v for k, v in values.items()}
    tensors |= {"generator": trainer.generator.get_state(), "shuffler": trainer.shuffler.get_state()}
    state = {
        f.name: getattr(trainer.state, f.name) for f in dataclasses.fields(TrainingState) if f.name != "best_model"
    }
    header = json.dumps({"fingerprint": fingerprint, "state": state, "extra": extra})
    part = folder / "checkpoint.part"
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, part, metadata={"jebm": header})
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(folder / "checkpoint.safetensors")


def restore_checkpoint(folder: Path, trainer: Trainer, fingerprint: str) -> dict[str, Any] | None:
    """Put a saved state back into a fresh trainer; None where there is none that fits.

    A damaged or foreign checkpoint is not an error: the run starts from the beginning, as without it.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    try:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["jebm"])
        tensors = load_file(path, device=str(trainer.train.y.device))
    except (SafetensorError, KeyError, ValueError, OSError):
        return None
    if header.get("fingerprint") != fingerprint:
        return None
    trainer.model.load_state_dict(_under(tensors, "model."))
    saved = trainer.optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in _under(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value.cpu() if key == "step" else value
    trainer.optimizer.load_state_dict({**saved, "state": entries})
    trainer.generator.set_state(tensors["generator"].cpu())
    trainer.shuffler.set_state(tensors["shuffler"].cpu())
    trainer.state = TrainingState(**header["state"], best_model=_under(tensors, "best."))
    return header["extra"]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
