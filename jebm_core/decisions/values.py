"""What an answer is worth once the truth is known, in the currency of the user.

Subsets, with c the answer, y the truth and s = |c|:

    V(c, y) = Σ_i [c_i y_i hit_i − c_i (1 − y_i) false_alarm_i − (1 − c_i) y_i miss_i] − s·cost(s) + bonus·1[c = y]

Configurations: V(c, y) = Σ_j (right_j if c_j = y_j else wrong_j) + bonus·1[c = y].
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64

from jebm_core.errors import SpecError
from jebm_core.tables import OutputSchema

ENTRIES = {"subsets": ("hit", "false_alarm", "miss"), "configurations": ("right", "wrong")}
_COSTS = ("false_alarm", "miss")
_PARTS = {"subsets": "labels", "configurations": "slots"}


@final
@dataclass(frozen=True)
class ValueTable:
    """Values of single parts, a cost by size, and a bonus for an answer that is right as a whole.

    Attributes:
        names: labels or slots, in the order of the model.
        entries: [part, entry], entries in the order of ``ENTRIES[kind]``; costs are numbers of at least 0.
        cost_per_item: (from this size on, cost of each chosen item), sizes growing; subsets only.
        exact_bonus: at least 0. A positive one makes V more than a sum over parts.
        not_acting: worth of a row that is left alone; None: every miss is borne (subsets), or 0 (configurations).
    """

    kind: str
    names: tuple[str, ...]
    entries: Float[np.ndarray, "part entry"]
    currency: str = ""
    cost_per_item: tuple[tuple[int, float], ...] = ()
    exact_bonus: float = 0.0
    not_acting: float | None = None

    def size_costs(self) -> Float[np.ndarray, " size"]:
        """What s chosen items cost together, s = 0, …, parts.

        >>> one = np.array([[1.0, 0.0, 0.0]] * 3)
        >>> ValueTable("subsets", ("a", "b", "c"), one, cost_per_item=((1, 3.0), (3, 2.0))).size_costs().tolist()
        [0.0, 3.0, 6.0, 6.0]
        """
        each = np.zeros(len(self.names) + 1)
        for start, cost in self.cost_per_item:
            each[start:] = cost
        return each * np.arange(len(each))

    def gains(
        self, marginals: Float[np.ndarray, "row statistic"], options: tuple[int, ...]
    ) -> tuple[Float[np.ndarray, "row statistic"], Float[np.ndarray, " row"]]:
        """(G, constant): without bonus and cost by size, E[V(c, y)] = ⟨G, φ(c)⟩ + constant.

        Args:
            marginals: P(φ_a(y) = 1).
            options: options of each slot; only looked at for configurations.
        """
        if self.kind == "subsets":
            hit, alarm, miss = self.entries.T
            return (hit + alarm + miss) * marginals - alarm, -(marginals @ miss)
        right, wrong = self.entries.T
        return np.repeat(right - wrong, options) * marginals, np.full(len(marginals), wrong.sum())

    def best_sum(
        self, gains: Float[np.ndarray, "row statistic"], options: tuple[int, ...]
    ) -> tuple[Int64[np.ndarray, "row part"], Float[np.ndarray, " row"]]:
        """argmax_c ⟨G, φ(c)⟩ − |c|·cost(|c|) over all combinations, and the maximum; ties go to fewer items.

        Cost: O(row · part · log part).
        """
        if self.kind == "subsets":
            order = np.argsort(-gains, axis=1, kind="stable")
            sums = np.take_along_axis(gains, order, 1).cumsum(1)
            total = np.concatenate([np.zeros((len(gains), 1)), sums], 1) - self.size_costs()
            size = total.argmax(1)
            rank = np.argsort(order, axis=1)
            return (rank < size[:, None]).astype(np.int64), total.max(1)
        ends = np.cumsum(options)
        parts = [gains[:, end - count : end] for end, count in zip(ends, options, strict=True)]
        answer = np.stack([part.argmax(1) for part in parts], 1)
        return answer.astype(np.int64), sum((part.max(1) for part in parts), np.zeros(len(gains)))

    def worth(
        self, answer: Int64[np.ndarray, "row part"], truth: Int64[np.ndarray, "row part"]
    ) -> Float[np.ndarray, " row"]:
        """V(answer, truth) row by row."""
        same = answer == truth
        if self.kind == "subsets":
            hit, alarm, miss = self.entries.T
            each = answer * truth * hit - answer * (1 - truth) * alarm - (1 - answer) * truth * miss
            parts = each.sum(1) - self.size_costs()[answer.sum(1)]
        else:
            parts = np.where(same, self.entries[:, 0], self.entries[:, 1]).sum(1)
        return parts + self.exact_bonus * same.all(1)

    def worth_of_not_acting(self, truth: Int64[np.ndarray, "row part"]) -> Float[np.ndarray, " row"]:
        """What each row is worth where nobody acts."""
        if self.not_acting is not None:
            return np.full(len(truth), self.not_acting)
        return -(truth @ self.entries[:, 2]) if self.kind == "subsets" else np.zeros(len(truth))

    def oracle(self, truth: Int64[np.ndarray, "row part"], options: tuple[int, ...]) -> Float[np.ndarray, " row"]:
        """max_c V(c, y): the best that anybody who knew y could do, rules aside."""
        if self.kind == "subsets":
            marginals = truth.astype(np.float64)
        else:
            marginals = np.concatenate([np.eye(n)[column] for n, column in zip(options, truth.T, strict=True)], 1)
        gains, _ = self.gains(marginals, options)
        answer, _ = self.best_sum(gains, options)
        return np.maximum(self.worth(answer, truth), self.worth(truth, truth))

    def to_record(self) -> dict[str, Any]:
        """The table as its YAML file holds it."""
        names = ENTRIES[self.kind]
        record: dict[str, Any] = {
            "currency": self.currency,
            _PARTS[self.kind]: {
                part: {name: float(value) for name, value in zip(names, row, strict=True)}
                for part, row in zip(self.names, self.entries, strict=True)
            },
            "exact_bonus": self.exact_bonus,
        }
        if self.cost_per_item:
            record["cost_per_item"] = {int(size): float(cost) for size, cost in self.cost_per_item}
        if self.not_acting is not None:
            record["not_acting"] = self.not_acting
        return record


def read_values(path: Path, schema: OutputSchema) -> ValueTable:
    """A value table from a YAML file; `values_of` says what it holds.

    Raises:
        SpecError: the file is missing, no YAML, or doesn't hold such a table; names file and key.
    """
    return values_of(
        read_yaml(path, "a value table such as every: {hit: 10, false_alarm: 2, miss: 5}"), schema, path.name
    )


def read_yaml(path: Path, expected: str) -> Any:
    """What a YAML file holds, by ``yaml.safe_load``.

    Raises:
        SpecError: the file is missing, unreadable or no YAML.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise SpecError(
            "{file} was not found; expected a YAML file with {expected}.", file=path, expected=expected
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = (getattr(error, "strerror", None) or " ".join(str(error).split()))[:160]
        raise SpecError(
            "{file}: expected YAML with {expected}, and it can't be read as that: {reason}. Correct the file.",
            file=path.name,
            expected=expected,
            reason=reason,
        ) from None


def values_of(record: object, schema: OutputSchema, file: str) -> ValueTable:
    """A value table from what its file holds.

    ``every``: the entries of each part that has none of its own; ``labels`` (subsets) or ``slots`` (configurations):
    entries by name, with or without the prefix of the column; ``cost_per_item``: a number, or costs by the size from
    which they hold; ``exact_bonus``, ``not_acting``, ``currency``.

    Raises:
        SpecError: rankings, an unknown or missing entry, text or an infinite number, a negative cost or size.

    >>> schema = OutputSchema("subsets", ("a", "b"), ("y_a", "y_b"), ((), ()))
    >>> table = values_of({"every": {"hit": 3, "false_alarm": 1, "miss": 0}, "exact_bonus": 5}, schema, "v.yaml")
    >>> table.worth(np.array([[1, 0]]), np.array([[1, 0]])).tolist()
    [8.0]
    """
    if schema.kind not in ENTRIES:
        raise SpecError(
            "{file}: a value table needs a model of subsets or configurations, and this one is of {kind}; "
            "choose --utility kendall or map.",
            file=file,
            kind=schema.kind,
        )
    known = ("every", _PARTS[schema.kind], "exact_bonus", "not_acting", "currency")
    known += ("cost_per_item",) if schema.kind == "subsets" else ()
    content = _mapping(record, file, "the file")
    for key in content:
        if key not in known:
            raise SpecError(
                "{file}, key {key!r}: expected one of {known}. Correct the key.",
                file=file, key=str(key), known=", ".join(known),
            )  # fmt: skip
    bonus = _number(content.get("exact_bonus", 0.0), file, "exact_bonus", least=0.0)
    idle = content.get("not_acting")
    return ValueTable(
        schema.kind,
        schema.names,
        _entries(content, schema, file),
        str(content.get("currency") or ""),
        _size_steps(content.get("cost_per_item", {}), len(schema.names), file),
        bonus,
        None if idle is None else _number(idle, file, "not_acting"),
    )


def _entries(content: Mapping[str, Any], schema: OutputSchema, file: str) -> Float[np.ndarray, "part entry"]:
    part = _PARTS[schema.kind]
    own = _mapping(content.get(part) or {}, file, part)
    every = None if content.get("every") is None else _row(content["every"], schema.kind, file, "every")
    place_of = {name: place for place, name in enumerate(schema.columns)}
    place_of |= {name: place for place, name in enumerate(schema.names)}
    rows: list[list[float] | None] = [every] * len(schema.names)
    for name, entries in own.items():
        if str(name) not in place_of:
            raise SpecError(
                "{file}, key {key!r}: the model has no {name!r}; it has {known}. Correct the name.",
                file=file, key=part, name=str(name), known=", ".join(schema.names[:10]),
            )  # fmt: skip
        rows[place_of[str(name)]] = _row(entries, schema.kind, file, f"{part}.{name}")
    missing = [name for name, row in zip(schema.names, rows, strict=True) if row is None]
    if missing:
        raise SpecError(
            "{file}, key {key!r}: {name!r} has no values ({count} such parts). Add them, or give values for all "
            "others under 'every'.",
            file=file, key=part, name=missing[0], count=len(missing),
        )  # fmt: skip
    return np.array(rows, dtype=np.float64)


def _row(entries: object, kind: str, file: str, key: str) -> list[float]:
    found = _mapping(entries, file, key)
    names = ENTRIES[kind]
    for name in (*found, *names):
        if name not in names or name not in found:
            raise SpecError(
                "{file}, key {key!r}: expected the entries {names}, found {found}. Give each of them a number.",
                file=file, key=key, names=", ".join(names), found=", ".join(map(str, found)) or "none",
            )  # fmt: skip
    return [_number(found[name], file, f"{key}.{name}", least=0.0 if name in _COSTS else None) for name in names]


def _size_steps(record: object, parts: int, file: str) -> tuple[tuple[int, float], ...]:
    key = "cost_per_item"
    if not isinstance(record, Mapping):
        return ((0, _number(record, file, key, least=0.0)),)
    steps = []
    for size, cost in record.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= parts:
            raise SpecError(
                "{file}, key {key!r}: expected sizes from 0 to {most} as keys, found {found!r}. Correct the size.",
                file=file, key=key, most=parts, found=size,
            )  # fmt: skip
        steps.append((size, _number(cost, file, f"{key}.{size}", least=0.0)))
    return tuple(sorted(steps))


def _mapping(record: object, file: str, key: str) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise SpecError(
            "{file}, key {key!r}: expected keys with values, found {found}. See jebm decide --help for an example.",
            file=file, key=key, found="nothing" if record is None else repr(record)[:60],
        )  # fmt: skip
    return record


def _number(value: object, file: str, key: str, *, least: float | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(
            "{file}, key {key!r}: expected a finite number, found {found!r}. Correct the entry.",
            file=file, key=key, found=value,
        )  # fmt: skip
    if least is not None and value < least:
        raise SpecError(
            "{file}, key {key!r}: expected a number of at least {least:g}, found {found:g}; costs are given without a "
            "minus sign.",
            file=file, key=key, least=least, found=value,
        )  # fmt: skip
    return float(value)
