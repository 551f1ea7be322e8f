"""Figures from plain lists, arrays and records, without Streamlit; every title and label comes in already translated.

A page, a report and a test draw the same figure from the same numbers. No figure carries more than ``POINT_LIMIT``
points: it says in ``layout.meta`` how many it shows of how many.
"""

from app.charts.calibration import CoverageLevels, ReliabilitySeries, coverage, reliability, transform_histogram
from app.charts.combinations import (
    Ladder,
    co_occurrence,
    combination_frequency,
    probability_ladder,
)
from app.charts.contributions import MOST_BARS, contribution_bars
from app.charts.generators import MOST_SHARES, funnel, share_gaps
from app.charts.intervals import compared
from app.charts.learning import LearningPoints, learning
from app.charts.partition import AuditedGroup, error_histogram, estimated_against_true, learned_against_audited
from app.charts.style import COLOURS, FONT, POINT_LIMIT
from app.charts.training import TrainingHistory, TrainingLabels, training_curves
from app.charts.trials import TrialPoints, trade_off

__all__ = [
    "COLOURS",
    "FONT",
    "MOST_BARS",
    "MOST_SHARES",
    "POINT_LIMIT",
    "AuditedGroup",
    "CoverageLevels",
    "Ladder",
    "LearningPoints",
    "ReliabilitySeries",
    "TrainingHistory",
    "TrainingLabels",
    "TrialPoints",
    "co_occurrence",
    "combination_frequency",
    "compared",
    "contribution_bars",
    "coverage",
    "error_histogram",
    "estimated_against_true",
    "funnel",
    "learned_against_audited",
    "learning",
    "probability_ladder",
    "reliability",
    "share_gaps",
    "trade_off",
    "training_curves",
    "transform_histogram",
]
