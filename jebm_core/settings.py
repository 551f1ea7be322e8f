"""What a person may set for a fit. Pure data: no torch, so that pages and the run store can use it."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from jebm_core.errors import SpecError

AFFINITIES = (
    "auto",
    "unary",
    "pairwise",
    "pairwise-constant",
    "lowrank",
    "lowrank-constant",
    "set",
    "permutahedron",
    "birkhoff",
    "preference",
)
PROPOSALS = ("auto", "reference", "tilt", "meanfield", "anchored", "plackett-luce", "listing")
REFERENCES = (
    "auto",
    "uniform",
    "marginals",
    "candidates",
    "edits",
    "table",
    "model",
    "logistic",
    "forest",
    "stacked",
    "trees",
)
LOG_PARTITIONS = ("auto", "corrected", "constant", "linear", "mlp", "residual")
SPACES = ("auto", "subsets", "configurations", "rankings")
DEVICES = ("auto", "cpu", "cuda")
MOST_REPLICATES = 64
HoldOutMode = Literal["rows", "combinations"]
"""What is held out: rows at random, or every row of some whole combinations."""
VALIDATIONS = ("auto", "rows", "combinations")


@final
@dataclass(frozen=True)
class FitSettings:
    """Settings of a fit; every default is chosen from the data (``auto``).

    Args:
        space: kind of output; ``auto`` follows the target columns.
        affinity: the score network. ``auto``: pairwise interactions that depend on x (low-rank for many items);
            Birkhoff for rankings.
        proposal: where training draws come from. ``reference`` is the published method. ``auto``: listing for
            small spaces, else observed
            combinations plus draws, else the mean-field tilt; stronger ones take over when a guard fails.
        divergence: ``kl``, ``chi2`` (sparsemax), ``tsallis:α``, ``jensen-shannon``, ``hellinger``, ``reverse-kl``
            or ``jeffreys``.
        reference: q. ``auto``: ``stacked`` where there are features, ``trees`` where there are none and no rules,
            else independent marginals of the data (uniform where rules carry weights). ``trees``: mixtures of trees,
            which say how items go together. ``stacked``: pooled cross-fitted classifiers, and a table of the observed
            combinations whose probability they get wrong. ``candidates``: observed combinations, smoothed; ``edits``:
            these and what is one valid change away; ``table``: a table of candidates, simulated ones for instance;
            ``model``: another fitted model; ``logistic`` and ``forest``: one cross-fitted classifier. The rules of a
            fit hold for every one of them.
        log_partition: ``corrected`` is a closed-form base plus a network; the others are networks alone.
        seed: of everything random.
        device: ``auto`` takes a GPU where there is one.
        epochs: at most so many passes over the data.
        time_budget: seconds, at most.
        samples: draws a context in a step.
        validation: what is kept for early stopping and the guards: ``rows`` at random, or every row of whole
            ``combinations``, which suits questions about combinations nobody has tried. ``auto``: rows; in a run as
            what the run holds out for its evaluation.
        validation_fraction: the share of the rows that is kept.
        replicates: refits on random halves of the rows after the fit, which give every probability the interval of the
            model itself (`jebm_core.replicates`); 0 for none, 8 cost about five fits.

    Raises:
        SpecError: a value outside what is listed.

    >>> FitSettings(divergence="chi2", seed=3).to_json()["seed"]
    3
    """

    space: str = "auto"
    affinity: str = "auto"
    proposal: str = "auto"
    divergence: str = "kl"
    reference: str = "auto"
    log_partition: str = "auto"
    seed: int = 0
    device: str = "auto"
    epochs: int | None = None
    time_budget: float | None = None
    samples: int | None = None
    validation: str = "auto"
    validation_fraction: float = 0.15
    replicates: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("space", SPACES),
            ("affinity", AFFINITIES),
            ("proposal", PROPOSALS),
            ("reference", REFERENCES),
            ("log_partition", LOG_PARTITIONS),
            ("device", DEVICES),
            ("validation", VALIDATIONS),
        ):
            if getattr(self, name) not in known:
                raise SpecError(
                    "Setting {name}: expected one of {known}, found {found!r}; choose one of these.",
                    name=name,
                    known=", ".join(known),
                    found=getattr(self, name),
                )
        for name, least in (("epochs", 1), ("time_budget", 1), ("samples", 2)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise SpecError(
                    "Setting {name}: expected at least {least}, found {found}.", name=name, least=least, found=value
                )
        if self.replicates and not 2 <= self.replicates <= MOST_REPLICATES:
            raise SpecError(
                "Setting replicates: expected 0, or a number from 2 to {most}, found {found}; 8 are a good choice.",
                most=MOST_REPLICATES,
                found=self.replicates,
            )
        if not 0.05 <= self.validation_fraction <= 0.5:
            raise SpecError(
                "Setting validation_fraction: expected a share from 0.05 to 0.5, found {found}.",
                found=self.validation_fraction,
            )
        if not 0 <= self.seed < 2**31:
            raise SpecError(
                "Setting seed: expected a whole number from 0 to 2147483647, found {found}.", found=self.seed
            )

    def to_json(self) -> dict[str, Any]:
        """A record that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "FitSettings":
        """The settings that `to_json` described. An unknown name raises `SpecError`."""
        known = {f.name for f in dataclasses.fields(cls)}
        for name in record:
            if name not in known:
                raise SpecError(
                    "Setting {name!r} is unknown; known are {known}.", name=name, known=", ".join(sorted(known))
                )
        return cls(**record)
