"""Runs side by side: which is better, by how much, whether that is real, and what was done differently."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from app.charts.comparison import GainSeries, gains
from app.components import place
from app.components.answer import answer_line
from app.components.compare_service import Comparison, compared
from app.components.empty import explain
from app.components.figure import figure
from app.components.generator_names import generator_title
from app.components.language import _, sentence
from app.components.plain import escape
from app.components.result import Result
from app.components.run_differences import differences
from app.components.run_list import run_title
from app.components.storage import open_run_from_list
from app.components.verdict import Verdict, verdict_badge
from app.text import marked
from app.text.numbers import Interval, count, decimal, moment, with_interval
from jebm_core.report import verdict

if TYPE_CHECKING:
    from jebm_core.evaluation.paired import Gain

LETTERS: Final = "ABCD"
MEASURES: Final[Mapping[str, str]] = {
    "nll": marked("Held-out −log p"),
    "log_partition": marked("Log-partition error"),
    "ece_marginal": marked("Calibration error, single events"),
    "ece_joint": marked("Calibration error, likeliest combination"),
    "brier": marked("Brier score"),
    "f1": marked("F1"),
    "kendall_tau": marked("Kendall’s τ"),
    "hamming_loss": marked("Share of parts wrong"),
    "right": marked("Whole combination right"),
    "reference": marked("−log q of the candidate generator"),
}
_NATS: Final = ("nll", "log_partition", "reference")
_POINTS: Final = ("ece_marginal", "ece_joint", "hamming_loss", "right")
_IN_THE_CHART: Final = ("nll", "log_partition", "ece_marginal", "f1", "kendall_tau", "hamming_loss")


def side_by_side(results: Sequence[Result]) -> None:
    """Draw the answer, the gains, the numbers, the differences, and how they are computed."""
    with st.spinner(_("Comparing row by row …")):
        found = compared(results)
    letters = list(LETTERS[: len(results)])
    _answer(results, found)
    _who(results, letters)
    if found.how != "none":
        _chart(found, letters)
        _numbers(found, letters)
    differences(results, letters)
    if found.how == "paired":
        explain(
            r"\bar g = \frac{1}{n} \sum_{i=1}^{n} \big(s^{A}_i - s^{B}_i\big), \qquad "
            r"\bar g^{*} = \frac{1}{n} \sum_{i=1}^{n} c_i \big(s^{A}_i - s^{B}_i\big), \quad "
            r"c \sim \mathrm{Multinomial}\big(n, \tfrac1n\big)",
            _(
                "Each run gives every held-out row a score. The gain is the mean difference on the same rows; its "
                "interval comes from drawing the rows again 2,000 times with seed 0, both runs on the same draw. "
                "What makes a row hard for both cancels out. Calibration errors are computed anew from each draw. "
                "With more than two runs the intervals hold for all pairs together."
            ),
            _("Efron and Tibshirani, An Introduction to the Bootstrap, 1993; Bonferroni for several pairs."),
        )
    elif found.how == "unpaired":
        explain(
            r"\hat d \mp \sqrt{(\hat a - l_a)^2 + (u_b - \hat b)^2}",
            _(
                "The two intervals were computed apart, each on its own rows. The limits of the difference put the "
                "distances of their ends together as if the rows were independent."
            ),
            _("Zou and Donner, Statistics in Medicine 2008."),
        )


def judged(results: Sequence[Result], found: Comparison) -> tuple[Verdict, str]:
    """Return the verdict on a comparison, and its sentence."""
    lang = place.language()
    if found.how == "none":
        return Verdict.PENDING, _("These runs can’t be held against one another.")
    lead, order = found.lead, found.order
    if lead is None:
        return Verdict.PENDING, _("−log p is not known of all these runs, so none can be called better.")
    best, second = LETTERS[order[0]], LETTERS[order[1]]
    gain = with_interval(Interval(lead.gain, lead.low, lead.high), _("nat"), lang)
    names = {"best": best, "second": second, "gain": gain}
    if not lead.is_clear:
        words = _("No clear difference between {best} and {second}: {gain} per held-out row.")
        return Verdict.CAUTION, words.format(**names)
    if len(results) > 2:
        words = _("{best} is the best: better than {second}, the next, by {gain} per held-out row.")
    else:
        words = _("{best} is better than {second} by {gain} per held-out row.")
    trusted = found.how == "paired" and not _distrusted(results)
    return Verdict.TRUSTED if trusted else Verdict.CAUTION, words.format(**names)


def _distrusted(results: Sequence[Result]) -> list[str]:
    found = [verdict(result.evaluation)[0] for result in results]
    return [letter for letter, one in zip(LETTERS, found, strict=False) if one == "do not trust"]


def _answer(results: Sequence[Result], found: Comparison) -> None:
    lang = place.language()
    judgement, words = judged(results, found)
    reasons = [] if found.why is None else [sentence(found.why)]
    for letter in _distrusted(results) if found.how != "none" else []:
        reasons.append(_("{letter} by itself is not to be trusted; its pages say why.").format(letter=letter))
    if found.how == "paired":
        said = _("Paired on {rows} held-out rows that none of them was fitted to.")
        reasons.append(said.format(rows=count(found.rows, lang)))
        for letter, left in zip(LETTERS, found.left_out, strict=False):
            if left:
                said = _("{letter} has {rows} held-out rows besides, which another run lacks or calls impossible.")
                reasons.append(said.format(letter=letter, rows=count(left, lang)))
    generators = _generators(results, found)
    answer_line(judgement, words, [*reasons, *([generators] if generators else [])])


def _generators(results: Sequence[Result], found: Comparison) -> str:
    """How the generators of the first two runs compare by themselves, where they are two."""
    specs = [result.view.spec for result in results]
    differ = len({(spec.rules, str(spec.settings.get("reference", "auto")), spec.source) for spec in specs}) > 1
    gain = found.gains.get((1, 0), {}).get("reference")
    if not differ or gain is None or len(results) != 2:
        return ""
    said = with_interval(Interval(gain.gain, gain.low, gain.high), _("nat"), place.language())
    if not gain.is_clear:
        return _("Their candidate generators alone: no clear difference, {gain} in log q.").format(gain=said)
    if gain.gain > 0:
        return _("Their candidate generators alone: B gives held-out rows {gain} more log q.").format(gain=said)
    turned = Interval(-gain.gain, -gain.high, -gain.low)
    said = with_interval(turned, _("nat"), place.language())
    return _("Their candidate generators alone: A gives held-out rows {gain} more log q.").format(gain=said)


def _who(results: Sequence[Result], letters: Sequence[str]) -> None:
    """Draw which run each letter stands for, as equal cards."""
    with st.grid(columns=len(results), min_column_width=200, border=True, key="compared"):
        for letter, result in zip(letters, results, strict=True):
            with st.container(gap="xsmall"):
                st.markdown(f"**{letter}** · {escape(run_title(result.view))}")
                verdict_badge(Verdict(verdict(result.evaluation)[0]))
                title = generator_title(result.view.spec)
                named = _("Generator: {name}").format(name=escape(title)) if title else _("No rules")
                st.caption(f"{moment(result.view.finished or result.view.created, place.language())} · {named}")
                if st.button(_("Open"), key=f"open_{letter}", icon=":material/open_in_new:"):
                    open_run_from_list(result.view)


def unit(name: str) -> str:
    """Return the unit of a measure; empty for plain numbers."""
    return _("nat") if name in _NATS else _("points") if name in _POINTS else ""


def _scaled(name: str, value: float) -> float:
    return 100 * value if name in _POINTS else value


def _digits(name: str, *values: float | None) -> int:
    """Return decimals enough that small numbers of one line don't all read as zero."""
    usual = 1 if name in _POINTS else 2 if name in _NATS else 3
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return usual if largest == 0 or largest >= 2 * 10.0**-usual else usual + 2


def _label(name: str) -> str:
    measure = unit(name)
    return _("{name} ({unit})").format(name=_(MEASURES[name]), unit=measure) if measure else _(MEASURES[name])


def _chart(found: Comparison, letters: Sequence[str]) -> None:
    """Draw what each run gains on the first one, the measures that matter most; the table has them all."""
    rivals = range(1, len(letters))
    shown = [name for name in _IN_THE_CHART if name in found.scores]
    if not shown:
        st.caption(_("No measure is known of all these runs."))
        return
    series = []
    for name in shown:
        ends = [found.gains[i, 0][name] for i in rivals]
        triples = [[_scaled(name, getattr(one, part)) for one in ends] for part in ("gain", "low", "high")]
        series.append(GainSeries(_label(name), *triples))
    clear = sum(found.gains[i, 0][name].is_clear for i in rivals for name in shown)
    total = len(shown) * len(rivals)
    if len(letters) == 2:
        title = _("{clear} of {total} measures tell B from A beyond chance").format(clear=clear, total=total)
    else:
        title = _("{clear} of {total} differences from A are beyond chance").format(clear=clear, total=total)
    axis = _("Gain on A: right of the line is better")
    names = [letters[i] for i in rivals]
    figure(gains(names, series, title=title, axis=axis), _table(found, letters), key="gains", alt=title)


def _table(found: Comparison, letters: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name in found.scores:
        for place_of in range(1, len(letters)):
            one = found.gains[place_of, 0][name]
            rows.append(
                {
                    _("Measure"): _label(name),
                    _("Run"): letters[place_of],
                    _("Score"): _scaled(name, one.second),
                    _("Score of A"): _scaled(name, one.first),
                    _("Gain on A"): _scaled(name, one.gain),
                    _("Lower bound"): _scaled(name, one.low),
                    _("Upper bound"): _scaled(name, one.high),
                    _("Rows"): one.rows,
                }
            )
    return pd.DataFrame(rows).round(4)


def _numbers(found: Comparison, letters: Sequence[str]) -> None:
    """Draw every score side by side, with the gain on the first run."""
    lang = place.language()
    st.subheader(_("The numbers side by side"), anchor=False)
    heading = _("Measure")
    lines = []
    for name, scores in found.scores.items():
        line = {heading: _label(name)}
        known = [_scaled(name, value) for value in scores.values if value is not None]
        for letter, value in zip(letters, scores.values, strict=True):
            line[letter] = decimal(None if value is None else _scaled(name, value), lang, _digits(name, *known))
        for place_of in range(1, len(letters)):
            line[_("{letter} against A").format(letter=letters[place_of])] = _gain_words(
                name, found.gains[place_of, 0][name]
            )
        lines.append(line)
    st.table(pd.DataFrame(lines).set_index(heading))
    st.caption(
        _(
            "Gains with 95 % intervals: positive is better, whichever way a score counts. Lower is better for −log p, "
            "errors, the Brier score and −log q; higher for F1, Kendall’s τ and whole combinations right."
        )
    )


def _gain_words(name: str, gain: "Gain") -> str:
    lang = place.language()
    ends = [_scaled(name, end) for end in (gain.gain, gain.low, gain.high)]
    digits = _digits(name, *ends)
    value, low, high = (decimal(end, lang, digits) for end in ends)
    words = (
        _("better by {value} ({low} to {high})")
        if gain.low > 0
        else _("{value} ({low} to {high}): no clear difference")
    )
    if gain.high < 0:
        words = _("worse by {value} ({low} to {high})")
        value, low, high = (decimal(-end, lang, digits) for end in (ends[0], ends[2], ends[1]))
    return words.format(value=value, low=low, high=high)


__all__ = ["LETTERS", "MEASURES", "judged", "side_by_side", "unit"]
