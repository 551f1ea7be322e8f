"""From an evaluation as plain numbers to sentences, verdicts and tables for pages and reports, by the standard library.

Every function takes what `evaluate(…).to_json()` gave, or the whole record of a run with ``held_out`` and ``train``
parts; of the latter the held-out part is judged, and rows fitted to only where nothing was held out. Percentages in
sentences are per cent, all other shares are between 0 and 1, logarithms are in nats. A missing number is None, never 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, final

Verdict = Literal["trusted", "caution", "do not trust"]
_ORDER: tuple[Verdict, ...] = ("trusted", "caution", "do not trust")

CALIBRATION_TRUSTED, CALIBRATION_CAUTION = 0.05, 0.15
"""Misses of a stated share, beyond what chance explains, that end *trusted* and *caution*."""
FEW_ROWS = 50
"""Fewer evaluated rows than this are never enough for *trusted*."""

Record = Mapping[str, Any]
TableRow = dict[str, Any]


@final
@dataclass(frozen=True)
class Sentence:
    """An English template, which is what a translation is looked up by, and the plain numbers and words it names.

    >>> str(Sentence("{percent:.0f} % of rows", {"percent": 9.2}))
    '9 % of rows'
    """

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values)


@final
@dataclass(frozen=True)
class Answer:
    """The answer to the question of a page.

    Attributes:
        reasons: why the verdict is not better, or what else must be known; the limits come last.
        flagged: the numbers are not to be trusted and are shown small and grey.
    """

    verdict: Verdict
    sentence: Sentence
    reasons: tuple[Sentence, ...]

    @property
    def flagged(self) -> bool:
        """Whether the numbers may not be relied on."""
        return self.verdict == "do not trust"


def judged_part(record: Record) -> Record:
    """The evaluation that is judged: held-out rows where there are any.

    >>> judged_part({"held_out": None, "train": {"n": 3}})["n"]
    3
    """
    if "held_out" not in record:
        return record
    return record["held_out"] or record["train"]


def verdict(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    """The worst verdict of all evidence, and every reason that keeps it from being better."""
    parts = [_of_partition(record), _of_calibration(record), _of_unseen(record), _of_likelihood(record)]
    return _worst([part[0] for part in parts]), tuple(reason for part in parts for reason in part[1])


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
    found, reasons = _of_calibration(record)
    at = _at_level(e, 0.9)
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
    found, reasons = _of_unseen(record)
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


def partition_rows(record: Record) -> list[TableRow]:
    """One row a context and group: learned, audited, bounds and error in nats."""
    rows: list[TableRow] = []
    for group, e in _groups(record):
        values = e["log_partition_rows"]
        for learned, audited, low, high in zip(
            *(values[k] for k in ("learned", "audited", "low", "high")), strict=True
        ):
            error = None if learned is None or audited is None else learned - audited
            rows.append(
                {"group": group, "learned": learned, "audited": audited, "low": low, "high": high, "error": error}
            )
    return rows


def partition_summary_rows(record: Record) -> list[TableRow]:
    """One row a group: the audit in one line; a group without an audit is left out."""
    return [{"group": group, **e["log_partition"]} for group, e in _groups(record) if e["log_partition"]]


def reliability_rows(record: Record) -> list[TableRow]:
    """One row a bin: of all events together (``pooled``), of whole combinations (``joint``), then of each event."""
    found = judged_part(record)["calibration"]
    named = [("pooled", found["pooled"]), ("joint", found["joint"])]
    named += [(event["name"], event["reliability"]) for event in found["events"]]
    return [
        {"kind": "event" if place > 1 else name, "event": name if place > 1 else None, **row}
        for place, (name, one) in enumerate(named)
        for row in one["bins"]
    ]


def event_rows(record: Record) -> list[TableRow]:
    """One row an event: how often stated, how often observed, and its calibration error, the largest first."""
    rows = [
        {
            "event": event["name"],
            "predicted": event["predicted"],
            "observed": event["observed"],
            "ece": event["reliability"]["ece"],
            "low": event["reliability"]["ece_low"],
            "high": event["reliability"]["ece_high"],
        }
        for event in judged_part(record)["calibration"]["events"]
    ]
    return sorted(rows, key=lambda row: -row["ece"])


def coverage_rows(record: Record) -> list[TableRow]:
    """One row a level: stated, observed with its interval, and whether chance explains the difference."""
    return [
        {**row, "explained": row["low"] <= row["level"] <= row["high"]}
        for row in judged_part(record)["calibration"]["coverage"]
    ]


def unseen_rows(table: Record) -> list[TableRow]:
    """One row a combination of `rank_unseen(…).to_json()`, the likeliest first."""
    rows = []
    for entry in table["entries"]:
        changes = [f"{change['item']}: {change['before']} → {change['after']}" for change in entry["changes"]]
        kept = (
            "rank",
            "probability",
            "low",
            "high",
            "plausibility",
            "odds_reference",
            "odds_random",
            "distance",
            "seen",
        )
        joined = {
            key: ", ".join(value) for key, value in (("combination", entry["labels"]), ("nearest", entry["nearest"]))
        }
        rows.append({**joined, **{key: entry[key] for key in kept}, "changes": "; ".join(changes)})
    return rows


def baseline_rows(record: Record) -> list[TableRow]:
    """One row a way of predicting: mean −log p in nats with its interval, and how much worse than the model it is."""
    e = judged_part(record)
    rows: list[TableRow] = []
    for name in ("model", "independent", "frequency", "reference"):
        key = "nll" if name == "model" else f"nll_{name}"
        low, high = e["intervals"][key]
        gap = [None, None, None] if name == "model" else e["differences"][name]
        keys = ("difference", "difference_low", "difference_high")
        rows.append({"predictor": name, "nll": e[key], "low": low, "high": high, **dict(zip(keys, gap, strict=True))})
    return rows


def _of_partition(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    audit = judged_part(record)["log_partition"]
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


def _limit_partition(audit: Record | None) -> Sentence:
    if audit is not None and audit["exact"]:
        return Sentence("A right normalisation does not make the scores right; calibration shows those.")
    return Sentence("Without an exact audit the normalisation is an estimate; ranks are safer than probabilities.")


def _of_calibration(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    e = judged_part(record)
    reasons: list[Sentence] = []
    pooled, joint, at = e["calibration"]["pooled"], e["calibration"]["joint"], _at_level(e, 0.9)
    steps = [_step(pooled["ece"] - pooled["ece_chance"]), _step(joint["ece"] - joint["ece_chance"])]
    steps.append(_step(max(at["level"] - at["high"], at["low"] - at["level"])))
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
                "Combinations said to hold 90 % of the probability held the truth in {covered:.0f} % of rows "
                "({low:.0f} to {high:.0f} %).",
                {"covered": 100 * at["covered"], "low": 100 * at["low"], "high": 100 * at["high"]},
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
    return _ORDER[max(steps)], tuple(reasons)


def _of_unseen(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    part = judged_part(record)["unseen"]
    model, observed = part["model"], part["observed"]
    if "held_out" in record and not record["held_out"]:
        return "caution", (Sentence("No row was held out, so nothing shows how often combinations are new."),)
    gap = max(observed["low"] - model["high"], model["low"] - observed["high"])
    step = _step(gap)
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
    return _ORDER[step], (reason,)


def _of_likelihood(record: Record) -> tuple[Verdict, tuple[Sentence, ...]]:
    gaps = judged_part(record)["differences"]
    reasons = []
    if _is_better(gaps["independent"]):
        reasons.append(
            Sentence(
                "Treating the parts as independent predicts better, by {gap:.2f} nat a row; use that instead.",
                {"gap": -gaps["independent"][0]},
            )
        )
    if _is_better(gaps["frequency"]):
        reasons.append(
            Sentence(
                "Counting combinations predicts better, by {gap:.2f} nat a row; the features may say little.",
                {"gap": -gaps["frequency"][0]},
            )
        )
    return "caution" if reasons else "trusted", tuple(reasons)


def _is_better(gap: list[float | None]) -> bool:
    """Whether a baseline beats the model beyond chance: even the upper bound of its excess is negative."""
    return gap[2] is not None and gap[2] < 0


def _groups(record: Record) -> list[tuple[str, Record]]:
    """(name, evaluation) of the parts of a run; a single evaluation is called ``held_out``."""
    if "held_out" not in record:
        return [("held_out", record)]
    return [(name, record[name]) for name in ("held_out", "train") if record.get(name)]


def _at_level(e: Record, level: float) -> Record:
    return next(row for row in e["calibration"]["coverage"] if row["level"] == level)


def _step(miss: float | None) -> int:
    """0, 1 or 2; a missing number is the worst."""
    return 2 if miss is None else 0 if miss <= CALIBRATION_TRUSTED else 1 if miss <= CALIBRATION_CAUTION else 2


def _worst(found: list[Verdict]) -> Verdict:
    return max(found, key=_ORDER.index)
