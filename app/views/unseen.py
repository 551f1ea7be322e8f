"""Unseen combinations: which untried combination is most likely, and how sure are we?"""

from typing import Any

import pandas as pd
import streamlit as st

from app.charts import compared
from app.components import place
from app.components.empty import explain, page_heading
from app.components.figure import figure
from app.components.ladder import ladder
from app.components.language import _
from app.components.live_model import Outcome, conditions, ranked
from app.components.problem import problem
from app.components.result import Result, draw_answer, open_result, provenance
from app.components.score_list import score_list
from app.components.truth_switch import truth_switch
from app.components.what_if import what_if
from app.samples import labels_of
from app.text.numbers import decimal, percent
from jebm_core.errors import UserError
from jebm_core.report import answer_unseen, judged_part

SIZES = (10, 20, 50)
MOST_OFFERED = 200
# Codes of what is offered beside the outcomes and the rows.
WHOLE: Outcome = ("", "")
AVERAGE = -1


def page() -> None:
    """Draw the page: the answer, the ladder under chosen conditions, the unseen mass, a list to score."""
    page_heading(_("Unseen combinations"), _("Which untried combination is most likely, and how sure are we?"))
    result = open_result(
        _("No ranked combinations yet"),
        _(
            "Here untried combinations are ranked by probability, with intervals and the distance to the "
            "nearest one that was tried. A finished run brings it."
        ),
        ":material/explore:",
    )
    if result is None:
        return
    answer = answer_unseen(result.evaluation)
    draw_answer(answer)
    st.subheader(_("Which to try first"), anchor=False)
    try:
        outcome, row, n = _choices(result)
        truth = truth_switch(result)
        with st.spinner(_("Ranking untried combinations …")):
            table = ranked(result, n, outcome, row)
        ladder(result, table, outcome, row, truth, muted=answer.flagged)
        what_if(result, table["entries"], outcome, row, muted=answer.flagged)
    except UserError as error:
        problem(error, title=_("The combinations can't be ranked"))
        return
    _mass(result, muted=answer.flagged)
    _on_unseen(result)
    score_list(result, outcome, row, truth)
    explain(
        r"\hat p(\text{unseen}) = 1 - \frac1n\sum_x \sum_{y \text{ seen}} p(y \mid x)"
        r"\qquad \hat u_{\text{GT}} = \frac{N_1}{N}"
        r"\qquad p(\text{outcome} \mid \text{rest}, x) = \frac{p(\text{rest, outcome} \mid x)}{p(\text{rest} \mid x)}",
        _(
            "The probability of everything unseen is estimated twice: by the model, and by counting the combinations "
            "that occurred exactly once (Good–Turing). The distance counts the parts that differ from the nearest "
            "combination that was tried: the larger it is, the less is known. When ranking by an outcome, only "
            "combinations at least as plausible as one picked at random are shown."
        ),
        _("Good, Biometrika 1953; Esty, Annals of Statistics 1983; McAllester and Schapire, COLT 2000."),
    )
    provenance(result)


def _choices(result: Result) -> tuple[Outcome | None, int | None, int]:
    outcome = None
    if _has_outcomes(result):
        first, second, third = st.columns([2.2, 2.4, 1.2], vertical_alignment="bottom")
        with first:
            outcome = _outcome(result)
    else:
        second, third = st.columns([4.6, 1.2], vertical_alignment="bottom")
    with second:
        row = _condition(result)
    with third:
        n = st.segmented_control(_("How many"), SIZES, default=20, key="how_many", required=True)
    return outcome, row, int(n or 20)


def _has_outcomes(result: Result) -> bool:
    return result.schema.kind == "configurations" and len(result.schema.names) > 1


def _outcome(result: Result) -> Outcome | None:
    schema, words = result.schema, result.words
    offered: list[Outcome] = [WHOLE]
    offered += [
        (slot, option) for slot, options in zip(schema.names, schema.options, strict=True) for option in options
    ]
    offered.sort(key=lambda one: (one != WHOLE, one != ("result", "pass")))
    named = {one: _("Probability of the whole combination") if one == WHOLE else words.pair(*one) for one in offered}
    default = offered.index(("result", "pass")) if ("result", "pass") in offered else 0
    chosen = st.selectbox(
        _("Rank by the probability of"),
        offered,
        index=default,
        format_func=named.__getitem__,
        key="outcome",
        help=_("Choose an outcome, such as a passed test: the other slots are then ranked by how likely it makes it."),
    )
    return None if chosen == WHOLE else chosen


def _condition(result: Result) -> int | None:
    examples = conditions(result)
    features = list(examples.roles.features)
    if not features:
        return None
    part = examples.table.part(examples.keep)
    labels = labels_of(result.view.spec.dataset_name, place.language())
    cells = part.frame[features].head(MOST_OFFERED)
    names: dict[int, str] = {
        i: _("Row {number}: {values}").format(
            number=part.row_number(i),
            values=", ".join(labels.option(column, str(value)) for column, value in zip(features, values, strict=True)),
        )
        for i, values in enumerate(cells.itertuples(index=False))
    }
    average = (
        _("Average over the held-out conditions")
        if result.has_held_out
        else _("Average over the conditions of the data")
    )
    chosen = st.selectbox(
        _("Conditions"),
        [AVERAGE, *names],
        format_func={AVERAGE: average, **names}.__getitem__,
        key="condition",
        help=", ".join(labels.column(name) for name in features),
    )
    return None if chosen == AVERAGE else chosen


def _mass(result: Result, *, muted: bool) -> None:
    lang = place.language()
    found = judged_part(result.evaluation)["unseen"]
    st.subheader(_("How much probability is unseen"), anchor=False)
    rows = [
        (_("This model expects"), found["model"]),
        (_("Counting suggests (Good–Turing)"), found["good_turing"]),
        (
            _("Observed in held-out rows") if result.has_held_out else _("Observed in the rows"),
            found["observed"],
        ),
    ]
    title = _("{observed} of the held-out rows were new combinations; the model expected {expected}").format(
        observed=percent(found["observed"]["value"], lang, 0), expected=percent(found["model"]["value"], lang, 0)
    )
    axis = _("Probability of an unseen combination")
    names = [name for name, _share in rows]
    columns = {key: [share[key] for _name, share in rows] for key in ("value", "low", "high")}
    figure(
        compared(names, columns["value"], columns["low"], columns["high"], title=title, axis=axis, tickformat=".0%"),
        pd.DataFrame(
            {
                _("Source"): names,
                axis: columns["value"],
                _("Lower bound"): columns["low"],
                _("Upper bound"): columns["high"],
            }
        ).round(4),
        key="mass",
        alt=title,
        muted=muted,
    )


def _on_unseen(result: Result) -> None:
    lang = place.language()
    found: dict[str, Any] | None = judged_part(result.evaluation)["unseen"]["on_unseen"]
    if found is None or found["log_prob"] is None:
        return
    gaps = [
        (found["log_prob_frequency"], _("counting combinations")),
        (found.get("log_prob_neighbours"), _("nearness to seen combinations")),
        (found["log_prob_independent"], _("independent parts")),
    ]
    known = [
        _("{gap} nat against {name}").format(gap=decimal(found["log_prob"] - value, lang), name=name)
        for value, name in gaps
        if value is not None
    ]
    st.caption(
        _("On the {count} evaluated rows whose combination was never seen, this model gains {gaps} per row.").format(
            count=found["n"], gaps=_(", ").join(known)
        )
    )


page()
