"""Which columns are features, which are targets, and what kind of output the targets describe."""

import difflib
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, final

import numpy as np
import pandas as pd

from jebm_core.errors import TableError
from jebm_core.tables.records import Table, listed, spelled_column

Kind = Literal["subsets", "configurations", "rankings"]

FEATURE_PREFIX = "x_"
PREFIXES: dict[Kind, str] = {"subsets": "y_", "rankings": "r_", "configurations": "c_"}


@final
@dataclass(frozen=True)
class Roles:
    """The columns that are used, in file order; columns named in neither are ignored.

    >>> Roles(("x_a",), ("y_b", "y_c"), "subsets").kind
    'subsets'
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    kind: Kind


def guess_roles(
    table: Table, *, targets: Sequence[str] = (), features: Sequence[str] | None = None, kind: Kind | None = None
) -> Roles:
    """Choose columns by name.

    Without ``targets``, the first of ``y_*`` (subsets), ``r_*`` (rankings) and ``c_*`` (configurations) that occurs is
    taken; ``kind`` picks one of them. Without ``features``, they are ``x_*``. A name may hold the wildcards ``*``,
    ``?`` and ``[…]``; a column of exactly that name goes first.

    Without ``kind``, chosen targets that share one of the prefixes have its kind; otherwise their cells decide: only 0,
    1, True and False are subsets; rows that are 1, …, k in some order are rankings; all else is configurations.

    Args:
        table: the table.
        targets: names or patterns of target columns.
        features: names or patterns of feature columns; an empty list means none.
        kind: the kind of output, where it should not be guessed.

    Raises:
        TableError: no target, a pattern that matches nothing, or a column in both roles.

    >>> from jebm_core.tables.reading import read_table
    >>> guess_roles(read_table("t.csv", content=b"x_a,y_b,y_c\\n0.5,1,0\\n"))
    Roles(features=('x_a',), targets=('y_b', 'y_c'), kind='subsets')
    """
    columns = [str(column) for column in table.frame.columns]
    if targets:
        chosen = _match(table, columns, targets)
        found_kind = kind or _kind_of(table, chosen)
    else:
        found_kind, chosen = _default_targets(table, columns, kind)
    if features is None:
        used = tuple(name for name in columns if name.startswith(FEATURE_PREFIX) and name not in chosen)
    else:
        used = _match(table, columns, features)
    both = [name for name in used if name in chosen]
    if both:
        raise TableError(
            "{file}: column {column!r} is chosen both as a feature and as a target. Take it out of one of the two.",
            file=table.name,
            column=both[0],
        )
    return Roles(used, chosen, found_kind)


def nearest(word: str, known: Sequence[str]) -> str:
    """The known name that is spelled most like ``word``; the first of them where none is alike.

    >>> nearest("y_jaz", ["y_rock", "y_jazz"])
    'y_jazz'
    """
    return difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]


def _match(table: Table, columns: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    chosen: set[str] = set()
    for pattern in patterns:
        matches = [pattern] if pattern in columns else [name for name in columns if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            stem = pattern.strip("*?")
            near = difflib.get_close_matches(stem, columns, n=3, cutoff=0.0)
            raise TableError(
                "{file}: no column matches {pattern!r}; the nearest names are {near}. "
                "Check the spelling; * stands for any letters.",
                file=table.name,
                pattern=pattern,
                near=", ".join(repr(name) for name in near),
            )
        chosen.update(matches)
    return tuple(name for name in columns if name in chosen)


def _default_targets(table: Table, columns: Sequence[str], kind: Kind | None) -> tuple[Kind, tuple[str, ...]]:
    for candidate, prefix in PREFIXES.items():
        found = tuple(name for name in columns if name.startswith(prefix))
        if found and kind in (None, candidate):
            return candidate, found
    shown = listed([repr(name) for name in columns], 8)
    if kind is not None:
        raise TableError(
            "{file} has no target columns for {kind}: expected names that begin with {prefix}, found {columns}. "
            "Rename the columns, or choose them (--targets 'NAME*', or the roles on the Data page).",
            file=table.name,
            kind=kind,
            prefix=PREFIXES[kind],
            columns=shown,
        )
    raise TableError(
        "{file} has no target columns: expected names that begin with y_ (0 or 1), r_ (ranks) or c_ (options), found "
        "{columns}. Rename the columns, or choose them (--targets 'NAME*', or the roles on the Data page).",
        file=table.name,
        columns=shown,
    )


def _kind_of(table: Table, chosen: tuple[str, ...]) -> Kind:
    """The kind that the names say, or else the cells."""
    for kind, prefix in PREFIXES.items():
        if all(name.startswith(prefix) for name in chosen):
            return kind
    cells = [spelled_column(cast(pd.Series, table.frame[name])) for name in chosen]
    seen = {text for column in cells for text in set(column) if text is not None}
    if seen <= {"0", "1", "0.0", "1.0", "True", "False"}:
        return "subsets"
    places = {str(place) for place in range(1, len(chosen) + 1)}
    if len(chosen) > 1 and seen == places:
        rows = np.sort(np.stack([_ranks(column) for column in cells], axis=1), axis=1)
        complete = rows[:, 0] > 0
        if complete.any() and np.array_equal(
            rows[complete], np.tile(np.arange(1, len(chosen) + 1), (complete.sum(), 1))
        ):
            return "rankings"
    return cast(Kind, "configurations")


def _ranks(column: np.ndarray) -> np.ndarray:
    return np.array([0 if text is None else int(text) for text in column])
