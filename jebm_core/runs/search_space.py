"""What a sweep tries: a few settings of a fit, each with the values that it may take. No torch, no Optuna."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from jebm_core.errors import SpecError
from jebm_core.settings import AFFINITIES, LOG_PARTITIONS, PROPOSALS, REFERENCES

Value = str | int
SearchSpace = Mapping[str, tuple[Value, ...]]
"""The values of each setting that is tried."""

SEARCHABLE: Mapping[str, tuple[str, ...] | type[int]] = {
    "affinity": AFFINITIES,
    "reference": tuple(name for name in REFERENCES if name not in ("table", "model")),  # these need more than a name
    "log_partition": LOG_PARTITIONS,
    "proposal": PROPOSALS,
    "samples": int,
}
"""Settings that may be tried, with their known values. Settings that move the validation rows or the unit of the
objective are not among them: trials would not be comparable."""
SAMPLES = (8, 16, 32, 64, 128)


def default_space(kind: str, has_features: bool, has_rules: bool) -> SearchSpace:
    """What is tried where nothing is said.

    >>> default_space("rankings", True, False)["affinity"]
    ('birkhoff', 'permutahedron', 'preference', 'unary')
    """
    if kind == "rankings":
        return {"affinity": ("birkhoff", "permutahedron", "preference", "unary"), "samples": SAMPLES}
    affinities = ("pairwise-constant", "lowrank-constant", "unary")
    if not has_features:
        references = ("marginals", "candidates") if has_rules else ("trees", "marginals", "candidates")
        return {"affinity": affinities, "reference": references, "samples": SAMPLES}
    return {
        "affinity": ("pairwise", "lowrank", *affinities),
        "reference": ("stacked", "logistic", "marginals"),
        "log_partition": ("corrected", "mlp", "linear"),
        "samples": SAMPLES,
    }


def read_space(lines: Sequence[str]) -> SearchSpace:
    """A space as people write it, a setting a line.

    Raises:
        SpecError: a line is no ``name=value,value``, or names what can't be tried.

    >>> read_space(["affinity=pairwise,lowrank", "samples=16, 64"])
    {'affinity': ('pairwise', 'lowrank'), 'samples': (16, 64)}
    """
    space: dict[str, tuple[Value, ...]] = {}
    for line in lines:
        name, sign, said = line.partition("=")
        name = name.strip()
        values = [value.strip() for value in said.split(",") if value.strip()]
        if not sign or not values or name not in SEARCHABLE:
            raise SpecError(
                "Search space: expected a setting among {known} with its values, such as samples=16,64; found "
                "{line!r}.",
                known=", ".join(SEARCHABLE),
                line=line,
            )
        space[name] = tuple(dict.fromkeys(_value(name, value) for value in values))
    return space


def _value(name: str, value: str) -> Value:
    known = SEARCHABLE[name]
    if isinstance(known, tuple):
        if value not in known:
            raise SpecError(
                "Search space, {name}: expected values among {known}; found {found!r}. Choose among these.",
                name=name,
                known=", ".join(known),
                found=value,
            )
        return value
    if not value.isdecimal() or int(value) < 2:
        raise SpecError(
            "Search space, {name}: expected whole numbers from 2; found {found!r}. Write for example 16.",
            name=name,
            found=value,
        )
    return int(value)


def size_of(space: SearchSpace) -> int:
    """How many choices a space has."""
    return math.prod(len(values) for values in space.values())


def choices_of(space: SearchSpace) -> Iterator[dict[str, Value]]:
    """Every choice."""
    for values in itertools.product(*space.values()):
        yield dict(zip(space, values, strict=True))
