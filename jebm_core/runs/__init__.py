"""Runs that survive the page and the server: a store, a runner and a job process for each run.

::

    page ──submit, cancel, read──► RunStore ◄──claim, watch── runner (one per home) ──starts──► job (one per run)
                                      ▲                                                          │
                                      └───────── reports, signs of life, last word ──────────────┘

A page reads and writes only the store and calls ``ensure_runner`` when it loads. The runner and the jobs are in
sessions of their own: closing the page, stopping the server or killing the runner ends no job. Importing this package
does not import torch.
"""

from jebm_core.runs.home import Home, RunFolder, default_home
from jebm_core.runs.records import Dataset, HoldOutMode, Message, ProgressRow, RunSpec, RunView, State
from jebm_core.runs.store import RunStore, ensure_runner

__all__ = [
    "Dataset",
    "HoldOutMode",
    "Home",
    "Message",
    "ProgressRow",
    "RunFolder",
    "RunSpec",
    "RunStore",
    "RunView",
    "State",
    "default_home",
    "ensure_runner",
]
