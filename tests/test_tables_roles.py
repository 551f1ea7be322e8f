"""Roles, outputs and examples: what is chosen, what the values mean, and the sentence for everything that is wrong."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.errors import TableError
from jebm_core.tables import (
    OutputSchema,
    Roles,
    guess_roles,
    read_examples,
    read_outputs,
    read_table,
    require_fit_size,
)


def table_of(folder, text, name="t.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_table(path)


def outputs_of(folder, text, **options):
    table = table_of(folder, text)
    return read_outputs(table, guess_roles(table), **options)


def refusal(act):
    with pytest.raises(TableError) as caught:
        act()
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- roles


def test_default_roles(tmp_path):
    table = table_of(tmp_path, "id,x_b,y_q,x_a,y_p,c_z\n1,1,0,1,1,u\n")
    assert guess_roles(table) == Roles(("x_b", "x_a"), ("y_q", "y_p"), "subsets")
    assert guess_roles(table, kind="configurations") == Roles(("x_b", "x_a"), ("c_z",), "configurations")
    assert guess_roles(table, features=[]).features == ()
    assert guess_roles(table, features=["x_?", "id"]).features == ("id", "x_b", "x_a")


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ("1,0\n0,1.0\n", "subsets"),
        ("True,False\nFalse,False\n", "subsets"),
        ("1,2\n2,1\n", "rankings"),
        ("1,2\n2,2\n", "configurations"),
        ("u,0\nv,1\n", "configurations"),
    ],
)
def test_kind_of_chosen_columns_without_prefix(tmp_path, cells, kind):
    table = table_of(tmp_path, "p,q\n" + cells)
    assert guess_roles(table, targets=["*"]) == Roles((), ("p", "q"), kind)


def test_a_name_with_brackets_is_a_name_first(tmp_path):
    table = table_of(tmp_path, "y_[a],y_a\n1,0\n")
    assert guess_roles(table, targets=["y_[a]"]).targets == ("y_[a]",)


CHOOSE = "Rename the columns, or choose them (--targets 'NAME*', or the roles on the Data page)."


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "t.csv has no target columns: expected names that begin with y_ (0 or 1), r_ (ranks) or c_ (options), "
             "found "
             f"'x_jazz', 'rock', 'jazz'. {CHOOSE}"),
        ({"kind": "rankings"}, "t.csv has no target columns for rankings: expected names that begin with r_, found "
                               f"'x_jazz', 'rock', 'jazz'. {CHOOSE}"),
        ({"targets": ["jaz_*"]}, "t.csv: no column matches 'jaz_*'; the nearest names are 'jazz', 'x_jazz', 'rock'. "
                                 "Check "
                                 "the spelling; * stands for any letters."),
        ({"targets": ["rock"], "features": ["*"]}, "t.csv: column 'rock' is chosen both as a feature and as a target. "
                                                   "Take it out of one of the two."),
    ],
)  # fmt: skip
def test_roles_that_are_refused(tmp_path, options, sentence):
    table = table_of(tmp_path, "x_jazz,rock,jazz\n1,0,1\n")
    assert refusal(lambda: guess_roles(table, **options)) == sentence


# ----------------------------------------------------------------------------------------------------------- outputs


def test_subsets_accept_numbers_and_truth_values(tmp_path):
    outputs = outputs_of(tmp_path, "y_a,y_b\n1,True\n0.0,False\n")
    assert (outputs.kind, outputs.names, outputs.columns) == ("subsets", ("a", "b"), ("y_a", "y_b"))
    assert outputs.options == ((), ())
    assert outputs.values.dtype == np.int64
    assert outputs.values.tolist() == [[1, 1], [0, 0]]


def test_truth_values_of_parquet(tmp_path):
    frame = pd.DataFrame({"y_a": [True, False], "y_b": np.array([1, 0], dtype=np.int8)})
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert read_outputs(table, guess_roles(table)).values.tolist() == [[1, 1], [0, 0]]


def test_declared_levels_of_arff_are_labels(tmp_path):
    table = table_of(tmp_path, "@relation r\n@attribute p {0,1}\n@attribute q {0,1}\n@data\n1,0\n{1 1}\n", "t.arff")
    assert read_outputs(table, guess_roles(table, targets=["p", "q"])).values.tolist() == [[1, 0], [0, 1]]


def test_configurations_sort_options_by_size_or_by_character(tmp_path):
    outputs = outputs_of(tmp_path, "c_色,c_n\n赤,10\n青,9\n赤,10.0\n")
    assert outputs.names == ("色", "n")
    assert outputs.options == (("赤", "青"), ("9", "10", "10.0"))
    assert outputs.values.tolist() == [[0, 1], [1, 0], [0, 2]]


def test_options_of_numbers_lose_their_decimal_point(tmp_path):
    pd.DataFrame({"c_a": [1.0, 2.5, 10.0]}).to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert read_outputs(table, guess_roles(table)).options == (("1", "2.5", "10"),)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6).flatmap(lambda k: st.lists(st.permutations(range(k)), min_size=1, max_size=6)))
def test_rankings_give_back_the_positions(rows):
    text = ",".join(f"r_{item}" for item in range(len(rows[0]))) + "\n"
    text += "".join(",".join(str(position + 1) for position in row) + "\n" for row in rows)
    table = read_table("t.csv", content=text.encode())
    assert read_outputs(table, guess_roles(table)).values.tolist() == [list(row) for row in rows]


def test_a_known_schema_fixes_columns_and_options(tmp_path):
    fitted = outputs_of(tmp_path, "c_a,c_b\nu,1.5\nv,2\n")
    schema = OutputSchema.from_json(json.loads(json.dumps(fitted.schema.to_json())))
    assert schema == fitted.schema
    table = table_of(tmp_path, "c_b,c_a,c_z\n1.50,v,w\n")
    outputs = read_outputs(table, Roles((), ("c_a", "c_b"), "configurations"), like=schema)
    assert outputs.schema == schema
    assert outputs.values.tolist() == [[1, 0]]


BINARY = "expected 0 or 1 (1.0, 0.0, True and False are read too)"
LEAVE = "Correct the cell, or leave it empty to leave the row out."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        *[
            (f"y_a,y_b\n1,0\n0,{word}\n", f"t.csv, row 3, column 'y_b': {BINARY}, found {word!r}. {LEAVE}")
            for word in ("2", "-1", "0.5", "true", "false", "yes", "no", "はい", "いいえ", "01", "inf")
        ],
        ("r_a,r_b,r_c\n1,2,3\n2,2,1\n",
         "t.csv, row 3: rank 2 is given to both 'r_a' and 'r_b'. Each of the 3 items needs its own rank; ties are not "
         "supported."),
        ("r_a,r_b,r_c\n0,1,2\n",
         "t.csv, row 2, column 'r_a': expected a whole rank from 1 (most preferred) to 3, found '0'. Number the items "
         "of "
         "each row 1, 2, …, 3."),
        ("r_a,r_b,r_c\n1,2,3\n1,2,4\n",
         "t.csv, row 3, column 'r_c': expected a whole rank from 1 (most preferred) to 3, found '4'. Number the items "
         "of "
         "each row 1, 2, …, 3."),
        ("r_a,r_b\n1,2\n1.5,2\n",
         "t.csv, row 3, column 'r_a': expected a whole rank from 1 (most preferred) to 2, found '1.5'. Number the "
         "items "
         "of each row 1, 2, …, 2."),
        ("r_a,r_b\n1,2\nfirst,2\n",
         "t.csv, row 3, column 'r_a': expected a whole rank from 1 (most preferred) to 2, found 'first'. Number the "
         "items of each row 1, 2, …, 2."),
        ("r_a,r_b\n1,2\n,1\n",
         "t.csv, row 3, column 'r_a': expected a value, found an empty cell. Fill the cell, or leave the row out."),
        ("r_a,x_b\n1,2\n", "t.csv has one rank column; a ranking needs at least two items. Add the other r_… columns."),
        (",".join(f"y_{i}" for i in range(2001)) + "\n" + "1" + ",0" * 2000 + "\n",
         "t.csv has 2,001 outputs (target columns); at most 2,000 are supported. Choose fewer target columns, or join "
         "rare ones."),
        ("c_a,c_b\n" + "".join(f"u{i},v\n" for i in range(2000)),
         "t.csv has 2,001 outputs (options of all slots); at most 2,000 are supported. Choose fewer target columns, or "
         "join rare ones."),
    ],
)  # fmt: skip
def test_outputs_that_are_refused(tmp_path, text, sentence):
    assert refusal(lambda: outputs_of(tmp_path, text)) == sentence


def test_outputs_that_a_model_does_not_know(tmp_path):
    fitted = outputs_of(tmp_path, "c_屋根,c_b\nガラス,1\n鉄,2\n")
    assert refusal(lambda: outputs_of(tmp_path, "c_屋根,c_b\n鉄,2\nカラス,1\n", like=fitted)) == (
        "t.csv, row 3, column 'c_屋根': expected one of the 2 options that the model knows, found 'カラス'; the "
        "nearest is 'ガラス'. Correct the cell, or fit a model to data that has this option."
    )
    assert refusal(lambda: outputs_of(tmp_path, "c_屋,c_b\n鉄,2\n", like=fitted.schema)) == (
        "t.csv has no column 'c_屋根', which is needed as a target; the nearest name is 'c_屋'. Rename the column, or "
        "add "
        "it."
    )


def test_dates_are_no_targets(tmp_path):
    pd.DataFrame({"c_a": pd.to_datetime(["2026-05-01", "2026-06-01"])}).to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert refusal(lambda: read_outputs(table, guess_roles(table))) == (
        "t.parquet, column 'c_a': expected labels, ranks or options, found dates. Turn them into categories such as "
        "the "
        "month, or choose other target columns."
    )


# ---------------------------------------------------------------------------------------------------------- examples


def examples_of(folder, text, **options):
    table = table_of(folder, text)
    return read_examples(table, guess_roles(table), **options)


def test_incomplete_rows_are_left_out_counted_and_named(tmp_path):
    text = "x_a,y_b,y_c,y_d,memo\n" + "".join(f"{i},{'' if i % 3 == 0 else i % 2},1,0,z\n" for i in range(36))
    examples = examples_of(tmp_path, text)
    assert examples.keep.tolist() == [i for i in range(36) if i % 3]
    assert examples.outputs.values[:, 0].tolist() == [i % 2 for i in range(36) if i % 3]
    assert [str(note) for note in examples.notes] == [
        "12 rows with a missing label were left out (rows 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, … (2 more)).",
        "2 target columns hold the same value in every row (y_c, y_d); nothing can be learned of them.",
        "1 columns are neither features nor targets and are not used (memo).",
    ]
    require_fit_size(examples)


def test_a_wrong_cell_after_left_out_rows_keeps_its_row_number(tmp_path):
    sentence = refusal(lambda: examples_of(tmp_path, "y_a,y_b\n1,\n1,0\n3,1\n"))
    assert sentence == f"t.csv, row 4, column 'y_a': {BINARY}, found '3'. {LEAVE}"


def test_options_that_look_alike_are_said(tmp_path):
    examples = examples_of(tmp_path, "c_a\nType A\ntype\N{IDEOGRAPHIC SPACE}Ａ\n")
    assert [str(note) for note in examples.notes] == [
        "Column 'c_a': 'Type A' and 'type\\u3000Ａ' count as different options; they differ only in spaces, width or "
        "case."
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("y_a,y_b\n1,0\n1,0\n",
         "t.csv: all 2 complete rows have the same output, so there is nothing to learn. Check the target columns, or "
         "add rows with other outputs."),
        ("r_a,r_b,r_c\n1,,\n1,2,\n",
         "t.csv: every row is a partial ranking; the fullest, row 3, ranks 2 of 3 items. Rank every item in each row, "
         "or "
         "choose fewer rank columns."),
        ("y_a,y_b\n1,\n,1\n",
         "t.csv: no row has all its target cells filled; the fullest, row 2, has 1 of 2. Fill the cells (0 means "
         "absent), or choose fewer target columns."),
    ],
)  # fmt: skip
def test_examples_that_are_refused(tmp_path, text, sentence):
    assert refusal(lambda: examples_of(tmp_path, text)) == sentence


def test_equal_outputs_may_be_judged_but_not_fitted(tmp_path):
    schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
    assert len(examples_of(tmp_path, "y_a,y_b\n1,0\n1,0\n", like=schema).keep) == 2


def test_examples_for_a_model_use_its_options(tmp_path):
    schema = OutputSchema("configurations", ("a",), ("c_a",), (("u", "v", "w"),))
    assert examples_of(tmp_path, "c_a\nw\nv\n", like=schema).outputs.values.tolist() == [[2], [1]]


def test_few_rows_are_refused_for_fitting(tmp_path):
    examples = examples_of(tmp_path, "y_a,y_b\n" + "1,0\n0,1\n" * 9 + "1,\n")
    assert refusal(lambda: require_fit_size(examples)) == (
        "t.csv has 18 complete rows; at least 20 are needed to fit a model. Add rows, or fill the missing target cells."
    )
