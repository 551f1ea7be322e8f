"""The command line under rules: what ``jebm rules`` counts, draws, checks and exports, models that obey rules, and a
sentence in both languages for every wrong input."""

import json
import math
import re
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import jebm_core
from app.text import sentence
from jebm_core.cli import exit_code_of, main
from jebm_core.fitted import load
from jebm_core.rules.notation.files import read_rule_file
from jebm_core.tables import guess_roles, read_examples, read_table

QUICK = ("--affinity", "unary", "--epochs", "1")
RULES = "a requires b\nsize at least 1\n"
VALID = 11  # of the 16 subsets of a, b, c, d
ASSEMBLY = """\
slot Motor: servo, stepper, linear
slot Gear: planetary, worm
slot Sensor: 0, 1
attribute cost: Motor = servo 3, Motor = linear 5, Gear = planetary 2
Motor = servo excludes Gear = worm
if Motor = linear then Sensor = 1
total cost at most 6
Motor = linear excludes Sensor = 0
"""
JAPANESE = """\
slot 駆動: サーボ、ステッピング
slot "減速 機": 遊星、ウォーム
駆動 = サーボ excludes "減速 機" = ウォーム
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Tables, rules and a model under them."""
    found = tmp_path_factory.mktemp("rules")
    r = np.random.default_rng(5)
    rows = []
    while len(rows) < 60:
        y = r.integers(0, 2, 4)
        if y.any() and y[0] <= y[1]:
            rows.append(f"{r.normal():.3f},{'JP' if r.integers(2) else 'EU'},{','.join(map(str, y))}")
    texts = {
        "t.csv": "\n".join(["x_load,x_region,y_a,y_b,y_c,y_d", *rows, ""]),
        "some.csv": "x_load,x_region,y_a,y_b,y_c,y_d\n0.1,JP,1,0,0,0\n0.1,EU,1,1,0,0\n0.1,JP,0,0,0,0\n",
        "simulated.csv": "y_a,y_b,y_c,y_d\n1,1,0,0\n0,1,1,0\n0,0,1,1\n1,0,0,0\n",
        "invalid.csv": "y_a,y_b,y_c,y_d\n1,0,0,0\n",
        "r.rules": RULES,
        "soft.rules": "prefer 2: a\n",
        "other.csv": "\n".join(
            ["x_load,x_region,y_p,y_q", *(row.rpartition(",")[0].rpartition(",")[0] for row in rows), ""]
        ),
        "asm.rules": ASSEMBLY,
        "規則.rules": JAPANESE,
    }
    for name, text in texts.items():
        (found / name).write_text(text, encoding="utf-8")
    table, rules = str(found / "t.csv"), str(found / "r.rules")
    for name, reference, data in (("m", "uniform", table), ("near", "edits", table), ("other", "uniform", None)):
        given = [str(found / "other.csv")] if data is None else [data, "--rules", rules]
        assert main(["fit", *given, "--out", str(found / name), "--reference", reference, *QUICK]) == 0
    return found


def _json(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    assert main([*map(str, arguments), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def _printed(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 0
    return capsys.readouterr().out


@pytest.fixture
def refused(capsys, monkeypatch):
    """Runs a command that ends with exit code 2 and one sentence, and returns it in English and Japanese."""

    def run(*arguments: object) -> tuple[str, str]:
        errors: list[Exception] = []
        monkeypatch.setattr("jebm_core.cli.exit_code_of", lambda error: errors.append(error) or exit_code_of(error))
        capsys.readouterr()
        assert main(list(map(str, arguments))) == 2
        out, err = capsys.readouterr()
        told = [line for line in err.splitlines() if not re.match(r"Note: |\d+ s: ", line)]
        assert out == ""
        assert told == [str(error) for error in errors]
        assert len(told) == 1
        return told[0], sentence(errors[0], "ja")

    return run


# ---- what rules amount to --------------------------------------------------------------------------------------------


def test_the_whole_summary(folder, capsys):
    assert _printed(capsys, "rules", folder / "asm.rules") == (
        "7 valid combinations, 0.583 of all; log 1.946\n"
        "  changes nothing, line 6: if Motor = linear then Sensor = 1\n"
        "  changes nothing, line 8: Motor = linear excludes Sensor = 0\n"
    )
    record = _json(capsys, "rules", folder / "asm.rules")
    assert [entry["line"] for entry in record["redundant"]] == [6, 8]
    assert {entry["line"]: entry["count_without"] for entry in record["effects"]} == {5: "9", 6: "7", 7: "8", 8: "7"}


def test_forced_and_impossible_options(tmp_path, capsys):
    file = tmp_path / "r.rules"
    file.write_text(ASSEMBLY + "Sensor = 0\n", encoding="utf-8")
    shown = _printed(capsys, "rules", file)
    assert "  always chosen: Sensor=0\n  never possible: Motor=linear, Sensor=1\n" in shown


def test_a_count_has_the_promised_keys(folder, tmp_path, capsys):
    record = _json(capsys, "rules", folder / "asm.rules", "--count")
    assert (record["count"], record["variables"]) == ("7", 3)
    assert record["log_count"] == pytest.approx(math.log(7))
    assert record["seconds"] > 0
    assert "redundant" not in record
    large = tmp_path / "large.rules"
    large.write_text("items " + ", ".join(f"i{place}" for place in range(300)) + "\nsize at least 1", encoding="utf-8")
    record = _json(capsys, "rules", large, "--count")
    assert Decimal(record["count"]) == 2**300 - 1
    assert record["log_count"] == pytest.approx(300 * math.log(2))


def test_samples_go_to_a_table(folder, tmp_path, capsys):
    out = tmp_path / "drawn.csv"
    record = _json(capsys, "rules", folder / "asm.rules", "--sample", 200, "--out", out, "--seed", 3)
    assert "sample" not in record
    drawn = pd.read_csv(out, dtype=str)
    assert list(drawn.columns) == ["Motor", "Gear", "Sensor"]
    assert len(drawn) == 200
    assert len(drawn.drop_duplicates()) == int(record["count"])
    assert ["servo", "worm"] not in drawn[["Motor", "Gear"]].to_numpy().tolist()
    assert len(_json(capsys, "rules", folder / "asm.rules", "--sample", 12)["sample"]) == 12
    assert "… 2 more; --out FILE" in _printed(capsys, "rules", folder / "asm.rules", "--sample", 12)


def test_marginals(folder, capsys):
    record = _json(capsys, "rules", folder / "asm.rules", "--marginals")
    shares = {"Motor=servo": 2, "Motor=stepper": 4, "Motor=linear": 1, "Gear=planetary": 4, "Gear=worm": 3}
    shares |= {"Sensor=0": 3, "Sensor=1": 4}
    assert record["marginals"] == pytest.approx({name: count / 7 for name, count in shares.items()})
    assert "  0.5714  Motor=stepper\n" in _printed(capsys, "rules", folder / "asm.rules", "--marginals")


def test_rows_that_break_a_rule(folder, tmp_path, capsys):
    out = tmp_path / "broken.csv"
    arguments = ["rules", folder / "r.rules", "--check", folder / "some.csv"]
    assert "2 of 3 rows break a rule\n  1 rows, line 1: a requires b\n" in _printed(capsys, *arguments, "--out", out)
    assert pd.read_csv(out).to_numpy().tolist() == [[2, 1, "a requires b"], [4, 2, "size at least 1"]]
    record = _json(capsys, *arguments)
    assert (record["rows"], record["rows_broken"], record["count"]) == (3, 2, str(VALID))
    assert record["broken_rows"][1] == {"row": 4, "rules": [{"line": 2, "rule": "size at least 1"}]}


def test_rows_are_checked_in_their_context(folder, tmp_path, capsys):
    file = tmp_path / "r.rules"
    file.write_text('where region == "JP": not a\n', encoding="utf-8")
    record = _json(capsys, "rules", file, "--check", folder / "some.csv")
    assert [row["row"] for row in record["broken_rows"]] == [2]


@pytest.mark.parametrize("ending", ["uvl", "cnf", "json", "yaml", "rules"])
def test_an_export_reads_back_with_the_same_count(ending, folder, tmp_path, capsys):
    out = tmp_path / f"exported.{ending}"
    assert main(["rules", str(folder / "asm.rules"), "--export", str(out)]) == 0
    assert _json(capsys, "rules", out, "--count")["count"] == "7"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
def test_japanese_rules_in_windows_files(encoding, tmp_path, capsys):
    file = tmp_path / "規則.rules"
    file.write_text(JAPANESE, encoding=encoding)
    record = _json(capsys, "rules", file, "--marginals", "--sample", 9)
    assert record["count"] == "3"
    assert record["source"] == "規則.rules"
    assert set(record["marginals"]) == {"駆動=サーボ", "駆動=ステッピング", "減速 機=遊星", "減速 機=ウォーム"}
    for row in record["sample"]:
        assert row["駆動"] == "ステッピング" or row["減速 機"] == "遊星"


def test_requirements_in_a_circle_are_fine(tmp_path, capsys):
    file = tmp_path / "r.rules"
    file.write_text("items a, b, c\na requires b\nb requires c\nc requires a\n", encoding="utf-8")
    assert _json(capsys, "rules", file, "--count")["count"] == "2"


def test_ten_thousand_rules(tmp_path, capsys):
    r = np.random.default_rng(0)
    near = [f"i{a} excludes i{a + b}" for a in range(58) for b in (1, 2)]
    many = near + [f"if i{a} and i{a + 3} then not i{a + 5}" for a in r.integers(0, 55, 10_000 - len(near))]
    file = tmp_path / "many.rules"
    file.write_text("\n".join(["items " + ", ".join(f"i{k}" for k in range(60)), *many]), encoding="utf-8")
    started = time.process_time()
    assert _json(capsys, "rules", file, "--count")["count"] == "14588956471"
    assert time.process_time() - started < 60


# ---- models under rules ----------------------------------------------------------------------------------------------


def test_a_model_draws_only_what_is_valid(folder, tmp_path):
    assert json.loads((folder / "m" / "model.json").read_text("utf-8"))["rules"] == RULES
    out = tmp_path / "drawn.csv"
    assert main(["sample", str(folder / "m"), str(folder / "t.csv"), "-n", "20", "--out", str(out)]) == 0
    drawn = pd.read_csv(out)[["y_a", "y_b", "y_c", "y_d"]]
    assert len(drawn) == 60 * 20
    assert len(drawn.drop_duplicates()) == VALID
    for a, b, c, d in drawn.drop_duplicates().to_numpy().tolist():
        assert a <= b
        assert a + b + c + d >= 1


def test_scores_mark_what_is_invalid(folder, tmp_path):
    out = tmp_path / "scores.csv"
    assert main(["score", str(folder / "m"), str(folder / "some.csv"), "--out", str(out)]) == 0
    scores = pd.read_csv(out)
    assert scores["in_support"].tolist() == [False, True, False]
    assert np.exp(scores[["log_prob", "log_prob_low", "log_prob_high"]].to_numpy()[[0, 2]]).tolist() == [[0.0] * 3] * 2
    assert 0 < math.exp(scores["log_prob"].tolist()[1]) < 1
    # What is valid has probability 1 in all.
    model = load(folder / "m")
    context = model.context(read_table(folder / "t.csv")).rows(slice(0, 1))
    assert model.space.cardinality() == VALID
    total = sum(model.log_prob(context, y[None]).value.double().exp().item() for y in model.space.listing())
    assert total == pytest.approx(1, abs=1e-5)


def test_evaluation_leaves_out_what_is_invalid(folder, capsys):
    record = _json(capsys, "evaluate", folder / "m", folder / "some.csv")
    assert (record["n"], record["n_outside"]) == (1, 2)
    assert record["nll"] == pytest.approx(record["nll_learned"], abs=0.05)


@pytest.mark.parametrize(
    ("reference", "more"),
    [("table", ("--candidates", "simulated.csv")), ("model", ("--generator", "m")), ("edits", ())],
)
def test_references_that_are_given(reference, more, folder, tmp_path, capsys):
    out = tmp_path / "model"
    arguments = ["fit", folder / "t.csv", "--out", out, "--rules", folder / "r.rules", "--reference", reference]
    record = _json(capsys, *arguments, *(folder / word if "-" not in word else word for word in more), *QUICK)
    told = "1 candidates of simulated.csv break the rules and were left out."
    assert (told in record["notes"]) == (reference == "table")
    assert record["architecture"]["reference"] == reference
    model = jebm_core.load(out)
    model.save(tmp_path / "again")
    table = read_table(folder / "t.csv")
    y = torch.from_numpy(read_examples(table, guess_roles(table)).outputs.values)
    first = model.log_prob(model.context(table), y).value
    again = jebm_core.load(tmp_path / "again")
    assert torch.equal(again.log_prob(again.context(table), y).value, first)
    assert torch.isfinite(first).all()


def test_rules_and_candidates_from_python(folder, tmp_path):
    table = read_table(folder / "t.csv")
    examples = read_examples(table, guess_roles(table))
    settings = jebm_core.FitSettings(reference="table", affinity="unary", epochs=1)
    found = jebm_core.fit(
        examples,
        settings,
        rules=read_rule_file(folder / "r.rules"),
        candidates=read_table(folder / "simulated.csv"),
    ).model
    found.save(tmp_path / "model")
    again = jebm_core.load(tmp_path / "model")
    y = torch.from_numpy(examples.outputs.values)
    expected = found.log_prob(found.context(table), y).value
    assert torch.allclose(again.log_prob(again.context(table), y).value, expected, atol=1e-6)


# ---- wrong input -----------------------------------------------------------------------------------------------------


def _wide() -> str:
    """A total over forty items whose costs hardly ever add up to the same."""
    costs = np.random.default_rng(1).integers(10**12, 10**13, 40)
    items = ", ".join(f"i{place}" for place in range(40))
    worth = ", ".join(f"i{place} {cost}" for place, cost in enumerate(costs))
    return f"items {items}\nattribute cost: {worth}\ntotal cost between 90000000000000 and 90000001000000\n"


WRONG_RULES: dict[str, tuple[str, bytes | str | None, str, str]] = {
    "an empty space": (
        "r.rules",
        "items A, B, C\nA requires B\nB requires C\nA\nat most 2 of A, B, C\nsize at least 1\n",
        "r.rules: no combination obeys all the rules; these 4 can't hold together: line 2: A requires B; line "
        "3: B requires C; line 4: A; line 5: at most 2 of A, B, C. Change or remove one of them.",
        "r.rules：すべてのルールを満たす組合せがありません。次の4個のルールは同時に成り立ちません（2行目：A "
        "requires B; 3行目：B requires C; 4行目：A; 5行目：at most 2 of A, B, C）。どれか1つを変更するか、"
        "削除してください。",
    ),
    "one rule alone": (
        "r.rules",
        "items A, B\nA requires B\nA and not A\n",
        "r.rules, line 3: no combination obeys this rule: A and not A. Change it, or take it out.",
        "r.rulesの3行目：次のルールを満たす組合せがありません（A and not A）。このルールを変更するか、"
        "削除してください。",
    ),
    "contradictory sizes": (
        "r.rules",
        "items A, B, C\nsize at least 3\nsize at most 1\n",
        "r.rules: no combination obeys all the rules; these 2 can't hold together: line 2: size at least 3; "
        "line 3: size at most 1. Change or remove one of them.",
        "r.rules：すべてのルールを満たす組合せがありません。次の2個のルールは同時に成り立ちません（2行目：size "
        "at least 3; 3行目：size at most 1）。どれか1つを変更するか、削除してください。",
    ),
    "bounds the wrong way round": (
        "r.rules",
        "items A, B\nsize between 3 and 1\n",
        "r.rules, line 2, column 14: expected the lower bound before the upper one, found 3 and then 1. "
        "Exchange the two.",
        "r.rulesの2行目、14文字目：下限、上限の順に書きますが、3、1 の順でした。2つを入れ替えてください。",
    ),
    "bounds in YAML": (
        "r.yaml",
        "items: [A, B]\nrules: [{at least: 3, at most: 1, of: [A, B]}]\n",
        "r.yaml, rules[0]: expected at least to be no more than at most, found at least: 3, at most: 1. "
        "Exchange the two numbers.",
        "r.yaml、rules[0]：at least は at most 以下にしますが、at least: 3, at most: 1 でした。"
        "2つの数値を入れ替えてください。",
    ),
    "an unknown item": (
        "r.rules",
        "items 洗浄, 乾燥\n洗浄 requires 乾操\n",
        "r.rules, line 2, column 13: expected a declared name such as 洗浄, found '乾操'. Correct the name, or "
        "declare it.",
        "r.rulesの2行目、13文字目：洗浄 のような宣言済みの名前が必要ですが、「乾操」でした。名前を修正するか、"
        "宣言してください。",
    ),
    "an unknown option": (
        "r.rules",
        "slot Motor: servo, stepper\nslot Gear: worm\nMotor = serv requires Gear = worm\n",
        "r.rules, line 3, column 9: expected an option of 'Motor' such as servo, found 'serv'. Correct the "
        "option, or declare it.",
        "r.rulesの3行目、9文字目：「Motor」には servo などの選択肢が必要ですが、「serv」でした。"
        "選択肢を修正するか、宣言してください。",
    ),
    "order in a circle": (
        "r.rules",
        "ranking a, b, c\na above b\nb above c\nc above a\n",
        "r.rules: the order rules go in a circle: a above b above c above a. Take one of them out.",
        "r.rules：順序のルールが循環しています（a above b above c above a）。どれか1つを取り除いてください。",
    ),
    "a weight of zero": (
        "r.rules",
        "items A\nprefer 0: A\n",
        "r.rules, line 2, column 8: expected a weight above 0 after prefer, found 0. A preference for the "
        "opposite is written with not, for example: prefer 1.5: not A.",
        "r.rulesの2行目、8文字目：prefer の後の重みは0より大きい値ですが、0 でした。反対を優先するには not "
        "を使います。例：prefer 1.5: not A",
    ),
    "a negative weight": (
        "r.json",
        '{"items": ["A"], "rules": [{"rule": "A", "prefer": -1.5}]}',
        "r.json, rules[0].prefer: expected a weight above 0, found -1.5. A preference for the opposite is "
        "written with not, for example: {not: A, prefer: 1.5}.",
        "r.json、rules[0].prefer：重みは0より大きい値ですが、-1.5 でした。反対を優先するには not を使います。"
        "例：{not: A, prefer: 1.5}",
    ),
    "a name as a weight": (
        "r.rules",
        "items A, B\nprefer = A\n",
        "r.rules, line 2, column 8: expected a number after 'prefer', a word of the rule language, found '='. "
        'As a name it stands in double quotes: "prefer".',
        "r.rulesの2行目、8文字目：ルール言語の語「prefer」の後には数値が必要ですが、「=」でした。"
        '名前として使う場合は二重引用符で囲んでください："prefer"',
    ),
    "typed features": (
        "r.uvl",
        "features\n\tPump\n\t\toptional\n\t\t\tInteger Speed\n",
        "r.uvl, line 4: 'Integer Speed' can't be read; expected features that are chosen or not, groups, "
        "logical constraints and sums of numeric attributes. Say it with these, or leave it out.",
        "r.uvlの4行目：「Integer Speed」は読み込めません。使えるのは、選ぶか選ばないかのフィーチャー、"
        "グループ、論理制約、数値の属性の合計です。これらで書き直すか、取り除いてください。",
    ),
    "string constraints": (
        "r.uvl",
        "features\n\tPump\n\t\toptional\n\t\t\tHand\nconstraints\n\tHand == 'x'\n",
        "r.uvl, line 6: \"Hand == 'x'\" can't be read; expected features that are chosen or not, groups, "
        "logical constraints and sums of numeric attributes. Say it with these, or leave it out.",
        "r.uvlの6行目：「Hand == 'x'」は読み込めません。使えるのは、選ぶか選ばないかのフィーチャー、グループ、"
        "論理制約、数値の属性の合計です。これらで書き直すか、取り除いてください。",
    ),
    "a missing file": (
        "r.rules",
        None,
        "r.rules was not found. Check the name and the folder.",
        "r.rulesが見つかりません。名前とフォルダーを確認してください。",
    ),
    "an empty file": (
        "r.rules",
        " \n",
        "r.rules is empty; expected rules, for example: A requires B. Write them into it, or leave the file out.",
        "r.rulesは空です。A requires B のようなルールが必要です。ルールを書き込むか、"
        "このファイルの指定を外してください。",
    ),
    "comments alone": (
        "r.rules",
        "# nothing yet\n",
        "r.rules: expected declarations such as “items A, B” or “slot Motor: servo, stepper”, or a table whose "
        "columns the names are; found neither. Declare the names, or give a table.",
        "r.rules：「items A, B」や「slot Motor: servo, stepper」のような宣言か、"
        "その名前の列を持つ表が必要ですが、どちらもありません。名前を宣言するか、表を指定してください。",
    ),
    "bytes": (
        "r.rules",
        b"\x89PNG\r\n\x00\x01\x02",
        "r.rules is no text in UTF-8 or cp932 (Shift_JIS): it holds zero bytes or begins like UTF-16. Give "
        "rules as text, JSON, YAML, DIMACS CNF or UVL, saved as UTF-8.",
        "r.rulesはUTF-8やcp932（Shift_JIS）のテキストではありません。値0のバイトがあるか、"
        "先頭がUTF-16の形です。ルールはテキスト、JSON、YAML、DIMACS CNF、UVLのいずれかとし、"
        "UTF-8で保存してください。",
    ),
    "neither UTF-8 nor cp932": (
        "r.rules",
        b"items \xff\n",
        "r.rules is neither UTF-8 nor cp932 (Shift_JIS): as UTF-8 it breaks at byte 6 (line 1), as cp932 at "
        "byte 6 (line 1). Save the whole file as UTF-8.",
        "r.rulesはUTF-8でもcp932（Shift_JIS）でもありません。UTF-8では6バイト目（1行目）、cp932では6バイト目（"
        "1行目）で読めなくなります。全体をUTF-8で保存してください。",
    ),
    "a cut CNF": (
        "r.cnf",
        "p cnf 2 2\n1 0\n",
        "r.cnf, line 1: the header announces 2 clauses, but the file holds 1. Correct the header, or look "
        "whether the file was cut off.",
        "r.cnfの1行目：ヘッダーでは節が2個ですが、ファイルには1個あります。ヘッダーを修正するか、"
        "ファイルが途中で切れていないか確認してください。",
    ),
    "no JSON": (
        "r.json",
        '{"items": ["A"',
        "r.json, line 1, column 15: expected a bracket or a quote to be closed, found the end of the file. "
        "Close what is open.",
        "r.jsonの1行目、15文字目：かっこか引用符が閉じていないまま、ファイルが終わっています。"
        "開いているものを閉じてください。",
    ),
    "a control character": (
        "r.yaml",
        "items: [A\x01]\n",
        "r.yaml, line 1, column 10: expected text, found the character U+0001, which YAML does not allow. Take "
        "it out, or write it in double quotes as \\x01 is written.",
        "r.yamlの1行目、10文字目：YAMLでは使えない文字 U+0001 がありました。取り除くか、二重引用符の中で \\x01 "
        "のように書いてください。",
    ),
    "too entangled": (
        "r.rules",
        _wide(),
        "r.rules: the rules are too entangled to be summed exactly (a layer of 1047807 nodes; at most 1000000 "
        "are allowed), seen at line 3. Leave out wide rules (totals with many digits, large counts) or rules "
        "that join distant parts.",
        "r.rules：ルールが複雑に絡み合い、厳密に合計できません（1つの層のノードが1047807個になり、"
        "上限の1000000個を超えました。該当は3行目）。影響の広いルール（桁数の多い合計や大きな個数制限）か、"
        "離れた部分を結ぶルールを外してください。",
    ),
}


@pytest.mark.parametrize("case", WRONG_RULES)
def test_wrong_rules(case, tmp_path, refused):
    name, content, english, japanese = WRONG_RULES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused("rules", tmp_path / name) == (english, japanese)


WRONG_FOR_A_TABLE: dict[str, tuple[str, str, str]] = {
    "an unknown item": (
        "c requires dd\n",
        "r.rules, line 1, column 12: 'dd' is not a known item; the nearest is 'd'. Correct the name, or declare it.",
        "r.rulesの1行目、12文字目：「dd」という項目はありません。最も近いのは「d」です。名前を修正するか、"
        "宣言してください。",
    ),
    "contradictory bounds": (
        "size at least 3\nsize at most 1\n",
        "r.rules: no combination obeys all the rules; these 2 can't hold together: line 1: size at least 3; "
        "line 2: size at most 1. Change or remove one of them.",
        "r.rules：すべてのルールを満たす組合せがありません。次の2個のルールは同時に成り立ちません（1行目：size "
        "at least 3; 2行目：size at most 1）。どれか1つを変更するか、削除してください。",
    ),
    "no row is valid": (
        "where load > -100: a and not b\n",
        "r.rules: none of the 60 rows of t.csv obeys the rules; most often broken, in 60 rows, is where load > "
        "-100: a and not b. Correct the rule, or the columns that are read.",
        "r.rules：t.csvの60行の中に、ルールを満たす行がありません。違反が最も多いルールは where load > -100: "
        "a and not b で、60行です。ルールか、読み込む列を修正してください。",
    ),
    "conditions leave nothing": (
        "where load > -100: at least 4 of a, b, c, d\nwhere load > -100: not a\n",
        "r.rules: in 60 rows of t.csv (rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (50 more)) the rules whose conditions "
        "hold there leave no combination; they are in lines 1, 2. Change one of them, or its condition.",
        "r.rules：t.csvの60行（2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …ほか50件行目）では、条件が成り立つルール（1, 2行目）"
        "を満たす組合せが一つもありません。いずれかのルールか、その条件を変更してください。",
    ),
    "another kind": (
        "ranking a, b, c\na above b\n",
        "r.rules: expected rules for subsets, which the table has, found declarations of rankings. Choose "
        "other target columns, or other rules.",
        "r.rules：表の出力の種類（部分集合）に合うルールが必要ですが、順位の宣言でした。出力の列を選び直すか、"
        "別のルールを使ってください。",
    ),
    "an order": (
        "b above a\n",
        "r.rules, line 1, column 1: expected a rule about what is chosen, since the outputs are subsets, found "
        "one about the place of 'b' in an order. Take the rule out, or choose columns with ranks as targets.",
        "r.rulesの1行目、1文字目：出力の種類は部分集合なので、選ぶものについてのルールが必要ですが、"
        "「b」の順序のルールでした。ルールを外すか、順位の列を出力に選んでください。",
    ),
    "a column the table lacks": (
        "where speed > 5: a requires b\n",
        "r.rules, line 1, column 7: the condition needs the feature 'speed', which the table does not have; "
        "the nearest is 'load'. Correct the name, or add the column.",
        "r.rulesの1行目、7文字目：where の条件式に必要な条件の列「speed」が表にありません。"
        "最も近いのは「load」です。名前を修正するか、列を追加してください。",
    ),
    "words as numbers": (
        "where region > 5: a requires b\n",
        "r.rules, line 1, column 7: the condition compares 'region' with a number, but the column holds words "
        "such as 'JP'. Compare it with a word in quotes.",
        "r.rulesの1行目、7文字目：where の条件式は「region」を数値と比べていますが、"
        "列には「JP」などの文字列が入っています。引用符で囲んだ文字列と比べてください。",
    ),
    "a total of nothing": (
        "total cost at most 5\n",
        "r.rules, line 1, column 7: expected a declared attribute, found 'cost', and none is declared. Declare "
        "it, for example: attribute cost: A 3, B 5.5.",
        "r.rulesの1行目、7文字目：宣言済みの属性が必要ですが、「cost」でした。属性は1つも宣言されていません。"
        "次のように宣言してください：attribute cost: A 3, B 5.5",
    ),
    "other outputs": (
        "slot Motor: servo, stepper\nMotor = servo\n",
        "r.rules: expected rules about columns of the table (y_a, y_b, y_c, y_d), found declarations of other "
        "names alone (Motor). Choose other target columns, or other rules.",
        "r.rules：表の列（y_a, y_b, y_c, y_d）についてのルールが必要ですが、"
        "宣言されているのは別の名前だけでした（Motor）。出力の列を選び直すか、別のルールを使ってください。",
    ),
}


@pytest.mark.parametrize("case", WRONG_FOR_A_TABLE)
def test_rules_that_do_not_suit_a_table(case, folder, tmp_path, refused):
    text, english, japanese = WRONG_FOR_A_TABLE[case]
    (tmp_path / "r.rules").write_text(text, encoding="utf-8")
    arguments = ["fit", folder / "t.csv", "--out", tmp_path / "m", "--rules", tmp_path / "r.rules", *QUICK]
    assert refused(*arguments) == (english, japanese)
    assert not (tmp_path / "m").exists()


WRONG_REFERENCES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "candidates without their reference": (
        ("--candidates", "simulated.csv"),
        "Reference table: expected that reference with a table of candidates, found reference auto. Choose it "
        "(--reference table), or leave the candidates out.",
        "基準分布 table：候補の表には基準分布 table が必要ですが、auto でした。基準分布 table を選ぶか（"
        "--reference table）、候補の表を外してください。",
    ),
    "their reference without candidates": (
        ("--reference", "table"),
        "Reference table: expected a table of candidates, found none; give one (--candidates FILE).",
        "基準分布 table：候補の表が必要ですが、指定されていません。表を指定してください（--candidates FILE）。",
    ),
    "candidates that break the rules": (
        ("--reference", "table", "--candidates", "invalid.csv"),
        "r.rules: none of the 1 candidates of invalid.csv obeys the rules; correct one or the other.",
        "r.rules：invalid.csvの1個の候補の中に、ルールを満たすものがありません。"
        "ルールか候補のどちらかを修正してください。",
    ),
    "candidates that are missing": (
        ("--reference", "table", "--candidates", "none.csv"),
        "none.csv was not found. Check the name and the folder.",
        "none.csvが見つかりません。名前とフォルダーを確認してください。",
    ),
    "a model without its reference": (
        ("--generator", "m"),
        "Reference model: expected a fitted model and that reference together, found only one of them; give "
        "both (--reference model --generator MODEL).",
        "基準分布 model：学習済みのモデルと基準分布 model は両方必要ですが、片方しか指定されていません。"
        "両方を指定してください（--reference model --generator MODEL）。",
    ),
    "its reference without a model": (
        ("--reference", "model"),
        "Reference model: expected a fitted model and that reference together, found only one of them; give "
        "both (--reference model --generator MODEL).",
        "基準分布 model：学習済みのモデルと基準分布 model は両方必要ですが、片方しか指定されていません。"
        "両方を指定してください（--reference model --generator MODEL）。",
    ),
    "a model of other outputs": (
        ("--reference", "model", "--generator", "other"),
        "Reference model: expected a model of the same outputs and options (y_a, y_b, y_c, y_d), found one of "
        "others (y_p, y_q); fit it to the same columns.",
        "基準分布 model：出力と選択肢が同じモデル（y_a, y_b, y_c, y_d）が必要ですが、異なるモデル（y_p, y_q）"
        "でした。同じ列で学習したモデルを使ってください。",
    ),
    "a model of listed combinations": (
        ("--reference", "model", "--generator", "near"),
        "Expected a model whose reference is uniform, marginals or a classifier as a generator, found one with "
        "edits; fit it with another reference.",
        "候補生成器にするモデルの基準分布は uniform、marginals、分類器のいずれかですが、edits でした。"
        "別の基準分布で学習し直してください。",
    ),
    "a table under rules that weigh": (
        ("--rules", "soft.rules", "--reference", "table", "--candidates", "simulated.csv"),
        "Expected the reference uniform, marginals or a classifier under rules that weigh combinations or "
        "depend on x, found candidates; choose one of these.",
        "組合せに重みを付けるルールや、xによって変わるルールを使う場合の基準分布は uniform、marginals、"
        "分類器のいずれかですが、candidates でした。いずれかを選んでください。",
    ),
}


@pytest.mark.parametrize("case", WRONG_REFERENCES)
def test_references_that_can_not_be_met(case, folder, tmp_path, refused):
    words, english, japanese = WRONG_REFERENCES[case]
    given = [folder / word if (folder / word).exists() else word for word in words]
    arguments = ["fit", folder / "t.csv", "--out", tmp_path / "m", "--rules", folder / "r.rules", *given, *QUICK]
    assert refused(*arguments) == (english, japanese)
