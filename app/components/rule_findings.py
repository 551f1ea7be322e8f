"""What rules amount to, part by part: past rows that break them, what each rule does, shares, draws, changes."""

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.charts import MOST_SHARES, share_gaps
from app.components import place
from app.components.drafts import Draft
from app.components.figure import csv_bytes, figure
from app.components.generator_service import (
    Analysis,
    analyse,
    effects_of,
    samples_of,
    shares_in_data,
    shares_of,
)
from app.components.language import _
from app.components.plain import escape
from app.text.numbers import count, percent, share_of, whole
from jebm_core.runs.records import GeneratorVersion

if TYPE_CHECKING:
    from jebm_core.evaluation.rules import BrokenRule

DRAWN = 20
_SHOWN = 6
_MOVED = 0.001


def findings(draft: Draft, analysis: Analysis, saved: GeneratorVersion | None) -> None:
    """Draw the parts, each under a tab of its own."""
    titles = [_("Past data"), _("Each rule"), _("Shares"), _("Samples"), _("Changes")]
    past, each, shares, samples, changes = st.tabs(titles, key="findings")
    with past:
        _past(draft, analysis)
    with shares:
        _shares(analysis)
    with samples:
        _samples(analysis)
    with changes:
        _changes(analysis, saved)
    # Last, for it takes longest: a key that is pressed meanwhile is answered before it.
    with each:
        _each(analysis)


def _past(draft: Draft, analysis: Analysis) -> None:
    lang = place.language()
    check = analysis.check
    if check is None:
        st.caption(_("No data are open, so there are no past rows to hold against the rules."))
        return
    if not check.broken:
        st.success(
            _("None of the {rows} past rows breaks a rule.").format(rows=count(check.rows, lang)),
            icon=":material/check_circle:",
        )
        return
    share = percent(analysis.broken_share, lang)
    st.markdown(
        _("**Past rows that break a rule: {broken} of {rows} ({share}).** Training leaves them out.").format(
            broken=count(len(check.broken), lang), rows=count(check.rows, lang), share=share
        )
    )
    worst = sorted(check.rules, key=lambda rule: -rule.rows)
    for place_of, rule in enumerate(worst[:_SHOWN]):
        _broken_rule(draft, place_of, rule.line, rule.rule, rule.rows)
    if len(worst) > _SHOWN:
        st.caption(_("{count} more rules are broken; the table has them all.").format(count=len(worst) - _SHOWN))
    rows = pd.DataFrame(
        [
            (row, len(numbers), *_first_rules([check.rules[number] for number in numbers[:_SHOWN]], len(numbers)))
            for row, numbers in check.broken
        ],
        columns=[_("Row of the file"), _("Rules broken"), _("Lines of the rules"), _("Rule")],
    )
    with st.expander(_("The rows that break a rule"), icon=":material/table_rows:", key="broken_rows"):
        st.dataframe(rows, hide_index=True, key="broken_rows_frame")
        st.download_button(
            _("Download as CSV"),
            csv_bytes(rows),
            file_name="jebm_broken_rows.csv",
            mime="text/csv",
            icon=":material/download:",
            key="broken_rows_download",
            on_click="ignore",
        )


def _first_rules(rules: Sequence["BrokenRule"], total: int) -> tuple[str, str]:
    """Return the lines of the first rules that a row breaks, and the first of them in words."""
    lines = ", ".join(str(rule.line) for rule in rules if rule.line)
    return lines + (", …" if total > len(rules) else ""), _spelled(rules[0].line, rules[0].rule)


def _spelled(line: int, rule: str) -> str:
    return rule if line else _("the rules and declarations taken together")


def _broken_rule(draft: Draft, number: int, line: int, rule: str, rows: int) -> None:
    with st.container(border=True, key=f"broken_{number}"):
        words, show, off = st.columns([4, 1.2, 1.5], vertical_alignment="center")
        with words:
            label = _("Line {line}: {rows} rows").format(line=line, rows=count(rows, place.language()))
            st.markdown(f"**{label}**" if line else f"**{count(rows, place.language())}**")
            st.caption(escape(_spelled(line, rule)))
        if not line:
            return
        if show.button(_("Go to line"), key=f"goto_{number}", icon=":material/my_location:", width="stretch"):
            draft.show(line)
            st.rerun()
        if off.button(
            _("Comment out"),
            key=f"off_{number}",
            icon=":material/comment:",
            help=_("Turns the rule into a note; the text before can be brought back."),
            width="stretch",
        ):
            draft.comment_out(line)
            st.rerun()


def _each(analysis: Analysis) -> None:
    lang = place.language()
    found = effects_of(analysis)
    if found is None:
        st.caption(_("There are too many rules, or they are too entangled, to say quickly what each of them does."))
        return
    if not found:
        st.caption(_("There is no rule yet that holds in every case."))
        return
    idle = [effect for effect in found if effect.redundant]
    if idle:
        lines = ", ".join(str(effect.line) for effect in idle)
        st.markdown(
            _("**Rules that change nothing, since the others say it already: {count}** (lines {lines})").format(
                count=len(idle), lines=lines
            )
        )
    removed = [(effect, effect.count_without - analysis.summary.count) for effect in found]
    removed.sort(key=lambda one: -one[1])
    frame = pd.DataFrame(
        [
            (
                effect.line,
                whole(gone, lang),
                share_of(gone, effect.count_without, lang) if gone else _("changes nothing"),
                effect.rule,
            )
            for effect, gone in removed
        ],
        columns=[_("Line"), _("Removes alone"), _("Of what is left without it"), _("Rule")],
    )
    st.dataframe(frame, hide_index=True, key="effects_frame", height=35 * min(len(frame) + 1, 12) + 3)
    st.caption(
        _("Combinations that would be valid without this rule, the others kept. Rules that overlap share the credit.")
    )


def _shares(analysis: Analysis) -> None:
    lang = place.language()
    shares = shares_of(analysis)
    names = [_called(analysis, name) for name in shares]
    axis = _("Share of the combinations")
    ruled, data = list(shares.values()), shares_in_data(analysis)
    columns: dict[str, list[float] | list[str]] = {_("Part"): names, _("Among valid combinations"): ruled}
    if data is None or len(data) != len(ruled):
        st.dataframe(pd.DataFrame(columns).round(4), hide_index=True, key="shares_frame")
        return
    widest = max(range(len(names)), key=lambda i: abs(data[i] - ruled[i]))
    title = _("“{part}” is in {data} of the past rows and in {ruled} of the valid combinations").format(
        part=names[widest], data=percent(data[widest], lang, 0), ruled=percent(ruled[widest], lang, 0)
    )
    columns[_("In the data")] = data
    figure(
        share_gaps(names, ruled, data, labels=(_("Valid combinations"), _("Past data")), title=title, axis=axis),
        pd.DataFrame(columns).round(4),
        key="shares",
        alt=title,
    )
    _cut_note(len(names))


def _called(analysis: Analysis, name: str) -> str:
    """Return what an item, option or place is called on the page."""
    if analysis.schema.kind == "rankings":
        item, _mark, place_of = name.rpartition(" in place ")
        return _("{item} in place {place}").format(item=analysis.words.item(item), place=place_of)
    return analysis.words.event(name)


def _samples(analysis: Analysis) -> None:
    line, again = st.columns([4, 1.3], vertical_alignment="center")
    seed = st.session_state.setdefault("sample_seed", 0)
    if again.button(_("Draw again"), key="draw_again", icon=":material/casino:", width="stretch"):
        seed = st.session_state["sample_seed"] = seed + 1
    line.caption(
        _("{count} of the {valid} valid combinations, drawn evenly.").format(count=DRAWN, valid=analysis.valid_words)
    )
    words, schema = analysis.words, analysis.schema
    drawn = samples_of(analysis, DRAWN, seed)
    if schema.kind == "configurations":
        pairs = list(zip(schema.columns, schema.names, strict=True))
        frame = pd.DataFrame(
            [{words.item(name): words.option(name, str(row[column])) for column, name in pairs} for row in drawn]
        )
    else:
        start = 1 if schema.kind == "rankings" else 0
        codes = [[int(row[column]) - start for column in schema.columns] for row in drawn]
        frame = pd.DataFrame({_("Combination"): [words.combination(row) for row in codes]})
    st.dataframe(frame, hide_index=True, key="samples_frame", height=35 * (DRAWN + 1) + 3)


def _changes(analysis: Analysis, saved: GeneratorVersion | None) -> None:
    lang = place.language()
    before = None if saved is None else analyse(saved.rules, analysis.scene)
    name = _("no rules") if saved is None else saved.title
    if saved is None:
        before = analyse("", analysis.scene) if analysis.scene.examples is not None else None
    if not isinstance(before, Analysis):
        st.caption(_("There is nothing saved yet that the text could be compared with."))
        return
    st.markdown(
        _("**Against {name}: {before} → {after} valid combinations**").format(
            name=escape(name), before=before.valid_words, after=analysis.valid_words
        )
    )
    if saved is not None:
        lines = difflib.unified_diff(saved.rules.splitlines(), analysis.text.splitlines(), n=0, lineterm="")
        changed = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
        if not changed:
            st.caption(_("The text is that of the saved version."))
            return
        st.code("\n".join(changed[:200]), language="diff", wrap_lines=True)
    was, now = shares_of(before), shares_of(analysis)
    moved = [name for name in now if name in was and abs(now[name] - was[name]) > _MOVED]
    if not moved:
        st.caption(_("No share moves by more than {share}.").format(share=percent(_MOVED, lang)))
        return
    names = [_called(analysis, name) for name in moved]
    first, second = [was[name] for name in moved], [now[name] for name in moved]
    widest = max(range(len(moved)), key=lambda i: abs(second[i] - first[i]))
    title = _("The share of “{part}” moves most: from {before} to {after}").format(
        part=names[widest], before=percent(first[widest], lang, 0), after=percent(second[widest], lang, 0)
    )
    labels = (escape(name), _("This text"))
    axis = _("Share of the valid combinations")
    figure(
        share_gaps(names, first, second, labels=labels, title=title, axis=axis),
        pd.DataFrame({_("Part"): names, _("Before"): first, _("After"): second}).round(4),
        key="changes",
        alt=title,
    )
    _cut_note(len(moved))


def _cut_note(parts: int) -> None:
    if parts > MOST_SHARES:
        st.caption(
            _("Drawn are the {shown} widest gaps of {total}; the table has them all.").format(
                shown=MOST_SHARES, total=count(parts, place.language())
            )
        )
