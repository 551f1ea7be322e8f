"""Drift: silent about rows of the same kind at the stated rate, and it names what was changed."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from jebm_core.cli import main
from jebm_core.errors import TableError
from jebm_core.evaluation.drift import _adjusted, _column, _event, _psi, drift
from jebm_core.tables import Examples, guess_roles, read_examples, read_table
from tests.test_evaluate import examples_of, fitted, table_of


def changed(frame: pd.DataFrame) -> Examples:
    table = read_table("new.csv", content=frame.to_csv(index=False).encode())
    return read_examples(table, guess_roles(table), like=fitted("subsets").record.schema)


@pytest.mark.parametrize("kind", ["subsets", "configurations", "rankings"])
def test_rows_of_the_same_kind_have_not_drifted(kind: str) -> None:
    """Seeds 11 and 12; a false alarm in at most about one of ten kinds and questions."""
    model = fitted(kind)
    found = drift(model, examples_of(kind, 300, 11, like=model), examples_of(kind, 300, 12, like=model))
    assert found.drifted == ()
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["drifted"] == []
    assert {one["name"] for one in record["inputs"]} == set(model.record.features)


def test_false_alarms_are_as_rare_as_stated() -> None:
    """200 pairs of tables without any drift, six columns and events each: at most 5 % of the pairs have a finding; more
    than 20 of 200 would happen with probability 1e-3 or less (seed 0)."""
    random, alarms = np.random.default_rng(0), 0
    for _ in range(200):
        numbers = random.normal(size=(2, 3, 80))
        words = random.choice(list("abcd"), size=(2, 80), p=[0.5, 0.3, 0.15, 0.05])
        happened = random.random((2, 2, 80)) < 0.3
        shifts = [_column(str(c), *(pd.Series(numbers[t, c]) for t in (0, 1))) for c in range(3)]
        shifts.append(_column("w", pd.Series(words[0]), pd.Series(words[1])))
        shifts += [_event(str(e), happened[0, e], happened[1, e]) for e in range(2)]
        alarms += any(shift.drifted for shift in _adjusted(shifts))
    assert alarms <= 20


def test_what_was_changed_is_named() -> None:
    model = fitted("subsets")
    before, frame = examples_of("subsets", 300, 11, like=model), table_of("subsets", 300, 12)
    moved = drift(model, before, changed(frame.assign(x_a=frame["x_a"] + 1.5)))
    assert "inputs" in moved.drifted
    assert [one.name for one in moved.inputs if one.drifted] == ["x_a"]
    assert not any(one.drifted for one in moved.outputs)
    label = next(name for name in frame if str(name).startswith("y_"))
    flipped = frame.assign(**{str(label): np.where(np.random.default_rng(0).random(300) < 0.6, 1, frame[label])})
    more = drift(model, before, changed(flipped))
    assert [one.name for one in more.outputs if one.drifted] == [str(label).removeprefix("y_")]
    assert "likelihood" in more.drifted
    shuffled = frame.assign(x_a=frame["x_a"].to_numpy()[::-1])  # the same inputs and outputs, but not together
    apart = drift(model, before, changed(shuffled))
    assert not any(one.drifted for one in (*apart.inputs, *apart.outputs))
    assert apart.nll_change[0] > 0


def test_new_combinations_beyond_what_was_to_be_expected_are_told() -> None:
    model = fitted("subsets")
    new = examples_of("subsets", 300, 12, like=model)
    y = torch.from_numpy(new.outputs.values)
    unseen = model.space.listing()
    unseen = unseen[~model.seen.contains(unseen)]
    values = np.where((np.arange(300) % 2 == 0)[:, None], unseen[torch.arange(300) % len(unseen)].numpy(), y.numpy())
    strange = dataclasses.replace(new, outputs=dataclasses.replace(new.outputs, values=values))
    found = drift(model, examples_of("subsets", 300, 11, like=model), strange)
    assert "combinations" in found.drifted
    assert found.new_share.value >= 0.5


def test_the_stability_index_by_hand() -> None:
    """Half a row is added to each: shares (10.5, 30.5)/41 against (20.5, 20.5)/41."""
    a, e = np.array([20.5, 20.5]) / 41, np.array([10.5, 30.5]) / 41
    assert _psi(np.array([10, 30]), np.array([20, 20])) == pytest.approx(float(((a - e) * np.log(a / e)).sum()))


def test_numbers_are_counted_in_tenths_of_the_earlier_rows() -> None:
    """100 earlier rows, ten a tenth; 50 later ones, all above them: half a row is added to each of ten bins."""
    a, e = np.array([0.5] * 9 + [50.5]) / 55, np.full(10, 10.5 / 105)
    found = _column("n", pd.Series(np.arange(100.0)), pd.Series(np.arange(100.0, 150.0)))
    assert (found.kind, found.before, found.after) == ("numbers", 49.5, 124.5)
    assert found.size == pytest.approx(float(((a - e) * np.log(a / e)).sum()))


def test_a_column_of_one_word_is_the_same() -> None:
    same = _column("w", pd.Series(["a"] * 30), pd.Series(["a"] * 40))
    assert (same.p_value, same.size) == (1.0, pytest.approx(0.0, abs=1e-9))
    gone = _column("n", pd.Series(np.arange(30.0)), pd.Series([None] * 30, dtype="float"))
    assert gone.p_value < 1e-4  # a column that is empty now is words, all of them missing


def test_more_gaps_are_a_drift_of_their_own() -> None:
    numbers = np.random.default_rng(3).normal(size=200)
    gappy = np.where(np.arange(200) % 4 == 0, np.nan, numbers)
    assert _column("n", pd.Series(numbers), pd.Series(gappy)).p_value < 1e-8
    assert _column("n", pd.Series(gappy), pd.Series(gappy[::-1])).p_value == 1.0


def test_the_command_says_what_has_drifted(tmp_path, capsys) -> None:
    fitted("subsets").save(tmp_path / "model")
    frame = table_of("subsets", 200, 12)
    table_of("subsets", 200, 11).to_csv(tmp_path / "before.csv", index=False)
    frame.assign(x_a=frame["x_a"] - 2).to_csv(tmp_path / "after.csv", index=False)
    frame.head(5).to_csv(tmp_path / "few.csv", index=False)
    paths = [str(tmp_path / name) for name in ("model", "before.csv", "after.csv", "few.csv", "drift.json")]
    assert main(["drift", *paths[:3], "--json", paths[4]]) == 0
    said = capsys.readouterr().out
    assert "the inputs" in said
    assert "x_a: median" in said
    assert json.loads((tmp_path / "drift.json").read_text())["drifted"]
    assert main(["drift", paths[0], paths[1], paths[3]]) == 2
    assert "few.csv: expected at least 20 complete rows" in capsys.readouterr().err


def test_too_few_rows_are_one_sentence() -> None:
    model = fitted("subsets")
    with pytest.raises(TableError, match="at least 20 complete rows"):
        drift(model, examples_of("subsets", 10, 1, like=model), examples_of("subsets", 50, 2, like=model))
