"""Calibration: when the model says 30 %, does it happen 30 % of the time?"""

from typing import Any

import pandas as pd
import streamlit as st

from app.charts import CoverageLevels, ReliabilitySeries, compared, coverage, reliability, transform_histogram
from app.components import place
from app.components.answer import Quantity, quantities
from app.components.calibration_questions import by_group, own_event, scores_in_parts
from app.components.empty import explain, page_heading
from app.components.figure import figure
from app.components.language import _
from app.components.recalibration import recalibration
from app.components.result import Result, draw_answer, open_result, provenance
from app.components.verdict import Verdict
from app.text import marked
from app.text.numbers import decimal, percent
from jebm_core.report import (
    answer_calibration,
    baseline_rows,
    coverage_rows,
    event_rows,
    judged_part,
    reliability_rows,
)

PREDICTORS = {
    "model": marked("This model"),
    "independent": marked("Independent parts"),
    "frequency": marked("Counting combinations"),
    "neighbours": marked("Nearness to seen combinations"),
    "reference": marked("Reference distribution"),
}


def page() -> None:
    """Draw the page: the verdict, reliability, whole combinations, the baselines, proper scores."""
    page_heading(_("Calibration"), _("When the model says 30 %, does it happen 30 % of the time?"))
    result = open_result(
        _("No calibrated run yet"),
        _(
            "Here stated probabilities are compared with observed shares, for single labels and for whole "
            "combinations. A finished run brings it."
        ),
        ":material/straighten:",
    )
    if result is None:
        return
    answer = answer_calibration(result.evaluation)
    draw_answer(answer)
    _numbers(result, Verdict(answer.verdict))
    _reliability(result, muted=answer.flagged)
    _events(result)
    own_event(result, Verdict(answer.verdict), muted=answer.flagged)
    by_group(result, muted=answer.flagged)
    _whole(result, muted=answer.flagged)
    _baselines(result)
    recalibration(result)
    scores_in_parts(result)
    explain(
        r"\mathrm{ECE} = \sum_b \frac{n_b}{n}\, \big|\, \bar p_b - \bar o_b \,\big| \qquad"
        r" \mathrm{PIT} = \sum_{y':\,p(y')>p(y)} p(y') + U\, p(y)",
        _(
            "Cases are put into at most ten bins of equal size by their stated probability; each bin's mean statement "
            "is held against the share that happened. For whole combinations, the likeliest combinations that together "
            "hold 90 % should hold the truth in 90 % of the rows. Intervals are 95 %: Wilson's for shares, a bootstrap "
            "over rows for the rest."
        ),
        _("Wilson, JASA 1927; Gneiting and Raftery, JASA 2007 (proper scores)."),
    )
    provenance(result)


def _numbers(result: Result, verdict: Verdict) -> None:
    lang = place.language()
    e = judged_part(result.evaluation)
    intervals = e["intervals"]

    def bounds(key: str, digits: int) -> str:
        low, high = intervals.get(key) or (None, None)
        if low is None or high is None:
            return ""
        return _("{low} to {high}").format(low=decimal(low, lang, digits), high=decimal(high, lang, digits))

    def points(key: str) -> Quantity:
        low, high = intervals[key]
        words = _("{low} to {high}").format(low=percent(low, lang), high=percent(high, lang))
        name = _("Error of single events") if key == "ece_marginal" else _("Error of the likeliest combination")
        return Quantity(name, percent(e[key], lang), words, _("Expected calibration error: stated minus observed."))

    quantities(
        [
            points("ece_marginal"),
            points("ece_joint"),
            Quantity(
                _("Brier score"), decimal(e["brier"], lang, 3), bounds("brier", 3),
                _("Squared error of the stated shares; lower is better.")
            ),
            Quantity(
                _("−log p"), decimal(e["nll"], lang), bounds("nll", 2),
                _("Mean over rows, in nats, with the audited log-partition.")
            ),
        ],
        verdict,
    )  # fmt: skip


def _reliability(result: Result, *, muted: bool) -> None:
    st.subheader(_("Single events"), anchor=False)
    words = result.words
    rows = reliability_rows(result.evaluation)
    names = sorted({row["event"] for row in rows if row["event"]}, key=words.event)
    chosen = st.selectbox(
        _("Beside all events together, show"),
        names,
        index=None,
        format_func={name: words.event(name) for name in names}.__getitem__,
        placeholder=_("one event of your choice"),
        key="event",
        width=460,
    )
    series = [_series(rows, "pooled", None, _("All events together"))]
    if chosen:
        series.append(_series(rows, "event", chosen, words.event(chosen)))
    inside = [row["low"] <= row["predicted"] <= row["high"] for row in rows if row["kind"] == "pooled"]
    title = _("In {inside} of {bins} bins, chance explains the gap between stated and observed").format(
        inside=sum(inside), bins=len(inside)
    )
    stated, observed, cases = _("Stated probability"), _("Observed share"), _("Cases")
    shown = [row for row in rows if row["kind"] == "pooled" or row["event"] == chosen]
    figure(
        reliability(
            series, title=title, stated=stated, observed=observed, cases=cases, agreement=_("Perfect calibration")
        ),
        pd.DataFrame(
            {
                _("Event"): [words.event(row["event"]) if row["event"] else _("All events together") for row in shown
                             if row["kind"] != "joint"],
                stated: [row["predicted"] for row in shown if row["kind"] != "joint"],
                observed: [row["observed"] for row in shown if row["kind"] != "joint"],
                _("Lower bound"): [row["low"] for row in shown if row["kind"] != "joint"],
                _("Upper bound"): [row["high"] for row in shown if row["kind"] != "joint"],
                cases: [row["n"] for row in shown if row["kind"] != "joint"],
            }
        ).round(4),
        key="reliability",
        alt=title,
        muted=muted,
    )  # fmt: skip


def _series(rows: list[dict[str, Any]], kind: str, event: str | None, name: str) -> ReliabilitySeries:
    bins = [row for row in rows if row["kind"] == kind and row["event"] == event]
    return ReliabilitySeries(
        name=name,
        stated=[row["predicted"] for row in bins],
        observed=[row["observed"] for row in bins],
        low=[row["low"] for row in bins],
        high=[row["high"] for row in bins],
        cases=[row["n"] for row in bins],
    )


def _events(result: Result) -> None:
    words = result.words
    rows = event_rows(result.evaluation)
    if not rows:
        return
    with st.expander(_("Every event, the largest error first"), icon=":material/table_chart:", key="events"):
        st.dataframe(
            pd.DataFrame(
                {
                    _("Event"): [words.event(row["event"]) for row in rows],
                    _("Stated"): [row["predicted"] for row in rows],
                    _("Observed"): [row["observed"] for row in rows],
                    _("Error"): [row["ece"] for row in rows],
                    _("Error, low"): [row["low"] for row in rows],
                    _("Error, high"): [row["high"] for row in rows],
                }
            ),
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="percent")
                for name in (_("Stated"), _("Observed"), _("Error"), _("Error, low"), _("Error, high"))
            },
            key="events_frame",
        )


def _whole(result: Result, *, muted: bool) -> None:
    lang = place.language()
    st.subheader(_("Whole combinations"), anchor=False)
    rows = coverage_rows(result.evaluation)
    at = next((row for row in rows if row["level"] == 0.9), None)
    left, right = st.columns(2, gap="medium")
    if at is not None:
        with left:
            title = _("Regions said to hold 90 % held the truth in {covered}").format(
                covered=percent(at["covered"], lang, 0)
            )
            stated, observed = _("Probability the region is said to hold"), _("Share of rows inside")
            levels = CoverageLevels(*([row[key] for row in rows] for key in ("level", "covered", "low", "high")))
            figure(
                coverage(levels, title=title, stated=stated, observed=observed, agreement=_("Perfect calibration")),
                pd.DataFrame(
                    {
                        stated: levels.level,
                        observed: levels.covered,
                        _("Lower bound"): levels.low,
                        _("Upper bound"): levels.high,
                    }
                ),
                key="coverage",
                alt=title,
                muted=muted,
            )
    pit = judged_part(result.evaluation)["calibration"]["pit"]
    with right:
        late = sum(pit[-2:]) / max(sum(pit), 1)
        title = _("{share} of the rows lie in the least likely fifth, where a calibrated model has 20 %").format(
            share=percent(late, lang, 0)
        )
        transform, share = _("Probability of what is likelier than the truth"), _("Share of rows")
        table = pd.DataFrame({transform: [f"{i / 10:.1f}–{(i + 1) / 10:.1f}" for i in range(len(pit))], _("Rows"): pit})
        figure(
            transform_histogram(pit, title=title, transform=transform, share=share),
            table,
            key="transform",
            alt=title,
            muted=muted,
        )


def _baselines(result: Result) -> None:
    lang = place.language()
    st.subheader(_("Against simpler ways of predicting"), anchor=False)
    rows = [row for row in baseline_rows(result.evaluation) if row["nll"] is not None and row["low"] is not None]
    if not rows:
        st.caption(_("The joint likelihood can't be audited for this model."))
        return
    best = min(rows, key=lambda row: row["nll"])
    rivals = [row for row in rows if row["predictor"] != "model"]
    title = _("No simpler way of predicting is better than this model on these rows")
    if best["predictor"] != "model":
        title = _("“{name}” predicts better than this model on these rows").format(name=_predictor(best))
    names = [_predictor(row) for row in rows]
    axis = _("−log p, nat per row (lower is better)")
    figure(
        compared(
            names, [r["nll"] for r in rows], [r["low"] for r in rows], [r["high"] for r in rows], title=title, axis=axis
        ),
        pd.DataFrame(
            {
                _("Way of predicting"): names,
                axis: [row["nll"] for row in rows],
                _("Lower bound"): [row["low"] for row in rows],
                _("Upper bound"): [row["high"] for row in rows],
                _("Worse than this model by (nat)"): [row["difference"] for row in rows],
                _("Difference, low"): [row["difference_low"] for row in rows],
                _("Difference, high"): [row["difference_high"] for row in rows],
            }
        ).round(3),
        key="baselines",
        alt=title,
    )
    lines = [
        _("{name}: {gap} nat worse per row ({low} to {high})").format(
            name=_predictor(row),
            gap=decimal(row["difference"], lang),
            low=decimal(row["difference_low"], lang),
            high=decimal(row["difference_high"], lang),
        )
        for row in rivals
        if row["difference"] is not None and row["difference_low"] is not None
    ]
    st.caption(" · ".join(lines))


def _predictor(row: dict[str, Any]) -> str:
    word = PREDICTORS[row["predictor"]]
    return _(word)


page()
