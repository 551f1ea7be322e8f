"""The other end of `harness.run_in_child`: settings on stdin, the result as the last line of stdout."""

import json
import os
import sys
import traceback
from importlib import import_module

from tests.benchmarks.harness import ROOT


def main() -> int:
    """Measure, and hand the result over; whatever else is printed goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        try:
            found = {"result": import_module(sys.argv[1]).measure(json.load(sys.stdin))}
        except Exception as error:  # noqa: BLE001 - the parent reports it and goes on with the next measurement
            traceback.print_exc()
            words = f"{type(error).__name__}: {error}".replace(str(ROOT.parent), "…")
            found = {"error": " ".join(words.split())}
        answer.write(json.dumps(found) + "\n")
    return 0 if "result" in found else 1


if __name__ == "__main__":
    raise SystemExit(main())
