"""How races between objectives are judged, and that one can be run. No timing is asserted."""

import pytest

from tests.benchmarks import large, objectives, partition
from tests.benchmarks.field.data import DATA
from tests.benchmarks.objectives import CHAINS, EXACT, MARGIN, OURS, PUBLISHED, RACES, findings


def path(*looks: tuple[float, float]) -> dict:
    """A result that was looked at so: (seconds, −log p)."""
    told = [{"seconds": seconds, "steps": 10 * n, "unseen": nll} for n, (seconds, nll) in enumerate(looks, 1)]
    return {"looks": told, "training": looks[-1][1], "method": "listing"}


def test_a_way_arrives_where_it_first_meets_the_best_of_exact_likelihood() -> None:
    results = {
        "yeast, pairs, joint, seed 0": path((1.0, 5.0), (2.0, 4.0 + MARGIN), (3.0, 4.5)),
        "yeast, pairs, exact, seed 0": path((4.0, 4.5), (8.0, 4.0), (9.0, 6.0)),
        "yeast, pairs, published, seed 0": path((5.0, 4.5), (20.0, 4.01)),
        "yeast, pairs, persistent-cd, seed 0": path((5.0, 4.5), (20.0, 4.1)),
    }
    rows = {row.what.rsplit(" ", 1)[1]: row for row in findings(results) if "time to" in row.what}
    assert rows[EXACT].value == pytest.approx(2 / 8)
    assert rows[EXACT].target is None
    assert rows[PUBLISHED].value == pytest.approx(2 / 20)
    never = RACES["yeast, pairs"][3]  # it counts as all of its time
    assert rows[CHAINS].value == pytest.approx(2 / never)
    assert "2.0 s beside never to 4.02 nats (lowest 4.10)" in rows[CHAINS].detail
    assert rows[CHAINS].met is True


def test_ours_that_never_arrives_misses_its_target() -> None:
    results = {f"yeast, pairs, {way}, seed 0": path((1.0, 4.0)) for way in (EXACT, PUBLISHED, CHAINS)}
    results[f"yeast, pairs, {OURS}, seed 0"] = path((1.0, 4.5))
    rows = [row for row in findings(results) if row.target is not None and "time to" in row.what]
    assert [row.met for row in rows] == [False, False]


def test_without_a_list_the_lowest_of_all_is_the_goal_and_a_missing_way_is_not_judged() -> None:
    case = "cal500, low-rank pairs"
    results = {f"{case}, {way}, seed 1": path((2.0, nll)) for way, nll in ((OURS, 50.0), (PUBLISHED, 51.0))}
    assert findings(results) == []
    results[f"{case}, {CHAINS}, seed 1"] = path((1.0, 60.0), (30.0, 50.01))
    rows = {row.what.rsplit(" ", 1)[1]: row.value for row in findings(results)}
    assert rows == {PUBLISHED: pytest.approx(2 / 40), CHAINS: pytest.approx(2 / 30)}


def test_agreement_and_the_unary_loss_are_differences() -> None:
    results = {
        "vowel, joint, seed 0": path((1.0, 5.0), (2.0, 4.9)),
        "vowel, exact, seed 0": path((1.0, 4.8), (2.0, 5.9)),
        "cal500, items alone, joint, seed 0": path((1.0, 40.0)),
        "cal500, items alone, exact, seed 0": path((1.0, 39.5)),
        "cal500, items alone, published, seed 0": path((1.0, 50.0)),
    }
    rows = {row.what.split(":")[0]: row for row in findings(results)}
    assert rows["vowel"].value == pytest.approx(0.1)
    assert rows["vowel"].met is False
    assert rows["cal500, items alone, joint"].value == pytest.approx(0.5)
    assert rows["cal500, items alone, published"].target is None


@pytest.mark.skipif(not DATA.is_dir(), reason="no public data sets beside the checkout")
@pytest.mark.parametrize("way", [OURS, EXACT, PUBLISHED, CHAINS])
def test_a_race_can_be_run(way: str) -> None:
    short = {"threads": 1, "reference": "marginals", "steps": 3, "seconds": 1e6, "seed": 0}
    found = objectives.measure({**short, "data": "emotions", "affinity": "pairwise", "way": way})
    assert found["looks"][-1]["steps"] == 3
    assert found["method"] == "listing"
    assert found["looks"][0]["unseen"] > 0


def test_sizes_say_where_the_log_partition_overtakes_listing() -> None:
    results = {
        f"{items} items": {"base": "anchored", "ms_tau": 0.01, "ms_bare": 0.005, "ms_listing": 0.01 * items / 9}
        for items in partition.SIZES
    }
    rows = {row.what: row.value for row in partition.findings(results)}
    assert rows["pairs: fewest items of these at which τ overtakes listing"] == 10


def test_growth_is_the_last_size_over_the_first() -> None:
    times = {f"{case}: {items}": {"cpu": items / 1e5} for case in large.CASES for items in large.SIZES}
    rows = large.findings({"1 thread": times})
    assert [row.value for row in rows] == [pytest.approx(10), pytest.approx(10)]
    assert all(row.met for row in rows)
