"""From an evaluation as plain numbers to sentences, verdicts and tables for pages and reports, by the standard library.

Every function takes what `evaluate(…).to_json()` gave, or the whole record of a run with ``held_out`` and ``train``
parts; of the latter the held-out part is judged, and rows fitted to only where nothing was held out. Percentages in
sentences are per cent, all other shares are between 0 and 1, logarithms are in nats. A missing number is None, never 0.
"""

from jebm_core.report.answers import (
    answer_calibration,
    answer_overview,
    answer_partition,
    answer_unseen,
    judge_audit,
    verdict,
)
from jebm_core.report.decisions import answer_decisions, decision_rows
from jebm_core.report.records import (
    CALIBRATION_CAUTION,
    CALIBRATION_TRUSTED,
    FEW_ROWS,
    Answer,
    Sentence,
    Verdict,
    judged_part,
)
from jebm_core.report.tables import (
    baseline_rows,
    coverage_rows,
    event_rows,
    partition_rows,
    partition_summary_rows,
    reliability_rows,
    unseen_rows,
)

__all__ = [
    "CALIBRATION_CAUTION",
    "CALIBRATION_TRUSTED",
    "FEW_ROWS",
    "Answer",
    "Sentence",
    "Verdict",
    "answer_calibration",
    "answer_decisions",
    "answer_overview",
    "answer_partition",
    "answer_unseen",
    "baseline_rows",
    "coverage_rows",
    "decision_rows",
    "event_rows",
    "judge_audit",
    "judged_part",
    "partition_rows",
    "partition_summary_rows",
    "reliability_rows",
    "unseen_rows",
    "verdict",
]
