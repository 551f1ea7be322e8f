"""What a decision is worth: value tables of single labels, and the threshold below which a person decides."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64

from jebm_core.errors import SpecError

if TYPE_CHECKING:
    from jebm_core.tables import OutputSchema

ENTRIES = ("true_positive", "false_positive", "false_negative", "true_negative")


def read_value_table(path: Path, schema: "OutputSchema") -> npt.NDArray[np.float64]:
    """The value of each outcome of each item, [item, outcome], outcomes in the order of ``ENTRIES``.

    The file is JSON: four numbers for every item, or ``{"items": {name: four numbers}}``, or both, where an item's own
    numbers go first. An item is named with or without ``y_``.

    Raises:
        SpecError: no such file, no JSON, a model that is not of subsets, an entry that is missing, unknown or no
            finite number, an item that is unknown or has no numbers.
    """
    if schema.kind != "subsets":
        raise SpecError(
            "{file}: a value table needs a model of subsets, and this one is of {kind}; "
            "choose --utility map, hamming (configurations) or kendall (rankings).",
            file=path.name,
            kind=schema.kind,
        )
    record = read_json_object(path, 'a value table such as {"true_positive": 1, "false_positive": -0.5, …}')
    own = record.pop("items", {})
    if not isinstance(own, dict):
        raise SpecError(
            "{file}, entry 'items': expected an object with a value table for each item, found {found}.",
            file=path.name,
            found=json.dumps(own, ensure_ascii=False)[:60],
        )
    every = _four(path, record, "the table") if record or not own else None
    place_of = {name: place for place, name in enumerate(schema.names)}
    place_of |= {name: place for place, name in enumerate(schema.columns)}
    values: list[list[float] | None] = [every] * len(schema.names)
    for name, table in own.items():
        if name not in place_of:
            raise SpecError(
                "{file}, entry 'items': the model has no item {name!r}; it has {known}. Correct the name.",
                file=path.name,
                name=name,
                known=", ".join(schema.names[:10]),
            )
        values[place_of[name]] = _four(path, table, f"item {name!r}")
    missing = [name for name, value in zip(schema.names, values, strict=True) if value is None]
    if missing:
        raise SpecError(
            "{file}: item {name!r} has no value table ({count} such items). Add it under 'items', or give four "
            "numbers for every item beside 'items'.",
            file=path.name,
            name=missing[0],
            count=len(missing),
        )
    return np.array(values, dtype=np.float64)


def decide(
    marginals: Float[np.ndarray, "row item"], values: Float[np.ndarray, "item outcome"]
) -> tuple[Int64[np.ndarray, "row item"], Float[np.ndarray, " row"]]:
    """The subset of highest expected value, and that value: exact, since the value is a sum over items.

    With m = P(item present | x), choosing the item is worth m·TP + (1 − m)·FP, leaving it m·FN + (1 − m)·TN; of two
    equal ones it is left.

    >>> y, value = decide(np.array([[0.5, 0.2]]), np.array([[1.0, -0.5, -1.0, 0.0]] * 2))
    >>> y.tolist(), np.round(value, 6).tolist()
    ([[1, 0]], [0.05])
    """
    present = marginals.astype(np.float64)
    chosen = present * values[:, 0] + (1 - present) * values[:, 1]
    left = present * values[:, 2] + (1 - present) * values[:, 3]
    return (chosen > left).astype(np.int64), np.maximum(chosen, left).sum(1)


def read_threshold(path: Path) -> float:
    """The expected utility below which a row is handed to a person: ``{"min_expected_utility": 0.6}``.

    Raises:
        SpecError: no such file, no JSON, another entry, or no finite number.
    """
    example = '{"min_expected_utility": 0.6}'
    record = read_json_object(path, f"a threshold such as {example}")
    if set(record) != {"min_expected_utility"}:
        raise SpecError(
            "{file}: expected the one entry 'min_expected_utility', found {found}. Write for example {example}.",
            file=path.name,
            found=", ".join(map(repr, sorted(record))) or "none",
            example=example,
        )
    return _number(path, record["min_expected_utility"], "min_expected_utility", "the file")


def read_json_object(path: Path, expected: str) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        SpecError: it is missing, unreadable, no JSON, or something else than an object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SpecError(
            "{file} was not found; expected a JSON file with {expected}.", file=path, expected=expected
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError(
            "{file}: expected JSON with {expected}, and it can't be read as that: {reason}.",
            file=path.name,
            expected=expected,
            reason=reason,
        ) from None
    if not isinstance(record, dict):
        raise SpecError(
            "{file}: expected JSON with {expected}, found {found}.",
            file=path.name,
            expected=expected,
            found=json.dumps(record, ensure_ascii=False)[:60],
        )
    return record


def _four(path: Path, table: object, where: str) -> list[float]:
    record = cast("Mapping[str, object]", table if isinstance(table, dict) else {})
    for name in record:
        if name not in ENTRIES:
            raise _entry_error(path, where, f"the unknown entry {name!r}")
    missing: Sequence[str] = [name for name in ENTRIES if name not in record]
    if missing:
        raise _entry_error(path, where, f"no {missing[0]}")
    return [_number(path, record[name], name, where) for name in ENTRIES]


def _entry_error(path: Path, where: str, found: str) -> SpecError:
    return SpecError(
        "{file}, {where}: expected the entries {entries}, found {found}. Give each of the four a number.",
        file=path.name,
        where=where,
        entries=", ".join(ENTRIES),
        found=found,
    )


def _number(path: Path, value: object, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(
            "{file}, {where}, entry {name!r}: expected a finite number, found {found}. Correct the entry.",
            file=path.name,
            where=where,
            name=name,
            found=json.dumps(value, ensure_ascii=False)[:60],
        )
    return float(value)
