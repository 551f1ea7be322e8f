"""The trials of a sweep, as the run store knows them: the one record of a sweep, which nothing else has to agree with.

What is said of a trial comes from the rows that its fit kept for validation inside the training data: the best
held-out objective, −log p at that epoch, and the error of the log-partition there. Rows that the run holds out for its
evaluation are never looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from jebm_core.runs.message import Message
from jebm_core.runs.records import FIT, RunView, State
from jebm_core.runs.search_space import SearchSpace, Value
from jebm_core.runs.store import RunStore

PRUNED = "pruned"
"""The event of a trial that was stopped since others had been better at the same epoch; and what it is called then."""
CANCELLED = "cancelled"
_BEFORE_NUMBER = " · "


@final
@dataclass(frozen=True)
class Trial:
    """A fit with some choice of settings.

    Attributes:
        number: 1, 2, … in the order in which the trials were made.
        state: that of the run, or ``pruned``.
        choice: the settings that were tried; what is not in it was left to the data.
        objective: the best held-out objective; nats. nll: −log p at that epoch.
        log_partition_error: the larger end of the interval of τ − log Z, without its sign; nats.
        seconds: from the start of the run to its end.
        epochs: the held-out objective by epoch.
        why: what a failed trial said.
    """

    number: int
    run: str
    state: str
    choice: Mapping[str, Value]
    objective: float | None = None
    nll: float | None = None
    log_partition_error: float | None = None
    seconds: float | None = None
    epochs: Mapping[int, float] | None = None
    why: Message | None = None

    @property
    def ended(self) -> bool:
        """True if nothing more will happen to it by itself."""
        return self.state not in (State.QUEUED.value, State.RUNNING.value)

    @property
    def figures(self) -> tuple[float, float, float] | None:
        """−log p, log-partition error and seconds, of a trial that brought a model."""
        if self.nll is None or self.log_partition_error is None or self.seconds is None:
            return None
        return self.nll, self.log_partition_error, self.seconds


def trial_title(base: str, number: int) -> str:
    """What a trial is called: what its sweep is about, and its number."""
    return f"{base}{_BEFORE_NUMBER}{number}"


def title_and_number(view: RunView) -> tuple[str, str]:
    """The title of a run without the number of a trial, and what has to follow it: nothing for any other run."""
    if view.spec.kind_of_work != FIT or not view.spec.parent:
        return view.spec.title, ""
    base, between, number = view.spec.title.rpartition(_BEFORE_NUMBER)
    return (base, between + number) if number.isdecimal() else (view.spec.title, "")


def read_trials(store: RunStore, sweep: str, space: SearchSpace) -> tuple[Trial, ...]:
    """The trials of a sweep, the oldest first. Cost: the history of each."""
    views = reversed(store.about(sweep, FIT))
    return tuple(_trial(store, number, view, space) for number, view in enumerate(views, 1))


def _trial(store: RunStore, number: int, view: RunView, space: SearchSpace) -> Trial:
    settings = view.spec.settings
    choice = {name: settings[name] for name in space if settings.get(name) in space[name]}
    pruned = view.state is State.CANCELLED and view.id in store.noted(PRUNED, [view.id])
    state = PRUNED if pruned else view.state.value
    epochs, nll = {}, {}
    if view.state is not State.QUEUED:
        for row in store.history(view.id):
            objective = row.values.get("held_out_objective")
            if row.values.get("stage") == "training" and isinstance(objective, float):
                epoch = int(str(row.values["epoch"]))
                epochs[epoch], nll[epoch] = objective, row.values.get("held_out_nll")
    seconds = view.elapsed if view.state is State.SUCCEEDED else None
    why = view.message if view.state is State.FAILED else None
    known = Trial(number, view.id, state, choice, seconds=seconds, epochs=epochs, why=why)  # pyright: ignore[reportArgumentType]
    kept = _kept(store, view) if view.state is State.SUCCEEDED else None
    if kept is None:
        return known
    objective, error = kept
    nearest = min(epochs, key=lambda epoch: abs(epochs[epoch] - objective), default=None)
    measured = None if nearest is None else nll[nearest]
    return Trial(
        number,
        view.id,
        state,
        known.choice,
        objective,
        measured if isinstance(measured, float) else None,
        error,
        seconds,
        epochs,
    )


def _kept(store: RunStore, view: RunView) -> tuple[float, float] | None:
    """The held-out objective of the model that the fit kept, and the error of its log-partition."""
    try:
        record = json.loads((store.folder(view.id).model / "model.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    objective = record["summary"]["held_out_objective"]
    return None if objective is None else (objective, max(abs(end) for end in record["interval"]))


def pareto(trials: Sequence[Trial]) -> tuple[int, ...]:
    """The numbers of the trials that no other beats: none is as good in all three figures and better in one.

    >>> figures = ((1.0, 1.0, 1.0), (0.0, 2.0, 1.0), (1.0, 2.0, 1.0))
    >>> known = [Trial(n, "", "succeeded", {}, 0.0, *three) for n, three in enumerate(figures, 1)]
    >>> pareto(known)
    (1, 2)
    """
    there = [(trial.number, trial.figures) for trial in trials if trial.figures is not None]
    return tuple(
        number
        for number, mine in there
        if not any(other != mine and all(a <= b for a, b in zip(other, mine, strict=True)) for _, other in there)
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the lowest held-out objective."""
    there = [trial for trial in trials if trial.objective is not None]
    return min(there, key=lambda trial: trial.objective or 0.0, default=None)


def summary_of(trials: Sequence[Trial], wanted: int, space: SearchSpace) -> dict[str, object]:
    """What ``study.json`` of a sweep says."""
    best = best_of(trials)
    return {
        "trials": [
            {
                "number": trial.number,
                "run": trial.run,
                "state": trial.state,
                "choice": dict(trial.choice),
                "held_out_objective": trial.objective,
                "held_out_nll": trial.nll,
                "log_partition_error": trial.log_partition_error,
                "seconds": trial.seconds,
                "epochs": len(trial.epochs or ()),
                "message": None if trial.why is None else trial.why.to_json(),
            }
            for trial in trials
        ],
        "wanted": wanted,
        "space": {name: list(values) for name, values in space.items()},
        "best": None if best is None else best.number,
        "pareto": list(pareto(trials)),
    }
