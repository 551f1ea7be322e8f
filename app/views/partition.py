"""Partition function: are the probabilities normalised, also for cases never seen?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.charts import AuditedGroup, error_histogram, estimated_against_true, learned_against_audited
from app.components import place
from app.components.answer import Quantity, quantities
from app.components.empty import explain, page_heading
from app.components.figure import figure
from app.components.language import _
from app.components.live_model import conditions, held_out_log_probabilities
from app.components.result import Result, draw_answer, group_name, open_result, provenance
from app.components.truth_switch import truth_switch
from app.components.verdict import Verdict, verdict_word
from app.text import marked
from app.text.numbers import count, decimal, percent
from app.truth import true_log_probabilities
from jebm_core.report import answer_partition, partition_rows, partition_summary_rows
from sample_data.truth import Truth

METHODS = {
    "closed form": marked("Closed form"),
    "permanent": marked("Permanent, exact"),
    "listing": marked("Every combination listed"),
    "listing (multiplier)": marked("Every combination listed (multiplier)"),
    "annealing": marked("Annealed importance sampling"),
    "importance": marked("Importance sampling"),
}


def page() -> None:
    """Draw the page: the verdict on the normalisation, learned against audited, the errors, the method."""
    page_heading(_("Partition function"), _("Are the probabilities normalised, also for cases never seen?"))
    result = open_result(
        _("No audited run yet"),
        _(
            "Here the learned log-partition is held against an independent audit, for training cases and for "
            "unseen ones. A finished run brings it."
        ),
        ":material/functions:",
    )
    if result is None:
        return
    answer = answer_partition(result.evaluation)
    draw_answer(answer)
    summaries = partition_summary_rows(result.evaluation)
    if summaries:
        _numbers(summaries[0], Verdict(answer.verdict))
    rows = [row for row in partition_rows(result.evaluation) if row["error"] is not None]
    if rows:
        _figures(rows, muted=answer.flagged)
    if place.is_expert():
        _audits(summaries)
    truth = truth_switch(result)
    if truth is not None:
        _truth(result, truth)
    explain(
        r"\log Z(x) = \log \sum_{y} q(y \mid x)\, e^{\,g(x,y)} \qquad \text{error} = \tau(x) - \log Z(x)",
        _(
            "The learned log-partition τ(x) comes from a network in one pass. The audit computes the same sum again "
            "in another way: exactly where the combinations can be listed or a closed form exists, else by careful "
            "sampling with an interval. An error of 0.05 nat changes every probability of that case by about 5 %."
        ),
        _("Annealed importance sampling: Neal, 2001. Pareto-smoothed importance sampling: Vehtari et al., 2024."),
    )
    provenance(result)


def _numbers(summary: Mapping[str, Any], verdict: Verdict) -> None:
    lang = place.language()
    mae = summary["mae"]
    off = None if mae is None else float(np.expm1(min(mae, 20.0)))
    quantities(
        [
            Quantity(
                _("Mean error"),
                decimal(mae, lang, 3),
                _("nat"),
                _("Mean of the absolute difference, learned − audited."),
            ),
            Quantity(_("Probabilities are off by"), percent(off, lang, 1), _("on average")),
            Quantity(_("Bias"), decimal(summary["bias"], lang, 3), _("nat")),
            Quantity(_("Rank correlation"), decimal(summary["rank_correlation"], lang, 3), _("1 is perfect")),
            Quantity(
                _("Audited cases"),
                count(summary["n"], lang),
                _("exactly") if summary["exact"] else _("by sampling"),
            ),
        ],
        verdict,
    )


def _figures(rows: list[dict[str, Any]], *, muted: bool) -> None:
    lang = place.language()
    groups = [name for name in ("held_out", "train") if any(row["group"] == name for row in rows)]
    series = [_series([row for row in rows if row["group"] == name], group_name(name)) for name in groups]
    first = [abs(row["error"]) for row in rows if row["group"] == groups[0]]
    reach = float(np.quantile(first, 0.95))
    title = (
        _("The learned log-partition is within {error} nat on 95 % of the held-out cases")
        if groups[0] == "held_out"
        else _("The learned log-partition is within {error} nat on 95 % of the training cases")
    ).format(error=decimal(reach, lang, 3 if reach < 0.1 else 2))
    table = _table(rows)
    figure(
        learned_against_audited(
            series,
            title=title,
            learned=_("Learned log-partition (nat)"),
            audited=_("Audited log-partition (nat)"),
            agreement=_("Agreement"),
        ),
        table,
        key="audit",
        alt=title,
        muted=muted,
    )
    errors = np.array([row["error"] for row in rows if row["group"] == groups[0]])
    if float(np.abs(errors).max()) < 1e-6:
        st.caption(
            _("The errors are zero to the precision of the computation: this log-partition is exact by construction.")
        )
        return
    spread = _("Half of the errors are between {low} and {high} nat").format(
        low=decimal(float(np.quantile(errors, 0.25)), lang, 3), high=decimal(float(np.quantile(errors, 0.75)), lang, 3)
    )
    figure(
        error_histogram(series, title=spread, error=_("Error, learned − audited (nat)"), cases=_("Share of cases")),
        table,
        key="errors",
        alt=spread,
        muted=muted,
    )


def _series(rows: list[dict[str, Any]], name: str) -> AuditedGroup:
    # An open bound has no bar: nothing limits what the sampling missed.
    columns = {
        key: [row["audited"] if row[key] is None else row[key] for row in rows]
        for key in ("learned", "audited", "low", "high")
    }
    return AuditedGroup(name=name, **columns)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            _("Cases"): [group_name(row["group"]) for row in rows],
            _("Learned (nat)"): [row["learned"] for row in rows],
            _("Audited (nat)"): [row["audited"] for row in rows],
            _("Interval, low (nat)"): [row["low"] for row in rows],
            _("Interval, high (nat)"): [row["high"] for row in rows],
            _("Error (nat)"): [row["error"] for row in rows],
            _("Variational lower bound (nat)"): _numbers_or_nan(rows, "bound_low"),
            _("Upper bound of the joint objective (nat)"): _numbers_or_nan(rows, "bound_high"),
        }
    ).round(4)


def _numbers_or_nan(rows: list[dict[str, Any]], key: str) -> list[float]:
    # A model without the bound, or a record of an earlier version, leaves the cells empty.
    return [float("nan") if row[key] is None else row[key] for row in rows]


def _audits(summaries: list[dict[str, Any]]) -> None:
    st.subheader(_("The audits in numbers"), anchor=False)
    st.dataframe(
        pd.DataFrame(
            {
                _("Cases"): [group_name(one["group"]) for one in summaries],
                _("Method"): [_(METHODS.get(one["method"]) or str(one["method"])) for one in summaries],
                _("Verdict"): [verdict_word(Verdict(one["verdict"])) for one in summaries],
                _("Number"): [one["n"] for one in summaries],
                _("Mean error (nat)"): [one["mae"] for one in summaries],
                _("Bias (nat)"): [one["bias"] for one in summaries],
                _("R²"): [one["r2"] for one in summaries],
                _("Rank correlation"): [one["rank_correlation"] for one in summaries],
                _("Effective draws, median"): [one["ess_median"] for one in summaries],
                _("Largest k̂"): [one["pareto_k_max"] for one in summaries],
            }
        ).round(3),
        hide_index=True,
        key="audits",
    )
    st.caption(_("k̂ above 0.7 means that a few draws decide the estimate; an exact audit has neither draws nor k̂."))


def _truth(result: Result, truth: Truth) -> None:
    lang = place.language()
    with st.spinner(_("Computing the true probability of every held-out row …")):
        found = held_out_log_probabilities(result)
        examples = conditions(result)
        true = true_log_probabilities(truth, examples.table.part(examples.keep).frame)
    known = np.isfinite(true)
    gap = np.abs(found.value[known] - true[known])
    title = _(
        "Estimated log-probabilities are within {error} nat of the true ones on half of the held-out rows"
    ).format(error=decimal(float(np.median(gap)), lang))
    labels = _("True log p (nat)"), _("Estimated log p (nat)")
    figure(
        estimated_against_true(
            true[known].tolist(),
            found.value[known].tolist(),
            found.low[known].tolist(),
            found.high[known].tolist(),
            title=title,
            truth=labels[0],
            estimate=labels[1],
            agreement=_("Agreement"),
        ),
        pd.DataFrame({labels[0]: true[known], labels[1]: found.value[known]}).round(4),
        key="truth_figure",
        alt=title,
    )
    st.caption(
        _(
            "The bars hold the error of the normalisation alone. What lies outside them is the error of the score, "
            "which only more data can mend."
        )
    )


page()
