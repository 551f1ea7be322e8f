"""Trying a candidate generator on data before training with it: what it covers, how likely it finds the past, and how
far the model will have to go from it."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float

from jebm_core.draws import draw_weighted
from jebm_core.evaluation.rules import summarise_rules
from jebm_core.fitted import DRAWS, FittedModel
from jebm_core.fitting import fit
from jebm_core.recipes import describe_space
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.data import broken_rules
from jebm_core.rules.language import RuleSet
from jebm_core.rules.problem import bind
from jebm_core.settings import FitSettings
from jebm_core.tables import Examples, Table, require_fit_size

HELD_OUT = 0.2
MAX_HELD_OUT = 400
"""Held-out rows at most."""


@final
@dataclass(frozen=True, eq=False)
class GeneratorTrial:
    """What a pilot fit says about a generator. Log quantities in nats.

    The held-out rows are the same for every generator that is tried on the same examples with the same seed, so they
    can be compared row by row; where a generator calls a row impossible, its numbers are −∞.

    Attributes:
        count: combinations that the generator can draw; everything: all that there are.
        coverage: share of the rows that it can draw.
        log_q: log q(y|x) of each held-out row; log_p: log p(y|x) after the pilot fit.
        chi2: χ²(p‖q) = E_{y∼q}[(p/q)²] − 1 of the pilot model, a number for each held-out context: the variance of
            the weights that training on draws from q would have.
        seconds: what the pilot fit took.
        exact: whether ``count`` is exact; an estimate where rules are checked on draws.
    """

    count: int
    everything: int
    coverage: float
    log_q: Float[np.ndarray, " row"]
    log_p: Float[np.ndarray, " row"]
    chi2: Float[np.ndarray, " context"]
    seconds: float
    exact: bool = True

    @property
    def effective_share(self) -> float:
        """Mean of 1 / (1 + χ²): the share of draws from q that training with them would be worth."""
        return float(np.mean(1 / (1 + self.chi2)))

    @property
    def possible(self) -> Bool[np.ndarray, " row"]:
        """Which held-out rows the generator can draw."""
        return np.isfinite(self.log_q)


def try_generator(
    examples: Examples,
    rules: RuleSet | None,
    settings: FitSettings,
    *,
    candidates: Table | None = None,
    generator: FittedModel | None = None,
) -> GeneratorTrial:
    """Fit for as long as ``settings.time_budget`` says to a part of the rows, and look at the others.

    Args:
        settings: their reference is the generator's; their seed splits the rows.
        candidates, generator: as for `fit`.

    Raises:
        UserError: too few rows, or a generator that can't be had.
    """
    require_fit_size(examples)
    schema = examples.outputs.schema
    everything = count = describe_space(schema.kind, schema.names, schema.options).cardinality()
    coverage, exact = 1.0, True
    if rules is not None:
        compiled = compile_rules(bind(rules, schema, features=examples.roles.features))
        summary = summarise_rules(compiled)
        count, exact = summary.valid_outputs, summary.is_exact
        coverage = float(1 - broken_rules(compiled, examples).any(1).mean())
    held = np.zeros(len(examples.keep), dtype=bool)
    order = np.random.default_rng(settings.seed).permutation(len(held))
    held[order[: max(8, round(HELD_OUT * len(held)))]] = True
    result = fit(examples.part(~held), settings, rules=rules, candidates=candidates, generator=generator)
    held[order[MAX_HELD_OUT:]] = False
    log_q, log_p, chi2 = _held_out(result.model, examples.part(held), settings.seed)
    return GeneratorTrial(count, everything, coverage, log_q, log_p, chi2, result.history[-1].seconds, exact)


@torch.no_grad()
def _held_out(model: FittedModel, examples: Examples, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    context = model.context(examples.table.part(examples.keep))
    y = torch.from_numpy(examples.outputs.values).to(model.device)
    possible = model.supports(context, y)
    log_p = torch.where(possible, model.log_prob(context, y).value, -torch.inf)
    log_q, chi2 = [], []
    generator = torch.Generator(model.device).manual_seed(seed)
    for rows, part in model.chunks(context, 64):
        p = model.model(part)
        log_q.append(p.reference.log_prob(y[rows].unsqueeze(0)).squeeze(0))
        draws = draw_weighted(p, model.proposal(), DRAWS, generator)
        # E_q[(p/q)²] = E_p[p/q], and p/q = exp(g − τ) for KL.
        ratio = p.divergence.log_density_ratio(p.affinity(draws.y) - p.log_partition)
        chi2.append((draws.log_weight + ratio).logsumexp(0).expm1().clamp_min(0))
    values = torch.where(possible, torch.cat(log_q), -torch.inf), log_p, torch.cat(chi2)
    log_q_, log_p_, chi2_ = (part.double().cpu().numpy() for part in values)
    return log_q_, log_p_, chi2_
