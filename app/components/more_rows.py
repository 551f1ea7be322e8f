"""Would more rows help? The learning curve of a run, made on request, and where it leads."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app.charts import LearningPoints, learning
from app.components import place
from app.components.figure import figure
from app.components.language import _
from app.components.study import finding, study
from app.text.numbers import count, decimal
from jebm_core.runs.records import LEARNING_CURVE, RunView


def more_rows(view: RunView) -> None:
    """Draw the learning curve of a run, or the way to it."""
    st.subheader(_("Would more rows help?"), anchor=False)
    done = study(view, LEARNING_CURVE, _("Find out"), ":material/timeline:")
    if done is None:
        st.caption(
            _(
                "Fits an eighth, a quarter, a half and all of three quarters of the rows, three times each, and judges "
                "each fit on the same other rows. It takes about as long as six runs."
            )
        )
        return
    found = finding(done)
    if found is None:
        return
    _curve(found)


def answer(found: Mapping[str, Any]) -> str:
    """Return whether more rows would help, as a sentence."""
    lang = place.language()
    rows, halving = found["rows"], found["halving"]
    if halving is None:
        return _(
            "Going from {first} to {last} rows changed nothing beyond chance, so nothing can be said about more rows"
        ).format(first=count(rows[0], lang), last=count(rows[-1], lang))
    if halving["value"] >= found["furthest"]:
        return _("Even {rows} more rows may not halve the error of a probability ({low} or more are needed)").format(
            rows=count(halving["value"], lang), low=count(halving["low"], lang)
        )
    return _("About {rows} more rows would halve the error of a probability ({low} to {high})").format(
        **{name: count(halving[key], lang) for name, key in (("rows", "value"), ("low", "low"), ("high", "high"))}
    )


def _curve(found: Mapping[str, Any]) -> None:
    lang = place.language()
    title = answer(found)
    measured = LearningPoints(found["rows"], *([one[key] for one in found["nll"]] for key in ("value", "low", "high")))
    ahead = LearningPoints(*([one[key] for one in found["ahead"]] for key in ("rows", "value", "low", "high")))
    rows, axis = _("Rows that the fit had"), _("−log p of other rows, nat (lower is better)")
    kinds = [_("measured")] * len(measured.rows) + [_("expected")] * len(ahead.rows)
    independent = found["nll_independent"]
    figure(
        learning(
            measured,
            ahead,
            independent if all(value is not None for value in independent) else [],
            title=title,
            rows=rows,
            axis=axis,
            names=(_("This model, measured"), _("This model, expected"), _("Independent parts")),
        ),
        pd.DataFrame(
            {
                rows: [*measured.rows, *ahead.rows],
                _("Value"): kinds,
                axis: [*measured.value, *ahead.value],
                _("Lower bound"): [*measured.low, *ahead.low],
                _("Upper bound"): [*measured.high, *ahead.high],
                _("Independent parts"): [*independent, *[None] * len(ahead.rows)],
            }
        ).round(4),
        key="learning_curve",
        alt=title,
    )
    missing = found["missing"]
    if missing is not None:
        st.caption(
            _(
                "For want of rows the model still misses {value} nat ({low} to {high}), by the law of the curve. What "
                "is expected beyond the measured rows is a guess about that law."
            ).format(**{key: decimal(missing[key], lang) for key in ("value", "low", "high")})
        )
