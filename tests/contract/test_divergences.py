"""Every f-divergence against f alone: conjugates by brute force, maxima over the simplex by bisection."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jebm_core.divergences import KL, ChiSquared, FDivergence, Tsallis, divergence_from_name
from tests import oracle
from tests.contract.cases import DIVERGENCES, final_classes
from tests.oracle import uniform

every_divergence = pytest.mark.parametrize("f", DIVERGENCES.values(), ids=DIVERGENCES)


@pytest.fixture(autouse=True, scope="module")
def precision():
    with oracle.double_precision():
        yield


def domain(f: FDivergence, count: int = 41) -> Tensor:
    """Points inside the domain of f*, in ±3 nats and close to its end."""
    v = torch.linspace(-3.0, min(3.0, f.upper - 0.05), count)
    return v[(v - f.lower).abs() > 1e-3]  # the slope of log p/q has a jump at f′(0)


def test_every_divergence_has_a_case():
    assert final_classes(FDivergence) == {type(f).__name__ for f in DIVERGENCES.values()}


@every_divergence
def test_names_lead_back_to_the_divergence(f: FDivergence):
    again = divergence_from_name(f.name)
    assert type(again) is type(f)
    assert torch.equal(again.conjugate(domain(f)), f.conjugate(domain(f)))


@every_divergence
def test_f_is_convex_and_zero_with_its_slope_at_one(f: FDivergence):
    one = torch.ones(1)
    assert f.generator(one).item() == pytest.approx(0, abs=1e-14)
    assert oracle.slope(f, one).item() == pytest.approx(0, abs=1e-14)
    u = torch.linspace(-4, 4, 400).exp()
    assert (oracle.slope(f, u).diff() > 0).all()


@every_divergence
def test_conjugate_is_the_maximum_over_ratios(f: FDivergence):
    v = domain(f)
    u = oracle.best_ratio(f, v)
    torch.testing.assert_close(f.conjugate(v), u * v - f.generator(u), rtol=1e-8, atol=1e-8)
    grid = torch.linspace(-8, 8, 4001).exp()  # a maximum that nothing else comes near, without any derivative
    assert (grid[:, None] * v - f.generator(grid)[:, None] <= f.conjugate(v) + 1e-9).all()


@every_divergence
def test_slope_of_the_conjugate_is_the_density_ratio(f: FDivergence):
    v = domain(f).requires_grad_()
    (gradient,) = torch.autograd.grad(f.conjugate(v).sum(), v)
    torch.testing.assert_close(f.log_density_ratio(v.detach()).exp(), gradient, rtol=1e-9, atol=1e-12)
    zero = torch.zeros(1)
    assert f.conjugate(zero).item() == pytest.approx(0, abs=1e-12)
    assert f.log_density_ratio(zero).item() == pytest.approx(0, abs=1e-12)


@every_divergence
def test_domain_is_what_it_says(f: FDivergence):
    if math.isfinite(f.lower):  # p = 0 from f′(0) down
        below = torch.tensor([f.lower - 1.0, f.lower - 1e-6])
        assert (f.log_density_ratio(below) == -math.inf).all()
        torch.testing.assert_close(f.conjugate(below), torch.full((2,), f.limit))
        assert oracle.slope(f, torch.tensor([1e-30])).item() == pytest.approx(f.lower, abs=1e-6)
    else:
        assert (f.log_density_ratio(torch.tensor([-1e3, -30.0])) > -math.inf).all()
    if math.isfinite(f.upper):
        beyond = torch.tensor([f.upper + 1e-9, f.upper + 1.0, f.upper + 1e3])
        assert (f.conjugate(beyond) == math.inf).all()
        assert (f.log_density_ratio(beyond) == math.inf).all()
        assert (f.weighted_conjugate(torch.zeros(3), beyond) == math.inf).all()
        assert torch.isfinite(f.conjugate(torch.tensor([f.upper - 1e-9]))).all()
        assert oracle.slope(f, torch.tensor([1e30])).item() == pytest.approx(f.upper, abs=1e-6)
    else:
        assert torch.isfinite(f.conjugate(torch.tensor([30.0]))).all()


@every_divergence
def test_limit_is_minus_f_at_zero(f: FDivergence):
    at_zero = f.generator(torch.tensor([1e-300])).item()
    if at_zero > 100:  # f(0) is infinite
        assert f.limit == 0
    else:
        assert f.limit == pytest.approx(-at_zero, abs=1e-12)
        assert f.conjugate(torch.tensor([-1e8])).item() == pytest.approx(f.limit, abs=1e-3)


@every_divergence
def test_weighted_conjugate_is_the_weight_times_what_exceeds_the_limit(f: FDivergence):
    v = domain(f)
    a = uniform(3, len(v), spread=3.0)
    torch.testing.assert_close(f.weighted_conjugate(a, v), a.exp() * (f.conjugate(v) - f.limit))
    nothing = f.weighted_conjugate(torch.full_like(v, -math.inf), v)
    assert (nothing == 0).all()


def test_kl_survives_weights_that_overflow_alone():
    far = torch.tensor([2000.0], dtype=torch.float32)
    assert KL().weighted_conjugate(-far, far + 1).item() == pytest.approx(math.e, rel=1e-3)


@every_divergence
@pytest.mark.parametrize("seed", [0])
def test_primal_is_dual(f: FDivergence, seed: int):
    """max_p ⟨p, g⟩ − D_f(p, q), found without f*, is τ + E_q f*(g − τ) at the τ that makes p sum to one."""
    log_q = uniform(seed, 6, 4, spread=2.0).log_softmax(0)
    g = uniform(seed + 100, 6, 4, spread=3.0)
    value, tau = oracle.maximum(f, log_q, g)
    probabilities = (log_q + f.log_density_ratio(g - tau)).exp()
    torch.testing.assert_close(probabilities.sum(0), torch.ones(4), rtol=1e-6, atol=1e-6)
    dual = tau + (log_q.exp() * f.conjugate(g - tau)).sum(0)
    torch.testing.assert_close(value, dual, rtol=1e-6, atol=1e-6)
    for other in (tau - 1e-3, tau + 1e-3):  # τ is where the dual is least
        assert (other + (log_q.exp() * f.conjugate(g - other)).sum(0) >= dual - 1e-9).all()
    somewhere = uniform(seed + 200, 50, 6, 4, spread=3.0).log_softmax(1)
    ratio = (somewhere - log_q).exp()
    elsewhere = (somewhere.exp() * g - log_q.exp() * f.generator(ratio)).sum(1)
    assert (elsewhere <= value + 1e-9).all()


@settings(max_examples=20)
@given(v=st.floats(-5, 5))
def test_tsallis_two_is_chi_squared_and_near_one_is_kl(v: float):
    at = torch.tensor([v])
    for name in ("conjugate", "log_density_ratio"):
        two = getattr(Tsallis(2.0), name)(at)
        torch.testing.assert_close(two, getattr(ChiSquared(), name)(at))
        kl = getattr(KL(), name)(at)
        for alpha in (1 - 1e-6, 1 + 1e-6):
            torch.testing.assert_close(getattr(Tsallis(alpha), name)(at), kl, rtol=1e-4, atol=1e-4)


@every_divergence
def test_single_precision_is_close(f: FDivergence):
    v = domain(f)
    for name in ("conjugate", "log_density_ratio"):
        exact, single = getattr(f, name)(v), getattr(f, name)(v.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-4)
