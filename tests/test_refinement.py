"""Finishing the log-partition: g stays, τ comes closer, held-out contexts are never worse off."""

import pytest
import torch
from torch import Tensor

from jebm_core.errors import Cancelled
from jebm_core.model import Context, JointModel
from jebm_core.proposals import ListingProposal
from jebm_core.recipes import Architecture, build_model
from jebm_core.references import UniformReference
from jebm_core.refinement import mixed_contexts, refine_log_partition
from jebm_core.tree_references import TiltedTreeReference
from tests import oracle
from tests.contract.cases import some_trees, subsets
from tests.oracle import seeded, uniform

SPACE = subsets(4)


def model_and_contexts(correction: str = "mlp") -> tuple[JointModel, Context, Context]:
    """A model with strong interactions whose δ still is zero."""
    shape = Architecture(3, (8,), 0.3, "pairwise", 2, "uniform", "kl", "meanfield", 0, correction)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_model(SPACE, shape, SPACE.listing())
    with torch.no_grad():
        for number, weight in enumerate(model.affinity.parameters()):
            weight.copy_(uniform(number, *weight.shape))
    train, valid = (Context(uniform(seed, 60, 3, spread=2.0), torch.zeros(60, 0)) for seed in (100, 101))
    model.fit_feature_scale(train)
    return model, train, valid


def error(model: JointModel, context: Context) -> float:
    model.eval()
    with torch.no_grad():
        p = model(context)
        return (p.log_partition - oracle.listed(p).log_partition).abs().mean().item()


def test_log_partition_comes_closer_and_nothing_else_moves():
    model, train, valid = model_and_contexts()
    others: dict[str, Tensor] = {
        name: value.clone() for name, value in model.state_dict().items() if not name.startswith("correction")
    }
    before = error(model, valid)
    first, last = refine_log_partition(
        model,
        train,
        valid,
        ListingProposal(SPACE),
        samples=1,
        contexts=256,
        steps=150,
        batch_size=64,
        generator=seeded(2),
    )
    assert last < first
    assert error(model, valid) < before / 2
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in others.items())
    assert all(weight.grad is None for weight in model.affinity.parameters())


@pytest.mark.parametrize("learning_rate", [0.0, 1e3])
def test_held_out_contexts_are_never_worse_off(learning_rate: float):
    model, train, valid = model_and_contexts()
    kept = {name: value.clone() for name, value in model.correction.state_dict().items()}
    before, after = refine_log_partition(
        model,
        train,
        valid,
        ListingProposal(SPACE),
        samples=1,
        contexts=128,
        steps=100,
        learning_rate=learning_rate,
        generator=seeded(3),
    )
    assert after <= before
    if after == before:
        assert all(torch.equal(value, model.correction.state_dict()[name]) for name, value in kept.items())


def test_the_objective_reported_is_the_one_of_the_listing():
    model, train, valid = model_and_contexts("constant")
    before, _ = refine_log_partition(model, train, valid, ListingProposal(SPACE), samples=1, contexts=8, steps=1)
    with torch.no_grad():
        p = model(valid)
        gap = oracle.listed(p).log_partition - p.log_partition
    assert before == pytest.approx((gap.exp() - 1 - gap).mean().item(), rel=1e-4)


def test_refinement_stops_when_asked():
    model, train, valid = model_and_contexts()
    asked: list[bool] = []

    def on_chunk(done: int, of: int) -> None:
        asked.append(done <= of)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):  # while log Z is estimated, before anything is known
        refine_log_partition(
            model, train, valid, ListingProposal(SPACE), samples=1, generator=seeded(4), on_chunk=on_chunk
        )
    assert asked == [True]


def test_mixed_contexts_lie_between_two_rows_and_nearer_to_the_first():
    context = Context(uniform(5, 2, 3), uniform(6, 2, 1))
    mixed = mixed_contexts(UniformReference(SPACE), context, 300, generator=seeded(7))
    low, high = context.x.amin(0), context.x.amax(0)
    assert ((mixed.x >= low - 1e-6) & (mixed.x <= high + 1e-6)).all()
    share = (mixed.x - context.x[0]) / (context.x[1] - context.x[0])
    torch.testing.assert_close(share[:, :1].expand(-1, 3), share, atol=1e-4, rtol=1e-4)
    of_reference = (mixed.reference - context.reference[0]) / (context.reference[1] - context.reference[0])
    torch.testing.assert_close(of_reference, share[:, :1], atol=1e-4, rtol=1e-4)
    assert (torch.minimum(share, 1 - share) <= 0.5 + 1e-5).all()
    again = mixed_contexts(UniformReference(SPACE), context, 300, generator=seeded(7))
    assert torch.equal(mixed.x, again.x)


def test_what_was_computed_from_inputs_is_computed_again_where_they_are_mixed():
    reference = TiltedTreeReference(SPACE, some_trees(SPACE))
    inputs = reference.complete(uniform(6, 2, SPACE.num_statistics, spread=4.0))
    mixed = mixed_contexts(reference, Context(uniform(5, 2, 3), inputs), 20, generator=seeded(7)).reference
    torch.testing.assert_close(mixed, reference.complete(mixed[:, : SPACE.num_statistics]))
