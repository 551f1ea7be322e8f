"""Two-sided bounds of the log-partition against listing, and annealing's intervals against every exact oracle.

Every row of a model here is a simulated model of its own: θ, η and the interactions are drawn anew for each.
"""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from jebm_core import gibbs
from jebm_core.distributions import LinearDistribution
from jebm_core.divergences import KL, divergence_from_name
from jebm_core.errors import SpecError
from jebm_core.evaluation.annealing import State, moved
from jebm_core.evaluation.bidirectional import TwoSided, two_sided
from jebm_core.evaluation.listing import listed_draws, listed_log_partition
from jebm_core.evaluation.partition import audit_partition
from jebm_core.interactions import FullQuadratic, Scores
from jebm_core.model import ConditionalModel, MeanFieldBase, TiltBase
from jebm_core.networks import FullPairwiseHead, PreferenceHead
from jebm_core.references import CandidateReference
from jebm_core.spaces import Configurations, OutputSpace, Rankings, Subsets
from tests.contract.cases import ruled
from tests.test_annealing import full, network, preferences
from tests.test_partition import brute, context
from tests.test_partition import model as joint_model

SUBSETS = Subsets(tuple("abcdefgh"))
SLOTS = Configurations(("r", "s", "t"), (("a", "b"), ("d", "e", "f"), ("g", "h", "i", "j")))
RANKINGS = Rankings(tuple("abcde"))
RUNS = 100
CHAINS = 64


def models(space: OutputSpace, make, *, seed: int, strength: float = 1.0, candidates: bool = False, rows: int = RUNS):
    """So many models as there are runs, one a row."""
    g = torch.Generator().manual_seed(seed)
    size = (rows, space.num_statistics)
    reference = LinearDistribution(space, torch.randn(size, generator=g) / 2)
    if candidates:
        observed = space.listing()[torch.randint(space.cardinality(), (20,), generator=g)]
        reference = CandidateReference.fit(space, observed, smoothing=0.3)(torch.zeros(rows, 0))
    h = make(space, rows, g)
    if make is full:
        h.matrix *= strength
    return ConditionalModel(KL(), reference, Scores(space, torch.randn(size, generator=g) / 2, h))


def bounds(p: ConditionalModel, *, temperatures: int, seed: int, level: float = 0.99) -> TwoSided:
    g = torch.Generator().manual_seed(seed)
    return two_sided(p, listed_draws(p, CHAINS, generator=g), temperatures=temperatures, generator=g, level=level)


def standard_scores(found: TwoSided, exact: Tensor) -> tuple[float, float]:
    """How many standard errors the means of w/Z and Z/w, which are 1, are from 1, over all runs."""
    scores = []
    for ratio in (torch.exp(found.forward - exact), torch.exp(exact - found.backward)):
        each = ratio.mean(0)  # independent over rows
        scores.append(((each.mean() - 1) / (each.std() / math.sqrt(len(each)))).item())
    return scores[0], scores[1]


CASES = [
    pytest.param(partial(models, SUBSETS, full), id="subsets-gibbs"),
    pytest.param(partial(models, SLOTS, full), id="configurations-gibbs"),
    pytest.param(partial(models, SUBSETS, network), id="subsets-metropolis"),
    pytest.param(partial(models, SLOTS, network), id="configurations-metropolis"),
    pytest.param(partial(models, RANKINGS, preferences), id="rankings-metropolis"),
    pytest.param(partial(models, SUBSETS, full, candidates=True), id="subsets-candidates"),
]


@pytest.mark.parametrize("make", CASES)
def test_bounds_hold_the_listed_value(make):
    # 100 models a case, each side at 99.5 %: 7 or more of 100 outside has probability 6e-5 at 1 %. The means of w/Z and
    # Z/w are 1: 4.5 standard errors have a false-alarm rate of 1e-5 each way. 1e-3 over all cases. Seeds 11 and 12.
    p = make(seed=11)
    exact = listed_log_partition(p)
    found = bounds(p, temperatures=6, seed=12)
    assert ((found.low <= exact) & (exact <= found.high)).sum() >= 94
    assert max(map(abs, standard_scores(found, exact))) < 4.5
    # On average over models each bound is on its side, and below or above what one chain says alone (Jensen).
    slack = 3 * (found.upper - found.lower).std() / math.sqrt(RUNS)
    assert (found.lower - exact).mean() < slack
    assert (exact - found.upper).mean() < slack
    assert found.forward.mean() < found.lower.mean() <= found.upper.mean() + slack
    assert found.upper.mean() < found.backward.mean()


@pytest.mark.parametrize("make", [CASES[0], CASES[4]])
def test_bounds_close_in_as_temperatures_grow(make):
    # The gap of single chains is what temperatures narrow: the mean over 100 models at each of three lengths. Seed 13.
    p = make(seed=11)
    exact = listed_log_partition(p)
    gaps = []
    for temperatures in (2, 8, 32):
        found = bounds(p, temperatures=temperatures, seed=13)
        gaps.append((found.backward.mean() - found.forward.mean()).item())
        assert (found.forward.mean(0) - exact).mean() < 0 < (found.backward.mean(0) - exact).mean()
    assert gaps[1] < 0.7 * gaps[0]
    assert gaps[2] < 0.7 * gaps[1]


@pytest.mark.parametrize("space", [SUBSETS, SLOTS], ids=["subsets", "configurations"])
def test_backward_sweeps_reverse_forward_ones(space, monkeypatch):
    """p(y) K(y → z) = p(z) K̃(z → y): from 100,000 exact draws of one model, the shares of paths with φ_a(y) = φ_b(z) =
    1, forward, and of paths with φ_b(y) = φ_a(z) = 1, backward. 5 standard errors; false alarms below 1e-4 over 64 or
    81 pairs. Small blocks make every kind of update happen. A sweep in the wrong order is far outside. Seed 14.
    """
    monkeypatch.setattr(gibbs, "BLOCK", 3)
    draws = 100_000
    p, g = models(space, full, seed=11, strength=3.0, rows=1), torch.Generator().manual_seed(14)
    h = p.scores.interaction
    assert isinstance(h, FullQuadratic)
    linear = p.reference.eta + p.scores.theta  # pyright: ignore[reportAttributeAccessIssue]
    phi = space.statistics(listed_draws(p, draws, generator=g)).permute(1, 2, 0).contiguous()

    def paths(backwards: bool) -> Tensor:
        after, blocks = phi.clone(), gibbs.blocks_of(space)
        gibbs.sweep(space, after, h.matrix @ after, h.matrix, linear, blocks, g, backwards=backwards)
        return torch.einsum("ram,rbm->ab", phi, after) / draws

    forward, backward, wrong = paths(False), paths(True), paths(False)
    error = math.sqrt(2 * 0.25 / draws)
    assert (forward - backward.T).abs().max() < 5 * error
    assert (forward - wrong.T).abs().max() > 10 * error


def test_backward_moves_reverse_forward_ones():
    """The same for Metropolis moves, on a cycle of four states that step to the next ones, one of them likely under f_β
    and seldom drawn from q_θ̃: there the order of jump and moves matters. From 200,000 exact draws of f_β, the shares of
    paths y → z forward and z → y backward. 5 standard errors; false alarms below 1e-5 over 16 pairs. Jumps in the wrong
    order are far outside. Seed 15.
    """
    draws, beta = 200_000, 0.5
    log_r, excess = torch.tensor([0.3, -0.5, -2.3, 0.5]).double(), torch.tensor([-1.1, 0.2, 3.7, -1.3]).double()
    g = torch.Generator().manual_seed(15)

    def state(y: Tensor) -> State:
        return State(y, log_r[y.squeeze(-1)], excess[y.squeeze(-1)])

    def neighbour(y: Tensor) -> Tensor:
        return (y + 1 + torch.randint(2, y.shape, generator=g) * 2) % 4

    def draw(weight: Tensor) -> Tensor:
        return torch.multinomial(weight, draws, replacement=True, generator=g).reshape(draws, 1, 1)

    def paths(backwards: bool) -> Tensor:
        at = state(draw((log_r + beta * excess).exp()))
        after = moved(at, state, neighbour, draw(log_r.exp()), beta, 2, g, backwards=backwards)
        return torch.bincount((4 * at.y + after.y).flatten(), minlength=16).reshape(4, 4) / draws

    forward, backward, wrong = paths(False), paths(True), paths(False)
    error = math.sqrt(2 * 0.25 / draws)
    assert (forward - backward.T).abs().max() < 5 * error
    assert (forward - wrong.T).abs().max() > 10 * error


RULED = ruled(SUBSETS, "a requires b\nc excludes d\nif e then f")
ORACLES = [
    pytest.param(SUBSETS, FullPairwiseHead, TiltBase, "listing", id="listing"),
    pytest.param(SUBSETS, None, TiltBase, "closed form", id="closed form"),
    pytest.param(SLOTS, None, TiltBase, "closed form", id="closed form, configurations"),
    pytest.param(RANKINGS, None, TiltBase, "permanent", id="permanent"),
    pytest.param(RANKINGS, PreferenceHead, TiltBase, "listing", id="listing of rankings"),
    pytest.param(RULED, None, TiltBase, "closed form", id="diagram under rules"),
    pytest.param(RULED, FullPairwiseHead, MeanFieldBase, "listing", id="listing under rules"),
]


@pytest.mark.parametrize(("space", "head", "base", "method"), ORACLES)
def test_annealing_intervals_cover_every_exact_oracle(space, head, base, method):
    # 100 contexts at 95 %: 87 or fewer covered has probability 1.5e-3, 1e-2 over the oracles. Seeds 0, 1 and 15.
    head = partial(head, constant=False) if head is FullPairwiseHead else head
    m, c = joint_model(space, head, base=base(), spread=0.3), context(RUNS)
    exact, annealed = audit_partition(m, c, method="exact"), audit_partition(m, c, method="ais", seed=15, chains=40)
    assert (exact.method, annealed.method) == (method, "annealing")
    torch.testing.assert_close(exact.audited, brute(m, c), atol=1e-4, rtol=0)
    covered = (annealed.low <= exact.audited + 1e-5) & (exact.audited - 1e-5 <= annealed.high)
    assert covered.sum() >= 88
    # Of an exact audit the deterministic bounds hold for every row.
    assert (exact.bound_high >= exact.audited - 1e-6).all()
    assert (exact.bound_high - exact.audited <= torch.expm1((exact.audited - exact.learned).abs()) + 1e-6).all()
    certified = exact.bound_low.isfinite()
    assert certified.all() == (not isinstance(space, Rankings) and space is not RULED)
    assert (exact.bound_low <= exact.audited + 1e-4)[certified].all()


def test_there_is_no_upper_bound_for_another_divergence():
    m = joint_model(SUBSETS, None, divergence=divergence_from_name("hellinger"))
    assert audit_partition(m, context(3)).bound_high.isnan().all()


def test_bad_input_is_refused():
    p = models(SUBSETS, full, seed=1)
    y = listed_draws(p, 4)
    with pytest.raises(SpecError, match=r"at least two chains.*found 1 forward and 4 back"):
        two_sided(p, y, num_chains=1)
    with pytest.raises(SpecError, match=r"level above 0 and below 1, found 1"):
        two_sided(p, y, level=1.0)
    with pytest.raises(SpecError, match=r"divergence kl.*found hellinger"):
        two_sided(ConditionalModel(divergence_from_name("hellinger"), p.reference, p.scores), y)
    under_rules = joint_model(RULED).eval().unnormalised(context(2))
    with pytest.raises(SpecError, match="impossible"):
        two_sided(under_rules, torch.tensor([1, 0, 0, 0, 0, 0, 0, 0]).expand(4, 2, 8))


def test_progress_rises_and_seeds_decide():
    p = models(SUBSETS, full, seed=1, candidates=True)
    y, told = listed_draws(p, 4, generator=torch.Generator().manual_seed(1)), []
    runs = [
        two_sided(p, y, temperatures=4, generator=torch.Generator().manual_seed(2), on_temperature=told.append)
        for _ in range(2)
    ]
    assert torch.equal(runs[0].backward, runs[1].backward)
    half = told[: len(told) // 2]
    assert half == sorted(half)
    assert half[-1] == 1.0
