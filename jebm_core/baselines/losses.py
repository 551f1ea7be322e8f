"""The losses that baselines minimise, a number a row, in nats.

    likelihood            log Z_q(x) − g(x,y)
    contrastive           E_{y⁻}[g(x,y⁻)] − g(x,y),      y⁻ from a chain or a sampler
    noise-contrastive     −log σ(u(y)) − Σ_s log σ(−u(y_s)),      u = g − τ − log S,      y_1 … y_S from q

The first is −log p(y|x) up to log q(y|x), which no weight changes. The gradient of the second is that of the first
wherever y⁻ follows p.
"""

import math

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from jebm_core.losses import Scored, effective_share, estimated_log_partition, score_draws
from jebm_core.model import ConditionalModel
from jebm_core.proposals import Proposal


def log_partition_of(
    p: ConditionalModel, proposal: Proposal, samples: int, *, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(log Z_q(x) in nats, effective share of the draws behind it), differentiable in g; it owes nothing to τ.

    A_q(θ) where g is linear, the sum over the listing with `ListingProposal` – both exact, with share 1 – else the
    estimate from ``samples`` draws.

    >>> from jebm_core.distributions import LinearDistribution
    >>> from jebm_core.divergences import KL
    >>> from jebm_core.interactions import Scores
    >>> from jebm_core.proposals import TiltProposal
    >>> from jebm_core.spaces import Subsets
    >>> space, zeros = Subsets(("a", "b")), torch.zeros(3, 2)
    >>> p = ConditionalModel(KL(), LinearDistribution(space, zeros), Scores(space, zeros, None))
    >>> log_partition_of(p, TiltProposal(), 8)[0].tolist()
    [0.0, 0.0, 0.0]
    """
    if p.is_linear:
        value = p.reference.log_normalizer(p.scores.theta)
        return value, torch.ones_like(value)
    scored = score_draws(p, proposal.draw(p, samples, generator=generator))
    detached = Scored(scored.draws, scored.affinity.detach(), scored.points_affinity.detach())
    return estimated_log_partition(scored), effective_share(detached)


def likelihood_loss(
    p: ConditionalModel, y: Integer[Tensor, "row item"], log_partition: Float[Tensor, " batch"]
) -> Float[Tensor, " row"]:
    """log Z_q(x) − g(x,y): the negative log-likelihood less −log q(y|x). A row a context, or all rows of one."""
    return log_partition - p.affinity(p.as_draws(y)).flatten()


def contrastive_loss(
    p: ConditionalModel, y: Integer[Tensor, "row item"], negative: Integer[Tensor, "sample batch item"]
) -> Float[Tensor, " row"]:
    """Mean over y⁻ of g(x,y⁻) − g(x,y).

    The value is no likelihood; the gradient is the likelihood's where the negatives are draws from p. Source:
    Hinton, *Training products of experts by minimizing contrastive divergence*, 2002.
    """
    return p.affinity(negative).mean(0) - p.affinity(p.as_draws(y)).flatten()


def noise_contrastive_loss(
    p: ConditionalModel, y: Integer[Tensor, "row item"], noise: Integer[Tensor, "sample batch item"]
) -> Float[Tensor, " row"]:
    """Logistic loss of telling y from S draws of q, with log p/q − log S = g − τ − log S as the logit.

    Its minimum over g and τ is at p(y|x) = q(y|x) e^{g(x,y) − τ(x)} with Σ_y p = 1: the normaliser is learned, because
    no other one tells data from noise as well. Source: Gutmann and Hyvärinen, *Noise-contrastive estimation of
    unnormalized statistical models*, JMLR 2012.

    Args:
        noise: i.i.d. draws from q, for each context; where one context stands for all rows they serve every row.
    """
    shift = p.log_partition + math.log(noise.shape[0])
    data = p.affinity(p.as_draws(y)) - shift
    drawn = p.affinity(noise) - shift
    softplus = torch.nn.functional.softplus
    return softplus(-data).flatten() + softplus(drawn).sum(0)
