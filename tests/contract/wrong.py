"""Wrong arguments, and the one sentence that each must fail with."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from jebm_core.classifiers import named_classifiers
from jebm_core.divergences import Tsallis, divergence_from_name
from jebm_core.networks import correction_network
from jebm_core.references import CandidateReference, MixtureReference, UniformReference
from jebm_core.spaces import Configurations, Rankings, Subsets
from tests.contract.cases import configurations, rankings, subsets


@dataclass(frozen=True)
class Wrong:
    """A call that must fail, and the one sentence it fails with."""

    call: Callable[[], object]
    sentence: str


WRONG: dict[str, Wrong] = {
    "no items": Wrong(lambda: Subsets(()), "Expected at least one item for subsets, found none; name the items."),
    "no slots": Wrong(
        lambda: Configurations((), ()),
        "Expected the options of each slot, found 0 slots and 0 lists of options; give one list a slot.",
    ),
    "options missing": Wrong(
        lambda: Configurations(("a", "b"), (("x", "y"),)),
        "Expected the options of each slot, found 2 slots and 1 lists of options; give one list a slot.",
    ),
    "two items of one name": Wrong(
        lambda: Subsets(("a", "b", "a")), "Expected different names for items, found 'a' twice; rename one."
    ),
    "two slots of one name": Wrong(
        lambda: Configurations(("a", "a"), (("x",), ("y",))),
        "Expected different names for slots, found 'a' twice; rename one.",
    ),
    "two options of one name": Wrong(
        lambda: Configurations(("size",), (("S", "S"),)),
        "Expected different names for options of size, found 'S' twice; rename one.",
    ),
    "two ranked items of one name": Wrong(
        lambda: Rankings(("a", "a")), "Expected different names for items, found 'a' twice; rename one."
    ),
    "one item ranked": Wrong(lambda: Rankings(("a",)), "Expected at least two items to rank, found 1; name the items."),
    "too many to list": Wrong(
        lambda: subsets(40).listing(),
        "Expected a space of at most 4194304 combinations to list, found about 10^12; use a method that samples.",
    ),
    "too many to rank exactly": Wrong(
        lambda: rankings(17).linear_log_partition(torch.zeros(1, 289)),
        "Expected at most 16 items for an exact log-partition over rankings, found 17; use the proposal plackett-luce.",
    ),
    "unknown item": Wrong(
        lambda: Subsets(("a", "b")).encode(("c",)),
        "Expected a known option for item, found 'c'; known are a, b.",
    ),
    "unknown option": Wrong(
        lambda: Configurations(("size",), (("S", "M"),)).encode(("L",)),
        "Expected a known option for size, found 'L'; known are S, M.",
    ),
    "slot forgotten": Wrong(
        lambda: configurations(2, 2).encode(("o0",)),
        "Expected one option for each of 2 slots, found 1; give them in the order of the slots.",
    ),
    "item ranked twice": Wrong(
        lambda: Rankings(("a", "b")).encode(("a", "a")),
        "Expected a ranking of all 2 items, each once, found a, a; list them from first to last.",
    ),
    "no smoothing": Wrong(
        lambda: CandidateReference.fit(subsets(2), torch.zeros(1, 2, dtype=torch.int64), smoothing=0.0),
        "Expected a smoothing share above 0 and below 1, found 0.0; without it unlisted combinations are impossible.",
    ),
    "weight missing": Wrong(
        lambda: MixtureReference([UniformReference(subsets(2))], []),
        "Expected one positive weight for each of 1 references, found [].",
    ),
    "weight of nothing": Wrong(
        lambda: MixtureReference([UniformReference(subsets(2))], [0.0]),
        "Expected one positive weight for each of 1 references, found [0.0].",
    ),
    "Tsallis one": Wrong(
        lambda: Tsallis(1.0),
        "Expected a Tsallis α above 0 and different from 1, found 1.0; α = 1 is the divergence kl.",
    ),
    "Tsallis below zero": Wrong(
        lambda: divergence_from_name("tsallis:-2"),
        "Expected a Tsallis α above 0 and different from 1, found -2.0; α = 1 is the divergence kl.",
    ),
    "unknown divergence": Wrong(
        lambda: divergence_from_name("l2"),
        "Expected a divergence among kl, chi2, reverse-kl, jeffreys, jensen-shannon, hellinger or tsallis:α, "
        "found 'l2'; choose one of these.",
    ),
    "Tsallis of a word": Wrong(
        lambda: divergence_from_name("tsallis:two"),
        "Expected a divergence among kl, chi2, reverse-kl, jeffreys, jensen-shannon, hellinger or tsallis:α, found "
        "'tsallis:two'; choose one of these.",
    ),
    "unknown log-partition": Wrong(
        lambda: correction_network("cubic", 3),
        "Expected a log-partition among constant, linear, mlp, residual, found 'cubic'.",
    ),
    "unknown classifier": Wrong(
        lambda: named_classifiers("svm", subsets(2), 10, 2, seed=0),
        "Expected a classifier among logistic, forest, found 'svm'.",
    ),
}
