"""Which contexts a condition holds in: `where region == "JP"` on the feature columns of a table."""

from collections.abc import Sequence
from decimal import Decimal
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from jebm_core.errors import RuleError
from jebm_core.rules.language import And, Compare, Condition, Name, Not, Or
from jebm_core.rules.lookup import feature_column, missing_feature
from jebm_core.rules.places import place_of
from jebm_core.tables.cells import is_number
from jebm_core.tables.records import spelled_column
from jebm_core.tables.roles import FEATURE_PREFIX


def condition_flags(
    conditions: Sequence[Condition], frame: pd.DataFrame, *, source: str = "rules"
) -> npt.NDArray[np.bool_]:
    """Whether each condition holds in each row, [row, condition].

    A missing cell holds for no comparison, != included. Numbers are compared as numbers and words as text; a number
    that is spelled otherwise (1.50 for 1.5) is the same number.

    Raises:
        RuleError: a feature that the table does not have, or words where a number is needed.

    >>> frame = pd.DataFrame({"x_load": [3.0, 8.0], "x_region": ["JP", "EU"]})
    >>> condition_flags([Compare(Name("load"), ">", Decimal(5)), Compare(Name("region"), "==", "JP")], frame).tolist()
    [[False, True], [True, False]]
    """
    columns = [_holds(condition, frame, source) for condition in conditions]
    return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0), dtype=bool)


def _holds(condition: Condition, frame: pd.DataFrame, source: str) -> npt.NDArray[np.bool_]:
    match condition:
        case Compare():
            return _compare(condition, frame, source)
        case Not(part):
            return ~_holds(cast(Condition, part), frame, source)
        case And(parts):
            found = [_holds(cast(Condition, part), frame, source) for part in parts]
            return np.logical_and.reduce(found) if found else np.ones(len(frame), dtype=bool)
        case Or(parts):
            found = [_holds(cast(Condition, part), frame, source) for part in parts]
            return np.logical_or.reduce(found) if found else np.zeros(len(frame), dtype=bool)


def _compare(test: Compare, frame: pd.DataFrame, source: str) -> npt.NDArray[np.bool_]:
    cells = _cells(test.name, frame, source)
    values = test.value if isinstance(test.value, tuple) else (test.value,)
    if all(isinstance(value, Decimal) for value in values):
        numbers = _numbers(test.name, cells, source)
        wanted = np.array([float(cast(Decimal, value)) for value in values])
        known = ~np.isnan(numbers)
        match test.comparison:
            case "==" | "in":
                return known & np.isin(numbers, wanted)
            case "!=":
                return known & (numbers != wanted[0])
            case "<":
                return known & (numbers < wanted[0])
            case "<=":
                return known & (numbers <= wanted[0])
            case ">":
                return known & (numbers > wanted[0])
            case ">=":
                return known & (numbers >= wanted[0])
    if test.comparison not in ("==", "!=", "in"):
        raise RuleError(
            "{place}: expected a number, with which {comparison} compares {name!r}, found {found!r}. Write it without "
            "quotes, or use ==.",
            **place_of(test.name, source),
            name=test.name.text,
            comparison=test.comparison,
            found=str(values[0]),
        )
    texts = spelled_column(cells)
    known = np.array([text is not None for text in texts], dtype=bool)
    inside = np.isin(np.where(known, texts, ""), np.array([str(value) for value in values], dtype=object))
    return known & (~inside if test.comparison == "!=" else inside)


def _cells(name: Name, frame: pd.DataFrame, source: str) -> pd.Series:
    columns = [str(column) for column in frame.columns]
    column = feature_column(name.text, columns)
    if column is None:
        raise missing_feature(name, [column for column in columns if column.startswith(FEATURE_PREFIX)], source)
    return cast(pd.Series, frame[column])


def _numbers(name: Name, cells: pd.Series, source: str) -> npt.NDArray[np.float64]:
    texts = spelled_column(cells)
    for text in texts:
        if text is not None and not is_number(text):
            raise RuleError(
                "{place}: the condition compares {name!r} with a number, but the column holds words such as {found!r}. "
                "Compare it with a word in quotes.",
                **place_of(name, source),
                name=name.text,
                found=text,
            )
    return np.array([np.nan if text is None else float(text) for text in texts])
