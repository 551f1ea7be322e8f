"""The baseline of near combinations: a distribution on every space, like its slow twin, chosen by leaving out."""

import math

import pytest
import torch

from jebm_core.evaluation.neighbours import RATES, _left_out, _log_density
from jebm_core.recipes import describe_space
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.seen import Seen
from jebm_core.spaces import OutputSpace, Rankings
from jebm_core.tables import OutputSchema
from tests.contract.cases import configurations, rankings, subsets
from tests.oracle import seeded


def ruled() -> OutputSpace:
    schema = OutputSchema("subsets", tuple("abcd"), ("y_a", "y_b", "y_c", "y_d"), ())
    rules = compile_rules(bind(parse_rules("a requires b\nc excludes d"), schema))
    return describe_space("subsets", schema.names, (), rules)


SPACES = {
    "subsets": subsets(5),
    "configurations": configurations(3, 2, 4),
    "rankings": rankings(4),
    "ruled": ruled(),
}


def seen_of(space: OutputSpace) -> Seen:
    listing = space.listing()
    return Seen.of(space, listing[torch.randint(len(listing), (12,), generator=seeded(1))])


def differing(space: OutputSpace, a: torch.Tensor, b: torch.Tensor) -> int:
    if not isinstance(space, Rankings):
        return int((a != b).sum())
    k = space.num_items
    return sum(int((a[i] - a[j]) * (b[i] - b[j]) < 0) for i in range(k) for j in range(i))


@pytest.mark.parametrize("kind", SPACES)
def test_it_is_the_distribution_of_its_slow_twin(kind):
    space = SPACES[kind]
    seen, listing = seen_of(space), space.listing()
    found = _log_density(seen, listing, 1.5)
    assert found.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    kernel = torch.tensor([[math.exp(-1.5 * differing(space, y, c)) for c in seen.points] for y in listing])
    share = seen.counts / seen.counts.sum()
    torch.testing.assert_close(found.exp(), (kernel / kernel.sum(0)) @ share, rtol=1e-4, atol=1e-6)


def test_leaving_out_forgets_one_row_at_a_time():
    space = SPACES["subsets"]
    seen = seen_of(space)
    rows = seen.points.repeat_interleave(seen.counts, 0)
    expected = 0.0
    for row in range(len(rows)):
        others = Seen.of(space, torch.cat([rows[:row], rows[row + 1 :]]))
        expected += float(_log_density(others, rows[row : row + 1], 2.0))
    assert _left_out(seen, 2.0) == pytest.approx(expected, rel=1e-5)


def test_the_rate_follows_how_close_rows_lie():
    """Rows around one centre ask for a steep kernel, rows drawn evenly for a flat one."""
    space = subsets(8)
    near = (torch.rand(200, 8, generator=seeded(2)) < 0.05).long()
    even = (torch.rand(200, 8, generator=seeded(3)) < 0.5).long()
    best = [max(RATES, key=lambda rate, y=y: _left_out(Seen.of(space, y), rate)) for y in (near, even)]
    assert best[0] > 1.5 > best[1]
