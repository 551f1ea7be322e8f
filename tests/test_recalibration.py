"""Recalibration of a model whose scores were doubled: the temperature 2 comes back, and all is normalised again."""

import copy

import pytest
import torch

from jebm_core.evaluation.measured import measure
from jebm_core.evaluation.recalibration import choose_temperature, halves, scale_affinity, with_temperature
from jebm_core.fitted import FittedModel
from jebm_core.fitting import fit
from jebm_core.settings import FitSettings
from tests.test_evaluate import examples_of, fitted

AFFINITIES = [("subsets", "auto"), ("subsets", "set"), ("configurations", "lowrank"), ("rankings", "preference")]


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
    before, after = (float(measure(m, judge).nll["nll"].mean()) for m in (wrong, mended))
    assert after < before - 0.01
    points, context = mended.space.listing(), mended.context(judge.table.part(judge.keep))
    total = mended.model(context).log_prob_of(points).logsumexp(0)
    low, high = mended.record.interval
    assert float(total.abs().median()) < 0.05 + max(-low, high)
