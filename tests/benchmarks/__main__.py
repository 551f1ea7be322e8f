"""``python -m tests.benchmarks``: all suites, or those that are named."""

import argparse
import dataclasses
import sys
from fnmatch import fnmatch
from pathlib import Path

from tests.benchmarks.harness import SUITES, open_suite, tell
from tests.benchmarks.report import markdown
from tests.benchmarks.store import Store, run_suite


def main(arguments: list[str] | None = None) -> int:
    """Measure, write both files, and say what was missed: 0 all the same; 1 where a measurement failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure, and write RESULTS.md.")
    parser.add_argument("suite", nargs="*", help=f"among {', '.join(SUITES)}; all where none is named")
    parser.add_argument("--only", metavar="PATTERN", help="measurements with such a name, like 'yeast: *'")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured with this very code")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="the folder that gets both files")
    chosen = parser.parse_args(arguments)
    for name in chosen.suite:
        if name not in SUITES:
            parser.error(f"expected a suite among {', '.join(SUITES)}, found {name!r}")
    suites = [open_suite(name) for name in SUITES]
    store = Store.open(chosen.results / "RESULTS.json")

    def save() -> None:
        store.write(suites)
        (chosen.results / "RESULTS.md").write_text(markdown(store, suites), encoding="utf-8")

    going_well = True
    try:
        for suite in suites:
            if not chosen.suite or suite.name in chosen.suite:
                named = [m for m in suite.measurements if chosen.only is None or fnmatch(m.name, chosen.only)]
                part = dataclasses.replace(suite, measurements=tuple(named))
                going_well &= run_suite(part, store, save, fresh=chosen.fresh)
    except KeyboardInterrupt:
        tell("Interrupted; what is finished is kept.")
        return 130
    finally:
        save()
    for suite in suites:
        for finding in store.findings(suite):
            if finding.met is False and finding.target is not None and (not chosen.suite or suite.name in chosen.suite):
                target = f"{finding.target.relation} {finding.target.bound}"
                tell(f"missed: {suite.name}: {finding.what}: {finding.value:.4g}, target {target}")
    tell("Written: RESULTS.md and RESULTS.json.")
    return 0 if going_well else 1


if __name__ == "__main__":
    sys.exit(main())
