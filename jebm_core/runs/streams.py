"""Output that a full disk can't turn into a crash."""

import io
import os
import sys
from typing import final


@final
class LogStream(io.TextIOBase):
    """Text written straight to a file descriptor. What the disk refuses is dropped and counted, and the count is
    written as soon as there is room again: a line of a log must never end the work that it tells about.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.dropped = 0

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Always UTF-8."""
        return "utf-8"

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str, /) -> int:
        """Write the text, or count its length as dropped."""
        if self.dropped and self._push(f"[{self.dropped} characters of this log were lost: the disk was full]\n"):
            self.dropped = 0
        if self.dropped or not self._push(text):
            self.dropped += len(text)
        return len(text)

    def _push(self, text: str) -> bool:
        content = memoryview(text.encode("utf-8", "backslashreplace"))
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError:
            return False
        return True


def guard_output() -> None:
    """Send ``print``, warnings and tracebacks of this process through ``LogStream``; for jobs and runners only."""
    sys.stdout = LogStream(1)
    sys.stderr = LogStream(2)
