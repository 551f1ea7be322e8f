"""Return on a proof of concept: trials that a ranking saves, against every order listed, and the stage gate."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.decisions.returns import (
    FEW_CASES,
    Estimate,
    Prices,
    Returns,
    found_within,
    frequency_score,
    measure_returns,
    stage_gate,
    success_probability,
    trials_until,
)
from jebm_core.errors import SpecError


def _orders(score: list[float]) -> list[tuple[int, ...]]:
    """Every order of the rows that a score allows."""
    groups = [[i for i, one in enumerate(score) if one == value] for value in sorted(set(score), reverse=True)]
    every = itertools.product(*(list(itertools.permutations(group)) for group in groups))
    return [tuple(itertools.chain(*parts)) for parts in every]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6), st.data())
def test_trials_and_finds_are_means_over_every_order_listed(
    rows: list[tuple[float, bool]], data: st.DataObject
) -> None:
    score, success = [one for one, _ in rows], [bool(hit) for _, hit in rows]
    wanted = data.draw(st.integers(0, sum(success)))
    budget = data.draw(st.integers(0, len(rows)))
    places, finds = [], []
    for order in _orders(score):
        hits = list(itertools.accumulate(success[i] for i in order))
        places.append(0 if not wanted else hits.index(wanted) + 1)
        finds.append(hits[budget - 1] if budget else 0)
    given_rows = np.array(score), np.array(success), np.ones((1, len(rows)))
    assert trials_until(*given_rows, np.array([float(wanted)]))[0] == pytest.approx(np.mean(places))
    assert found_within(*given_rows, budget)[0] == pytest.approx(np.mean(finds))


def test_a_weighting_is_the_same_as_rows_written_several_times() -> None:
    random = np.random.default_rng(3)
    score, success = random.choice([0.2, 0.4, 0.7], 12), random.random(12) < 0.5
    counts = random.multinomial(12, np.full(12, 1 / 12)).astype(float)
    again = np.repeat(np.arange(12), counts.astype(int))
    wanted = np.array([2.0])
    ones = np.ones((1, len(again)))
    assert trials_until(score, success, counts[None], wanted) == pytest.approx(
        trials_until(score[again], success[again], ones, wanted)
    )
    assert found_within(score, success, counts[None], 5) == pytest.approx(
        found_within(score[again], success[again], ones, 5)
    )


def test_a_perfect_order_needs_as_many_trials_as_successes_and_a_random_one_the_closed_form() -> None:
    success = np.arange(60) % 3 == 0
    found = measure_returns(success.astype(float), np.zeros(60), success)
    assert (found.rows, found.successes, found.target) == (60, 20, 10)
    assert found.trials["model"].value == 10 * 21 / 21
    assert found.trials["random"].value == pytest.approx(10 * 61 / 21)
    assert found.trials["frequency"] == found.trials["random"]
    assert found.saved["random"].low > 0
    assert found.budget == 10
    assert found.found["model"].value == 10
    assert found.found["random"].value == pytest.approx(20 / 6)


def test_the_interval_of_a_useless_order_holds_zero_about_as_often_as_it_says() -> None:
    # 80 data sets, seed fixed; 95 % intervals should miss about 4 of them. More than 10: one in 300 by chance.
    random = np.random.default_rng(5)
    missed = 0
    for _ in range(80):
        success = random.random(80) < 0.4
        saved = measure_returns(random.random(80), np.zeros(80), success, resamples=400).saved["random"]
        missed += not saved.low <= 0 <= saved.high
    assert missed <= 10


def test_rows_without_a_score_come_last_and_nothing_to_rank_is_one_sentence() -> None:
    success = np.array([True, False, True, False])
    found = measure_returns(np.array([np.nan, 0.2, 0.3, np.nan]), np.zeros(4), success, target=1.0, resamples=50)
    assert found.trials["model"].value == 3.5
    for none in (np.zeros(4, dtype=bool), np.ones(4, dtype=bool)):
        with pytest.raises(SpecError, match="succeeded"):
            measure_returns(np.zeros(4), np.zeros(4), none)
    with pytest.raises(SpecError, match="share"):
        measure_returns(np.zeros(4), np.zeros(4), success, target=0.0)


def test_frequency_counts_equal_combinations_and_shrinks_to_the_overall_share() -> None:
    seen = np.array([[0, 1], [0, 1], [0, 1], [1, 1]])
    happened = np.array([True, True, False, False])
    found = frequency_score(seen, happened, np.array([[0, 1], [1, 1], [1, 0]]))
    assert found.tolist() == [(2 + 0.5) / 4, (0 + 0.5) / 2, 0.5]


def _returns(saved: tuple[float, float, float], rows: int = 100, successes: int = 40) -> Returns:
    trials = {"model": Estimate(30.0, 25.0, 40.0)}
    return Returns(rows, successes, 20, trials, {"random": Estimate(*saved)}, 30, {})


PRICES = Prices(trial=10.0, success=50.0, review_hours=0.5, hour=20.0)


@pytest.mark.parametrize(
    ("saved", "verdict", "prices", "rows", "gate", "unmet"),
    [
        ((20.0, 10.0, 30.0), "trusted", PRICES, 100, "go", ()),
        ((20.0, 10.0, 30.0), "trusted", Prices(), 100, "go", ()),
        ((20.0, 10.0, 30.0), "caution", PRICES, 100, "widen", ("trusted",)),
        ((20.0, 10.0, 30.0), "do not trust", PRICES, 100, "stop", ("trusted",)),
        ((5.0, -2.0, 12.0), "trusted", PRICES, 100, "widen", ("saved",)),
        ((-5.0, -9.0, -1.0), "trusted", PRICES, 100, "stop", ("saved",)),
        ((-5.0, -9.0, -1.0), "trusted", PRICES, FEW_CASES - 1, "widen", ("rows", "saved")),
        ((20.0, 10.0, 30.0), "trusted", Prices(trial=30.0, success=40.0), 100, "widen", ("net",)),
        ((20.0, 10.0, 30.0), "trusted", Prices(trial=100.0, success=40.0), 100, "stop", ("net",)),
    ],
)
def test_the_gate_follows_its_criteria(
    saved: tuple[float, float, float], verdict: str, prices: Prices, rows: int, gate: str, unmet: tuple[str, ...]
) -> None:
    found = _returns(saved, rows)
    assert stage_gate(found, prices, verdict) == (gate, unmet)


def test_money_is_trials_times_what_one_costs() -> None:
    found = _returns((20.0, 10.0, 30.0))
    record = found.to_json(PRICES, "trusted")
    assert record["unit"] == 20.0
    assert record["saved_money"]["random"] == [400.0, 200.0, 600.0]
    assert record["net"] == [1000.0 - 600.0, 1000.0 - 800.0, 1000.0 - 500.0]
    for bad in (-1.0, math.inf):
        with pytest.raises(SpecError, match="trial"):
            Prices(trial=bad)


def test_the_probability_of_a_success_is_the_conditional_of_the_joint() -> None:
    import torch

    from jebm_core import FitSettings, fit, guess_roles, read_examples, read_table
    from jebm_core.tables import Roles

    table = read_table("sample_data/assembly.csv").part(np.arange(100))
    guessed = guess_roles(table)
    examples = read_examples(table, Roles(guessed.features[:1], ("c_seal", "c_bearing", "c_result"), "configurations"))
    model = fit(examples, FitSettings(epochs=1, samples=8, reference="uniform")).model
    context, y = model.context(table), examples.outputs.values
    found = success_probability(model, context, y, ("result", "pass"))
    place = model.record.schema.names.index("result")
    both = []
    for option in range(2):
        other = torch.as_tensor(y).clone()
        other[:, place] = option
        both.append(model.log_prob(context, other).value.double().exp().numpy())
    at = model.record.schema.options[place].index("pass")
    np.testing.assert_allclose(found, both[at] / (both[0] + both[1]), rtol=1e-5)
    with pytest.raises(SpecError, match="result=maybe"):
        success_probability(model, context, y, ("result", "maybe"))
