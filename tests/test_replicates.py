"""Replicates: halves of the rows, their spread as a standard error, intervals, folders, and bad input."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from jebm_core import FitSettings, fit, guess_roles, load, read_examples, read_table
from jebm_core.cli import main
from jebm_core.errors import Cancelled, SpecError
from jebm_core.evaluation import rank_unseen, score_candidates
from jebm_core.evaluation.widening import widened
from jebm_core.replicates import (
    INFLATION,
    fit_replicates,
    half_samples,
    half_width,
    intervals,
    load_replicates,
    save_replicates,
)
from jebm_core.runs.records import STAGES
from jebm_core.tables import Examples

QUICK = FitSettings(reference="marginals", affinity="unary", epochs=3, replicates=3)


def rows(count: int = 60) -> str:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(count, 1))
    y = (generator.random((count, 3)) < 1 / (1 + np.exp(-x))).astype(int)
    frame = pd.DataFrame(np.hstack([x.round(4), y]), columns=["x_a", "y_a", "y_b", "y_c"])
    return frame.astype(dict.fromkeys(frame.columns[1:], int)).to_csv(index=False)


def examples(count: int = 60) -> Examples:
    table = read_table("t.csv", content=rows(count).encode())
    return read_examples(table, guess_roles(table))


@pytest.mark.parametrize("count", [40, 41])
def test_halves_share_out_all_rows(count):
    halves = half_samples(count, 5, seed=3)
    assert len(halves) == 5
    assert all(half.sum() in (count // 2, count - count // 2) for half in halves)
    assert (halves[0] ^ halves[1]).all()
    assert (halves[2] ^ halves[3]).all()
    assert not (halves[0] == halves[2]).all()
    np.testing.assert_array_equal(halves, half_samples(count, 5, seed=3))


def test_the_spread_of_a_mean_is_its_standard_error():
    """Seed 0; of 2,000 halves the spread is known to 1/√4,000 = 1.6 %, so that 8 % are five standard errors."""
    values = np.random.default_rng(0).normal(size=100)
    members = np.array([values[half].mean() for half in half_samples(100, 2000, seed=0)])
    spread = math.sqrt(((members - values.mean()) ** 2).mean())
    assert spread == pytest.approx(values.std(ddof=1) / math.sqrt(100), rel=0.08)


def test_half_width_is_a_multiple_of_the_spread_about_the_whole_fit():
    members = torch.tensor([[1.0, 3.0], [1.0, -3.0], [1.0, 3.0], [1.0, -3.0]])
    found = half_width(torch.zeros(2), members)
    torch.testing.assert_close(found, 2.7764451 * INFLATION * torch.tensor([1.0, 3.0]))  # t of 4 degrees of freedom


def test_intervals_apart_and_together():
    value = torch.tensor([-1.0, -torch.inf, -2.0])
    members = torch.tensor([[-1.3, -torch.inf, -2.0], [-0.7, -5.0, -torch.inf]])
    found = intervals(value, value - 0.1, value + 0.2, members)
    width = half_width(value[:1], members[:, :1]).item()
    assert found.model[:, 0].tolist() == pytest.approx([-1 - width, -1 + width])
    assert found.low[0].item() == pytest.approx(-1 - math.hypot(width, 0.1))
    assert found.high[0].item() == pytest.approx(-1 + math.hypot(width, 0.2))
    assert found.low[1] == found.high[1] == -torch.inf  # impossible, and known to be
    assert found.low[2] == -torch.inf  # a half that calls it impossible leaves nothing known
    assert found.high[2] == torch.inf
    alone = intervals(value, value - 0.1, value + 0.2, torch.zeros(0, 3))
    torch.testing.assert_close(alone.low, value - 0.1)
    torch.testing.assert_close(alone.model[0], value)


def test_replicates_are_fits_of_halves_and_come_back_from_their_folder(tmp_path):
    whole, told = examples(), []
    members = fit_replicates(whole, QUICK, on_progress=told.append)
    assert [(entry.stage, entry.epoch, entry.epochs) for entry in told] == [("replicates", i, 3) for i in range(3)]
    assert {entry.stage for entry in told} <= set(STAGES)
    assert [member.record.summary["rows"] + member.record.summary["held_out_rows"] for member in members] == [30] * 3
    assert [member.record.settings.seed for member in members] == [1, 2, 3]
    half = half_samples(60, 1, QUICK.seed)[0]
    alone = fit(whole.part(half), FitSettings(reference="marginals", affinity="unary", epochs=3, seed=1)).model
    y = torch.from_numpy(whole.outputs.values)
    known = [member.log_prob(member.context(whole.table), y).value for member in members]
    torch.testing.assert_close(known[0], alone.log_prob(alone.context(whole.table), y).value)
    assert not torch.equal(known[0], known[1])
    save_replicates(members, tmp_path)
    for member, before in zip(load_replicates(tmp_path), known, strict=True):
        torch.testing.assert_close(member.log_prob(member.context(whole.table), y).value, before)
    save_replicates(members[:1], tmp_path)  # instead of the earlier ones, not beside them
    assert len(load_replicates(tmp_path)) == 1
    assert load_replicates(tmp_path / "nowhere") == ()


def test_replicates_stop_when_asked():
    with pytest.raises(Cancelled):
        fit_replicates(examples(), QUICK, should_stop=lambda: True)


def test_too_few_rows_and_wrong_numbers_are_told():
    with pytest.raises(SpecError, match=r"expected at least 40 rows, to fit halves of them, found 39; set it to 0"):
        fit_replicates(examples(39), QUICK)
    for wrong in (1, -2, 65):
        with pytest.raises(SpecError, match=f"expected 0, or a number from 2 to 64, found {wrong}; 8 are"):
            FitSettings(replicates=wrong)


def test_score_has_intervals_of_both_kinds(tmp_path, capsys):
    table, model, out = tmp_path / "t.csv", tmp_path / "model", tmp_path / "scores.csv"
    table.write_text(rows())
    quick = ("--reference", "marginals", "--affinity", "unary", "--epochs", "2")
    assert main(["fit", str(table), "--out", str(model), *quick, "--replicates", "2"]) == 0
    assert main(["score", str(model), str(table), "--out", str(out)]) == 0
    capsys.readouterr()
    found = pd.read_csv(out)
    assert (found.log_prob_low < found.model_low + 1e-6).all()
    assert (found.log_prob_high > found.model_high - 1e-6).all()
    assert (found.normalisation_high - found.normalisation_low < found.model_high - found.model_low).mean() > 0.5
    members, fitted = load_replicates(model), load(model)
    read = read_table(table)
    y = torch.from_numpy(examples().outputs.values)
    value = fitted.log_prob(fitted.context(read), y).value
    width = half_width(value, torch.stack([m.log_prob(m.context(read), y).value for m in members]))
    np.testing.assert_allclose(found.model_high - found.log_prob, width.numpy(), atol=1e-5)
    assert main(["fit", str(table), "--out", str(model), *quick]) == 0  # a model without replicates in the same place
    assert main(["score", str(model), str(table), "--out", str(out)]) == 0
    assert "model_low" not in pd.read_csv(out)


@pytest.mark.parametrize("outcome", [None, ("b", "q")])
def test_ranked_combinations_get_intervals_of_their_own_replicates(outcome):
    generator = np.random.default_rng(2)
    frame = pd.DataFrame(generator.choice(list("pqr"), size=(60, 3)), columns=["c_a", "c_b", "c_c"])
    table = read_table("t.csv", content=frame.to_csv(index=False).encode())
    whole = read_examples(table, guess_roles(table))
    settings = FitSettings(reference="marginals", affinity="unary", epochs=3, replicates=3)
    model = fit(whole, settings).model
    members = [(member, member.context(table)) for member in fit_replicates(whole, settings)]
    plain = rank_unseen(model, model.context(table), 5, outcome=outcome)
    found = widened(plain, members)
    assert [entry.probability for entry in found.entries] == [entry.probability for entry in plain.entries]
    assert widened(plain, []) is plain
    for before, entry in zip(plain.entries, found.entries, strict=True):
        y = torch.tensor([entry.y])
        each = [score_candidates(m, c, y, outcome=outcome).entries[0].probability for m, c in members]
        scale = torch.logit if outcome else torch.log
        centre = scale(torch.tensor([entry.probability]).double())
        width = half_width(centre, scale(torch.tensor(each).double().unsqueeze(1))).item()
        assert entry.low < entry.probability < entry.high
        if outcome:
            assert entry.low == pytest.approx(torch.sigmoid(centre - width).item())
        else:
            assert entry.low == pytest.approx(entry.probability * math.exp(-width), rel=1e-6)  # listed: exactly normal
            assert entry.high > before.high
