"""A model recalibrated by either way, with what was chosen."""

import math
from dataclasses import dataclass
from typing import Any, final

from jebm_core.errors import SpecError
from jebm_core.evaluation.recalibration import Temperature, choose_temperature, with_temperature
from jebm_core.evaluation.vector_scaling import VectorScaling, choose_vector, with_vector
from jebm_core.fitted import FittedModel
from jebm_core.tables import Examples

METHODS = ("temperature", "vector")


@final
@dataclass(frozen=True)
class Recalibrated:
    """The mended model, and the temperature or vector that rows chose."""

    model: FittedModel
    chosen: Temperature | VectorScaling

    def to_json(self) -> dict[str, Any]:
        """What was chosen, as JSON can hold it: an interval without an upper end has null there."""
        if isinstance(self.chosen, Temperature):
            high = self.chosen.high if math.isfinite(self.chosen.high) else None
            return {"temperature": {**vars(self.chosen), "high": high}}
        shift = self.chosen.shift.tolist()
        return {"temperature": {"value": self.chosen.temperature, "n": self.chosen.n}, "shift": shift}


def recalibrated(
    model: FittedModel,
    choose: Examples,
    method: str = "temperature",
    *,
    contexts: Examples | None = None,
    seed: int = 0,
) -> Recalibrated:
    """Recalibrate by ``temperature`` or ``vector``.

    Args:
        choose: rows that were not fitted to.
        contexts: rows on whose contexts τ is fitted again; the same where none are given.

    Raises:
        SpecError: an unknown method, or a model whose scores have no temperature.
    """
    rows = choose if contexts is None else contexts
    if method == "temperature":
        found = choose_temperature(model, choose, seed=seed)
        return Recalibrated(with_temperature(model, found.value, rows, seed=seed), found)
    if method == "vector":
        vector = choose_vector(model, choose, seed=seed)
        return Recalibrated(with_vector(model, vector, rows, seed=seed), vector)
    raise SpecError(
        "Expected a method among {known}, found {found!r}; leave it out for the first.",
        known=", ".join(METHODS),
        found=method,
    )
