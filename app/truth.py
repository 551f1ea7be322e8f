"""The truth of the sample projects beside the estimates: their files are generated, so every probability is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, cast

import numpy as np
import pandas as pd

from jebm_core.tables import OutputSchema
from sample_data.truth import Truth, load_truth

_Name = Literal["assembly", "maintenance", "suppliers"]
_NAMES: tuple[_Name, ...] = ("assembly", "maintenance", "suppliers")


@dataclass(frozen=True)
class TrueValues:
    """What is true of combinations: the probability of each, and whether the rules of the sample allow it."""

    probability: tuple[float, ...]
    allowed: tuple[bool, ...]


def truth_of(sha256: str, schema: OutputSchema) -> Truth | None:
    """Return the truth behind a data set, or nothing where the file or its outputs aren't those of a sample."""
    name = _digests().get(sha256)
    if name is None:
        return None
    truth = load_truth(cast(_Name, name))
    return truth if set(truth.columns) == set(schema.columns) and truth.kind == schema.kind else None


def has_outcome(truth: Truth, outcome: tuple[str, str] | None) -> bool:
    """Return whether the truth knows this outcome given the other slots; without one it always does."""
    return outcome is None or (
        truth.columns[-1].removeprefix("c_") == outcome[0] and len(truth.slots) < len(truth.columns)
    )


def true_log_probabilities(truth: Truth, rows: pd.DataFrame) -> np.ndarray:
    """Return log p(y|x) in nats of the rows of a sample file."""
    return truth.log_prob(rows, rows.filter(items=list(truth.columns)))


def true_values(
    truth: Truth, contexts: pd.DataFrame, cells: Sequence[dict[str, object]], outcome: tuple[str, str] | None
) -> TrueValues:
    """Return the true probability of combinations, averaged over contexts as the estimates are.

    Args:
        truth: of the sample.
        contexts: rows with the features.
        cells: the combinations, as cells of the file.
        outcome: the slot and option whose probability given the other slots is wanted.
    """
    count = len(contexts)
    outputs = pd.DataFrame(list(cells), columns=list(truth.columns))
    allowed = truth.valid(outputs.filter(items=list(truth.slots))) if truth.rules else np.ones(len(outputs), dtype=bool)
    every = outputs.iloc[np.repeat(np.arange(len(outputs)), count)].reset_index(drop=True)
    x = contexts.iloc[np.tile(np.arange(count), len(outputs))].reset_index(drop=True)
    if outcome is None:
        values = np.exp(truth.log_prob(x, every))
    else:
        values = truth.success_probability(x, every.filter(items=list(truth.slots)))
        if outcome[1] != "pass":
            values = 1.0 - values
    mean = values.reshape(len(outputs), count).mean(axis=1)
    return TrueValues(tuple(mean.tolist()), tuple(bool(one) for one in allowed))


def random_success(truth: Truth, contexts: pd.DataFrame) -> float:
    """Return the true share of successes among valid combinations picked at random."""
    return float(truth.success_probabilities(contexts).mean())


@cache
def _digests() -> dict[str, str]:
    folder = resources.files("sample_data")
    return {hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest(): name for name in _NAMES}
