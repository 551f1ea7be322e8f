"""What compiling rules may cost, and how it is told apart from a fault."""

import time
from collections.abc import Callable
from typing import final

from jebm_core.errors import Cancelled, Phrase

MAX_WIDTH = 1_000_000
MAX_SECONDS = 60.0


class TooLarge(Exception):
    """The rules need a larger diagram, or more time, than the budget allows. Never leaves the package."""

    def __init__(self, reason: Phrase) -> None:
        self.reason = reason
        super().__init__(str(reason))


@final
class Budget:
    """Counts what a compilation takes.

    Args:
        width: nodes of one layer, at most.
        seconds: from now on, at most.
        on_progress: told the share that is done, between 0 and 1.
        should_stop: asked often; True ends the work with `Cancelled`.
    """

    def __init__(
        self,
        *,
        width: int = MAX_WIDTH,
        seconds: float = MAX_SECONDS,
        on_progress: Callable[[float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.width, self.seconds = width, seconds
        self._started = time.monotonic()
        self._on_progress, self._should_stop = on_progress, should_stop

    def smaller(self, *, width: int, seconds: float) -> "Budget":
        """Another one from now on, no larger than this one, stopped by the same request."""
        return Budget(width=min(width, self.width), seconds=min(seconds, self.seconds), should_stop=self._should_stop)

    def spend(self, width: int) -> None:
        """A layer of so many nodes was made. Raises `TooLarge` or `Cancelled`."""
        if width > self.width:
            raise TooLarge(
                Phrase("a layer of {width} nodes; at most {most} are allowed", {"width": width, "most": self.width})
            )
        if time.monotonic() - self._started > self.seconds:
            raise TooLarge(Phrase("more than {seconds} s", {"seconds": f"{self.seconds:g}"}))
        if self._should_stop is not None and self._should_stop():
            raise Cancelled("Compiling the rules was stopped on request.")

    def report(self, share: float) -> None:
        """So much is done."""
        if self._on_progress is not None:
            self._on_progress(share)
