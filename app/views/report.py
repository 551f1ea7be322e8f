"""Report: what do I take to the meeting? The page itself is the report."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from app.components import place
from app.components.answer import Quantity, answer_line, quantities
from app.components.empty import page_heading
from app.components.figure import figure
from app.components.language import _
from app.components.plain import escape
from app.components.problem import problem
from app.components.report_service import FORMATS, exported, report_of
from app.components.result import Result, open_result
from app.components.storage import store
from app.components.verdict import Verdict, verdict_badge
from app.report.facts import SUCCESS, Choices, success_of
from app.report.model import Quantity as Counted
from app.report.model import Report, Section, Table
from app.text import marked
from jebm_core.errors import UserError

LABELS = {
    "html": marked("HTML, interactive"),
    "pptx": marked("PowerPoint"),
    "pdf": marked("PDF"),
    "xlsx": marked("Excel"),
    "json": marked("JSON"),
}
GATES = {"go": "green", "widen": "orange", "stop": "red"}
NONE = ("", "")


def page() -> None:
    """Draw the page: the answer, the files, the sentences for the meeting, the evidence, the next steps, the limits."""
    page_heading(_("Report"), _("What do I take to the meeting?"))
    result = open_result(
        _("No report yet"),
        _(
            "Here stand the answer, the evidence, what it is worth and what could be wrong, with sentences for the "
            "meeting "
            "and files in five formats. A finished run brings it."
        ),
        ":material/description:",
    )
    if result is None:
        return
    lang = place.language()
    answer_place, files_place = st.container(), st.container()
    choices = _choices(result)
    try:
        with st.spinner(_("Writing the report …")):
            report = report_of(result.view.id, choices, lang)
    except UserError as error:
        problem(error, title=_("The report can't be written"))
        return
    with answer_place:
        answer_line(Verdict(report.verdict), report.headline.text, [one.text for one in report.reasons])
    with files_place:
        _files(result, choices)
    _meeting(report)
    _verdicts(report)
    for section in report.sections:
        _section(section)
    _end(report)


def _choices(result: Result) -> Choices:
    with st.expander(_("Prices, and what a success is"), icon=":material/tune:", key="report_choices"):
        outcome = _outcome(result)
        one, two, three, four, five = st.columns(5, vertical_alignment="bottom")
        trial = one.number_input(_("Cost of a trial"), value=1.0, min_value=0.0, key="trial_cost")
        success = two.number_input(
            _("Value of a success"), value=0.0, min_value=0.0, key="success_value",
            help=_("0 leaves the net worth out of the stage gate."),
        )  # fmt: skip
        hours = three.number_input(
            _("Hours of review a trial"), value=0.5, min_value=0.0, step=0.25, key="review_hours"
        )
        hour = four.number_input(_("Price of an hour"), value=0.0, min_value=0.0, key="hour_price")
        currency = five.text_input(_("Currency"), key="report_currency", max_chars=12)
    chosen = Choices(outcome, float(trial), float(success), float(hours), float(hour), currency)
    run, values, request = st.session_state.get("decided") or ("", None, chosen.request)
    # What was entered on the page Decisions, where that was about this run.
    return replace(chosen, values=values, request=request) if run == result.view.id else chosen


def _outcome(result: Result) -> tuple[str, str] | None:
    schema, words = result.schema, result.words
    if schema.kind != "configurations" or len(schema.names) < 2:
        st.caption(_("A return needs an outcome among the slots; these outputs have none."))
        return None
    pairs = zip(schema.names, schema.options, strict=True)
    offered = [NONE, *((slot, option) for slot, options in pairs for option in options)]
    default = offered.index(SUCCESS) if success_of(schema, None) else 0
    named = {one: _("no success is defined") if one == NONE else words.pair(*one) for one in offered}
    chosen = st.selectbox(
        _("A success is"), offered, index=default, format_func=named.__getitem__, key="report_success", width=460
    )
    return chosen


def _files(result: Result, choices: Choices) -> None:
    lang, run, kept = place.language(), result.view.id, store()
    with st.container(horizontal=True, key="report_files"):
        for kind, mime in FORMATS.items():
            word = LABELS[kind]
            # The file is made when it is asked for, perhaps in another thread: it is told its language.
            st.download_button(
                _(word),
                lambda kind=kind: exported(kept, run, choices, lang, kind),
                file_name=f"jebm_{run}_{lang}.{kind}",
                mime=mime,
                icon=":material/download:",
                key=f"report_{kind}",
                on_click="ignore",
            )
    st.caption(
        _("Each file is made when you ask for it, which takes a few seconds; all of them hold the same numbers.")
    )


def _meeting(report: Report) -> None:
    st.subheader(report.headings.meeting, anchor=False)
    st.code("\n".join(f"- {one.text}" for one in report.meeting), language=None, wrap_lines=True)
    st.caption(_("The button at the upper right of the box copies them. Each number comes from this run."))


def _verdicts(report: Report) -> None:
    h = report.headings
    st.subheader(h.verdicts, anchor=False)
    rows = [(one.name, one.word, one.criterion) for one in report.judgements]
    st.table(pd.DataFrame(rows, columns=[h.part, h.verdict, h.criterion]).set_index(h.part))


def _section(section: Section) -> None:
    st.subheader(section.title, anchor=False)
    muted = section.verdict in ("do not trust", "stop")
    if section.verdict in GATES:
        st.badge(section.word, color=GATES[section.verdict])  # pyright: ignore[reportArgumentType]
    elif section.word:
        verdict_badge(Verdict(section.verdict))
    repeated = section.figure is not None and section.figure.title == section.answer.text
    if not repeated:
        st.markdown(escape(section.answer.text))
    if section.quantities:
        shown = [_quantity(one) for one in section.quantities]
        quantities(shown, Verdict.DO_NOT_TRUST if muted else Verdict.TRUSTED)
    if section.figure is not None:
        one = section.figure
        figure(one.chart, _frame(one.table), key=f"report_{one.key}", alt=one.title, muted=muted)
    for table in section.tables:
        st.markdown(f"**{escape(table.title)}**")
        st.dataframe(_frame(table), hide_index=True, placeholder="–", key=f"report_{table.key}")
    if section.notes:
        st.markdown("\n".join(f"- {escape(one.text)}" for one in section.notes))
    if section.how and place.is_expert():
        st.caption(escape(section.how))


def _quantity(item: Counted) -> Quantity:
    """The number large; its unit or interval and how it is to be read small beneath it."""
    text = item.number.text.replace("\N{NO-BREAK SPACE}", " ")
    value, _mark, rest = text.partition("（" if "（" in text else " (")
    below = rest[:-1]
    # A unit that is a word would break the large number on a narrow screen.
    if item.number.kind in ("number", "nat") and value.endswith(item.number.unit) and item.number.unit != "%":
        value, below = value.removesuffix(item.number.unit).rstrip(), below or item.number.unit
    return Quantity(item.label, value, " · ".join(part for part in (below, item.note) if part))


def _frame(table: Table) -> pd.DataFrame:
    columns = {column.name: [row[place_of] for row in table.rows] for place_of, column in enumerate(table.columns)}
    return pd.DataFrame(columns).round(4)


def _end(report: Report) -> None:
    h = report.headings
    st.subheader(h.steps, anchor=False)
    for number, step in enumerate(report.steps, 1):
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"**{number}. {escape(step.title.text)}**")
            st.markdown(escape(step.why.text))
            st.caption(f"{h.effort} · {escape(step.effort.text)}")
    st.subheader(h.limits, anchor=False)
    st.markdown("\n".join(f"- {escape(one.text)}" for one in report.limits))
    with st.expander(h.origins, icon=":material/history:", key="provenance"):
        st.markdown("\n".join(f"- {escape(one.label)}: {escape(one.text)}" for one in report.origins))
        if report.rules:
            st.code(report.rules, language=None, wrap_lines=True)


page()
