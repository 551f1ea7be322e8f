"""The feature encoder against its own rule, written out slowly, and the sentences for cells it can't use."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.errors import TableError
from jebm_core.tables import FeatureEncoder, Table, read_table


def table_of(text, name="t.csv"):
    return read_table(name, content=text.encode("utf-8"))


def as_table(frame):
    return Table(frame, "t.parquet", "", "parquet", None, (), 1)


def fit(table, features=None):
    names = list(table.frame.columns) if features is None else features
    return FeatureEncoder.fit(table.frame, names, file=table.name, first_row=table.first_row)


def refusal(act):
    with pytest.raises(TableError) as caught:
        act()
    return str(caught.value)


def notes(encoder):
    return [str(note) for note in encoder.notes]


def slow_encode(encoder, train, rows):
    """The documented rule, cell by cell."""
    encoded = []
    for row in range(len(rows)):
        line = []
        for name in train.columns:
            if name in encoder.left_out:
                continue
            cell, known = rows[name].iloc[row], [cell for cell in train[name] if not pd.isna(cell)]
            gaps = len(known) < len(train)
            if train[name].dtype == float:
                if min(known) < max(known):
                    mean, spread = np.mean(known), np.std(known)
                    line.append(0.0 if pd.isna(cell) else (cell - mean) / spread)
                line.extend([float(pd.isna(cell))] if gaps else [])
            else:
                line.extend(float(not pd.isna(cell) and cell == level) for level in sorted(set(known)))
                line.extend([float(pd.isna(cell))] if gaps else [])
        encoded.append(line)
    return np.array(encoded, dtype=np.float32).reshape(len(rows), len(encoder.names))


numbers = st.one_of(st.none(), st.integers(-1000, 1000).map(lambda n: n / 8))
words = st.one_of(st.none(), st.sampled_from(["赤", "青", "A", "None"]))
frames = st.lists(st.tuples(numbers, words), min_size=1, max_size=10).map(
    lambda rows: pd.DataFrame(rows, columns=pd.Index(["x_a", "x_b"])).astype({"x_a": float, "x_b": "str"})
)


@settings(max_examples=60, deadline=None)
@given(frames, frames)
def test_the_encoder_follows_its_rule(train, rows):
    encoder = FeatureEncoder.fit(train, ["x_a", "x_b"])
    encoded = encoder.transform(as_table(rows))
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    np.testing.assert_allclose(encoded, slow_encode(encoder, train, rows), rtol=1e-5, atol=1e-5)


def test_names_levels_and_indicators():
    table = table_of("x_n,x_色,x_k\n1,赤,2\n,青,2\n3,,2\n")
    encoder = fit(table)
    assert encoder.names == ("x_n", "x_n missing", "x_色=赤", "x_色=青", "x_色=(missing)")
    assert encoder.transform(table).tolist() == [[-1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 0, 1]]
    assert encoder.left_out == ("x_k",)
    assert notes(encoder) == ["Feature 'x_k' is '2' in every training row and was left out."]


def test_a_number_that_is_constant_or_missing_carries_only_the_indicator():
    table = table_of("x_n,y_a\n5,0\n,0\n5,0\n")
    encoder = fit(table, ["x_n"])
    assert encoder.names == ("x_n missing",)
    assert encoder.transform(table).tolist() == [[0], [1], [0]]


def test_truth_values_and_declared_categories_are_levels():
    frame = pd.DataFrame({"x_t": [True, False, True], "x_c": pd.Categorical(["2", "10", "2"])})
    encoder = FeatureEncoder.fit(frame, ["x_t", "x_c"])
    assert encoder.names == ("x_t=False", "x_t=True", "x_c=2", "x_c=10")
    assert encoder.transform(table_of("x_c,x_t\n10,True\n")).tolist() == [[0, 1, 0, 1]]


def test_no_features_give_an_empty_matrix():
    table = table_of("y_a,y_b\n1,0\n0,1\n")
    assert fit(table, []).transform(table).shape == (2, 0)


def test_the_record_gives_back_the_same_encoder():
    table = table_of("x_n,x_b,x_e,x_k\n0.1,u,,7\n0.2,v,,7\n,,,7\n")
    encoder = fit(table)
    again = FeatureEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    np.testing.assert_array_equal(again.transform(table), encoder.transform(table))


def test_what_training_never_had_is_counted():
    encoder = fit(table_of("x_n,x_b\n1,u\n2,v\n"))
    table = table_of("x_n,x_b\n,w\n3,\n1,w\n")
    np.testing.assert_allclose(encoder.transform(table), [[0, 0, 0], [3, 0, 0], [-1, 0, 0]])
    assert [str(note) for note in encoder.report(table)] == [
        "Feature 'x_n': 1 cells are missing, which training never had (rows 2); the mean or no level stands in.",
        "Feature 'x_b': 1 cells are missing, which training never had (rows 3); the mean or no level stands in.",
        "Feature 'x_b': 2 cells hold a value that training never had ('w'); they count as none of its levels.",
    ]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ([""] * 30, "Feature 'x_a' is empty in every training row and was left out."),
        ([f"No.{i}" for i in range(30)],
         "Feature 'x_a' was left out: 30 of its 30 cells are different texts, so it names rows rather than describing "
         "them."),
        ([f"{i:05d}" for i in range(60)],
         "Feature 'x_a' was left out: 60 of its 60 cells are different texts, so it names rows rather than describing "
         "them."),
        ([f"工程{i % 51}" for i in range(200)],
         "Feature 'x_a' was left out: it has 51 different texts, and at most 50 can be used. Join rare ones into a "
         "common category."),
    ],
)  # fmt: skip
def test_columns_that_are_left_out(cells, note):
    encoder = fit(table_of("x_a,y_b\n" + "".join(f"{cell},1\n" for cell in cells)), ["x_a"])
    assert (encoder.names, encoder.left_out, notes(encoder)) == ((), ("x_a",), [note])


def test_few_levels_that_are_mostly_numbers_are_said():
    encoder = fit(table_of("x_a,y_b\n1,1\n2,1\n不明,0\n"), ["x_a"])
    assert encoder.names == ("x_a=1", "x_a=2", "x_a=不明")
    assert notes(encoder) == [
        "Feature 'x_a' is used as categories, because 1 of its 3 cells are not plain numbers (first: '不明' in row 4)."
    ]


def grown(cell):
    return "x_a,y_b\n" + "".join(f"{i},1\n" for i in range(100)) + f"{cell},1\n"


ADVICE = "Write numbers without units or signs, or leave the cell empty."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (grown("不明"),
         "t.csv, row 102, column 'x_a': most cells read like numbers, but 1 of 101 are not plain numbers; the first is "
         f"'不明'. {ADVICE}"),
        ("x_a,y_b\n" + "".join(f"{i}kg,1\n" for i in range(100)),
         "t.csv, row 2, column 'x_a': most cells read like numbers, but 100 of 100 are not plain numbers; the first is "
         f"'0kg'. {ADVICE}"),
        (grown("-inf"),
         "t.csv, row 102, column 'x_a': expected a finite number, found -inf. Correct the cell, or leave it empty "
         "where "
         "the value is not known."),
        ("x_a,y_b\n1e300,1\n-1e300,0\n",
         "t.csv, column 'x_a': the values are too large to be averaged (up to 1e+300). Change the unit, or take "
         "logarithms."),
        *[
            (f"x_a,y_b\n{date},1\n",
             "t.csv, column 'x_a' holds dates or times, which can't be used as they are. Turn them into numbers (such "
             "as "
             "days since the start) or categories (such as the month), or take the column out of the features.")
            for date in ("2026-05-01", "2026/5/1 12:30", "2026年5月1日", "12:30")
        ],
        ("x_aa,y_b\n1,1\n",
         "t.csv has no column 'x_a', which is needed as a feature; the nearest name is 'x_aa'. Rename the column, or "
         "add "
         "it."),
    ],
)  # fmt: skip
def test_columns_that_are_refused(text, sentence):
    assert refusal(lambda: fit(table_of(text), ["x_a"])) == sentence


def test_dates_and_lists_of_parquet_are_refused():
    frame = pd.DataFrame({"x_d": pd.to_datetime(["2026-05-01"]), "x_l": [[1, 2]]})
    assert refusal(lambda: fit(as_table(frame), ["x_d"])).startswith("t.parquet, column 'x_d' holds dates or times")
    assert refusal(lambda: fit(as_table(frame), ["x_l"])) == (
        "t.parquet, column 'x_l': expected one value in each cell, found a list. Give each of its elements a column of "
        "its own."
    )


def test_cells_that_do_not_fit_the_training_data_are_refused():
    encoder = fit(table_of("x_a,y_b\n1,1\n2,1\n"), ["x_a"])
    unknown = "Correct the cell, or leave it empty where the value is not known."
    assert refusal(lambda: encoder.transform(table_of("x_a,y_b\n3,1\nmany,1\n"))) == (
        f"t.csv, row 3, column 'x_a': expected a number, as in the training data, found 'many'. {unknown}"
    )
    assert refusal(lambda: encoder.transform(table_of("x_a,y_b\n1,1\ninf,1\n"))) == (
        f"t.csv, row 3, column 'x_a': expected a finite number, found inf. {unknown}"
    )
    assert refusal(lambda: encoder.transform(table_of("x_a,y_b\n1e300,1\n"))) == (
        f"t.csv, row 2, column 'x_a': 1e+300 is too far from the training values (mean 1.5) to be used. {unknown}"
    )
    assert refusal(lambda: encoder.transform(table_of("y_b,y_c\n1,1\n"))).startswith("t.csv has no column 'x_a'")


def test_row_numbers_follow_parts_of_a_table():
    table = table_of("x_a,y_b\n1,1\n2,1\n3,1\ninf,1\n")
    part = table.part(np.array([1, 3]))
    encoder = fit(table_of("x_a,y_b\n1,1\n2,1\n"), ["x_a"])
    assert refusal(lambda: encoder.transform(part)).startswith("t.csv, row 5, column 'x_a'")


def test_rows_of_a_column_that_holds_words_elsewhere_are_numbers():
    encoder = FeatureEncoder.fit(pd.DataFrame({"x_a": [1.0, 3.0]}), ["x_a"])
    mixed = read_table("t.csv", content=b"x_a\n1\nmany\n3.0\n")
    assert encoder.transform(mixed.part(np.array([0, 2]))).tolist() == [[-1.0], [1.0]]
