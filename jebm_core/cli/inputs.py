"""The models and tables that commands are given."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jebm_core.errors import ModelFolderError, SpecError

if TYPE_CHECKING:
    from jebm_core.fitted import FittedModel
    from jebm_core.tables import Examples, Kind, Table

MODEL_FILES = frozenset({"model.json", "model.safetensors", "reference.skops", "generator", "replicates"})


def open_model(folder: Path, device: str) -> "FittedModel":
    """Read a model folder onto a device.

    Raises:
        ModelFolderError: missing, not a folder, not a model, or damaged.
        SpecError: an unknown device, or one that this machine lacks.
    """
    if not folder.exists():
        raise ModelFolderError(
            "{folder} was not found; expected a model folder. Give the folder that jebm fit --out wrote.",
            folder=folder,
        )
    if not folder.is_dir():
        raise ModelFolderError(
            "{folder} is a file; expected a model folder. Give the folder that jebm fit --out wrote.", folder=folder
        )
    place = device_called(device)
    from jebm_core.fitted import load

    try:
        return load(folder, device=place)
    except (OSError, RuntimeError, AttributeError, IndexError) as error:
        raise ModelFolderError(
            "{folder}: expected a readable model, found a damaged file ({detail}); copy the folder again or fit again.",
            folder=folder,
            detail=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
        ) from error


def device_called(name: str) -> str:
    """The kind of device that an option names.

    Raises:
        SpecError: an unknown name, or a device that this machine lacks.
    """
    from jebm_core.settings import DEVICES

    if name not in DEVICES:
        raise SpecError(
            "Option --device: expected one of {known}, found {found!r}; choose one of these.",
            known=", ".join(DEVICES),
            found=name,
        )
    from jebm_core.devices import device_named

    return device_named(name).type


def labelled_rows(model: "FittedModel", table: "Table") -> "Examples":
    """The rows of a table whose outputs are complete, read as the model knows them.

    Raises:
        TableError: a missing column, or a cell that the model does not know.
    """
    from jebm_core.tables import Roles, read_examples

    schema = model.record.schema
    return read_examples(table, Roles(model.record.features, schema.columns, schema.kind), like=schema)


def labelled_table(table: Path, targets: Sequence[str], features: Sequence[str] | None, space: str) -> "Examples":
    """The examples of a table of rows to learn from, by chosen columns or by their prefixes."""
    from jebm_core.tables import guess_roles, read_examples, read_table, require_fit_size

    read = read_table(table)
    chosen = None if features is None else [pattern for pattern in features if pattern]
    roles = guess_roles(read, targets=targets, features=chosen, kind=None if space == "auto" else cast("Kind", space))
    examples = read_examples(read, roles)
    require_fit_size(examples)
    return examples


def require_model_place(folder: Path) -> None:
    """Refuse a place where a new model can't go, before the fit.

    A model that is there is replaced; anything else is left alone.

    Raises:
        ModelFolderError: a file, a folder that holds other things, or a place that can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ModelFolderError(
            "{folder} is a file; expected a folder for the model. Choose another name for --out.", folder=folder
        )
    if folder.is_dir():
        names = {entry.name for entry in folder.iterdir()}
        if names - MODEL_FILES or (names and "model.json" not in names):
            raise ModelFolderError(
                "{folder} exists and is not a model folder (it holds {name}); nothing in it was touched. "
                "Choose another name for --out.",
                folder=folder,
                name=sorted(names - MODEL_FILES or names)[0],
            )
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        _try_to_write(folder.absolute() if folder.is_dir() else folder.absolute().parent)
    except OSError as error:
        raise ModelFolderError(
            "{folder} can't be written: {reason}. Choose another place for --out, or check who may write there.",
            folder=folder,
            reason=error.strerror or type(error).__name__,
        ) from None


def _try_to_write(folder: Path) -> None:
    import tempfile

    with tempfile.TemporaryFile(dir=folder):
        pass
