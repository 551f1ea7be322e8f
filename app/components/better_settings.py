"""Would other settings be better? Trials around a run, made on request, and what came out of them."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd
import streamlit as st

from app.charts import TrialPoints, trade_off
from app.components import place
from app.components.figure import figure
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.problem import problem
from app.components.run_differences import SETTINGS
from app.components.run_list import STOPPED_EARLY, state_word
from app.components.storage import model_record, run_of, schema_of, store
from app.components.study import finding, study
from app.components.train_settings import WITH_A_SOURCE, WORDS
from app.text.numbers import count, decimal, duration
from jebm_core.errors import UserError
from jebm_core.runs.message import Message
from jebm_core.runs.records import SWEEP, RunSpec, RunView, State
from jebm_core.runs.search_space import SearchSpace, default_space, size_of
from jebm_core.runs.slots import slots
from jebm_core.runs.sweeping import sweep_spec
from jebm_core.runs.trials import PRUNED

TRIALS: Final = (3, 6, 12, 24)
_INSTEAD: Final = "sweep_instead_of"


def better_settings(view: RunView) -> None:
    """Draw the trials of settings around a run, or the way to them."""
    st.subheader(_("Would other settings be better?"), anchor=False)
    if importlib.util.find_spec("optuna") is None:
        st.caption(_("Trials of settings need the package Optuna, which comes with the extra “sweep” of jebm."))
        return
    instead_of = str(st.session_state.get(_INSTEAD, ""))
    newest = next(iter(store().about(view.id, SWEEP)), None)
    offered = newest is None or newest.id == instead_of or newest.state in (State.FAILED, State.CANCELLED)
    try:
        work = _asked(view) if offered else None
    except UserError as error:
        problem(error, title=_("The numbers of this run can't be read"))
        return
    done = study(
        view,
        SWEEP,
        _("Try them"),
        ":material/experiment:",
        disabled=offered and work is None,
        work=work,
        instead_of=instead_of,
    )
    if done is None:
        return
    found = finding(done)
    if found is None:
        return
    _outcome(view, found)
    if st.button(_("Try again"), key="sweep_again", icon=":material/replay:"):
        st.session_state[_INSTEAD] = done.id
        st.rerun()


def answer(found: Mapping[str, Any]) -> str:
    """Return what the trials say, as a sentence."""
    trials = {trial["number"]: trial for trial in found["trials"]}
    best, first = trials.get(found["best"]), trials.get(1)
    lang = place.language()
    if best is None or first is None:
        return _("No trial brought a model")
    others = count(len(trials) - 1, lang)
    if best is first:
        return _("None of {others} other choices predicts validation rows better than the settings of this run").format(
            others=others
        )
    if first["held_out_objective"] is None:
        return _("Trial {number} predicts validation rows best").format(number=best["number"])
    gap = first["held_out_objective"] - best["held_out_objective"]
    return _("Trial {number} predicts validation rows {gap} nat better than the settings of this run").format(
        number=best["number"], gap=decimal(gap, lang, 3)
    )


def _asked(view: RunView) -> RunSpec | None:
    """Draw what may be tried; return the work, or nothing where nothing is to be tried."""
    offered = _space(view)
    st.caption(
        _(
            "Each trial is a run with other settings, chosen by what came out before; the first one takes the settings "
            "of this run. Rows kept for validation inside the training decide, so that the held-out rows can still "
            "judge the best. Trials that fall behind are stopped early."
        )
    )
    left, right = st.columns([1, 2.2], vertical_alignment="bottom")
    trials = left.segmented_control(
        _("Trials"), TRIALS, default=TRIALS[2], required=True, key="sweep_trials", format_func=str
    )
    words = {name: _(SETTINGS[name]) for name in offered}
    names = right.multiselect(
        _("What is tried"), list(offered), list(offered), key="sweep_names", format_func=words.__getitem__
    )
    if not names:
        st.caption(_("Choose at least one setting to try."))
        return None
    space = {name: offered[name] for name in names}
    trials = min(int(trials or TRIALS[2]), size_of(space) + 1)
    if view.elapsed:
        lang = place.language()
        st.caption(
            _("{trials} trials, of {choices} possible choices; at the pace of this run at most {time}.").format(
                trials=count(trials, lang),
                choices=count(size_of(space), lang),
                time=duration(view.elapsed * trials, lang),
            )
        )
    # Replicates say how sure a model is, not how good: here they would take most of the time.
    fit = replace(view.spec, settings={**view.spec.settings, "replicates": 0})
    return sweep_spec(fit, trials, space, at_once=len(slots()))


def _space(view: RunView) -> SearchSpace:
    """What can be tried around a run. A reference that a table or another run brought stays."""
    kind, features = schema_of(view.id).kind, model_record(view.id).get("features")
    space = dict(default_space(kind, bool(features), bool(view.spec.rules)))
    if view.spec.settings.get("reference") in WITH_A_SOURCE:
        space.pop("reference", None)
    return space


def _outcome(view: RunView, found: Mapping[str, Any]) -> None:
    title = answer(found)
    trials, lang = found["trials"], place.language()
    measured = [trial for trial in trials if trial["held_out_nll"] is not None and trial["seconds"] is not None]
    seconds, nll = _("Duration, seconds"), _("−log p of validation rows, nat (lower is better)")
    names = (
        _("Best"),
        _("Not beaten in likelihood, log-partition and time at once"),
        _("Beaten by another trial"),
    )
    groups: list[list[Mapping[str, Any]]] = [[], [], []]
    for trial in measured:
        groups[0 if trial["number"] == found["best"] else 1 if trial["number"] in found["pareto"] else 2].append(trial)
    figure(
        trade_off(
            [
                TrialPoints(
                    name,
                    [trial["number"] for trial in group],
                    [trial["seconds"] for trial in group],
                    [trial["held_out_nll"] for trial in group],
                    [_settings(trial) for trial in group],
                )
                for name, group in zip(names, groups, strict=True)
            ],
            title=title,
            seconds=seconds,
            nll=nll,
        ),
        _table(trials, seconds, nll),
        key="trials",
        alt=title,
    )
    why = next((trial["message"] for trial in trials if trial["message"] is not None), None)
    if why is not None:
        failed = count(sum(trial["state"] == State.FAILED.value for trial in trials), lang)
        st.caption(
            _("{count} trials failed; the first said: {why}").format(
                count=failed, why=escape(sentence(Message.from_json(why)))
            )
        )
    best = next((trial for trial in trials if trial["number"] == found["best"]), None)
    if best is None or best["number"] == 1:
        return
    _side_by_side(next(trial for trial in trials if trial["number"] == 1), best)
    st.caption(
        _(
            "The best of many trials looks better than it is, as it was picked for that. The held-out rows took no "
            "part: the comparison shows what is left on them."
        )
    )
    compare, open_best = st.columns(2)
    if compare.button(
        _("Compare it with this run"),
        key="sweep_compare",
        type="primary",
        icon=":material/balance:",
        width="stretch",
    ):
        _go("views/runs.py", best["run"], runs=f"{view.id},{best['run']}")
    if open_best.button(_("Open the best trial"), key="sweep_open", icon=":material/open_in_new:", width="stretch"):
        _go("views/partition.py", best["run"], run=best["run"])


def _go(page: str, trial: str, **there: str) -> None:
    try:
        run_of(trial)
    except UserError as error:
        problem(error, title=_("This run is not here"))
        return
    place.put(**there)
    st.switch_page(page)


def _settings(trial: Mapping[str, Any]) -> str:
    """Return what a trial tried, in words."""
    if not trial["choice"]:
        return _("The settings of this run")
    return " · ".join(_value(value) for value in trial["choice"].values())


def _value(value: str | int) -> str:
    if isinstance(value, int):
        return _("{count} draws").format(count=count(value, place.language()))
    return _(WORDS[value]) if value in WORDS else value


def _table(trials: Sequence[Mapping[str, Any]], seconds: str, nll: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            _("Trial"): [trial["number"] for trial in trials],
            _("State"): [_state(trial["state"]) for trial in trials],
            _("Settings"): [_settings(trial) for trial in trials],
            nll: [trial["held_out_nll"] for trial in trials],
            _("Error of the log-partition, nat"): [trial["log_partition_error"] for trial in trials],
            seconds: [trial["seconds"] for trial in trials],
            _("Epochs"): [trial["epochs"] for trial in trials],
        }
    ).round(4)


def _side_by_side(first: Mapping[str, Any], best: Mapping[str, Any]) -> None:
    """Draw what the best trial gains and what it pays for that: a log-partition may be worse."""
    lang = place.language()
    number = _("Trial {number}").format(number=best["number"])
    rows = {
        _("−log p, nat"): [decimal(trial["held_out_nll"], lang, 3) for trial in (first, best)],
        _("Error of the log-partition, nat"): [
            decimal(trial["log_partition_error"], lang, 3) for trial in (first, best)
        ],
        _("Duration"): [duration(trial["seconds"], lang) for trial in (first, best)],
        _("Settings"): ["–", escape(_settings(best))],
    }
    names = [_("The settings of this run"), number]
    st.table(pd.DataFrame.from_dict(rows, orient="index", columns=names).rename_axis(_("Validation rows")))


def _state(name: str) -> str:
    return _(STOPPED_EARLY) if name == PRUNED else state_word(State(name))
