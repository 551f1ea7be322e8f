"""Reports of finished runs and their files, made once for everybody who asks for the same."""

from collections.abc import Callable
from importlib import import_module
from typing import Final

import streamlit as st

from app.components import place
from app.report.build import write_report
from app.report.facts import Choices, gather
from app.report.model import Report
from app.text import Language
from jebm_core.errors import UserError
from jebm_core.runs.ledger import EXPORTED
from jebm_core.runs.store import RunStore

FORMATS: Final = {
    "html": "text/html",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}


def report_of(run_id: str, choices: Choices, lang: Language) -> Report:
    """Return the report of a run in a language. The first time takes seconds.

    Raises:
        UserError: the run has not finished, or a file of it is damaged; a price is negative.
    """
    return _report(run_id, choices, repr(choices.values), lang)


def file_of(run_id: str, choices: Choices, lang: Language, kind: str) -> bytes:
    """Return the report as a file of a kind of ``FORMATS``.

    Raises:
        UserError: as `report_of`, or a library of this kind is missing.
    """
    return _file(run_id, choices, repr(choices.values), lang, kind)


def exported(kept: RunStore, run_id: str, choices: Choices, lang: Language, kind: str) -> bytes:
    """Return `file_of` for somebody who takes it away, and write down that they did.

    Args:
        kept: the store in the name of the person, made while the page was drawn: a download runs where nobody is known.

    Raises:
        UserError: as `file_of`, or the store can't be written.
    """
    content = file_of(run_id, choices, lang, kind)
    kept.ledger.add(EXPORTED, run_id, format=kind, language=lang)
    return content


@st.cache_resource(max_entries=16, show_spinner=False)
def _report(run_id: str, choices: Choices, values: str, lang: Language) -> Report:
    with place.speaking(lang):
        return write_report(gather(run_id, choices), lang)


@st.cache_data(max_entries=24, show_spinner=False)
def _file(run_id: str, choices: Choices, values: str, lang: Language, kind: str) -> bytes:
    if kind not in FORMATS:
        raise UserError(
            "Report: expected one of the formats {known}, found {found}.", known=", ".join(FORMATS), found=kind
        )
    write: Callable[[Report], bytes] = getattr(import_module(f"app.report.{kind}"), kind)
    with place.speaking(lang):
        return write(report_of(run_id, choices, lang))
