"""The harness: what is kept, what is measured again, and how values are judged and shown. No timing is asserted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import harness
from tests.benchmarks.__main__ import main
from tests.benchmarks.harness import SUITES, Finding, Measurement, Suite, Target, fingerprint, open_suite
from tests.benchmarks.report import markdown
from tests.benchmarks.store import Store, run_suite
from tests.benchmarks.timing import in_turns, lower_quartile

# A suite in a module of its own, as every suite is: the child process imports it by this name.
TARGETS = {"double": Target("≤", 5)}


def measure(settings: dict) -> dict:
    print("this must not end up in the result")
    if settings["number"] < 0:
        raise ValueError("expected a number from 0")
    return {"double": 2 * settings["number"]}


def findings(results: harness.Results) -> list[Finding]:
    return [
        Finding(name, result["double"], "×", TARGETS["double"], f"of {name}", (name,))
        for name, result in results.items()
    ]


SUITE = Suite(
    "test_harness",
    "Numbers doubled.",
    ("tests/benchmarks/timing.py",),
    (Measurement("two", {"number": 2}), Measurement("three", {"number": 3})),
    findings,
)


@pytest.mark.parametrize(
    ("relation", "met"),
    [("≤", [True, True, False]), ("<", [True, False, False]), ("≥", [False, True, True]), (">", [False, False, True])],
)
def test_targets(relation: str, met: list[bool]) -> None:
    target = Target(relation, 4)
    assert [Finding("", value, "", target).met for value in (3, 4, 5)] == met
    assert Finding("", float("nan"), "", target).met is False
    assert Finding("", 3).met is None


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        Target("=", 4).is_met(4)


def test_every_case_is_timed_once_a_round_in_turns() -> None:
    called: list[str] = []
    taken = in_turns({name: lambda name=name: called.append(name) for name in "abc"}, 4, warm=1)
    assert "".join(called) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {len(times.cpu) for times in taken.values()} == {len(times.wall) for times in taken.values()} == {4}
    assert lower_quartile((4.0, 1.0, 3.0, 2.0)) == 2.0


def test_a_finished_measurement_is_kept_until_its_settings_change(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    store = Store.open(tmp_path / "RESULTS.json")
    assert run_suite(SUITE, store, lambda: store.write([SUITE]))
    assert [finding.value for finding in store.findings(SUITE)] == [4, 6]
    assert [finding.met for finding in store.findings(SUITE)] == [True, False]
    capfd.readouterr()

    again = Store.open(tmp_path / "RESULTS.json")
    other = replace(SUITE, measurements=(SUITE.measurements[0], Measurement("three", {"number": 1})))
    assert again.outdated(SUITE) == set()
    assert again.outdated(other) == {"three"}
    assert run_suite(other, again, lambda: again.write([other]))
    said = capfd.readouterr().err
    assert "test_harness 1/2: two: kept" in said
    assert "test_harness 2/2: three …" in said
    assert [finding.value for finding in again.findings(other)] == [4, 2]


def test_a_failure_costs_no_other_measurement_and_is_tried_again(tmp_path: Path) -> None:
    broken = replace(SUITE, measurements=(Measurement("broken", {"number": -1}), SUITE.measurements[0]))
    store = Store.open(tmp_path / "RESULTS.json")
    assert not run_suite(broken, store, lambda: store.write([broken]))
    assert store.failed == {"test_harness": {"broken": "ValueError: expected a number from 0"}}
    assert list(store.of(broken)) == ["two"]
    page = markdown(store, [broken])
    assert "broken: failed: ValueError: expected a number from 0" in page


def test_a_skipped_suite_says_why(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "RESULTS.json")
    suite = replace(SUITE, skip=lambda: "no such thing here")
    assert run_suite(suite, store, lambda: store.write([suite]))
    assert store.of(suite) == {}
    assert "Skipped: no such thing here." in markdown(store, [suite])


def test_the_fingerprint_knows_code_from_comments_and_from_judgement(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    suite = replace(SUITE, code=("code.py",))

    def mark(text: str) -> str:
        code.write_text(text)
        return fingerprint(suite, suite.measurements[0], tmp_path)

    first = mark('def f():\n    """Words."""\n    return 1\n')
    assert mark("def f():  # why\n    return 1\n") == first
    assert mark("def f():\n    return 2\n") != first
    strict, loose = "TARGETS = {1: 2}\nSIZE = 3\n", "TARGETS = {1: 3}\nSIZE = 3\n"
    assert harness._meaning(strict, frozenset({"TARGETS"})) == harness._meaning(loose, frozenset({"TARGETS"}))
    assert harness._meaning(strict, frozenset()) != harness._meaning(loose, frozenset())


def test_the_page_names_no_place_and_marks_what_is_outdated(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "RESULTS.json")
    run_suite(SUITE, store, lambda: store.write([SUITE]))
    page = markdown(store, [SUITE])
    assert "**1 of 2 targets met.** Missed:\n\n- test_harness: three" in page
    assert "| two | ×4 | ≤ ×5 | yes | of two |" in page
    assert "| three | ×6 | ≤ ×5 | **no** | of three |" in page
    for text in (page, store.path.read_text(encoding="utf-8")):
        assert str(harness.ROOT) not in text
        assert str(tmp_path) not in text
    changed = replace(SUITE, code=("tests/benchmarks/report.py",))
    assert "| two † |" in markdown(store, [changed])
    assert "measured with earlier code" in markdown(store, [changed])


def test_the_file_is_json_that_other_programs_read(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "RESULTS.json")
    run_suite(SUITE, store, lambda: store.write([SUITE]))
    read = json.loads(store.path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    rows = [(row["what"], row["value"], row["met"]) for row in read["findings"]]
    assert rows == [("two", 4, True), ("three", 6, False)]
    assert read["machine"].keys() == {"processor", "cores", "memory_gib", "system"}


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_opened_and_has_nothing_to_say_without_results(name: str) -> None:
    suite = open_suite(name)
    assert suite.name == name
    assert suite.findings({}) == []
    names = [measurement.name for measurement in suite.measurements]
    assert len(set(names)) == len(names) > 0
    for pattern in suite.code:
        assert any(harness.ROOT.glob(pattern)), pattern


def test_an_unknown_suite_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        main(["stepz"])
    assert left.value.code == 2
    assert f"expected a suite among {', '.join(SUITES)}, found 'stepz'" in capsys.readouterr().err
