"""Files of every format, well formed and broken: what is read, and the sentence a person gets."""

import contextlib
import csv
import io
import struct
import zlib

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jebm_core.errors import TableError
from jebm_core.tables import read_table


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def refusal(path, **settings_):
    with pytest.raises(TableError) as caught:
        read_table(path, **settings_)
    assert caught.value.template.format(**caught.value.values) == str(caught.value)
    return str(caught.value)


def notes(table):
    return [str(note) for note in table.notes]


def workbook(rows, sheets=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for title in sheets:
        book.create_sheet(title)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------------------- what is read

JAPANESE = "x_温度,y_異音,c_色\n12.5,1,赤\n13,0,青\n"


@pytest.mark.parametrize(
    ("encoding", "said", "count"), [("utf-8", "utf-8", 0), ("utf-8-sig", "utf-8", 0), ("cp932", "cp932", 1)]
)
def test_encodings_give_the_same_cells(tmp_path, encoding, said, count):
    table = read_table(write(tmp_path, "表.csv", JAPANESE.encode(encoding)))
    assert list(table.frame.columns) == ["x_温度", "y_異音", "c_色"]
    assert table.frame.to_dict("list") == {"x_温度": [12.5, 13.0], "y_異音": [1, 0], "c_色": ["赤", "青"]}
    assert (table.encoding, table.name, table.first_row, table.format) == (said, "表.csv", 2, "csv")
    assert len(table.notes) == count


@pytest.mark.parametrize(
    ("name", "mark", "note"),
    [
        ("t.tsv", "\t", []),
        ("t.csv", ";", ["The fields are separated by semicolons."]),
        ("t.csv", "\t", ["The fields are separated by tabs."]),
        ("t.tsv", ",", ["The fields are separated by commas."]),
        ("t.txt", ",", []),
    ],
)
def test_delimiters(tmp_path, name, mark, note):
    table = read_table(write(tmp_path, name, JAPANESE.replace(",", mark)))
    assert table.frame.shape == (2, 3)
    assert notes(table) == note


def test_every_format_gives_the_same_cells(tmp_path):
    frame = pd.DataFrame({"x_温度": [12.5, np.nan], "y_異音": [1, 0], "c_色": ["赤", "青"]})
    frame.to_parquet(tmp_path / "t.parquet")
    write(tmp_path, "t.csv", frame.to_csv(index=False))
    write(tmp_path, "t.xlsx", workbook([list(frame.columns), [12.5, 1, "赤"], [None, 0, "青"]]))
    write(
        tmp_path,
        "t.arff",
        "@relation r\n@attribute 'x_温度' numeric\n@attribute y_異音 integer\n"
        "@attribute c_色 string\n@data\n12.5,1,赤\n?,0,青\n",
    )
    for name, first_row in (("t.parquet", 1), ("t.csv", 2), ("t.xlsx", 2), ("t.arff", 1)):
        table = read_table(tmp_path / name)
        pd.testing.assert_frame_equal(table.frame, frame, check_dtype=False)
        assert table.first_row == first_row
        assert len(table.sha256) == 64
        again = read_table(name, content=(tmp_path / name).read_bytes())
        assert (again.sha256, again.name) == (table.sha256, name)


def test_a_word_that_means_missing_elsewhere_stays_an_option(tmp_path):
    table = read_table(write(tmp_path, "t.csv", "c_roof,c_size,x_a\nNone,1.10,1\nglass,1.1,NA\n"))
    assert table.frame["c_roof"].tolist() == ["None", "glass"]
    assert table.frame["c_size"].tolist() == ["1.10", "1.1"]
    assert table.frame["x_a"].isna().tolist() == [False, True]
    assert notes(table) == [
        "Column 'c_roof' holds text; 1 of its cells hold 'None' and are kept as that text. Leave a cell empty to say "
        "that"
        " its value is missing.",
        "Column 'x_a' holds numbers; 1 of its cells hold a mark for no value ('NA') and count as missing.",
    ]


def test_thousands_separators_and_full_width_digits_are_read_and_said(tmp_path):
    table = read_table(write(tmp_path, "t.csv", 'x_price,x_b\n"1,200",\N{FULLWIDTH DIGIT FIVE}\n950,-3\n'))
    assert table.frame.to_dict("list") == {"x_price": [1200, 950], "x_b": [5, -3]}
    assert notes(table)[0] == (
        "Column 'x_price': 1 numbers written with thousands separators or full-width digits were read as numbers "
        "(first: '1,200' in row 2, read as 1200)."
    )


def test_a_comma_is_no_thousands_separator_between_semicolons(tmp_path):
    table = read_table(write(tmp_path, "t.csv", "x_a;y_b\n1,234;1\n2,500;0\n"))
    assert table.frame["x_a"].tolist() == ["1,234", "2,500"]


def test_codes_with_leading_zeros_stay_text(tmp_path):
    table = read_table(write(tmp_path, "t.csv", "x_code,y_a\n007,1\n10,0\n"))
    assert table.frame["x_code"].tolist() == ["007", "10"]


def test_empty_rows_inside_keep_the_numbering_and_trailing_ones_go(tmp_path):
    table = read_table(write(tmp_path, "t.csv", 'x_a,y_b\n1,"1"\n\n"3\n",0\n,\n\n'))
    assert len(table.frame) == 3
    assert table.frame["y_b"].isna().tolist() == [False, True, False]
    assert table.row_number(2) == 4


def test_names_are_stripped_and_nameless_columns_numbered(tmp_path):
    table = read_table(write(tmp_path, "t.csv", ",x_a, y_b\n0,1,1\n"))
    assert list(table.frame.columns) == ["column 1", "x_a", "y_b"]
    assert notes(table) == [
        "Spaces around 1 column names were put aside (y_b).",
        "1 columns have no name and are called by their place (column 1).",
    ]


def test_excel_reads_the_first_sheet_below_empty_rows(tmp_path):
    rows = [[None, None, None], ["x_a", "y_b", "x_c"], [1, True, "７"], [None, None, None], [2.5, False, "8"]]
    table = read_table(write(tmp_path, "t.xlsx", workbook(rows, ["別"])))
    assert table.first_row == 3
    assert table.frame["x_c"].tolist()[::2] == [7.0, 8.0]
    assert table.frame["y_b"].tolist()[::2] == ["True", "False"]
    assert table.frame.isna().all(axis=1).tolist() == [False, True, False]
    assert notes(table)[0] == "The workbook has 2 sheets; only the first, 'Sheet', was read."


MULAN = """% a comment
@relation 'music: -C -2'
@attribute mean\\ volume numeric
@ATTRIBUTE "genre \\"x\\"" {rock,'hip hop', jazz}
@attribute note string
@attribute happy {0,1}
@attribute sad {0, 1}

@data
1.5, 'hip hop', 'it\\'s, fine', 1, 0
% between
?, ?, ?, 0, 1
{0 -2, 2 "a b", 4 1}
{}, {2}
{1 ?, 3 1}
"""


def test_arff_dense_and_sparse(tmp_path):
    table = read_table(write(tmp_path, "t.arff", MULAN.replace("mean\\ volume", "'mean volume'")))
    frame = table.frame
    assert list(frame.columns) == ["mean volume", 'genre "x"', "note", "happy", "sad"]
    np.testing.assert_equal(frame["mean volume"].tolist(), [1.5, np.nan, -2.0, 0.0, 0.0])
    assert frame['genre "x"'].astype(object).where(frame['genre "x"'].notna(), None).tolist() == [
        "hip hop", None, "rock", "rock", None,
    ]  # fmt: skip
    assert frame["note"].isna().tolist() == [False, True, False, True, True]
    assert frame["note"].iloc[0] == "it's, fine"
    assert frame["happy"].astype(int).tolist() == [1, 0, 0, 0, 1]
    assert notes(table) == [
        "1 rows carry a weight; weights are not used.",
        "The header marks 2 columns as labels, from 'happy' to 'sad'. Choose them as target columns.",
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(allow_nan=False)),
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_csv_gives_back_what_was_written(rows):
    frame = pd.DataFrame({"x_a": [a for a, _ in rows], "c_b": ["." + b + "." for _, b in rows]}).astype({"x_a": float})
    table = read_table("t.csv", content=frame.to_csv(index=False, quoting=csv.QUOTE_ALL).encode("utf-8"))
    pd.testing.assert_frame_equal(table.frame, frame, check_dtype=False, check_exact=True)


# ------------------------------------------------------------------------------------------------- what is refused

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + zlib.compress(b"pixels")
OTHER = "Give a CSV, TSV, Excel, Parquet or ARFF file under its own ending."


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", PNG, f"t.csv is not the table its name says: it begins like a PNG image. {OTHER}"),
        ("t.xlsx", PNG, f"t.xlsx is not the table its name says: it begins like a PNG image. {OTHER}"),
        ("t.csv", workbook([["x_a"]]),
         f"t.csv is not the table its name says: it begins like an Excel workbook or a ZIP archive. {OTHER}"),
        ("t.csv", b"a,b\n\x001,2\n",
         f"t.csv is not a text table: byte 4 is a zero byte, which text never holds. {OTHER}"),
        ("t.csv", "x_a,y_b\n1,0\n".encode("utf-16"),
         "t.csv is text in UTF-16; expected UTF-8 or cp932 (Shift_JIS). Save it again as “CSV UTF-8”."),
        ("t.csv", b"", "t.csv is empty. Give a table with column names in its first row."),
        ("t.csv", b" \n\n", "t.csv is empty. Give a table with column names in its first row."),
        ("t.csv", b",,\n,,\n", "t.csv is empty. Give a table with column names in its first row."),
        ("t.xlsx", workbook([]), "t.xlsx is empty. Give a table with column names in its first row."),
        ("t.csv", "昔々あるところに\nおじいさんがいました。\n",
         "t.csv is not a table: row 1 holds no comma, tab or semicolon, so there is one column only. The first row "
         "must "
         "hold the column names, separated by commas (CSV) or tabs (TSV)."),
        ("t.docx", b"PK\x03\x04",
         "t.docx ends in '.docx'; expected .csv, .tsv, .xlsx, .xls, .parquet or .arff. Save the table in one of these "
         "formats."),
        ("t.csv", "x_a,y_b\n", "t.csv has column names but no rows. Put one case in each row below the names."),
        ("t.xlsx", workbook([["x_a", "y_b"]]),
         "t.xlsx has column names but no rows. Put one case in each row below the names."),
        ("t.csv", "x_a,y_b\n1,0\n1,0,5\n",
         "t.csv, row 3: expected 2 fields, as many as there are column names in row 1, found 3. Put text that holds "
         "the "
         "separator in quotes, and remove titles above the column names."),
        ("t.csv", "x_a,y_b\n1\n",
         "t.csv, row 2: expected 2 fields, as many as there are column names in row 1, found 1. Put text that holds "
         "the "
         "separator in quotes, and remove titles above the column names."),
        ("t.csv", 'x_a,y_b\n"1,0\n2,1\n',
         "t.csv, row 2: a quoted field is not closed, or text follows its closing quote. Write a quote inside a quoted "
         "field twice."),
        ("t.csv", "x_a,y_b,x_a\n1,0,1\n",
         "t.csv: columns 1 and 3 are both called 'x_a'. Give every column its own name."),
        ("t.xlsx", workbook([["x_a", "x_a"], [1, 2]]),
         "t.xlsx: columns 1 and 2 are both called 'x_a'. Give every column its own name."),
        ("t.xlsx", workbook([["売上表", None, None], ["x_a", "x_b", "y_c"], [1, 2, 0]]),
         "t.xlsx: 2 of 3 columns have no name in the first filled row. That row must hold the column names; remove "
         "titles and empty rows above it."),
        ("t.csv", "x_a,y_異音\n1,0\n".encode() + "2,異\n".encode("cp932") + "\x81 ,異\n".encode("latin-1", "replace"),
         "t.csv is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte 19 (line 3), as cp932 at byte 22 "
         "(line 4). Parts saved in different encodings may have been joined; save the whole file as UTF-8."),
        ("t.csv", b"x_a,y_b\n1,0\n\x80,1\n",
         "t.csv is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte 12 (line 3), as cp932 at byte 12 "
         "(line 3). Parts saved in different encodings may have been joined; save the whole file as UTF-8."),
        ("t.xls", b"<html><table></table></html>",
         "t.xls can't be opened as an Excel workbook; it may be damaged, protected by a password, or another kind of "
         "file. Open it in Excel and save it as .xlsx without a password, or as “CSV UTF-8”."),
        ("t.parquet", b"PAR1 broken",
         "t.parquet can't be opened as a Parquet file; it may be damaged or another kind of file. Write it again, or "
         "give the table as CSV."),
        ("t.arff", "@relation r\n@attribute a numeric\n",
         "t.arff has no line @data, so it holds no rows. An ARFF file lists its attributes, then @data, then its "
         "rows."),
        ("t.arff", "x_a,y_b\n1,0\n",
         "t.arff, line 1: expected @relation, @attribute or @data, found 'x_a,y_b'. An ARFF file lists its attributes "
         "before the line @data."),
        ("t.arff", "@relation r\n@attribute a relational\n@data\n1\n",
         "t.arff, line 2: expected an attribute that is numeric, real, integer, string, date or a list of levels in "
         "braces, found '@attribute a relational'. Correct the line, or leave the attribute out."),
        ("t.arff", "@relation r\n@attribute a numeric\n@data\n",
         "t.arff has column names but no rows. Put one case in each row below the names."),
        ("t.arff", "@relation r\n@attribute a numeric\n@data\n1\n\n1,2\n",
         "t.arff, line 6: expected 1 fields, one for each attribute, found 2. Put text that holds a comma in quotes, "
         "and "
         "close every quote."),
        ("t.arff", "@relation r\n@attribute a numeric\n@data\nx\n",
         "t.arff, line 4, attribute 'a': expected a number, found 'x'. Correct the cell, or write ? where the value is "
         "missing."),
        ("t.arff", "@relation r\n@attribute a {u,v}\n@data\nw\n",
         "t.arff, line 4, attribute 'a': expected one of its declared levels, found 'w'. Correct the cell, or add the "
         "level to the @attribute line."),
        ("t.arff", "@relation r\n@attribute a numeric\n@data\n{1 3}\n",
         "t.arff, line 4: expected a sparse row such as {0 1.5, 3 yes} with growing attribute numbers from 0 to 0, "
         "found "
         "'{1 3}'. Correct the row."),
        ("t.arff", "@relation r\n@attribute a numeric\n@attribute b numeric\n@data\n{1 3, 0 2}\n",
         "t.arff, line 5: expected a sparse row such as {0 1.5, 3 yes} with growing attribute numbers from 0 to 1, "
         "found "
         "'{1 3, 0 2}'. Correct the row."),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, name, content, sentence):
    assert refusal(write(tmp_path, name, content)) == sentence


def test_a_file_that_is_not_there(tmp_path):
    assert refusal(tmp_path / "t.csv") == "t.csv was not found. Check the name and the folder."
    (tmp_path / "d.csv").mkdir()
    assert refusal(tmp_path / "d.csv") == "d.csv is a folder; expected a table. Name the file in it."


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(1_500_000_000)  # sparse: takes no room on the disk
    advice = "Leave out columns without a role, take a sample of the rows, or save it as Parquet."
    assert refusal(path) == f"t.csv holds 1.5 GB of data; tables of up to 1.0 GB are read. {advice}"
    write(tmp_path, "u.csv", "x_a,y_b\n1,0\n")
    assert refusal(tmp_path / "u.csv", max_bytes=10) == (
        f"u.csv holds 12 bytes of data; tables of up to 10 bytes are read. {advice}"
    )


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path):
    path = write(tmp_path, "t.xlsx", workbook([["x_a", "y_b"]] + [[1, 0]] * 2000))
    size = path.stat().st_size
    assert "t.xlsx holds" in refusal(path, max_bytes=size + 1)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["t.csv", "t.tsv", "t.arff", "t.xlsx", "t.parquet"]), st.binary(max_size=60))
def test_no_bytes_lead_to_another_error(name, content):
    with contextlib.suppress(TableError):
        read_table(name, content=content)
