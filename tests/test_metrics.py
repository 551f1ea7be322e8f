"""The metrics agree with scikit-learn and SciPy, and with their definitions where those have no such function."""

import itertools

import pytest
import torch
from scipy import stats
from sklearn import metrics as reference
from torch import Tensor

from jebm_core import metrics


def random_subsets(seed: int, batch: int = 40, items: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # The last item and the first rows are empty on both sides, so that the conventions matter.
    y = (torch.rand(2, batch, items, generator=generator) < 0.35).long()
    y[:, :3] = 0
    y[:, :, -1] = 0
    return y[0], y[1]


def random_rankings(seed: int, batch: int, items: int) -> Tensor:
    return torch.rand(batch, items, generator=torch.Generator().manual_seed(seed)).argsort(1)


@pytest.mark.parametrize("empty_value", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_f1_agrees_with_scikit_learn(seed: int, empty_value: float) -> None:
    true, pred = random_subsets(seed)
    cases = {"samples": metrics.example_f1(true, pred, empty_value).mean()}
    cases["macro"] = metrics.macro_f1(true, pred, empty_value)
    cases["micro"] = metrics.micro_f1(true, pred, empty_value)
    for average, ours in cases.items():
        theirs = reference.f1_score(true.numpy(), pred.numpy(), average=average, zero_division=empty_value)
        assert float(ours) == pytest.approx(float(theirs), abs=1e-6)
    theirs = reference.f1_score(true.numpy(), pred.numpy(), average=None, zero_division=empty_value)
    torch.testing.assert_close(metrics.item_f1(true, pred, empty_value), torch.tensor(theirs, dtype=torch.float32))


def test_f1_of_nothing_at_all_is_the_convention() -> None:
    nothing = torch.zeros(3, 2, dtype=torch.int64)
    assert metrics.micro_f1(nothing, nothing, 1.0).item() == 1.0
    assert metrics.example_f1(nothing, nothing).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(5))
def test_whole_and_item_errors_agree_with_scikit_learn(seed: int) -> None:
    true, pred = random_subsets(seed)
    accuracy = reference.accuracy_score(true.numpy(), pred.numpy())
    assert metrics.subset_accuracy(true, pred).mean().item() == pytest.approx(accuracy, abs=1e-6)
    loss = reference.hamming_loss(true.numpy(), pred.numpy())
    assert metrics.hamming_loss(true, pred).mean().item() == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("items", [2, 3, 7, 20])
def test_kendall_agrees_with_scipy(items: int) -> None:
    true, pred = random_rankings(1, 20, items), random_rankings(2, 20, items)
    theirs = [stats.kendalltau(a.numpy(), b.numpy()).statistic for a, b in zip(true, pred, strict=True)]
    torch.testing.assert_close(metrics.kendall_tau(true, pred), torch.tensor(theirs, dtype=torch.float32))
    torch.testing.assert_close(metrics.kendall_tau(true + 1, pred), metrics.kendall_tau(true, pred))


def test_kendall_of_one_item_is_one() -> None:
    one = torch.zeros(3, 1, dtype=torch.int64)
    assert metrics.kendall_tau(one, one).tolist() == [1.0, 1.0, 1.0]


def test_brier_marginal_agrees_with_scikit_learn() -> None:
    true, _ = random_subsets(3)
    probability = torch.rand(true.shape, generator=torch.Generator().manual_seed(4))
    theirs = reference.brier_score_loss(true.flatten().numpy(), probability.flatten().numpy())
    assert metrics.brier_marginal(true, probability).mean().item() == pytest.approx(theirs, abs=1e-6)
    both = torch.stack([1 - probability, probability], dim=2)
    torch.testing.assert_close(metrics.brier_options(true, both), 2 * metrics.brier_marginal(true, probability))


def test_brier_options_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(5)
    true = torch.randint(0, 3, (30, 4), generator=generator)
    probability = torch.rand(30, 4, 3, generator=generator, dtype=torch.float64).softmax(2)
    theirs = [
        reference.brier_score_loss(true[:, i].numpy(), probability[:, i].numpy(), labels=[0, 1, 2], scale_by_half=False)
        for i in range(4)
    ]
    assert metrics.brier_options(true, probability).mean().item() == pytest.approx(sum(theirs) / 4)


def test_brier_joint_agrees_with_its_definition_on_a_listing() -> None:
    generator = torch.Generator().manual_seed(6)
    log_prob = torch.randn(8, 5, generator=generator, dtype=torch.float64).log_softmax(0)
    true = torch.randint(0, 8, (5,), generator=generator)
    observed = torch.nn.functional.one_hot(true, 8).T
    expected = (log_prob.exp() - observed).square().sum(0)
    ours = metrics.brier_joint(log_prob.gather(0, true[None]).squeeze(0), log_prob, log_prob)
    torch.testing.assert_close(ours, expected)


def test_brier_top_counts_only_the_answer() -> None:
    true, pred = torch.tensor([[1, 0], [1, 0]]), torch.tensor([[1, 0], [0, 0]])
    assert metrics.brier_top(true, pred, torch.tensor([0.75, 0.5])).tolist() == [0.0625, 0.25]


def test_every_metric_runs_without_looking_at_the_data() -> None:
    y = torch.zeros(3, 4, dtype=torch.int64, device="meta")
    p = torch.zeros(3, 4, device="meta")
    for metric in (metrics.example_f1, metrics.subset_accuracy, metrics.hamming_loss, metrics.kendall_tau):
        assert metric(y, y).shape == (3,)
    assert metrics.macro_f1(y, y).shape == metrics.micro_f1(y, y).shape == ()
    assert metrics.brier_marginal(y, p).shape == (3,)
    assert metrics.brier_options(y, p[:, :, None]).shape == (3,)
    assert metrics.brier_top(y, y, p[:, 0]).shape == (3,)
    draws = torch.zeros(5, 3, device="meta")
    assert metrics.brier_joint(p[:, 0], draws, draws).shape == (3,)


def test_kendall_of_every_pair_of_rankings_of_three() -> None:
    rankings = torch.tensor(list(itertools.permutations(range(3))))
    identity = rankings[:1].expand(6, 3)
    # 0, 1, 1, 2, 2 and 3 inversions: τ = 1 − 2·inversions/3
    expected = torch.tensor([1, 1 / 3, 1 / 3, -1 / 3, -1 / 3, -1])
    torch.testing.assert_close(metrics.kendall_tau(identity, rankings), expected)
