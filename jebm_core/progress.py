"""Where a fit is, as one frozen report: what a command line, a run store and a page show."""

from dataclasses import dataclass
from typing import final

EPOCHS = ("baseline", "training")
"""Stages whose parts are epochs, and may end early."""


@final
@dataclass(frozen=True)
class Progress:
    """Where a fit is. Objectives and likelihoods in nats; None where a stage has no such number.

    Attributes:
        effective_sample_size: share of the draws, 0 to 1, that the held-out estimate is worth.
        total_mass: what the model's probabilities add up to on held-out rows; goes to 1.
    """

    stage: str
    epoch: int = 0
    epochs: int = 0
    objective: float | None = None
    held_out_objective: float | None = None
    held_out_nll: float | None = None
    held_out_nll_independent: float | None = None
    effective_sample_size: float | None = None
    total_mass: float | None = None
    proposal: str = ""
    seconds: float = 0.0
    seconds_left: float | None = None
