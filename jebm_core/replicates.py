"""How far a fit would move with other rows: the same fit again, on random halves of the rows.

A replicate is fitted to half of the rows, drawn without replacement; two in turn share out all rows between them. For
an estimate whose variance falls as 1/n, that of an estimate from half of n rows given all n is the variance of the
estimate from all n itself, so that the spread of replicates around the whole fit is a standard error, without any
assumption about how the fit works: classifiers of the reference, early stopping and random weights are all in it. What
is measured from the whole fit, not from the mean of the replicates, also holds how the estimate drifts as rows grow.

    half-width of an interval = t_{97.5 %, R} · INFLATION · √(mean_r (s_r − s)²)

with s the whole fit's number on a scale without bounds (log p of a combination, the log-odds of an event).

Source: McCarthy, *Review of the International Statistical Institute* 1969 (half-samples); Efron, *The Jackknife, the
    Bootstrap and Other Resampling Plans*, SIAM 1982, chapter 8.
"""

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.fitted import FittedModel, load
from jebm_core.fitting import fit
from jebm_core.progress import Progress
from jebm_core.settings import FitSettings
from jebm_core.tables import Examples

FOLDER = "replicates"
LEAST_ROWS = 40
"""Fewer rows than this can't be halved: a fit needs more than 20."""
INFLATION = 1.4
"""What the spread is multiplied with. A regularised fit also errs where all its replicates do, which no resampling
shows; the factor is what made 95 % intervals cover on simulated distributions, none of them a sample project."""
LEVEL = 0.95


def half_samples(rows: int, count: int, seed: int) -> list[Bool[np.ndarray, " row"]]:
    """``count`` random halves of the rows as flags; two in turn are each other's complement.

    >>> first, second = half_samples(5, 2, seed=0)
    >>> bool((first ^ second).all()), int(first.sum())
    (True, 2)
    """
    generator, halves = np.random.default_rng(seed), []
    for number in range(count):
        if number % 2:
            halves.append(~halves[-1])
            continue
        half = np.zeros(rows, dtype=bool)
        half[generator.permutation(rows)[: rows // 2]] = True
        halves.append(half)
    return halves


def require_rows_for(examples: Examples, count: int) -> None:
    """Raise `SpecError` where there are too few rows to halve."""
    rows = len(examples.keep)
    if count and rows < LEAST_ROWS:
        raise SpecError(
            "Setting replicates: expected at least {least} rows, to fit halves of them, found {rows}; "
            "set it to 0, or add rows.",
            least=LEAST_ROWS,
            rows=rows,
        )


def fit_replicates(
    examples: Examples,
    settings: FitSettings,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **given: Any,
) -> tuple[FittedModel, ...]:
    """Fit ``settings.replicates`` halves of the examples as `jebm_core.fit` fits all of them.

    Args:
        settings: of the whole fit; each replicate has a seed of its own.
        given: what else the whole fit was given: ``rules``, ``candidates`` and the like.

    Raises:
        SpecError: too few rows to halve.
        TrainingStopped, Cancelled: as `jebm_core.fit`.

    Cost: half as many fits as there are replicates, and more where a part of a fit does not shrink with the rows.
    """
    count = settings.replicates
    require_rows_for(examples, count)
    members, started = [], time.monotonic()
    for number, half in enumerate(half_samples(len(examples.keep), count, settings.seed)):
        if on_progress is not None:
            seconds = time.monotonic() - started
            left = seconds / number * (count - number) if number else None
            on_progress(Progress("replicates", number, count, seconds=seconds, seconds_left=left))
        own = dataclasses.replace(settings, seed=(settings.seed + 1 + number) % 2**31, replicates=0)
        members.append(fit(examples.part(half), own, should_stop=should_stop, **given).model)
    return tuple(members)


def save_replicates(members: Sequence[FittedModel], folder: Path | str) -> None:
    """Write them into the folder of the whole fit's model, instead of those that it may have."""
    place = Path(folder) / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    for number, member in enumerate(members):
        member.save(place / f"{number:02}")


def load_replicates(folder: Path | str, *, device: torch.device | str = "cpu") -> tuple[FittedModel, ...]:
    """The replicates in a model folder, none where there are none.

    Raises:
        ModelFolderError: one of them is incomplete, damaged, or of another format.
    """
    place = Path(folder) / FOLDER
    return tuple(load(part, device=device) for part in sorted(place.iterdir())) if place.is_dir() else ()


def half_width(value: Float[Tensor, "*shape"], members: Float[Tensor, "member *shape"]) -> Float[Tensor, "*shape"]:
    """Half of a 95 % interval of ``value`` from what the replicates say in its place.

    >>> half_width(torch.tensor([0.0]), torch.tensor([[0.5], [-0.5]])).item() > 0.5
    True
    """
    spread = (members - value).square().mean(0).sqrt()
    return float(stats.t.ppf(0.5 + LEVEL / 2, len(members))) * INFLATION * spread


class Intervals(NamedTuple):
    """Numbers with 95 % intervals: of the normalisation, of the model, and of both together."""

    value: Float[Tensor, " row"]
    normalisation: Float[Tensor, "two row"]
    model: Float[Tensor, "two row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]


def intervals(
    value: Float[Tensor, " row"],
    low: Float[Tensor, " row"],
    high: Float[Tensor, " row"],
    members: Float[Tensor, "member row"],
) -> Intervals:
    """The interval ``low`` to ``high`` of the normalisation beside that of the model, and both, independent errors,
    together: half-widths add up as squares. Impossible combinations (−∞) have no width.

    Args:
        value: log p of the whole fit, in nats.
        members: log p of each replicate; none of them leaves the normalisation alone.
    """
    normalisation = torch.stack([low, high])
    if not len(members):
        return Intervals(value, normalisation, torch.stack([value, value]), low, high)
    possible = value > -torch.inf
    width = half_width(torch.where(possible, value, 0.0), torch.where(possible, members, 0.0))
    width = torch.where(torch.isfinite(width), width, torch.inf)  # a replicate that calls it impossible knows nothing
    below = torch.where(possible, torch.hypot(value - low, width), 0.0)
    above = torch.where(possible, torch.hypot(high - value, width), 0.0)
    return Intervals(value, normalisation, torch.stack([value - width, value + width]), value - below, value + above)
