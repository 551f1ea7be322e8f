"""What the run store keeps and gives back: frozen records without behaviour of their own."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from functools import lru_cache
from typing import cast, final

from jebm_core.errors import SpecError
from jebm_core.runs.message import Message
from jebm_core.settings import HoldOutMode

STAGES = ("reference", "baseline", "training", "log-partition", "audit", "replicates", "evaluation")
"""Of a fit, in their order."""
FIT, RECALIBRATE, LEARNING_CURVE, DRIFT, SWEEP = "fit", "recalibrate", "learning-curve", "drift", "sweep"
"""Kinds of work: all but the first and the last are about another run, their parent; a sweep may be. Fits are the
trials of a sweep where it is their parent."""
STAGES_OF = {
    FIT: STAGES,
    RECALIBRATE: ("recalibration", "evaluation"),
    LEARNING_CURVE: ("learning-curve",),
    DRIFT: ("drift",),
    SWEEP: ("sweep",),
}
STUDIES = (LEARNING_CURVE, DRIFT, SWEEP)
"""Kinds of work that bring an answer and no model of their own."""
MOST_PROCESSES = 8
"""That can share a batch: `jebm_core.distributed` cuts it into so many parts."""
DEFAULT_PROJECT = "default"
"""What a run belongs to where nothing is said."""
FAULT = Message(
    "A fault of jebm's own ended the run; your data and settings may well be fine. See the log {log}."
).template

_STEPS_PER_STAGE = 1_000_000


class State(Enum):
    """The life of a run: queued → running → succeeded, failed or cancelled."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True if nothing more will happen to the run by itself."""
        return self not in (State.QUEUED, State.RUNNING)


@final
@dataclass(frozen=True)
class RunSpec:
    """Everything that a run needs to be done again.

    Attributes:
        dataset: SHA-256 of the data file, as ``RunStore.add_dataset`` returned it.
        dataset_name: the file's name; its ending says the format.
        title: what people call the run.
        targets: names or globs of the output columns; empty lets the table decide.
        features: names or globs of the context columns; None lets the table decide.
        kind: ``subsets``, ``configurations`` or ``rankings``; None lets the table decide.
        settings: the fit settings as their JSON form.
        hold_out_fraction: share held out for the evaluation, 0 ≤ share < 1.
        hold_out_mode: hold out ``rows``, or every row of some whole ``combinations``.
        seed: of the split.
        language: of the person who started the run.
        kind_of_work: ``fit``, ``recalibrate``, ``learning-curve``, ``drift`` or ``sweep``.
        parent: the run that the work is about, or the sweep that a fit is a trial of; empty for any other fit.
        method: how a recalibration goes, ``temperature`` or ``vector``.
        project: what the run belongs to; made where there is none of that name.
        rules: the rules that hold, as text; empty for none.
        generator: the saved generator version that rules and reference came from; empty for none.
        source: what the work needs besides: the SHA-256 of a data set of candidates for the reference ``table``,
            another run for ``model``; for ``drift`` the SHA-256 of the later rows.
        processes: that train the model together, on a GPU each where there are GPUs.

    Raises:
        SpecError: if a value can't be met.
    """

    dataset: str
    dataset_name: str
    title: str = ""
    targets: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None
    kind: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    hold_out_fraction: float = 0.2
    hold_out_mode: HoldOutMode = "rows"
    seed: int = 0
    language: str = "en"
    kind_of_work: str = "fit"
    rules: str = ""
    generator: str = ""
    source: str = ""
    parent: str = ""
    method: str = ""
    project: str = DEFAULT_PROJECT
    processes: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.hold_out_fraction) and 0 <= self.hold_out_fraction < 1):
            raise SpecError(
                "Expected a held-out share from 0 up to, but not including, 1; found {share}. "
                "Choose for example 0.2 to hold out a fifth of the rows.",
                share=self.hold_out_fraction,
            )
        if self.hold_out_mode not in ("rows", "combinations"):
            raise SpecError(
                "Expected the held-out part to be made of 'rows' or 'combinations'; found {mode!r}. "
                "Choose one of the two.",
                mode=self.hold_out_mode,
            )
        if self.seed < 0:
            raise SpecError("Expected a seed of 0 or more; found {seed}. Choose for example 0.", seed=self.seed)
        if not 1 <= self.processes <= MOST_PROCESSES:
            raise SpecError(
                "Expected 1 to {most} processes that train a model; found {found}. Choose for example as many as there "
                "are GPUs.",
                most=MOST_PROCESSES,
                found=self.processes,
            )

    @property
    def together(self) -> int:
        """How many processes the work is for: what is about another run, and a sweep, is done by one."""
        return 1 if self.parent or self.kind_of_work == SWEEP else self.processes

    def to_json(self) -> dict[str, object]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @staticmethod
    def from_json(content: Mapping[str, object]) -> "RunSpec":
        """The inverse of ``to_json``; unknown names of a later version are an error.

        Raises:
            SpecError: if a name is unknown.
        """
        unknown = sorted(content.keys() - _names_of_a_spec())
        if unknown:
            raise SpecError(
                "Expected a run's description of this version; found the unknown entries {names}. "
                "Open the run with the version of jebm that made it.",
                names=", ".join(unknown),
            )
        values = dict(content)
        for name in ("targets", "features"):
            if isinstance(values.get(name), list):
                values[name] = tuple(cast(list[str], values[name]))
        return RunSpec(**values)  # pyright: ignore[reportArgumentType]


@final
@dataclass(frozen=True)
class Dataset:
    """An uploaded file. ``name`` is the name of this upload; the contents are kept once."""

    sha256: str
    name: str
    bytes: int
    created: float


@final
@dataclass(frozen=True)
class GeneratorVersion:
    """A saved candidate generator: rules as text, and the reference that draws under them.

    Attributes:
        version: 1, 2, … of this name.
        reference: the name of a reference as `FitSettings` knows it; source: as in `RunSpec`.
    """

    id: str
    name: str
    version: int
    rules: str
    reference: str
    source: str
    created: float

    @property
    def title(self) -> str:
        """The name with its version: ``Assembly · 2``."""
        return f"{self.name} · {self.version}"


@final
@dataclass(frozen=True)
class ProgressRow:
    """One report of a running fit. ``step`` rises through the stages; ``values`` are the report's fields."""

    step: int
    written: float
    values: Mapping[str, object]


@final
@dataclass(frozen=True)
class Span:
    """A number that a run reports again and again: its last, smallest and largest value so far."""

    last: float
    least: float
    most: float


@final
@dataclass(frozen=True)
class Event:
    """Something that happened to a run: ``queued``, ``claimed``, ``started``, ``requeued``, ``resumed``,
    ``cancel requested`` or the state that it ended in."""

    written: float
    attempt: int
    what: str
    host: str


@final
@dataclass(frozen=True)
class Artifact:
    """A file that a run brought, by its path inside the run's folder."""

    path: str
    sha256: str
    bytes: int


@final
@dataclass(frozen=True)
class RunView:
    """A run as a page sees it, read at the moment ``seen``; times are seconds since 1970.

    Attributes:
        message: why the run failed or was cancelled; None while all is well.
        stop_reason: why a finished training stopped.
        started: when the first attempt began.
        heartbeat: when the job last gave a sign of life.
        attempt: 0 before the first start; 2 means that the run was taken up again after it had been ended.
            When it changes, read the history from the beginning.
        cancelling: somebody asked a running run to stop and it has not stopped yet.
        progress: the latest report.
        pid: the job's process, None when there is none.
        code_version: of the jebm that queued the run.
        slot: what the job computes on, ``cpu`` or ``cuda:0``; None before its first start.
    """

    id: str
    spec: RunSpec
    state: State
    message: Message | None
    stop_reason: Message | None
    created: float
    started: float | None
    finished: float | None
    heartbeat: float | None
    attempt: int
    cancelling: bool
    progress: ProgressRow | None
    pid: int | None
    code_version: str
    slot: str | None
    seen: float

    @property
    def elapsed(self) -> float | None:
        """Seconds since the first attempt began, up to the end where there is one."""
        if self.started is None:
            return None
        return max(0.0, (self.seen if self.finished is None else self.finished) - self.started)

    @property
    def seconds_left(self) -> float | None:
        """What the last report expects to be left, less the time since; None if unknown or not running."""
        left = None if self.progress is None else self.progress.values.get("seconds_left")
        if self.state is not State.RUNNING or self.progress is None or not isinstance(left, int | float):
            return None
        return max(0.0, left - (self.seen - self.progress.written))


def progress_step(stage: str, epoch: int) -> int:
    """The place of a report in a run's history. It depends on nothing but stage and epoch, so that a
    resumed run writes over what it had reported before instead of beside it.

    >>> progress_step("training", 3) < progress_step("training", 4) < progress_step("audit", 0)
    True
    """
    stages = next((known for known in STAGES_OF.values() if stage in known), STAGES)
    place = stages.index(stage) if stage in stages else len(stages)
    return place * _STEPS_PER_STAGE + min(max(epoch, 0), _STEPS_PER_STAGE - 1)


@lru_cache(maxsize=1)
def _names_of_a_spec() -> frozenset[str]:
    return frozenset(entry.name for entry in fields(RunSpec))


def spec_from_text(text: str) -> RunSpec:
    """A spec from its JSON text."""
    return RunSpec.from_json(json.loads(text))
