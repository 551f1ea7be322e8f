"""One code for CPU and GPU: the same numbers on both, up to rounding, and in mixed precision up to its noise."""

import copy
from functools import cache

import pytest
import torch
from torch import Tensor

from jebm_core.evaluation.partition import audit_partition
from jebm_core.fitted import load
from jebm_core.fitting import fit
from jebm_core.model import Context, JointModel
from jebm_core.networks import Trunk
from jebm_core.proposals import ListingProposal, MeanFieldProposal, Proposal
from jebm_core.recipes import Architecture, build_model
from jebm_core.reference_recipes import anchors_of
from jebm_core.settings import FitSettings
from jebm_core.steps import CapturedStep, Plan, Rows, make_optimizer, objective_and_info, training_step
from jebm_core.tables import Examples, guess_roles, read_examples, read_table
from tests.conftest import ROOT
from tests.contract.cases import configurations, randomised, some_outputs, subsets
from tests.oracle import uniform

ROWS, FEATURES = 12, 3


def model_and_rows(base: str = "anchored", affinity: str = "pairwise") -> tuple[JointModel, Rows]:
    space = configurations(3, 2, 3) if affinity == "pairwise" else subsets(6)
    y = some_outputs(space, ROWS)
    anchors = len(anchors_of(y)) if base == "anchored" else 0
    shape = Architecture(FEATURES, (16, 16), 0.0, affinity, 4, "marginals", "kl", base, anchors, "mlp")
    model = build_model(space, shape, y)
    randomised(model, 1, spread=0.5)
    rows = Rows(Context(uniform(2, ROWS, FEATURES), torch.zeros(ROWS, 0)), y)
    model.fit_feature_scale(rows.context)
    return model.train(), rows


def gradients(model: JointModel, rows: Rows) -> tuple[Tensor, Tensor]:
    """The objective by listing, and all gradients in one vector."""
    model.zero_grad()
    loss, _ = objective_and_info(model, rows, ListingProposal(model.space, rows.y.device), 1, None)
    loss.backward()
    found = [torch.zeros_like(w) if w.grad is None else w.grad for w in model.parameters()]
    return loss.detach().cpu(), torch.cat([g.flatten() for g in found]).cpu()


@pytest.mark.parametrize(("base", "affinity"), [("anchored", "pairwise"), ("meanfield", "lowrank"), ("tilt", "set")])
def test_objective_and_gradients_agree(gpu: str, base: str, affinity: str):
    model, rows = model_and_rows(base, affinity)
    expected = gradients(model, rows)
    found = gradients(model.to(gpu), rows.to(gpu))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_mixed_precision_is_near_in_training_and_absent_in_use(gpu: str):
    model, rows = model_and_rows()
    model, rows = model.to(gpu), rows.to(gpu)
    loss, gradient = gradients(model, rows)
    model.affinity.trunk.precision = torch.bfloat16
    near_loss, near_gradient = gradients(model, rows)
    assert not torch.equal(near_gradient, gradient)  # it does compute in lower precision
    assert (near_loss - loss).abs() < 0.02
    assert (near_gradient - gradient).norm() < 0.05 * gradient.norm()
    model.eval()
    with torch.no_grad():
        tau = model(rows.context).log_partition
        model.affinity.trunk.precision = None
        assert torch.equal(model(rows.context).log_partition, tau)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch calls it a prototype whenever it is set
def test_a_step_never_waits_for_the_device(gpu: str):
    model, rows = model_and_rows()
    model, rows = model.to(gpu), rows.to(gpu)
    optimizer, way = make_optimizer(model, Plan()), ListingProposal(model.space, gpu)
    training_step(model, optimizer, rows, way, samples=4)
    try:
        torch.cuda.set_sync_debug_mode("error")
        training_step(model, optimizer, rows, way, samples=4)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def some_steps(model: JointModel, rows: Rows, plan: Plan, way: Proposal, steps: int, *, captured: bool) -> list[float]:
    """Objectives of so many steps on the same rows, and the model after them."""
    optimizer = make_optimizer(model, plan)
    how = {"samples": plan.samples, "clip": plan.clip, "generator": torch.Generator(rows.y.device).manual_seed(3)}
    if captured:
        step = CapturedStep(model, optimizer, way, **how)
        return [float(step(rows).objective) for _ in range(steps)]
    return [float(training_step(model, optimizer, rows, way, **how).objective) for _ in range(steps)]


def test_a_captured_step_is_the_step(gpu: str):
    model, rows = model_and_rows()
    model, rows = model.to(gpu), rows.to(gpu)
    twin, way = copy.deepcopy(model), ListingProposal(model.space, gpu)
    expected = some_steps(model, rows, Plan(), way, 12, captured=False)
    assert some_steps(twin, rows, Plan(), way, 12, captured=True) == pytest.approx(expected, rel=1e-4)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_every_replay_draws_anew(gpu: str):
    """With a learning rate of 0 the objective stays, and its estimates scatter around the listed one."""
    model, rows = model_and_rows("meanfield", "lowrank")
    model, rows = model.to(gpu), rows.to(gpu)
    exact, _ = gradients(model, rows)
    still = Plan(learning_rate=0.0, decay=0.0, samples=64)
    found = torch.tensor(some_steps(model, rows, still, MeanFieldProposal(), 203, captured=True), dtype=torch.float64)
    replayed = found[CapturedStep.WARM :]
    assert len(set(replayed.tolist())) > 190
    error = replayed.std() / len(replayed) ** 0.5
    assert abs(replayed.mean() - exact) < 4 * error + 1e-5  # seed 3; false-alarm rate 6e-5


@cache
def suppliers() -> Examples:
    table = read_table(ROOT / "sample_data" / "suppliers.csv")
    return read_examples(table, guess_roles(table))


def test_a_model_fitted_on_the_gpu_is_used_on_the_cpu(gpu: str, tmp_path):
    fitted = fit(suppliers(), FitSettings(device="cuda", epochs=5, samples=8)).model
    fitted.save(tmp_path)
    loaded = load(tmp_path)
    context, y = loaded.context(suppliers().table), torch.from_numpy(suppliers().outputs.values)
    on_gpu = fitted.log_prob(fitted.context(suppliers().table), y.to(gpu)).value
    torch.testing.assert_close(on_gpu.cpu(), loaded.log_prob(context, y).value, rtol=1e-4, atol=1e-4)


def test_annealing_on_the_gpu_finds_the_listed_log_partition(gpu: str):
    model, rows = model_and_rows()
    model, context = model.to(gpu).eval(), rows.context.to(gpu)
    exact = audit_partition(model, context, method="exact")
    sampled = audit_partition(model, context, method="ais", seed=0)
    # 95 % intervals of 12 rows: fewer than 8 inside has probability 1e-5 (seed 0).
    inside = ((sampled.low <= exact.audited) & (exact.audited <= sampled.high)).sum()
    assert inside >= 8
    on_cpu = audit_partition(copy.deepcopy(model).cpu(), rows.context, method="exact")
    torch.testing.assert_close(exact.audited, on_cpu.audited, rtol=1e-5, atol=1e-5)


def test_trunks_without_layers_have_nothing_to_lower(gpu: str):
    trunk = Trunk(FEATURES, (), dropout=0.0).to(gpu)
    trunk.precision = torch.bfloat16
    x = uniform(5, ROWS, FEATURES).to(gpu)
    assert torch.equal(trunk(x), x)
