"""The processes of one job, as torchrun started them: the first speaks with the store, the others train with it, wait
while it evaluates, and leave when it does.

What they have to say to one another beside the numbers of the fit goes through torchrun's own key-value store: what the
run was asked for, why a process failed, and that all is over.
"""

import json
import os
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, final

from jebm_core.errors import Cancelled, ProcessError
from jebm_core.ranks import Rank
from jebm_core.runs.identity import kill_children
from jebm_core.runs.message import Message
from jebm_core.runs.records import RunSpec, spec_from_text

if TYPE_CHECKING:
    from jebm_core.distributed import Group

_SPEC, _FAILED, _OVER = "spec", "failed", "over"
_FOREVER = timedelta(days=365)
_PATIENCE = timedelta(minutes=10)


@final
class Together:
    """This process among those of the job."""

    def __init__(self, place: Rank) -> None:
        self.place = place
        self._words = _words()

    def join(self, spec: RunSpec) -> "Group":
        """The group that fits one model.

        Raises:
            SpecError: there are more processes than can share the work.
            ProcessError: another process does not come.
        """
        from jebm_core.distributed import join, require_fitting

        device = str(spec.settings.get("device", "auto"))
        group = join(device)
        require_fitting(group, device)
        return group

    # ---- the first process ------------------------------------------------------------------------------------------

    def tell(self, spec: RunSpec) -> None:
        """Let the others know what to do."""
        self._words.set(_SPEC, json.dumps(spec.to_json()))

    def failure(self) -> Message | None:
        """Why another process failed; None where none said so."""
        with suppress(RuntimeError):  # torchrun has gone, and its store with it
            if self._words.check([_FAILED]):
                return Message.from_json(json.loads(self._words.get(_FAILED)))
        return None

    def end(self) -> None:
        """Let the others leave."""
        with suppress(RuntimeError):
            self._words.set(_OVER, "1")

    # ---- the others -------------------------------------------------------------------------------------------------

    def hear(self) -> RunSpec:
        """What to do."""
        self._words.wait([_SPEC], _FOREVER)
        return spec_from_text(self._words.get(_SPEC).decode())

    def fail(self, why: Message, group: "Group | None") -> None:
        """Say why this process failed, and hang up: the first one, wherever it waits for this one, hears of it."""
        with suppress(RuntimeError):
            self._words.set(_FAILED, json.dumps(why.to_json()))
        if group is not None:
            with suppress(RuntimeError, ValueError):
                group.leave()

    def leave_at_the_end(self) -> None:
        """End this process, whatever it is doing, once the first one has nothing left to do."""
        threading.Thread(target=_leave, name="jebm-over", daemon=True).start()

    def wait(self) -> NoReturn:
        """For the end."""
        while True:
            threading.Event().wait(_FOREVER.total_seconds())


def is_lost(error: BaseException) -> bool:
    """Whether an error says only that another process went away, and nothing of why."""
    return isinstance(error, ProcessError) and isinstance(error.__cause__, RuntimeError)


def says_nothing_new(error: BaseException) -> bool:
    """Whether an error of one of the others is no news to the first process."""
    return is_lost(error) or isinstance(error, Cancelled)


def _words() -> Any:
    """A connection of its own: who waits in one blocks it."""
    from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False, timeout=_PATIENCE)
    return PrefixStore(f"jebm-job/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _leave() -> None:
    try:
        _words().wait([_OVER], _FOREVER)
        code = 0
    except RuntimeError:
        code = 1  # torchrun has gone
    kill_children()
    os._exit(code)
