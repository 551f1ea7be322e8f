"""Output spaces 𝒴: which combinations exist, and the exponential family of their linear statistics.

Every combination is an integer vector ``y`` with one entry per item (or slot), and has a vector of 0/1 *linear
statistics* φ(y):

=================  ===========================  ==================================  ======================
space              y[i]                         φ(y)                                size of 𝒴
=================  ===========================  ==================================  ======================
`Subsets`          1 if item i is in the set    y                                   2^k
`Configurations`   index of the option chosen   one-hot of each slot, concatenated  product of slot sizes
`Rankings`         position of item i, 0 first  permutation matrix, flattened       k!
=================  ===========================  ==================================  ======================

The log-partition of the linear statistics under the counting measure, A(θ) = log Σ_y exp⟨θ, φ(y)⟩, is what
references, exact tilts and
mean-field bounds are built from; each space computes it exactly.
"""

from jebm_core.errors import SpecError
from jebm_core.spaces.base import MAX_LISTING, OutputSpace, integers_on
from jebm_core.spaces.configurations import Configurations
from jebm_core.spaces.rankings import Rankings
from jebm_core.spaces.subsets import Subsets

__all__ = ["MAX_LISTING", "Configurations", "OutputSpace", "Rankings", "Subsets", "integers_on", "space_from_json"]


def space_from_json(record: dict[str, object]) -> OutputSpace:
    """The space that `OutputSpace.to_json` described."""
    items: list[str] = record["items"]  # pyright: ignore[reportAssignmentType]
    match record["kind"]:
        case "subsets":
            return Subsets(items)
        case "configurations":
            return Configurations(items, record["options"])  # pyright: ignore[reportArgumentType]
        case "rankings":
            return Rankings(items)
        case kind:
            raise SpecError("Expected a space of subsets, configurations or rankings, found {kind!r}.", kind=kind)
