"""Decisions by expected value: against listing by definition, what value files may hold, far rows, the policy file."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from jebm_core.decisions.escalation import FarRows
from jebm_core.decisions.expected import candidate_values, decide
from jebm_core.decisions.measuring import decision_record, measure_decisions, paired
from jebm_core.decisions.policy import apply_policy, make_policy, read_policy
from jebm_core.decisions.values import ValueTable, read_values, values_of
from jebm_core.errors import SpecError
from jebm_core.spaces import Configurations, OutputSpace, Subsets
from jebm_core.tables import OutputSchema
from tests.test_fitted import examples, model_and_context

KINDS = ("subsets", "configurations")
SCHEMAS = {
    "subsets": OutputSchema("subsets", ("a", "b", "c"), ("y_a", "y_b", "y_c"), ((), (), ())),
    "configurations": OutputSchema("configurations", ("a", "b"), ("c_a", "c_b"), (("u", "v", "w"), ("u", "v"))),
    "rankings": OutputSchema("rankings", ("a", "b"), ("r_a", "r_b"), ((), ())),
}


def _table(schema: OutputSchema, seed: int, *, bonus: float = 0.0, size: bool = False) -> ValueTable:
    rng = np.random.default_rng(seed)
    names = ("hit", "false_alarm", "miss") if schema.kind == "subsets" else ("right", "wrong")
    part = "labels" if schema.kind == "subsets" else "slots"
    record = {part: {n: {e: float(rng.uniform(0, 5)) for e in names} for n in schema.names}, "exact_bonus": bonus}
    if size:
        record["cost_per_item"] = {1: 2.0, 2: 0.5, 3: 3.0}
    return values_of(record, schema, "v.yaml")


def _worth(values: ValueTable, answer: tuple[int, ...], truth: tuple[int, ...]) -> float:
    """V(answer, truth) by the book."""
    total = values.exact_bonus * (answer == truth)
    for (c, y), entries in zip(zip(answer, truth, strict=True), values.entries, strict=True):
        if values.kind == "configurations":
            total += entries[0] if c == y else entries[1]
        else:
            total += entries[0] * (c and y) - entries[1] * (c and not y) - entries[2] * (y and not c)
    size = sum(answer)
    cost = [cost for start, cost in values.cost_per_item if start <= size]
    return total - (size * cost[-1] if cost and values.kind == "subsets" else 0.0)


def _listing(space: OutputSpace) -> list[tuple[int, ...]]:
    return [tuple(y) for y in itertools.product(*(range(n) for n in space.options_per_item()))]


CASES = [(kind, bonus, size) for kind in KINDS for bonus in (0.0, 7.0) for size in (False, True)
         if kind == "subsets" or not size]  # fmt: skip


@pytest.mark.parametrize(("kind", "bonus", "size"), CASES)
def test_decisions_are_those_of_listing_every_answer_and_every_truth(kind: str, bonus: float, size: bool):
    model, context = model_and_context(kind, "marginals")
    context = context.rows(slice(0, 12))
    values = _table(model.record.schema, 1, bonus=bonus, size=size)
    found = decide(model, context, values)
    (_, draws), *more = model.weighted_draws(context)
    assert not more
    weight, truths = draws.log_weight.double().softmax(0).numpy(), [tuple(y) for y in draws.y[:, 0].tolist()]
    candidates = candidate_values(model.space, values, draws.y, draws.log_weight, distinct=draws.listed).numpy()
    for row in range(12):
        worth = {
            c: sum(w * _worth(values, c, y) for w, y in zip(weight[:, row], truths, strict=True))
            for c in _listing(model.space)
        }
        best = max(worth.values())
        answer = tuple(found.y[row].tolist())
        assert found.expected_value[row] == pytest.approx(best, abs=1e-6)
        assert worth[answer] == pytest.approx(best, abs=1e-6)
        np.testing.assert_allclose(candidates[:, row], [worth[y] for y in truths], atol=1e-6)
        assert found.p_exact[row] == pytest.approx(weight[truths.index(answer), row], abs=1e-6)
        right = sum(w * np.mean(np.equal(answer, y)) for w, y in zip(weight[:, row], truths, strict=True))
        assert found.share_right[row] == pytest.approx(right, abs=1e-6)
        idle = 0.0
        if kind == "subsets":
            idle = sum(w * -(np.array(y) @ values.entries[:, 2]) for w, y in zip(weight[:, row], truths, strict=True))
        assert found.not_acting[row] == pytest.approx(idle, abs=1e-6)


@pytest.mark.parametrize("space", [Subsets(("a", "b", "c")), Configurations(("a", "b"), (("u", "v", "w"), ("u", "v")))])
@pytest.mark.parametrize("bonus", [0.0, 4.0])
def test_repeated_draws_count_once_and_the_best_need_not_be_drawn(space: OutputSpace, bonus: float):
    from jebm_core.decisions import expected

    kind = "subsets" if isinstance(space, Subsets) else "configurations"
    values = _table(SCHEMAS[kind], 5, bonus=bonus, size=kind == "subsets")
    rng = np.random.default_rng(6)
    points = np.array(_listing(space))
    y = torch.from_numpy(points[rng.integers(0, len(points), (5, 9))])  # few draws, some of them twice
    log_weight = torch.from_numpy(rng.normal(size=(5, 9))).log_softmax(0)
    answer, value, *_ = expected._decide_rows(space, values, y, log_weight, distinct=False)
    for row in range(9):
        pairs = list(zip(log_weight[:, row].exp().tolist(), map(tuple, y[:, row].tolist()), strict=True))
        worth = {c: sum(w * _worth(values, c, t) for w, t in pairs) for c in _listing(space)}
        assert value[row] == pytest.approx(max(worth.values()), abs=1e-9)
        assert worth[tuple(answer[row].tolist())] == pytest.approx(max(worth.values()), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bonus", [0.0, 4.0])
def test_oracle_and_realised_values_are_those_of_the_listing(kind: str, bonus: float):
    schema = SCHEMAS[kind]
    options = (2, 2, 2) if kind == "subsets" else (3, 2)
    values = _table(schema, 3, bonus=bonus, size=kind == "subsets")
    every = list(itertools.product(*(range(n) for n in options)))
    truth = np.array(every)
    best = [max(_worth(values, c, y) for c in every) for y in every]
    np.testing.assert_allclose(values.oracle(truth, options), best)
    pairs = list(itertools.product(every, every))
    found = values.worth(np.array([c for c, _ in pairs]), np.array([y for _, y in pairs]))
    np.testing.assert_allclose(found, [_worth(values, c, y) for c, y in pairs])


def test_measured_decisions_never_beat_the_oracle_and_the_record_adds_up():
    model, context = model_and_context("subsets", "marginals")
    truth = examples("subsets").outputs.values[:40]
    values = _table(model.record.schema, 1, bonus=2.0)
    found = measure_decisions(model, context, truth, values)
    assert (found.regret() >= -1e-9).all()
    policy = make_policy(model, found, values, context.x.numpy(), loss="items", alpha=0.3)
    record = decision_record(found, values, policy.guarantee, verdict="caution")
    assert record["regret"][0] == pytest.approx(record["oracle"] - record["value"][0])
    assert record["gain_independent"][0] == pytest.approx(record["value"][0] - record["independent"])
    curve = record["curve"]
    assert curve["coverage"][-1] == 1.0
    assert curve["value"][-1] == pytest.approx(record["value"][0])
    assert curve["value"][0] == pytest.approx(record["not_acting"])
    sure = found.decisions.share_right
    at = 7
    answered = sure > curve["threshold"][at]
    assert curve["value"][at] == pytest.approx(np.where(answered, found.value, found.not_acting).mean())


def test_paired_differences_find_no_gain_where_there_is_none():
    # Seed 7; under the null p ≤ 0.01 in about 1 % of 200 sets: more than 10 of them is a false alarm below 1e-4.
    rng = np.random.default_rng(7)
    assert sum(paired(rng.normal(size=60), resamples=500).p <= 0.01 for _ in range(200)) <= 10
    assert paired(rng.normal(1.0, 1.0, 60)).p < 0.01


# ---- value files ----------------------------------------------------------------------------------------------------

EVERY = "every: {hit: 3, false_alarm: 1, miss: 2}\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("every: {hit: 3, miss: 1}", ("key 'every'", "false_alarm")),
        ("labels: {a: {hit: 3, false_alarm: 1, miss: 2}}", ("'b' has no values", "2 such parts")),
        (EVERY + "labels: {z: {hit: 1, false_alarm: 0, miss: 0}}", ("no 'z'", "a, b, c")),
        ("every: {hit: three, false_alarm: 1, miss: 2}", ("every.hit", "'three'")),
        ("every: {hit: .inf, false_alarm: 1, miss: 2}", ("every.hit", "inf")),
        ("every: {hit: yes, false_alarm: 1, miss: 2}", ("every.hit", "True")),
        ("every: {hit: 1, false_alarm: -1, miss: 2}", ("every.false_alarm", "at least 0")),
        (EVERY + "cost_per_item: {-1: 2}", ("cost_per_item", "sizes from 0 to 3", "-1")),
        (EVERY + "cost_per_item: {2: -2}", ("cost_per_item.2", "at least 0")),
        (EVERY + "cost_per_item: cheap", ("cost_per_item", "'cheap'")),
        (EVERY + "exact_bonus: -1", ("exact_bonus", "at least 0")),
        (EVERY + "profit: 1", ("'profit'", "exact_bonus")),
        ("- 1", ("the file", "[1]")),
        ("", ("the file", "nothing")),
        ("every: {hit: [", ("can't be read",)),
    ],
)
def test_a_bad_value_file_is_one_sentence(text: str, parts: tuple[str, ...], tmp_path: Path):
    path = tmp_path / "values.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_values(path, SCHEMAS["subsets"])
    for part in ("values.yaml", *parts):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_value_files_of_other_kinds(tmp_path: Path):
    path = tmp_path / "values.yaml"
    path.write_text("every: {right: 3, wrong: -1}\ncurrency: EUR\n", encoding="utf-8")
    found = read_values(path, SCHEMAS["configurations"])
    assert values_of(found.to_record(), SCHEMAS["configurations"], "again").entries.tolist() == [[3.0, -1.0]] * 2
    assert found.currency == "EUR"
    with pytest.raises(SpecError, match="subsets or configurations"):
        read_values(path, SCHEMAS["rankings"])
    with pytest.raises(SpecError, match="was not found"):
        read_values(tmp_path / "none.yaml", SCHEMAS["subsets"])


# ---- far rows and the policy ----------------------------------------------------------------------------------------


def test_far_distances_are_those_of_the_definition_and_false_alarms_as_stated():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(300, 3))
    far = FarRows.learn(x, alpha=0.05, neighbours=4)
    new = rng.normal(size=(5, 3))
    for row, found in zip(new, far.distance(new), strict=True):
        every = sorted(float(np.sqrt(((row - point) ** 2).sum())) for point in far.points)
        assert found == pytest.approx(np.mean(every[:4]), rel=1e-5)
    own = []
    for place, point in enumerate(far.points):
        others = np.delete(far.points, place, 0)
        own.append(np.mean(sorted(np.sqrt(((others - point) ** 2).sum(1)))[:4]))
    assert far.threshold == pytest.approx(sorted(own)[285], rel=1e-5)  # ⌈0.95 · 301⌉ = 286th
    # Seed 8; of 4000 new rows 5 % are expected; the threshold of 300 rows is itself off by about 1.3 %.
    assert far.is_far(rng.normal(size=(4000, 3))).mean() == pytest.approx(0.05, abs=0.05)
    assert far.is_far(np.full((1, 3), 9.0)).all()


def test_without_features_nothing_is_far_and_few_rows_are_refused():
    assert not FarRows.learn(np.zeros((9, 0))).is_far(np.zeros((4, 0))).any()
    with pytest.raises(SpecError, match="more than 5 reference rows"):
        FarRows.learn(np.zeros((5, 2)))
    with pytest.raises(SpecError, match="between 0 and 1"):
        FarRows.learn(np.zeros((50, 2)), alpha=0.0)


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    model, context = model_and_context("subsets", "marginals")
    truth = examples("subsets").outputs.values[:40]
    values = _table(model.record.schema, 1, bonus=2.0, size=True)
    found = measure_decisions(model, context, truth, values)
    policy = make_policy(model, found, values, context.x.numpy(), loss="items", alpha=0.3, far_alpha=0.1)
    path = tmp_path / "policy.yaml"
    path.write_text(policy.to_yaml(), encoding="utf-8")
    return path


def test_a_policy_does_the_same_after_it_was_read(policy_file: Path):
    model, context = model_and_context("subsets", "marginals")
    policy = read_policy(policy_file, model)
    assert read_policy(policy_file, model).to_yaml() == policy.to_yaml()
    found, reasons = apply_policy(policy, model, context)
    confident = found.share_right > policy.guarantee.threshold
    far = policy.far.is_far(context.x.numpy())
    for row, reason in enumerate(reasons):
        assert (reason == "") == (bool(confident[row]) and not far[row])
    context.x[3] += 50.0
    assert apply_policy(policy, model, context)[1][3] == "far"


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("format: 1", "format: 9", "found 9"),
        ("kind: crc", "kind: luck", "'luck'"),
        ("  alpha: 0.3", "  alpha: much", "'much'"),
        ("  n: 40\n", "", "no 'n'"),
        ("model_data_sha256: ", "model_data_sha256: x", "model of other data"),
        ("  points: ", "  points: AAAA", "expected a whole policy"),
        ("exact_bonus: 2.0", "exact_bonus: -2.0", "exact_bonus"),
    ],
)
def test_a_damaged_policy_is_one_sentence(old: str, new: str, part: str, policy_file: Path):
    model, _ = model_and_context("subsets", "marginals")
    text = policy_file.read_text(encoding="utf-8")
    assert old in text
    policy_file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_policy(policy_file, model)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
