"""The work of a sweep: it asks Optuna what to try next, queues that as a run of its own, and steps aside.

A machine may have a single slot, so a sweep must not sit on it while its trials run. Its job therefore queues a trial,
puts itself behind all that waits, and leaves; when its turn comes again it looks at what became of the trial. Where a
slot is idle anyway, it stays and looks twice a second.

Optuna keeps nothing: its study is made anew, in memory, from the trials in the run store, each time something is asked.
With a database of its own (whose tables for versions would also be those of the run store's) there would be two records
of every trial, and a process killed between two writes would leave them at odds. So a kill at any instruction loses at
most a question that was not yet written down, and sampling is seeded by the number of the trial.
"""

import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select

from jebm_core.errors import Cancelled, Phrase, SpecError, UserError
from jebm_core.runs.context import JobContext
from jebm_core.runs.database import FAULTS, Database
from jebm_core.runs.entering import enter
from jebm_core.runs.history import note_event
from jebm_core.runs.home import write_json
from jebm_core.runs.queue import RunQueue
from jebm_core.runs.records import FIT, SWEEP, RunSpec, State
from jebm_core.runs.schema import run
from jebm_core.runs.search_space import SearchSpace, Value, choices_of, size_of
from jebm_core.runs.store import RunStore
from jebm_core.runs.trials import CANCELLED, PRUNED, Trial, best_of, read_trials, summary_of, trial_title
from jebm_core.runs.work import fit_and_evaluate

if TYPE_CHECKING:
    from optuna.study import Study

STARTUP_TRIALS = 4
"""Trials that must have come through before one is stopped early."""
STARTUP_EPOCHS = 5
"""Epochs that every trial gets."""
HOPELESS = 3
"""Failed trials, and none that succeeded, after which a sweep gives up."""
MOST_TRIALS = 10_000
_LOOK = 0.5  # seconds between two looks at trials that run
_POLITE = 10.0  # seconds after which a waiting sweep makes room for another sweep
_MOST_LISTED = 100_000


def sweep_spec(spec: RunSpec, trials: int, space: SearchSpace, *, at_once: int = 1, pruning: bool = True) -> RunSpec:
    """The description of a sweep around that of a fit.

    Raises:
        SpecError: an impossible number of trials.
    """
    if not 1 <= trials <= MOST_TRIALS:
        raise SpecError(
            "Expected 1 to {most} trials of a sweep; found {found}. Choose for example 20.",
            most=MOST_TRIALS,
            found=trials,
        )
    values = {name: list(values) for name, values in space.items()}
    settings = {"fit": dict(spec.settings), "trials": trials, "search": values, "at_once": at_once, "pruning": pruning}
    return replace(spec, kind_of_work=SWEEP, settings=settings)


def sweep_of_run(context: JobContext) -> str | None:
    """Try settings until there are as many trials as were asked for; write ``study.json`` after each.

    Raises:
        UserError: Optuna is missing, or every one of the first trials failed.
        Cancelled: the sweep was asked to stop, or steps aside while its trials run.
    """
    _optuna()
    asked = dict(context.spec.settings)
    wanted, space = int(str(asked["trials"])), space_of(context.spec)
    store, queue = RunStore(context.home), RunQueue(context.home)
    begun = time.monotonic()
    write_json(context.folder.checkpoint / "sweep.json", {"trials": wanted})  # it can go on: all it knows is kept
    while not context.should_stop():
        trials = read_trials(store, context.run_id, space)
        _report(context, trials, wanted)
        write_json(context.folder.study, summary_of(trials, wanted, space))
        _refuse_hopeless(trials, wanted)
        counted = [trial for trial in trials if trial.state != CANCELLED]
        waiting = [trial for trial in counted if not trial.ended]
        choice = None
        if len(counted) < wanted and len(waiting) < int(str(asked["at_once"])):
            choice = next_choice(trials, space, context.spec.seed)
            if choice is not None and not _enter_trial(context, len(trials) + 1, choice):
                break
        if choice is not None:
            continue
        if not waiting:
            return _word(len(counted), wanted)
        if _somebody_waits(store, polite=time.monotonic() - begun > _POLITE):
            if queue.put_back(context.run_id, context.attempt):
                context.superseded = True  # this attempt is over, and the run is not
            break
        time.sleep(_LOOK)
    raise Cancelled("The sweep steps aside.")


def space_of(spec: RunSpec) -> SearchSpace:
    """The search space of a sweep."""
    space = cast("Mapping[str, list[Value]]", spec.settings["search"])
    return {name: tuple(values) for name, values in space.items()}


def next_choice(trials: Sequence[Trial], space: SearchSpace, seed: int) -> dict[str, Value] | None:
    """What to try next: first what the data would choose by themselves, then what Optuna suggests. None once every
    choice has been tried."""
    if not trials:
        return {}
    tried = [dict(trial.choice) for trial in trials if trial.state != CANCELLED]
    full = [choice for choice in tried if len(choice) == len(space)]
    if len(full) >= size_of(space):
        return None
    study = study_of(trials, space, seed + len(trials))
    for _ in range(20):
        found = study.ask(_distributions(space)).params
        if found not in full:
            return found
    chance = random.Random(seed + len(trials))
    while size_of(space) > _MOST_LISTED:
        found = {name: chance.choice(values) for name, values in space.items()}
        if found not in full:
            return found
    return chance.choice([choice for choice in choices_of(space) if choice not in full])


def study_of(trials: Sequence[Trial], space: SearchSpace, seed: int = 0) -> "Study":
    """The trials as Optuna's study, in memory."""
    optuna = _optuna()
    from optuna.trial import TrialState, create_trial

    states = {State.SUCCEEDED.value: TrialState.COMPLETE, PRUNED: TrialState.PRUNED}
    states |= dict.fromkeys((State.QUEUED.value, State.RUNNING.value), TrialState.RUNNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    known = _distributions(space)
    for trial in trials:
        epochs = dict(trial.epochs or {})
        state = states.get(trial.state, TrialState.FAIL)
        value = trial.objective if state is TrialState.COMPLETE else None
        if state is TrialState.COMPLETE and value is None:
            state = TrialState.FAIL
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=dict(trial.choice),
                distributions={name: known[name] for name in trial.choice},
                intermediate_values=epochs,
            )
        )
    return study


def falls_behind(trials: Sequence[Trial], space: SearchSpace, run_id: str) -> bool:
    """True if the best held-out objective of a trial so far is worse than the median of the others' at that epoch."""
    from optuna.pruners import MedianPruner

    study = study_of(trials, space)
    place = next((place for place, trial in enumerate(trials) if trial.run == run_id), None)
    if place is None or not trials[place].epochs:
        return False
    pruner = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=STARTUP_EPOCHS, n_min_trials=STARTUP_TRIALS)
    return bool(pruner.prune(study, study.trials[place]))


# ---- the job of a trial ----------------------------------------------------------------------------------------------


def trial_of_sweep(context: JobContext) -> str | None:
    """A fit that is watched, and cancelled through the store once it falls behind the trials before it.

    Raises:
        UserError, TrainingStopped, Cancelled: as `fit_and_evaluate`.
    """
    with _watched(context):
        return fit_and_evaluate(context)


@contextmanager
def _watched(context: JobContext) -> Iterator[None]:
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(context, over), name="jebm-pruning", daemon=True)
    if context.is_first:
        watch.start()
    try:
        yield
    finally:
        over.set()
        if watch.is_alive():
            watch.join()


def _watch(context: JobContext, over: threading.Event) -> None:
    store = RunStore(context.home)
    with suppress(UserError, *FAULTS):  # the sweep was deleted or can't be read: then nothing is pruned
        parent = store.run(context.spec.parent).spec
        space, last = space_of(parent), None
        while parent.settings.get("pruning") and not over.wait(_LOOK):
            step = store.run(context.run_id).progress
            if step is None or step.step == last:
                continue
            last = step.step
            if falls_behind(read_trials(store, context.spec.parent, space), space, context.run_id):
                with Database(context.home.database).writing() as connection:
                    note_event(connection, context.run_id, context.attempt, PRUNED)
                store.cancel(context.run_id)
                return


# ---- parts -----------------------------------------------------------------------------------------------------------


def _enter_trial(context: JobContext, number: int, choice: Mapping[str, Value]) -> bool:
    """Queue a trial, unless the sweep is no longer wanted: then a trial would be nobody's."""
    settings = cast("Mapping[str, object]", context.spec.settings["fit"])
    title = trial_title(context.spec.title or context.spec.dataset_name, number)
    spec = replace(context.spec, kind_of_work=FIT, parent=context.run_id, settings={**settings, **choice}, title=title)
    store = RunStore(context.home)
    with Database(context.home.database).writing(alone=True) as connection:
        mine = select(run.c.id).where(run.c.id == context.run_id, run.c.attempt == context.attempt)
        wanted = mine.where(run.c.state == "running", run.c.cancel_requested.is_(None)).with_for_update()
        if connection.execute(wanted).first() is None:
            return False
        enter(connection, spec, store.who)
    return True


def _report(context: JobContext, trials: Sequence[Trial], wanted: int) -> None:
    best, ended = best_of(trials), sum(trial.ended and trial.state != CANCELLED for trial in trials)
    objective = None if best is None else best.objective
    context.report({"stage": "sweep", "epoch": ended, "epochs": wanted, "held_out_objective": objective})


def _refuse_hopeless(trials: Sequence[Trial], wanted: int) -> None:
    failed = [trial for trial in trials if trial.state == State.FAILED.value]
    if len(failed) >= min(HOPELESS, wanted) and len(failed) == sum(trial.ended for trial in trials):
        raise SpecError(
            "Each of the first {count} trials failed. The first said: {why}", count=len(failed), why=failed[0].why or ""
        )


def _somebody_waits(store: RunStore, polite: bool) -> bool:
    return store.is_waited_for(except_kind=None if polite else SWEEP)


def _word(done: int, wanted: int) -> str:
    made, tried = Phrase("Every trial was made."), Phrase("Every choice of the search space was tried.")
    return (made if done >= wanted else tried).template


def _distributions(space: SearchSpace) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution

    return {name: CategoricalDistribution(values) for name, values in space.items()}


def _optuna() -> ModuleType:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise SpecError(
            "A sweep needs the Python package {package}, which is not installed. Install it by: "
            "pip install 'jebm[sweep]'.",
            package=str(error.name),
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
