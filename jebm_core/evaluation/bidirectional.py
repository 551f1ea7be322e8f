"""Bidirectional annealing: log Z_q(x) between two stochastic bounds.

`annealing.anneal` moves draws of a tilt q_θ̃ up to the model p: E[w] = Z_q, so log of a mean of w is on average below
log Z_q. From a draw of p the reversal of the same moves leads back to q_θ̃, and the weight of that path has E[1/w] =
1/Z_q, so −log of a mean of 1/w is on average above:

    E[log S⁻¹ Σ_s w_s]  ≤  log Z_q(x)  ≤  E[−log S⁻¹ Σ_s 1/w_s]

The two close in on log Z_q as chains and temperatures grow; the gap between log w of one chain forward and of one
backward is on average the symmetric divergence between the two laws of a path. The upper bound needs exact draws of
p(y|x): of a space that can be listed (`listing.listed_draws`), or of data simulated from the model itself. With draws
of anything else, rows that p is only fitted to among them, it is no bound.

Sources: Grosse, Ghahramani and Adams, *Sandwiching the marginal likelihood using bidirectional Monte Carlo*, 2015;
    Grosse, Ancha and Roy, *Measuring the reliability of MCMC inference with bidirectional Monte Carlo*, NeurIPS 2016.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from scipy import stats
from torch import Tensor

from jebm_core.errors import SpecError
from jebm_core.evaluation.annealing import anneal
from jebm_core.model import ConditionalModel

GROUPS = 8
"""Independent groups of chains, whose bounds differ by chance: what an interval is made from."""


class TwoSided(NamedTuple):
    """Bounds of log Z_q(x), in nats and float64.

    Attributes:
        lower, upper: stochastic bounds from all chains; on average below and above log Z_q.
        low, high: the interval that holds log Z_q with the probability asked for, or a higher one.
        forward, backward: log w of each chain. The mean of e^forward estimates Z_q, that of e^−backward 1/Z_q, both
            without bias.
    """

    lower: Float[Tensor, " row"]
    upper: Float[Tensor, " row"]
    low: Float[Tensor, " row"]
    high: Float[Tensor, " row"]
    forward: Float[Tensor, "chain row"]
    backward: Float[Tensor, "draw row"]


def two_sided(
    p: ConditionalModel,
    y: Int64[Tensor, "draw row item"],
    *,
    num_chains: int | None = None,
    temperatures: int = 100,
    generator: torch.Generator | None = None,
    level: float = 0.95,
    on_temperature: Callable[[float], None] | None = None,
) -> TwoSided:
    """Bound log Z_q(x) from both sides by annealing.

    With B = `GROUPS` groups of chains and the bound L_b of each, ``low`` is their mean less t · sd(L_b)/√B, t the
    (1 + level)/2 quantile of Student's distribution on B − 1 degrees of freedom; ``high`` likewise. Each end holds E[L]
    with probability (1 + level)/2, and log Z_q lies beyond E[L].

    Args:
        y: exact draws of p(y|x), a chain back for each.
        num_chains: chains forward, by default as many as back.
        temperatures: of a chain, either way.
        level: of the interval.
        on_temperature: told the share that is done; may raise to stop.

    Raises:
        SpecError: fewer than two chains a direction, a level outside of 0 to 1, a divergence other than KL (whose
            τ is no log-partition), or a draw that is impossible.

    Cost: as two runs of `annealing.anneal`.

    >>> from jebm_core.distributions import LinearDistribution
    >>> from jebm_core.divergences import KL
    >>> from jebm_core.evaluation.listing import listed_draws, listed_log_partition
    >>> from jebm_core.interactions import FullQuadratic, Scores
    >>> from jebm_core.spaces import Subsets
    >>> space, zeros = Subsets(("a", "b")), torch.zeros(3, 2)
    >>> scores = Scores(space, zeros, FullQuadratic(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])))
    >>> p, g = ConditionalModel(KL(), LinearDistribution(space, zeros), scores), torch.Generator().manual_seed(0)
    >>> found = two_sided(p, listed_draws(p, 64, generator=g), temperatures=20, generator=g)
    >>> exact = listed_log_partition(p)
    >>> bool(((found.low <= exact) & (exact <= found.high)).all())
    True
    """
    num_chains = len(y) if num_chains is None else num_chains
    if min(len(y), num_chains) < 2:
        raise SpecError(
            "Expected at least two chains in either direction for two-sided bounds, found {forward} forward and "
            "{back} back; give more draws.",
            forward=num_chains,
            back=len(y),
        )
    if not 0 < level < 1:
        raise SpecError("Expected a level above 0 and below 1, found {level}; 0.95 is usual.", level=level)
    if p.divergence.name != "kl":
        raise SpecError(
            "Expected the divergence kl for two-sided bounds, found {divergence}; its multiplier is no log-partition.",
            divergence=p.divergence.name,
        )
    if not (p.space.contains(y) & (p.reference.log_prob(y) > -math.inf)).all():
        raise SpecError(
            "Expected exact draws of the model for two-sided bounds, found a combination that is impossible under it; "
            "draw from this very model."
        )

    def part(first: float) -> Callable[[float], None]:
        def tell(share: float) -> None:
            if on_temperature is not None:
                on_temperature(first + share / 2)

        return tell

    how = {"temperatures": temperatures, "generator": generator}
    forward = anneal(p, num_chains=num_chains, on_temperature=part(0.0), **how)
    backward = anneal(p, num_chains=len(y), on_temperature=part(0.5), ends=y, **how)
    low, high = _limit(forward, level), -_limit(-backward, level)
    return TwoSided(_log_mean(forward), -_log_mean(-backward), low, high, forward, backward)


def _log_mean(log_weight: Float[Tensor, "chain row"]) -> Float[Tensor, " row"]:
    return log_weight.logsumexp(0) - math.log(len(log_weight))


def _limit(log_weight: Float[Tensor, "chain row"], level: float) -> Float[Tensor, " row"]:
    """Lower confidence limit of what the log of a group's mean is on average."""
    groups = min(GROUPS, len(log_weight))
    each = torch.stack([_log_mean(part) for part in log_weight.tensor_split(groups)])
    reach = float(stats.t.ppf((1 + level) / 2, groups - 1)) / math.sqrt(groups)
    return each.mean(0) - reach * each.std(0)
