"""Scores of more rows than memory holds: Parquet files, row group by row group, in several processes.

shards      what there is to do: the row groups of files, and the plan that a resumed run must agree with
reading     batches of a row group as contexts and combinations, checked as `jebm_core.tables` checks a whole table
shard       one row group scored and written as one part, whole or not at all
top         the most probable rows of all parts
pool        the row groups shared out among processes
on_ray      the same on a Ray cluster

A part is finished when its file is there: nothing else is remembered, so a run that was killed goes on where it was.
"""

from jebm_core.scoring.on_ray import score_on_ray
from jebm_core.scoring.pool import Pace, score_in_processes
from jebm_core.scoring.shard import Job, Scorer
from jebm_core.scoring.shards import Plan, Shard, Source, find_sources
from jebm_core.scoring.top import merge_top

__all__ = [
    "Job",
    "Pace",
    "Plan",
    "Scorer",
    "Shard",
    "Source",
    "find_sources",
    "merge_top",
    "score_in_processes",
    "score_on_ray",
]
