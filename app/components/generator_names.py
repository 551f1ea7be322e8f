"""What the generator of a run is called."""

from app.components.language import _
from app.components.storage import store
from jebm_core.errors import UserError
from jebm_core.runs.records import RunSpec


def generator_title(spec: RunSpec) -> str:
    """Return what the generator of a run is called; empty for a run without rules.

    The version may have been deleted since: the run has its rules all the same.
    """
    if not spec.generator and not spec.rules:
        return ""
    try:
        return store().generators.version(spec.generator).title
    except UserError:
        return _("rules of its own")


def is_saved(generator: str) -> bool:
    """Return whether a version is still in the store."""
    try:
        return bool(generator) and bool(store().generators.version(generator))
    except UserError:
        return False
