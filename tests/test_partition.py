"""The log-partition audit: every method against listing, and the verdicts."""

import dataclasses
import json
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from jebm_core.divergences import KL, FDivergence, divergence_from_name
from jebm_core.errors import Cancelled, SpecError
from jebm_core.evaluation import listing, partition
from jebm_core.evaluation.partition import (
    PartitionAudit,
    audit_partition,
    importance_log_partition,
    listed_log_partition,
    listed_multiplier,
)
from jebm_core.model import AnchoredBase, Base, Context, JointModel, MeanFieldBase, TiltBase, ZeroBase
from jebm_core.networks import (
    Affinity,
    FullPairwiseHead,
    LowRankPairwiseHead,
    PreferenceHead,
    SetHead,
    Trunk,
    UnaryHead,
    correction_network,
)
from jebm_core.proposals import ListingProposal, ReferenceProposal, TiltProposal
from jebm_core.references import MarginalReference, UniformReference
from jebm_core.spaces import Configurations, Rankings, Subsets

SUBSETS = Subsets(tuple("abcdefghij"))
SLOTS = Configurations(("r", "s", "t", "u"), (("a",), ("b", "c"), ("d", "e", "f"), ("g", "h", "i", "j", "k")))
RANKINGS = Rankings(tuple("abcde"))
PAIRS = partial(FullPairwiseHead, constant=False)
FACTORS = partial(LowRankPairwiseHead, rank=2, constant=True)


def model(
    space, head=None, *, base: Base | None = None, divergence: FDivergence | None = None, seed=0, spread=0.3, q=None
):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = Trunk(3, (6,), dropout=0.5)
        interaction = None if head is None else head(space, trunk.width)
        g = Affinity(space, trunk, UnaryHead(space, trunk.width), interaction)
        for parameter in [*g.linear.parameters(), *([] if interaction is None else interaction.parameters())]:
            torch.nn.init.normal_(parameter, std=spread)
        base = base or TiltBase()
        correction = correction_network("mlp", 3 + base.num_features)
        reference = q or UniformReference(space)
    return JointModel(
        space=space, reference=reference, divergence=divergence or KL(), affinity=g, base=base, correction=correction
    )


def context(rows: int, seed: int = 1) -> Context:
    return Context(torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed)), torch.zeros(rows, 0))


def brute(m: JointModel, c: Context) -> Tensor:
    """log Σ_y q e^g, all at once."""
    m.eval()
    with torch.no_grad():
        p = m(c)
        points = m.space.listing()
        return (p.reference.log_prob_of(points) + p.affinity_of(points)).double().logsumexp(0)


def audit_of(
    error: Tensor, *, half: float | None = None, k: float = 0.2, share: float = 0.9, draws: int = 64, **changes
):
    """An audit with these errors, exact unless intervals have a half-width."""
    n = len(error)
    audited = torch.linspace(-1, 2, n).double()
    width = half or 0.0
    nan = torch.full((n,), math.nan).double()
    exact = half is None
    record = PartitionAudit(
        learned=audited + error.double(),
        audited=audited,
        low=audited - width,
        high=audited + width,
        effective_share=nan if exact else torch.full((n,), share).double(),
        pareto_k=nan if exact else torch.full((n,), k).double(),
        method="listing" if exact else "annealing",
        exact=exact,
        bound_low=nan,
        num_draws=0 if exact else draws,
    )
    return dataclasses.replace(record, **changes)


EXACT = [
    pytest.param(SUBSETS, PAIRS, id="subsets-pairs"),
    pytest.param(SUBSETS, FACTORS, id="subsets-factors"),
    pytest.param(SUBSETS, partial(SetHead, width=8), id="subsets-set"),
    pytest.param(SLOTS, PAIRS, id="configurations-pairs"),
    pytest.param(RANKINGS, PreferenceHead, id="rankings-preferences"),
]


@pytest.mark.parametrize(("space", "head"), EXACT)
def test_listing_is_the_sum_over_everything(space, head, monkeypatch):
    m, c = model(space, head), context(7)
    monkeypatch.setattr(partition, "_ROWS", 3)
    monkeypatch.setattr(listing, "_points_at_once", lambda p: 17)  # no divisor of any size here
    audit = audit_partition(m, c, method="exact")
    assert (audit.method, audit.exact, audit.num_draws) == ("listing", True, 0)
    torch.testing.assert_close(audit.audited, brute(m, c), atol=1e-5, rtol=0)
    assert torch.equal(audit.low, audit.audited)
    assert torch.equal(audit.high, audit.audited)
    assert audit.pareto_k.isnan().all()


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_chunks_list_every_combination_once_in_order(sizes, at_once):
    space = Configurations([str(i) for i in range(len(sizes))], [[str(j) for j in range(n)] for n in sizes])
    for s in (space, Subsets([str(i) for i in range(len(sizes))])):
        chunks = list(listing._combinations(s, at_once, torch.device("cpu")))
        assert torch.equal(torch.cat([points for _, points in chunks]), s.listing())
        assert [start for start, _ in chunks] == list(range(0, s.cardinality(), at_once))


@pytest.mark.parametrize(
    ("space", "method"), [(SUBSETS, "closed form"), (SLOTS, "closed form"), (RANKINGS, "permanent")]
)
@pytest.mark.parametrize("base", [TiltBase(), ZeroBase()])
def test_without_interactions_the_value_is_closed_form(space, method, base):
    m, c = model(space, base=base), context(6)
    audit = audit_partition(m, c)
    assert (audit.method, audit.exact) == (method, True)
    torch.testing.assert_close(audit.audited, brute(m, c), atol=1e-4, rtol=0)
    if isinstance(base, TiltBase):
        assert audit.summary().verdict == "trusted"
    else:
        torch.testing.assert_close(audit.learned, torch.zeros(6).double())  # δ starts at zero


@pytest.mark.parametrize(("space", "head"), EXACT)
@pytest.mark.parametrize("method", ["ais", "importance"])
def test_sampling_audits_cover_the_exact_value_at_their_rate(space, head, method):
    # 60 rows at 95 % (importance loses a point or two where the tail is heavy): 49 or fewer covered has probability
    # 3e-3 at 93 % a row and 2e-4 at 95 %: 3 % at most over the ten cases. Seeds 0, 1 and 3.
    m, c = model(space, head, spread=0.25), context(60)
    exact = brute(m, c)
    audit = audit_partition(m, c, method=method, seed=3, num_samples=1500, chains=40, temperatures=12)
    assert audit.method == {"ais": "annealing", "importance": "importance"}[method]
    assert not audit.exact
    assert ((audit.low <= exact) & (exact <= audit.high)).sum() >= 50
    assert (audit.audited - exact).abs().mean() < 0.1
    assert audit.effective_share.median() > 0.2


def test_auto_samples_where_listing_is_too_much_work(monkeypatch):
    m, c = model(SUBSETS, PAIRS), context(3)
    assert audit_partition(m, c).method == "listing"
    monkeypatch.setattr(partition, "MAX_LISTING_WORK", 10 * 2**10 * 3 - 1)
    assert audit_partition(m, c, chains=4, temperatures=3).method == "annealing"
    assert audit_partition(m, c, method="exact").method == "listing"


def test_large_spaces():
    space = Subsets([str(i) for i in range(60)])
    m, c = model(space, FACTORS, spread=0.1), context(2)
    with pytest.raises(SpecError, match=r"exact audit.*10\^18"):
        audit_partition(m, c, method="exact")
    with pytest.raises(SpecError, match="chi2"):
        audit_partition(model(space, FACTORS, divergence=divergence_from_name("chi2")), c)
    audit = audit_partition(m, c, chains=16, temperatures=10)
    assert audit.method == "annealing"
    assert audit_partition(model(space), c, method="exact").method == "closed form"


def test_sampling_needs_kl():
    m = model(SUBSETS, PAIRS, divergence=divergence_from_name("hellinger"))
    for method in ("ais", "importance"):
        with pytest.raises(SpecError, match=f"hellinger with the method {method}"):
            audit_partition(m, context(2), method=method)


def test_no_rows():
    with pytest.raises(SpecError, match="at least one row"):
        audit_partition(model(SUBSETS), context(0))


@pytest.mark.parametrize(
    "name", ["chi2", "tsallis:1.5", "tsallis:0.5", "reverse-kl", "jeffreys", "jensen-shannon", "hellinger"]
)
@pytest.mark.parametrize(("space", "head"), [(SLOTS, PAIRS), (RANKINGS, None)], ids=["interactions", "linear"])
def test_multiplier_makes_the_probabilities_add_up(name, space, head):
    m, c = model(space, head, divergence=divergence_from_name(name), spread=0.5, base=ZeroBase()), context(5)
    audit = audit_partition(m, c)
    assert (audit.method, audit.exact) == ("listing (multiplier)", True)
    assert audit.bound_low.isnan().all()
    p, points = m.eval().unnormalised(c), space.listing()
    with torch.no_grad():
        ratio = m.divergence.log_density_ratio(p.affinity_of(points).double() - audit.audited)
        total = (p.reference.log_prob_of(points).double() + ratio).logsumexp(0)
    assert total.abs().max() < 1e-6


def test_multiplier_of_kl_is_the_log_partition():
    m, c = model(SUBSETS, PAIRS), context(4)
    with torch.no_grad():
        m.eval()
        p = m(c)
        torch.testing.assert_close(listed_multiplier(p), listed_log_partition(p), atol=1e-6, rtol=0)


@pytest.mark.parametrize("base", [MeanFieldBase, TiltBase, lambda: AnchoredBase(SUBSETS.listing()[::150])])
def test_lower_bound_is_certified(base):
    m, c = model(SUBSETS, PAIRS, base=base()), context(20)
    audit = audit_partition(m, c)
    assert (audit.bound_low <= audit.audited + 1e-4).all()
    assert (audit.bound_low > audit.audited - 5).all()
    assert audit_partition(model(RANKINGS, PreferenceHead), c).bound_low.isnan().all()


def test_importance_chooses_thestrongest_proposal_and_lists_anchors():
    anchors = SUBSETS.listing()[::40]
    m, c = model(SUBSETS, PAIRS, base=AnchoredBase(anchors), spread=0.4), context(20)
    exact = brute(m, c)
    anchored = audit_partition(m, c, method="importance", num_samples=800)
    reference = audit_partition(m, c, method="importance", num_samples=800, proposal=ReferenceProposal())
    assert anchored.effective_share.mean() > 2 * reference.effective_share.mean()
    assert (anchored.audited - exact).abs().mean() < (reference.audited - exact).abs().mean()
    p = m.eval().unnormalised(c)
    with torch.no_grad():
        listed = (p.reference.log_prob_of(anchors) + p.affinity_of(anchors)).logsumexp(0)
        everything = importance_log_partition(p, ListingProposal(SUBSETS), 1)
    assert (anchored.low >= listed - 1e-4).all()
    torch.testing.assert_close(everything.value, exact, atol=1e-5, rtol=0)
    assert torch.equal(everything.low, everything.high)


def test_a_collapsed_proposal_is_reported():
    # A peaked model, log p/q up to 60 nats, and 200 draws from the uniform reference: k̂ is far above 0.7.
    m, c = model(Subsets([str(i) for i in range(40)]), FACTORS, spread=0.8), context(30)
    collapsed = audit_partition(m, c, method="importance", proposal=ReferenceProposal(), num_samples=200)
    summary = collapsed.summary()
    assert summary.pareto_k_max is not None
    assert summary.pareto_k_max > 0.7
    assert (collapsed.pareto_k > 0.7).double().mean() > 0.8
    assert summary.verdict == "do not trust"
    json.dumps(summary.to_json(), allow_nan=False)


def test_dropout_is_off_and_the_model_is_left_as_it_was():
    m, c = model(SUBSETS, PAIRS), context(5)
    m.train()
    m.correction.eval()
    before = [module.training for module in m.modules()]
    first, second = audit_partition(m, c), audit_partition(m, c)
    assert torch.equal(first.audited, second.audited)
    assert [module.training for module in m.modules()] == before


def test_seeds_decide_the_draws():
    m, c = model(SLOTS, PAIRS), context(3)
    one, same, other = (audit_partition(m, c, method="ais", seed=s, chains=8, temperatures=4) for s in (1, 1, 2))
    assert torch.equal(one.audited, same.audited)
    assert not torch.equal(one.audited, other.audited)


@pytest.mark.parametrize(("method", "head"), [("exact", PAIRS), ("ais", PAIRS), ("importance", PAIRS), ("auto", None)])
def test_progress_rises_to_one_and_stopping_is_heard(method, head, monkeypatch):
    monkeypatch.setattr(partition, "_ROWS", 2)
    monkeypatch.setattr(partition, "ELEMENTS", 1000)
    monkeypatch.setattr(listing, "ELEMENTS", 1000)
    m, c = model(SUBSETS, head), context(5)
    told: list[float] = []
    run = partial(audit_partition, m, c, method=method, chains=8, temperatures=4, num_samples=50)
    run(on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 3
    with pytest.raises(Cancelled):
        run(should_stop=lambda: True)


@pytest.mark.parametrize(("space", "head"), EXACT[:4])
def test_computing_works_on_the_meta_device(space, head):
    base = MeanFieldBase() if head in (PAIRS, FACTORS) else TiltBase()
    m = model(space, head, base=base).to("meta").eval()
    with torch.no_grad():
        p = m(Context(*(part.to("meta") for part in context(4))))
        assert listed_log_partition(p).shape == (4,)
        assert listed_multiplier(p).shape == (4,)
        assert importance_log_partition(p, TiltProposal(), 20).high.shape == (4,)


def test_verdict_of_exact_audits():
    spread = torch.linspace(-1, 1, 41)
    assert audit_of(spread * 0.15).verdict() == "trusted"
    assert audit_of(spread * 0 + 0.09).verdict() == "trusted"
    assert audit_of(spread * 0 - 0.11).verdict() == "caution"
    assert audit_of(spread * 0.5).verdict() == "caution"
    assert audit_of(spread * 0 + 0.31).verdict() == "do not trust"
    assert audit_of(spread * math.nan).verdict() == "do not trust"


def test_verdict_of_audits_that_sample():
    small = torch.full((41,), 0.05)
    assert audit_of(small, half=0.05).verdict() == "trusted"
    assert audit_of(small, half=0.2).verdict() == "caution"
    assert audit_of(small, half=0.4).verdict() == "do not trust"
    assert audit_of(small, half=math.inf).verdict() == "do not trust"
    assert audit_of(small, half=0.05, k=0.9).verdict() == "caution"
    assert audit_of(small, half=0.2, k=0.9).verdict() == "do not trust"
    assert audit_of(small, half=0.05, share=0.05).verdict() == "caution"
    few = torch.full((41,), 0.2).double()
    assert audit_of(small, half=0.05, pareto_k=few.index_fill(0, torch.arange(2), math.inf)).verdict() == "trusted"
    assert audit_of(small, half=0.05, pareto_k=few.index_fill(0, torch.arange(3), math.inf)).verdict() == "caution"
    bound = torch.linspace(-1, 2, 41).double() + 0.2
    assert audit_of(small, half=0.05, bound_low=bound).verdict() == "caution"


def test_summary():
    error = torch.tensor([0.1, -0.2, 0.0, 0.3])
    summary = audit_of(error, half=0.05, share=0.5).summary()
    audited = torch.linspace(-1, 2, 4).double()
    assert summary.n == 4
    assert summary.mae == pytest.approx(0.15)
    assert summary.bias == pytest.approx(0.05)
    assert summary.r2 == pytest.approx(1 - 0.14 / (audited - 0.5).square().sum().item())
    assert summary.rank_correlation == pytest.approx(1.0)
    assert summary.ess_median == pytest.approx(32)
    keys = "method exact n mae bias r2 rank_correlation ess_median pareto_k_max verdict"
    assert list(summary.to_json()) == keys.split()
    exact = audit_of(error).summary()
    assert (exact.ess_median, exact.pareto_k_max) == (None, None)
    flat = audit_of(error, audited=torch.zeros(4).double()).summary()
    assert (flat.r2, flat.rank_correlation) == (None, None)
    assert audit_of(torch.full((4,), math.nan)).summary().to_json()["mae"] is None
    assert audit_of(error[:1]).summary().r2 is None


def test_residual_quantiles_keep_their_level():
    # 3000 samples of 99 residuals and one new: coverage of 95 % ± 0.4 %; the limits are 4 standard errors away.
    g = torch.Generator().manual_seed(3)
    held = 0
    for _ in range(3000):
        error = torch.randn(100, generator=g).exp()
        low, high = audit_of(error[:99]).residual_quantiles(0.9)
        held += low <= error[99].item() <= high
    assert 0.9 - 0.022 < held / 3000 < 0.9 + 0.022


def test_residual_quantiles_at_the_edges():
    error = torch.linspace(-1, 1, 39)
    assert audit_of(error).residual_quantiles(0.95) == pytest.approx((-1, 1))
    assert audit_of(error[:38]).residual_quantiles(0.95) == (-math.inf, math.inf)
    assert audit_of(error, half=0.25).residual_quantiles(0.95) == pytest.approx((-1.25, 1.25))
    for level in (0.0, 1.0):
        with pytest.raises(SpecError, match="level"):
            audit_of(error).residual_quantiles(level)


def test_weak_proposals_agree_with_the_strong():
    # Four standard errors either way, 10 rows, three proposals: false alarms below 2e-3.
    q = MarginalReference.fit(SLOTS, SLOTS.listing()[:12])
    m, c = model(SLOTS, PAIRS, spread=0.15, q=q), context(10)
    exact = brute(m, c)
    for way in (ReferenceProposal(), TiltProposal(), None):
        audit = audit_partition(m, c, method="importance", proposal=way, num_samples=3000, seed=8)
        assert ((audit.audited - exact).abs() <= 2 * (audit.high - audit.low) / 2 + 1e-4).all()
