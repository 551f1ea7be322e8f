"""The methods of the field: decision rules against brute force, distributions that add up, and what they learn."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from jebm_core import decoding, metrics, plackett_luce
from tests.benchmarks.field import (
    bayesian_networks,
    chains,
    circuits,
    hidden_trees,
    independent,
    mallows,
    pairwise,
    powerset,
)
from tests.benchmarks.field import plackett_luce as peer_plackett_luce
from tests.benchmarks.field import pseudo_likelihood as energies
from tests.benchmarks.field.data import Rows
from tests.benchmarks.field.decisions import example_f1, maximise_f1, score_subsets, sizes_without_each
from tests.benchmarks.field.distributions import Drawn, Listing, Product, all_subsets, clipped

ITEMS = 4


def rankings(items: int) -> np.ndarray:
    return np.array(list(itertools.permutations(range(items))))


@pytest.fixture
def some() -> Rows:
    """Sixty rows with two features; the last item never varies."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 2)).astype(np.float32)
    y = (x @ random.normal(size=(2, ITEMS)) + 0.5 * random.normal(size=(60, ITEMS)) > 0).astype(np.int64)
    y[:, -1] = 0
    return Rows(x, y, tuple(f"train:{i}" for i in range(60)))


@pytest.fixture
def ranked() -> Rows:
    random = np.random.default_rng(1)
    x = random.normal(size=(60, 2)).astype(np.float32)
    scores = x @ random.normal(size=(2, 3)) + 0.2 * random.normal(size=(60, 3))
    return Rows(x, mallows.positions_of(scores), tuple(f"train:{i}" for i in range(60)))


def expected_f1(weight: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """[row, answer] under weights [row, subset] of all subsets, by brute force."""
    subsets = all_subsets(answers.shape[1])
    table = np.stack([example_f1(subsets, np.broadcast_to(answer, subsets.shape)) for answer in answers], 1)
    return weight @ table


@pytest.mark.parametrize("items", [1, 2, 3, 5])
def test_the_answer_of_independent_items_has_the_largest_expected_f1_of_all_subsets(items: int) -> None:
    said = Product(np.random.default_rng(items).random((40, items)) ** 2)
    subsets = all_subsets(items)
    weight = np.exp(np.stack([said.log_prob(np.broadcast_to(s, (40, items))) for s in subsets], 1))
    answer, value = maximise_f1(said.with_size())
    worth = expected_f1(weight, subsets)
    np.testing.assert_allclose(value, worth.max(1), atol=1e-12)
    chosen = (subsets == answer[:, None]).all(2).argmax(1)
    np.testing.assert_allclose(worth[np.arange(40), chosen], worth.max(1), atol=1e-12)


def test_the_answer_of_a_list_is_the_one_that_this_project_decodes() -> None:
    subsets, log_p = all_subsets(ITEMS), np.random.default_rng(0).normal(size=(30, 16)) * 2
    log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
    answer, value = maximise_f1(Listing(subsets, log_p).with_size())
    draws = torch.from_numpy(subsets)[:, None].expand(-1, 30, -1)
    ours = decoding.decode_f1(draws, torch.from_numpy(log_p.T.copy()))
    assert ours.y.tolist() == answer.tolist()
    np.testing.assert_allclose(value, ours.expected_utility.numpy(), atol=1e-12)
    np.testing.assert_allclose(value, expected_f1(np.exp(log_p), subsets).max(1), atol=1e-12)


def test_nobody_answers_with_the_empty_set_where_anything_is_possible() -> None:
    answer, value = maximise_f1(Product(np.zeros((1, 3))).with_size())
    assert answer.sum() > 0
    assert value > 0
    assert maximise_f1(np.zeros((1, 3, 3)))[0].sum() == 0


def test_sizes_of_all_other_items() -> None:
    p = np.random.default_rng(0).random((3, 5))
    found = sizes_without_each(p)
    subsets = all_subsets(5)
    for row, item in itertools.product(range(3), range(5)):
        chance = np.where(subsets == 1, p[row], 1 - p[row])
        chance[:, item] = subsets[:, item] == 0
        want = np.bincount(subsets.sum(1), chance.prod(1), minlength=6)[:5]
        np.testing.assert_allclose(found[row, item], want, atol=1e-14)
    many = clipped(np.random.default_rng(1).random((2, 174)) ** 20)
    np.testing.assert_allclose(sizes_without_each(many).sum(2), 1, atol=1e-12)


def test_f1_of_an_example_is_that_of_this_project() -> None:
    truth, answer = np.random.default_rng(0).integers(0, 2, (2, 50, 3))
    want = metrics.example_f1(torch.from_numpy(truth), torch.from_numpy(answer))
    np.testing.assert_allclose(example_f1(truth, answer), want.numpy(), atol=1e-6)


def test_a_list_with_an_even_share_adds_up() -> None:
    said = Listing(np.array([[1, 0, 0], [1, 1, 0]]), np.log([[0.25, 0.75]]), 0.1)
    p = np.exp([said.log_prob(subset[None])[0] for subset in all_subsets(3)])
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(said.marginals()[0], p @ all_subsets(3), atol=1e-12)
    np.testing.assert_allclose(said.with_size().sum(2), said.marginals(), atol=1e-12)
    assert said.mode().tolist() == [[1, 1, 0]]


def test_a_chain_adds_up_and_its_draws_follow_it(some: Rows) -> None:
    order = np.array([2, 0, 3, 1])
    chain = chains.Chain.fit(some, order, 0.1)
    x, subsets = some.x[:5], all_subsets(ITEMS)
    listed = chain.listed(x)
    np.testing.assert_allclose(np.exp(listed).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(listed, chain.log_prob(x, subsets), atol=1e-12)
    drawn = chain.draw(x, 4000, np.random.default_rng(0))
    number = drawn @ (1 << np.arange(ITEMS))
    share = np.stack([np.bincount(row, minlength=16) / 4000 for row in number])
    assert np.abs(share - np.exp(listed)).max() < 0.04


def test_a_mixture_of_chains_says_the_same_listed_and_drawn(some: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [chains.Chain.fit(some, np.random.default_rng(i).permutation(ITEMS), 0.1) for i in range(2)]
    listed = chains.mixture(both, some.x[:5])
    monkeypatch.setattr(chains, "MOST_LISTED", 0)
    monkeypatch.setattr(chains, "DRAWS", 2000)
    drawn = chains.mixture(both, some.x[:5])
    assert isinstance(listed, Listing)
    assert isinstance(drawn, Drawn)
    np.testing.assert_allclose(listed.log_prob(some.y[:5]), drawn.log_prob(some.y[:5]), atol=1e-10)
    np.testing.assert_allclose(listed.with_size(), drawn.with_size(), atol=0.05)
    np.testing.assert_allclose(listed.marginals(), drawn.marginals(), atol=0.05)
    assert listed.mode().tolist() == drawn.mode().tolist()


@pytest.mark.parametrize("theta", [0.01, 0.7, 3.0])
def test_mallows_adds_up(theta: float) -> None:
    every = rankings(4)
    said = mallows.Mallows(np.broadcast_to(every[5], every.shape), theta)
    assert np.exp(said.log_prob(every)).sum() == pytest.approx(1)
    weight = np.exp(-theta * mallows.kendall_distance(every, said.centre))
    assert mallows.log_normaliser(theta, 4) == pytest.approx(np.log(weight.sum()))


def test_the_dispersion_makes_the_mean_distance_what_it_was() -> None:
    distance = np.random.default_rng(0).binomial(6, 0.2, size=5000)
    theta = mallows.fit_dispersion(distance, 4)
    every = rankings(4)
    d = mallows.kendall_distance(every, np.broadcast_to(np.arange(4), every.shape))
    weight = np.exp(-theta * d)
    assert (weight @ d) / weight.sum() == pytest.approx(distance.mean(), rel=1e-2)


def test_kendalls_tau_is_that_of_this_project() -> None:
    a, b = (np.random.default_rng(i).permuted(np.tile(np.arange(5), (30, 1)), axis=1) for i in (0, 1))
    want = metrics.kendall_tau(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(mallows.kendall_tau(a, b), want.numpy(), atol=1e-6)


def test_borda_finds_a_ranking_in_its_embedding() -> None:
    every = rankings(4)
    assert mallows.borda(mallows.kemeny_embedding(every), 4).tolist() == every.tolist()
    assert mallows.positions_of(np.array([[0.1, 5.0, 2.0]])).tolist() == [[2, 0, 1]]


def test_plackett_luce_adds_up() -> None:
    every = torch.from_numpy(rankings(4))
    scores = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    said = peer_plackett_luce.log_prob(scores.expand(24, -1), every)
    assert float(said.exp().sum()) == pytest.approx(1)
    assert torch.allclose(said, plackett_luce.log_prob(scores, every[:, None])[:, 0])


@pytest.mark.parametrize(
    "fit", [independent.fit_logistic, independent.fit_forest, powerset.fit_powerset, pairwise.fit_pairwise]
)
def test_methods_over_subsets_learn_and_add_up(fit, some: Rows) -> None:
    said = fit(some, 0)(some.x)
    scores = score_subsets(said, some.y)
    assert scores["nll"].mean() < 0.8 * (ITEMS - 1) * np.log(2)
    one = fit(some, 0)(np.repeat(some.x[:1], 16, 0))
    assert np.exp(one.log_prob(all_subsets(ITEMS))).sum() == pytest.approx(1)
    np.testing.assert_allclose(one.with_size().sum(2), one.marginals(), atol=1e-6)


@pytest.mark.parametrize(
    ("fit", "package"), [(independent.fit_lightgbm, "lightgbm"), (independent.fit_xgboost, "xgboost")]
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_boosted_trees_learn(fit, package: str, some: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(package)
    monkeypatch.setattr(independent, "TREES", (5, 10))
    scores = score_subsets(fit(some, 0)(some.x), some.y)
    assert scores["nll"].mean() < (ITEMS - 1) * np.log(2)


@pytest.mark.parametrize(
    "fit",
    [mallows.fit_forest, mallows.fit_kernel_ridge, peer_plackett_luce.fit_linear, peer_plackett_luce.fit_network],
)
def test_methods_over_rankings_learn_and_add_up(fit, ranked: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mallows, "TREES", 50)
    predict = fit(ranked, 0)
    assert mallows.kendall_tau(ranked.y, predict(ranked.x).answer()).mean() > 0.6
    assert np.exp(predict(np.repeat(ranked.x[:1], 6, 0)).log_prob(rankings(3))).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("fit", "package"),
    [
        (bayesian_networks.fit_bdeu, "pyagrum"),
        (bayesian_networks.fit_bic, "pyagrum"),
        (energies.fit_energy, "ebm"),
        (circuits.fit_learned, "spflow"),
        (hidden_trees.fit_tree, "spflow"),
    ],
)
def test_distributions_without_features_add_up(fit, package: str, some: Rows) -> None:
    pytest.importorskip(package)
    said = fit(replace(some, x=some.x[:, :0]), 0)(np.zeros((16, 0)))
    assert np.exp(said.log_prob(all_subsets(ITEMS))).sum() == pytest.approx(1, abs=1e-5)
    assert -said.log_prob(some.y).mean() < ITEMS * np.log(2)


def test_annealing_finds_the_log_partition_that_a_listing_has(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ebm")
    torch.manual_seed(0)
    energy, y = energies.Energy(5), torch.rand(50, 5).round()
    torch.nn.init.normal_(energy.b)
    exact = energies.log_partition(energy, y)
    monkeypatch.setattr(energies, "MOST_LISTED", 0)
    monkeypatch.setattr(energies, "TEMPERATURES", 200)
    assert energies.log_partition(energy, y) == pytest.approx(exact, abs=0.1)


def test_items_that_never_vary_depend_on_nothing() -> None:
    y = np.random.default_rng(0).integers(0, 2, size=(400, 3))
    y = np.concatenate([y, y[:, :1], np.zeros((400, 1), dtype=np.int64)], 1)
    found = circuits.g_statistic(y)
    assert found[0, 3] == pytest.approx(2 * 400 * np.log(2), rel=0.01)
    assert found[4].max() == pytest.approx(0)
    assert found[0, 1] < 11  # chi-squared with one degree of freedom


def test_a_circuit_is_cut_by_what_depends(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("spflow")
    random = np.random.default_rng(0)
    pairs = random.integers(0, 2, size=(2000, 2)).repeat(2, 1)  # items 0 and 1 are alike, and so are 2 and 3
    y = np.where(random.random(pairs.shape) < 0.05, 1 - pairs, pairs)
    monkeypatch.setattr(circuits, "INSTANCES", (100,))
    said = circuits.fit_learned(Rows(np.zeros((2000, 0)), y, ()), 0)(np.zeros((1, 0)))
    p = np.exp(said.log_prob(all_subsets(4))).reshape(4, 4)
    np.testing.assert_allclose(p, np.outer(p.sum(1), p.sum(0)), atol=1e-4)
    assert p[0, 0] == pytest.approx(0.25 * (1 - 2 * 0.05 * 0.95) ** 2, abs=0.04)
