"""Evidence about a fitted model: is it normalised, calibrated, and what does it say about combinations never seen?"""

from jebm_core.evaluation.scores import Evaluation, evaluate
from jebm_core.evaluation.unseen import outcome_probability, rank_unseen, score_candidates

__all__ = ["Evaluation", "evaluate", "outcome_probability", "rank_unseen", "score_candidates"]
