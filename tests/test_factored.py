"""Statistics of a list in their own rank: the same scores and gradients as the list itself."""

import pytest
import torch

from jebm_core.interactions import FullQuadratic, LowRankQuadratic, Scores, SetInteraction, item_of_statistic
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.spaces import Configurations, OutputSpace, Ruled, Subsets
from jebm_core.spaces.factored import FactoredStatistics
from jebm_core.tables import OutputSchema
from tests import oracle
from tests.oracle import uniform

SLOTS = Configurations(("a", "b", "c", "d"), (("1", "2", "3"), ("1", "2"), ("1", "2"), ("1", "2", "3", "4")))


def ruled() -> Ruled:
    rules = parse_rules(
        "a = 1 requires b = 2\nif c = 1 then d in {1, 2}\nif c = 2 then d in {3, 4}\nb = 1 excludes d = 4"
    )
    names = ("a", "b", "c", "d")
    schema = OutputSchema("configurations", names, tuple(f"c_{n}" for n in names), SLOTS.options)
    return Ruled(SLOTS, compile_rules(bind(rules, schema)))


@pytest.mark.parametrize(("space", "rank"), [(SLOTS, 8), (ruled(), 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_scores_and_gradients_are_those_of_the_list(space: OutputSpace, rank: int, batch: int):
    with oracle.double_precision():
        points = space.listing()
        phi = space.statistics(points)
        factored = FactoredStatistics.of(phi)
        assert factored is not None
        assert factored.basis.shape[1] == rank
        s = space.num_statistics
        theta = uniform(1, batch, s).requires_grad_()
        upper = uniform(2, batch, s, s)
        item = item_of_statistic(space)
        apart = item.unsqueeze(0) != item.unsqueeze(1)  # no pairs within an item
        matrix = ((upper + upper.transpose(1, 2)) * apart).requires_grad_()
        factors = uniform(3, 2, s).requires_grad_()
        scale = uniform(4, batch, 2)
        readout = torch.nn.Linear(5, 1)
        width = SetInteraction(uniform(5, s, 5), uniform(6, batch, 5), readout)
        for h in (None, FullQuadratic(matrix), LowRankQuadratic(space, scale, factors), width):
            scores = Scores(space, theta, h)
            plain, fast = scores.value_of(points, phi), scores.value_of(points, factored)  # pyright: ignore[reportArgumentType]
            torch.testing.assert_close(fast, plain)
            weight = uniform(7, *plain.shape)
            inputs = [t for t in (theta, matrix, factors) if t.requires_grad]
            slow = torch.autograd.grad((plain * weight).sum(), inputs, allow_unused=True)
            quick = torch.autograd.grad((fast * weight).sum(), inputs, allow_unused=True)
            for a, b in zip(quick, slow, strict=True):
                assert (a is None) == (b is None)
                if a is not None and b is not None:
                    pairs = a.ndim == 3  # of which one half, or both halves, may carry the gradient
                    both = [(g + g.transpose(1, 2)) * apart if pairs else g for g in (a, b)]
                    torch.testing.assert_close(*both)


def test_a_list_of_full_rank_is_left_as_it_is():
    space = Subsets(("a", "b", "c", "d"))
    assert FactoredStatistics.of(space.statistics(space.listing())) is None
