"""Plackett–Luce rankings: each position in turn takes one of the items left, in proportion to exp(score).

With scores w[i] in nats and the ranking that puts item o[s] in position s (0 is the top),

    log p = Σ_s ( w[o[s]] − log Σ_{t ≥ s} exp w[o[t]] ).

Every ranking has a positive probability, and adding a constant to all scores changes nothing. Luce 1959, Plackett 1975;
the draw by sorting scores with Gumbel noise goes back to Yellott 1977.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError


def log_prob(
    scores: Float[Tensor, "batch item"], positions: Int64[Tensor, "sample batch item"]
) -> Float[Tensor, "sample batch"]:
    """Log-probability in nats of rankings given by the position of every item, 0 at the top.

    Differentiable in ``scores``, which must be finite. Every row of ``positions`` must hold 0..k−1 once each. Neither
    is checked.

    Cost: linear in the number of positions.

    >>> positions = torch.tensor([[[0, 1, 2]], [[2, 0, 1]]])
    >>> bool(torch.allclose(log_prob(torch.zeros(1, 3), positions).exp(), torch.tensor(1 / 6)))
    True
    """
    by_position = torch.zeros_like(positions, dtype=scores.dtype).scatter(-1, positions, scores.expand(positions.shape))
    log_sum_left = by_position.flip(-1).logcumsumexp(dim=-1)  # over the items of the last position, the last two, …
    return scores.sum(dim=-1) - log_sum_left.sum(dim=-1)


@torch.no_grad()
def sample(
    scores: Float[Tensor, "batch item"], num_samples: int, generator: torch.Generator | None = None
) -> Int64[Tensor, "sample batch item"]:
    """Independent draws: the position of every item, 0 at the top, from the order of scores with Gumbel noise added.

    Args:
        scores: finite scores in nats.
        num_samples: draws for every row of ``scores``.
        generator: source of randomness, on the device of ``scores``.

    Raises:
        SpecError: ``num_samples`` is negative.

    Cost: one random number an item and two sorts a draw.

    >>> draws = sample(torch.zeros(2, 5), 3)
    >>> draws.shape, bool((draws.sort(-1).values == torch.arange(5)).all())
    (torch.Size([3, 2, 5]), True)
    """
    if num_samples < 0:
        raise SpecError("Expected 0 samples or more, found {found}. Ask for a number from 0 up.", found=num_samples)
    # In double precision: single-precision noise is coarse enough for ties between items.
    noise = scores.new_empty(num_samples, *scores.shape, dtype=torch.float64).exponential_(generator=generator).log()
    order = (noise - scores).argsort(dim=-1)  # −log of an exponential draw is a Gumbel draw; smallest first
    return order.argsort(dim=-1)
