"""Stacked references: what the table of observed combinations is fitted to, and models on top of it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jebm_core import FitSettings, evaluate, fit, load
from jebm_core.classifiers import folds_of
from jebm_core.distributions import LinearDistribution
from jebm_core.losses import estimated_log_partition, score_draws
from jebm_core.model import AnchoredBase, ConditionalModel, MeanFieldBase
from jebm_core.proposals import AnchoredProposal, MeanFieldProposal, Proposal
from jebm_core.reference_recipes import anchors_of
from jebm_core.references import MarginalReference, StackedReference
from jebm_core.spaces import OutputSpace
from jebm_core.splits import held_out_rows
from jebm_core.stacking import BIAS_VARIANCE, fit_stacked
from jebm_core.tree_learning import fit_trees
from jebm_core.tree_references import TiltedTreeReference, TreeReference
from jebm_core.tree_tilting import TiltedTrees, fit_tilted_trees
from tests import oracle
from tests.contract.cases import (
    conditional_model,
    configurations,
    rankings,
    some_trees,
    stacked_reference,
    subsets,
)
from tests.oracle import seeded, uniform, z_limit, z_scores
from tests.test_baselines import examples

SPACES = {"subsets": subsets(4), "configurations": configurations(3, 2, 2), "rankings": rankings(3)}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
PAIRED = {name: space for name, space in SPACES.items() if name != "rankings"}
every_paired = pytest.mark.parametrize("space", PAIRED.values(), ids=PAIRED)


def data(space: OutputSpace, rows: int = 80) -> tuple[Tensor, Tensor]:
    """η, and outputs that follow them but for one combination that is far more frequent."""
    eta = uniform(1, rows, space.num_statistics)
    y = space.linear_sample(eta, 1, generator=seeded(2))[0].long()
    y[: rows // 3] = y[0].clone()
    return eta, y


def objective(space: OutputSpace, eta: Tensor, y: Tensor, fold: np.ndarray, q: StackedReference) -> float:
    """What `fit_stacked` maximises, one row and one fold at a time."""
    eta, total = eta.double(), 0.0
    index = {tuple(point): number for number, point in enumerate(q.points.tolist())}
    alpha, epsilon = q.share.item(), q.surprise.item()
    counts = torch.tensor([sum(tuple(row) == point for row in y.tolist()) for point in index]).double()
    for n, row in enumerate(map(tuple, y.tolist())):
        others = {tuple(other) for m, other in enumerate(y.tolist()) if fold[m] != fold[n]}
        known = torch.tensor([point in others for point in index])
        table = 0.0
        if row in others:
            expected = torch.where(known, q.scale * (space.statistics(q.points).double() @ eta[n]) + q.bias, -math.inf)
            frequency = torch.where(known, counts, 0.0)
            place = index[row]
            table = (1 - epsilon) * expected.softmax(0)[place] + epsilon * frequency[place] / frequency.sum()
        phi = space.statistics(torch.tensor(row))
        product = (eta[n] @ phi.double() - space.linear_log_partition(eta[n])).exp()
        total += math.log(alpha * table + (1 - alpha) * product)
    prior = -q.bias.square().sum().item() / (2 * BIAS_VARIANCE) + math.log(alpha * epsilon * (1 - alpha))
    return total + prior


@every_space
def test_the_table_has_the_largest_penalised_likelihood(space: OutputSpace):
    eta, y = data(space)
    fold = folds_of(len(y))
    with oracle.double_precision():
        q = fit_stacked(space, eta.double(), y, fold, anchors_of(y))
        assert q is not None
        best = objective(space, eta, y, fold, q)
        for name, buffer in q.named_buffers():
            if name in ("points", "frequency"):
                continue
            for place in range(min(3, buffer.numel())):
                for step in (-0.02, 0.02):
                    moved = buffer.clone()
                    moved.view(-1)[place] += step
                    before = buffer.clone()
                    buffer.copy_(moved)
                    if 0 < q.surprise < 1 and 0 < q.share < 1:
                        assert objective(space, eta, y, fold, q) < best + 1e-6, name
                    buffer.copy_(before)


def test_what_never_comes_back_gets_no_table():
    space = subsets(6)
    y = space.listing()[:40]
    assert fit_stacked(space, uniform(1, 40, 6), y, folds_of(40), y) is None


def test_classifiers_that_are_never_wrong_are_not_believed_without_end():
    """200 rows whose combination η gives away: a row that contradicts it costs about what 200 rows can say."""
    space = subsets(3)
    y = torch.tensor([[1, 0, 0], [0, 1, 1]]).repeat(100, 1)
    q = fit_stacked(space, 40.0 * (y - 0.5), y, folds_of(200), anchors_of(y))
    assert q is not None
    wrong = q(torch.tensor([[20.0, -20.0, -20.0]])).log_prob(torch.tensor([[[0, 1, 1]]])).item()
    assert -math.log(200) - 3 < wrong < -math.log(200) + 1


def stacked_model(space: OutputSpace) -> ConditionalModel:
    return conditional_model(space, "pairwise", reference=stacked_reference(space))


@every_paired
def test_bounds_are_bounds_and_exact_where_everything_is_listed(space: OutputSpace):
    with oracle.double_precision():
        p = stacked_model(space)
        truth = oracle.listed(p).log_partition
        assert p.is_certified
        table = stacked_reference(space).points
        mean_field, _ = MeanFieldBase()(p)
        anchored, _ = AnchoredBase(table)(p)
        everything, _ = AnchoredBase(space.listing())(p)
        assert (mean_field <= truth).all()
        assert (mean_field <= anchored + 1e-9).all()
        assert (anchored <= truth + 1e-9).all()
        assert (anchored > mean_field + 0.01).any()
        torch.testing.assert_close(everything, truth)


@every_paired
@pytest.mark.parametrize("name", ["meanfield", "anchored"])
def test_draws_beside_a_table_estimate_without_bias(space: OutputSpace, name: str):
    """20,000 estimates of Z from 8 draws each; seed 5, false-alarm rate 1e-4."""
    with oracle.double_precision():
        p = stacked_model(space)
        table = stacked_reference(space).points
        proposal: Proposal = MeanFieldProposal() if name == "meanfield" else AnchoredProposal(space, table)
        draws = proposal.draw(p, 8 * 20_000, generator=seeded(5))
        scored = score_draws(p, draws)
        shared = (draws.points_log_weight + scored.points_affinity).exp().sum(0)
        own = (draws.log_weight + scored.affinity).exp() * len(draws.y)
        truth = oracle.listed(p).log_partition.exp()
        assert len(draws.points) == len(table)
        assert (z_scores(own, truth - shared).abs() < z_limit(len(truth))).all()
        torch.testing.assert_close(estimated_log_partition(scored).exp(), truth, rtol=0.05, atol=0)


@pytest.mark.parametrize("kind", ["subsets", "configurations", "rankings"])
def test_a_fit_stacks_by_default_and_comes_back_from_its_folder(kind: str, tmp_path):
    given = examples(kind)
    model = fit(given, FitSettings(epochs=3)).model
    assert model.record.architecture.reference in ("stacked", "predicted")
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    context = again.context(given.table)
    y = torch.from_numpy(given.outputs.values)
    torch.testing.assert_close(again.log_prob(context, y).value, model.log_prob(model.context(given.table), y).value)
    found = evaluate(again, given, bootstrap=5)
    assert math.isfinite(found.nll)


@every_paired
def test_beside_a_table_the_base_is_the_bound_of_what_is_not_listed(space: OutputSpace):
    """log(Z_A + exp of the evidence bound of m, restricted to all that is not in A), by listing."""
    with oracle.double_precision():
        p = stacked_model(space)
        table = stacked_reference(space).points
        listed = oracle.listed(p)
        log_w = listed.log_q + listed.g
        inside = torch.zeros(space.cardinality(), dtype=torch.bool)
        inside[oracle.index_of(space, table)] = True
        log_m = p.mean_field.tilted.log_prob_of(space.listing())[~inside].log_softmax(0)
        rest = (log_m.exp() * (log_w[~inside] - log_m)).sum(0)
        expected = torch.logaddexp(log_w[inside].logsumexp(0), rest)
        torch.testing.assert_close(AnchoredBase(table)(p)[0], expected)


# ---- trees that x tilts ----------------------------------------------------------------------------------------------


def entangled(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """η of a feature, and outputs of a chain that it tilts: neighbours agree."""
    space = subsets(5)
    eta = uniform(seed, rows, 5, spread=1.0)
    listing = space.listing()
    agree = (listing[:, 1:] == listing[:, :-1]).double().sum(1)
    log_p = 1.5 * agree + eta.double() @ listing.double().T
    return eta, listing[torch.multinomial(log_p.softmax(1), 1, generator=seeded(seed)).squeeze(1)]


def test_tilted_trees_have_the_largest_likelihood_out_of_fold():
    """Trees learned without a fold, row by row in the longhand; a and b are at the top of it."""
    space = subsets(5)
    eta, y = entangled(200, 1)
    fold = folds_of(200)
    found = fit_tilted_trees(space, eta, y, fold)
    shares = MarginalReference.fit(space, y).eta

    def likelihood(slope: float, shift: float) -> float:
        total = 0.0
        for number in range(5):
            aside = torch.from_numpy(held_out_rows(y[fold != number].numpy(), 0.15, "rows", 0))
            seen = y[torch.from_numpy(fold != number)]
            q = TreeReference(space, fit_trees(space, seen[~aside], seen[aside]))(torch.zeros(1, 0))
            log_q = q.log_prob_of(space.listing()).squeeze(1)
            for n in np.flatnonzero(fold == number):
                weight = log_q + space.listing().float() @ (slope * eta[n] + shift * shares)
                place = int((space.listing() == y[n]).all(1).nonzero())
                value = (weight - weight.logsumexp(0))[place].item()
                total += value
                if (slope, shift) == at:
                    assert found.out_of_fold[n].item() == pytest.approx(value, abs=1e-4)
        return total - ((slope - 0.6) ** 2 + (shift + 0.6) ** 2) / 2

    slope = found.reference.slope.item()
    varied = shares.abs().argmax()
    at = (slope, (found.reference.shift[varied] / shares[varied]).item())
    best = likelihood(*at)
    for step in (-0.1, 0.1):
        assert likelihood(at[0] + step, at[1]) < best
        assert likelihood(at[0], at[1] + step) < best


def test_trees_are_believed_where_items_hang_together():
    """600 rows of a chain: nearer to the truth on new rows than items alone, in the table of a stack and without one.
    Seeds 1 and 2."""
    space = subsets(5)
    eta, y = entangled(600, 1)
    trees = fit_tilted_trees(space, eta, y, folds_of(600))
    stacked = fit_stacked(space, eta, y, folds_of(600), anchors_of(y), trees)
    assert stacked is not None
    assert stacked.tree_share > 0.8
    new_eta, new = entangled(2000, 2)
    product = (new_eta * new).sum(1) - torch.nn.functional.softplus(new_eta).sum(1)
    gain = stacked(new_eta).log_prob(new.unsqueeze(0)).squeeze(0) - product
    assert gain.mean() > 0.3
    torch.testing.assert_close(stacked(eta[:3]).log_prob_of(space.listing()).exp().sum(0), torch.ones(3))


def of_trees(space: OutputSpace, rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """η, and outputs of trees that η tilts."""
    eta = uniform(seed, rows, space.num_statistics, spread=0.5)
    truth = TiltedTreeReference(space, some_trees(space))
    return eta, truth(eta).sample(1, generator=seeded(seed))[0]


def likelihood_of_discount(
    q: StackedReference, eta: Tensor, y: Tensor, fold: np.ndarray, trees: TiltedTrees | None, gamma: float
) -> float:
    """Of γ, out of fold: q anew for every fold, from a table without its rows."""
    total = -(gamma**2) / 2
    for number in range(5):
        own, others = (torch.from_numpy(part) for part in (fold == number, fold != number))
        known = torch.tensor([bool((y[others] == point).all(1).any()) for point in q.points])
        frequency = q.frequency[known] / q.frequency[known].sum()
        how = {name: getattr(q, name).item() for name in ("scale", "share", "surprise", "tree_share")}
        of_fold = None if trees is None else trees.apart[number]
        apart = StackedReference(
            q.space, q.points[known], q.bias[known], frequency, trees=of_fold, log_discount=gamma, **how
        )
        total += apart(eta[own]).log_prob(y[own].unsqueeze(0)).sum().item()
    return total


def check_discount(q: StackedReference, *given: Any, new: tuple[Tensor, Tensor], left: float = 0.5) -> None:
    """γ has the largest likelihood, and on new rows at most this share of the error in how often what was seen comes
    back is left."""
    gamma = q.log_discount.item()
    assert gamma < -0.1
    best = likelihood_of_discount(q, *given, gamma)
    assert likelihood_of_discount(q, *given, gamma + 0.1) < best
    assert likelihood_of_discount(q, *given, gamma - 0.1) < best
    back = (new[1].unsqueeze(1) == q.points).all(-1).any(1).double().mean()
    expected = q(new[0]).log_prob_of(q.points).exp().sum(0).mean()
    q.log_discount.zero_()
    without = q(new[0]).log_prob_of(q.points).exp().sum(0).mean()
    assert (expected - back).abs() < left * (without - back).abs()


def test_what_was_seen_comes_back_as_often_as_expected():
    """250 rows, and 4,000 new ones of the same kind: seeds 1 and 2."""
    space = subsets(8)
    eta, y = of_trees(space, 250, 1)
    fold = folds_of(250)
    trees = fit_tilted_trees(space, eta, y, fold)
    q = fit_stacked(space, eta, y, fold, anchors_of(y), trees)
    assert q is not None
    check_discount(q, eta, y, fold, trees, new=of_trees(space, 4000, 2))


def test_rankings_come_back_as_often_as_expected():
    """300 rankings of six, of which every second follows one of a hundred habits and not x: seeds 1 and 2."""
    space = rankings(6)
    every = space.listing()
    habits = every[torch.randperm(len(every), generator=seeded(0))[:100]]

    def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
        eta = uniform(seed, count, space.num_statistics, spread=1.0)
        y = LinearDistribution(space, eta).sample(1, generator=seeded(seed))[0]
        which = torch.randint(len(habits), (count,), generator=seeded(seed + 10))
        return eta, torch.where((torch.arange(count) % 2 == 0).unsqueeze(1), habits[which], y)

    eta, y = rows(300, 1)
    q = fit_stacked(space, eta, y, folds_of(300), anchors_of(y))
    assert q is not None
    check_discount(q, eta, y, folds_of(300), None, new=rows(4000, 2), left=0.7)


def test_without_a_table_the_share_of_trees_has_the_largest_likelihood():
    space = subsets(6)
    y = space.listing()[:40]
    eta = uniform(1, 40, 6)
    trees = fit_tilted_trees(space, eta, y, folds_of(40))
    q = fit_stacked(space, eta, y, folds_of(40), y, trees)
    assert q is not None
    assert len(q.points) == 0
    by_items = (eta * y).sum(1) - torch.nn.functional.softplus(eta).sum(1)

    def likelihood(share: float) -> float:
        mixed = torch.logaddexp(math.log(share) + trees.out_of_fold, math.log(1 - share) + by_items).sum().item()
        return mixed + math.log(share * (1 - share))

    best = likelihood(q.tree_share.item())
    assert likelihood(q.tree_share.item() + 0.02) < best + 1e-4
    assert likelihood(q.tree_share.item() - 0.02) < best + 1e-4
    torch.testing.assert_close(q(eta[:3]).log_prob_of(space.listing()).exp().sum(0), torch.ones(3))


@pytest.mark.parametrize("returns", [True, False])
def test_trees_that_say_nothing_are_left_out(returns: bool):
    space = subsets(6)
    y = torch.cat([space.listing()[:60], space.listing()[: 10 * returns]])
    eta, fold = uniform(1, len(y), 6), folds_of(len(y))
    trees = fit_tilted_trees(space, eta, y, fold)
    wrong = trees._replace(out_of_fold=trees.out_of_fold - 50.0)
    q, alone = (fit_stacked(space, eta, y, fold, anchors_of(y), given) for given in (wrong, None))
    assert (q is not None) == (alone is not None) == returns
    if q is not None and alone is not None:
        assert q.trees is None
        assert all(torch.equal(a, b) for a, b in zip(q.buffers(), alone.buffers(), strict=True))
