"""Words and numbers in the languages of the dashboard, without Streamlit.

English sentences are written in the code and are the message ids; ``ja/LC_MESSAGES/messages.po`` holds the Japanese
ones. ``python -m app.text`` brings the catalogue up to date after a sentence was added or changed.
"""

import gettext
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, cast, runtime_checkable

Language = Literal["en", "ja"]
LANGUAGES: dict[Language, str] = {"en": "English", "ja": "日本語"}
FOLDER = Path(__file__).parent


@runtime_checkable
class Templated(Protocol):
    """An error or a note of ``jebm_core``: an English template and the values it names."""

    @property
    def template(self) -> str: ...

    @property
    def values(self) -> Mapping[str, object]: ...


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(lang: Language) -> gettext.NullTranslations:
    """Return the catalogue of a language; English needs none, since its sentences are the message ids.

    Raises:
        OSError: the compiled catalogue of the language is missing.

    >>> catalogue("en").gettext("Data")
    'Data'
    """
    if lang == "en":
        return gettext.NullTranslations()
    with (FOLDER / lang / "LC_MESSAGES" / "messages.mo").open("rb") as compiled:
        return gettext.GNUTranslations(compiled)


def translate(message: str, lang: Language) -> str:
    """Return a message in a language; an untranslated one comes back in English.

    >>> translate("", "ja")
    ''
    """
    return catalogue(lang).gettext(message) if message else ""


def sentence(item: object, lang: Language) -> str:
    """Return an error or note as one sentence in a language.

    An item with a ``template`` is translated and then filled in; anything else is looked up by its text.

    >>> from jebm_core.errors import TableError
    >>> sentence(TableError("{file} is not a table.", file="t.png"), "en")
    't.png is not a table.'
    """
    if isinstance(item, Templated):
        values = {name: _readable(name, value, lang) for name, value in item.values.items()}
        translated = translate(item.template, lang)
        return translated.format(**values) if values else translated
    return translate(str(item), lang)


def language_of(locale: str | None) -> Language:
    """Return the language to greet a browser with: Japanese for a Japanese one, English for every other.

    >>> language_of("ja-JP"), language_of("de-DE"), language_of(None)
    ('ja', 'en', 'en')
    """
    return "ja" if (locale or "").lower().startswith("ja") else "en"


def as_language(text: str | None) -> Language | None:
    """Return the text as a language if it names one, else nothing.

    >>> as_language("ja"), as_language("xx")
    ('ja', None)
    """
    return cast(Language, text) if text in LANGUAGES else None


def marked(message: str) -> str:
    """Return the message unchanged; the name marks it for extraction where it is translated later.

    >>> marked("Data")
    'Data'
    """
    return message


# Words of our own that stand inside sentences; every other value comes from a file and is left as it is.
_WORDS = frozenset(
    (
        marked("a PNG image"),
        marked("a JPEG image"),
        marked("a GIF image"),
        marked("a PDF document"),
        marked("a gzip archive"),
        marked("an Excel workbook or a ZIP archive"),
        marked("an Excel workbook of the older kind"),
        marked("a Parquet file"),
        marked("tabs"),
        marked("semicolons"),
        marked("commas"),
        marked("options of all slots"),
        marked("target columns"),
        marked("subsets"),
        marked("configurations"),
        marked("rankings"),
        marked("queued"),
        marked("running"),
        marked("succeeded"),
        marked("failed"),
        marked("cancelled"),
        marked("item"),
        marked("slot"),
        marked("attribute"),
        marked("evaluation"),
        marked("model"),
    )
)
_WORD_FIELDS = frozenset(("description", "separator", "what", "kind", "declared", "state", "space"))
_MORE = marked("{count} more")


class Signed(float):
    """A number that is written with a minus sign, not with a hyphen, whatever the format.

    >>> f"{Signed(-0.25):.2f} to {Signed(3.0):,.0f}"
    '−0.25 to 3'
    """

    def __format__(self, form: str) -> str:
        """The number as the format says."""
        return super().__format__(form).replace("-", "\N{MINUS SIGN}")


def _readable(field: str, value: object, lang: Language) -> object:
    if isinstance(value, Templated):
        return sentence(value, lang)
    if isinstance(value, list | tuple):
        value = ", ".join(str(part) for part in value)
    if isinstance(value, float):
        return Signed(value)
    if not isinstance(value, str) or lang == "en":
        return value
    if field in _WORD_FIELDS and value in _WORDS:
        return translate(value, lang)
    # Lists that were cut short end in how many more there are.
    return re.sub(r"… \((\d+) more\)$", lambda cut: "…" + translate(_MORE, lang).format(count=cut[1]), value)
