"""Two or more generators side by side on the open data: what they cover, how readily they draw the past, what training
with them would be worth, and how the runs that used them came out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import streamlit as st

from app.charts import compared
from app.components import place
from app.components.figure import figure
from app.components.generator_service import Scene, trial_of
from app.components.generator_versions import REFERENCES, runs_of, train_with
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.problem import problem
from app.components.run_list import run_title
from app.components.storage import evaluation_of, runs_here
from app.components.verdict import Verdict, verdict_badge
from app.generator_numbers import Paired, mean_over, order_of, paired
from app.text.numbers import MISSING, Interval, about, decimal, percent, share_of, whole, with_interval
from jebm_core.errors import UserError
from jebm_core.runs.records import GeneratorVersion, RunView, State

if TYPE_CHECKING:
    from jebm_core.evaluation.generators import GeneratorTrial

MOST: Final = 4
NO_RULES: Final = ""


@dataclass(frozen=True, eq=False)
class Contender:
    """A generator that was tried, by its name on the page."""

    name: str
    version: GeneratorVersion | None
    trial: "GeneratorTrial"


def compare_panel(versions: Sequence[GeneratorVersion], scene: Scene, opened: GeneratorVersion | None) -> None:
    """Draw the choice of generators and, once asked for, how they compare."""
    st.subheader(_("Compare generators"), anchor=False)
    known = {version.id: version for version in versions}
    names = {NO_RULES: _("No rules"), **{version.id: version.title for version in versions}}
    first = opened.id if opened and opened.id in known else next(iter(known))
    # The version before, if there is one: that is the edit whose worth is asked for.
    rival = next(
        (one.id for one in versions if one.name == known[first].name and one.version < known[first].version), NO_RULES
    )
    with st.container(border=True, key="compare_panel"):
        pick, go = st.columns([4, 1.3], vertical_alignment="bottom")
        with pick:
            chosen = st.multiselect(
                _("Generators, two to four"),
                list(names),
                default=[first, rival],
                format_func=names.__getitem__,
                max_selections=MOST,
                key=f"compare_{first}_{rival}",
                help=_("Each is tried with a short fit of about six seconds on the same rows; four fifths are fitted."),
            )
        asked = go.button(
            _("Compare"), key="compare", icon=":material/balance:", width="stretch", disabled=len(chosen) < 2
        )
        if asked:
            st.session_state["compared"] = (scene.key, tuple(chosen))
        if st.session_state.get("compared") != (scene.key, tuple(chosen)) or len(chosen) < 2:
            st.caption(
                _("Compared are coverage, held-out log q, effective sample size and the outcome of a short fit.")
            )
            return
        contenders = _tried([(names[one], known.get(one)) for one in chosen], scene)
    if len(contenders) < 2:
        return
    _verdict(contenders)
    _gaps(contenders)
    _table(contenders)
    _runs(contenders)


def _tried(chosen: Sequence[tuple[str, GeneratorVersion | None]], scene: Scene) -> list[Contender]:
    """Try each generator; one that can't be tried is named with its reason."""
    contenders, bar = [], st.empty()
    for number, (name, version) in enumerate(chosen):
        words = _("Trying {name}, {number} of {total} …").format(
            name=escape(name), number=number + 1, total=len(chosen)
        )
        bar.progress(number / len(chosen), text=words)
        found = trial_of(version, scene)
        if isinstance(found, UserError):
            problem(found, title=_("{name} can't be tried").format(name=escape(name)))
        else:
            contenders.append(Contender(name, version, found))
    bar.empty()
    return contenders


def ranked(contenders: Sequence[Contender]) -> list[Contender]:
    """Return the contenders from the best: by coverage, then by mean log q on the rows that all can draw."""
    everybody = np.logical_and.reduce([one.trial.possible for one in contenders])
    means = [mean_over(one.trial.log_q, everybody) for one in contenders]
    return [contenders[i] for i in order_of([one.trial.coverage for one in contenders], means)]


def judged(contenders: Sequence[Contender]) -> tuple[Verdict, str, Contender | None]:
    """Return the verdict on a comparison, its sentence, and the generator to train with, if one is better."""
    lang = place.language()
    ordered = ranked(contenders)
    best, second = ordered[0], ordered[1]
    found = paired(best.trial.log_q, second.trial.log_q)
    names = {"best": best.name, "second": second.name}
    covers = {"first": percent(best.trial.coverage, lang), "other": percent(second.trial.coverage, lang)}
    wider = round(best.trial.coverage - second.trial.coverage, 4) > 0
    if found.gain is None:
        words = _("Too few held-out rows ({rows}) can be drawn by both {best} and {second} to compare them.")
        return Verdict.PENDING, words.format(rows=found.rows, **names), None
    gain = with_interval(found.gain, _("nat"), lang)
    if found.gain.low > 0:
        words = _(
            "{best} is better: it gives held-out rows {gain} more log q than {second} and covers {first} of them."
        )
        return Verdict.TRUSTED, words.format(gain=gain, first=covers["first"], **names), best
    if wider and found.gain.high < 0:
        words = _(
            "Neither is better in all: {second} gives the rows it covers {gain} more log q than {best}, but covers "
            "{other} of the past rows instead of {first}."
        )
        turned = Interval(-found.gain.value, -found.gain.high, -found.gain.low)
        return Verdict.CAUTION, words.format(gain=with_interval(turned, _("nat"), lang), **covers, **names), None
    if wider:
        words = _(
            "{best} is better: it covers {first} of the past rows, {second} only {other}, and log q shows no clear "
            "difference ({gain})."
        )
        return Verdict.TRUSTED, words.format(gain=gain, **covers, **names), best
    words = _("There is no clear difference between {best} and {second}: {gain} in log q a held-out row.")
    return Verdict.CAUTION, words.format(gain=gain, **names), None


def _verdict(contenders: Sequence[Contender]) -> None:
    verdict, words, best = judged(contenders)
    ordered = ranked(contenders)
    with st.container(border=True, key="comparison"):
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            verdict_badge(verdict)
            st.markdown(f"**{escape(words)}**")
        saved = next((one.version for one in (best, *ordered) if one and one.version), None)
        if saved is not None and right.button(
            _("Train with {name}").format(name=saved.title),
            type="primary",
            key="train_with_best",
            icon=":material/model_training:",
            width="stretch",
        ):
            train_with(saved)


def _gaps(contenders: Sequence[Contender]) -> None:
    """Draw how much each generator gains on the one with the lowest log q, row by row."""
    lang = place.language()
    everybody = np.logical_and.reduce([one.trial.possible for one in contenders])
    ordered = sorted(contenders, key=lambda one: -(mean_over(one.trial.log_q, everybody) or 0.0))
    base = ordered[-1]
    found: list[tuple[str, Paired]] = [(one.name, paired(one.trial.log_q, base.trial.log_q)) for one in ordered[:-1]]
    known = [(name, pair.gain, pair.rows) for name, pair in found if pair.gain is not None]
    if not known:
        return
    name, gain, _rows = known[0]
    axis = _("Gain in log q on {name}, nat per held-out row that both can draw").format(name=base.name)
    title = _("{name} gains {gain} on {other}").format(
        name=name, gain=with_interval(gain, _("nat"), lang), other=base.name
    )
    values = [[getattr(gain, part) for _name, gain, _n in known] for part in ("value", "low", "high")]
    frame = pd.DataFrame(
        {
            _("Generator"): [one[0] for one in known],
            axis: values[0],
            _("Lower bound"): values[1],
            _("Upper bound"): values[2],
            _("Rows"): [one[2] for one in known],
        }
    )
    figure(compared([one[0] for one in known], *values, title=title, axis=axis), frame.round(4), key="gaps", alt=title)


def _table(contenders: Sequence[Contender]) -> None:
    lang = place.language()
    everybody = np.logical_and.reduce([one.trial.possible for one in contenders])
    columns: dict[str, list[str]] = {}
    for one in contenders:
        trial = one.trial
        loss = mean_over(-trial.log_p, everybody)
        columns[one.name] = [
            _("Chosen from the data") if one.version is None else _(REFERENCES[one.version.reference]),
            whole(trial.count, lang) if trial.exact else about(trial.count, lang),
            share_of(trial.count, trial.everything, lang),
            percent(trial.coverage, lang),
            decimal(mean_over(trial.log_q, everybody), lang),
            decimal(loss, lang),
            percent(trial.effective_share, lang),
            decimal(float(np.median(trial.chi2)), lang),
        ]
    rows = [
        _("Reference distribution"),
        _("Valid combinations"),
        _("Share of all combinations"),
        _("Past rows covered"),
        _("Mean log q, nat (rows all can draw)"),
        _("Pilot fit: mean −log p, nat (the same rows)"),
        _("Effective sample size, of the draws"),
        _("χ²(p‖q), median"),
    ]
    st.table(pd.DataFrame({_("Measure"): rows, **columns}).set_index(_("Measure")))
    st.caption(
        _(
            "Higher log q, lower −log p, more effective draws and a smaller χ² are better. log q is compared on the "
            "{rows} held-out rows that all of them can draw."
        ).format(rows=int(everybody.sum()))
    )


def _runs(contenders: Sequence[Contender]) -> None:
    """Draw how finished runs that used these generators came out."""
    runs = [run for run in runs_here() if run.state is State.SUCCEEDED]
    lines = [
        line
        for one in contenders
        if one.version is not None
        for run in runs_of(one.version, runs)[:3]
        if (line := _run_line(one.name, run)) is not None
    ]
    st.markdown(_("**Finished runs that used them**"))
    if not lines:
        st.caption(_("None yet. A run shows the likelihood, the log-partition error and the calibration it led to."))
        return
    st.dataframe(pd.DataFrame(lines), hide_index=True, key="comparison_runs")


def _run_line(name: str, run: RunView) -> dict[str, str] | None:
    lang = place.language()
    try:
        evaluation = evaluation_of(run.id)
    except UserError as error:
        return {_("Generator"): name, _("Run"): run_title(run), _("Held-out −log p, nat"): sentence(error)}
    part: Mapping[str, Any] = evaluation.get("held_out") or evaluation.get("train") or {}
    partition, unseen = part.get("log_partition") or {}, part.get("unseen") or {}
    reliability = unseen.get("reliability") or {}
    exact = _("exact") if partition.get("exact") else ""
    said, seen = ((unseen.get(key) or {}).get("value") for key in ("model", "observed"))
    return {
        _("Generator"): name,
        _("Run"): run_title(run),
        _("Held-out −log p, nat"): decimal(part.get("nll"), lang),
        _("Log-partition error, nat"): f"{decimal(partition.get('mae'), lang, 3)} {exact}".strip(),
        _("Unseen: stated → observed"): f"{percent(said, lang, 0)} → {percent(seen, lang, 0)}",
        _("Calibration error of unseen"): percent(reliability.get("ece"), lang) if reliability else MISSING,
    }
