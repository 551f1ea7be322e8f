"""Fitted models of all three kinds: what they answer against the listing, and what their folders give back."""

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jebm_core.errors import Cancelled, ModelFolderError, SpecError
from jebm_core.fitted import FittedModel, load
from jebm_core.fitting import Fit, fit
from jebm_core.metrics import example_f1
from jebm_core.model import Context
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace
from jebm_core.tables import Examples, guess_roles, read_examples, read_table
from tests import oracle
from tests.contract.cases import configurations, rankings, subsets
from tests.oracle import FALSE_ALARM, seeded

ROWS = 120
LETTERS = "abcdefghijklmnop"
SPACES: dict[str, OutputSpace] = {
    "subsets": subsets(4),
    "configurations": configurations(3, 2, 2),
    "rankings": rankings(4),
    "large": subsets(15),
}
KINDS = ("subsets", "configurations", "rankings")


def examples(kind: str) -> Examples:
    """A table with two features that outputs depend on."""
    space = SPACES[kind]
    x = np.random.default_rng(3).normal(size=(ROWS, 2))
    theta = torch.tensor(x, dtype=torch.float32) @ oracle.uniform(4, 2, space.num_statistics, spread=2.0)
    y = space.linear_sample(theta, 1, generator=seeded(5))[0].long()
    prefix = {"configurations": "c_", "rankings": "r_"}.get(kind, "y_")
    header = ["x_p", "x_q", *(f"{prefix}{LETTERS[i]}" for i in range(space.num_items))]
    shown = y + 1 if kind == "rankings" else y
    cells = [[f"o{v}" if kind == "configurations" else str(v) for v in row] for row in shown.tolist()]
    lines = [",".join([*(f"{v:.4f}" for v in a), *b]) for a, b in zip(x.tolist(), cells, strict=True)]
    table = read_table("t.csv", content="\n".join([",".join(header), *lines]).encode())
    return read_examples(table, guess_roles(table))


@cache
def fitted(kind: str, reference: str = "auto", divergence: str = "kl") -> Fit:
    affinity = "preference" if kind == "rankings" else "auto"
    settings = FitSettings(reference=reference, divergence=divergence, affinity=affinity, epochs=6, samples=8)
    return fit(examples(kind), settings)


def model_and_context(kind: str, reference: str = "auto", divergence: str = "kl") -> tuple[FittedModel, Context]:
    model = fitted(kind, reference, divergence).model
    return model, model.context(examples(kind).table).rows(slice(0, 40))


def log_probabilities(model: FittedModel, context: Context) -> Tensor:
    """log p(y|x) of the whole listing, normalised by summing it up: [combination, row]."""
    with torch.no_grad():
        found = model.model(context).log_prob_of(model.space.listing()).double()
    return found.log_softmax(0)


every_kind = pytest.mark.parametrize("kind", KINDS)
every_model = pytest.mark.parametrize(
    ("kind", "reference", "divergence"),
    [*((kind, "auto", "kl") for kind in KINDS), ("subsets", "logistic", "kl"), ("subsets", "auto", "chi2")],
)


@every_model
def test_probabilities_sum_to_one_within_the_interval(kind: str, reference: str, divergence: str):
    model, context = model_and_context(kind, reference, divergence)
    points = model.space.listing()
    total = []
    for row in range(len(context.x)):
        one = context.rows(slice(row, row + 1))
        repeated = Context(one.x.expand(len(points), -1), one.reference.expand(len(points), -1))
        total.append(model.log_prob(repeated, points).value.double().logsumexp(0))
    gap = -torch.stack(total)  # τ − log Z_q(x), for kl
    low, high = model.record.interval
    inside = ((gap >= low - 1e-3) & (gap <= high + 1e-3)).double().mean().item()
    assert inside >= 0.6  # about nine rows in ten are promised; 18 held-out rows make that as uncertain as Beta(17, 2)
    assert gap.abs().mean() < 0.5
    one = model.log_prob(context, points[:1].expand(len(context.x), -1))
    torch.testing.assert_close(one.low, one.value + low)
    torch.testing.assert_close(one.high, one.value + high)


@every_model
def test_marginals_and_draws_are_those_of_the_listing(kind: str, reference: str, divergence: str):
    model, context = model_and_context(kind, reference, divergence)
    context = context.rows(slice(0, 3))
    probabilities = log_probabilities(model, context).exp().T
    found = model.marginals(context, generator=seeded(1))
    torch.testing.assert_close(found.double(), oracle.marginals(model.space, probabilities), atol=1e-4, rtol=1e-4)
    y, effective = model.sample(context, 4000, generator=seeded(2))  # seed 2; false-alarm rate 1e-4 a row
    index = oracle.index_of(model.space, y)
    assert (index >= 0).all()
    assert effective.shape == (3,)
    for row in range(3):
        assert oracle.fit_p_value(index[:, row], probabilities[row]) > FALSE_ALARM


@every_model
def test_map_is_the_best_of_the_listing(kind: str, reference: str, divergence: str):
    model, context = model_and_context(kind, reference, divergence)
    found = model.predict(context, "map")
    best = log_probabilities(model, context).max(0)
    chosen = log_probabilities(model, context).gather(0, oracle.index_of(model.space, found.y)[None])[0]
    torch.testing.assert_close(chosen, best.values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.expected_utility.double(), best.values.exp(), atol=1e-4, rtol=1e-3)


def utility(name: str, candidates: Tensor, points: Tensor) -> Tensor:
    """[candidate, combination]"""
    a, b = candidates.unsqueeze(1).expand(-1, len(points), -1), points.expand(len(candidates), -1, -1)
    if name == "hamming":
        return (a == b).double().mean(-1)
    if name == "f1":
        return example_f1(b.reshape(-1, b.shape[-1]), a.reshape(-1, a.shape[-1])).double().reshape(a.shape[:2])
    i, j = torch.triu_indices(points.shape[-1], points.shape[-1], offset=1)
    return ((a[..., i] - a[..., j]).sign() * (b[..., i] - b[..., j]).sign()).double().mean(-1)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("subsets", "f1"), ("subsets", "hamming"), ("configurations", "hamming"), ("rankings", "kendall")],
)
def test_other_utilities_are_the_best_of_the_listing(kind: str, name: str):
    model, context = model_and_context(kind)
    found = model.predict(context, name)
    points = model.space.listing()
    value = utility(name, points, points) @ log_probabilities(model, context).exp()
    chosen = value.gather(0, oracle.index_of(model.space, found.y)[None])[0]
    torch.testing.assert_close(chosen, value.amax(0), atol=1e-4, rtol=1e-4)


@every_kind
def test_a_utility_for_other_outputs_is_refused(kind: str):
    model, context = model_and_context(kind)
    with pytest.raises(SpecError, match=f"^Utility 'luck' does not apply to {kind}; choose one of map, "):
        model.predict(context, "luck")


@pytest.mark.parametrize("divergence", ["kl", "chi2"])
def test_draws_of_a_space_too_large_to_list_stand_for_the_model(divergence: str):
    """Marginals from weighted draws against the listing of 2^15, and MAP against every draw."""
    model, context = model_and_context("large", "auto", divergence)
    context = context.rows(slice(0, 2))
    log_p = log_probabilities(model, context)
    expected = oracle.marginals(model.space, log_p.exp().T)
    found = torch.stack([model.marginals(context, generator=seeded(seed)) for seed in range(12)])
    z = oracle.z_scores(found.double(), expected)
    assert z.abs().max() < 9  # 60 tests with 11 degrees of freedom, seeds 0 to 11; false-alarm rate about 1e-4
    if divergence == "kl":
        assert (found.double().mean(0) - expected).abs().max() < 0.05


def test_map_of_a_large_space_is_the_most_probable_draw():
    model, context = model_and_context("large")
    context = context.rows(slice(0, 10))
    decoded = model.predict(context, "map", generator=seeded(3))
    chosen = model.log_prob(context, decoded.y).value
    for rows, draws in model.weighted_draws(context, generator=seeded(3)):
        with torch.no_grad():
            of_draws = model.model(context.rows(rows)).log_prob(draws.y)
        assert (chosen[rows] >= of_draws.amax(0) - 1e-4).all()
    torch.testing.assert_close(decoded.expected_utility, chosen.exp(), rtol=0.5, atol=0.01)


# ---- seen combinations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SPACES)
def test_nearest_seen_is_the_nearest_of_all_pairs(kind: str):
    model = fitted(kind).model
    space = SPACES[kind]
    y = space.linear_sample(torch.zeros(50, space.num_statistics), 1, generator=seeded(6))[0].long()
    distance, place = model.seen.nearest(y)
    if kind == "rankings":
        i, j = torch.triu_indices(space.num_items, space.num_items, offset=1)
        apart = (y[:, None, i] < y[:, None, j]) != (model.seen.points[:, i] < model.seen.points[:, j])
    else:
        apart = y[:, None] != model.seen.points
    pairs = apart.sum(-1)
    assert torch.equal(distance, pairs.amin(1))
    assert torch.equal(pairs.gather(1, place[:, None])[:, 0], distance)
    assert torch.equal(model.seen.contains(y), distance == 0)


@pytest.mark.parametrize("kind", SPACES)
def test_seen_combinations_are_those_of_the_table(kind: str):
    model = fitted(kind).model
    y = torch.from_numpy(examples(kind).outputs.values)
    expected, counts = torch.unique(y, dim=0, return_counts=True)
    assert len(model.seen) == len(expected)
    assert model.seen.counts.sum() == ROWS
    assert (model.seen.counts.diff() <= 0).all()
    for combination, count in zip(expected, counts, strict=True):
        assert model.seen.counts[(model.seen.points == combination).all(1)].tolist() == [count]
    assert model.seen.contains(y).all()


# ---- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reference"),
    [*((kind, "auto") for kind in SPACES), ("subsets", "logistic"), ("configurations", "candidates")],
)
def test_a_loaded_model_has_the_same_numbers(kind: str, reference: str, tmp_path: Path):
    model, context = model_and_context(kind, reference)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    table, y = examples(kind).table, torch.from_numpy(examples(kind).outputs.values)
    assert again.record == model.record
    first, second = (m.log_prob(m.context(table), y) for m in (model, again))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(again.marginals(context, generator=seeded(1)), model.marginals(context, generator=seeded(1)))
    assert torch.equal(again.seen.nearest(y)[1], model.seen.nearest(y)[1])
    assert (again.independent is None) == (model.independent is None)
    if model.independent is not None:
        both = [m.marginals(context, independent=True, generator=seeded(1)) for m in (model, again)]
        assert torch.equal(both[0], both[1])
    assert all(not weight.requires_grad for weight in again.model.parameters())
    assert not again.model.training


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_and_context("subsets", "logistic")[0].save(tmp_path / "model")
    return tmp_path / "model"


def complaint(folder: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        load(folder)
    sentence = str(caught.value)
    assert sentence.startswith((f"{folder}: expected ", "reference.skops: expected "))
    assert sentence.endswith(".")
    return sentence


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, folder: Path):
    (folder / name).unlink()
    assert f"found no {name}; give the folder that was written by --out." in complaint(folder)


def test_a_folder_that_is_not_there_is_named(folder: Path):
    assert "expected a model folder with model.json and model.safetensors" in complaint(folder / "elsewhere")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "reference.skops"])
@pytest.mark.parametrize("how", ["half", "empty"])
def test_a_damaged_file_is_an_error_for_the_person(name: str, how: str, folder: Path):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2] if how == "half" else b"")
    assert "damaged" in complaint(folder)


def test_another_format_is_named(folder: Path):
    record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    (folder / "model.json").write_text(json.dumps({**record, "format": 99}), encoding="utf-8")
    assert complaint(folder).endswith("expected a model of format 2, found 99; fit it again with this version.")


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2}'])
def test_json_of_something_else_is_an_error_for_the_person(content: str, folder: Path):
    (folder / "model.json").write_text(content, encoding="utf-8")
    complaint(folder)


def test_numbers_of_another_model_are_an_error_for_the_person(folder: Path, tmp_path: Path):
    model_and_context("rankings")[0].save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder / "model.safetensors")
    complaint(folder)


@pytest.mark.parametrize("name", ["seen", "model.reference"])
def test_numbers_that_lack_something_are_an_error_for_the_person(name: str, tmp_path: Path):
    model_and_context("subsets")[0].save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if not k.startswith(name)}, tmp_path / "model.safetensors")
    complaint(tmp_path)


def test_a_lost_classifier_is_an_error_for_the_person(folder: Path):
    (folder / "reference.skops").unlink()
    complaint(folder)


class Unheard:
    """A type that nobody vouches for."""


def test_a_tampered_classifier_is_refused(folder: Path):
    skops.io.dump([Unheard()], folder / "reference.skops")
    assert "Unheard" in complaint(folder)


# ---- the fit itself --------------------------------------------------------------------------------------------------


def test_a_cancelled_fit_goes_on_with_the_numbers_of_an_unbroken_one(tmp_path: Path):
    data, unbroken = examples("subsets"), fitted("subsets")
    settings = unbroken.model.record.settings
    stages: list[str] = []
    before = torch.get_rng_state()
    with pytest.raises(Cancelled):
        fit(
            data,
            settings,
            checkpoint=tmp_path,
            on_progress=lambda progress: stages.append(progress.stage),
            should_stop=lambda: stages.count("training") >= 2,
        )
    assert (tmp_path / "checkpoint.safetensors").exists()
    resumed = fit(data, settings, checkpoint=tmp_path)
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone
    first, second = (f.model.model.state_dict() for f in (unbroken, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert resumed.model.record.interval == unbroken.model.record.interval
    epochs = [p.epoch for p in resumed.history if p.stage == "training"]
    assert epochs == [p.epoch for p in unbroken.history if p.stage == "training"]
    assert epochs == list(range(1, len(epochs) + 1))
    assert unbroken.stop_reason == resumed.stop_reason


def test_one_seed_gives_one_fit():
    first = fitted("configurations").model
    again = fit(examples("configurations"), first.record.settings).model
    numbers, others = first.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(numbers[name], others[name]) for name in numbers)
    assert first.record.interval == again.record.interval
