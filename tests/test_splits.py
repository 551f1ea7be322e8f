"""Holding rows out: nothing lost, nothing in both parts, whole combinations where asked."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.errors import SpecError
from jebm_core.splits import split_examples
from jebm_core.tables import Examples, guess_roles, read_examples, read_table


def examples_of(rows: list[tuple[int, int, int]]) -> Examples:
    lines = ["y_a,y_b,y_c", *(",".join(map(str, row)) for row in rows), ",1,1"]  # the last row is incomplete
    table = read_table("t.csv", content="\n".join(lines).encode())
    return read_examples(table, guess_roles(table))


combination = st.tuples(*[st.integers(0, 1)] * 3)
tables = st.lists(combination, min_size=2, max_size=30).filter(lambda rows: len(set(rows)) > 1)
modes: list[Literal["rows", "combinations"]] = ["rows", "combinations"]


@settings(max_examples=60, deadline=None)
@given(tables, st.floats(0, 0.95), st.sampled_from(modes), st.integers(0, 5))
def test_the_parts_are_a_partition(
    rows: list[tuple[int, int, int]], fraction: float, mode: Literal["rows", "combinations"], seed: int
) -> None:
    examples = examples_of(rows)
    wanted = 0 if fraction == 0 else min(len(rows) - 1, max(1, round(fraction * len(rows))))
    rarest = min(rows.count(row) for row in rows)
    if mode == "combinations" and 0 < wanted < rarest:
        with pytest.raises(SpecError, match="Hold out a larger share"):
            split_examples(examples, fraction, mode, seed)
        return
    train, test = split_examples(examples, fraction, mode, seed)
    assert sorted([*train.keep, *test.keep]) == list(range(len(rows)))
    for part in (train, test):
        assert list(part.keep) == sorted(part.keep)
        assert part.table is examples.table
        assert part.outputs.values.tolist() == [list(rows[place]) for place in part.keep]
    again = split_examples(examples, fraction, mode, seed)
    assert np.array_equal(again[1].keep, test.keep)
    if mode == "rows":
        assert len(test.keep) == wanted
    else:
        seen = {rows[place] for place in train.keep}
        assert len(test.keep) <= wanted
        assert not seen & {rows[place] for place in test.keep}
        # Whatever could still have been held out whole does not fit.
        room = wanted - len(test.keep)
        assert all(rows.count(row) > room for row in seen)


def test_the_seed_matters_and_nothing_is_held_out_by_default_of_zero() -> None:
    examples = examples_of([(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)] * 10)
    parts = {tuple(split_examples(examples, 0.25, "rows", seed)[1].keep) for seed in range(5)}
    assert len(parts) == 5
    train, test = split_examples(examples, 0.0)
    assert len(train.keep) == 40
    assert len(test.keep) == 0
    assert test.outputs.values.shape == (0, 3)


@pytest.mark.parametrize("fraction", [1.0, -0.1, float("nan")])
def test_an_impossible_share_is_refused(fraction: float) -> None:
    with pytest.raises(SpecError, match="held-out share"):
        split_examples(examples_of([(0, 0, 1), (0, 1, 0)]), fraction)
