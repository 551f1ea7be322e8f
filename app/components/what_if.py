"""One combination, one part of it changed: what becomes of the probability, and what drives it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.charts import contribution_bars
from app.components import place
from app.components.figure import figure
from app.components.language import _
from app.components.live_model import Outcome
from app.components.live_what_if import Combination, broken_rules, compared_with, flip_of
from app.components.plain import escape
from app.components.problem import problem
from app.components.result import Result
from app.components.terms import nats, term_name
from app.text.numbers import decimal, percent
from app.words import OutputWords
from jebm_core.errors import UserError

TYPED = -1


def what_if(
    result: Result, entries: Sequence[Mapping[str, Any]], outcome: Outcome | None, row: int | None, *, muted: bool
) -> None:
    """Draw the choice of a combination and of a change, the effect, what drives it, and the smallest flip.

    Args:
        entries: the ladder's, to start from.
        muted: the run is not to be trusted; every number is small and grey, with words that say so.
    """
    st.subheader(_("Change one part"), anchor=False)
    start = _start(result, entries, outcome)
    if start is None:
        return
    changed = _changed(result.words, start, outcome)
    if changed is None or not _possible(result, (start, changed), outcome):
        return
    try:
        with st.spinner(_("Comparing the two combinations …")):
            found = compared_with(result.view.id, start, changed, outcome, row)
    except UserError as error:
        problem(error, title=_("These combinations can't be compared"))
        return
    if muted:
        st.caption(_("The numbers below come from a run that is not to be trusted; take none of them for a fact."))
    _effect(result.words, start, changed, outcome, found, muted=muted)
    _terms(result.words, outcome, found["terms"], muted=muted)
    _features(result, outcome, row, found["features"], muted=muted)
    _flip(result, start, outcome, row, found["before"], muted=muted)


def _start(result: Result, entries: Sequence[Mapping[str, Any]], outcome: Outcome | None) -> Combination | None:
    words, skip = result.words, outcome[0] if outcome else None
    named = {
        place_of: _("{rank}. {combination}").format(rank=entry["rank"], combination=words.combination(entry["y"], skip))
        for place_of, entry in enumerate(entries)
    }
    chosen = st.selectbox(
        _("Start from"),
        [*named, TYPED],
        format_func={**named, TYPED: _("Another combination")}.__getitem__,
        key="what_if_start",
    )
    if chosen != TYPED:
        return tuple(entries[chosen]["y"])
    names = result.schema.names
    if result.schema.kind == "configurations":
        columns = st.columns(min(4, max(1, len(names) - (skip in names))))
        typed = []
        for number, (name, options) in enumerate(zip(names, result.schema.options, strict=True)):
            if name == skip:
                typed.append(0)
                continue
            with columns[number % len(columns)]:
                typed.append(_code(words, name, options))
        return tuple(typed)
    if result.schema.kind == "subsets":
        held = st.multiselect(
            _("Present"), [name for name in names if name != skip], format_func=words.item, key="what_if_items"
        )
        return tuple(int(name in held) for name in names)
    order = st.multiselect(
        _("From first to last"), names, default=list(names), format_func=words.item, key="what_if_order"
    )
    if len(order) < len(names):
        st.caption(_("Choose every item once, from first to last."))
        return None
    return tuple(order.index(name) for name in names)


def _code(words: OutputWords, name: str, options: Sequence[str]) -> int:
    return st.selectbox(
        words.item(name),
        range(len(options)),
        format_func=lambda code: words.option(name, str(options[code])),
        key=f"what_if_slot_{name}",
    )


def _changed(words: OutputWords, start: Combination, outcome: Outcome | None) -> Combination | None:
    """The start with one part changed."""
    schema, skip = words.schema, outcome[0] if outcome else None
    sizes = [len(schema.names)] * len(schema.names) if schema.kind == "rankings" else [2] * len(schema.names)
    if schema.kind == "configurations":
        sizes = [len(options) for options in schema.options]
    free = [i for i, name in enumerate(schema.names) if name != skip and sizes[i] > 1]
    if not free:
        st.caption(_("No part of it can be changed."))
        return None
    first, second = st.columns(2)
    with first:
        item = st.selectbox(
            _("Part to change"), free, format_func=lambda i: words.item(schema.names[i]), key="what_if_part"
        )
    others = [value for value in range(sizes[item]) if value != start[item]]
    with second:
        value = st.selectbox(
            _("Change it to"),
            others,
            format_func=lambda v: words.option(schema.names[item], _label(words, item, v)),
            key=f"what_if_to_{item}_{start[item]}",
        )
    if schema.kind != "rankings":
        return (*start[:item], value, *start[item + 1 :])
    order = sorted((i for i in range(len(start)) if i != item), key=lambda i: start[i])
    order.insert(value, item)
    return tuple(order.index(i) for i in range(len(start)))


def _label(words: OutputWords, item: int, value: int) -> str:
    if words.schema.kind == "configurations":
        return words.schema.options[item][value]
    return str(value + (words.schema.kind == "rankings"))


def _possible(result: Result, both: Sequence[Combination], outcome: Outcome | None) -> bool:
    for y in both:
        broken = broken_rules(result.view.id, y, outcome)
        if broken:
            name = result.words.combination(y, outcome[0] if outcome else None)
            rules = "; ".join(f"“{rule}”" if rule else _("what the rules say together") for rule in broken)
            st.warning(
                _("{combination} breaks a rule and has probability 0: {rules}").format(
                    combination=escape(name), rules=escape(rules)
                ),
                icon=":material/block:",
            )
            return False
    return True


def _effect(
    words: OutputWords,
    start: Combination,
    changed: Combination,
    outcome: Outcome | None,
    found: Mapping[str, Any],
    *,
    muted: bool,
) -> None:
    lang = place.language()
    values = {name: _chance(found[name]) for name in ("before", "after")}
    sentence = (
        _("“{option}”: from {before} to {after}").format(option=words.pair(*outcome), **values)
        if outcome
        else _("Probability: from {before} to {after}").format(**values)
    )
    if found["ratio"] is not None:
        ratio = _times(found["ratio"])
        interval = found["low"] is not None
        template = _("{sentence}, {ratio} × ({low}–{high} ×)") if interval else _("{sentence}, {ratio} ×")
        bounds = {"low": _times(found["low"]), "high": _times(found["high"])} if interval else {}
        sentence = template.format(sentence=sentence, ratio=ratio, **bounds)
    st.caption(escape(sentence)) if muted else st.markdown(f"**{escape(sentence)}**")
    note = (
        _(
            "The interval of the ratio (95 %) is for the choice of conditions, of which {count} are averaged over."
        ).format(count=decimal(found["contexts"], lang, 0))
        if found["contexts"] > 1
        else _("Under one row of conditions the log-partition cancels in the ratio, so there is no interval of it.")
    )
    st.caption(note + " " + _("The error of the score itself is in no interval."))


def _terms(words: OutputWords, outcome: Outcome | None, terms: Sequence[Mapping[str, Any]], *, muted: bool) -> None:
    if not terms:
        st.caption(_("Nothing in the model tells the two apart."))
        return
    lang = place.language()
    title = _("What counts most: {term}, {value}").format(
        term=term_name(terms[0], words), value=nats(terms[0]["value"], lang)
    )
    axis = _("Added to the log-odds of the outcome, nat") if outcome else _("Added to the log-probability, nat")
    kinds = {
        "part": _("part"),
        "pair": _("pair"),
        "rule": _("rule"),
        "together": _("all parts together"),
        "reference": _("reference"),
        "link": _("divergence"),
    }
    rows = [
        (kinds[term["kind"]], term_name(term, words), _before(term, words), round(term["value"], 4)) for term in terms
    ]
    figure(
        contribution_bars(
            [term_name(term, words) for term in terms], [term["value"] for term in terms], title=title, axis=axis
        ),
        pd.DataFrame(rows, columns=[_("Kind"), _("Term"), _("Before"), axis]),
        key="what_if_terms",
        alt=title,
        muted=muted,
    )
    st.caption(
        _(
            "The bars add up to the change of the log-probability exactly: parts and pairs of the score, rules that "
            "prefer, and the reference distribution."
        )
        if outcome is None
        else _(
            "The bars add up exactly to the change of the log-odds of the outcome against the likeliest other option: "
            "everything that doesn't involve the outcome cancels."
        )
    )


def _before(term: Mapping[str, Any], words: OutputWords) -> str:
    parts = zip(term["items"], term["before"], strict=False)
    return "; ".join(words.pair(item, value) for item, value in parts) or "–"


def _features(
    result: Result, outcome: Outcome | None, row: int | None, found: Mapping[str, Any] | None, *, muted: bool
) -> None:
    if found is None:
        if row is None:
            st.caption(_("Choose one row under “Conditions” to see what each feature adds."))
        return
    lang, labels = place.language(), result.words.labels
    entries = [(labels.column(name), value) for name, value in found["features"]]
    entries.append((_("reference, all features together"), found["reference"]))
    entries.sort(key=lambda one: -abs(one[1]))
    title = _("Under these conditions counts most: {feature}, {value}").format(
        feature=entries[0][0], value=nats(entries[0][1], lang)
    )
    axis = _("Added to the log-odds of the outcome, nat") if outcome else _("Added to the log of the ratio, nat")
    figure(
        contribution_bars([name for name, _v in entries], [value for _n, value in entries], title=title, axis=axis),
        pd.DataFrame([(name, round(value, 4)) for name, value in entries], columns=[_("Feature"), axis]),
        key="what_if_features",
        alt=title,
        muted=muted,
    )
    st.caption(
        _(
            "Integrated gradients of the score, from the mean of the offered conditions to these; they miss {gap} nat "
            "of the whole change. What the reference distribution adds through x is one bar."
        ).format(gap=decimal(abs(found["gap"]), lang, 4))
    )


def _flip(
    result: Result, start: Combination, outcome: Outcome | None, row: int | None, before: float, *, muted: bool
) -> None:
    lang = place.language()
    first, second = st.columns([2.2, 1.4], vertical_alignment="bottom")
    with first:
        threshold = st.number_input(
            _("Smallest change that takes the starting combination across, %"),
            min_value=0.0001,
            max_value=99.9,
            value=50.0 if outcome else max(0.0001, min(99.9, float(f"{200 * before:.2g}"))),
            format="%.4g",
            key=f"what_if_threshold_{'outcome' if outcome else 'whole'}",
        )
    with second:
        asked = (result.view.id, start, threshold, outcome, row)
        if st.button(_("Find the smallest change"), key="what_if_flip", icon=":material/swap_horiz:"):
            st.session_state["what_if_flip_of"] = asked
    if st.session_state.get("what_if_flip_of") != asked:
        return
    try:
        with st.spinner(_("Looking at changes, the smallest first …")):
            found = flip_of(result.view.id, start, threshold / 100, outcome, row)
    except UserError as error:
        problem(error, title=_("No change can be looked for"))
        return
    known = {
        "threshold": percent(threshold / 100, lang, 1 if threshold >= 1 else 4),
        "before": _chance(found["before"]),
    }
    if found["y"] is not None:
        words = _("{changes}: from {before} to {after}. No smaller change crosses {threshold}.")
        line = words.format(changes=result.words.changes(found["changes"]), after=_chance(found["after"]), **known)
    elif found["certified"]:
        line = _("No change whatever crosses {threshold}; all combinations were looked at.").format(**known)
    else:
        words = _(
            "None was found within {distance} changed parts, of {count} combinations; further ones weren't tried."
        )
        line = words.format(distance=found["exhausted"], count=decimal(found["looked"], lang, 0))
    st.caption(escape(line)) if muted else st.markdown(escape(line))


def _chance(value: float) -> str:
    return percent(value, place.language(), 1 if value >= 0.1 else 2 if value >= 0.001 else 4)


def _times(ratio: float) -> str:
    return decimal(ratio, place.language(), 0 if ratio >= 100 else 1 if ratio >= 10 else 2)
