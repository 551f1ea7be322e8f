"""What differs between runs: data, rules, settings, seed, versions; what is the same is left out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st

from app.components import place
from app.components.generator_names import generator_title
from app.components.language import _
from app.components.result import Result
from app.components.storage import model_record
from app.components.train_settings import WORDS
from app.text import marked
from app.text.numbers import MISSING, combinations, count, duration, percent
from jebm_core.errors import UserError
from jebm_core.report import judged_part
from jebm_core.runs.records import RECALIBRATE
from jebm_core.settings import FitSettings

SETTINGS: Final[Mapping[str, str]] = {
    "affinity": marked("Score (affinity)"),
    "proposal": marked("Where draws come from (proposal)"),
    "divergence": marked("Divergence"),
    "reference": marked("Reference distribution"),
    "log_partition": marked("Log-partition"),
    "epochs": marked("Epochs, at most"),
    "time_budget": marked("Time for training, seconds, at most"),
    "samples": marked("Draws per case and step"),
    "seed": marked("Seed"),
    "device": marked("Device"),
    "replicates": marked("Refits on halves"),
    "validation": marked("Rows that training stops by"),
    "validation_fraction": marked("Share of rows that training stops by"),
    "space": marked("Kind of output"),
}
RESOLVED: Final[Mapping[str, str]] = {
    "affinity": marked("Score that was used"),
    "reference": marked("Reference distribution that was used"),
    "base": marked("Base of the log-partition"),
    "hidden": marked("Width of the network"),
    "rank": marked("Rank of the pairs"),
    "trees": marked("Trees in the reference"),
    "candidates": marked("Observed combinations in the reference"),
}
_MOST_LINES: Final = 12
Row = tuple[str, list[str]]


def differences(results: Sequence[Result], letters: Sequence[str]) -> None:
    """Draw a table of everything in which runs differ, and the rules that only some of them have."""
    rows = [*_plain_rows(results), *_settings_rows(results)]
    if place.is_expert():
        rows += _expert_rows(results)
    kept = [(label, values) for label, values in rows if len(set(values)) > 1]
    st.subheader(_("What is different"), anchor=False)
    if not kept:
        st.caption(_("Nothing: data, rules, settings, seed and versions are the same."))
    else:
        heading = _("Setting")
        columns = {letter: [values[place] for _label, values in kept] for place, letter in enumerate(letters)}
        st.table(pd.DataFrame({heading: [label for label, _values in kept], **columns}).set_index(heading))
        st.caption(_("Only what differs is listed."))
    _rules(results, letters)


def _plain_rows(results: Sequence[Result]) -> list[Row]:
    lang = place.language()

    def row(label: str, of: Callable[[Result], str]) -> Row:
        return label, [of(result) for result in results]

    def split(result: Result, key: str) -> str:
        return count((result.evaluation.get("split") or {}).get(key) or 0, lang)

    modes = {"rows": _("Rows at random"), "combinations": _("Whole combinations")}
    return [
        row(_("Data"), lambda result: f"{result.view.spec.dataset_name} ({result.view.spec.dataset[:8]})"),
        row(_("Outputs"), lambda result: ", ".join(result.words.item(name) for name in result.schema.names)),
        row(_("Features"), lambda result: ", ".join(model_features(result)) or _("none")),
        row(_("Candidate generator"), lambda result: generator_title(result.view.spec) or _("No rules")),
        row(_("Possible combinations"), lambda r: combinations(judged_part(r.evaluation)["log_cardinality"], lang)),
        row(_("Rows for training"), lambda result: split(result, "train_rows")),
        row(_("Rows held out"), lambda result: split(result, "held_out_rows")),
        row(_("Share held out"), lambda result: percent(result.view.spec.hold_out_fraction, lang, 0)),
        row(_("Held out for the evaluation"), lambda result: modes[result.view.spec.hold_out_mode]),
        row(_("Seed of the split"), lambda result: str(result.view.spec.seed)),
        row(_("Recalibrated"), lambda result: _("yes") if result.view.spec.kind_of_work == RECALIBRATE else _("no")),
    ]


def _settings_rows(results: Sequence[Result]) -> list[Row]:
    found = [_settings(result) for result in results]
    return [(_(SETTINGS[name]), [_word(one.get(name)) for one in found]) for name in SETTINGS]


def _expert_rows(results: Sequence[Result]) -> list[Row]:
    lang = place.language()
    architectures = [_record(result).get("architecture") or {} for result in results]
    summaries = [_record(result).get("summary") or {} for result in results]
    provenance = [result.evaluation.get("provenance") or {} for result in results]
    rows = [(_(label), [_word(one.get(name)) for one in architectures]) for name, label in RESOLVED.items()]
    rows.append((_("Epochs"), [str(one.get("epochs", MISSING)) for one in summaries]))
    rows.append((_("Duration"), [duration(one.get("duration_seconds"), lang) for one in provenance]))
    rows.append((_("Computed on"), [str(one.get("device", MISSING)) for one in provenance]))
    names = sorted({name for one in provenance for name in one.get("versions") or {}})
    for name in names:
        versions = [str((one.get("versions") or {}).get(name, MISSING)) for one in provenance]
        rows.append((_("Version of {name}").format(name=name), versions))
    return rows


def model_features(result: Result) -> list[str]:
    """Return the feature columns of a run's model."""
    return [str(name) for name in _record(result).get("features") or []]


def _record(result: Result) -> Mapping[str, Any]:
    try:
        return model_record(result.view.id)
    except UserError:
        return {}


def _settings(result: Result) -> Mapping[str, Any]:
    """What was asked for, and the usual where nothing was."""
    return {**FitSettings().to_json(), **result.view.spec.settings}


def _word(value: object) -> str:
    if value is None:
        return _("Automatic")
    if isinstance(value, list | tuple):
        return " × ".join(str(part) for part in value)
    return _(WORDS[str(value)]) if str(value) in WORDS else str(value)


def _rules(results: Sequence[Result], letters: Sequence[str]) -> None:
    """Draw the lines of the rules that not all runs have."""
    lines = [_lines(result.view.spec.rules) for result in results]
    shared = set(lines[0]).intersection(*lines[1:])
    own = [[line for line in some if line not in shared] for some in lines]
    if not any(own):
        return
    with st.expander(_("Rules that only some of them have"), icon=":material/rule:", key="rule_differences"):
        for letter, some in zip(letters, own, strict=True):
            st.markdown(f"**{letter}**")
            if not some:
                st.caption(_("None of its own."))
                continue
            st.code("\n".join(some[:_MOST_LINES]), language=None, wrap_lines=True)
            if len(some) > _MOST_LINES:
                st.caption(_("and {count} more").format(count=len(some) - _MOST_LINES))


def _lines(rules: str) -> list[str]:
    found = (line.split("#")[0].strip() for line in rules.splitlines())
    return [line for line in found if line]
