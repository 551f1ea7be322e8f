"""What the commands say: sentences and progress on stderr, results on stdout or in files."""

import errno
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from jebm_core.errors import Cancelled, ProcessError, SpecError, TrainingStopped, UserError

SECONDS_BETWEEN_LINES = 5.0

Report = Callable[[str, "float | None"], None]
"""Takes what is being done, and the share of it that is done: 0 to 1, or None where nobody knows."""


def tell(sentence: str) -> None:
    """Say something to the person, on stderr."""
    typer.echo(sentence, err=True)


def tell_notes(notes: Iterable[object]) -> None:
    """Say what was noticed, each note once."""
    for note in dict.fromkeys(map(str, notes)):
        tell(f"Note: {note}")


def show(lines: Iterable[str], json_target: str | None) -> None:
    """Print the result for a person, unless stdout belongs to the JSON."""
    if json_target != "-":
        for line in lines:
            typer.echo(line)


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A progress bar on a terminal; elsewhere lines, at most one every five seconds. Both on stderr."""
    if sys.stderr.isatty():
        with _bar(title) as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda text, share: bar.update(
            task, description=text, total=None if share is None else 1.0, completed=share or 0.0
        )


def _lines() -> Report:
    begun = time.monotonic()
    last = -math.inf

    def report(text: str, share: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            tell(f"{now - begun:.0f} s: {text}" if share is None else f"{now - begun:.0f} s: {text} ({share:.0%})")

    return report


# ---- files ----------------------------------------------------------------------------------------------------------


def require_writable(target: Path | str | None) -> None:
    """Refuse a file that can't be written, before any long work. ``-`` and None are fine.

    Raises:
        SpecError: a folder, a file in a folder that is missing, or one that may not be written.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise SpecError("{file} is a folder; expected the name of a file to write. Add a name to it.", file=path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise SpecError(
            "{file} can't be written: the folder {folder} does not exist. Make the folder, or choose another.",
            file=path,
            folder=folder,
        )
    try:
        if path.exists() and not path.is_file():
            return  # a pipe or a device; opening it here would be felt at its other end
        with path.open("ab") if path.exists() else tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _refused(path, error) from None


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or none of it.

    Raises:
        SpecError: the system refuses.
    """
    from jebm_core.runs.home import write_atomically

    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device must not be replaced by a file
        else:
            write_atomically(path, content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _refused(path, error) from None


def _refused(path: Path, error: OSError) -> SpecError:
    reason = error.strerror or type(error).__name__
    return SpecError(
        "{file} can't be written: {reason}. Choose another place, or check who may write there.",
        file=path,
        reason=reason,
    )


def write_json(target: str | None, record: Mapping[str, object]) -> None:
    """Write a result as JSON to a file or, for ``-``, to stdout; what is not finite becomes null."""
    if target is None:
        return
    text = json.dumps(plain(record), ensure_ascii=False, allow_nan=False, indent=1)
    if target == "-":
        typer.echo(text)
    else:
        write_file(Path(target), (text + "\n").encode("utf-8"))


def plain(value: object) -> object:
    """The value as JSON can hold it; NaN and infinities, which JSON does not have, become null.

    >>> plain({"a": (1.5, float("inf")), "b": Path("c")})
    {'a': [1.5, None], 'b': 'c'}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


# ---- errors ---------------------------------------------------------------------------------------------------------


def exit_code_of(error: Exception) -> int:
    """Say what went wrong in one sentence and return the exit code."""
    if os.environ.get("JEBM_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, UserError):
        tell(str(error))
        return 2
    if isinstance(error, TrainingStopped):
        tell(f"No usable model came out: {error}")
        return 1
    if isinstance(error, ProcessError):
        tell(str(error))
        return 1
    if isinstance(error, Cancelled):
        tell(str(error))
        return 130
    if isinstance(error, BrokenPipeError):  # whoever read the output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    # torch's own error of this kind is known by its name, since torch may not have been imported.
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError") or "t allocate memory" in str(error):
        tell("More memory was needed than the machine has. Use fewer rows or samples, or a smaller model.")
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        tell("The disk is full. Free some space, then start the command again.")
        return 1
    tell(
        f"A fault of jebm's own: {type(error).__name__}: {_first_line(error)} "
        f"Please report it with the log {_write_log(error)}."
    )
    return 1


def _first_line(error: Exception) -> str:
    line = (str(error).strip().splitlines() or ["(no message)"])[0][:300]
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _write_log(error: Exception) -> Path | str:
    """The traceback in a file under the home; where that can't be written, in the system's temporary folder."""
    from jebm_core.runs.home import default_home, write_atomically

    text = "".join([f"jebm {' '.join(sys.argv[1:])}\n", *traceback.format_exception(error)])
    name = time.strftime(f"fault-%Y%m%d-%H%M%S-{os.getpid()}.txt")
    for folder in (default_home().folder / "faults", Path(tempfile.gettempdir())):
        try:
            write_atomically(folder / name, text.encode("utf-8", "backslashreplace"))
        except OSError:
            continue
        return folder / name
    return "that could not be written"
