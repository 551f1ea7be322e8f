"""References made of trees over the items: the same in every context, or tilted by what classifiers say."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from jebm_core.references import COMPLETED, Reference
from jebm_core.spaces import OutputSpace
from jebm_core.trees import Forest, TiltedTreeMixture, TreeMixture, Trees


@final
class TreeReference(Reference):
    """A mixture of trees over the items (`jebm_core.trees`), the same in every context: how items go together, as far
    as trees can say, learned before g (`jebm_core.tree_learning`)."""

    input_width = 0
    parent: Tensor
    log_tables: Tensor
    log_weights: Tensor

    def __init__(self, space: OutputSpace, trees: Trees) -> None:
        super().__init__()
        self.space = space
        self.register_buffer("parent", trees.parent)
        self.register_buffer("log_tables", trees.log_tables)
        self.register_buffer("log_weights", trees.log_weights)
        self._forest: Forest | None = Forest(trees.parent)
        self._single: tuple[Tensor, TreeMixture] | None = None
        self.register_load_state_dict_post_hook(TreeReference._forget)

    def _forget(self, _: object) -> None:
        self._forest = self._single = None  # other trees than before

    @property
    def num_trees(self) -> int:
        """How many trees there are."""
        return len(self.parent)

    def forward(self, inputs: Float[Tensor, "batch width"]) -> TreeMixture:
        if self._forest is None:
            self._forest = Forest(self.parent)
        tables = self.log_tables.unsqueeze(0)
        if len(inputs) > 1:
            return TreeMixture(self.space, self._forest, tables, self.log_weights.expand(len(inputs), -1))
        if self._single is None or self._single[0] is not self.log_tables:  # moved, or of another precision
            self._single = self.log_tables, TreeMixture(self.space, self._forest, tables, self.log_weights.unsqueeze(0))
        return self._single[1]  # the very same each time, so that what was computed from it can be kept

    def to_json(self) -> dict[str, object]:
        return {"kind": "trees", "trees": len(self.parent)}


@final
class TiltedTreeReference(Reference):
    """Trees that x tilts: q(y|x) ∝ Σ_m w_m Π_i T_mi(y_i | y_parent(i)) · exp⟨a η(x) + c, φ(y)⟩, η(x) the input.

    Which items are likely is said by x, how they go together by the trees; both are normalised exactly. a < 1 where
    the trees tell an item's chances from other items already, and c takes away the shares that trees and η both know.
    The log of its normaliser may follow η(x) in the input (`complete`); else it is computed each time.
    """

    slope: Tensor
    shift: Tensor

    def __init__(
        self, space: OutputSpace, trees: Trees, *, slope: float = 1.0, shift: Float[Tensor, " statistic"] | None = None
    ) -> None:
        super().__init__()
        self.space, self.input_width = space, space.num_statistics
        self.untilted = TreeReference(space, trees)
        self.register_buffer("slope", torch.tensor(slope))
        self.register_buffer("shift", torch.zeros(space.num_statistics) if shift is None else shift)

    @property
    def num_trees(self) -> int:
        """How many trees there are."""
        return self.untilted.num_trees

    def forward(self, inputs: Float[Tensor, "batch width"]) -> TiltedTreeMixture:
        eta, known = inputs[:, : self.input_width], inputs[:, self.input_width :]
        trees = self.untilted(inputs[:1, :0])
        return TiltedTreeMixture(trees, self.slope * eta + self.shift, known[:, 0] if known.shape[1] else None)

    @torch.no_grad()
    def complete(self, inputs: Float[Tensor, "batch width"]) -> Float[Tensor, "batch more"]:
        eta = inputs[:, : self.input_width]
        known = [self(part).log_partition for part in eta.split(COMPLETED)]
        return torch.cat([eta, torch.cat(known).unsqueeze(-1)], -1)

    def to_json(self) -> dict[str, object]:
        return {**self.untilted.to_json(), "kind": "tilted trees"}
