"""What is said in a meeting, what comes next, what could be wrong: from the run's own numbers, as far as trusted."""

import math

from app.components.language import _
from app.components.more_rows import answer as rows_answer
from app.data_summary import Concern
from app.report.evidence import mean_error
from app.report.facts import Facts
from app.report.model import Section, Statement, Step
from app.report.numbers import counted, plain, ranged, say, share, share_ranged, span
from app.report.value import ladder_finding
from jebm_core.errors import UserError
from jebm_core.report import FEW_ROWS, answer_calibration, judged_part
from jebm_core.report import Verdict as Code

_Z = 1.959963984540054


def meeting(
    facts: Facts, overall: Code, reasons: tuple[Statement, ...], limits: tuple[Statement, ...]
) -> list[Statement]:
    """Return the sentences for the meeting, each with its interval and caveat; the limits come last."""
    found: list[Statement] = []
    if overall == "do not trust":
        found.append(Statement(_("The model must not be used for decisions yet, so no probability is reported.")))
        found += reasons
        return [*found, *limits]
    if overall == "caution":
        found.append(Statement(_("The numbers are to be used with caution; the reasons are at the end.")))
    ranking = facts.ranking
    if not isinstance(ranking, UserError) and ranking["entries"]:
        finding = ladder_finding(facts, ranking["entries"])
        caveat = (
            _("The highest of many estimates tend to be too high.")
            if facts.outcome
            else _("The interval does not hold the error of the score itself.")
        )
        found.append(say(_("{finding}. {caveat}"), finding=finding.text, caveat=caveat, **finding.numbers))
    returns = facts.returns
    if isinstance(returns, dict):
        found.append(
            say(
                _(
                    "On {rows} held-out cases the model's order found {target} successes in {model} trials; a random "
                    "order "
                    "needs {random}."
                ),
                rows=counted(returns["n"]), target=counted(returns["target"]),
                model=ranged(returns["trials"]["model"], digits=0), random=plain(returns["trials"]["random"][0], 0),
            )
        )  # fmt: skip
    found += [*_of_normalisation(facts), *_of_calibration(facts), *_of_a_person(facts)]
    if facts.curve is not None:
        found.append(say(_("{finding}."), finding=rows_answer(facts.curve)))
    return [*found, *reasons, *limits]


def _of_normalisation(facts: Facts) -> list[Statement]:
    error, audit = mean_error(facts), judged_part(facts.result.evaluation)["log_partition"]
    if error is None or audit is None:
        return []
    if error[2] < 1e-4 and audit["exact"]:
        return [
            Statement(
                _("The probabilities are audited: the normalisation is exact to the precision of the computation.")
            )
        ]
    unseen = facts.result.has_held_out
    words = (
        _(
            "The probabilities are audited: on {n} cases kept out of training the normalisation is off by {error} on "
            "average."
        )
        if unseen
        else _("The probabilities are audited: on {n} training cases the normalisation is off by {error} on average.")
    )
    return [say(words, n=counted(audit["n"]), error=ranged(error, _("nat"), 3, "nat"))]


def _of_calibration(facts: Facts) -> list[Statement]:
    if answer_calibration(facts.result.evaluation).flagged:
        return []
    e = judged_part(facts.result.evaluation)
    error = share_ranged((e["ece_marginal"], *e["intervals"]["ece_marginal"]), 1)
    return [
        say(
            _("Stated probabilities of single events differ from what happened by {error} on average, on {n} rows."),
            error=error, n=counted(e["n"]),
        )
    ]  # fmt: skip


def _of_a_person(facts: Facts) -> list[Statement]:
    record = facts.decisions
    if record is None:
        return []
    given = record["guarantee"]
    left, n = 1.0 - given["coverage"], given["n"]
    if given["coverage"] == 0.0:
        return [
            say(
                _("At a risk of {alpha} a person decides every case: no threshold keeps the risk that low on {n} "
                  "rows."),
                alpha=share(given["alpha"]), n=counted(n),
            )
        ]  # fmt: skip
    spread = _Z * math.sqrt(left * (1 - left) / n + _Z**2 / (4 * n * n))
    centre = left + _Z**2 / (2 * n)
    bounds = (left, (centre - spread) / (1 + _Z**2 / n), (centre + spread) / (1 + _Z**2 / n))
    return [
        say(
            _("For {share} of the cases the model should not decide at a risk of {alpha}; they go to a person."),
            share=share_ranged(bounds), alpha=share(given["alpha"]),
        )
    ]  # fmt: skip


def limits_of(facts: Facts) -> list[Statement]:
    """Return what could be wrong, the same on every page: generator, drift, rows, cohorts, the score itself."""
    e = judged_part(facts.result.evaluation)
    found = []
    if not facts.result.has_held_out:
        found.append(Statement(_("No row was kept out of training, so these numbers flatter the model.")))
    if facts.reading is None:
        found.append(
            Statement(_("No rules were given: a combination that can't be built may be ranked high all the same."))
        )
    elif not isinstance(facts.reading, UserError) and facts.reading.check is not None and facts.reading.check.broken:
        found.append(
            say(
                _("The rules call {broken} of {rows} past rows impossible; what the rules forbid is never proposed."),
                broken=counted(len(facts.reading.check.broken)), rows=counted(facts.reading.check.rows),
            )
        )  # fmt: skip
    else:
        found.append(
            Statement(
                _("The rules decide what is possible: a combination that they forbid by mistake is never proposed.")
            )
        )
    found.append(
        say(
            _("All of it holds for cases like the {n} rows that it was judged on; where conditions drift, judge it "
              "again."),
            n=counted(e["n"]),
        )
    )  # fmt: skip
    found.append(
        Statement(_("Calibration was judged over all rows together; a group of rows may be calibrated worse."))
    )
    found.append(
        Statement(
            _("Intervals hold the choice of rows and the normalisation; the error of the score far from what was "
              "tried is "
              "not in them.")
        )
    )  # fmt: skip
    return found


def steps_of(facts: Facts, overall: Code, sections: tuple[Section, ...]) -> list[Step]:
    """Return the next steps of the PoC with what each takes, the first one first."""
    found: list[Step] = []
    by_key = {section.key: section for section in sections}
    again = facts.result.view.elapsed or 0.0
    partition, calibration = by_key["partition"].verdict, by_key["calibration"].verdict
    if partition == "do not trust":
        found.append(
            Step(
                Statement(_("Train again with a stronger proposal or more draws")),
                Statement(_("The normalisation is not to be trusted, and every probability rests on it.")),
                say(_("About {time} of computing, four times this run; no work by hand."), time=span(4 * again)),
            )
        )
    elif calibration != "trusted":
        found.append(
            Step(
                Statement(_("Recalibrate, then look at groups of rows on the page Calibration")),
                Statement(
                    _("Stated and observed shares differ by more than chance explains, or too few rows were judged.")
                ),
                say(_("About {time} of computing and an hour of an analyst."), time=span(max(again / 4, 60.0))),
            )
        )
    n = judged_part(facts.result.evaluation)["n"]
    few = {Concern.FEW_ROWS, Concern.FAR_TOO_FEW_ROWS} & set(facts.data.concerns)
    if n < FEW_ROWS or few or overall == "do not trust":
        found.append(_more_rows(facts))
    if overall != "do not trust" and not isinstance(facts.ranking, UserError) and facts.ranking["entries"]:
        found.append(_trials(facts))
    if facts.curve is None:
        found.append(
            Step(
                Statement(_("Find out whether more rows would help (page Train)")),
                Statement(_("It says how many rows would halve the error of a probability.")),
                say(_("About {time} of computing, six times this run; no work by hand."), time=span(6 * again)),
            )
        )
    if not found or (facts.reading is None and overall != "do not trust"):
        found.append(
            Step(
                Statement(_("Write down the rules that combinations must obey")),
                Statement(_("They keep out what can't be built, and the past shows at once where they are wrong.")),
                Statement(_("Half a day of an engineer who knows the parts.")),
            )
        )
    return found


def _more_rows(facts: Facts) -> Step:
    wanted = max(200 - facts.data.rows, math.ceil(facts.data.rows / 2))
    hours = facts.choices.review_hours
    return Step(
        say(_("Collect about {rows} more rows"), rows=counted(wanted)),
        Statement(_("Every interval here is wide, and few rows were kept out to judge the model.")),
        say(
            _("{hours} hours of review at {each} hours a row, the trials besides."),
            hours=plain(hours * wanted, 0), each=plain(hours, 2),
        ),
    )  # fmt: skip


def _trials(facts: Facts) -> Step:
    assert not isinstance(facts.ranking, UserError)
    entries, choices = facts.ranking["entries"], facts.choices
    n = len(entries)
    title = say(_("Try the {n} untried combinations ranked highest"), n=counted(n))
    why = ladder_finding(facts, entries)
    cost = n * (choices.trial + choices.review_hours * choices.hour)
    effort = say(
        _("{n} trials and {hours} hours of review, together {cost} at the prices that were entered."),
        n=counted(n), hours=plain(n * choices.review_hours, 0), cost=plain(cost, 0, choices.currency),
    )  # fmt: skip
    return Step(title, say(_("{finding}."), finding=why.text, **why.numbers), effort)
