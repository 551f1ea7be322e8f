"""Untried combinations as a ladder and a table: how likely, how sure, what differs from what was tried."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.charts import Ladder, probability_ladder
from app.components import place
from app.components.figure import figure
from app.components.language import _, sentence
from app.components.live_model import Outcome, condition_rows
from app.components.result import Result
from app.components.terms import driver_words
from app.text.numbers import count, decimal, percent
from app.truth import TrueValues, has_outcome, random_success, true_values
from app.words import OutputWords
from jebm_core.report import event_rows
from jebm_core.runs.records import Message
from sample_data.truth import Truth

_LONGEST = 30


def ladder(
    result: Result,
    table: Mapping[str, Any],
    outcome: Outcome | None,
    row: int | None,
    truth: Truth | None,
    *,
    muted: bool,
) -> None:
    """Draw the finding, the ladder and its table, what the numbers don't say, and the truth where it is asked for."""
    entries: Sequence[Mapping[str, Any]] = table["entries"]
    words = result.words
    if not entries:
        st.info(
            _("No untried combination is at least as plausible as one picked at random."), icon=":material/search_off:"
        )
        return
    found = None
    if truth is not None and has_outcome(truth, outcome):
        with st.spinner(_("Computing the true probabilities …")):
            cells = [words.cells(entry["y"]) for entry in entries]
            found = true_values(truth, condition_rows(result, row), cells, outcome)
    title = _finding(result, entries, outcome)
    frame = entry_table(entries, words, outcome, found)
    figure(
        probability_ladder(
            _rungs(entries, words, outcome, found),
            title=title,
            probability=_("Probability of “{option}”").format(option=words.pair(*outcome))
            if outcome
            else _("Probability of the combination"),
            distance=_("Parts changed from the nearest tried: {distance}"),
            truth=_("True probability"),
            base_rate=None if outcome else _random_rate(entries),
            whole=outcome is not None,
        ),
        frame,
        key="ladder",
        alt=title,
        muted=muted,
    )
    notes = [sentence(Message.from_json(table["note"]))]
    lang = place.language()
    if not table["exact"]:
        notes.append(
            _("{count} candidates were looked at, not every combination; a likelier one may be missing.").format(
                count=count(table["candidates"], lang)
            )
        )
    elif not table["listed"]:
        notes.append(
            _(
                "{count} candidates were looked at, and a bound on all others says that none of them is likelier than "
                "these."
            ).format(count=count(table["candidates"], lang))
        )
    notes.append(
        _(
            "What counts most is the part, pair or rule that adds or takes most against the nearest tried combination, "
            "in nats of the log-probability or, for an outcome, of its log-odds."
        )
    )
    if outcome:
        notes.append(_("The highest of many estimates tend to be too high: they were picked for being high."))
    st.caption(" ".join(notes))
    st.dataframe(
        frame,
        hide_index=True,
        key="ladder_entries",
        height=min(38 + 35 * len(frame), 460),
        column_config=entry_columns(),
    )
    if found is not None and truth is not None:
        _truth_line(result, entries, outcome, row, truth, found)


def entry_table(
    entries: Sequence[Mapping[str, Any]], words: OutputWords, outcome: Outcome | None, truth: TrueValues | None = None
) -> pd.DataFrame:
    """Return the entries as a table in the language of the session."""
    lang = place.language()
    skip = outcome[0] if outcome else None
    columns: dict[str, list[Any]] = {
        _("Rank"): [entry["rank"] for entry in entries],
        _("Probability"): [
            percent(entry["probability"], lang, 2 if entry["probability"] < 0.1 else 1) for entry in entries
        ],
    }
    if any(entry["low"] is not None for entry in entries):
        columns[_("95 % interval")] = [_interval(entry) for entry in entries]
    if truth is not None:
        columns[_("True probability")] = [
            percent(value, lang, 2 if value < 0.1 else 1) if allowed else _("breaks a design rule")
            for value, allowed in zip(truth.probability, truth.allowed, strict=True)
        ]
    columns[_("What differs")] = [words.changes(entry["changes"]) or _("nothing: it was tried") for entry in entries]
    columns[_("What counts most")] = [
        "–" if entry["driver"] is None else driver_words(entry["driver"], words, lang) for entry in entries
    ]
    columns[_("Combination")] = [words.combination(entry["y"], skip) for entry in entries]
    columns[_("Against a random combination")] = [
        "–" if entry["odds_random"] is None else _("{times} ×").format(times=_times(entry["odds_random"]))
        for entry in entries
    ]
    columns[_("Parts changed")] = [entry["distance"] for entry in entries]
    columns[_("Nearest tried combination")] = [words.nearest(entry["y"], entry["changes"], skip) for entry in entries]
    return pd.DataFrame(columns)


def entry_columns() -> dict[str, Any]:
    """Return the widths of the columns of ``entry_table``."""
    narrow = (_("Rank"), _("Row"), _("Parts changed"))
    wide = (_("What differs"), _("What counts most"), _("Combination"), _("Nearest tried combination"))
    return {
        **{name: st.column_config.Column(width=70) for name in narrow},
        **{name: st.column_config.Column(width=380) for name in wide},
    }


def best_line(entries: Sequence[Mapping[str, Any]], words: OutputWords, outcome: Outcome | None) -> str:
    """Return the first entry as one sentence."""
    first, lang = entries[0], place.language()
    chance = percent(first["probability"], lang, 2 if first["probability"] < 0.1 else 0)
    name = words.combination(first["y"], outcome[0] if outcome else None)
    if outcome:
        return _("{combination}: “{option}” with probability {chance}").format(
            combination=name, option=words.pair(*outcome), chance=chance
        )
    return _("{combination}: probability {chance}").format(combination=name, chance=chance)


def _finding(result: Result, entries: Sequence[Mapping[str, Any]], outcome: Outcome | None) -> str:
    lang = place.language()
    words = result.words
    if outcome is None:
        total = sum(entry["probability"] for entry in entries)
        return _("The {count} likeliest untried combinations hold {share} of the probability together").format(
            count=len(entries), share=percent(total, lang)
        )
    expected = sum(entry["probability"] for entry in entries)
    usual = observed_share(result, outcome)
    if usual is None:
        return _(
            "Of the {count} untried combinations ranked highest, {expected} are expected to end in “{option}”"
        ).format(count=len(entries), expected=decimal(expected, lang, 0), option=words.pair(*outcome))
    return _(
        "Of the {count} untried combinations ranked highest, {expected} are expected to end in “{option}”; as many "
        "rows of the data had {usual}"
    ).format(
        count=len(entries),
        expected=decimal(expected, lang, 0),
        option=words.pair(*outcome),
        usual=decimal(usual * len(entries), lang, 0),
    )


def observed_share(result: Result, outcome: Outcome) -> float | None:
    """Return how often an outcome was observed in the evaluated rows."""
    name = f"{outcome[0]}={outcome[1]}"
    return next((row["observed"] for row in event_rows(result.evaluation) if row["event"] == name), None)


def _rungs(
    entries: Sequence[Mapping[str, Any]], words: OutputWords, outcome: Outcome | None, truth: TrueValues | None
) -> Ladder:
    skip = outcome[0] if outcome else None
    full = [words.combination(entry["y"], skip) for entry in entries]
    names = []
    for entry, name in zip(entries, full, strict=True):
        long = _width(name) > _LONGEST and words.schema.kind != "rankings"
        short = words.changed_to(entry["changes"]) or name if long else name
        names.append(f"{entry['rank']}. {_cut(short)}")
    values = [entry["probability"] for entry in entries]
    return Ladder(
        name=names,
        probability=values,
        low=[value if entry["low"] is None else entry["low"] for entry, value in zip(entries, values, strict=True)],
        high=[value if entry["high"] is None else entry["high"] for entry, value in zip(entries, values, strict=True)],
        distance=[entry["distance"] for entry in entries],
        truth=None
        if truth is None
        else [p if allowed else None for p, allowed in zip(truth.probability, truth.allowed, strict=True)],
        detail=full,
    )


def _truth_line(
    result: Result,
    entries: Sequence[Mapping[str, Any]],
    outcome: Outcome | None,
    row: int | None,
    truth: Truth,
    found: TrueValues,
) -> None:
    lang = place.language()
    broken = sum(not allowed for allowed in found.allowed)
    true_sum = sum(p for p, allowed in zip(found.probability, found.allowed, strict=True) if allowed)
    estimated = sum(entry["probability"] for entry in entries)
    with st.container(border=True, key="truth_box", gap="small"):
        heading = _("The truth")
        st.markdown(f"**{heading}**")
        if outcome:
            kept = len(entries) - broken
            words = _(
                "Among the {kept} of them that the design rules allow, {true} would truly end in “{option}”; valid "
                "combinations picked at random would give {random}."
            )
            share = random_success(truth, condition_rows(result, row))
            st.markdown(
                words.format(
                    kept=kept,
                    true=decimal(true_sum, lang, 1),
                    option=result.words.pair(*outcome),
                    random=decimal((share if outcome[1] == "pass" else 1 - share) * kept, lang, 1),
                )
            )
        else:
            st.markdown(
                _("Together they truly hold {true} of the probability; the estimate is {estimated}.").format(
                    true=percent(true_sum, lang), estimated=percent(estimated, lang)
                )
            )
        if broken:
            st.markdown(
                _(
                    "{count} of them break a design rule that the model was not told: they can't be built, whatever "
                    "their probability."
                ).format(count=broken)
            )


def _random_rate(entries: Sequence[Mapping[str, Any]]) -> float | None:
    first = entries[0]
    odds = first["odds_random"]
    return None if not odds else first["probability"] / odds


def _interval(entry: Mapping[str, Any]) -> str:
    lang = place.language()
    if entry["low"] is None or entry["high"] is None:
        return "–"
    digits = 2 if entry["high"] < 0.1 else 1
    return _("{low} to {high}").format(
        low=percent(entry["low"], lang, digits), high=percent(entry["high"], lang, digits)
    )


def _times(odds: float) -> str:
    return decimal(odds, place.language(), 0 if odds >= 10 else 1)


def _width(text: str) -> int:
    return sum(2 if ord(mark) > 0x2E7F else 1 for mark in text)


def _cut(text: str) -> str:
    if _width(text) <= _LONGEST:
        return text
    kept = ""
    for mark in text:
        if _width(kept + mark) > _LONGEST - 1:
            break
        kept += mark
    return kept + "…"
