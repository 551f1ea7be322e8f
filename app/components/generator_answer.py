"""The answer of the generator page: how much the rules leave, and whether the past obeys them."""

import pandas as pd
import streamlit as st

from app.charts import funnel
from app.components import place
from app.components.answer import Quantity, answer_line, quantities
from app.components.figure import figure
from app.components.generator_service import Analysis, Reading, Scene
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.verdict import Verdict
from app.text.numbers import count, share_of, whole
from jebm_core.errors import UserError

BROKEN_CAUTION = 0.05
_NAMED = 12


def generator_verdict(analysis: Analysis) -> Verdict:
    """Return how far a generator may be relied on: by the share of past rows that it calls impossible."""
    if (not analysis.rules and not analysis.summary.preferences) or analysis.check is None:
        return Verdict.PENDING
    if not analysis.check.broken:
        return Verdict.TRUSTED
    return Verdict.CAUTION if analysis.broken_share <= BROKEN_CAUTION else Verdict.DO_NOT_TRUST


def generator_sentence(analysis: Analysis) -> str:
    """Return how much the rules leave, as one sentence."""
    lang = place.language()
    values = {
        "valid": analysis.valid_words,
        "everything": whole(analysis.everything, lang),
        "share": share_of(analysis.valid, analysis.everything, lang),
    }
    check = analysis.check
    if not analysis.rules and analysis.valid == analysis.everything:
        return _("No rule is given yet, so all {everything} combinations count as possible.").format(**values)
    if check is None:
        return _("The rules leave {valid} of {everything} combinations ({share}).").format(**values)
    values["rows"] = count(check.rows, lang)
    if not check.broken:
        words = _("The rules leave {valid} of {everything} combinations ({share}), and all {rows} past rows obey them.")
        return words.format(**values)
    values["broken"] = count(len(check.broken), lang)
    words = _(
        "The rules leave {valid} of {everything} combinations ({share}), but {broken} of {rows} past rows break them."
    )
    return words.format(**values)


def generator_line(analysis: Analysis) -> str:
    """Return the same in a few words, for the stage gate."""
    lang = place.language()
    valid, check = analysis.valid_words, analysis.check
    if check is None or not check.broken:
        return _("{valid} valid combinations; all past rows obey").format(valid=valid)
    return _("{valid} valid combinations; {broken} of {rows} past rows break the rules").format(
        valid=valid, broken=count(len(check.broken), lang), rows=count(check.rows, lang)
    )


def draw_generator_answer(reading: Reading, scene: Scene) -> None:
    """Draw the answer; while the text can't be read, that it can't."""
    if isinstance(reading, UserError):
        if "no combination obeys" in reading.template:
            answer_line(Verdict.DO_NOT_TRUST, _("The rules leave nothing: no combination obeys all of them."))
        else:
            answer_line(Verdict.PENDING, _("The rules can't be counted yet: the text needs a look."))
        return
    answer_line(generator_verdict(reading), generator_sentence(reading), _reasons(reading))


def _reasons(analysis: Analysis) -> list[str]:
    lang = place.language()
    found = [sentence(note) for note in analysis.estimate_note]
    check = analysis.check
    if check is not None and check.rules:
        worst = max(check.rules, key=lambda rule: rule.rows)
        if worst.line:
            words = _("Most often broken, in {rows} rows: line {line}, {rule}")
            found.append(words.format(rows=count(worst.rows, lang), line=worst.line, rule=worst.rule))
    hidden = analysis.compiled.problem.sizes[analysis.compiled.problem.outputs :]
    if hidden and analysis.check is not None:
        words = _("{count} declared names are no columns of the data; they take part in the rules and are not drawn.")
        found.append(words.format(count=count(len(hidden), lang)))
    conditions = analysis.summary.conditions
    if conditions:
        found.append(
            _("Rules that hold only under a condition are not in the count; conditions: {count}").format(
                count=conditions
            )
        )
    return found


def funnel_figure(analysis: Analysis, *, muted: bool = False) -> None:
    """Draw all → valid → covered by data, with exact counts."""
    lang = place.language()
    stages = [_("All combinations"), _("Valid under the rules")]
    numbers, shown = [analysis.everything, analysis.valid], [whole(analysis.everything, lang), analysis.valid_words]
    if analysis.check is not None:
        stages.append(_("Of these, in the data"))
        numbers.append(analysis.covered)
        shown.append(whole(analysis.covered, lang))
    title = _("{share} of all combinations are valid").format(share=share_of(analysis.valid, analysis.everything, lang))
    if analysis.check is not None:
        title = _("{share} of all combinations are valid; the data hold {covered} of them").format(
            share=share_of(analysis.valid, analysis.everything, lang), covered=count(analysis.covered, lang)
        )
    axis = _("Combinations")
    figure(
        funnel(stages, numbers, shown, title=title, axis=axis),
        pd.DataFrame({_("Stage"): stages, axis: shown}),
        key="funnel",
        alt=title,
        muted=muted,
    )


def facts(analysis: Analysis) -> None:
    """Draw the exact numbers, and what is forced or impossible."""
    lang = place.language()
    summary = analysis.summary
    known = _("Exact: {number}").format(number=analysis.valid) if analysis.valid.bit_length() < 3000 else None
    if not summary.is_exact:
        known = _("Estimated; 95 % interval {low} to {high}").format(
            low=whole(summary.count_low, lang), high=whole(summary.count_high, lang)
        )
    items = [
        Quantity(
            _("Valid combinations"),
            analysis.valid_words,
            share_of(analysis.valid, analysis.everything, lang),
            known,
        )
    ]
    if analysis.check is not None:
        items.append(
            Quantity(
                _("Past rows that obey"),
                count(analysis.check.rows - len(analysis.check.broken), lang),
                _("of {rows}").format(rows=count(analysis.check.rows, lang)),
            )
        )
    quantities(items)
    for title, names in (
        (_("Always chosen"), analysis.summary.forced),
        (_("Never possible"), analysis.summary.impossible),
    ):
        if names:
            shown = _cut([analysis.words.event(name) for name in names])
            st.markdown(f"**{title}** ({count(len(names), lang)})")
            st.caption(escape(shown))


def _cut(names: list[str]) -> str:
    rest = len(names) - _NAMED
    mark = _(", … {count} more").format(count=rest) if rest > 0 else ""
    return _(", ").join(names[:_NAMED]) + mark
