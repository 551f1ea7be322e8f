"""Exact sums over all rankings of a few items: log-permanents, their marginals and i.i.d. draws.

A ranking of k items gives item i the position ``position[i]`` in 0..k−1. With scores θ[i, j] its weight is
exp Σ_i θ[i, position[i]], and the sum over all k! rankings is the permanent of exp θ. The dynamic programme over
subsets fills the positions one after the other:

    F_0(∅) = 1,        F_{s+1}(S) = Σ_{i ∈ S} F_s(S without i) · exp θ[i, s]        for every set S of s + 1 items,

so that F_k(all items) is the permanent: k·2^(k−1) multiplications in place of k·k!.

**Why linear space loses nothing.** Before exponentiating, the scores are shifted by the dual solution (u, v) of the
assignment problem: θ'[i, j] = θ[i, j] + u[i] + v[j] ≤ 0, with equality along one best ranking. Every weight is then at
most 1, every sum at most k!, and the permanent at least 1. A product that underflows double precision (10^-308) belongs
to rankings that weigh at most k!·10^-308 of the total, whatever the spread of the scores; everything else is a sum of
non-negative terms, whose relative rounding error is about 2k·10^-16. At the end the shift is undone:
log perm(exp θ) = log perm(exp θ') − Σ_i u[i] − Σ_j v[j].

Bellman 1962, Held and Karp 1962 (dynamic programming over subsets); Kuhn 1955, Jonker and Volgenant 1987 (shortest
augmenting paths).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from jebm_core.errors import SpecError

MAX_EXACT_ITEMS = 16
"""Largest number of items that is summed exactly: 2^16 subsets for every row of the batch."""

_BUFFER_BYTES = 128 * 2**20  # bound on each large buffer: the table of subset sums, the candidates of a draw
_CACHE_ELEMENTS = 2**17  # products formed at a time on a processor: what its second-level cache holds


def log_permanent(theta: Float[Tensor, "*batch item position"]) -> Float[Tensor, "*batch"]:
    """Log of the sum over all rankings of exp Σ_i theta[i, position[i]], in nats (counting measure: log k! at 0).

    Its gradient is :func:`position_marginals`, computed by the same recursion; a second derivative is refused. Sums are
    formed in double precision whatever the input, and only the result is rounded to the dtype of ``theta``. An entry of
    −inf forbids that position to that item. Where no ranking is left the value is −inf and the gradient NaN; NaN or
    +inf in a matrix gives NaN for that matrix alone.

    Args:
        theta: scores in nats, items in rows and positions in columns, at most ``MAX_EXACT_ITEMS`` of each.

    Raises:
        SpecError: the matrices aren't square, are empty or are too large.

    Cost: k·2^(k−1) multiplications a matrix, three times that with the gradient; about 0.5 GB at most for any batch.

    >>> bool(torch.allclose(log_permanent(torch.zeros(5, 4, 4)).exp(), torch.tensor(24.0)))
    True
    """
    _check_square(theta)
    if torch.is_grad_enabled() and theta.requires_grad:
        return _LogPermanent.apply(theta)  # type: ignore[no-any-return]
    return _log_permanents(theta)


def position_marginals(theta: Float[Tensor, "*batch item position"]) -> Float[Tensor, "*batch item position"]:
    """P(position[i] = j), item i in rows, position j in columns, for rankings of weight exp Σ_i theta[i, position[i]].

    Rows and columns sum to 1. No gradient flows through the result. NaN where no ranking is possible.

    Raises:
        SpecError: the matrices aren't square, are empty or are too large.

    Cost: 3·k·2^(k−1) multiplications a matrix.

    >>> bool(torch.allclose(position_marginals(torch.zeros(3, 3)), torch.tensor(1 / 3)))
    True
    """
    _check_square(theta)
    return _log_permanents_and_marginals(theta)[1]


@torch.no_grad()
def sample_permanent(
    theta: Float[Tensor, "*batch item position"], num_samples: int, *, generator: torch.Generator | None = None
) -> Int64[Tensor, "sample *batch item"]:
    """Exact independent draws of rankings, each with probability exp(Σ_i theta[i, position[i]] − log_permanent(theta)).

    The last position is drawn first, from its exact marginal; then the one before it given the items left, and so on.

    Args:
        theta: scores in nats; −inf forbids a position to an item.
        num_samples: draws for every matrix of the batch.
        generator: source of randomness, on the device of ``theta``.

    Returns:
        The position of every item; −1 throughout where the matrix leaves no ranking possible or holds NaN.

    Raises:
        SpecError: the matrices aren't square, are empty or are too large, or ``num_samples`` is negative.

    Cost: k·2^(k−1) multiplications a matrix, then k² random numbers a draw.

    >>> draws = sample_permanent(torch.zeros(2, 5, 5), 3)
    >>> draws.shape, bool((draws.sort(-1).values == torch.arange(5)).all())
    (torch.Size([3, 2, 5]), True)
    """
    _check_square(theta)
    if num_samples < 0:
        raise SpecError("Expected 0 samples or more, found {found}. Ask for a number from 0 up.", found=num_samples)
    k, batch = theta.shape[-1], theta.shape[:-2]
    blocks = []
    for chunk in _chunks(theta):
        weights, _ = _scaled_weights(chunk)
        sums = _subset_sums(weights)
        draws_at_a_time = max(1, _BUFFER_BYTES // (32 * k * max(1, len(chunk))))
        sizes = [min(draws_at_a_time, num_samples - start) for start in range(0, num_samples, draws_at_a_time)] or [0]
        blocks.append(torch.cat([_draw(weights, sums, size, generator) for size in sizes]))
    return torch.cat(blocks, dim=1).reshape(num_samples, *batch, k)


@final
class _LogPermanent(torch.autograd.Function):
    """The value with its gradient, both found in the forward pass: then no table of subset sums outlives it."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor) -> Tensor:
        value, marginals = _log_permanents_and_marginals(theta)
        ctx.save_for_backward(marginals)
        return value

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():  # only under create_graph=True; the marginals would pass for constants there
            raise NotImplementedError("log_permanent has a first derivative only: leave out create_graph=True.")
        (marginals,) = ctx.saved_tensors
        return grad_output[..., None, None] * marginals


def _log_permanents(theta: Tensor) -> Tensor:
    values = []
    for chunk in _chunks(theta):
        weights, shift = _scaled_weights(chunk)
        values.append(_subset_sums(weights)[-1].log() + shift)
    return torch.cat(values).to(theta.dtype).reshape(theta.shape[:-2])


def _log_permanents_and_marginals(theta: Tensor) -> tuple[Tensor, Tensor]:
    values, marginals = [], []
    for chunk in _chunks(theta):
        weights, shift = _scaled_weights(chunk)
        sums = _subset_sums(weights)
        values.append(sums[-1].log() + shift)
        marginals.append(_marginals(weights, sums))
    value, marginal = torch.cat(values).to(theta.dtype), torch.cat(marginals).to(theta.dtype)
    return value.reshape(theta.shape[:-2]), marginal.reshape(theta.shape)


def _check_square(theta: Tensor) -> None:
    if theta.shape[-1] != theta.shape[-2] or not 1 <= theta.shape[-1] <= MAX_EXACT_ITEMS:
        raise SpecError(
            "Expected a square matrix of 1 to {limit} items by as many positions, found {items} by {positions}. "
            "Rankings of more items can't be summed exactly: rank fewer items or use Plackett–Luce scores.",
            limit=MAX_EXACT_ITEMS,
            items=theta.shape[-2],
            positions=theta.shape[-1],
        )


def _chunks(theta: Tensor) -> tuple[Tensor, ...]:
    """The batch in pieces whose table of subset sums stays within the bound."""
    k = theta.shape[-1]
    return theta.detach().reshape(-1, k, k).split(max(1, _BUFFER_BYTES // (8 * 2**k)))


@final
@dataclass(frozen=True)
class _Layer:
    """From the sets of s items to those of s + 1; the sets of one size are numbered by increasing bit mask."""

    smaller: Int64[Tensor, "larger slot"]  # the set of s items left when one item is taken from a set of s + 1
    item: Int64[Tensor, "larger slot"]  # the item taken
    before: Int64[Tensor, "item pair"]  # for every item, the sets of s items without it …
    after: Int64[Tensor, "item pair"]  # … and the set of k − s − 1 items that then remains for the later positions


@final
@dataclass(frozen=True)
class _SubsetTables:
    layers: tuple[_Layer, ...]
    start: tuple[int, ...]  # row of the table of subset sums at which the sets of each size begin
    row_of_mask: Int64[Tensor, " mask"]
    bits: Int64[Tensor, " item"]


@lru_cache(maxsize=2 * MAX_EXACT_ITEMS)
def _subset_tables(k: int, device: torch.device) -> _SubsetTables:
    masks, items = np.arange(2**k), np.arange(k)
    member = (masks[:, None] >> items) & 1 == 1
    size = member.sum(axis=1)
    start = np.concatenate([[0], np.cumsum(np.bincount(size))])
    by_size = np.argsort(size, kind="stable")
    row_of_mask = np.empty_like(masks)
    row_of_mask[by_size] = masks

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)

    layers = []
    for s in range(k):
        small, large = by_size[start[s] : start[s + 1]], by_size[start[s + 1] : start[s + 2]]
        item = np.nonzero(member[large])[1].reshape(len(large), s + 1)
        outsider, before = (index.reshape(k, -1) for index in np.nonzero(~member[small].T))
        after = masks[-1] ^ (small[before] | 1 << outsider)
        layers.append(
            _Layer(
                smaller=on_device(row_of_mask[large[:, None] ^ (1 << item)] - start[s]),
                item=on_device(item),
                before=on_device(before),
                after=on_device(row_of_mask[after] - start[k - s - 1]),
            )
        )
    return _SubsetTables(tuple(layers), tuple(start.tolist()), on_device(row_of_mask), on_device(1 << items))


def _subset_sums(weights: Float[Tensor, "position item batch"]) -> Float[Tensor, "subset batch"]:
    """F_s(S) for every set S, small sets first: total weight of the ways in which S fills the positions 0..s−1."""
    k, _, batch = weights.shape
    tables = _subset_tables(k, weights.device)
    sums = weights.new_empty(2**k, batch)
    sums[0] = 1.0
    for s, layer in enumerate(tables.layers):
        smaller = sums[tables.start[s] : tables.start[s + 1]]
        larger = sums[tables.start[s + 1] : tables.start[s + 2]]
        _sum_products(smaller, layer.smaller, weights[s], layer.item, out=larger)
    return sums


def _marginals(
    weights: Float[Tensor, "position item batch"], sums: Float[Tensor, "subset batch"]
) -> Float[Tensor, "batch item position"]:
    """P(position[i] = j): weight of item i there, times the ways to fill the earlier and the later positions."""
    k = len(weights)
    tables = _subset_tables(k, weights.device)
    later_sums = _subset_sums(weights.flip(0))  # the same recursion from the last position down
    ways = torch.empty_like(weights)
    for s, layer in enumerate(tables.layers):
        earlier = sums[tables.start[s] : tables.start[s + 1]]
        later = later_sums[tables.start[k - s - 1] : tables.start[k - s]]
        _sum_products(earlier, layer.before, later, layer.after, out=ways[s])
    return (ways * weights / sums[-1]).permute(2, 1, 0)


def _sum_products(
    first: Float[Tensor, "first batch"],
    first_index: Int64[Tensor, "row term"],
    second: Float[Tensor, "second batch"],
    second_index: Int64[Tensor, "row term"],
    *,
    out: Float[Tensor, "row batch"],
) -> None:
    """out[row] = Σ_term first[first_index[row, term]] · second[second_index[row, term]], some rows at a time."""
    # A processor is fastest when the products stay in its cache; an accelerator when it has much to do at once.
    limit = _CACHE_ELEMENTS if out.device.type == "cpu" else _BUFFER_BYTES // 8
    rows = max(1, limit // max(1, first_index.shape[1] * out.shape[1]))
    for target, left, right in zip(out.split(rows), first_index.split(rows), second_index.split(rows), strict=True):
        products = first.index_select(0, left.reshape(-1))
        products *= second.index_select(0, right.reshape(-1))
        torch.sum(products.view(*left.shape, out.shape[1]), dim=1, out=target)


def _draw(
    weights: Float[Tensor, "position item batch"],
    sums: Float[Tensor, "subset batch"],
    num_samples: int,
    generator: torch.Generator | None,
) -> Int64[Tensor, "sample batch item"]:
    k, _, batch = weights.shape
    tables = _subset_tables(k, weights.device)
    left = tables.row_of_mask.new_full((num_samples, batch), 2**k - 1)
    positions = tables.row_of_mask.new_full((num_samples, batch, k), -1)
    column = torch.arange(batch, device=weights.device)[:, None]
    for s in reversed(range(k)):
        rest = left[..., None] & ~tables.bits
        ways = sums.view(-1)[tables.row_of_mask[rest] * batch + column] * weights[s].T
        # Of exponential clocks with rates ways_i, clock i rings first with probability proportional to ways_i.
        uniform = torch.rand(ways.shape, generator=generator, dtype=ways.dtype, device=ways.device)
        negative_time = uniform.neg_().log1p_() / ways
        possible = (ways > 0) & (rest != left[..., None])
        item = torch.where(possible, negative_time, -torch.inf).argmax(dim=-1, keepdim=True)
        positions.scatter_(-1, item, s)
        left = left & ~tables.bits[item.squeeze(-1)]
    return torch.where((sums[-1] > 0)[:, None], positions, -1)


def _scaled_weights(theta: Float[Tensor, "batch item position"]) -> tuple[Tensor, Float[Tensor, " batch"]]:
    """exp(theta + u + v) in double precision as [position, item, batch]; and −Σu − Σv, which undoes the shift."""
    theta = theta.to(torch.float64)
    items, positions = _assignment_duals(theta)
    weights = (theta + items[:, :, None] + positions[:, None, :]).exp()
    return weights.permute(2, 1, 0).contiguous(), -(items.sum(1) + positions.sum(1))


def _assignment_duals(
    theta: Float[Tensor, "batch item position"],
) -> tuple[Float[Tensor, "batch item"], Float[Tensor, "batch position"]]:
    """u, v with theta[i, j] + u[i] + v[j] ≤ 0 everywhere and = 0 along a ranking of largest total score.

    One item after the other is placed by a shortest augmenting path. The number of steps is fixed (the path that places
    item i, counted from 0, ends after at most i + 1 steps) and paths that end early stand still: no value is inspected.
    """
    batch, k, _ = theta.shape
    forbidden = theta == -torch.inf
    highest = theta.amax(dim=(1, 2), keepdim=True)
    lowest = torch.where(forbidden, highest, theta).amin(dim=(1, 2), keepdim=True)
    # So low that a ranking with one forbidden entry scores less than any ranking without.
    stand_in = torch.where(highest == -torch.inf, 0.0, lowest - k * (highest - lowest) - 1.0)
    # Item k is nobody: it holds the free positions. Position k is where the item to be placed waits.
    cost = theta.new_full((batch, k + 1, k), torch.inf)
    cost[:, :k] = -torch.where(forbidden, stand_in, theta)
    u, v = theta.new_zeros(batch, k + 1), theta.new_zeros(batch, k + 1)
    holder = torch.full((batch, k + 1), k, dtype=torch.int64, device=theta.device)
    for placed in range(k):
        holder[:, k] = placed
        reduced = cost - u[:, :, None] - v[:, None, :k]
        distance = torch.full_like(v, torch.inf)
        distance[:, k] = 0.0
        closed = torch.zeros_like(v)  # +inf once a position has been visited
        previous = torch.full_like(holder, k)
        here = torch.full_like(holder[:, :1], k)
        for _ in range(placed + 1):
            closed.scatter_(1, here, torch.inf)
            item = holder.gather(1, here)
            through = reduced.gather(1, item[:, :, None].expand(-1, 1, k)).squeeze(1) + distance.gather(1, here)
            shorter = through + closed[:, :k] < distance[:, :k]
            distance[:, :k] = torch.where(shorter, through, distance[:, :k])
            previous[:, :k] = torch.where(shorter, here, previous[:, :k])
            nearest = (distance + closed).argmin(dim=1, keepdim=True)
            here = torch.where(item == k, here, nearest)
        gain = torch.where(closed > 0, distance.gather(1, here) - distance, 0.0)
        u.scatter_add_(1, holder, gain)
        v -= gain
        for _ in range(placed + 1):
            origin = previous.gather(1, here)
            holder.scatter_(1, here, holder.gather(1, origin))
            here = origin
    return u[:, :k], v[:, :k]
