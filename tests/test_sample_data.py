"""The sample projects: files that come out the same each time, and a truth that is exact."""

import doctest
import json
import re
import time
from itertools import permutations
from math import exp, isclose, log
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from jebm_core.errors import SpecError, TableError
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.data import broken_rules
from jebm_core.rules.notation.files import read_rule_file
from jebm_core.rules.problem import bind
from jebm_core.tables import guess_roles, read_examples, read_table
from sample_data import design
from sample_data import truth as truth_module
from sample_data.make import main
from sample_data.readme import LOGISTIC_AUROC
from sample_data.truth import Truth, load_truth

FOLDER = Path(__file__).parents[1] / "sample_data"
NAMES = ("assembly", "maintenance", "suppliers")


def table_of(name: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{name}.csv")


def spec_of(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))[name]


def slow_score(spec: dict[str, Any], effects: list[dict[str, Any]], row: dict[str, Any]) -> float:
    """The score of one row of a file, cell by cell: the twin of the matrix products."""
    contexts = {context["name"]: context for context in spec["contexts"]}

    def term(name: str) -> float:
        if name == "always":
            return 1.0
        if "=" in name:
            column, option = name.split("=")
            return float(row[column] == option)
        column = name.removesuffix("^2")
        number = log(row[column]) if contexts[column]["log"] else row[column]
        z = (number - contexts[column]["centre"]) / contexts[column]["scale"]
        return z * z - 1 if name.endswith("^2") else z

    def atom(text: str) -> float:
        if text == "always":
            return 1.0
        column, _, value = text.partition("=")
        if spec["kind"] == "subsets":
            return float(row[column])
        if spec["kind"] == "configurations":
            return float(row[column] == value)
        return float(row[column] == int(value)) if value else (len(spec["outputs"]) + 1) / 2 - row[column]

    total = 0.0
    for effect in effects:
        value = effect["nats"] * term(effect["when"])
        for text in effect["event"].split(" & "):
            value *= atom(text)
        total += value
    return total


def test_every_file_is_generated_again_byte_for_byte(tmp_path: Path) -> None:
    main(tmp_path)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(written) == 11
    for name, content in written.items():
        assert content == (FOLDER / name).read_bytes(), f"{name} differs: run python -m sample_data.make"


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_sum_to_one_over_the_listing(name: str) -> None:
    truth, table = load_truth(name), table_of(name)
    for row in (0, 101):
        outputs = truth.listing
        if name == "assembly":
            results = np.repeat([0, 1], len(outputs))[:, None]
            outputs = np.concatenate([np.tile(outputs, (2, 1)), results], axis=1)
        x = table.iloc[np.full(len(outputs), row)]
        assert isclose(np.exp(truth.log_prob(x, outputs)).sum(), 1.0, abs_tol=1e-10)
        assert isclose(truth.probabilities(table.iloc[[row]]).sum(), 1.0, abs_tol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_log_prob_agrees_with_the_score_read_cell_by_cell(name: str) -> None:
    truth, spec = load_truth(name), spec_of(name)
    table = table_of(name).iloc[:25]
    fast = truth.log_prob(table, table) + truth.log_partition(table)
    for row, value in zip(table.to_dict("records"), fast, strict=True):
        slow = slow_score(spec, spec["effects"], row)
        if name == "assembly":
            odds = slow_score(spec, spec["success"], row)
            slow -= log(1 + exp(-odds if row["c_result"] == "pass" else odds))
        assert isclose(slow, value, abs_tol=1e-9)


def test_log_partition_of_rankings_agrees_with_a_plain_sum() -> None:
    truth, spec, table = load_truth("suppliers"), spec_of("suppliers"), table_of("suppliers")
    row = table.iloc[3].to_dict()
    total = 0.0
    for ranks in permutations(range(1, 7)):
        total += exp(slow_score(spec, spec["effects"], {**row, **dict(zip(truth.columns, ranks, strict=True))}))
    assert isclose(truth.log_partition(table.iloc[[3]])[0], log(total), abs_tol=1e-9)


def test_log_partition_does_not_depend_on_how_rows_are_grouped() -> None:
    truth, table = load_truth("assembly"), table_of("assembly").iloc[:200]
    twice = pd.concat([table, table])
    alone = np.array([truth.log_partition(table.iloc[[i]])[0] for i in range(0, 200, 40)])
    np.testing.assert_allclose(truth.log_partition(twice)[::40], np.tile(alone, 2), atol=1e-10)


def equal_bins(mass: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each outcome, none empty, most of about equal probability, in the order of the listing."""
    middle = np.cumsum(mass) - mass / 2
    return np.unique(np.floor(middle * bins), return_inverse=True)[1]


@pytest.mark.parametrize("name", NAMES)
def test_fresh_samples_follow_the_truth(name: str) -> None:
    # Seed 11; chi-square over 40 bins, false-alarm rate 1e-4 for each project.
    truth, x = load_truth(name), table_of(name).iloc[[5]]
    draws = truth.sample(x.iloc[np.zeros(8000, dtype=int)], np.random.default_rng(11))
    mass = truth.probabilities(x)[0]
    slots = draws[:, : len(truth.slots)]
    radix = 10 ** np.arange(slots.shape[1])
    keys = truth.listing @ radix
    order = np.argsort(keys)
    outcome = order[np.searchsorted(keys[order], slots @ radix)]
    bins = equal_bins(mass, 40)
    expected = np.bincount(bins, weights=mass) * len(draws)
    assert len(expected) > 10
    assert expected.min() > 5
    assert chisquare(np.bincount(bins[outcome], minlength=len(expected)), expected).pvalue > 1e-4
    if name == "assembly":
        # Passes against their exact mean and variance: beyond 4.5 standard deviations, false-alarm rate 7e-6.
        p = truth.success_probability(x, slots)
        assert abs(draws[:, -1].sum() - p.sum()) < 4.5 * np.sqrt((p * (1 - p)).sum())


def test_pass_follows_its_probability_within_bands() -> None:
    # Seed 12; four bands, exact binomial tests, false-alarm rate 4e-4 together.
    truth = load_truth("assembly")
    x = table_of("assembly").iloc[np.arange(4200) % 420]
    draws = truth.sample(x, np.random.default_rng(12))
    p = truth.success_probability(x, draws)
    for low, high in ((0.0, 0.4), (0.4, 0.7), (0.7, 0.9), (0.9, 1.0)):
        band = (p >= low) & (p < high)
        assert binomtest(int(draws[band, -1].sum()), int(band.sum()), p[band].mean()).pvalue > 1e-4


def test_valid_agrees_with_the_rule_file_over_every_combination() -> None:
    truth = load_truth("assembly")
    text = (FOLDER / "assembly_rules.cnf").read_text(encoding="utf-8").splitlines()
    names = [re.fullmatch(r"c \d+ (c_\w+)=(.+)", line) for line in text if line.startswith("c ")]
    variables = [match.groups() for match in names if match]
    sizes = [6, 6, 5, 5, 5, 5, 5]
    everything = np.indices(sizes).reshape(7, -1).T
    cells = truth.decode(everything)
    literal = {i: (cells[slot] == option).to_numpy() for i, (slot, option) in enumerate(variables, start=1)}
    satisfied = np.ones(len(everything), dtype=bool)
    clauses = [[int(n) for n in line.split()[:-1]] for line in text if not line.startswith(("c ", "p "))]
    assert f"p cnf {len(variables)} {len(clauses)}" in text
    for clause in clauses:
        satisfied &= np.any([literal[n] if n > 0 else ~literal[-n] for n in clause], axis=0)
    np.testing.assert_array_equal(truth.valid(everything), satisfied)
    assert satisfied.sum() == len(truth.listing)
    assert len(np.unique(truth.listing, axis=0)) == len(truth.listing)


@pytest.mark.parametrize("name", ["assembly", "assembly_ja"])
def test_the_rules_as_text_leave_what_the_truth_allows(name: str) -> None:
    table = read_table(FOLDER / f"{name}.csv")
    examples = read_examples(table, guess_roles(table))
    rules = read_rule_file(FOLDER / f"{name}.rules")
    compiled = compile_rules(bind(rules, examples.outputs.schema, features=examples.roles.features))
    results = len(examples.outputs.options[-1])
    assert compiled.diagram.count() == results * len(load_truth("assembly").listing)
    assert len(rules.rules) == len(load_truth("assembly").rules)
    assert not broken_rules(compiled, examples).any()


def test_every_built_assembly_obeys_the_rules_and_a_broken_one_has_probability_zero() -> None:
    truth, table = load_truth("assembly"), table_of("assembly")
    assert truth.valid(table).all()
    row = table.iloc[[0]].assign(c_motor="servo 1.5 kW", c_controller="relay starter")
    assert not truth.valid(row)[0]
    assert truth.log_prob(row, row)[0] == -np.inf
    broken = {rule["id"] for rule, is_broken in zip(truth.rules, truth.broken_rules(row)[0], strict=True) if is_broken}
    assert "servo-control" in broken


def test_each_rule_matters() -> None:
    spec = spec_of("assembly")
    count = len(load_truth("assembly").listing)
    for i in range(len(spec["rules"])):
        fewer = {
            **spec,
            "effects": [],
            "success": spec["success"][:1],
            "rules": spec["rules"][:i] + spec["rules"][i + 1 :],
        }
        fewer["effects"] = spec["effects"][:1]
        assert len(Truth(fewer).listing) > count, spec["rules"][i]["id"]


def test_candidates_are_valid_distinct_and_never_built() -> None:
    truth, table = load_truth("assembly"), table_of("assembly")
    candidates = pd.read_csv(FOLDER / "assembly_candidates.csv")
    slots = list(truth.slots)
    assert len(candidates) == 30
    assert "c_result" not in candidates
    assert truth.valid(candidates).all()
    assert not candidates.duplicated(slots).any()
    assert len(candidates.merge(table[slots].drop_duplicates(), on=slots)) == 0


def test_the_japanese_file_has_the_same_rows() -> None:
    labels = json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))["assembly"]
    english = table_of("assembly")
    japanese = pd.read_csv(FOLDER / "assembly_ja.csv", encoding="cp932")
    assert list(japanese.columns[4:6]) == ["c_モーター", "c_減速機"]
    for old, new in zip(english.columns, japanese.columns, strict=True):
        assert old[:2] == new[:2]
        names = {value: label["ja"] for value, label in labels["options"].get(old, {}).items()}
        expected = [names.get(cell, cell) for cell in english[old]]
        assert expected == japanese[new].tolist()


@pytest.mark.parametrize("name", NAMES)
def test_labels_cover_every_column_and_option_in_both_languages(name: str) -> None:
    entry = json.loads((FOLDER / "labels.json").read_text(encoding="utf-8"))[name]
    table = table_of(name)
    assert set(entry["columns"]) == set(table.columns)
    texts = [entry["title"], entry["question"], entry["description"], *entry["columns"].values()]
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            assert set(table[column]) <= set(entry["options"][column])
    for column, options in spec_of(name)["outputs"].items():
        assert not options or set(options) == set(entry["options"][column])
    for names in entry["options"].values():
        texts += names.values()
        for language in ("en", "ja"):
            assert len({label[language] for label in names.values()}) == len(names)
    if name == "assembly":
        texts += [rule["text"] for rule in spec_of(name)["rules"]]
    for text in texts:
        assert set(text) == {"en", "ja"}
        assert text["en"].replace("°", "").replace("·", "").isascii()
        assert re.search("[ぁ-んァ-ヶ一-龠]", text["ja"])
        assert not re.search("[\uff61-\uff9f]", text["ja"]), "half-width kana"


def test_the_figures_of_the_readme_are_those_of_the_files() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    truth, table = load_truth("assembly"), table_of("assembly")
    failed = table["c_result"].tolist().count("fail")
    assert f"{len(truth.listing):,} of 112,500 combinations obey the {len(truth.rules)} rules" in page
    assert f"{failed} of {len(table)} built assemblies failed ({failed / len(table):.1%})" in page
    assert 0.29 <= failed / len(table) <= 0.33
    assert 0.09 <= len(truth.listing) / 112_500 <= 0.12
    shares = []
    for name in NAMES:
        count = table_of(name)[list(load_truth(name).slots)].value_counts()
        shares.append(f"{(count == 1).mean():.1%}")
    assert f"| share of the distinct ones seen once | {' | '.join(shares)} |" in page
    losses = [f"{-load_truth(name).log_prob(table_of(name), table_of(name)).mean():.2f}" for name in NAMES]
    assert f"nats | {' | '.join(losses)} |" in page


def test_the_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parent)
    blocks = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})


@pytest.mark.parametrize("module", [design, truth_module])
def test_the_examples_of_the_docstrings_run(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_success_of_unseen_combinations_varies_widely_and_moves_with_the_conditions() -> None:
    truth, table = load_truth("assembly"), table_of("assembly")
    built = set(map(tuple, truth.encode(table)[:, :-1].tolist()))
    unseen = np.array([tuple(row) not in built for row in truth.listing.tolist()])
    success = truth.success_probabilities(table.iloc[:100])[:, unseen]
    low, high = np.quantile(success, [0.05, 0.97])
    assert low < 0.06
    assert high > 0.96
    assert 0.1 < success.std(axis=0).mean() < 0.25
    assert success.std(axis=1).mean() > 1.3 * success.std(axis=0).mean()


def test_pass_and_fail_can_be_predicted_above_chance() -> None:
    table = table_of("assembly")
    features = StandardScaler().fit_transform(pd.get_dummies(table.drop(columns="c_result")).astype(float))
    passed = (table["c_result"] == "pass").to_numpy()
    folds = KFold(10, shuffle=True, random_state=0)
    model = LogisticRegression(C=0.03, max_iter=2000)
    predicted = cross_val_predict(model, features, passed.astype(int), cv=folds, method="predict_proba")
    auroc = roc_auc_score(passed, np.asarray(predicted)[:, 1])
    assert 0.75 < auroc < 0.85
    assert abs(auroc - LOGISTIC_AUROC) < 0.01


def test_maintenance_has_pairs_that_attract_and_pairs_that_exclude_each_other() -> None:
    truth, table = load_truth("maintenance"), table_of("maintenance")
    mass = truth.probabilities(table).mean(axis=0)
    assert 3 < mass @ truth.listing.sum(axis=1) < 4
    index = {name: i for i, name in enumerate(truth.columns)}

    def lift(a: str, b: str) -> float:
        has = truth.listing[:, [index[a], index[b]]] == 1
        return float((mass @ has.all(axis=1)) / ((mass @ has[:, 0]) * (mass @ has[:, 1])))

    assert lift("y_change_oil", "y_replace_filter") > 1.5
    assert lift("y_replace_bearing", "y_align_shaft") > 1.5
    assert lift("y_grease_bearing", "y_replace_bearing") < 0.2
    assert lift("y_adjust_belt", "y_replace_belt") < 0.2


def test_supplier_preferences_move_with_the_order() -> None:
    truth, table = load_truth("suppliers"), table_of("suppliers")
    small, large = (table.iloc[[0]].assign(x_order_volume=volume) for volume in (200, 15_000))
    first = truth.listing[:, 0] == 0
    assert truth.probabilities(large)[0] @ first > 3 * (truth.probabilities(small)[0] @ first)


def test_log_prob_of_500_rows_takes_under_three_seconds() -> None:
    truth, table = load_truth("assembly"), table_of("assembly")
    many = table.iloc[np.arange(500) % len(table)].assign(x_peak_torque_nm=np.linspace(20, 180, 500))
    start = time.process_time()
    truth.log_prob(many, many)
    assert time.process_time() - start < 3


@given(row=st.integers(0, 299), name=st.sampled_from(NAMES))
@settings(max_examples=25, deadline=None)
def test_decode_and_encode_are_inverse(row: int, name: str) -> None:
    truth, table = load_truth(name), table_of(name).iloc[[row]]
    codes = truth.encode(table)
    decoded = truth.decode(codes)
    assert decoded.to_dict("records") == table[list(truth.columns)].to_dict("records")
    np.testing.assert_array_equal(truth.encode(codes), codes)
    assert isclose(truth.log_prob(table, codes)[0], truth.log_prob(table, table)[0])


def test_codes_start_at_zero_for_the_most_preferred() -> None:
    codes = load_truth("suppliers").encode(table_of("suppliers"))
    np.testing.assert_array_equal(codes + 1, table_of("suppliers")[list(load_truth("suppliers").columns)])


def test_errors_name_row_column_and_what_to_do() -> None:
    assembly, suppliers = table_of("assembly").iloc[:3], table_of("suppliers").iloc[:3]
    truth, ranking = load_truth("assembly"), load_truth("suppliers")
    wrong = assembly.assign(c_seal=["NBR lip", "felt", "NBR lip"])
    options = "NBR lip, FKM lip, PTFE lip, labyrinth, mechanical face"
    with pytest.raises(TableError) as error:
        truth.valid(wrong)
    assert str(error.value) == f"Row 3, column 'c_seal': expected one of {options}, found 'felt'. Correct the cell."
    with pytest.raises(TableError, match="Expected a column 'x_line', found x_"):
        truth.log_partition(assembly[["x_ambient_temp_c", "x_peak_torque_nm", "x_environment"]])
    with pytest.raises(TableError, match="Row 4, column 'x_peak_torque_nm': expected a finite number, found 'heavy'"):
        truth.log_partition(assembly.assign(x_peak_torque_nm=["10", "20", "heavy"]))
    with pytest.raises(TableError, match="Output row 1: expected each place once"):
        ranking.log_prob(suppliers, suppliers.assign(r_supplier_a=1, r_supplier_b=1))
    with pytest.raises(TableError, match="found 2 and 3"):
        ranking.log_prob(suppliers, suppliers.iloc[:2])
    with pytest.raises(TableError, match=r"found shape \(3, 4\)"):
        ranking.encode(np.zeros((3, 4), dtype=np.int64))
    with pytest.raises(TableError, match="codes of the listed options"):
        truth.encode(np.full((1, 8), 7))
    with pytest.raises(SpecError, match="Only assembly has one"):
        ranking.success_probability(suppliers, suppliers)
    with pytest.raises(SpecError, match="Only assembly has rules"):
        ranking.valid(suppliers)
    with pytest.raises(SpecError, match="Expected one of assembly, maintenance, suppliers, found 'drills'"):
        load_truth("drills")  # pyright: ignore[reportArgumentType]
