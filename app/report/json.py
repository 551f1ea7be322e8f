"""The report as JSON: every number as a value beside its text, every table whole, every figure as plotly has it."""

import json as encoder
from dataclasses import asdict
from typing import Any

from plotly.utils import PlotlyJSONEncoder

from app.report.model import Number, Report, Section, Statement, Table

FORMAT = 1


def json(report: Report) -> bytes:
    """Return the file, UTF-8."""
    content = {
        "format": FORMAT, "language": report.language, "title": report.title, "question": report.question,
        "made": report.made, "verdict": report.verdict, "verdict_word": report.word,
        "headline": _statement(report.headline), "reasons": [_statement(one) for one in report.reasons],
        "meeting": [_statement(one) for one in report.meeting],
        "verdicts": [asdict(one) for one in report.judgements],
        "sections": [_section(one) for one in report.sections],
        "steps": [{"title": _statement(one.title), "why": _statement(one.why), "effort": _statement(one.effort)}
                  for one in report.steps],
        "limits": [_statement(one) for one in report.limits],
        "provenance": {one.label: one.text for one in report.origins}, "rules": report.rules,
    }  # fmt: skip
    return encoder.dumps(content, cls=PlotlyJSONEncoder, ensure_ascii=False, indent=1, allow_nan=False).encode()


def _section(section: Section) -> dict[str, Any]:
    figure = section.figure
    return {
        "key": section.key, "title": section.title, "verdict": section.verdict, "verdict_word": section.word,
        "answer": _statement(section.answer), "notes": [_statement(one) for one in section.notes],
        "quantities": [
            {"label": one.label, "note": one.note, **_number(one.number)} for one in section.quantities
        ],
        "figure": None if figure is None else {
            "key": figure.key, "title": figure.title, "table": _table(figure.table), "plotly": _drawn(figure.chart),
        },
        "tables": [_table(one) for one in section.tables], "how": section.how,
    }  # fmt: skip


def _drawn(chart: Any) -> dict[str, Any]:
    content: dict[str, Any] = chart.to_dict()
    content["layout"].pop("template", None)
    return content


def _statement(statement: Statement) -> dict[str, Any]:
    return {"text": statement.text, "numbers": {name: _number(one) for name, one in statement.numbers.items()}}


def _number(number: Number) -> dict[str, Any]:
    return {key: value for key, value in asdict(number).items() if value is not None}


def _table(table: Table) -> dict[str, Any]:
    return {
        "key": table.key, "title": table.title, "columns": [asdict(one) for one in table.columns],
        "rows": [list(row) for row in table.rows],
    }  # fmt: skip
