"""How a run ended whose job is no more: its own last word, or what can be said without one."""

import signal
from contextlib import suppress
from pathlib import Path

from jebm_core.runs.queue import Claim, LastWord
from jebm_core.runs.records import FAULT, Message


def last_word_in(path: Path, attempt: int) -> LastWord | None:
    """What the job left in its file, if that is of this attempt."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        word = LastWord.from_text(path.read_text(encoding="utf-8"))
        return word if word.attempt == attempt else None
    return None


def sentence_of_death(claim: Claim, code: int | None, log: str) -> Message:
    """Why a run failed whose job left no word; ``code`` is its exit code, None where nobody knows."""
    values: dict[str, object] = {"attempts": claim.attempt, "log": log}
    if code is None:
        return Message(
            "The run ended before its result was written, in attempt {attempts}: it was killed, ran out of memory, or "
            "the machine was switched off. Free some memory or choose a smaller model, then start it again. Log: {log}",
            values,
        )
    if code > 0 and code - 128 not in (signal.SIGTERM, 9):
        return Message(FAULT, {"log": log})
    return Message(
        "The run was ended from outside before its result was written, in attempt {attempts} (exit code {code}): it "
        "was killed or ran out of memory. Free some memory or choose a smaller model, then start it again. Log: {log}",
        {**values, "code": code},
    )
