"""Rows of the public data sets: encoded alike for every method, the test rows apart from the training rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.harness import ROOT

if TYPE_CHECKING:
    from jebm_core.tables import Examples

DATA = ROOT.parent / "shared" / "data"
MULTILABEL = ("yeast", "scene", "emotions", "birds", "cal500")
RANKINGS = ("authorship", "glass", "iris", "vehicle", "vowel", "wine")
SETS = ("nltcs", "plants", "baudio", "accidents", "groceries")
SPLITS = tuple(range(10))
TRAIN_SHARE = 0.6  # of cal500, which comes without a split


@dataclass(frozen=True)
class Rows:
    """Features as numbers, outputs (0 and 1, or positions from 0), and which row of which file each one is."""

    x: np.ndarray
    y: np.ndarray
    ids: tuple[str, ...]

    def part(self, chosen: np.ndarray) -> "Rows":
        """Some of the rows."""
        return Rows(self.x[chosen], self.y[chosen], tuple(self.ids[i] for i in np.arange(len(self.ids))[chosen]))


def read_multilabel(name: str) -> "tuple[Examples, Examples]":
    """Training and test rows in the data's own split; cal500 60 and 40 %, by seed 0."""
    from jebm_core import guess_roles, read_examples, read_table

    folder = DATA / "multilabel" / name
    if (folder / "test.parquet").exists():
        tables = read_table(folder / "train.parquet"), read_table(folder / "test.parquet")
    else:
        table = read_table(folder / "data.parquet")
        count = len(table.frame)
        order = np.random.default_rng(0).permutation(count)
        first = round(TRAIN_SHARE * count)
        tables = table.part(order[:first]), table.part(order[first:])
    train = read_examples(tables[0], guess_roles(tables[0]))
    return train, read_examples(tables[1], train.roles, like=train.outputs.schema)


def read_rankings(name: str, split: int) -> "tuple[Examples, Examples]":
    """80 and 20 % of the rows, by the seed of the split."""
    from jebm_core import guess_roles, read_examples, read_table
    from jebm_core.splits import split_examples

    table = read_table(DATA / "ranking" / name / "data.parquet")
    return split_examples(read_examples(table, guess_roles(table)), 0.2, seed=split)


def read_sets(name: str) -> "tuple[Examples, Examples]":
    """Sets without features: the data's own training and test part (its validation part is used by nobody); of
    groceries, 80 and 20 % by seed 0."""
    from jebm_core import guess_roles, read_examples, read_table
    from jebm_core.splits import split_examples

    if name == "groceries":
        table = read_table(sets_path(name))
        return split_examples(read_examples(table, guess_roles(table)), 0.2, seed=0)
    train_table = read_table(sets_path(name))
    train = read_examples(train_table, guess_roles(train_table))
    test = read_table(sets_path(name).with_name("test.parquet"))
    return train, read_examples(test, train.roles, like=train.outputs.schema)


def sets_path(name: str) -> Path:
    """The file that holds the training rows."""
    return (
        DATA / "baskets" / name / "data.parquet" if name == "groceries" else DATA / "density" / name / "train.parquet"
    )


def encoded(train: "Examples", test: "Examples") -> tuple[Rows, Rows]:
    """Both parts as numbers, by an encoding that was learned on the training rows.

    Raises:
        ValueError: a row is in both parts.
    """
    from jebm_core.tables.features import FeatureEncoder

    tables = train.table.part(train.keep), test.table.part(test.keep)
    encoder = FeatureEncoder.fit(tables[0].frame, train.roles.features, file=train.table.name)
    rows = tuple(
        Rows(encoder.transform(table), part.outputs.values, tuple(f"{table.name}:{i}" for i in table.frame.index))
        for table, part in zip(tables, (train, test), strict=True)
    )
    require_apart(rows[0].ids, rows[1].ids)
    return rows


def require_apart(train: tuple[str, ...], test: tuple[str, ...]) -> None:
    """Refuse a test row that is a training row.

    Raises:
        ValueError: there is one.
    """
    if both := set(train) & set(test):
        raise ValueError(f"expected no row in both parts, found {len(both)}, for example {min(both)}")
