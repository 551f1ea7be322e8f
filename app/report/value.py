"""Sections on what to do: which untried combinations, which decisions, and what the ranking would have saved."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from app.charts import Ladder, compared, probability_ladder
from app.charts.decisions import coverage_risk
from app.components.language import _, sentence
from app.components.result import Result
from app.components.verdict import Verdict, verdict_word
from app.report.facts import Facts
from app.report.model import Cell, Column, Figure, Number, Quantity, Section, Statement, Table
from app.report.numbers import counted, money, plain, ranged, say, share, share_ranged, told
from app.report.svg import text_width
from app.text import marked
from jebm_core.errors import UserError
from jebm_core.report import Verdict as Code
from jebm_core.report import answer_decisions, answer_unseen, decision_rows, event_rows, judged_part
from jebm_core.runs.records import Message

GATES = {"go": marked("Go"), "widen": marked("Widen"), "stop": marked("Stop")}
CRITERIA = {
    "trusted": marked("The verdict on the model is “trusted”."),
    "rows": marked("At least 50 rows were held out."),
    "successes": marked("At least 10 of them are successes."),
    "saved": marked("The whole interval of the trials saved against a random order is above zero."),
    "net": marked("Where a success has a value: the whole interval of the net worth is above zero."),
}
WAYS = {
    "with_policy": marked("This policy"),
    "value": marked("Answering every row"),
    "independent": marked("Answering every row from independent parts"),
    "not_acting": marked("Leaving every row alone"),
    "oracle": marked("Knowing the truth"),
}
_Z = 1.959963984540054
_LONGEST = 17.0
"""Widths of a kanji that a name beside a rung may have."""


def unseen_section(facts: Facts, overall: Code) -> Section:
    """Which untried combination is most likely, and how sure are we?"""
    title, result = _("Unseen combinations"), facts.result
    answer = answer_unseen(result.evaluation)
    found, word = answer.verdict, verdict_word(Verdict(answer.verdict))
    reasons = tuple(told(reason) for reason in answer.reasons)
    if overall == "do not trust":
        return Section("unseen", title, withheld(), found, word, reasons)
    if isinstance(facts.ranking, UserError):
        return Section("unseen", title, Statement(sentence(facts.ranking)), found, word, reasons)
    entries = facts.ranking["entries"]
    if not entries:
        nothing = Statement(_("No untried combination is at least as plausible as one picked at random."))
        return Section("unseen", title, nothing, found, word, reasons)
    notes = [told(Message.from_json(facts.ranking["note"])), *reasons]
    if facts.outcome:
        notes.insert(
            1, Statement(_("The highest of many estimates tend to be too high: they were picked for being high."))
        )
    finding = ladder_finding(facts, entries)
    return Section(
        "unseen", title, finding, found, word, (told(answer.sentence), *notes),
        figure=_ladder(result, entries, facts, finding.text),
        how=_(
            "Every combination that the rules allow and that never occurred is ranked, averaged over conditions of the "
            "held-out rows. The distance counts the parts that differ from the nearest combination that was tried."
        ),
    )  # fmt: skip


def withheld() -> Statement:
    """What stands in place of numbers of a model that is not to be trusted."""
    return Statement(_("Withheld: the model is not to be trusted, so no probability of it is printed."))


def ladder_finding(facts: Facts, entries: Sequence[Mapping[str, Any]]) -> Statement:
    """Return what the ranked combinations are expected to bring, with an interval."""
    n = counted(len(entries))
    if facts.outcome is None:
        total = [sum(_bounds(entry)[i] for entry in entries) for i in range(3)]
        return say(
            _("The {count} likeliest untried combinations hold {share} of the probability together"),
            count=n, share=share_ranged(total, 1, "probability"),
        )  # fmt: skip
    option = facts.result.words.pair(*facts.outcome)
    usual = usual_share(facts)
    expected = expected_successes(entries)
    if usual is None:
        return say(
            _("Of the {count} untried combinations ranked highest, {expected} are expected to end in “{option}”"),
            count=n, expected=expected, option=option,
        )  # fmt: skip
    as_many = ranged([len(entries) * one for one in usual], "", 0)
    return say(
        _(
            "Of the {count} untried combinations ranked highest, {expected} are expected to end in “{option}”; as many "
            "rows of the data had {usual}"
        ),
        count=n, expected=expected, option=option, usual=as_many,
    )  # fmt: skip


def expected_successes(entries: Sequence[Mapping[str, Any]]) -> Number:
    """Return how many successes are expected, and the central 95 % of their number.

    The number is a sum of independent events (Poisson binomial); its lower end is that under the lower bounds of the
    probabilities, its upper end that under their upper bounds, where there are any.
    """
    centre, low, high = ([_bounds(entry)[i] for entry in entries] for i in range(3))
    return ranged((sum(centre), _quantile(low, 0.025), _quantile(high, 0.975)), "", 0)


def _quantile(probabilities: Sequence[float], level: float) -> int:
    """The smallest number of successes whose cumulative probability reaches the level.

    >>> _quantile([0.5, 0.5], 0.025), _quantile([0.5, 0.5], 0.975)
    (0, 2)
    """
    mass = np.ones(1)
    for p in probabilities:
        mass = np.convolve(mass, [1.0 - p, p])
    return int(np.searchsorted(mass.cumsum(), level))


def _bounds(entry: Mapping[str, Any]) -> tuple[float, float, float]:
    p = entry["probability"]
    return p, p if entry["low"] is None else entry["low"], p if entry["high"] is None else entry["high"]


def usual_share(facts: Facts) -> tuple[float, float, float] | None:
    """Return how often the outcome was observed in the evaluated rows, with Wilson's interval."""
    if facts.outcome is None:
        return None
    name, n = "=".join(facts.outcome), judged_part(facts.result.evaluation)["n"]
    p = next((row["observed"] for row in event_rows(facts.result.evaluation) if row["event"] == name), None)
    if p is None or not n:
        return None
    centre, spread = (p + _Z**2 / (2 * n)), _Z * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))
    return p, float((centre - spread) / (1 + _Z**2 / n)), float((centre + spread) / (1 + _Z**2 / n))


def _ladder(result: Result, entries: Sequence[Mapping[str, Any]], facts: Facts, finding: str) -> Figure:
    words, outcome = result.words, facts.outcome
    skip = outcome[0] if outcome else None
    names = [words.combination(entry["y"], skip) for entry in entries]
    rungs = [f"{entry['rank']}. {_short(entry, name, result)}" for entry, name in zip(entries, names, strict=True)]
    bounds = [_bounds(entry) for entry in entries]
    axis = (
        _("Probability of “{option}”").format(option=words.pair(*outcome))
        if outcome
        else _("Probability of the combination")
    )
    odds = entries[0]["odds_random"]
    distance = [entry["distance"] for entry in entries]
    chart = probability_ladder(
        Ladder(rungs, *([bound[i] for bound in bounds] for i in range(3)), distance=distance, detail=names),
        title=finding,
        probability=axis,
        distance=_("Parts changed from the nearest tried: {distance}"),
        truth=_("True probability"),
        base_rate=None if outcome or not odds else entries[0]["probability"] / odds,
        whole=outcome is not None,
    )
    digits = 1 if outcome else 2
    columns = (
        Column(_("Rank"), "count"), Column(axis, "probability", digits),
        Column(_("Lower bound"), "probability", digits), Column(_("Upper bound"), "probability", digits),
        Column(_("Combination")), Column(_("What differs")), Column(_("Parts changed"), "count"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (entry["rank"], entry["probability"], entry["low"], entry["high"], name, words.changes(entry["changes"]),
         entry["distance"])
        for entry, name in zip(entries, names, strict=True)
    ]  # fmt: skip
    return Figure("ladder", finding, chart, Table("ladder", finding, columns, tuple(rows)))


def _short(entry: Mapping[str, Any], name: str, result: Result) -> str:
    """A name beside a rung: what is new against the nearest tried combination where the whole is too long."""
    short = name
    if text_width(name, 1.0) > _LONGEST and result.schema.kind != "rankings":
        short = result.words.changed_to(entry["changes"]) or name
    while text_width(short, 1.0) > _LONGEST:
        short = short[:-2] + "…"
    return short


def decisions_section(facts: Facts, overall: Code) -> Section:
    """What should we do, and when should a person decide?"""
    title, record = _("Decisions"), facts.decisions
    if record is None:
        words = (
            _("Values are for subsets and configurations; this run ranks items.")
            if facts.result.schema.kind == "rankings"
            else _("No row was held out of this run; a guarantee needs rows that the fit has not seen.")
        )
        return Section("decisions", title, Statement(words))
    answer = answer_decisions(record)
    found, word = answer.verdict, verdict_word(Verdict(answer.verdict))
    reasons = tuple(told(reason) for reason in answer.reasons)
    if overall == "do not trust":
        return Section("decisions", title, withheld(), found, word, reasons)
    given, curve = record["guarantee"], record["curve"]
    risk = curve["risk"] if given["kind"] == "crc" else curve["selective_risk"]
    finding = say(
        _("The model decides {share} of the rows within the accepted risk"), share=share(given["coverage"])
    ).text
    axes = (
        _("Share of rows answered"),
        _("Risk over all rows") if given["kind"] == "crc" else _("Risk among answered rows"),
    )
    chart = coverage_risk(
        curve["coverage"], risk, (given["coverage"], given["risk"]), given["alpha"],
        title=finding, axes=axes, names=(_("Held-out rows"), _("Guaranteed point"), _("Accepted risk")),
    )  # fmt: skip
    columns = (Column(_("Threshold"), "number", 4), Column(axes[0], "share", 1), Column(axes[1], "number", 4))
    table = Table(
        "coverage_risk", finding, columns, tuple(zip(curve["threshold"], curve["coverage"], risk, strict=True))
    )
    unit = record["currency"]
    worth = _("Worth per row ({unit})").format(unit=unit) if unit else _("Worth per row")
    heads = (
        Column(_("Way of deciding")),
        *(Column(name, "money", 3) for name in (worth, _("Lower bound"), _("Upper bound"))),
    )
    ways = [WAYS[row["way"]] for row in decision_rows(record)]
    rows: list[tuple[Cell, ...]] = [
        (_(way), row["value"], row["low"], row["high"]) for way, row in zip(ways, decision_rows(record), strict=True)
    ]
    notes = reasons
    if facts.choices.values is None:
        own = _("Each right part is worth 1 and each wrong part costs 1; enter your own values on the page Decisions.")
        notes = (Statement(own), *reasons)
    return Section(
        "decisions", title, told(answer.sentence), found, word, notes,
        figure=Figure("coverage_risk", finding, chart, table),
        tables=(Table("ways", _("What each way of deciding was worth"), heads, tuple(rows)),),
        how=_(
            "The answer is the combination with the highest expected value; a row is answered where its confidence "
            "exceeds "
            "a threshold that is chosen on the held-out rows so that the stated risk is controlled (conformal risk "
            "control)."
        ),
    )  # fmt: skip


def returns_section(facts: Facts, overall: Code) -> Section:
    """What would the ranking have saved, and is it worth going on?"""
    title, record = _("Return on the PoC"), facts.returns
    if record is None:
        words = (
            _("A return is computed where a success is defined: a slot, such as “result”, whose option says that a "
              "trial "
              "worked, and rows that were held out. This run has none.")
        )  # fmt: skip
        return Section("returns", title, Statement(words))
    if isinstance(record, UserError):
        return Section("returns", title, Statement(sentence(record)))
    if overall == "do not trust":
        gate = "stop"
        word = GATES[gate]
        words = Statement(
            _("Stage gate: stop. The model is not to be trusted; mend what its verdict names, then look again.")
        )
        return Section("returns", title, words, gate, _(word), (withheld(),))
    gate, unit = record["gate"], record["currency"]
    trials, saved = record["trials"], record["saved"]
    answer = say(
        _(
            "Stage gate: {gate}. To find {target} of the {successes} successes among {rows} held-out rows, the "
            "model's order "
            "needs {model} trials, a random order {random}: {saved} fewer."
        ),
        gate=_(GATES[gate]), target=counted(record["target"]), successes=counted(record["successes"]),
        rows=counted(record["n"]), model=ranged(trials["model"], digits=1), random=plain(trials["random"][0], 1),
        saved=ranged(saved["random"], digits=1),
    )  # fmt: skip
    costs = record["saved_money"]
    quantities = [
        Quantity(_("Cost of a trial with its review"), plain(record["unit"], 2, unit)),
        Quantity(_("Saved against a random order"), money(costs["random"], unit)),
        Quantity(_("Saved against an order by frequency"), money(costs["frequency"], unit)),
    ]  # fmt: skip
    if record["success"] > 0:
        quantities.append(Quantity(_("Net worth of the successes found"), money(record["net"], unit)))
    missing = [CRITERIA[name] for name in record["unmet"]]
    notes = [say(_("Not met: {criterion}"), criterion=_(one)) for one in missing]
    every = list(CRITERIA.values())
    notes.append(say(_("Go needs all of these: {criteria}"), criteria=" ".join(_(one) for one in every)))
    notes.append(
        Statement(
            _("Stop: the model is not to be trusted or, with enough rows, nothing is saved or earned in the whole "
              "interval. "
              "Widen: anything else; try more before deciding.")
        )
    )  # fmt: skip
    if record["success"] <= 0:
        notes.append(Statement(_("No value of a success was given, so the net worth is left out of the gate.")))
    return Section(
        "returns", title, answer, gate, _(GATES[gate]), tuple(notes), tuple(quantities), _trials_figure(record),
        how=_(
            "Held-out rows are tried in the order of the probability of success given the other parts, ties in "
            "random order, "
            "until half of the successes are found. Random: k (n + 1) / (S + 1) trials. Frequency: the smoothed "
            "share of "
            "successes of the same combination in training. Intervals are 95 %, by a bootstrap over rows."
        ),
    )  # fmt: skip


def _trials_figure(record: Mapping[str, Any]) -> Figure:
    names = {"model": _("This model's order"), "frequency": _("Order by frequency"), "random": _("Random order")}
    trials = record["trials"]
    finding = say(
        _("The model's order finds {target} successes in {model} trials; a random order needs {random}"),
        target=counted(record["target"]), model=plain(trials["model"][0], 1), random=plain(trials["random"][0], 1),
    ).text  # fmt: skip
    columns = [[trials[name][i] for name in names] for i in range(3)]
    axis = _("Trials until enough successes")
    chart = compared(list(names.values()), *columns, title=finding, axis=axis)
    chart.update_xaxes(rangemode="tozero")
    within = _("Successes in the first {budget} trials").format(budget=record["budget"])
    names_of = (axis, _("Lower bound"), _("Upper bound"), within)
    heads = (Column(_("Order")), *(Column(name, "number", 1) for name in names_of))
    rows = tuple((names[name], *trials[name], record["found"][name][0]) for name in names)
    return Figure("trials", finding, chart, Table("trials", finding, heads, rows))
