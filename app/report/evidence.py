"""Sections on what the numbers rest on: data, candidate generator, normalisation, calibration, training."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.charts import (
    AuditedGroup,
    ReliabilitySeries,
    funnel,
    learned_against_audited,
    reliability,
)
from app.components import place
from app.components.curves import training_chart
from app.components.data_view import data_reasons, data_verdict
from app.components.generator_answer import generator_sentence, generator_verdict
from app.components.language import _, sentence
from app.components.result import group_name
from app.components.verdict import Verdict, verdict_word
from app.report.facts import Facts
from app.report.model import Cell, Column, Figure, Quantity, Section, Statement, Table
from app.report.numbers import counted, exact, plain, ranged, say, share, share_ranged, span, told
from app.text.numbers import decimal, whole
from jebm_core.errors import UserError
from jebm_core.report import answer_calibration, answer_partition, judged_part, partition_rows, reliability_rows
from jebm_core.runs.records import RECALIBRATE

RESAMPLES = 2000


def data_section(facts: Facts) -> Section:
    """Is this data fit for the question?"""
    data = facts.data
    found = data_verdict(data)
    seen = (data.unseen_share.value, data.unseen_share.low, data.unseen_share.high)
    answer = say(
        _(
            "{rows} rows of {outputs} outputs; {distinct} different combinations, {once} of them seen once. A new "
            "row is a "
            "combination not in the data with probability {unseen} (counted by Good–Turing)."
        ),
        rows=counted(data.rows), outputs=counted(data.outputs), distinct=counted(data.distinct),
        once=counted(data.seen_once), unseen=share_ranged(seen),
    )  # fmt: skip
    notes = [Statement(reason) for reason in data_reasons(data)]
    split = facts.result.evaluation.get("split") or {}
    quantities = (
        Quantity(_("Rows used"), counted(data.rows)),
        Quantity(_("Rows left out"), counted(data.left_out)),
        Quantity(_("Held-out rows"), counted(split.get("held_out_rows") or 0), _("kept out of training to judge it")),
        Quantity(_("Features"), counted(data.features)),
    )
    return Section("data", _("Data"), answer, found.value, verdict_word(found), tuple(notes), quantities)


def generator_section(facts: Facts) -> Section:
    """Which combinations are possible?"""
    title, reading, lang = _("Candidate generator"), facts.reading, place.language()
    tried = facts.data.distinct
    if isinstance(reading, UserError):
        return Section("generator", title, Statement(sentence(reading)), Verdict.DO_NOT_TRUST.value,
                       verdict_word(Verdict.DO_NOT_TRUST))  # fmt: skip
    if reading is None:
        valid, found = facts.everything, Verdict.PENDING
        answer = say(
            _("No rule was given: all {everything} combinations count as possible, and {tried} of them were tried."),
            everything=exact(facts.everything), tried=counted(tried),
        )  # fmt: skip
    else:
        valid, found, tried = reading.valid, generator_verdict(reading), reading.covered
        numbers = {"valid": exact(valid), "everything": exact(facts.everything)}
        answer = Statement(generator_sentence(reading), numbers)
    stages = [_("All combinations"), _("Valid under the rules"), _("Tried so far")]
    counts = [facts.everything, valid, tried]
    if reading is None:
        stages, counts = [stages[0], stages[2]], [counts[0], counts[2]]
    finding = say(
        _("{tried} of {valid} possible combinations have been tried"), tried=counted(tried), valid=exact(valid)
    ).text
    chart = funnel(
        stages, counts, [whole(one, lang) for one in counts], title=finding, axis=_("Combinations (powers of ten)")
    )
    rows = tuple((name, float(number)) for name, number in zip(stages, counts, strict=True))
    table = Table("funnel", finding, (Column(_("Stage")), Column(_("Combinations"), "count")), rows)
    return Section(
        "generator", title, answer, found.value, verdict_word(found) if reading is not None else "",
        figure=Figure("funnel", finding, chart, table),
    )  # fmt: skip


def partition_section(facts: Facts) -> Section:
    """Are the probabilities normalised?"""
    evaluation = facts.result.evaluation
    answer = answer_partition(evaluation)
    rows = [row for row in partition_rows(evaluation) if row["error"] is not None]
    audit = judged_part(evaluation)["log_partition"]
    quantities: list[Quantity] = []
    if error := mean_error(facts):
        size = ranged(error, _("nat"), 3, "nat")
        if error[2] < 5e-4:
            size = replace(size, text="<" + plain(0.001, 3, _("nat")).text)
        quantities.append(Quantity(_("Mean error"), size, _("learned − audited, size")))
        quantities.append(Quantity(_("Bias"), plain(audit["bias"], 3, _("nat"))))
        words = _("exactly") if audit["exact"] else _("by sampling")
        quantities.append(Quantity(_("Audited cases"), counted(audit["n"]), words))
    return Section(
        "partition",
        _("Partition function"),
        told(answer.sentence),
        answer.verdict,
        verdict_word(Verdict(answer.verdict)),
        tuple(told(reason) for reason in answer.reasons),
        tuple(quantities),
        _audit_figure(rows) if rows else None,
        how=_(
            "log Z(x) = log Σ q(y|x) exp g(x,y) is computed again, independently of the network τ(x) that the model "
            "uses; "
            "the error is τ(x) − log Z(x). Its mean size has a 95 % interval by a bootstrap over cases."
        ),
    )


def mean_error(facts: Facts) -> tuple[float, float, float] | None:
    """Return the mean size of the error of the normalisation on the judged cases with its interval, in nats."""
    judged = "held_out" if facts.result.has_held_out else "train"
    rows = partition_rows(facts.result.evaluation)
    errors = np.array([abs(r["error"]) for r in rows if r["error"] is not None and r["group"] == judged])
    if not len(errors):
        return None
    drawn = np.random.default_rng(0).integers(len(errors), size=(RESAMPLES, len(errors)))
    low, high = np.quantile(errors[drawn].mean(1), [0.025, 0.975])
    return float(errors.mean()), float(low), float(high)


def _audit_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    lang = place.language()
    groups = [name for name in ("held_out", "train") if any(row["group"] == name for row in rows)]
    first = [abs(row["error"]) for row in rows if row["group"] == groups[0]]
    reach = float(np.quantile(first, 0.95))
    title = (
        _("The learned log-partition is within {error} nat on 95 % of the held-out cases")
        if groups[0] == "held_out"
        else _("The learned log-partition is within {error} nat on 95 % of the training cases")
    ).format(error=decimal(reach, lang, 3 if reach < 0.1 else 2))
    chart = learned_against_audited(
        [_audited([row for row in rows if row["group"] == name], group_name(name)) for name in groups],
        title=title,
        learned=_("Learned log-partition (nat)"),
        audited=_("Audited log-partition (nat)"),
        agreement=_("Agreement"),
    )
    names = (
        _("Learned (nat)"),
        _("Audited (nat)"),
        _("Interval, low (nat)"),
        _("Interval, high (nat)"),
        _("Error (nat)"),
    )
    columns = (Column(_("Cases")), *(Column(name, "nat", 4) for name in names))
    keys = ("learned", "audited", "low", "high", "error")
    cells: list[tuple[Cell, ...]] = [(group_name(row["group"]), *(row[key] for key in keys)) for row in rows]
    return Figure("audit", title, chart, Table("audit", title, columns, tuple(cells)))


def _audited(rows: Sequence[dict[str, Any]], name: str) -> AuditedGroup:
    columns = {
        key: [row["audited"] if row[key] is None else row[key] for row in rows]
        for key in ("learned", "audited", "low", "high")
    }
    return AuditedGroup(name=name, **columns)


def calibration_section(facts: Facts) -> Section:
    """When the model says 30 %, does it happen 30 % of the time?"""
    evaluation = facts.result.evaluation
    answer, e = answer_calibration(evaluation), judged_part(evaluation)
    rows = [row for row in reliability_rows(evaluation) if row["kind"] == "pooled"]
    inside = sum(row["low"] <= row["predicted"] <= row["high"] for row in rows)
    title = _("In {inside} of {bins} bins, chance explains the gap between stated and observed").format(
        inside=inside, bins=len(rows)
    )
    keys = ("predicted", "observed", "low", "high", "n")
    series = ReliabilitySeries(_("All events together"), *([row[key] for row in rows] for key in keys))
    names = _("Stated probability"), _("Observed share"), _("Lower bound"), _("Upper bound")
    chart = reliability(
        [series], title=title, stated=names[0], observed=names[1], cases=_("Cases"), agreement=_("Perfect calibration")
    )
    columns = (*(Column(name, "share", 1) for name in names), Column(_("Cases"), "count"))
    table = Table("reliability", title, columns, tuple(tuple(row[key] for key in keys) for row in rows))
    quantities = [
        Quantity(name, share_ranged((e[key], *e["intervals"][key]), 1), _("stated minus observed, mean size"))
        for name, key in ((_("Error of single events"), "ece_marginal"),
                          (_("Error of the likeliest combination"), "ece_joint"))
        if e["intervals"].get(key)
    ]  # fmt: skip
    return Section(
        "calibration",
        _("Calibration"),
        told(answer.sentence),
        answer.verdict,
        verdict_word(Verdict(answer.verdict)),
        tuple(told(reason) for reason in answer.reasons),
        tuple(quantities),
        Figure("reliability", title, chart, table),
        how=_(
            "Cases are put into at most ten bins of equal size by their stated probability; each bin's mean "
            "statement is "
            "held against the share that happened, with Wilson's 95 % interval."
        ),
    )


def training_section(facts: Facts) -> Section | None:
    """Was training healthy? None for a run without training of its own."""
    if facts.result.view.spec.kind_of_work == RECALIBRATE or not facts.reports:
        return None
    reports, summary = facts.reports, facts.summary
    found = training_chart(reports, running=False)
    labels, title = found.labels, found.title
    heads = (
        Column(labels.epoch, "count"), Column(labels.held_out_nll, "nat", 4), Column(labels.objective, "nat", 4),
        Column(labels.effective_sample_size, "share", 1), Column(labels.total_mass, "number", 3),
    )  # fmt: skip
    epochs, *columns = found.columns.values()
    rows = zip(epochs, *([_finite(value) for value in column] for column in columns), strict=True)
    table = Table("training", title, heads, tuple(rows))
    # The model of the best held-out epoch is the one that was kept.
    kept = min(reports, key=lambda r: np.inf if r.get("held_out_objective") is None else r["held_out_objective"])
    healthy = summary.get("healthy") is not False
    mass, draws = kept.get("total_mass"), kept.get("effective_sample_size")
    doubtful = (mass is not None and abs(mass - 1) > 0.1) or (draws is not None and draws < 0.1)
    verdict = Verdict.DO_NOT_TRUST if not healthy else Verdict.CAUTION if doubtful else Verdict.TRUSTED
    notes = [told(facts.result.view.stop_reason)] if facts.result.view.stop_reason is not None else []
    quantities = (
        Quantity(_("Epochs"), counted(summary.get("epochs") or len(reports))),
        Quantity(_("Effective sample size"), share(draws), _("of the draws")),
        Quantity(_("Total mass"), plain(mass), _("should be 1")),
        Quantity(_("Duration"), span(facts.result.view.elapsed)),
    )
    return Section(
        "training", _("Training"), Statement(title), verdict.value, verdict_word(verdict), tuple(notes), quantities,
        Figure("training", title, found.chart, table),
        how=_(
            "Score and log-partition are learned together. The effective sample size tells whether the draws "
            "suffice, the "
            "total mass whether probabilities add up to one."
        ),
    )  # fmt: skip


def _finite(value: float | None) -> float | None:
    """The number; none where an epoch's numbers ran away."""
    return value if value is not None and np.isfinite(value) else None
