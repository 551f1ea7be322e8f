"""The ranking that agrees with the most pairwise preferences (Kemeny's rule)."""

import math

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from jebm_core.decoding.draws import Decoded, batch_slices, normalised_weights

LARGEST_EXACT = 12


def decode_kendall(
    positions: Int[Tensor, "draw batch item"], log_weight: Float[Tensor, "draw batch"], *, num_sweeps: int = 10
) -> Decoded:
    """The ranking h that maximises Kendall's τ in expectation,

        E[τ(y, h)] = Σ_{i before j in h} M_ij / (item·(item − 1)/2),   M_ij = P(i before j) − P(j before i).

    Up to ``LARGEST_EXACT`` items: the exact dynamic programme over sets of leading items. Above: Borda's order
    (by Σ_j M_ij), then sweeps in which each item in turn moves to its best place among the others, so the value never
    falls below Borda's. Rules are not looked at. With one item there is one ranking, and its τ counts as 1.

    Args:
        positions: draws; ``positions[d, b, i]`` is the place of item i, 0 = most preferred.
        log_weight: unnormalised log-weights, nats.
        num_sweeps: sweeps of the local search; their number is fixed, so that nothing waits for the device.

    Returns:
        Positions and expected τ between −1 and 1; ``exact`` tells which method ran.

    Raises:
        SpecError: the shapes disagree, or there is no draw or no item.

    Cost for each row: O(draws·item²) for M, then O(2^item · item²) exactly or O(num_sweeps·item²) by search; about
    100 MB of working memory.

    >>> draws = torch.tensor([[[0, 1, 2]], [[0, 2, 1]], [[1, 0, 2]]])
    >>> decoded = decode_kendall(draws, torch.zeros(3, 1))
    >>> decoded.y.tolist(), decoded.exact
    ([[0, 1, 2]], True)
    """
    weight = normalised_weights(positions, log_weight)
    draws, batch, items = positions.shape
    exact = items <= LARGEST_EXACT
    table_size = items * 2**items if exact else items * items
    bytes_per_row = weight.element_size() * (3 * draws * items + 2 * table_size)
    rankings: list[Int64[Tensor, "batch item"]] = []
    utilities: list[Float[Tensor, " batch"]] = []
    for rows in batch_slices(batch, bytes_per_row):
        margin = preference_margins(positions[:, rows], weight[:, rows])
        ranking = kemeny_exact(margin) if exact else kemeny_search(margin, num_sweeps=num_sweeps)
        rankings.append(ranking)
        utilities.append(expected_tau(margin, ranking))
    return Decoded(y=torch.cat(rankings), expected_utility=torch.cat(utilities), exact=exact)


def preference_margins(
    positions: Int[Tensor, "draw batch item"], weight: Float[Tensor, "draw batch"]
) -> Float[Tensor, "batch item item"]:
    """M_ij = P(i before j) − P(j before i) under normalised weights: antisymmetric, between −1 and 1.

    Args:
        positions: draws, 0 = most preferred.
        weight: weights that sum to 1 over the draws.

    Cost: O(draws·batch·item²) time, O(draws·batch·item) memory.

    >>> margin = preference_margins(torch.tensor([[[0, 1]], [[1, 0]]]), torch.tensor([[0.75], [0.25]]))
    >>> margin.tolist()
    [[[0.0, 0.5], [-0.5, 0.0]]]
    """
    place = positions.permute(1, 2, 0).to(weight.dtype).contiguous()
    weight_column = weight.T[:, :, None]
    # One item at a time: all pairs of all draws at once would need item times the memory.
    before = [(place > place[:, i : i + 1]).to(weight.dtype) @ weight_column for i in range(place.shape[1])]
    preference = torch.cat(before, dim=2).mT
    return preference - preference.mT


def expected_tau(
    margin: Float[Tensor, "batch item item"], positions: Int64[Tensor, "batch item"]
) -> Float[Tensor, " batch"]:
    """Expected Kendall τ of a ranking, given the preference margins.

    Args:
        margin: M of ``preference_margins``.
        positions: the ranking to be judged, 0 = most preferred.

    Returns:
        E[τ], between −1 and 1; 1 where there is one item.

    >>> expected_tau(torch.tensor([[[0.0, 0.5], [-0.5, 0.0]]]), torch.tensor([[1, 0]])).tolist()
    [-0.5]
    """
    items = positions.shape[1]
    if items == 1:
        return 1 + margin[:, 0, 0]  # margin is 0, or NaN for a row without a distribution
    before = positions[:, :, None] < positions[:, None, :]
    return (margin * before).sum((1, 2)) / math.comb(items, 2)


def kemeny_exact(margin: Float[Tensor, "batch item item"]) -> Int64[Tensor, "batch item"]:
    """The ranking with the largest Σ_{i before j} M_ij, by dynamic programming over sets of leading items.

        best(S) = max_{j ∈ S} best(S − j) + Σ_{i ∈ S} M_ij,   j the last of the items in S.

    Args:
        margin: M of ``preference_margins``.

    Returns:
        Positions, 0 = most preferred.

    Cost: O(2^item · item²) time and O(2^item · item) memory for each row.

    >>> kemeny_exact(torch.tensor([[[0.0, -0.2], [0.2, 0.0]]])).tolist()
    [[1, 0]]
    """
    batch, items, _ = margin.shape
    device = margin.device
    item = torch.arange(items, device=device)
    subset = torch.arange(2**items, device=device)
    contains = (subset[:, None] >> item) & 1
    joining = (contains.to(margin.dtype) @ margin).flatten(1)  # [S·item + j] = Σ_{i ∈ S} M_ij
    # The members of every set first, the later items before the earlier: a tie is won by the later item for the last
    # place, which leaves the earlier item in front.
    members = items - 1 - contains.flip(1).argsort(dim=1, descending=True, stable=True)
    layers = contains.sum(1).argsort(stable=True).split([math.comb(items, size) for size in range(items + 1)])

    best = torch.zeros(batch, 2**items, device=device, dtype=margin.dtype)
    last = torch.zeros(batch, 2**items, device=device, dtype=torch.int64)
    for size in range(1, items + 1):
        sets = layers[size]
        final = members[sets, :size]
        value = best[:, sets[:, None] - (1 << final)] + joining[:, sets[:, None] * items + final]
        best[:, sets], choice = value.max(2)
        last[:, sets] = final.expand(batch, -1, -1).gather(2, choice[:, :, None]).squeeze(2)

    positions = torch.zeros(batch, items, device=device, dtype=torch.int64)
    remaining = torch.full((batch, 1), 2**items - 1, device=device, dtype=torch.int64)
    for place in range(items - 1, -1, -1):
        taken = last.gather(1, remaining)
        positions = positions.scatter(1, taken, place)
        remaining = remaining - (1 << taken)
    return positions


def kemeny_search(margin: Float[Tensor, "batch item item"], *, num_sweeps: int = 10) -> Int64[Tensor, "batch item"]:
    """A ranking with a large Σ_{i before j} M_ij: Borda's order, improved by moving one item at a time.

    An item moves only where that strictly improves the sum. After a sweep without a move no single insertion, and so
    no swap of neighbours, improves it; that is a local optimum and carries no certificate.

    Args:
        margin: M of ``preference_margins``.
        num_sweeps: passes over all items.

    Returns:
        Positions, 0 = most preferred.

    Cost: O(num_sweeps·item²) for each row.

    >>> kemeny_search(torch.tensor([[[0.0, -0.2], [0.2, 0.0]]])).tolist()
    [[1, 0]]
    """
    items = margin.shape[1]
    borda = margin.sum(2).argsort(dim=1, descending=True, stable=True)
    positions = borda.argsort(dim=1)
    for _ in range(num_sweeps):
        for i in range(items):
            positions = _insert_best(margin, positions, i)
    return positions


def _insert_best(
    margin: Float[Tensor, "batch item item"], positions: Int64[Tensor, "batch item"], i: int
) -> Int64[Tensor, "batch item"]:
    place = positions[:, i : i + 1]
    others = positions - (positions > place).to(torch.int64)  # places of the others once i has been taken out
    by_place = torch.zeros_like(margin[:, i]).scatter_add(1, others, margin[:, i])  # adds M_ii = 0 for i itself
    # Putting i at place c loses twice the margins over the items in front of c, whatever the rest.
    loss = by_place.cumsum(1) - by_place
    least, target = loss.min(1, keepdim=True)
    target = torch.where(least < loss.gather(1, place), target, place)
    moved = others + (others >= target).to(torch.int64)
    return moved.scatter(1, torch.full_like(target, i), target)
