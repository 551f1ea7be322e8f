"""The sampler of min-max training: a network for the independent distribution that draws what g is trained against.

    max_r E_{y∼r}[g(x,y)] − KL(r ‖ q) = max_r log Z_q(x) − KL(r ‖ p),      r(y|x) = q(y|x) e^{⟨θ(x), φ(y)⟩ − A_q(θ(x))}

with θ(x) from the network. The game min_g max_r has the likelihood's solution where r can be p; items that depend on
one another are out of its reach, and g is then trained against the wrong draws. Source: Kim and Bengio, *Deep directed
generative models with energy-based probability estimation*, 2016; Dai et al., *Exponential family estimation via
adversarial dynamics embedding*, NeurIPS 2019.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from jebm_core.distributions import ReferenceDistribution
from jebm_core.model import ConditionalModel
from jebm_core.networks import Trunk, UnaryHead
from jebm_core.spaces import OutputSpace


@final
class Sampler(nn.Module):
    """x → θ_φ(x), with a trunk of its own; without dropout, since it sees no labels that it could learn by heart.

    >>> from jebm_core.spaces import Subsets
    >>> Sampler(Subsets(("a", "b", "c")), 2, (8,))(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """

    def __init__(self, space: OutputSpace, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.trunk = Trunk(features, hidden, dropout=0.0)
        self.head = UnaryHead(space, self.trunk.width)

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch statistic"]:
        return self.head(self.trunk(x))


def sampler_objective(
    q: ReferenceDistribution,
    theta: Float[Tensor, "batch statistic"],
    y: Integer[Tensor, "sample batch item"],
    g: Float[Tensor, "sample batch"],
) -> Float[Tensor, " batch"]:
    """E_r[g] − KL(r ‖ q) ≤ log Z_q in nats, r = q_θ; its gradient in θ is unbiased, and g gets none.

    E_r[g] is the mean over the draws; its gradient is that of REINFORCE, with the mean over all other draws as the
    control variate of each. KL(r ‖ q) = ⟨θ, E_r[φ]⟩ − A_q(θ) is in closed form. So is its gradient where items are
    independent; elsewhere (rankings, rules, tables) the marginals have no derivative, and −⟨θ, φ(y)⟩ joins g in what
    a draw earns: the same gradient in expectation.

    Args:
        y: two or more i.i.d. draws from r.
        g: g(x, y) of these draws.

    Source: Williams, *Simple statistical gradient-following algorithms*, 1992; Kool et al., *Buy 4 REINFORCE samples,
    get a baseline for free!*, 2019.

    >>> from jebm_core.distributions import LinearDistribution
    >>> from jebm_core.spaces import Subsets
    >>> q, theta = LinearDistribution(Subsets(("a", "b")), torch.zeros(1, 2)), torch.zeros(1, 2)
    >>> y = torch.tensor([[[0, 0]], [[1, 1]]])
    >>> sampler_objective(q, theta, y, torch.tensor([[0.0], [3.0]])).tolist()
    [1.5]
    """
    r, g = q.tilt(theta), g.detach()
    marginals = r.marginals()
    relative = (theta * (marginals if q.is_product() else marginals.detach())).sum(-1) - q.log_normalizer(theta)
    reward = g
    if not q.is_product():
        reward = g - (q.space.statistics(y) * theta.detach()).sum(-1)
        relative = relative.detach()
    draws = len(y)
    advantage = (reward - reward.mean(0)) * draws / (draws - 1)  # g less the mean of all others
    score = (advantage * r.log_prob(y)).mean(0)
    return g.mean(0) - relative + (score - score.detach())


@final
class Adversary:
    """A sampler at work: some steps up its own objective, then draws for g to be trained against.

    Args:
        draws: from r, for each context, in each of its steps and for g.
        steps: up, for each step of g; with one alone the sampler falls behind g, which then grows without end.
        learning_rate, clip: of the optimizer, an Adam without weight decay.
    """

    def __init__(self, sampler: Sampler, *, draws: int, steps: int, learning_rate: float, clip: float) -> None:
        self.sampler, self.draws, self.steps, self.clip = sampler, draws, steps, clip
        self.optimizer = torch.optim.AdamW(sampler.parameters(), lr=learning_rate, weight_decay=0.0)

    def advance(
        self, p: ConditionalModel, x: Float[Tensor, "batch feature"], *, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample batch item"]:
        """Follow the g of ``p``, which is left alone, and draw from what the sampler has become."""
        for _ in range(self.steps):
            self.optimizer.zero_grad(set_to_none=True)
            theta = self.sampler(x)
            y = p.reference.tilt(theta.detach()).sample(self.draws, generator=generator)
            with torch.no_grad():
                g = p.affinity(y)
            (-sampler_objective(p.reference, theta, y, g).mean()).backward()
            nn.utils.clip_grad_norm_(self.sampler.parameters(), self.clip)
            self.optimizer.step()
        with torch.no_grad():
            return p.reference.tilt(self.sampler(x)).sample(self.draws, generator=generator)
