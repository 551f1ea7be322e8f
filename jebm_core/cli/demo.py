"""``jebm demo``: the sample project, fitted the way a user's run is, in the dashboard."""

import time
from importlib import resources
from typing import TYPE_CHECKING, Annotated

import typer
from filelock import FileLock, Timeout

from jebm_core.cli.fit import EPOCHS, STAGES
from jebm_core.cli.look import require_rendered_answer
from jebm_core.cli.output import progress, tell
from jebm_core.cli.serve import HOST, PortOption, dashboard, ending_on_signals, require_free_port, watch
from jebm_core.errors import Cancelled, TrainingStopped

if TYPE_CHECKING:
    from jebm_core.runs import Home, RunSpec, RunStore, RunView

FILE = "assembly.csv"
TITLE = "Drive assemblies: which untried combination works?"

_LOOK = 0.3  # seconds between two looks at the run


def demo(
    port: PortOption = 8501,
    check: Annotated[
        bool, typer.Option("--check", help="See whether the run's page renders, print 'demo ok' and stop.")
    ] = False,
) -> None:
    """Fit the sample project and show it.

    It goes the way of every run; the second time the finished run is opened.

    Example: jebm demo --port 8502
    """
    require_free_port(port)
    from jebm_core.runs import RunStore

    store = RunStore(idle_seconds=1.0) if check else RunStore()
    ours = _no_runner_lives(store.home)
    with ending_on_signals():
        run = _finished_run(store)
        with dashboard(port) as server:
            address = f"http://{HOST}:{port}/?run={run}"
            if not check:
                typer.echo(f"The dashboard is at {address} (interrupt with Ctrl-C).")
                watch(server)
            how = require_rendered_answer(f"http://{HOST}:{port}/partition?run={run}", run)
            tell(f"The page of run {run} was seen {how}.")
        if ours:
            _wait_for_runner(store.home)
    typer.echo("demo ok")


def sample_spec(dataset: str) -> "RunSpec":
    """The sample run: all slots together, everything else as the data suggest."""
    from jebm_core.runs import RunSpec
    from jebm_core.settings import FitSettings

    settings = FitSettings().to_json()
    return RunSpec(dataset=dataset, dataset_name=FILE, title=TITLE, targets=("c_*",), settings=settings)


def _finished_run(store: "RunStore") -> str:
    """The newest finished run of the sample, or a new one that is waited for."""
    from jebm_core.runs import State

    content = (resources.files("sample_data") / FILE).read_bytes()
    spec = sample_spec(store.add_dataset(content, FILE).sha256)
    alike = [view for view in store.list_runs() if _same_work(view.spec, spec)]
    done = [view.id for view in alike if view.state is State.SUCCEEDED and store.folder(view.id).evaluation.is_file()]
    if done:
        tell(f"Run {done[0]} of the sample project is there already.")
        return done[0]
    under_way = [view.id for view in alike if not view.state.ended]
    run = under_way[0] if under_way else store.submit(spec)
    store.ensure_runner()
    return _wait_for(store, run)


def _same_work(one: "RunSpec", other: "RunSpec") -> bool:
    """Whether two runs compute the same, whatever they are called."""
    from jebm_core.errors import SpecError
    from jebm_core.settings import FitSettings

    def of(spec: "RunSpec") -> dict[str, object]:
        record = spec.to_json() | {"settings": FitSettings.from_json(dict(spec.settings)).to_json()}
        return {name: value for name, value in record.items() if name not in ("title", "language", "dataset_name")}

    try:
        return of(one) == of(other)
    except SpecError:
        return False  # a run of another version


def _wait_for(store: "RunStore", run: str) -> str:
    from jebm_core.runs import State

    tell(f"Fitting the sample project as run {run}; if you interrupt, it goes on in the background.")
    with progress("fit") as report:
        while not (view := store.run(run)).state.ended:
            report(*_state_of(view))
            time.sleep(_LOOK)
    if view.state is State.CANCELLED:
        raise Cancelled("The run was cancelled.")
    if view.state is State.FAILED:
        raise TrainingStopped(f"{view.message} Log: {store.folder(run).log}")
    return run


def _state_of(view: "RunView") -> tuple[str, float | None]:
    if view.progress is None:
        return "waiting for the run to begin", None
    values = view.progress.values
    stage, epoch, epochs = str(values.get("stage")), values.get("epoch"), values.get("epochs")
    text = STAGES.get(stage, stage)
    if isinstance(epoch, int) and isinstance(epochs, int) and epochs > 1:
        epochs_told = f", epoch {epoch} of at most {epochs}" if stage in EPOCHS else ""
        return text + epochs_told, min(1.0, epoch / epochs)
    return text, None


def _no_runner_lives(home: "Home") -> bool:
    try:
        with FileLock(home.runner_lock).acquire(timeout=0):
            return True
    except Timeout:
        return False


def _wait_for_runner(home: "Home") -> None:
    """Wait until the runner that was started for the check has nothing left to do and ends."""
    try:
        with FileLock(home.runner_lock).acquire(timeout=30):
            pass
    except Timeout:
        tell("The worker goes on with other runs.")
