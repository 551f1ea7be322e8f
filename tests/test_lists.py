"""A person's own list: every wrong cell and broken rule is named with its row and column, and the rest is scored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from jebm_core.cli import main
from jebm_core.errors import SpecError, TableError
from jebm_core.evaluation.lists import read_list
from jebm_core.fitted import load
from jebm_core.rules.explain import violations
from jebm_core.tables import OutputSchema, Table, read_table
from jebm_core.tables import row_errors as row_errors_module
from jebm_core.tables.row_errors import readable_rows
from tests.test_cli import _rows
from tests.test_explanation import EXCLUDES, RULES, random_model, small

SUBSETS = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
RANKINGS = OutputSchema("rankings", ("a", "b", "c"), ("r_a", "r_b", "r_c"), ((), (), ()))
SLOTS = OutputSchema("configurations", ("p", "q"), ("c_p", "c_q"), (("S", "M"), ("1.5", "red")))


def table(text: str) -> Table:
    return read_table("t.csv", content=text.encode())


@pytest.mark.parametrize(
    ("schema", "text", "keep", "errors"),
    [
        (SUBSETS, "y_a,y_b\n1,0\n2,x\n,1\n0,1\n", [0, 3], [
            (3, "y_a", "expected 0 or 1"), (3, "y_b", "found 'x'"), (4, "y_a", "found an empty cell")]),
        (RANKINGS, "r_a,r_b,r_c\n1,2,3\n1,1,3\n1,2,4\n3,2,1\n", [0, 3], [
            (3, "", "rank 1 is given to both 'r_a' and 'r_b'"), (4, "r_c", "from 1 (most preferred) to 3, found '4'")]),
        (SLOTS, "c_q,c_p\n1.50,S\nred,L\nblue,XS\nred,M\n", [0, 3], [
            (3, "c_p", "one of the 2 options that the model knows, found 'L'"), (4, "c_p", "found 'XS'"),
            (4, "c_q", "found 'blue'")]),
    ],
)  # fmt: skip
def test_every_wrong_cell_is_named(
    schema: OutputSchema, text: str, keep: list[int], errors: list[tuple[int, str, str]]
) -> None:
    found = readable_rows(table(text), schema)
    assert found.keep.tolist() == keep
    assert [(error.row, error.column) for error in found.errors] == [(row, column) for row, column, _ in errors]
    for error, (row, _, words) in zip(found.errors, errors, strict=True):
        assert words in str(error.problem)
        assert f"row {row}" in str(error.problem)
        assert error.rule == ""


def test_a_skipped_slot_need_not_be_there_and_is_not_read() -> None:
    found = readable_rows(table("c_p\nS\nM\n"), SLOTS, skip="q")
    assert found.values.tolist() == [[0, 0], [1, 0]]
    assert readable_rows(table("c_p,c_q\nS,?\n"), SLOTS, skip="q").errors == ()


def test_what_concerns_no_row_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match=r"no column 'c_q'.*nearest name is 'c_r'"):
        readable_rows(table("c_p,c_r\nS,red\n"), SLOTS)
    frame = pd.DataFrame({"y_a": pd.to_datetime(["2026-01-01"]), "y_b": [1]})
    with pytest.raises(TableError, match="found dates"):
        readable_rows(Table(frame, "t.parquet", "", "parquet", None, (), 1), SUBSETS)
    monkeypatch.setattr(row_errors_module, "MOST_ERRORS", 3)
    with pytest.raises(TableError, match=r"more than 3 cells can't be read; the first is in row 2, column 'y_a'"):
        readable_rows(table("y_a,y_b\n" + "5,1\n" * 4), SUBSETS)


def test_the_slow_twin_reads_row_by_row() -> None:
    rng = np.random.default_rng(0)
    cells = rng.choice(["0", "1", "2"], size=(60, 2), p=[0.45, 0.45, 0.1])
    read = table("y_a,y_b\n" + "\n".join(",".join(row) for row in cells) + "\n")
    found = readable_rows(read, SUBSETS)
    good = [i for i, row in enumerate(cells) if "2" not in row]
    assert found.keep.tolist() == good
    assert found.values.tolist() == cells[good].astype(int).tolist()
    assert len(found.errors) == int((cells == "2").sum())


def test_broken_rules_are_named_with_their_columns() -> None:
    model = random_model("configurations", "none", rules=EXCLUDES)
    read = table("x_a,c_size,c_colour,c_result\n0,p,q,p\n0,q,q,q\nx,q,r,p\n0,q,z,p\n1,r,r,q\n")
    with pytest.raises(TableError, match="row 4, column 'x_a': expected a number"):
        model.record.encoder.transform(read)
    found = read_list(model, read)
    assert found.own
    assert found.keep.tolist() == [0, 1, 4]
    assert found.allowed.tolist() == [True, False, True]
    assert [(error.row, error.column) for error in found.errors] == [
        (3, "c_size, c_colour"),
        (4, "x_a"),
        (5, "c_colour"),
    ]
    assert "excludes" in found.errors[0].rule
    assert "breaks “" in str(found.errors[0].problem)
    assert bool(model.space.contains(found.y[found.allowed]).all())
    assert not bool(model.space.contains(found.y[~found.allowed]).any())


def test_rules_of_some_contexts_hold_where_the_list_has_features() -> None:
    model = random_model("configurations", "none", rules='where x_a > 0: "size"=q excludes colour=q\nresult=q requires '
                         '"size"=p')  # fmt: skip
    text = "x_a,c_size,c_colour,c_result\n-1,q,q,p\n1,q,q,p\n1,q,r,q\n"
    found = read_list(model, table(text))
    assert found.allowed.tolist() == [True, False, False]
    without = read_list(model, table("\n".join(line.split(",", 1)[1] for line in text.split("\n")[:-1]) + "\n"))
    assert not without.own
    assert without.allowed.tolist() == [True, True, False]


def test_an_outcome_is_any_that_the_rules_allow() -> None:
    model = random_model("configurations", "none", rules=f"{EXCLUDES}\ncolour=r requires result=q")
    read = table("c_size,c_colour,note\np,r,a\nq,q,b\np,p,c\n")
    found = read_list(model, read, outcome=("result", "q"))
    assert found.allowed.tolist() == [True, False, True]
    assert found.y[0].tolist() == [0, 2, 1]  # result=p, which stands first, is not allowed here
    assert found.unused == ("note",)
    listed = np.array([[1, 1, option] for option in range(2)])
    assert violations(model.space.rules.problem, listed)[:, 0].all()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(SpecError, match="result=perhaps"):
        read_list(model, read, outcome=("result", "perhaps"))


def test_rules_with_weights_forbid_what_they_forbid() -> None:
    model = random_model("configurations", "none", rules=RULES)
    found = read_list(model, table("x_a,c_size,c_colour,c_result\n1,q,q,p\n1,p,q,p\n"))
    assert found.allowed.tolist() == [False, True]
    assert [error.row for error in found.errors] == [2]


def test_score_writes_what_is_wrong_beside_what_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("subsets").save(tmp_path / "model")
    (tmp_path / "new.csv").write_text(
        "x_a,y_a,y_b,y_c,y_d,y_e,y_f\n0.5,1,0,0,1,0,0\n0.5,1,7,0,1,0,\nmany,1,0,0,1,0,0\n0,0,0,0,0,0,0\n"
    )
    where = {name: tmp_path / f"{name}.csv" for name in ("new", "out", "errors")}
    command = ["score", str(tmp_path / "model"), str(where["new"]), "--out", str(where["out"])]
    assert main(command) == 2
    assert "row 4, column 'x_a'" in capsys.readouterr().err
    assert main([*command, "--errors", str(where["errors"])]) == 0
    said = capsys.readouterr().out
    assert "4 rows written" in said
    assert "2 can't be read and 0 break a rule: 3 problems in" in said
    errors = pd.read_csv(where["errors"])
    assert list(errors.columns) == ["row", "column", "rule", "problem"]
    assert errors[["row", "column"]].to_numpy().tolist() == [[3, "y_b"], [3, "y_f"], [4, "x_a"]]
    scores = pd.read_csv(where["out"])
    assert scores.log_prob.isna().tolist() == [False, True, True, False]
    model = load(tmp_path / "model")
    y = torch.tensor([[1, 0, 0, 1, 0, 0]])
    alone = model.log_prob(model.context(table("x_a\n0.5\n")), y).value
    assert scores.log_prob[0] == pytest.approx(float(alone), abs=1e-5)


def test_score_says_so_where_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("subsets").save(tmp_path / "model")
    head = "x_a,y_a,y_b,y_c,y_d,y_e,y_f\n"
    (tmp_path / "new.csv").write_text(head + "0.5,1,7,0,1,0,0\n")
    names = [str(tmp_path / name) for name in ("model", "new.csv", "out.csv", "errors.csv")]
    assert main(["score", names[0], names[1], "--out", names[2], "--errors", names[3]]) == 2
    assert "none of the 1 rows can be scored" in capsys.readouterr().err
    assert len(pd.read_csv(names[3])) == 1
    (tmp_path / "new.csv").write_text("y_a,y_b,y_c,y_d,y_e,y_f\n1,0,0,1,0,0\n")
    assert main(["score", names[0], names[1], "--out", names[2], "--errors", names[3]]) == 2
    assert "no column 'x_a'" in capsys.readouterr().err
    assert main(["score", names[0], names[1], "--out", names[2], "--errors", str(tmp_path / "errors.doc")]) == 2
    assert "expected .csv, .parquet or .xlsx" in capsys.readouterr().err


def test_score_names_rules_that_are_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text(_rows("subsets"))
    (tmp_path / "t.rules").write_text("p requires q\n")
    command = ["fit", str(tmp_path / "t.csv"), "--out", str(tmp_path / "m"), "--rules", str(tmp_path / "t.rules")]
    assert main([*command, "--affinity", "unary", "--reference", "uniform", "--epochs", "1"]) == 0
    (tmp_path / "new.csv").write_text("x_a,x_k,y_p,y_q,y_r\n0.1,u,1,0,0\n0.1,u,1,1,0\n")
    names = [str(tmp_path / name) for name in ("m", "new.csv", "out.csv", "errors.csv")]
    assert main(["score", names[0], names[1], "--out", names[2], "--errors", names[3]]) == 0
    assert "0 can't be read and 1 break a rule" in capsys.readouterr().out
    errors = pd.read_csv(names[3])
    assert errors[["row", "column", "rule"]].to_numpy().tolist() == [[2, "y_p, y_q", "p requires q"]]
    assert pd.read_csv(names[2]).log_prob[0] == -np.inf
