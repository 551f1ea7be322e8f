"""Output spaces 𝒴: which combinations exist, and the exponential family of their linear statistics.

Every combination is an integer vector ``y`` with one entry per item (or slot), and has a vector of 0/1 *linear
statistics* φ(y):

=================  ===========================  ==================================  ======================
space              y[i]                         φ(y)                                size of 𝒴
=================  ===========================  ==================================  ======================
`Subsets`          1 if item i is in the set    y                                   2^k
`Configurations`   index of the option chosen   one-hot of each slot, concatenated  product of slot sizes
`Rankings`         position of item i, 0 first  permutation matrix, flattened       k!
`Ruled`            as in the space it is cut from                                   what obeys the rules
=================  ===========================  ==================================  ======================

The log-partition of the linear statistics under the counting measure, A(θ) = log Σ_y exp⟨θ, φ(y)⟩, is what
references, exact tilts and
mean-field bounds are built from; each space computes it exactly.
"""

from jebm_core.spaces.base import MAX_LISTING, OutputSpace
from jebm_core.spaces.configurations import Configurations
from jebm_core.spaces.rankings import Rankings
from jebm_core.spaces.ruled import Ruled
from jebm_core.spaces.subsets import Subsets

__all__ = ["MAX_LISTING", "Configurations", "OutputSpace", "Rankings", "Ruled", "Subsets"]
