"""Everything that computes stays on the device of its inputs and never waits for it.

On torch's ``meta`` device tensors have shapes but no numbers, so that reading a number, indexing by a mask or a loop
that depends on data fails at once. What meta lets pass, a tensor of another device in the same operation, is refused by
a dispatch mode.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jebm_core.evaluation.annealing import anneal
from jebm_core.evaluation.partition import importance_log_partition, listed_log_partition, listed_multiplier
from jebm_core.losses import effective_share, estimated_log_partition, joint_objective, score_draws, total_mass
from jebm_core.model import Context, JointModel
from jebm_core.proposals import (
    AnchoredProposal,
    ListingProposal,
    MeanFieldProposal,
    Proposal,
    ReferenceProposal,
    TiltProposal,
)
from jebm_core.recipes import Architecture, build_model
from jebm_core.refinement import _objective, _targets, mixed_contexts
from jebm_core.spaces import OutputSpace
from jebm_core.steps import Plan, Rows, make_optimizer, training_step
from tests.contract.cases import RULED, WEIGHING, configurations, distinct_outputs, rankings, some_outputs, subsets

ROWS = 6
MOVES = ("_to_copy", "copy_")


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices; numbers (no axes) and explicit moves pass."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.ndim > 0]
        devices = {t.device.type for t in tensors}
        if len(devices) > 1 and func.overloadpacket.__name__ not in MOVES:
            raise AssertionError(f"{func} was given tensors of {sorted(devices)}")
        return func(*args, **kwargs)


@pytest.fixture(autouse=True)
def one_device() -> Iterator[None]:
    with OneDevice():
        yield


def test_two_devices_in_one_operation_are_noticed():
    with pytest.raises(AssertionError, match=r"cpu.*meta"):
        torch.zeros(3, device="meta") + torch.zeros(3)
    with pytest.raises(AssertionError, match=r"cpu.*meta"):
        torch.zeros(3, device="meta")[torch.tensor([0])]
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.zeros(3, device="meta").sum().item()


SPACES: dict[str, OutputSpace] = {
    "subsets": subsets(4),
    "configurations": configurations(3, 1, 2),
    "rankings": rankings(3),
    "ruled": RULED["ruled configurations"],
    "weighing": WEIGHING["subsets"],
}
CHOICES = ("pairwise", "pairwise-constant", "lowrank", "lowrank-constant", "set", "unary")
ORDERS = ("unary", "permutahedron", "birkhoff", "preference")
AFFINITIES = [(space, a) for space in SPACES for a in (ORDERS if space == "rankings" else CHOICES)]
REFERENCES = ("uniform", "marginals", "candidates", "predicted", "stacked")


def make(
    space: OutputSpace,
    affinity: str = "unary",
    *,
    base: str = "zero",
    reference: str = "uniform",
    divergence: str = "kl",
    correction: str = "mlp",
) -> tuple[JointModel, Rows]:
    y = some_outputs(space, ROWS)
    candidates = len(distinct_outputs(space, ROWS))
    trees = 3 if reference.endswith("trees") else 0
    kind = "stacked" if reference == "stacked on trees" else reference
    shape = Architecture(3, (8,), 0.5, affinity, 2, kind, divergence, base, candidates, correction, candidates, trees)
    model = build_model(space, shape, y)
    context = Context(torch.zeros(ROWS, 3), torch.zeros(ROWS, model.reference.input_width))
    return model.to("meta"), Rows(context, y).to("meta")


def proposals(model: JointModel, rows: Rows) -> dict[str, Proposal]:
    p = model.unnormalised(rows.context)
    found: dict[str, Proposal] = {
        "reference": ReferenceProposal(),
        "tilt": TiltProposal(),
        "listing": ListingProposal(model.space, "meta"),
    }
    if p.has_mean_field:
        anchors = distinct_outputs(model.space).to("meta")
        found |= {"meanfield": MeanFieldProposal(), "anchored": AnchoredProposal(model.space, anchors)}
    return found


@pytest.mark.parametrize(("space", "affinity"), AFFINITIES)
def test_training_steps_run_with_every_affinity_and_proposal(space: str, affinity: str):
    model, rows = make(SPACES[space], affinity)
    optimizer = make_optimizer(model, Plan())
    for name, proposal in proposals(model, rows).items():
        info = training_step(model, optimizer, rows, proposal, samples=5)
        assert info.objective.device.type == "meta", name
        assert all(weight.grad is not None for weight in model.affinity.linear.parameters())


@pytest.mark.parametrize(
    ("space", "reference"),
    # rules that weigh go with an exponential family only
    [(s, r) for s in SPACES for r in REFERENCES if s != "weighing" or r not in ("candidates", "stacked")]
    + [(s, r) for s in ("subsets", "configurations") for r in ("trees", "stacked on trees")],
)
def test_training_steps_run_with_every_reference(space: str, reference: str):
    model, rows = make(SPACES[space], reference=reference)
    for proposal in proposals(model, rows).values():
        training_step(model, make_optimizer(model, Plan()), rows, proposal, samples=5)


@pytest.mark.parametrize("base", ["zero", "tilt", "meanfield", "anchored"])
@pytest.mark.parametrize("affinity", ["pairwise", "lowrank", "unary"])
@pytest.mark.parametrize("space", ["subsets", "configurations", "ruled", "weighing"])
def test_training_steps_run_with_every_base(space: str, affinity: str, base: str):
    model, rows = make(SPACES[space], affinity, base=base, reference="marginals")
    model.fit_feature_scale(rows.context)
    training_step(model, make_optimizer(model, Plan()), rows, MeanFieldProposal(), samples=5)


@pytest.mark.parametrize("divergence", ["chi2", "tsallis:1.5", "jensen-shannon", "hellinger", "reverse-kl", "jeffreys"])
@pytest.mark.parametrize("correction", ["constant", "linear", "mlp", "residual"])
def test_training_steps_run_with_every_divergence_and_correction(divergence: str, correction: str):
    model, rows = make(SPACES["subsets"], "pairwise", divergence=divergence, correction=correction)
    training_step(model, make_optimizer(model, Plan()), rows, TiltProposal(), samples=5)


@pytest.mark.parametrize(("space", "affinity"), AFFINITIES)
def test_held_out_rows_are_scored(space: str, affinity: str):
    """What `training.held_out` computes for a batch before it reads the numbers."""
    model, rows = make(SPACES[space], affinity, reference="uniform")
    model.eval()
    with torch.no_grad():
        for proposal in proposals(model, rows).values():
            p = model(rows.context)
            own = rows.y.unsqueeze(0)
            scored = score_draws(p, proposal.draw(p, 5))
            objective = joint_objective(p, rows.y, scored) - p.reference.log_prob(own).squeeze(0)
            figures = (objective, estimated_log_partition(scored), effective_share(scored), total_mass(p, scored))
            assert all(figure.shape == (ROWS,) and figure.device.type == "meta" for figure in figures)
            assert p.log_prob(own).shape == (1, ROWS)
            assert p.log_prob_of(rows.y).shape == (ROWS, ROWS)


@pytest.mark.parametrize("base", ["tilt", "meanfield", "anchored"])
def test_the_log_partition_is_refined(base: str):
    model, rows = make(SPACES["configurations"], "pairwise", base=base)
    context = mixed_contexts(model.reference, rows.context, 9)
    for proposal in proposals(model, rows).values():
        inputs, value, log_z = _targets(model, context, proposal, 5, None)
        _objective(value + model.correction(inputs), log_z).backward()
    assert all(weight.grad is not None for weight in model.correction.parameters())


AUDITS: dict[str, Callable[[Any], Tensor]] = {
    "listing": listed_log_partition,
    "multiplier": listed_multiplier,
    "annealing": lambda p: anneal(p, num_chains=4, temperatures=3),
}


@pytest.mark.parametrize("audit", AUDITS)
@pytest.mark.parametrize(("space", "affinity"), AFFINITIES)
def test_audits_run(space: str, affinity: str, audit: str):
    model, rows = make(SPACES[space], affinity, reference="uniform")
    p = model.eval().unnormalised(rows.context)
    with torch.no_grad():
        assert AUDITS[audit](p).shape[-1] == ROWS


@pytest.mark.parametrize("name", ["reference", "tilt", "meanfield", "anchored", "listing"])
def test_importance_audits_run(name: str):
    model, rows = make(SPACES["subsets"], "pairwise")
    with torch.no_grad():
        p = model.eval().unnormalised(rows.context)
        estimate = importance_log_partition(p, proposals(model, rows)[name], 64)
    assert estimate[0].shape == (ROWS,)
