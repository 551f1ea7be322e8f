"""What one would do instead of the joint objective: the same network on the same rows, trained in another way.

=================  ==========================================================================  ===================
baseline           how g is learned                                                            τ
=================  ==========================================================================  ===================
independent        exact maximum likelihood without interactions                               exact
exact              exact maximum likelihood, by listing or in closed form                      finished afterwards
persistent-cd      persistent contrastive divergence: chains that never start again            finished afterwards
published          the joint objective as published: uniform q, 1000 draws, a network for τ    as learned
min-max            against a sampler that is learned beside it                                 finished afterwards
nce                noise-contrastive estimation against draws from q                           as learned
self-normalised    the joint objective with one number for τ, whatever x                       as learned
=================  ==========================================================================  ===================

All of them have the data, the split, the affinity network, the optimizer, the budget and the patience of
`jebm_core.fit`. A fit stops where the held-out likelihood does, computed from an exact or estimated log-partition of g,
so that no baseline is judged by a normaliser of its own that is wrong. What learns a τ keeps it, since that is what is
compared; the others have theirs finished by `jebm_core.refinement`, so that their probabilities can be used.

jebm itself never runs a Markov chain to learn. The chains of `jebm_core.baselines.chains` are what it is compared with.
"""

from jebm_core.baselines.fitting import fit_baseline
from jebm_core.baselines.setups import BASELINES

__all__ = ["BASELINES", "fit_baseline"]
