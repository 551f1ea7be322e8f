"""From the facts of a run to its report in one language."""

import time

from app.components import place
from app.components.generator_names import generator_title
from app.components.language import _
from app.components.run_list import run_title
from app.components.verdict import Verdict, verdict_word
from app.report.evidence import (
    calibration_section,
    data_section,
    generator_section,
    partition_section,
    training_section,
)
from app.report.facts import Facts
from app.report.meeting import limits_of, meeting, steps_of
from app.report.model import Headings, Judgement, Origin, Report, Section
from app.report.numbers import told
from app.report.value import decisions_section, returns_section, unseen_section
from app.samples import samples
from app.text import Language
from app.text.numbers import count, duration, moment
from jebm_core.report import answer_overview, verdict


def write_report(facts: Facts, lang: Language, *, now: float | None = None) -> Report:
    """Return the report of a run in a language.

    Args:
        now: seconds since 1970 at which it is dated; None takes the clock.
    """
    with place.speaking(lang):
        return _written(facts, lang, time.time() if now is None else now)


def _written(facts: Facts, lang: Language, now: float) -> Report:
    evaluation = facts.result.evaluation
    overall, _every = verdict(evaluation)
    front = answer_overview(evaluation)
    sections = tuple(
        section
        for section in (
            data_section(facts),
            generator_section(facts),
            training_section(facts),
            partition_section(facts),
            calibration_section(facts),
            unseen_section(facts, overall),
            decisions_section(facts, overall),
            returns_section(facts, overall),
        )
        if section is not None
    )
    reasons = tuple(told(reason) for reason in front.reasons)
    limits = tuple(limits_of(facts))
    view = facts.result.view
    return Report(
        language=lang,
        title=run_title(view),
        question=_question(facts, lang),
        made=moment(now, lang),
        verdict=overall,
        word=verdict_word(Verdict(overall)),
        headline=told(front.sentence),
        reasons=reasons,
        meeting=tuple(meeting(facts, overall, reasons, limits)),
        judgements=_judgements(sections),
        sections=sections,
        steps=tuple(steps_of(facts, overall, sections)),
        limits=limits,
        origins=_origins(facts, lang),
        headings=_headings(),
        rules=view.spec.rules,
    )


def _question(facts: Facts, lang: Language) -> str:
    name = facts.result.view.spec.dataset_name
    own = next((sample.question for sample in samples(lang) if sample.file == name), None)
    return own or _("Which combinations are likely, how sure is that, and what should be tried next?")


def _judgements(sections: tuple[Section, ...]) -> tuple[Judgement, ...]:
    criteria = {
        "data": _("At least 200 rows, every label or option in 5 rows or more, few rows left out."),
        "generator": _("No past row breaks a rule; up to 5 % is caution."),
        "training": _("Not stopped by a guard; total mass within 0.1 of one; at least a tenth of the draws effective."),
        "partition": _("Mean error and bias of at most 0.1 nat; up to 0.3 nat is caution."),
        "calibration": _("Misses of at most 5 percentage points beyond chance; up to 15 is caution; at least 50 rows."),
        "unseen": _(
            "New combinations as often as stated, within 5 percentage points beyond chance; up to 15 is caution."
        ),
        "decisions": _("Better than leaving rows alone, beyond chance, on at least 50 rows, by a trusted model."),
    }
    return tuple(
        Judgement(one.title, one.verdict, one.word, criteria[one.key])
        for one in sections
        if one.key in criteria and one.word
    )


def _origins(facts: Facts, lang: Language) -> tuple[Origin, ...]:
    result = facts.result
    found, spec = result.evaluation.get("provenance") or {}, result.view.spec
    split = result.evaluation.get("split") or {}
    versions = ", ".join(f"{name} {number}" for name, number in (found.get("versions") or {}).items())
    choices = facts.choices
    prices = _("trial {trial}, success {success}, {hours} hours of review at {hour}").format(
        trial=f"{choices.trial:g}", success=f"{choices.success:g}", hours=f"{choices.review_hours:g}",
        hour=f"{choices.hour:g}",
    )  # fmt: skip
    lines = [
        Origin(_("Run"), result.view.id),
        Origin(_("Data"), spec.dataset_name),
        Origin("SHA-256", spec.dataset),
        Origin(
            _("Rows"),
            _("{train} for training, {held} held out").format(
                train=count(split.get("train_rows") or 0, lang), held=count(split.get("held_out_rows") or 0, lang)
            ),
        ),
        Origin(_("Candidate generator"), generator_title(spec) or _("no rules")),
        Origin(_("Seed"), str(spec.seed)),
        Origin(_("Device"), str(found.get("device", "–"))),
        Origin(_("Duration"), duration(result.view.elapsed, lang)),
        Origin(_("Finished"), moment(result.view.finished or result.view.created, lang)),
        Origin(_("Versions"), versions or "–"),
        Origin(_("Prices that were entered"), prices),
    ]
    return tuple(lines)


def _headings() -> Headings:
    return Headings(
        meeting=_("Sentences for the meeting"),
        verdicts=_("Verdicts"),
        steps=_("Next steps of the PoC"),
        limits=_("What could be wrong"),
        origins=_("Where these numbers come from"),
        how=_("How this is computed"),
        value=_("Value"),
        low=_("Lower bound"),
        high=_("Upper bound"),
        unit=_("Unit"),
        printed=_("As printed"),
        place=_("Section"),
        name=_("Name or sentence"),
        effort=_("Estimated effort"),
        more=_("{shown} of {total} rows are shown; the Excel workbook and the JSON file have them all."),
        part=_("Kind of evidence"),
        verdict=_("Verdict"),
        criterion=_("Criterion for “trusted”"),
        summary=_("Summary"),
        figures=_("Data of this chart"),
    )
