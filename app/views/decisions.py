"""Decisions: what should we do, and when should a person decide?"""

from typing import Any

import pandas as pd
import streamlit as st

from app.charts.decisions import coverage_risk, worth_by_threshold
from app.components import place
from app.components.decision_service import Besides, Request, decided, edited_values, first_values, policy_text
from app.components.empty import explain, page_heading
from app.components.figure import figure
from app.components.language import _
from app.components.problem import problem
from app.components.result import Result, draw_answer, open_result, provenance
from app.text import marked
from app.text.numbers import percent
from jebm_core.decisions.values import ENTRIES, ValueTable
from jebm_core.errors import UserError
from jebm_core.report import answer_decisions, decision_rows

WAYS = {
    "with_policy": marked("This policy"),
    "value": marked("Answering every row"),
    "independent": marked("Answering every row from independent parts"),
    "not_acting": marked("Leaving every row alone"),
    "oracle": marked("Knowing the truth"),
}


def page() -> None:
    """Draw the page: the values, the answer, coverage against risk, worth against threshold, the policy."""
    page_heading(_("Decisions"), _("What should we do, and when should a person decide?"))
    result = open_result(
        _("No decisions yet"),
        _(
            "Here your values turn probabilities into actions, and the rows that a person should decide are told "
            "apart, with a guarantee. A finished run brings it."
        ),
        ":material/rule_settings:",
    )
    if result is None:
        return
    if result.schema.kind not in ENTRIES or not result.has_held_out:
        st.info(
            _("Values are for subsets and configurations; this run ranks items.")
            if result.schema.kind not in ENTRIES
            else _("No row was held out of this run; a guarantee needs rows that the fit has not seen."),
            icon=":material/info:",
        )
        return
    answer_place = st.container()
    try:
        values, request = _choices(result)
        with st.spinner(_("Deciding for the held-out rows …")):
            record = decided(result, values, request)
        # The report takes these values over.
        st.session_state["decided"] = (result.view.id, values.to_record(), request)
    except UserError as error:
        problem(error, title=_("These values can't be used"))
        return
    answer = answer_decisions(record)
    with answer_place:
        draw_answer(answer)
    _risk(record, muted=answer.flagged)
    _worth(record, muted=answer.flagged)
    _download(result, values, request)
    explain(
        r"\hat c(x) = \arg\max_c \sum_y p(y \mid x)\, V(c, y) \qquad"
        r" \hat\lambda = \inf\{\lambda : \tfrac{n \hat R(\lambda) + 1}{n + 1} \le \alpha\}",
        _(
            "The answer is the combination with the highest expected value. A row is answered where its confidence, "
            "one minus the expected loss, exceeds the threshold, and the threshold is chosen on the held-out rows so "
            "that the stated risk is controlled, whatever the model. Intervals are 95 %, by a bootstrap over rows."
        ),
        _("Angelopoulos et al., ICLR 2024 (conformal risk control); Angelopoulos et al., 2021 (Learn then Test)."),
    )
    provenance(result)


def _choices(result: Result) -> tuple[ValueTable, Request]:
    words = result.words
    with st.expander(_("Values and risk"), icon=":material/tune:", expanded=True, key="values_panel"):
        frame = first_values(result.schema)
        heads = {
            "hit": _("Value of a hit"), "false_alarm": _("Cost of a false alarm"), "miss": _("Cost of a miss"),
            "right": _("Value if right"), "wrong": _("Value if wrong"),
        }  # fmt: skip
        shown = frame.assign(name=[words.item(name) for name in frame["name"]])
        edited = st.data_editor(
            shown,
            hide_index=True,
            disabled=["name"],
            column_config={"name": _("Part"), **{key: heads[key] for key in frame.columns if key != "name"}},
            key="value_table",
        )
        one, two, three = st.columns(3, vertical_alignment="bottom")
        unit = one.text_input(_("Currency"), key="currency", max_chars=12)
        bonus = two.number_input(_("Bonus if all is right"), value=0.0, key="bonus")
        idle = three.number_input(
            _("Worth of leaving a row alone"),
            value=None,
            placeholder=_("what its misses cost") if result.schema.kind == "subsets" else "0",
            key="not_acting",
        )
        sizes = _sizes() if result.schema.kind == "subsets" else None
        one, two, three = st.columns(3, vertical_alignment="bottom")
        names = {"exact": _("not right as a whole"), "items": _("share of wrong parts")}
        loss = one.selectbox(_("What is risked"), list(names), format_func=names.__getitem__, key="loss")
        alpha = two.number_input(
            _("Accepted risk"), value=0.1, step=0.05, key="alpha", help=_("Between 0 and 1: 0.1 is one in ten.")
        )
        lang = place.language()
        sures: dict[float | None, str] = {None: _("on average")}
        sures |= {delta: _("{sure} certain").format(sure=percent(1 - delta, lang, 0)) for delta in (0.1, 0.05)}
        sure = three.selectbox(
            _("Guarantee"),
            list(sures),
            format_func=sures.__getitem__,
            key="delta",
            help=_("On average: over all rows. Certain: among the answered rows."),
        )
    typed = pd.DataFrame(edited).assign(name=frame["name"])
    where = _("The value table")
    besides = Besides(float(bonus), unit, None if idle is None else float(idle), sizes)
    return edited_values(typed, result.schema, besides, where), (loss, float(alpha), sure)


def _sizes() -> pd.DataFrame:
    """Draw what chosen parts cost by their number."""
    st.caption(_("Cost of each chosen part, by how many are chosen"))
    sizes = st.data_editor(
        pd.DataFrame({"size": pd.Series(dtype="Int64"), "cost": pd.Series(dtype="float")}),
        num_rows="dynamic",
        hide_index=True,
        column_config={
            "size": st.column_config.NumberColumn(_("From this many on"), step=1),
            "cost": st.column_config.NumberColumn(_("Cost of each")),
        },
        key="size_costs",
    )
    return pd.DataFrame(sizes)


def _risk(record: dict[str, Any], *, muted: bool) -> None:
    lang = place.language()
    given, curve = record["guarantee"], record["curve"]
    risk = curve["risk"] if given["kind"] == "crc" else curve["selective_risk"]
    title = _("The model decides {share} of the rows within the accepted risk").format(
        share=percent(given["coverage"], lang, 0)
    )
    axes = (
        _("Share of rows answered"),
        _("Risk over all rows") if given["kind"] == "crc" else _("Risk among answered rows"),
    )
    names = (_("Held-out rows"), _("Guaranteed point"), _("Accepted risk"))
    figure(
        coverage_risk(
            curve["coverage"], risk, (given["coverage"], given["risk"]), given["alpha"],
            title=title, axes=axes, names=names,
        ),
        pd.DataFrame({_("Threshold"): curve["threshold"], axes[0]: curve["coverage"], axes[1]: risk}).round(4),
        key="coverage_risk",
        alt=title,
        muted=muted,
    )  # fmt: skip


def _worth(record: dict[str, Any], *, muted: bool) -> None:
    curve, unit = record["curve"], record["currency"]
    axis = _("Worth per row ({unit})").format(unit=unit) if unit else _("Worth per row")
    at = max(range(len(curve["value"])), key=curve["value"].__getitem__)
    title = _("On the held-out rows a threshold of {at:.3f} would have been worth most").format(
        at=curve["threshold"][at]
    )
    series = [(_("As it turned out"), curve["value"]), (_("As the model expected"), curve["expected"])]
    columns = {_("Threshold"): curve["threshold"], **dict(series)}
    figure(
        worth_by_threshold(
            curve["threshold"], series, record["guarantee"]["threshold"],
            title=title, axes=(_("Threshold"), axis), mark=_("Guaranteed point"),
        ),
        pd.DataFrame(columns).round(4),
        key="worth",
        alt=title,
        muted=muted,
    )  # fmt: skip
    rows = decision_rows(record)
    st.dataframe(
        pd.DataFrame(
            {
                _("Way of deciding"): [_way(row) for row in rows],
                axis: [row["value"] for row in rows],
                _("Lower bound"): [row["low"] for row in rows],
                _("Upper bound"): [row["high"] for row in rows],
            }
        ).round(3),
        hide_index=True,
        placeholder="–",
        key="ways",
    )


def _way(row: dict[str, Any]) -> str:
    word = WAYS[row["way"]]
    return _(word)


def _download(result: Result, values: ValueTable, request: Request) -> None:
    st.download_button(
        _("Download the policy"),
        lambda: policy_text(result, values, request),
        file_name="policy.yaml",
        mime="application/yaml",
        icon=":material/download:",
        key="policy_download",
        on_click="ignore",
        help=_("For jebm predict --policy: values, threshold, guarantee, and the rows that far ones are told by."),
    )


page()
