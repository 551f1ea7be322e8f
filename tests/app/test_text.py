"""The catalogue is complete and compiled, and numbers read as each language expects."""

import itertools
import json
import string

import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app.text import FOLDER, as_language, catalogue, language_of, sentence, translate
from app.text.extract import extract
from app.text.numbers import NBSP, Interval, count, decimal, one_in, percent, percent_interval, size, with_interval
from jebm_core.errors import RuleError, TableError
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.runs import Message
from jebm_core.tables import Note

SOURCE = FOLDER / "ja" / "LC_MESSAGES" / "messages.po"


def _japanese() -> dict[str, str]:
    with SOURCE.open("rb") as file:
        return {str(m.id): str(m.string) for m in read_po(file, locale="ja") if m.id and not m.fuzzy}


def _fields(text: str) -> set[str]:
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(text) if name is not None}


def test_every_message_of_dashboard_errors_and_notes_is_translated() -> None:
    japanese = _japanese()
    missing = [str(message.id) for message in extract() if message.id and not japanese.get(str(message.id))]
    assert not missing, f"write the Japanese of these in {SOURCE.name}, then run python -m app.text: {missing}"


def test_translations_name_the_same_values() -> None:
    wrong = [key for key, text in _japanese().items() if text and _fields(key) != _fields(text)]
    assert not wrong


def test_compiled_catalogue_is_that_of_the_source() -> None:
    with SOURCE.with_suffix(".mo").open("rb") as file:
        compiled = {str(m.id): str(m.string) for m in read_mo(file) if m.id}
    assert compiled == {key: text for key, text in _japanese().items() if text}


def test_japanese_has_full_width_punctuation_and_no_half_width_kana() -> None:
    for text in _japanese().values():
        assert not any("\uff61" <= mark <= "\uff9f" for mark in text), text
        for left, right in itertools.pairwise(text):
            assert not (left > "\u3040" and right in ",:;?!"), text


def test_bold_words_of_translations_are_bold() -> None:
    """Two stars after a full stop close nothing where the next sentence follows at once, as Japanese is written."""
    parser = MarkdownIt()
    bold = {english: text for english, text in _japanese().items() if english.count("**") >= 2}
    assert bold
    assert not [text for text in bold.values() if "**" in parser.render(text)]
    assert not [english for english in bold if "**" in parser.render(english)]


def test_sentence_fills_in_the_translated_template() -> None:
    error = TableError("{file} was not found. Check the name and the folder.", file="受注.csv")
    assert sentence(error, "ja") == "受注.csvが見つかりません。名前とフォルダーを確認してください。"
    note = Note("The fields are separated by {separator}.", {"separator": "semicolons"})
    assert sentence(note, "ja") == "項目の区切りはセミコロンです。"
    assert sentence(note, "en") == "The fields are separated by semicolons."


def test_words_of_the_file_are_never_translated() -> None:
    note = Note("The workbook has {count} sheets; only the first, {sheet!r}, was read.", {"count": 2, "sheet": "tabs"})
    assert "「tabs」" in sentence(note, "ja")


def test_phrases_inside_a_sentence_are_translated_with_it() -> None:
    rules = bind(parse_rules("items failed, item\nfailed\nnot failed", "r.rules"))
    with pytest.raises(RuleError) as caught:
        compile_rules(rules)
    japanese = sentence(caught.value, "ja")
    assert "（2行目：failed; 3行目：not failed）" in japanese  # names stay, the words around them do not
    kept = Message.from_json(json.loads(json.dumps(Message.of(caught.value).to_json())))
    assert sentence(kept, "ja") == japanese == kept.render(lambda text: translate(text, "ja"))
    assert str(kept) == sentence(kept, "en") == str(caught.value)


def test_a_cut_list_says_how_many_more_in_japanese() -> None:
    note = Note(
        "{count} rows with a missing label were left out (rows {rows}).", {"count": 12, "rows": "2, … (11 more)"}
    )
    assert sentence(note, "ja") == "ラベルが欠けている12行を除外しました（2, …ほか11件行目）。"


def test_unknown_messages_and_languages() -> None:
    assert translate("no such message", "ja") == "no such message"
    assert as_language("fr") is None
    assert language_of("ja") == "ja"
    assert catalogue("en").gettext("Data") == "Data"


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (percent(0.042, "en"), f"4.2{NBSP}%"),
        (percent_interval(Interval(0.042, 0.036, 0.049), "en"), f"4.2{NBSP}% (3.6–4.9{NBSP}%)"),
        (percent_interval(Interval(0.042, 0.036, 0.049), "ja"), "4.2%（3.6〜4.9%）"),
        (with_interval(Interval(0.08, 0.05, 0.1), "ナット", "ja"), "0.08ナット（0.05〜0.10ナット）"),
        (one_in(1 / 24, "ja"), "24件に1件"),
        (percent(None, "en"), "–"),
        (percent(float("nan"), "ja"), "–"),
        (percent(0.0, "ja"), "0.0%"),
        (percent(1.0, "ja"), "100.0%"),
        (decimal(-0.5, "en", 1), "−0.5"),
        (count(1234567, "ja"), "1,234,567"),
        (size(1_000_000_000, "en"), "1.0 GB"),
    ],
)
def test_numbers(found: str, wanted: str) -> None:
    assert found == wanted


@given(st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_share_is_never_rounded_to_certainty(share: float) -> None:
    shown = percent(share, "ja")
    assert (shown == "0.0%") == (share == 0.0)
    assert (shown == "100.0%") == (share == 1.0)
