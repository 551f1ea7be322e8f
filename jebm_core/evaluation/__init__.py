"""Evidence about a fitted model: is it normalised, calibrated, and what does it say about combinations never seen?"""

from jebm_core.evaluation.attribution import baseline_context, feature_contributions
from jebm_core.evaluation.explanation import part_contributions
from jebm_core.evaluation.flips import Decision, compare, smallest_flip
from jebm_core.evaluation.scores import Evaluation, evaluate
from jebm_core.evaluation.unseen import outcome_probability, rank_unseen, score_candidates

__all__ = [
    "Decision",
    "Evaluation",
    "baseline_context",
    "compare",
    "evaluate",
    "feature_contributions",
    "outcome_probability",
    "part_contributions",
    "rank_unseen",
    "score_candidates",
    "smallest_flip",
]
