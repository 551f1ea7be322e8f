"""`evaluate` against brute-force listing, on small real fits of tables whose truth is known."""

import functools
import io
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from jebm_core import metrics
from jebm_core.errors import Cancelled, TableError
from jebm_core.evaluation import Evaluation, decoded, evaluate, measured
from jebm_core.evaluation.calibration import event_indicators
from jebm_core.evaluation.neighbours import neighbour_log_prob
from jebm_core.fitted import FittedModel
from jebm_core.fitting import fit
from jebm_core.proposals import TiltProposal
from jebm_core.settings import FitSettings
from jebm_core.tables import Examples, guess_roles, read_examples, read_table

CONTRACT = {
    *("n", "space", "nll", "nll_learned", "nll_independent", "f1", "f1_map", "subset_accuracy", "hamming_loss"),
    *("kendall_tau", "ece_marginal", "ece_joint", "brier", "log_partition"),
}
AUDIT = {
    *("method", "exact", "n", "mae", "bias", "r2", "rank_correlation", "ess_median", "pareto_k_max", "verdict"),
}
KINDS = ["subsets", "configurations", "rankings"]


def table_of(kind: str, rows: int, seed: int) -> pd.DataFrame:
    """Rows drawn from a known distribution: neighbours attract, the feature moves everything."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    columns: dict[str, object] = {"x_a": x}
    if kind == "subsets":
        space = np.array([[i >> j & 1 for j in range(6)] for i in range(64)])
        signs = 2 * space - 1
        score = 0.7 * (signs[:, :-1] * signs[:, 1:]).sum(1) + x[:, None] * signs[:, 0]
        y = space[choose(score, rng)]
        columns |= {f"y_{name}": y[:, j] for j, name in enumerate("abcdef")}
    elif kind == "configurations":
        space = np.array([[a, b, c] for a in range(3) for b in range(3) for c in range(2)])
        score = 1.5 * (space[:, 0] == space[:, 1]) + x[:, None] * space[:, 2] + 0.5 * (space[:, 0] == 2)
        y = space[choose(score, rng)]
        names = ("size", "colour", "result")
        columns |= {f"c_{name}": np.array(["p", "q", "r"])[y[:, j]] for j, name in enumerate(names)}
    else:
        utility = np.outer(x, [1.0, 0.3, -0.3, -1.0]) + rng.gumbel(size=(rows, 4))
        ranks = (-utility).argsort(1).argsort(1) + 1
        columns |= {f"r_{name}": ranks[:, j] for j, name in enumerate("abcd")}
    return pd.DataFrame(columns)


def choose(score: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw a row from the softmax of the scores."""
    score = np.broadcast_to(score, (len(score), score.shape[1])) if score.ndim == 2 else score
    return (score + rng.gumbel(size=score.shape)).argmax(1)


def examples_of(kind: str, rows: int, seed: int, *, like: FittedModel | None = None, x: bool = True) -> Examples:
    frame = table_of(kind, rows, seed)
    buffer = io.BytesIO()
    (frame if x else frame.drop(columns="x_a")).to_csv(buffer, index=False)
    table = read_table("t.csv", content=buffer.getvalue())
    return read_examples(table, guess_roles(table), like=None if like is None else like.record.schema)


@functools.cache
def fitted(kind: str, *, x: bool = True, **settings: Any) -> FittedModel:
    """A small fit, shared by the tests of evaluation."""
    torch.set_num_threads(1)
    return fit(examples_of(kind, 300, 0, x=x), FitSettings(epochs=12, **settings)).model


@functools.cache
def evaluated(kind: str) -> Evaluation:
    model = fitted(kind)
    return evaluate(model, examples_of(kind, 150, 1, like=model), bootstrap=100)


def listed(model: FittedModel, examples: Examples) -> tuple[Tensor, Tensor, Tensor]:
    """(every combination, its exact log-probability in each row [combination, row], place of the observed one)."""
    points = model.space.listing()
    context = model.context(examples.table.part(examples.keep))
    p = model.model.unnormalised(context)
    log_w = (p.reference.log_prob_of(points) + p.affinity_of(points)).double()
    y = torch.from_numpy(examples.outputs.values)
    place = (points[:, None] == y).all(-1).long().argmax(0)
    return points, log_w - log_w.logsumexp(0), place


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_are_those_of_listing(kind: str) -> None:
    model, e = fitted(kind), evaluated(kind)
    examples = examples_of(kind, 150, 1, like=model)
    points, log_p, place = listed(model, examples)
    rows = torch.arange(len(place))
    assert e.nll == pytest.approx(-float(log_p[place, rows].mean()), abs=1e-4)
    y = torch.from_numpy(examples.outputs.values)
    context = model.context(examples.table)
    assert e.nll_learned == pytest.approx(-float(model.log_prob(context, y).value.mean()), abs=1e-4)
    count = {tuple(c): int(n) for c, n in zip(model.seen.points.tolist(), model.seen.counts, strict=True)}
    share = [0.95 * count.get(tuple(row), 0) / 300 + 0.05 / len(points) for row in y.tolist()]
    assert e.nll_frequency == pytest.approx(-float(np.log(share).mean()), abs=1e-5)
    assert e.nll_neighbours == pytest.approx(-float(neighbour_log_prob(model, y).mean()), abs=1e-5)
    assert e.nll_neighbours < -float(np.log([0.05 / len(points)])[0])
    reference = model.model(context).reference.log_prob(y.unsqueeze(0)).mean()
    assert e.nll_reference == pytest.approx(-float(reference), abs=1e-4)
    if kind == "rankings":
        assert math.isnan(e.nll_independent)
    else:
        assert model.independent is not None
        own = model.independent(context).log_prob(y.unsqueeze(0)).mean()
        assert e.nll_independent == pytest.approx(-float(own), abs=1e-4)
        gap, low, high = e.differences["independent"]
        assert gap == pytest.approx(e.nll_independent - e.nll)
        assert low < gap < high
    assert e.intervals["nll"][0] < e.nll < e.intervals["nll"][1]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_brier_and_unseen_mass_are_those_of_listing(kind: str) -> None:
    model, e = fitted(kind), evaluated(kind)
    examples = examples_of(kind, 150, 1, like=model)
    points, log_p, place = listed(model, examples)
    y, p = points[place], log_p.exp()
    best = log_p.argmax(0)
    assert e.subset_accuracy == pytest.approx(float((best == place).double().mean()))
    rows = torch.arange(len(place))
    whole = 1 - 2 * p[place, rows] + p.square().sum(0)
    assert e.brier_joint == pytest.approx(float(whole.mean()), abs=1e-5)
    stated = p.T @ event_indicators(model.space, points).double()
    squares = (stated - event_indicators(model.space, y)).square().sum(1).mean()
    assert e.brier == pytest.approx(float(squares) / (3 if kind == "configurations" else stated.shape[1]), abs=1e-5)
    known = {tuple(c) for c in model.seen.points.tolist()}
    seen = torch.tensor([tuple(c) in known for c in points.tolist()])
    assert e.unseen.model.value == pytest.approx(1 - float(p[seen].sum(0).mean()), abs=1e-5)
    assert e.unseen.observed.value == pytest.approx(1 - float(seen[place].double().mean()))
    if kind == "subsets":
        value = metrics.example_f1(y.repeat_interleave(64, 0), points.repeat(150, 1)).reshape(150, 64).double()
        utility = torch.stack([metrics.example_f1(points, c.expand(64, -1)) for c in points]).double() @ p
        assert e.f1 == pytest.approx(float(value[rows, utility.argmax(0)].mean()), abs=1e-5)
        assert e.f1_map == pytest.approx(float(value[rows, best].mean()), abs=1e-5)
        assert math.isnan(e.kendall_tau)
    if kind == "rankings":
        assert 0 < e.kendall_tau <= 1
        assert math.isnan(e.hamming_loss)


@pytest.mark.parametrize("kind", KINDS)
def test_transform_lies_between_the_mass_above_and_that_with_the_observed(kind: str) -> None:
    model = fitted(kind)
    examples = examples_of(kind, 150, 1, like=model)
    _, log_p, place = listed(model, examples)
    rows = torch.arange(len(place))
    own = log_p[place, rows]
    above = torch.where(log_p > own + 1e-6, log_p.exp(), 0.0).sum(0).numpy()
    context = model.context(examples.table)
    found = decoded.decode_rows(model, context, torch.from_numpy(examples.outputs.values), 0, lambda share: None)
    assert (found["pit"] >= above - 1e-4).all()
    assert (found["pit"] <= above + own.exp().numpy() + 1e-4).all()


def test_samples_of_the_model_itself_are_covered() -> None:
    # Rows drawn from the model: the transform is uniform. Kolmogorov's test at level 1e-4, seed 3.
    from scipy import stats

    model = fitted("subsets")
    examples = examples_of("subsets", 1000, 5, like=model)
    _, log_p, _ = listed(model, examples)
    drawn = torch.distributions.Categorical(logits=log_p.T)
    torch.manual_seed(3)
    y = model.space.listing()[drawn.sample()]
    found = decoded.decode_rows(model, model.context(examples.table), y, 0, lambda share: None)
    assert stats.kstest(found["pit"], "uniform").pvalue > 1e-4


def test_contexts_that_repeat_are_computed_once_with_the_same_numbers() -> None:
    model = fitted("subsets")
    examples = examples_of("subsets", 20, 1, like=model)
    context = model.context(examples.table)
    y = torch.from_numpy(examples.outputs.values)
    twice = context.rows(torch.arange(20).repeat(2))
    once = decoded.decode_rows(model, context, y, 0, lambda share: None)
    both = decoded.decode_rows(model, twice, y.repeat(2, 1), 0, lambda share: None)
    for key in ("f1", "right", "top", "seen", "brier_joint"):
        np.testing.assert_allclose(both[key], np.tile(once[key], 2), atol=1e-5)
    uniform = np.random.default_rng(0).random(40)
    _, log_p, place = listed(model, examples)
    own = log_p[place, torch.arange(20)]
    above = torch.where(log_p > own + 1e-6, log_p.exp(), 0.0).sum(0).numpy()
    np.testing.assert_allclose(both["pit"], np.tile(above, 2) + uniform * np.tile(own.exp().numpy(), 2), atol=1e-4)


def test_draws_agree_with_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    # 150 rows of 1024 draws each: means of them are within about 0.01, and a decision that flips costs 0.007.
    model = fitted("subsets")
    examples = examples_of("subsets", 150, 1, like=model)
    monkeypatch.setattr(decoded, "MAX_LISTED", 0)
    monkeypatch.setattr(FittedModel, "proposal", lambda self: TiltProposal())
    drawn, exact = evaluate(model, examples, bootstrap=20), evaluated("subsets")
    assert drawn.draws["listed"] is False
    assert drawn.draws["effective_median"] > 50
    for key in ("f1", "subset_accuracy", "brier", "brier_joint", "ece_joint"):
        assert getattr(drawn, key) == pytest.approx(getattr(exact, key), abs=0.04), key
    assert drawn.unseen.model.value == pytest.approx(exact.unseen.model.value, abs=0.01)
    assert drawn.nll == exact.nll


@pytest.mark.parametrize("kind", KINDS)
def test_record_has_every_key_and_is_json(kind: str) -> None:
    record = evaluated(kind).to_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) >= CONTRACT
    assert set(record["log_partition"]) >= AUDIT
    assert {len(v) for v in record["log_partition_rows"].values()} == {record["log_partition"]["n"]}
    assert record["n"] == record["n_audited"] == 150
    assert [row["level"] for row in record["calibration"]["coverage"]] == [0.5, 0.8, 0.9, 0.95]


def test_same_seed_same_record() -> None:
    model = fitted("configurations")
    examples = examples_of("configurations", 60, 2, like=model)
    assert evaluate(model, examples).to_json() == evaluate(model, examples).to_json()


def test_without_features_there_is_one_context() -> None:
    model = fitted("configurations", x=False)
    e = evaluate(model, examples_of("configurations", 80, 1, like=model, x=False))
    assert e.n == 80
    assert e.log_partition is not None
    assert e.log_partition["n"] == 1


def test_a_model_without_interactions_is_its_own_independent_baseline() -> None:
    model = fitted("subsets", affinity="unary", reference="marginals")
    assert model.independent is None
    e = evaluate(model, examples_of("subsets", 60, 1, like=model))
    assert e.nll_independent == e.nll


def test_a_reference_that_knows_how_items_go_together_is_not_independent() -> None:
    model = fitted("subsets", affinity="unary")
    assert model.independent is not None
    e = evaluate(model, examples_of("subsets", 60, 1, like=model))
    assert e.nll_independent != e.nll


def test_subsampled_audit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "MAX_AUDITED", 30)
    model = fitted("subsets")
    e = evaluate(model, examples_of("subsets", 150, 1, like=model))
    assert (e.n, e.n_audited) == (150, 30)
    assert e.log_partition is not None
    assert e.log_partition["n"] == 30


def test_other_outputs_are_refused() -> None:
    with pytest.raises(TableError, match=r"t\.csv: expected the 6 targets"):
        evaluate(fitted("subsets"), examples_of("rankings", 30, 1))


def test_progress_grows_and_stopping_stops() -> None:
    model, told = fitted("subsets"), []
    examples = examples_of("subsets", 60, 1, like=model)
    evaluate(model, examples, on_progress=told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    with pytest.raises(Cancelled):
        evaluate(model, examples, should_stop=lambda: True)
