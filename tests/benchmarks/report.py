"""``RESULTS.md``: what was found, row by row, and whether it is what it should be."""

from tests.benchmarks import machine
from tests.benchmarks.harness import Finding, Suite
from tests.benchmarks.store import Store

_HEAD = """# Benchmarks

Written by `make bench`; the same numbers, with settings and the code they belong to, are in `RESULTS.json`. Speed is
given as the ratio of two things measured in turns on the same machine: single absolute times say more about the
machine than about the code. A row without a target is only shown.
"""


def markdown(store: Store, suites: list[Suite]) -> str:
    """The page."""
    found = {suite.name: store.findings(suite) for suite in suites}
    judged = [(name, finding) for name, rows in found.items() for finding in rows if finding.met is not None]
    missed = [f"{name}: {finding.what}" for name, finding in judged if not finding.met]
    parts = [_HEAD, _machine()]
    parts.append(f"**{len(judged) - len(missed)} of {len(judged)} targets met.**")
    if missed:
        parts[-1] += " Missed:\n\n" + "\n".join(f"- {_cell(line)}" for line in missed)
    for suite in suites:
        parts.append(_section(suite, found[suite.name], store))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _machine() -> str:
    facts = machine.facts()
    packages = ", ".join(f"{name} {number}" for name, number in machine.versions().items())
    about = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}"
    return f"Machine: {about}.\nVersions: {packages}."


def _section(suite: Suite, rows: list[Finding], store: Store) -> str:
    lines = [f"## {suite.name}", "", suite.purpose, ""]
    records = store.of(suite)
    outdated = store.outdated(suite)
    if suite.name in store.skipped:
        lines += [f"Skipped: {store.skipped[suite.name]}.", ""]
    if records:
        dates = sorted({record.date for record in records.values()})
        loads = [record.load for record in records.values() if record.load is not None]
        busy = f"; load before each measurement {min(loads)} to {max(loads)}" if loads else ""
        lines += [f"Measured {' to '.join(dict.fromkeys((dates[0], dates[-1])))}{busy}.", ""]
        cores = machine.facts()["cores"]
        if loads and max(loads) > float(cores):
            lines += [f"The machine was busy: more work than its {cores} cores could do, so times are provisional.", ""]
    elif suite.name not in store.skipped:
        lines += ["Not measured yet.", ""]
    for name, reason in store.failed.get(suite.name, {}).items():
        lines += [f"{name}: failed: {reason}", ""]
    if rows:
        lines += ["| what | value | target | met | detail |", "|---|---|---|---|---|"]
        lines += [_row(finding, outdated) for finding in rows]
    if outdated & {source for finding in rows for source in finding.sources}:
        lines += ["", "† measured with earlier code; `make bench` measures it again."]
    return "\n".join(lines)


def _row(finding: Finding, outdated: set[str]) -> str:
    mark = " †" if outdated & set(finding.sources) else ""
    target = (
        "" if finding.target is None else f"{finding.target.relation} {_number(finding.target.bound, finding.unit)}"
    )
    met = {None: "", True: "yes", False: "**no**"}[finding.met]
    value = _number(finding.value, finding.unit)
    return f"| {_cell(finding.what)}{mark} | {value} | {target} | {met} | {_cell(finding.detail)} |"


def _number(value: float, unit: str) -> str:
    if unit == "×":
        return f"×{value:.3g}" if value < 10 else f"×{value:.1f}"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {unit}".strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
