"""Verdicts with their reasons, and the sentence that answers each page's question."""

import math

from jebm_core.report.records import (
    FEW_ROWS,
    ORDER,
    Answer,
    Record,
    Sentence,
    Verdict,
    at_level,
    coverage_miss,
    is_better,
    judged_part,
    step_of,
    worst,
)


def verdict(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    """The worst verdict of all evidence, and every reason that keeps it from being better."""
    parts = [_of_partition(record), _of_calibration(record), _of_unseen(record), _of_likelihood(record)]
    return worst([part[0] for part in parts]), tuple(reason for part in parts for reason in part[1])


def answer_overview(record: Record) -> Answer:
    """Where the project stands: how much better than independent parts or than counting, and may it be trusted."""
    e = judged_part(record)
    found, reasons = verdict(record)
    gain = e["differences"]["independent"]
    if gain[0] is not None and gain[1] is not None:
        sentence = Sentence(
            "Whole combinations are predicted {gain:.2f} nat better ({low:.2f} to {high:.2f}) than by treating the "
            "parts as independent, on {n} rows.",
            {"gain": gain[0], "low": gain[1], "high": gain[2], "n": e["n_audited"]},
        )
    elif e["nll"] is not None:
        sentence = Sentence(
            "The joint negative log-likelihood is {nll:.2f} nat a row, on {n} rows.",
            {"nll": e["nll"], "n": e["n_audited"]},
        )
    else:
        sentence = Sentence("The joint likelihood can't be audited for this model, on {n} rows.", {"n": e["n"]})
    return Answer(found, sentence, reasons)


def answer_partition(record: Record) -> Answer:
    """Are the probabilities normalised?"""
    e = judged_part(record)
    found, reasons = _of_partition(record)
    audit = e["log_partition"]
    if audit is None or audit["mae"] is None:
        return Answer(
            found,
            Sentence("The normalisation of this model could not be audited."),
            (*reasons, _limit_partition(audit)),
        )
    if audit["exact"]:
        sentence = Sentence(
            "The probabilities are audited: on {n} contexts the learned log-partition is within {error:.3f} nat on "
            "average of the exact one.",
            {"n": audit["n"], "error": audit["mae"]},
        )
    else:
        sentence = Sentence(
            "On {n} contexts the learned log-partition is within {error:.2f} nat on average of an independent "
            "estimate.",
            {"n": audit["n"], "error": audit["mae"]},
        )
    return Answer(found, sentence, (*reasons, _limit_partition(audit)))


def answer_calibration(record: Record) -> Answer:
    """When the model says 30 %, does it happen 30 % of the time?"""
    e = judged_part(record)
    found, reasons = _unless_unnormalised(record, *_of_calibration(record))
    at = at_level(e, 0.9)
    sentence = Sentence(
        "Stated and observed shares of single events differ by {ece:.1f} percentage points on average ({low:.1f} to "
        "{high:.1f}); combinations said to hold 90 % of the probability held the truth in {covered:.0f} % of {n} rows.",
        {
            "ece": 100 * e["ece_marginal"],
            "low": 100 * e["intervals"]["ece_marginal"][0],
            "high": 100 * e["intervals"]["ece_marginal"][1],
            "covered": 100 * at["covered"],
            "n": e["n"],
        },
    )
    limit = Sentence("Calibration is shown for rows like these; other conditions may differ.")
    return Answer(found, sentence, (*reasons, limit))


def answer_unseen(record: Record) -> Answer:
    """How much probability do combinations hold that nobody has tried?"""
    e = judged_part(record)
    found, reasons = _unless_unnormalised(record, *_of_unseen(record))
    model, counted = e["unseen"]["model"], e["unseen"]["good_turing"]
    sentence = Sentence(
        "The model gives {percent:.1f} % ({low:.1f} to {high:.1f} %) of the probability to combinations never seen; "
        "counting single occurrences suggests {counted:.1f} % ({counted_low:.1f} to {counted_high:.1f} %).",
        {
            "percent": 100 * model["value"],
            "low": 100 * model["low"],
            "high": 100 * model["high"],
            "counted": 100 * counted["value"],
            "counted_low": 100 * counted["low"],
            "counted_high": 100 * counted["high"],
        },
    )
    limit = Sentence("Counting holds for rows that come from where the training rows came from, and for those alone.")
    return Answer(found, sentence, (*reasons, limit))


def _unless_unnormalised(
    record: Record, found: Verdict, reasons: tuple[Sentence, ...]
) -> tuple[Verdict, tuple[Sentence, ...]]:
    """The verdict of a page about probabilities: where their normalisation is not to be trusted, neither are they."""
    normalised, why = _of_partition(record)
    return ("do not trust", (*why, *reasons)) if normalised == "do not trust" else (found, reasons)


def judge_audit(audit: Record | None, *, healthy: bool = True) -> tuple[Verdict, tuple[Sentence, ...]]:
    """The verdict on the normalisation from one audit (`PartitionSummary.to_json`), and why it isn't better.

    Args:
        audit: None for a model that has no audit.
        healthy: whether training ended without a guard having stopped it.
    """
    if not healthy:
        reason = Sentence(
            "Training was stopped because its draws no longer covered the model, or its numbers ran away; train again "
            "with another proposal, more samples a step, or a better reference."
        )
        return "do not trust", (reason,)
    if audit is None or audit["mae"] is None:
        reason = Sentence("There is no audit of the normalisation for this divergence and size; use the divergence kl.")
        return "do not trust", (reason,)
    found: Verdict = audit["verdict"]
    if found == "trusted":
        return found, ()
    if audit["exact"]:
        reason = Sentence(
            "The learned log-partition is {error:.2f} nat off on average: probabilities are off by about "
            "{percent:.0f} %.",
            {"error": audit["mae"], "percent": 100 * math.expm1(min(audit["mae"], 20.0))},
        )
    else:
        reason = Sentence(
            "The audit of the normalisation finds a difference of {error:.2f} nat, or is itself too noisy to confirm "
            "it; train longer or with a stronger proposal.",
            {"error": audit["mae"]},
        )
    return found, (reason,)


def _of_partition(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    e = judged_part(record)
    return judge_audit(e["log_partition"], healthy=e.get("healthy", True))  # a record of an earlier version: unknown


def _limit_partition(audit: Record | None) -> Sentence:
    if audit is not None and audit["exact"]:
        return Sentence("A right normalisation does not make the scores right; calibration shows those.")
    return Sentence("Without an exact audit the normalisation is an estimate; ranks are safer than probabilities.")


def _of_calibration(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    e = judged_part(record)
    reasons: list[Sentence] = []
    pooled, joint = e["calibration"]["pooled"], e["calibration"]["joint"]
    at = max(e["calibration"]["coverage"], key=coverage_miss)  # the worst level: one that fits excuses no other
    steps = [step_of(pooled["ece"] - pooled["ece_chance"]), step_of(joint["ece"] - joint["ece_chance"])]
    steps.append(step_of(coverage_miss(at)))
    if steps[0]:
        reasons.append(
            Sentence(
                "Stated and observed shares of single events differ by {points:.0f} percentage points on average; "
                "chance explains {chance:.0f}.",
                {"points": 100 * pooled["ece"], "chance": 100 * pooled["ece_chance"]},
            )
        )
    if steps[1]:
        reasons.append(
            Sentence(
                "The stated probability of the most probable combination is {points:.0f} percentage points away from "
                "how often it is right; chance explains {chance:.0f}.",
                {"points": 100 * joint["ece"], "chance": 100 * joint["ece_chance"]},
            )
        )
    if steps[2]:
        reasons.append(
            Sentence(
                "Combinations said to hold {level:.0f} % of the probability held the truth in {covered:.0f} % of rows "
                "({low:.0f} to {high:.0f} %).",
                {
                    "level": 100 * at["level"],
                    "covered": 100 * at["covered"],
                    "low": 100 * at["low"],
                    "high": 100 * at["high"],
                },
            )
        )
    if e["n"] < FEW_ROWS:
        steps.append(1)
        reasons.append(
            Sentence(
                "Only {n} rows were evaluated; with {least} or more the verdict can be better.",
                {"n": e["n"], "least": FEW_ROWS},
            )
        )
    if "held_out" in record and not record["held_out"]:
        steps.append(1)
        reasons.append(Sentence("No row was held out: these are rows that the model was fitted to."))
    return ORDER[max(steps)], tuple(reasons)


def _of_unseen(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    part = judged_part(record)["unseen"]
    model, observed = part["model"], part["observed"]
    if "held_out" in record and not record["held_out"]:
        return "caution", (Sentence("No row was held out, so nothing shows how often combinations are new."),)
    gap = max(observed["low"] - model["high"], model["low"] - observed["high"])
    step = step_of(gap)
    if step == 0:
        return "trusted", ()
    reason = Sentence(
        "The model expects {expected:.0f} % of rows to bring a new combination; {observed:.0f} % ({low:.0f} to "
        "{high:.0f} %) did.",
        {
            "expected": 100 * model["value"],
            "observed": 100 * observed["value"],
            "low": 100 * observed["low"],
            "high": 100 * observed["high"],
        },
    )
    return ORDER[step], (reason,)


def _of_likelihood(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    gaps = judged_part(record)["differences"]
    reasons = []
    if is_better(gaps["independent"]):
        reasons.append(
            Sentence(
                "Treating the parts as independent predicts better, by {gap:.2f} nat a row; use that instead.",
                {"gap": -gaps["independent"][0]},
            )
        )
    if is_better(gaps["frequency"]):
        reasons.append(
            Sentence(
                "Counting combinations predicts better, by {gap:.2f} nat a row; the features may say little.",
                {"gap": -gaps["frequency"][0]},
            )
        )
    return "caution" if reasons else "trusted", tuple(reasons)
