"""What each baseline is: its name, the settings it stands for, and where it does not apply."""

import dataclasses
import math
from typing import Literal

from jebm_core.errors import SpecError
from jebm_core.model import ConditionalModel
from jebm_core.recipes import MAX_LISTED_ONCE, Architecture, independent_architecture
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace

Name = Literal["independent", "exact", "persistent-cd", "published", "min-max", "nce", "self-normalised"]

BASELINES: tuple[Name, ...] = (
    "independent",
    "exact",
    "persistent-cd",
    "published",
    "min-max",
    "nce",
    "self-normalised",
)
LEARNED = ("published", "nce", "self-normalised")
"""Baselines that learn τ together with g."""
DRAWN = ("persistent-cd", "min-max", "nce")
"""Baselines whose steps are noisy even where every combination could be listed."""
MAX_LISTED = MAX_LISTED_ONCE
"""Size of the space up to which exact maximum likelihood lists it in every step."""


def baseline_named(name: str, settings: FitSettings) -> Name:
    """The name, if there is a baseline of that name and it can be compared under these settings.

    Raises:
        SpecError: another name, or a divergence other than KL.

    >>> baseline_named("nce", FitSettings())
    'nce'
    """
    for known in BASELINES:
        if name == known:
            break
    else:
        raise SpecError(
            "Baseline: expected one of {known}, found {found!r}; choose one of these.",
            known=", ".join(BASELINES),
            found=name,
        )
    if settings.divergence != "kl":
        raise SpecError(
            "Baseline {name}: expected the divergence kl, found {found}; baselines are other ways to maximise the "
            "likelihood, so compare them with a fit that does.",
            name=name,
            found=settings.divergence,
        )
    return known


def data_settings(name: Name, settings: FitSettings) -> FitSettings:
    """The settings that rows are prepared under: those of the fit, but for a reference that the baseline brings.

    So a reference that classifiers predict is the base measure of all others, too.
    """
    return dataclasses.replace(settings, reference="uniform") if name == "published" else settings


def model_settings(name: Name, settings: FitSettings) -> FitSettings:
    """The settings that stand for the baseline.

    >>> found = model_settings("published", FitSettings())
    >>> found.proposal, found.reference, found.log_partition
    ('reference', 'uniform', 'mlp')
    """
    settings = data_settings(name, settings)
    match name:
        case "published":
            return dataclasses.replace(settings, proposal="reference", log_partition="mlp")
        case "self-normalised":
            return dataclasses.replace(settings, log_partition="constant")
        case "nce":
            # A network alone, as in the literature; a base made from g would be our own remedy.
            alone = settings.log_partition in ("constant", "linear", "residual")
            return settings if alone else dataclasses.replace(settings, log_partition="mlp")
        case _:
            return settings


def plan_settings(name: Name, settings: FitSettings) -> FitSettings:
    """The settings that the plan is chosen for. One that counts on exact gradients suits no baseline that draws."""
    draws = name in DRAWN and settings.proposal in ("auto", "listing")
    return dataclasses.replace(settings, proposal="tilt") if draws else settings


def baseline_architecture(name: Name, shape: Architecture) -> Architecture:
    """The shape of the baseline's model."""
    return independent_architecture(shape) if name == "independent" else shape


def require_applicable(name: Name, p: ConditionalModel, shape: Architecture) -> None:
    """Refuse a baseline that can't be computed for this model.

    Raises:
        SpecError: ``exact`` on a space too large to list, with interactions; ``independent`` and ``min-max`` where
            tilts of the reference can't be summed.
    """
    space = p.space
    if name == "exact" and not p.is_linear and space.cardinality() > MAX_LISTED:
        raise SpecError(
            "Baseline exact: expected at most {limit} combinations to list in every step, or an affinity without "
            "interactions, found about 10^{power:.0f} combinations and the affinity {found}; choose the affinity "
            "unary, or another baseline.",
            limit=MAX_LISTED,
            power=space.log_cardinality() / math.log(10),
            found=shape.affinity,
        )
    if name in ("independent", "min-max") and not _sums(space):
        raise SpecError(
            "Baseline {name}: expected outputs whose independent model can be summed exactly, found more items to "
            "rank, or larger rules, than that is possible for; choose another baseline.",
            name=name,
        )


def _sums(space: OutputSpace) -> bool:
    return space.exact_linear and not space.checks_draws
