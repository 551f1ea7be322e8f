"""Plackett–Luce rankings, against listing them one factor at a time and against counts of draws."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy.stats import chi2

from jebm_core.errors import SpecError
from jebm_core.plackett_luce import log_prob, sample


def listed_log_prob(scores: list[float], positions: tuple[int, ...]) -> float:
    """One item after the other, from the top, as the definition reads."""
    order = sorted(range(len(scores)), key=lambda item: positions[item])
    total = 0.0
    while order:
        total += scores[order[0]] - float(np.logaddexp.reduce([scores[item] for item in order]))
        order = order[1:]
    return total


@examples(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=5))
def test_log_prob_agrees_with_the_definition_and_sums_to_one(scores: list[float]) -> None:
    rankings = list(itertools.permutations(range(len(scores))))
    result = log_prob(torch.tensor([scores], dtype=torch.float64), torch.tensor(rankings)[:, None])
    expected = torch.tensor([[listed_log_prob(scores, ranking)] for ranking in rankings], dtype=torch.float64)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-10)
    assert result.logsumexp(0).item() == pytest.approx(0, abs=1e-9)


def test_rows_of_the_batch_do_not_mix() -> None:
    scores = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.5, 0.0]], dtype=torch.float64)
    positions = torch.tensor([[[0, 1, 2], [2, 0, 1]], [[1, 2, 0], [0, 2, 1]]])
    result = log_prob(scores, positions)
    for draw, row in itertools.product(range(2), range(2)):
        expected = listed_log_prob(scores[row].tolist(), tuple(positions[draw, row].tolist()))
        assert result[draw, row].item() == pytest.approx(expected, abs=1e-12)


def test_gradient() -> None:
    scores = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    positions = sample(scores.detach(), 3, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda values: log_prob(values, positions), scores)


def test_single_precision_at_large_scores() -> None:
    scores = torch.tensor([[80.0, -80.0, 0.0, 79.0]])
    positions = torch.tensor([[[0, 3, 2, 1]], [[3, 0, 1, 2]]])
    expected = [[listed_log_prob(scores[0].tolist(), tuple(row[0].tolist()))] for row in positions]
    torch.testing.assert_close(log_prob(scores, positions), torch.tensor(expected), rtol=1e-6, atol=1e-5)


def test_draws_follow_the_listed_probabilities() -> None:
    # Chi-square over 24 rankings (23 degrees of freedom), two rows, seed 20260102: false alarms 2 × 1e-4.
    scores = torch.tensor([[0.0, 0.8, -0.7, 0.3], [0.0, 0.0, 0.0, 0.0]])
    draws = sample(scores, 20_000, generator=torch.Generator().manual_seed(20260102))
    rankings = list(itertools.permutations(range(4)))
    number = {ranking: index for index, ranking in enumerate(rankings)}
    for row in range(2):
        expected = 20_000 * np.exp([listed_log_prob(scores[row].tolist(), ranking) for ranking in rankings])
        counts = np.bincount([number[tuple(draw)] for draw in draws[:, row].tolist()], minlength=24)
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(1 - 1e-4, 23)


def test_draws_depend_on_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second = (sample(torch.zeros(2, 5), 4, generator=torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_one_item_and_empty_shapes() -> None:
    assert sample(torch.tensor([[3.0]]), 2).tolist() == [[[0]], [[0]]]
    assert log_prob(torch.tensor([[3.0]]), torch.zeros(2, 1, 1, dtype=torch.int64)).tolist() == [[0.0], [0.0]]
    assert sample(torch.zeros(0, 3), 2).shape == (2, 0, 3)
    assert sample(torch.zeros(4, 3), 0).shape == (0, 4, 3)


def test_shapes_without_values() -> None:
    scores = torch.empty(5, 6, device="meta", requires_grad=True)
    positions = sample(scores, 3)
    value = log_prob(scores, positions)
    value.sum().backward()
    assert scores.grad is not None
    assert (positions.shape, value.shape, scores.grad.shape) == ((3, 5, 6), (3, 5), (5, 6))


def test_negative_number_of_samples_is_refused() -> None:
    with pytest.raises(SpecError, match="found -1"):
        sample(torch.zeros(1, 2), -1)


def test_constant_shift_changes_nothing() -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    positions = sample(scores, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(log_prob(scores + math.pi, positions), log_prob(scores, positions))
