"""Calibration of a person's own questions: any event, and groups of rows; for experts the scores in parts."""

import re

import pandas as pd
import streamlit as st

from app.charts import ReliabilitySeries, compared, reliability
from app.components import place
from app.components.answer import Quantity, quantities
from app.components.calibration_service import depth_rows, example, grouped, grouping_columns, judged_event
from app.components.figure import figure
from app.components.language import _
from app.components.problem import problem
from app.components.result import Result
from app.components.verdict import Verdict
from app.samples import labels_of
from app.text import marked
from app.text.numbers import count, percent
from jebm_core.errors import UserError
from jebm_core.report import judged_part

SCORES = {"brier": marked("Brier score"), "log": marked("Logarithmic score (nat)")}
SUBJECTS = {"marginal": marked("Single events"), "joint": marked("Likeliest combination")}
RANGE = re.compile(r"(-?[\d.]+(?:e[+-]\d+)?) to (-?[\d.]+(?:e[+-]\d+)?)")
"""What a quarter of numbers is called."""
GROUPS = {"(missing)": marked("(missing)"), "(others)": marked("(others)")}


def own_event(result: Result, verdict: Verdict, *, muted: bool) -> None:
    """Draw the field for an event, and what was stated of it beside what happened, as far as the run is trusted."""
    st.subheader(_("An event of your own"), anchor=False)
    written = example(result)
    text = st.text_input(
        _("Event"),
        key="own_event",
        placeholder=written,
        help=_("Written like a rule, with the names of the file; several parts are joined by and, or, not."),
        width=620,
    )
    if not text.strip():
        st.caption(_("For example: {event}").format(event=f"`{written}`"))
        return
    lang = place.language()
    try:
        with st.spinner(_("Looking at the rows …")):
            found = judged_event(result, text)
    except UserError as error:
        problem(error, title=_("This event can't be read"))
        return
    low, high = percent(found.low, lang), percent(found.high, lang)
    by_draws = _("by draws, ± {width}").format(width=percent(found.stated_error, lang))
    judged = _("Rows kept out of training.") if result.has_held_out else _("Rows of the training: none was kept out.")
    chance = _("chance alone reaches {share}").format(share=percent(found.ece_chance, lang))
    quantities(
        [
            Quantity(
                _("Stated"), percent(found.mean_stated, lang), _("exact") if found.exact else by_draws,
                _("Mean probability that the model stated.")
            ),
            Quantity(
                _("Observed"), percent(found.observed, lang), _("{low} to {high}").format(low=low, high=high),
                _("Share of the rows in which it happened.")
            ),
            Quantity(
                _("Error"), percent(found.ece, lang), chance, _("Expected calibration error: stated minus observed.")
            ),
            Quantity(_("Rows"), count(found.n, lang), "", judged),
        ],
        verdict,
    )  # fmt: skip
    inside = found.low <= found.mean_stated <= found.high
    stated, observed, cases = _("Stated probability"), _("Observed share"), _("Cases")
    title = (
        _("On average the stated share lies within what the rows show")
        if inside
        else _("On average the stated share lies outside of what the rows show")
    )
    series = ReliabilitySeries(
        name=text,
        stated=[part.predicted for part in found.bins],
        observed=[part.observed for part in found.bins],
        low=[part.low for part in found.bins],
        high=[part.high for part in found.bins],
        cases=[part.n for part in found.bins],
    )
    frame = {
        stated: series.stated, observed: series.observed, _("Lower bound"): series.low, _("Upper bound"): series.high,
        cases: series.cases,
    }  # fmt: skip
    figure(
        reliability(
            [series], title=title, stated=stated, observed=observed, cases=cases, agreement=_("Perfect calibration")
        ),
        pd.DataFrame(frame).round(4),
        key="own_event_reliability",
        alt=title,
        muted=muted,
    )


def by_group(result: Result, *, muted: bool) -> None:
    """Draw the choice of a column, and the calibration error of each group of its values."""
    columns = grouping_columns(result)
    if not columns:
        return
    st.subheader(_("Groups of rows"), anchor=False)
    lang = place.language()
    names = labels_of(result.view.spec.dataset_name, lang)
    column = st.selectbox(
        _("Is the model as well calibrated in every group? Group by"),
        columns,
        index=None,
        format_func=lambda name: names.columns.get(name, name.removeprefix("x_")),
        placeholder=_("a column of the table"),
        key="group_by",
        width=460,
    )
    if column is None:
        return
    try:
        with st.spinner(_("Comparing the groups …")):
            found = grouped(result, column)
    except UserError as error:
        problem(error, title=_("These groups can't be compared"))
        return

    def name(of: str) -> str:
        if of in GROUPS:
            word = GROUPS[of]
            return _(word)
        between = RANGE.fullmatch(of)
        if between is not None:
            return _("{low} to {high}").format(low=between[1], high=between[2])
        return names.option(column, of)

    groups = found.groups
    flagged = [name(group.name) for group in groups if group.flagged]
    title = (
        _("Miscalibrated beyond chance: {groups}").format(groups=", ".join(flagged))
        if flagged
        else _("In no group is the error larger than chance explains")
    )
    error = _("Calibration error")
    figure(
        compared(
            [name(group.name) for group in groups],
            [group.ece for group in groups],
            [group.ece_low for group in groups],
            [group.ece_high for group in groups],
            title=title,
            axis=error,
            tickformat=".0%",
            outstanding=[place for place, group in enumerate(groups) if group.flagged],
        ),
        pd.DataFrame(
            {
                _("Group"): [name(group.name) for group in groups],
                _("Rows"): [group.n for group in groups],
                _("Stated"): [group.mean_stated for group in groups],
                _("Observed"): [group.observed for group in groups],
                error: [group.ece for group in groups],
                _("Chance reaches"): [group.ece_chance for group in groups],
                _("p-value, adjusted"): [group.adjusted for group in groups],
                _("−log p"): [group.nll for group in groups],
            }
        ).round(4),
        key="groups",
        alt=title,
        muted=muted,
    )
    st.caption(
        _(
            "A group is called miscalibrated where its p-value, adjusted for the number of groups by Holm's method, is "
            "at most 5 %."
        )
    )


def scores_in_parts(result: Result) -> None:
    """Draw the table of proper scores in parts, and of the most probable combinations, for experts."""
    part = judged_part(result.evaluation)
    if not place.is_expert() or "calibration_depth" not in part:
        return
    lang = place.language()
    st.subheader(_("Scores in parts"), anchor=False)
    rows = depth_rows(part)
    subjects, scores = [SUBJECTS[row["of"]] for row in rows], [SCORES[row["score"]] for row in rows]
    st.dataframe(
        pd.DataFrame(
            {
                _("Of"): [_(word) for word in subjects],
                _("Score"): [_(word) for word in scores],
                _("Value"): [row["score_value"] for row in rows],
                _("Miscalibration"): [row["miscalibration"] for row in rows],
                _("Discrimination"): [row["discrimination"] for row in rows],
                _("Uncertainty"): [row["uncertainty"] for row in rows],
                _("Smooth calibration error"): [
                    _("{value} ({low} to {high}; chance {chance})").format(
                        **{key: percent(row["smooth"][key], lang) for key in ("value", "low", "high", "chance")}
                    )
                    for row in rows
                ],
            }
        ).round(4),
        hide_index=True,
        key="scores_in_parts",
    )
    st.caption(_("Score = miscalibration − discrimination + uncertainty; lower is better."))
    top = part["calibration_depth"]["top"]
    st.dataframe(
        pd.DataFrame(
            {
                _("Most probable combinations"): [row["k"] for row in top],
                _("Stated to hold together"): [row["stated"] for row in top],
                _("Held the truth"): [row["covered"] for row in top],
                _("Lower bound"): [row["low"] for row in top],
                _("Upper bound"): [row["high"] for row in top],
            }
        ).round(4),
        hide_index=True,
        key="top_combinations",
    )
    st.caption(_("Lower and upper bound: Wilson's interval, 95 %."))
