"""What the data look like, in sentences and figures: verdict, numbers, pairs, how often combinations recur."""

import numpy as np
import pandas as pd
import streamlit as st

from app.charts import co_occurrence, combination_frequency
from app.components import place
from app.components.answer import Quantity, quantities
from app.components.figure import figure
from app.components.language import _
from app.components.verdict import Verdict
from app.data_summary import (
    FREQUENCY_GROUPS,
    RARE,
    Concern,
    DataSummary,
    pair_matrix,
    part_slots,
    parts_held,
    strongest_pair,
)
from app.samples import Labels
from app.text.numbers import count, decimal, percent, percent_interval, percent_range
from jebm_core.tables import Examples, Outputs


def data_verdict(summary: DataSummary) -> Verdict:
    """Return how far the data may carry a model."""
    if {Concern.FAR_TOO_FEW_ROWS, Concern.MOST_LEFT_OUT} & set(summary.concerns):
        return Verdict.DO_NOT_TRUST
    return Verdict.CAUTION if summary.concerns else Verdict.TRUSTED


def data_sentence(summary: DataSummary) -> str:
    """Return the answer of the page in one sentence with its number."""
    words = {
        Verdict.TRUSTED: _("The data are fit for the question: {rows} rows of {outputs} outputs. {unseen}"),
        Verdict.CAUTION: _("The data can be used with care: {rows} rows of {outputs} outputs. {unseen}"),
        Verdict.DO_NOT_TRUST: _(
            "The data are not fit for the question yet: {rows} rows of {outputs} outputs. {unseen}"
        ),
    }[data_verdict(summary)]
    lang = place.language()
    unseen = _("The next case will be a combination not in this file with probability {share}.").format(
        share=percent_interval(summary.unseen_share, lang, 0)
    )
    return words.format(rows=count(summary.rows, lang), outputs=count(summary.outputs, lang), unseen=unseen)


def data_reasons(summary: DataSummary) -> list[str]:
    """Return each concern as a sentence."""
    lang = place.language()
    every = {
        Concern.FEW_ROWS: _("There are fewer than 200 rows, so every interval will be wide."),
        Concern.FAR_TOO_FEW_ROWS: _("There are fewer than 50 rows; add rows before relying on any probability."),
        Concern.RARE_PARTS: _(
            "{count} of {parts} labels or options occur, or are absent, in fewer than {rare} rows; "
            "what is said about them rests on little."
        ).format(count=count(summary.rare_parts, lang), parts=count(summary.parts, lang), rare=RARE),
        Concern.MANY_LEFT_OUT: _("{count} rows were left out; check that they are not a special kind of case.").format(
            count=count(summary.left_out, lang)
        ),
        Concern.MOST_LEFT_OUT: _("More rows were left out ({count}) than could be used.").format(
            count=count(summary.left_out, lang)
        ),
        Concern.ALMOST_ALL_NEW: _(
            "Almost every row is a combination of its own: single combinations can't be checked against shares, "
            "only their parts and groups of them."
        ),
    }
    return [every[concern] for concern in summary.concerns]


def data_numbers(summary: DataSummary) -> None:
    """Draw the counts of the table."""
    lang = place.language()
    share = summary.unseen_share
    quantities(
        [
            Quantity(_("Rows used"), count(summary.rows, lang), _("{count} left out").format(count=summary.left_out)),
            Quantity(_("Features"), count(summary.features, lang)),
            Quantity(_("Outputs"), count(summary.outputs, lang)),
            Quantity(
                _("Combinations"),
                count(summary.distinct, lang),
                _("{count} seen once").format(count=count(summary.seen_once, lang)),
            ),
            Quantity(
                _("Unseen share"),
                percent(share.value, lang, 0),
                percent_range(share, lang, 0),
                _(
                    "Good–Turing estimate of the probability that the next case is not in this file, "
                    "with a 95 % interval."
                ),
            ),
        ]
    )


def data_figures(examples: Examples, summary: DataSummary, labels: Labels) -> None:
    """Draw which parts go together, beside how often combinations recur; below one another where there are many."""
    if summary.parts <= 16:
        left, right = st.columns([3, 2], gap="medium")
    else:
        left = right = st.container()
    with right:
        frequency_figure(summary)
    with left:
        pair_figure(examples.outputs, labels)


def frequency_figure(summary: DataSummary) -> None:
    """Draw the share of rows by how often their combination occurs."""
    lang = place.language()
    names = [str(low) if low == high else f"{low}–{high}" if high else f"{low}+" for low, high in FREQUENCY_GROUPS]
    title = _("{share} of the rows hold a combination that occurs only once").format(
        share=percent(summary.frequency[0], lang, 0)
    )
    times, share = _("Times the combination occurs"), _("Share of rows")
    figure(
        combination_frequency(names, summary.frequency, title=title, times=times, share=share),
        pd.DataFrame({times: names, share: summary.frequency}),
        key="frequency",
        alt=title,
    )


def pair_figure(outputs: Outputs, labels: Labels) -> None:
    """Draw the pairs of parts, with the strongest as the title."""
    matrix, chosen = pair_matrix(outputs)
    if len(chosen) < 2:
        return
    names = [part_names(outputs, labels)[part] for part in chosen]
    ranking = outputs.kind == "rankings"
    title = _ranking_title(matrix, names) if ranking else _pair_title(outputs, matrix, chosen, names)
    scale = _("Row above column") if ranking else _("Correlation")
    groups = part_slots(outputs)[chosen] if outputs.kind == "configurations" else None
    limits = (0.0, 1.0) if ranking else (-1.0, 1.0)
    figure(
        co_occurrence(
            matrix,
            names,
            title=title,
            scale=scale,
            limits=limits,
            groups=None if groups is None else groups.tolist(),
            group_names=column_names(outputs, labels),
        ),
        _pair_table(matrix, names, scale),
        key="pairs",
        alt=title,
    )
    total = part_slots(outputs).size
    if len(chosen) < total:
        lang = place.language()
        st.caption(
            _("Shown are the {shown} of {total} labels or options that vary most.").format(
                shown=count(len(chosen), lang), total=count(total, lang)
            )
        )


def column_names(outputs: Outputs, labels: Labels) -> list[str]:
    """Return what each column of the outputs is called."""
    return [labels.columns.get(column, name) for column, name in zip(outputs.columns, outputs.names, strict=True)]


def part_names(outputs: Outputs, labels: Labels) -> list[str]:
    """Return what each item or option is called, in the order of ``parts_held``."""
    called = column_names(outputs, labels)
    if outputs.kind != "configurations":
        return called
    mark = _("{slot}: {option}")
    return [
        mark.format(slot=called[slot], option=labels.option(outputs.columns[slot], option))
        for slot, options in enumerate(outputs.options)
        for option in options
    ]


def _ranking_title(matrix: np.ndarray, names: list[str]) -> str:
    best = strongest_pair(np.where(matrix > 0.5, matrix, np.nan), 0.5)
    if best is None:
        return _("No item is clearly ranked above another")
    return _("“{first}” is ranked above “{second}” in {share} of the rows").format(
        first=names[best[0]], second=names[best[1]], share=percent(float(matrix[best]), place.language(), 0)
    )


def _pair_title(outputs: Outputs, matrix: np.ndarray, chosen: np.ndarray, names: list[str]) -> str:
    best = strongest_pair(matrix)
    if best is None:
        return _("No two parts vary together")
    held = parts_held(outputs)[:, chosen]
    first, second = held[:, best[0]], held[:, best[1]]
    lift = (first & second).mean() / max(first.mean() * second.mean(), 1e-12)
    words = (
        _("“{first}” and “{second}” go together: {lift} times as often as chance would give")
        if matrix[best] > 0
        else _("“{first}” and “{second}” avoid each other: {lift} times as often as chance would give")
    )
    return words.format(first=names[best[0]], second=names[best[1]], lift=decimal(float(lift), place.language(), 1))


def _pair_table(matrix: np.ndarray, names: list[str], scale: str) -> pd.DataFrame:
    rows, columns = np.nonzero(np.triu(~np.isnan(matrix), 1))
    values = matrix[rows, columns]
    order = np.argsort(-np.abs(values - (0.5 if values.size and values.min() >= 0 else 0.0)), kind="stable")
    return pd.DataFrame(
        {
            _("First"): [names[row] for row in rows[order]],
            _("Second"): [names[column] for column in columns[order]],
            scale: values[order].round(3),
        }
    )
