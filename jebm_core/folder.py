"""A model folder: numbers in safetensors, the rest in JSON; nothing in it is executed, and nothing is a pickle."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jebm_core.errors import ModelFolderError
from jebm_core.record import FORMAT, ModelRecord


def write_model_folder(folder: Path, record: ModelRecord, tensors: dict[str, Tensor]) -> None:
    """Write ``model.safetensors`` and ``model.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    save_file(contiguous, folder / "model.safetensors")
    text = json.dumps(record.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "model.json").write_text(text, encoding="utf-8")


def read_model_folder(folder: Path, device: str) -> tuple[ModelRecord, dict[str, Tensor]]:
    """What `write_model_folder` wrote.

    Raises:
        ModelFolderError: the folder is missing, incomplete, damaged, or of another format.
    """
    try:
        text = (folder / "model.json").read_text(encoding="utf-8")
        tensors = load_file(folder / "model.safetensors", device=device)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFolderError(
            "{folder}: expected a model folder with model.json and model.safetensors, found no {missing}; "
            "give the folder that was written by --out.",
            folder=folder,
            missing="model.safetensors" if (folder / "model.json").is_file() else "model.json",
        ) from error
    except (UnicodeDecodeError, SafetensorError) as error:
        raise damaged(folder, error) from error
    try:
        content = json.loads(text)
        found = content.get("format")
        record = ModelRecord.from_json(content) if found == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error) from error
    if record is None:
        raise ModelFolderError(
            "{folder}: expected a model of format {expected}, found {found}; fit it again with this version.",
            folder=folder,
            expected=FORMAT,
            found=found,
        )
    return record, tensors


def damaged(folder: Path, error: Exception) -> ModelFolderError:
    """The sentence for files that can't be read, or don't fit one another."""
    return ModelFolderError(
        "{folder}: expected a readable model, found a damaged file ({detail}); copy the folder again or fit again.",
        folder=folder,
        detail=str(error).splitlines()[0] if str(error) else type(error).__name__,
    )
