"""Recalibration of a model whose scores were doubled: the temperature 2 comes back, and all is normalised again."""

import copy

import pytest
import torch

from jebm_core.evaluation.calibration import reliability, row_resamples
from jebm_core.evaluation.changes import compare
from jebm_core.evaluation.measured import Measured, measure
from jebm_core.evaluation.recalibration import choose_temperature, halves, scale_affinity, with_temperature
from jebm_core.evaluation.vector_scaling import choose_vector, num_parts, parts_of, shift_head, with_vector
from jebm_core.fitted import FittedModel
from jebm_core.fitting import fit
from jebm_core.settings import FitSettings
from tests.test_evaluate import examples_of, fitted

AFFINITIES = [("subsets", "auto"), ("subsets", "set"), ("configurations", "lowrank"), ("rankings", "preference")]


def calibrate_events(part: Measured) -> float:
    """The calibration error of single events, as an evaluation has it."""
    resampled = row_resamples(len(part.places), 10, 0)
    return reliability(part.rows["events"], part.happened, resampled).ece


def doubled(model: FittedModel) -> FittedModel:
    joint = copy.deepcopy(model.model)
    scale_affinity(joint.affinity, 2.0)
    return FittedModel(joint, model.record, seen=model.seen, independent=model.independent, classifier=model.classifier)


@pytest.mark.parametrize(("kind", "affinity"), AFFINITIES)
def test_scaling_the_weights_scales_every_score(kind: str, affinity: str) -> None:
    model = fitted(kind, affinity=affinity)
    context, points = model.context(examples_of(kind, 20, 1, like=model).table), model.space.listing()
    before = model.model.unnormalised(context).affinity_of(points)
    after = doubled(model).model.unnormalised(context).affinity_of(points)
    torch.testing.assert_close(after, 2 * before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["subsets", "rankings"])
def test_doubled_scores_get_their_temperature_back(kind: str) -> None:
    # Under a uniform reference all that is known is in g, so that doubling it does harm.
    model = fit(examples_of(kind, 600, 0), FitSettings(epochs=20, reference="uniform")).model
    wrong, examples = doubled(model), examples_of(kind, 600, 3, like=model)
    choose, judge = halves(examples, 0)
    assert not set(choose.keep) & set(judge.keep)
    own, found = choose_temperature(model, choose), choose_temperature(wrong, choose)
    assert found.value == pytest.approx(2 * own.value, rel=1e-3)  # g doubled is T doubled, whatever T fits g
    assert 1.5 < found.value < 2.7
    assert found.low < found.value < found.high
    mended = with_temperature(wrong, found.value, choose)
    measured = [measure(m, judge) for m in (wrong, mended)]
    before, after = (float(part.nll["nll"].mean()) for part in measured)
    assert after < before - 0.01
    changes = {change.name: change for change in compare(*measured)}
    assert (changes["nll"].before, changes["nll"].after) == pytest.approx((before, after))
    events = [calibrate_events(part) for part in measured]
    assert (changes["ece_marginal"].before, changes["ece_marginal"].after) == pytest.approx(events)
    assert all(one.low < one.after - one.before < one.high for one in changes.values())
    assert changes["nll"].high < 0
    assert changes["ece_marginal"].high < 0
    points, context = mended.space.listing(), mended.context(judge.table.part(judge.keep))
    total = mended.model(context).log_prob_of(points).logsumexp(0)
    low, high = mended.record.interval
    assert float(total.abs().median()) < 0.05 + max(-low, high)


@pytest.mark.parametrize(("kind", "affinity"), [*AFFINITIES, ("rankings", "birkhoff"), ("rankings", "auto")])
def test_a_shift_of_the_weights_shifts_every_score_by_its_parts(kind: str, affinity: str) -> None:
    model = fitted(kind, affinity=affinity)
    context, points = model.context(examples_of(kind, 20, 1, like=model).table), model.space.listing()
    head = copy.deepcopy(model.model.affinity.linear)
    shift = torch.randn(num_parts(head, model.space), generator=torch.Generator().manual_seed(0))
    expected = (
        model.model.unnormalised(context).affinity_of(points) + (parts_of(head, model.space, points) @ shift)[:, None]
    )
    joint = copy.deepcopy(model.model)
    shift_head(joint.affinity.linear, shift)
    torch.testing.assert_close(joint.unnormalised(context).affinity_of(points), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["subsets", "rankings"])
def test_shifted_and_doubled_scores_are_mended_together(kind: str) -> None:
    model = fit(examples_of(kind, 600, 0), FitSettings(epochs=20, reference="uniform")).model
    wrong = doubled(model)
    parts = num_parts(wrong.model.affinity.linear, wrong.space)
    harm = torch.linspace(-1.0, 1.0, parts)
    shift_head(wrong.model.affinity.linear, harm)
    choose, judge = halves(examples_of(kind, 600, 3, like=model), 0)
    found = choose_vector(wrong, choose)
    assert 1.5 < found.temperature < 2.7
    # The harm was done to doubled scores: what takes it back is at the scale of the mended ones.
    left = found.shift + harm / found.temperature
    assert float((left - left.mean()).abs().mean()) < 0.3 < float(harm.abs().mean())
    mended, alone = (
        with_vector(wrong, found, choose),
        with_temperature(wrong, choose_temperature(wrong, choose).value, choose),
    )
    before, after, by_temperature = (float(measure(m, judge).nll["nll"].mean()) for m in (wrong, mended, alone))
    assert after < by_temperature - 0.01 < before
    total = mended.model(mended.context(judge.table.part(judge.keep))).log_prob_of(mended.space.listing()).logsumexp(0)
    low, high = mended.record.interval
    assert float(total.abs().median()) < 0.05 + max(-low, high)


def test_the_slopes_of_the_vector_are_those_of_its_loss_by_listing() -> None:
    """At the optimum, what is expected of every part is what was observed, less the pull of the prior."""
    model = fitted("subsets")
    examples = examples_of("subsets", 16, 5, like=model)
    found = choose_vector(model, examples)
    assert float((found.shift / found.n).abs().max()) > 0.03  # so that the prior is no rounding
    mended = with_vector(model, found, examples)
    points, context = mended.space.listing(), mended.context(examples.table.part(examples.keep))
    log_p = mended.model(context).log_prob_of(points)
    psi = parts_of(mended.model.affinity.linear, mended.space, points)
    expected = (log_p.softmax(0).T @ psi).mean(0)
    observed = parts_of(mended.model.affinity.linear, mended.space, torch.from_numpy(examples.outputs.values)).mean(0)
    torch.testing.assert_close(expected, observed - found.shift / found.n, atol=0.01, rtol=0)
