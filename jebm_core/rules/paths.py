"""Millions of i.i.d. draws from one weighted diagram.

Consecutive layers are taken together as long as they have at most 64 joint outcomes. Every node at which such a block
begins has an alias table over them, so that a block costs one random integer and three gathers, however many layers it
has. Frequencies are exact to 2^−25 (a bit less for each doubling of a slot beyond 64 options); what is not valid, or
has no weight, is never drawn.

Source: Walker, *An efficient method for generating discrete random variables with general distributions*, ACM TOMS
1977; Vose, IEEE TSE 1991.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Int32, Int64, Integer
from torch import Tensor

from jebm_core.rules.circuit import Circuit

_OUTCOMES = 64
_RANDOM_BITS = 31  # of each half of a random word
_CHUNK = 2**15  # draws at a time: what a processor's cache holds


@final
@dataclass(frozen=True)
class _Block:
    """Layers taken together. Tables have 2^bits cells a node; an outcome's options are a column of ``options``."""

    bits: int
    threshold: Int32[Tensor, " cell"]
    alias: Int32[Tensor, " cell"]
    onward: Int32[Tensor, " cell"]
    options: Integer[Tensor, "layer outcome"]


@final
class PathSampler:
    """Draws of p ∝ exp⟨θ, φ⟩ over everything valid, for one θ.

    Cost: one pass over the diagram and an alias table a node and block; then three gathers a block and draw.
    """

    def __init__(self, circuit: Circuit, theta: Float[Tensor, " statistic"]) -> None:
        self._root, self.device = circuit.diagram.root, theta.device
        self._blocks: list[_Block] = []
        shares, layers = circuit.option_shares(theta), circuit.layers(theta.device)
        self._layers = len(layers)
        widest = max((len(layer.by_option) for layer in layers), default=0)
        start = 0
        while start < len(layers):
            stop, outcomes = start, 1
            while stop < len(layers) and (stop == start or outcomes * len(layers[stop].by_option) <= _OUTCOMES):
                outcomes *= len(layers[stop].by_option)
                stop += 1
            self._blocks.append(_block([(layers[i].children, shares[i]) for i in range(start, stop)], widest))
            start = stop

    def sample(
        self, num_samples: int, *, order: Sequence[int] | None = None, generator: torch.Generator | None = None
    ) -> Integer[Tensor, "sample layer"]:
        """The option in each layer of each draw.

        Args:
            order: the layers as columns, in this order. A column is stored in one piece, so that no order costs more.
        """
        rows: list[int] = list(range(self._layers)) if order is None else [0] * self._layers
        for row, layer in enumerate(order or ()):
            rows[layer] = row
        kind = self._blocks[0].options.dtype if self._blocks else torch.uint8
        found = torch.empty((self._layers, num_samples), dtype=kind, device=self.device)
        for first in range(0, num_samples, _CHUNK):
            self._fill(found[:, first : first + _CHUNK], rows, generator)
        return found.T

    def _fill(self, found: Tensor, rows: Sequence[int], generator: torch.Generator | None) -> None:
        count = found.shape[1]
        node = torch.full((count,), self._root, dtype=torch.int32, device=self.device)
        words = torch.empty(((len(self._blocks) + 1) // 2, count), dtype=torch.int64, device=self.device)
        halves = words.random_(generator=generator).view(torch.int32).view(len(words), count, 2)
        layer = 0
        for place, block in enumerate(self._blocks):
            random = halves[place // 2, :, place % 2] & 0x7FFFFFFF
            bucket = random & ((1 << block.bits) - 1)
            first = node << block.bits
            at = first + bucket
            stays = (random >> block.bits) < block.threshold.index_select(0, at)
            outcome = torch.where(stays, bucket, block.alias.index_select(0, at))
            node = block.onward.index_select(0, first + outcome)
            for options in block.options:
                torch.index_select(options, 0, outcome, out=found[rows[layer]])
                layer += 1


def _block(layers: list[tuple[Tensor, Tensor]], widest: int) -> _Block:
    """Alias tables over the joint outcomes of some layers, given by children and shares [node, option], for every node
    of the first; ``widest`` is the most options of any layer of the diagram."""
    nodes, device = len(layers[0][0]), layers[0][0].device
    node = torch.arange(nodes, device=device).unsqueeze(1)
    share = torch.ones((nodes, 1), dtype=torch.float64, device=device)
    small = widest <= 256
    kind = torch.uint8 if small else torch.int32
    options = torch.zeros((1, 0), dtype=kind, device=device)
    for children, probability in layers:
        share = (share.unsqueeze(-1) * probability[node]).flatten(1)
        node = children[node].flatten(1)
        new = torch.arange(children.shape[1], dtype=kind, device=device)
        options = torch.cat([options.repeat_interleave(len(new), 0), new.repeat(len(options)).unsqueeze(1)], 1)
    bits = (max(_OUTCOMES, share.shape[1]) - 1).bit_length()
    spare = (1 << bits) - share.shape[1]
    share = torch.nn.functional.pad(share, (0, spare))
    node = torch.nn.functional.pad(node, (0, spare))
    options = torch.nn.functional.pad(options, (0, 0, 0, spare))
    threshold, alias = _alias_tables(share)
    threshold = (threshold * 2 ** (_RANDOM_BITS - bits)).round().int()
    return _Block(bits, threshold.flatten(), alias.int().flatten(), node.int().flatten(), options.T.contiguous())


def _alias_tables(
    share: Float[Tensor, "node outcome"],
) -> tuple[Float[Tensor, "node outcome"], Int64[Tensor, "node outcome"]]:
    """The share of its bucket that each outcome keeps, and the outcome that has the rest, for all nodes at once.

    In every round the outcome with least left gives what is missing of its bucket to the one with most.
    """
    left = share * share.shape[1]
    alias = torch.arange(share.shape[1], device=share.device).expand_as(share).contiguous()
    threshold = torch.ones_like(left)
    done = torch.zeros_like(left, dtype=torch.bool)
    for _ in range(share.shape[1] - 1):
        least = left.masked_fill(done, torch.inf).argmin(1, keepdim=True)
        most = left.masked_fill(done, -torch.inf).argmax(1, keepdim=True)
        given = left.gather(1, least).clamp(max=1.0)
        threshold.scatter_(1, least, given)
        alias.scatter_(1, least, most)
        left.scatter_add_(1, most, given - 1.0)
        done.scatter_(1, least, True)
    # What is left in the last bucket is 1 but for rounding; outcomes without share never keep their bucket.
    threshold = torch.where(share > 0, threshold, torch.where(share.sum(1, keepdim=True) > 0, 0.0, threshold))
    return threshold, alias
