"""Models without features: one τ, settled where all is listed; a prior on pairs; one answer that serves every row."""

import numpy as np
import pandas as pd
import pytest
import torch

from jebm_core import FitSettings, fit, guess_roles, read_examples, read_table
from jebm_core.model import Context
from jebm_core.networks import FullPairwiseHead
from jebm_core.preparation import prepare
from jebm_core.proposals import ListingProposal, TiltProposal
from jebm_core.recipes import build_model, choose_architecture
from jebm_core.spaces import Subsets
from jebm_core.steps import Plan, Rows, make_optimizer, training_step
from jebm_core.tables import Examples
from jebm_core.training import Trainer
from tests.oracle import seeded

SPACE = Subsets(("a", "b", "c", "d", "e"))


def rows(count: int = 80) -> Rows:
    y = (torch.rand(count, 5, generator=seeded(1)) < 0.4).long()
    y[:, 1] = y[:, 0]
    return Rows(Context(torch.zeros(count, 0), torch.zeros(count, 0)), y)


def model_of(data: Rows):
    torch.manual_seed(0)
    return build_model(SPACE, choose_architecture(SPACE, data, FitSettings()), data.y)


def pair_weights(penalty: float) -> torch.Tensor:
    data = rows()
    model = model_of(data)
    head = model.affinity.interaction
    assert isinstance(head, FullPairwiseHead)
    torch.nn.init.constant_(head.constant, 0.5)
    training_step(
        model, make_optimizer(model, Plan()), data, ListingProposal(SPACE), samples=2, clip=1e6, penalty=penalty
    )
    gradient = head.constant.grad
    assert gradient is not None
    return gradient


def test_the_prior_on_pairs_is_part_of_the_gradient():
    torch.testing.assert_close(pair_weights(3.0) - pair_weights(0.0), torch.full((10,), 1.5))


def test_tau_is_where_the_objective_is_least_before_every_step():
    data = rows()
    model = model_of(data)
    optimizer = make_optimizer(model, Plan(learning_rate=0.05))
    for _ in range(5):
        training_step(model, optimizer, data, ListingProposal(SPACE), samples=2)
    info = training_step(model, optimizer, data, ListingProposal(SPACE), samples=2)
    assert float(info.total_mass) == pytest.approx(1.0, abs=1e-5)
    loose = model_of(data)
    optimizer = make_optimizer(loose, Plan(learning_rate=0.05))
    masses = [float(training_step(loose, optimizer, data, TiltProposal(), samples=2).total_mass) for _ in range(6)]
    assert max(abs(mass - 1) for mass in masses) > 1e-3  # nothing is settled from draws


@pytest.mark.parametrize("passes", [1, 3])
def test_an_epoch_passes_over_the_rows_as_often_as_planned(passes: int):
    data = rows()
    plan = Plan(epochs=1, batch_size=len(data.y), passes=passes)
    trainer = Trainer(model_of(data), data, data, [ListingProposal(SPACE)], plan, seed=0, clock=lambda: 0.0)
    trainer.epoch()
    steps = {int(state["step"]) for state in trainer.optimizer.state.values()}
    assert steps == {passes}


def examples() -> Examples:
    frame = pd.DataFrame(rows(120).y.numpy(), columns=[f"y_{name}" for name in SPACE.items])
    table = read_table("t.csv", content=frame.to_csv(index=False).encode())
    return read_examples(table, guess_roles(table))


def test_one_answer_serves_all_rows():
    model = fit(examples(), FitSettings(epochs=3)).model
    many, one = Context(torch.zeros(7, 0), torch.zeros(7, 0)), Context(torch.zeros(1, 0), torch.zeros(1, 0))
    assert torch.equal(model.marginals(many), model.marginals(one).expand(7, -1))
    for utility in ("map", "f1", "hamming"):
        found, alone = model.predict(many, utility), model.predict(one, utility)
        assert torch.equal(found.y, alone.y.expand(7, -1))
        assert torch.equal(found.expected_utility, alone.expected_utility.expand(7))
    y, effective = model.sample(many, 3000, generator=seeded(5))
    assert y.shape == (3000, 7, 5)
    assert effective.shape == (7,)
    # 5 standard errors of 21,000 draws; every row has draws of its own
    assert (y.double().mean((0, 1)) - model.marginals(one)[0]).abs().max() < 0.018
    assert not torch.equal(y[:, 0], y[:, 1])


def test_whole_combinations_can_be_kept_for_validation():
    prepared = prepare(examples(), FitSettings(validation="combinations"), torch.device("cpu"))
    train = {tuple(row) for row in prepared.train.y.tolist()}
    assert len(prepared.valid.y) >= 8
    assert not train & {tuple(row) for row in prepared.valid.y.tolist()}
    by_rows = prepare(examples(), FitSettings(), torch.device("cpu"))
    assert {tuple(row) for row in by_rows.train.y.tolist()} & {tuple(row) for row in by_rows.valid.y.tolist()}
    assert np.array_equal(np.sort(np.r_[prepared.train.y.numpy(), prepared.valid.y.numpy()], 0).sum(0),
                          examples().outputs.values.sum(0))  # fmt: skip


def test_the_last_epochs_fit_every_row_there_is():
    """At the optimum of an exponential family the model's marginals are those of the rows it was fitted to."""
    data = rows(120)
    train, valid = data.rows(slice(0, 90)), data.rows(slice(90, 120))
    proposal = ListingProposal(SPACE)

    def marginals(settling: int) -> torch.Tensor:
        model = model_of(train)
        plan = Plan(epochs=60, batch_size=90, passes=5, learning_rate=0.02, settling=settling)
        trainer = Trainer(model, train, valid, [proposal], plan, seed=0, clock=lambda: 0.0)
        trainer.run()
        p = model(data.context.condensed())
        points = SPACE.listing()
        return p.log_prob_of(points).exp().T.double() @ points.double()

    everything, some = data.y.double().mean(0), train.y.double().mean(0)
    assert (everything - some).abs().max() > 0.02
    torch.testing.assert_close(marginals(20)[0], everything, atol=2e-3, rtol=0)
    assert (marginals(0)[0] - everything).abs().max() > 0.01
