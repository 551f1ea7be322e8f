"""The candidate generator on its page and in a training: every state, every bad input, in both languages."""

import time
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import rule_lines
from app.components.drafts import Draft
from app.components.generator_compare import Contender, judged
from app.components.verdict import Verdict
from app.generator_numbers import paired
from app.rule_export import FORMATS, exported
from app.text import FOLDER, Language, sentence, translate
from jebm_core.errors import UserError
from jebm_core.evaluation.generators import GeneratorTrial
from jebm_core.rules.budget import Budget
from jebm_core.rules.compiled import CompiledRules, compile_rules
from jebm_core.rules.data import keep_valid
from jebm_core.rules.notation.files import read_rule_file
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.runs import RunSpec, RunStore
from jebm_core.runs.records import State
from jebm_core.tables import Examples, guess_roles, read_examples, read_table
from tests.app.conftest import SAMPLES, small_spec, wait_until_ended

MAIN = FOLDER.parent / "main.py"
LANGUAGES: tuple[Language, ...] = ("en", "ja")
SAMPLE_RULES = (SAMPLES / "assembly.rules").read_text(encoding="utf-8")


def examples_of(name: str) -> Examples:
    table = read_table(SAMPLES / f"{name}.csv")
    return read_examples(table, guess_roles(table))


def compiled(text: str, name: str, source: str = "rules") -> CompiledRules:
    examples = examples_of(name)
    problem = bind(parse_rules(text, source), examples.outputs.schema, features=examples.roles.features)
    return compile_rules(problem, Budget(seconds=20.0))


def dataset(name: str) -> str:
    return RunStore().add_dataset(SAMPLES / f"{name}.csv", f"{name}.csv").sha256


def opened(page: str = "generator", lang: Language = "en", **query: str) -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.query_params.update({"lang": lang, **query})
    app.run()
    if page != "overview":
        app.switch_page(f"views/{page}.py").run()
    return healthy(app)


def healthy(app: AppTest) -> AppTest:
    assert not app.exception
    assert not [error.value for error in app.error if "report reference" in error.value or "参照番号" in error.value]
    return app


def write(app: AppTest, text: str) -> AppTest:
    """Put a text into the editor; the component itself needs a browser, which the story has."""
    draft: Draft = next(iter(app.session_state["rule_drafts"].values()))
    draft.replace(text)
    return healthy(app.run())


def shown(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.subheader, *app.error, *app.success, *app.info]
    return "\n".join(str(part.value).replace("\\", "").replace("\u00a0", " ") for part in parts)


def errors(app: AppTest) -> list[str]:
    return [str(error.value).replace("\\", "") for error in app.error]


@pytest.fixture(scope="module")
def pages(private_home: Path) -> dict[tuple[str, str], AppTest]:
    """One open page a sample and language: a text that can't be read leaves it as it was."""
    return {
        (name, lang): opened(lang=lang, dataset=dataset(name))
        for name in ("assembly", "maintenance", "suppliers")
        for lang in LANGUAGES
    }


# ---- states of the page ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", LANGUAGES)
def test_without_data_the_page_leads_to_the_data_or_lets_one_write(lang: Language) -> None:
    app = opened(lang=lang)
    assert app.button(key="empty_action").label == translate("Choose the data", lang)
    app.button(key="without_data_start").click().run()
    assert not errors(healthy(app))
    write(app, "items A, B, C\nA requires B")
    assert "6" in shown(app)
    assert not errors(app)
    assert not [button for button in app.button if button.key == "compare"], "nothing to compare without data"


def test_data_without_outputs_lead_back_to_the_data() -> None:
    found = RunStore().add_dataset(b"x_a,result\n" + b"1,0\n2,1\n" * 15, "none.csv")
    app = opened(dataset=found.sha256)
    assert errors(app)
    app.button(key="choose_data").click().run()
    assert app.title[0].value == "Data"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_without_rules_every_combination_counts(lang: Language) -> None:
    app = opened(lang=lang, dataset=dataset("assembly"))
    assert "225,000" in shown(app)
    assert translate("Not done yet", lang) in shown(app)
    assert app.button(key="save_version").disabled
    app.button(key="sample_rules").click().run()
    assert "24,128" in shown(healthy(app))
    assert translate("Trusted", lang) in shown(app)
    assert not app.button(key="save_version").disabled
    assert "駆動ユニット" in text_of(app) if lang == "ja" else "Design rules" in text_of(app)


def text_of(app: AppTest) -> str:
    draft: Draft = next(iter(app.session_state["rule_drafts"].values()))
    return draft.text


def test_the_count_follows_the_text_and_the_text_survives() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, 'motor = "servo 1.5 kW" excludes sensor = Hall')
    first = compiled(text_of(app), "assembly").diagram.count()
    assert f"{first:,}" in shown(app)
    app.switch_page("views/data.py").run()
    app.switch_page("views/generator.py").run()
    app.segmented_control(key="lang_switch").set_value("ja").run()
    assert f"{first:,}" in shown(healthy(app))
    assert text_of(app) == 'motor = "servo 1.5 kW" excludes sensor = Hall'


def test_an_error_keeps_what_was_counted_last() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, "sensor != Hall")
    write(app, "sensor != Hall\nsensor != reslver")
    assert (
        "Line 2 needs a look" in [error.icon and error.proto.title for error in app.error]
        or "reslver" in errors(app)[0]
    )
    assert "last text" in shown(app)
    assert "180,000" in shown(app)
    app.button(key="off_error").click().run()
    assert text_of(app) == "sensor != Hall\n# sensor != reslver"
    assert not errors(healthy(app))
    app.button(key="rules_back").click().run()
    assert text_of(app).endswith("\nsensor != reslver")


def test_past_rows_that_break_a_rule_are_found_and_mended() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, "sensor != resolver\nhousing != polymer or seal != labyrinth")
    assert "but 40 of 420 past rows break them" in shown(app)
    assert "Do not trust" in shown(app)
    assert any("Line 1: 40 rows" in line for line in shown(app).splitlines())
    rows = next(frame.value for frame in app.dataframe if "Row of the file" in frame.value.columns)
    assert len(rows) == 40
    app.button(key="goto_0").click().run()
    app.button(key="off_0").click().run()
    assert text_of(app).startswith("# sensor != resolver")
    assert "all 420 past rows obey them" in shown(healthy(app))


def test_a_rule_that_says_nothing_new_is_named() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, 'sensor != Hall\nmotor = "servo 1.5 kW" excludes sensor = Hall')
    assert "the others say it already: 1 (lines 2)" in shown(app).replace("**", "")


def test_samples_are_drawn_again() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, SAMPLE_RULES)

    def drawn() -> str:
        return next(frame.value for frame in app.dataframe if "Motor" in frame.value.columns).to_csv()

    before = drawn()
    app.button(key="draw_again").click().run()
    assert drawn() != before


def test_the_form_writes_a_line() -> None:
    app = opened(dataset=dataset("assembly"))
    app.selectbox(key="rule_first_0_en").set_value(("motor", "servo 1.5 kW")).run()
    app.multiselect(key="rule_others_0_en").set_value([("sensor", "resolver"), ("sensor", "absolute encoder")]).run()
    app.button(key="rule_add").click().run()
    assert text_of(app) == 'if motor = "servo 1.5 kW" then sensor in {resolver, "absolute encoder"}\n'
    app.selectbox(key="rule_kind").set_value("where").run()
    app.selectbox(key="rule_where_part_1_en").set_value(("sensor", "Hall")).run()
    app.button(key="rule_add").click().run()
    assert text_of(app).splitlines()[1].startswith("where ambient_temp_c ==")
    assert not errors(healthy(app))


@pytest.mark.parametrize("name", ["assembly", "maintenance", "suppliers"])
def test_every_example_of_the_cheat_sheet_can_be_written(name: str) -> None:
    examples = examples_of(name)
    for example in rule_lines.examples_for(examples.outputs.schema, examples):
        assert compiled(example.line, name).diagram.count() > 0, example.line
        assert translate(example.says, "ja") != example.says


ITEM_RULES = "change_oil requires replace_filter\nsize at most 6\nreplace_belt excludes adjust_belt"


@pytest.mark.parametrize(
    ("name", "rules", "form"),
    [
        *(("maintenance", ITEM_RULES, form) for form in FORMATS),
        # A feature called slot=option is read back as an item of its own from UVL, so slots go by the other two.
        *(("assembly", SAMPLE_RULES, form) for form in ("cnf", "json")),
    ],
)
def test_rules_go_out_and_come_in_again(name: str, rules: str, form: str) -> None:
    first = compiled(rules, name)
    content = exported(first.problem.rules, first.problem.schema, form).encode()
    app = opened(dataset=dataset(name))
    app.file_uploader[0].upload(f"rules.{form}", content)
    healthy(app.run())
    assert not errors(app)
    assert f"{first.diagram.count():,}" in shown(app)


def test_a_file_of_text_keeps_its_notes() -> None:
    app = opened(lang="ja", dataset=dataset("assembly"))
    app.file_uploader[0].upload("ルール.rules", "# 注釈\nsensor != Hall\n".encode("cp932"))
    healthy(app.run())
    assert text_of(app) == "# 注釈\nsensor != Hall\n"


# ---- bad input -------------------------------------------------------------------------------------------------------

BAD = {
    "empty space": ("assembly", "sensor = Hall\nsensor = resolver"),
    "unknown item": ("maintenance", "change_oill requires replace_filter"),
    "unknown option": ("assembly", "sensor = Halll"),
    "unknown feature": ("assembly", "where ambient > 30: sensor = Hall"),
    "contradictory bounds": ("maintenance", "size between 9 and 2"),
    "bounds that can't be met": ("maintenance", "size at most 3\nsize at least 5"),
    "cycle of order rules": ("suppliers", "supplier_a above supplier_b above supplier_c\nsupplier_c above supplier_a"),
    "zero weight": ("maintenance", "prefer 0: change_oil"),
    "negative weight": ("maintenance", "prefer -2: change_oil"),
    "zero probability": ("maintenance", "probability change_oil: 0"),
    "statement that ends early": ("maintenance", "change_oil requires"),
    "rules of another kind": ("maintenance", "change_oil above replace_filter"),
}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("case", BAD)
def test_a_bad_rule_is_one_sentence(case: str, lang: Language, pages: dict[tuple[str, str], AppTest]) -> None:
    name, text = BAD[case]
    with pytest.raises(UserError) as caught:
        compiled(text, name, translate("Rules", lang))
    app = write(pages[name, lang], text)
    assert errors(app) == [sentence(caught.value, lang).replace("\\", "")]
    assert app.button(key="save_version").disabled
    if lang == "ja":
        assert sentence(caught.value, "ja") != str(caught.value)


FILES = {
    "unsupported.uvl": b"features\n\tA cardinality [0..5]\n\t\toptional\n\t\t\tB\n",
    "broken.uvl": b"features\n\tA\n\t\tsometimes\n\t\t\tB\n",
    "broken.cnf": b"p cnf 2 1\n1 x 0\n",
    "broken.json": b'{"rules": [',
    "wrong.yaml": b"rules: 3\n",
    "wrong.rules": b"A requires\n",
    "binary.rules": b"\x00\x01\x02",
}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_bad_rule_file_is_one_sentence_and_changes_nothing(name: str, lang: Language) -> None:
    with pytest.raises(UserError) as caught:
        read_rule_file(name, FILES[name])
    app = opened(lang=lang, dataset=dataset("maintenance"))
    app.file_uploader[0].upload(name, FILES[name])
    healthy(app.run())
    assert errors(app) == [sentence(caught.value, lang).replace("\\", "")]
    assert text_of(app) == ""
    if lang == "ja":
        assert sentence(caught.value, "ja") != str(caught.value)


def test_a_cycle_of_requires_is_fine_and_ten_thousand_rules_are_counted() -> None:
    app = opened(dataset=dataset("maintenance"))
    write(app, "change_oil requires replace_filter\nreplace_filter requires change_oil")
    assert not errors(app)
    assert "8,192" in shown(app)
    names = [name for name in examples_of("maintenance").outputs.names if name != "change_oil"]
    pairs = [f"change_oil excludes {names[i % len(names)]}" for i in range(10_000)]
    started = time.monotonic()
    write(app, "\n".join(pairs))
    assert not errors(app)
    assert "8,193" in shown(app)
    assert time.monotonic() - started < 40


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rules_that_no_row_obeys_stop_the_training_with_a_sentence(lang: Language) -> None:
    text = 'motor = "servo 0.75 kW"\nsensor = "no sensor"'
    with pytest.raises(UserError) as caught:
        keep_valid(compiled(text, "assembly", translate("Rules", lang)), examples_of("assembly"))
    version = RunStore().generators.save("Nobody", text)
    app = opened(lang=lang, dataset=dataset("assembly"), generator=version.id)
    assert translate("Do not trust", lang) in shown(app)
    app.button(key="train_with").click().run()
    assert errors(healthy(app)) == [sentence(caught.value, lang).replace("\\", "")]
    assert not [button for button in app.button if button.key == "start"]


# ---- versions and their comparison -----------------------------------------------------------------------------------


def test_a_version_is_saved_linked_listed_and_deleted() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, "sensor != resolver")
    name = next(field for field in app.text_input if str(field.key).startswith("version_name"))
    name.set_value("Walk").run()
    app.button(key="save_version").click().run()
    version = RunStore().generators.version(one(app.query_params["generator"]))
    assert (version.title, version.rules, version.reference) == ("Walk · 1", "sensor != resolver", "auto")
    again = opened(dataset=dataset("assembly"), generator=version.id)
    assert text_of(again) == "sensor != resolver"
    write(again, "sensor != resolver\nseal != labyrinth")
    assert "Against Walk · 1: 180,000 → 144,000" in shown(again)
    box = next(box for box in again.selectbox if str(box.key).startswith("version_reference"))
    box.set_value("edits").run()
    again.button(key="save_version").click().run()
    second = RunStore().generators.version(one(again.query_params["generator"]))
    assert (second.title, second.reference) == ("Walk · 2", "edits")
    assert again.multiselect(key=f"compare_{second.id}_{version.id}").value == [second.id, version.id]
    again.button(key=f"delete_{second.id}").click().run()
    assert "generator" not in healthy(again).query_params
    again.button(key=f"open_{version.id}").click().run()
    assert text_of(healthy(again)) == "sensor != resolver"


def one(value: str | list[str]) -> str:
    return value if isinstance(value, str) else value[0]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_link_to_a_version_that_is_gone_says_so(lang: Language) -> None:
    app = opened(lang=lang, dataset=dataset("assembly"), generator="zzzz")
    assert "zzzz" in errors(app)[0]
    app.button(key="leave_generator").click().run()
    assert not errors(healthy(app))


def test_a_table_of_candidates_is_kept_with_the_version() -> None:
    app = opened(dataset=dataset("assembly"))
    write(app, SAMPLE_RULES)
    next(box for box in app.selectbox if str(box.key).startswith("version_reference")).set_value("table").run()
    assert app.button(key="save_version").disabled
    content = (SAMPLES / "assembly.csv").read_bytes()
    next(box for box in app.file_uploader if box.key == "candidate_upload").upload("simulated.csv", content)
    healthy(app.run())
    app.button(key="save_version").click().run()
    version = RunStore().generators.version(one(app.query_params["generator"]))
    assert (version.reference, version.source) == ("table", RunStore().add_dataset(content, "simulated.csv").sha256)


def trial(coverage: float, log_q: np.ndarray, seconds: float = 1.0) -> GeneratorTrial:
    return GeneratorTrial(10, 100, coverage, log_q, log_q + 0.5, np.full(4, 3.0), seconds)


def contender(name: str, coverage: float, log_q: np.ndarray) -> Contender:
    return Contender(name, None, trial(coverage, log_q))


def test_the_sentence_of_a_comparison() -> None:
    noise = np.random.default_rng(0).normal(size=60)
    low, high = contender("low", 1.0, -5 + noise), contender("high", 1.0, -4 + noise + 0.1 * noise**2)
    verdict, words, best = judged([low, high])
    assert (verdict, best) == (Verdict.TRUSTED, high)
    assert words.startswith("high is better: it gives held-out rows 1.")
    other = contender("other", 1.0, -5 + noise[::-1])
    verdict, words, best = judged([low, other])
    assert (verdict, best) == (Verdict.CAUTION, None)
    assert "no clear difference" in words
    narrow = contender("narrow", 0.8, -2 + noise)
    verdict, words, best = judged([narrow, low])
    assert (verdict, best) == (Verdict.CAUTION, None)
    assert "Neither is better in all: narrow" in words
    verdict, words, best = judged([contender("narrow", 0.8, -5 + noise[::-1]), low])
    assert (verdict, best) == (Verdict.TRUSTED, low)
    assert "low is better: it covers" in words
    apart = contender("apart", 1.0, np.full(60, -np.inf))
    assert judged([apart, low])[0] is Verdict.PENDING
    assert paired(low.trial.log_q, apart.trial.log_q).gain is None


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_comparison_on_the_page(lang: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    first = RunStore().generators.save("Compared", "sensor != resolver")
    second = RunStore().generators.save("Compared", "sensor != Hall")
    monkeypatch.setattr(
        "app.components.generator_compare.trial_of",
        lambda version, _scene: trial(0.9, np.full(40, -4.0 if version == second else -5.0)),
    )
    app = opened(lang=lang, dataset=dataset("assembly"), generator=second.id)
    app.button(key="compare").click().run()
    assert second.title in shown(healthy(app))
    assert translate("Trusted", lang) in shown(app)
    assert app.table
    app.button(key="train_with_best").click().run()
    assert app.title[0].value == translate("Train", lang)
    assert one(app.query_params["generator"]) == second.id
    assert first.id != second.id


# ---- training with a generator ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["business", "expert"])
def test_a_training_starts_with_the_rules(depth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jebm_core.runs.store.start_runner", lambda *_args: False)
    version = RunStore().generators.save(f"Train {depth}", SAMPLE_RULES, "edits")
    app = opened("train", dataset=dataset("assembly"), generator=version.id, depth=depth)
    assert "24,128" in shown(app)
    app.button(key="start").click().run()
    spec = RunStore().run(one(healthy(app).query_params["run"])).spec
    assert (spec.rules, spec.generator, spec.source) == (SAMPLE_RULES, version.id, "")
    assert spec.settings["reference"] == "edits"
    assert f"generator “{version.title}”" in shown(app)
    RunStore().cancel(one(app.query_params["run"]))


def test_a_training_can_drop_the_generator() -> None:
    version = RunStore().generators.save("Dropped", SAMPLE_RULES)
    app = opened("train", dataset=dataset("assembly"), generator=version.id)
    box = next(box for box in app.selectbox if str(box.key).startswith("generator_choice"))
    assert box.value == version.id
    box.set_value("").run()
    assert "generator" not in healthy(app).query_params
    assert "225,000" in shown(app)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_rules_of_other_data_stop_the_training_with_a_sentence(lang: Language) -> None:
    version = RunStore().generators.save("Elsewhere", "pump requires valve")
    app = opened("train", lang=lang, dataset=dataset("maintenance"), generator=version.id)
    assert "pump" in errors(app)[0]
    assert any(mark >= "\u3040" for mark in errors(app)[0]) == (lang == "ja")
    assert not [button for button in app.button if button.key == "start"]


@pytest.fixture(scope="module")
def ruled(private_home: Path) -> str:
    """A finished run with rules, really done by the job."""
    store = RunStore(idle_seconds=1.0)
    spec = small_spec("assembly")
    version = store.generators.save("Seals", 'seal = labyrinth excludes bearing = "tapered roller"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        run = store.submit(RunSpec(**{**spec.to_json(), "rules": version.rules, "generator": version.id}))
        state = wait_until_ended(store, run)
    assert state is State.SUCCEEDED, str(store.run(run).message)
    return run


def test_a_finished_run_names_its_generator_everywhere(ruled: str) -> None:
    app = opened("overview", run=ruled)
    assert "generator “Seals · 1”" in shown(app)
    assert "valid combinations" in shown(app)
    assert "Generator: Seals · 1" in shown(app)
    for page in ("train", "partition", "unseen"):
        app.switch_page(f"views/{page}.py").run()
        assert "generator “Seals · 1”" in shown(healthy(app))
        assert not errors(app), page
    app.switch_page("views/partition.py").run()
    assert "Candidate generator: Seals · 1" in shown(app)
    app.switch_page("views/generator.py").run()
    assert text_of(healthy(app)).startswith("seal = labyrinth")
    assert any("Used by runs" in button.label for button in app.button)


def test_a_run_is_done_again_with_its_rules_after_its_version_was_deleted(
    ruled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jebm_core.runs.store.start_runner", lambda *_args: False)
    store = RunStore()
    version = store.generators.save("Seals", "seal != labyrinth")
    spec = store.run(ruled).spec
    run = store.enqueue(RunSpec(**{**spec.to_json(), "rules": version.rules, "generator": version.id}))
    store.cancel(run)
    store.generators.delete(version.id)
    app = opened("train", run=run)
    assert "rules of its own" in shown(app)
    app.button(key="again").click().run()
    box = next(box for box in healthy(app).selectbox if str(box.key).startswith("generator_choice"))
    assert box.value == "earlier"
    app.button(key="start").click().run()
    found = RunStore().run(one(healthy(app).query_params["run"]))
    assert found.spec.rules == "seal != labyrinth"
    store.cancel(found.id)


def test_the_stage_gate_speaks_of_an_open_version() -> None:
    version = RunStore().generators.save("Gate", "sensor != resolver")
    app = opened("overview", lang="ja", dataset=dataset("assembly"), generator=version.id)
    assert "180,000通り" in shown(app)
    assert "使用不可" in shown(app)
