"""Every head of an affinity: one score however it is asked for, and expectations under independent items."""

import itertools

import pytest
import torch
from torch import Tensor

from jebm_core.interactions import (
    FullQuadratic,
    Interaction,
    LowRankQuadratic,
    PreferenceInteraction,
    QuadraticInteraction,
    Scores,
    SetInteraction,
    item_of_statistic,
)
from jebm_core.networks import Affinity, InteractionHead, PermutahedronHead, SetHead, Trunk, UnaryHead
from jebm_core.spaces import OutputSpace
from tests import oracle
from tests.contract.cases import (
    HIDDEN,
    INTERACTION_HEADS,
    LINEAR_HEADS,
    LINEAR_INTERFACES,
    final_classes,
    head_pairs,
    label,
    randomised,
    subsets,
)
from tests.oracle import everywhere, seeded, uniform

BATCH = 4
every_interaction = pytest.mark.parametrize(("name", "space"), head_pairs(INTERACTION_HEADS), ids=label)
every_quadratic = pytest.mark.parametrize(
    ("name", "space"), [c for c in head_pairs(INTERACTION_HEADS) if c[0] not in ("set", "preference")], ids=label
)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with oracle.double_precision():
        yield


def interaction(name: str, space: OutputSpace) -> Interaction:
    head = randomised(INTERACTION_HEADS[name].build(space), 1)
    return head(uniform(2, BATCH, HIDDEN))


def scores(name: str, space: OutputSpace) -> Scores:
    return Scores(space, uniform(3, BATCH, space.num_statistics), interaction(name, space))


def full_matrix(h: Interaction) -> Tensor:
    """U(x) of every context as a matrix: between items and, for shared factors, on the diagonal."""
    if isinstance(h, FullQuadratic):
        return h.matrix.expand(BATCH, -1, -1)
    assert isinstance(h, LowRankQuadratic)
    matrix = torch.einsum("br,rs,rt->bst", h.scale.expand(BATCH, -1), h.factors, h.factors)
    item = item_of_statistic(_space_of_factors(h))
    return matrix * ((item.unsqueeze(1) != item) | torch.eye(len(item), dtype=torch.bool))


def _space_of_factors(h: LowRankQuadratic) -> OutputSpace:
    return next(s for s in INTERACTION_HEADS["lowrank"].spaces if s.num_statistics == h.factors.shape[1])


def written_out(h: Interaction, space: OutputSpace, row: int, y: Tensor) -> Tensor:
    """h(x, y) of one context and one combination, term by term."""
    if isinstance(h, PreferenceInteraction):
        weights = h.weights.expand(BATCH, -1)[row]
        pairs = itertools.combinations(range(space.num_items), 2)
        return torch.stack([w if y[i] < y[j] else -w for w, (i, j) in zip(weights, pairs, strict=True)]).sum()
    phi = space.statistics(y)
    if isinstance(h, SetInteraction):
        pooled = sum(h.embedding[a] for a in range(len(phi)) if phi[a])
        return h.readout(torch.relu(pooled + h.context[row]))[0]
    matrix = full_matrix(h)[row]
    pairs = itertools.product(range(len(phi)), repeat=2)
    return torch.stack([matrix[a, b] * phi[a] * phi[b] for a, b in pairs]).sum() / 2


def test_every_head_and_interaction_has_a_case():
    for interface, heads in LINEAR_INTERFACES:
        assert final_classes(interface) == {type(c.build(c.spaces[0])).__name__ for c in heads.values()}
    found = {type(interaction(name, space)).__name__ for name, space in head_pairs(INTERACTION_HEADS)}
    assert final_classes(Interaction) == found


@every_interaction
def test_scores_are_the_terms_written_out(name: str, space: OutputSpace):
    p = scores(name, space)
    h = p.interaction
    assert h is not None
    points = space.listing()[:: max(1, space.cardinality() // 8)]
    found = p.value_of(points)
    for place, y in enumerate(points):
        for row in range(BATCH):
            expected = p.theta[row] @ space.statistics(y) + written_out(h, space, row, y)
            torch.testing.assert_close(found[place, row], expected)


@every_interaction
def test_own_draws_and_shared_points_score_alike(name: str, space: OutputSpace):
    p = scores(name, space)
    points = everywhere(space, BATCH)
    torch.testing.assert_close(p.value(points), p.value_of(space.listing()))
    order = torch.randperm(space.cardinality(), generator=seeded(4))
    mixed = torch.stack([space.listing(), space.listing()[order]] * (BATCH // 2), 1)
    index = torch.stack([torch.arange(len(order)), order] * (BATCH // 2), 1)
    torch.testing.assert_close(p.value(mixed), p.value_of(space.listing()).gather(0, index))


@every_interaction
def test_a_batch_is_its_rows(name: str, space: OutputSpace):
    head = randomised(INTERACTION_HEADS[name].build(space), 1)
    hidden = uniform(2, BATCH, HIDDEN)
    y = everywhere(space, BATCH)
    theta = uniform(3, BATCH, space.num_statistics)
    whole = Scores(space, theta, head(hidden)).value(y)
    rows = [Scores(space, theta[r : r + 1], head(hidden[r : r + 1])).value(y[:, r : r + 1]) for r in range(BATCH)]
    torch.testing.assert_close(whole, torch.cat(rows, 1))


@every_interaction
def test_only_constant_heads_ignore_x(name: str, space: OutputSpace):
    if space.cardinality() < 2 or space.num_items < 2:
        return
    h = interaction(name, space)
    value = h.value_of(space.listing(), space.statistics(space.listing())).expand(-1, BATCH)
    assert bool((value.std(1) < 1e-12).all()) == name.endswith("constant")


@every_quadratic
def test_mean_and_field_are_the_expectation_and_its_gradient(name: str, space: OutputSpace):
    h = interaction(name, space)
    assert isinstance(h, QuadraticInteraction)
    eta = uniform(5, BATCH, space.num_statistics, spread=2.0)
    m = space.linear_marginals(eta).requires_grad_()
    values = h.value(everywhere(space, BATCH), space.statistics(everywhere(space, BATCH)))
    expected = (oracle.linear_probabilities(space, eta).T * values).sum(0)
    torch.testing.assert_close(h.mean(m).expand(BATCH), expected)
    (gradient,) = torch.autograd.grad(h.mean(m).sum(), m)
    torch.testing.assert_close(h.field(m.detach()).expand(BATCH, -1), gradient)


@pytest.mark.parametrize("constant", ["", "-constant"])
@pytest.mark.parametrize("space", INTERACTION_HEADS["lowrank"].spaces, ids=label)
def test_low_rank_is_its_full_matrix(space: OutputSpace, constant: str):
    h = interaction(f"lowrank{constant}", space)
    full = FullQuadratic(full_matrix(h))
    y = everywhere(space, BATCH)
    torch.testing.assert_close(h.value(y, space.statistics(y)), full.value(y, space.statistics(y)))


def test_set_head_does_not_see_the_order_of_items():
    space, order = subsets(5), torch.tensor([3, 0, 4, 1, 2])
    head, permuted = (randomised(SetHead(space, HIDDEN, width=6), 1) for _ in range(2))
    with torch.no_grad():
        permuted.embedding.copy_(head.embedding[order])  # pyright: ignore
    hidden, y = uniform(2, BATCH, HIDDEN), space.listing()
    values = head(hidden).value_of(y, space.statistics(y))
    again = permuted(hidden).value_of(y[:, order], space.statistics(y[:, order]))
    torch.testing.assert_close(values, again)


@pytest.mark.parametrize(("name", "space"), head_pairs(LINEAR_HEADS), ids=label)
def test_linear_heads_give_one_number_a_statistic(name: str, space: OutputSpace):
    head = randomised(LINEAR_HEADS[name].build(space), 1)
    hidden = uniform(2, BATCH, HIDDEN)
    theta = head(hidden)
    assert theta.shape == (BATCH, space.num_statistics)
    torch.testing.assert_close(theta, torch.cat([head(row) for row in hidden.split(1)]))


def test_permutahedron_scores_fall_evenly_from_the_first_position_to_the_last():
    space = LINEAR_HEADS["permutahedron"].spaces[0]
    head = randomised(PermutahedronHead(space, HIDDEN), 1)
    hidden = uniform(2, BATCH, HIDDEN)
    weights = torch.tensor([1.0, 1 / 3, -1 / 3, -1.0])
    expected = head.scores(hidden).unsqueeze(-1) * weights  # pyright: ignore
    torch.testing.assert_close(head(hidden), expected.flatten(1))


@pytest.mark.parametrize("hidden", [(), (7,), (7, 5)])
def test_affinity_joins_trunk_and_heads(hidden: tuple[int, ...]):
    space = subsets(3)
    trunk = Trunk(2, hidden, dropout=0.0)
    head: InteractionHead = (
        INTERACTION_HEADS["set"].build(space) if trunk.width == HIDDEN else SetHead(space, trunk.width)
    )
    affinity = randomised(Affinity(space, trunk, UnaryHead(space, trunk.width), head), 1)
    x = uniform(2, BATCH, 2)
    features = trunk(x)
    assert features.shape == (BATCH, 2 + (hidden[-1] if hidden else 0))
    assert torch.equal(features[:, :2], x)
    expected = Scores(space, affinity.linear(features), head(features)).value_of(space.listing())  # pyright: ignore
    torch.testing.assert_close(affinity(x).value_of(space.listing()), expected)
    bare = Affinity(space, trunk, affinity.linear)(x)  # pyright: ignore
    assert bare.interaction is None
    torch.testing.assert_close(bare.value_of(space.listing()), space.statistics(space.listing()) @ bare.theta.T)
