"""``jebm rules``: what a file of rules allows, and which rows of a table it refuses."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jebm_core.cli.options import JsonOption, SeedOption
from jebm_core.cli.output import progress, require_writable, show, tell_notes, write_file, write_json
from jebm_core.cli.results import require_result_place, write_results
from jebm_core.errors import SpecError

if TYPE_CHECKING:
    from jebm_core.rules.compiled import CompiledRules
    from jebm_core.rules.language import RuleSet
    from jebm_core.tables import Examples

_SHOWN = 10


def rules(
    file: Annotated[Path, typer.Argument(metavar="RULES", help="Text, JSON or YAML, UVL, or DIMACS CNF.")],
    count: Annotated[bool, typer.Option("--count", help="How many combinations are valid, exactly.")] = False,
    sample: Annotated[int | None, typer.Option(metavar="N", min=1, help="Draw so many valid ones, evenly.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="TABLE", help="Which rows of a table break which rule.")] = None,
    marginals: Annotated[bool, typer.Option("--marginals", help="How often each item or option is chosen.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rules as .uvl, .cnf, .json, .yaml or .rules (text).")
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Output columns of the table. Default: y_*, r_* or c_*.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where samples or checked rows go: .csv, .parquet, .xlsx."),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
) -> None:
    """Count, sample and check combinations under rules.

    Without an option it says what the rules amount to: how many combinations are valid, what is forced or impossible,
    and which rules change nothing. With a table, names are those of its columns; else the file has to declare them.

    Example: jebm rules assembly.rules --check assembly.csv --json broken.json
    """
    require_writable(json)
    if out is not None:
        require_result_place(out)
    if export is not None:
        require_writable(export)
    started = time.perf_counter()
    from jebm_core.rules.notation.files import read_rule_file

    given = read_rule_file(file)
    if export is not None:
        write_file(export, _exported(given, export).encode("utf-8"))
    examples = None if check is None else _read(check, targets or ())
    with progress("rules") as report:
        report("compiling the rules", None)
        compiled = _compiled(given, examples)
    seconds = time.perf_counter() - started
    whole = not (count or sample or check or marginals or export)
    from jebm_core.evaluation.rules import rule_marginals, rule_samples

    record: dict[str, Any] = {"rules": str(file), "source": given.source, **_counted(compiled, seconds)}
    if whole:
        record |= _effects(compiled)
    if marginals:
        record["marginals"] = rule_marginals(compiled)
    if sample:
        record["sample"] = rule_samples(compiled, sample, seed)
        if out is not None:
            import pandas as pd

            write_results(pd.DataFrame(record.pop("sample")), out)
    if examples is not None:
        tell_notes(examples.notes)
        record |= _checked(compiled, examples)
        if out is not None:
            import pandas as pd

            lines = [{"row": e["row"], **rule} for e in record["broken_rows"] for rule in e["rules"]]
            write_results(pd.DataFrame(lines, columns=["row", "line", "rule"]), out)
    write_json(json, record)
    show(_lines(record, whole or count), json)


def _read(table: Path, targets: list[str] | tuple[str, ...]) -> "Examples":
    from jebm_core.tables import guess_roles, read_examples, read_table

    read = read_table(table)
    return read_examples(read, guess_roles(read, targets=targets))


def _compiled(given: "RuleSet", examples: "Examples | None") -> "CompiledRules":
    from jebm_core.rules.compiled import compile_rules
    from jebm_core.rules.problem import bind

    if examples is None:
        return compile_rules(bind(given))
    return compile_rules(bind(given, examples.outputs.schema, features=examples.roles.features))


def _counted(compiled: "CompiledRules", seconds: float) -> dict[str, Any]:
    from jebm_core.evaluation.rules import summarise_rules

    found = summarise_rules(compiled)
    return {
        "kind": found.kind,
        "count": str(found.count) if found.is_exact else None,
        "exact": found.is_exact,
        "count_estimate": str(found.count),
        "count_interval": [str(found.count_low), str(found.count_high)],
        "checked_lines": list(found.checked),
        "log_count": found.log_count,
        "variables": found.variables,
        "outputs": found.outputs,
        "valid_outputs": str(found.valid_outputs),
        "share": found.share,
        "conditions": found.conditions,
        "preferences": found.preferences,
        "nodes": found.nodes,
        "forced": list(found.forced),
        "impossible": list(found.impossible),
        "seconds": round(seconds, 4),
    }


def _effects(compiled: "CompiledRules") -> dict[str, Any]:
    from jebm_core.evaluation.rules import rule_effects

    found = rule_effects(compiled)
    if found is None:
        return {"redundant": None, "effects": None}
    said = [{"line": e.line, "rule": e.rule, "count_without": str(e.count_without)} for e in found]
    return {"redundant": [said[n] for n, e in enumerate(found) if e.redundant], "effects": said}


def _checked(compiled: "CompiledRules", examples: "Examples") -> dict[str, Any]:
    from jebm_core.evaluation.rules import check_rows

    found = check_rows(compiled, examples)
    names = [{"line": rule.line, "rule": rule.rule} for rule in found.rules]
    return {
        "rows": found.rows,
        "rows_broken": len(found.broken),
        "rules_broken": [{**name, "rows": rule.rows} for name, rule in zip(names, found.rules, strict=True)],
        "broken_rows": [{"row": row, "rules": [names[n] for n in which]} for row, which in found.broken],
    }


def _exported(given: "RuleSet", path: Path) -> str:
    import json

    ending = path.suffix.lower()
    if ending == ".uvl":
        from jebm_core.rules.notation.uvl import write_uvl

        return write_uvl(given)
    if ending in (".cnf", ".dimacs"):
        from jebm_core.rules.notation.dimacs import write_dimacs

        return write_dimacs(given)
    if ending in (".json", ".yaml", ".yml"):
        from jebm_core.rules.notation.structured import to_structured

        record = to_structured(given)
        if ending == ".json":
            return json.dumps(record, ensure_ascii=False, indent=1) + "\n"
        import yaml

        return yaml.safe_dump(record, allow_unicode=True, sort_keys=False)
    if ending in (".rules", ".txt"):
        from jebm_core.rules.notation.printer import to_text

        return to_text(given)
    raise SpecError(
        "{file} ends in {ending!r}; expected .uvl, .cnf, .json, .yaml or .rules. Name the file accordingly.",
        file=path.name,
        ending=path.suffix,
    )


def _lines(record: dict[str, Any], counted: bool) -> Iterator[str]:
    if counted:
        share = f"{record['share']:.3g}" if record["share"] else "less than 1e-300"
        about = "" if record["exact"] else "about "
        yield f"{about}{record['count_estimate']} valid combinations, {share} of all; log {record['log_count']:.3f}"
        if not record["exact"]:
            low, high = record["count_interval"]
            lines = ", ".join(map(str, record["checked_lines"]))
            yield f"  an estimate, 95 % interval {low} to {high}: lines {lines} are too entangled to be summed exactly"
        elif record["valid_outputs"] != record["count"]:
            yield f"  {record['valid_outputs']} where only the columns of the table count"
    if "redundant" in record:
        yield from _effect_lines(record)
    for name, share in record.get("marginals", {}).items():
        yield f"{share:8.4f}  {name}"
    for row in record.get("sample", ())[:_SHOWN]:
        yield "  " + ", ".join(f"{name}={value}" for name, value in row.items() if value not in (0,))
    if len(record.get("sample", ())) > _SHOWN:
        yield f"  … {len(record['sample']) - _SHOWN} more; --out FILE or --json FILE has them all"
    if "rows_broken" in record:
        yield f"{record['rows_broken']} of {record['rows']} rows break a rule"
        for rule in record["rules_broken"]:
            yield f"  {rule['rows']} rows, line {rule['line']}: {rule['rule']}"


def _effect_lines(record: dict[str, Any]) -> Iterator[str]:
    for key, words in (("forced", "always chosen"), ("impossible", "never possible")):
        if record[key]:
            yield f"  {words}: {', '.join(record[key])}"
    if record["redundant"] is None:
        yield "  too many or too entangled rules to say what each of them does"
    for rule in record["redundant"] or ():
        yield f"  changes nothing, line {rule['line']}: {rule['rule']}"
