"""What the contract tests are run on: a list of cases for each interface, and of wrong arguments with their sentences.

A new space, reference, divergence, proposal, head or base needs one line here; `final_classes` finds the ones that have
none.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import jebm_core
from jebm_core.distributions import LinearDistribution
from jebm_core.divergences import (
    KL,
    ChiSquared,
    FDivergence,
    Jeffreys,
    JensenShannon,
    ReverseKL,
    SquaredHellinger,
    Tsallis,
)
from jebm_core.interactions import Scores
from jebm_core.model import AnchoredBase, Base, ConditionalModel, MeanFieldBase, TiltBase, ZeroBase
from jebm_core.networks import (
    FullPairwiseHead,
    InteractionHead,
    LinearHead,
    LowRankPairwiseHead,
    PermutahedronHead,
    PreferenceHead,
    SetHead,
    UnaryHead,
)
from jebm_core.proposals import (
    AnchoredProposal,
    ListingProposal,
    MeanFieldProposal,
    Proposal,
    ReferenceProposal,
    TiltProposal,
)
from jebm_core.references import (
    CandidateReference,
    MarginalReference,
    MixtureReference,
    PredictedReference,
    Reference,
    RuledReference,
    StackedReference,
    UniformReference,
)
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.notation.parser import parse_rules
from jebm_core.rules.problem import bind
from jebm_core.spaces import Configurations, OutputSpace, Rankings, Ruled, Subsets
from jebm_core.tables import OutputSchema
from jebm_core.tables.roles import Kind
from jebm_core.tree_references import TiltedTreeReference, TreeReference
from jebm_core.trees import Trees
from tests.oracle import seeded, uniform

HIDDEN = 3


def final_classes(interface: type) -> set[str]:
    """Names of the concrete classes of jebm_core below an interface, wherever they are defined."""
    for module in pkgutil.walk_packages(jebm_core.__path__, "jebm_core."):
        if not module.name.startswith("jebm_core.runs") and module.name.split(".")[1] not in ("cli", "__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [interface]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls.__module__.startswith("jebm_core") and not inspect.isabstract(cls):
            found.add(cls.__name__)
    return found


# ---- spaces ----------------------------------------------------------------------------------------------------------


def subsets(k: int) -> Subsets:
    return Subsets([f"i{i}" for i in range(k)])


def configurations(*sizes: int) -> Configurations:
    return Configurations([f"s{j}" for j in range(len(sizes))], [[f"o{i}" for i in range(n)] for n in sizes])


def rankings(k: int) -> Rankings:
    return Rankings([f"r{i}" for i in range(k)])


def ruled(whole: OutputSpace, text: str, features: Sequence[str] | None = None) -> Ruled:
    """A space cut down by rules in text form, whose names are those of the space."""
    kind: Kind = {"Subsets": "subsets", "Configurations": "configurations", "Rankings": "rankings"}[
        type(whole).__name__
    ]
    options = getattr(whole, "options", ((),) * whole.num_items)
    schema = OutputSchema(kind, whole.items, whole.items, options)
    return Ruled(whole, compile_rules(bind(parse_rules(text), schema, features=features)))


Shape = tuple[str, tuple[int, ...]]


def space_of(shape: Shape) -> OutputSpace:
    """From ("configurations", (3, 2)) and the like to a space."""
    kind, sizes = shape
    return {"subsets": subsets, "configurations": configurations, "rankings": rankings}[kind](*sizes)


SPACES: dict[str, OutputSpace] = {
    "one item": subsets(1),
    "subsets": subsets(4),
    "one slot": configurations(3),
    "configurations": configurations(3, 2, 4),
    "slot without a choice": configurations(2, 1, 3),
    "two items ranked": rankings(2),
    "rankings": rankings(4),
    "ruled subsets": ruled(subsets(5), "i0 requires i1\nsize between 1 and 3\ni3 excludes i4"),
    "ruled configurations": ruled(configurations(3, 2, 4), "s0 = o1 requires s2 in {o0, o3}\ns1 = o0 excludes s2 = o3"),
    "ruled rankings": ruled(rankings(4), "r0 above r1\nnot r2 next to r3"),
    "one combination": ruled(subsets(2), "i0\nnot i1"),
}
SMALL: dict[str, OutputSpace] = {
    "subsets": subsets(3),
    "configurations": configurations(3, 1, 2),
    "rankings": rankings(3),
}
RULED: dict[str, OutputSpace] = {
    "ruled subsets": ruled(subsets(4), "i0 requires i1\nsize between 1 and 3"),
    "ruled configurations": ruled(configurations(3, 2, 2), "s0 = o1 requires s2 = o1\ns1 = o0 excludes s2 = o1"),
    "ruled rankings": ruled(rankings(4), "r0 above r1\nnot r2 next to r3"),
}
WEIGHING: dict[str, OutputSpace] = {
    "subsets": ruled(
        subsets(4),
        "i0 requires i1\nprefer 1.5: i1 or i2\nprobability i0: 0.7\nwhere load > 5: not i2\n"
        "where load > 7: prefer 2: i1",
    ),
    "configurations": ruled(
        configurations(3, 1, 2),
        "s0 = o0 requires s2 != o0\nprefer 0.8: s2 = o1\nprobability s0: o0 0.5\nwhere load > 5: s0 != o2",
    ),
    "rankings": ruled(
        rankings(4), "r0 in top 2\nprefer 1.2: r0 above r1\nwhere load > 5: r2 next to r0 or r3 in place 1"
    ),
}
"""Rules that weigh, and that depend on x."""
PRODUCTS: dict[str, OutputSpace] = {
    "subsets": subsets(4),
    "configurations": configurations(3, 2, 3),
    "slot without a choice": configurations(2, 1, 3),
}


# ---- references ------------------------------------------------------------------------------------------------------


def some_outputs(space: OutputSpace, rows: int = 7, seed: int = 0) -> Tensor:
    """Random rows of the listing, some of them more than once."""
    points = space.listing()
    return points[torch.randint(max(1, len(points) * 2 // 3), (rows,), generator=seeded(seed))]


def distinct_outputs(space: OutputSpace, rows: int = 7, seed: int = 0) -> Tensor:
    return torch.unique(some_outputs(space, rows, seed), dim=0)


def stacked_reference(space: OutputSpace, **more: Any) -> StackedReference:
    """With a table of a few combinations, and every number away from its limits."""
    points = distinct_outputs(space)
    bias, frequency = uniform(81, len(points)), (1 + uniform(82, len(points), spread=0.9)) / len(points)
    how = {"scale": 0.7, "share": 0.6, "surprise": 0.1, **more}
    return StackedReference(space, points, bias, frequency / frequency.sum(), **how)


def tilted_trees(space: OutputSpace) -> TiltedTreeReference:
    return TiltedTreeReference(space, some_trees(space), slope=0.6, shift=uniform(83, space.num_statistics))


REFERENCES: dict[str, Callable[[OutputSpace], Reference]] = {
    "uniform": UniformReference,
    "marginals": lambda space: MarginalReference.fit(space, some_outputs(space)),
    "predicted": PredictedReference,
    "candidates": lambda space: CandidateReference.fit(space, some_outputs(space), smoothing=0.2),
    "stacked": lambda space: stacked_reference(space, log_discount=-0.7),  # which only rankings heed without trees
    "mixture": lambda space: MixtureReference(
        [PredictedReference(space), CandidateReference.fit(space, some_outputs(space)), UniformReference(space)],
        [0.5, 0.3, 0.2],
    ),
}


def some_trees(space: OutputSpace, trees: int = 3) -> Trees:
    """Random trees of different shapes, with random tables; options that an item lacks are impossible."""
    items, sizes = space.num_items, torch.tensor(space.options_per_item())
    parent = torch.zeros(trees, items, dtype=torch.int64)
    for tree in range(1, trees):  # the first is a star around item 0, the others hang each item on one before it
        order = torch.randperm(items, generator=seeded(90 + tree))
        parent[tree, order[0]] = order[0]
        for place in range(1, items):
            before = int(torch.randint(place, (1,), generator=seeded(tree * 100 + place)))
            parent[tree, order[place]] = order[before]
    options = int(sizes.max())
    tables = uniform(91, trees, items, options, options, spread=2.0)
    tables = tables.masked_fill(torch.arange(options) >= sizes[:, None, None], -torch.inf)
    root = (parent == torch.arange(items))[..., None, None]
    return Trees(parent, torch.where(root, tables[:, :, :1], tables).log_softmax(-1), uniform(92, trees).log_softmax(0))


TREES: dict[str, Callable[[OutputSpace], Reference]] = {
    "trees": lambda space: TreeReference(space, some_trees(space)),
    "tilted trees": lambda space: tilted_trees(space),
    "stacked on trees": lambda space: stacked_reference(
        space, trees=tilted_trees(space), tree_share=0.3, log_discount=-0.9
    ),
    "stacked on trees, the table likelier": lambda space: stacked_reference(
        space, trees=tilted_trees(space), tree_share=0.3, log_discount=0.6
    ),
}
"""References of spaces whose items are independent but for what a model says: `PRODUCTS`."""


RULED_PAIRS = {name: space for name, space in RULED.items() if name != "ruled rankings"}
RULED_REFERENCES: dict[str, Callable[[OutputSpace], Reference]] = {
    "uniform": lambda space: RuledReference(UniformReference(space)),
    "marginals": lambda space: RuledReference(MarginalReference.fit(space, some_outputs(space))),
    "predicted": lambda space: RuledReference(PredictedReference(space)),
}


def reference_inputs(reference: Reference, batch: int, seed: int = 1) -> Tensor:
    return uniform(seed, batch, reference.input_width, spread=2.0)


# ---- divergences -----------------------------------------------------------------------------------------------------

DIVERGENCES: dict[str, FDivergence] = {
    f.name: f
    for f in (
        KL(),
        ChiSquared(),
        ReverseKL(),
        Jeffreys(),
        JensenShannon(),
        SquaredHellinger(),
        Tsallis(0.5),
        Tsallis(1.5),
        Tsallis(2.0),
        Tsallis(3.0),
    )
}


# ---- heads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadCase:
    """How to build a head, and the spaces it is for."""

    build: Callable[[OutputSpace], nn.Module]
    spaces: Sequence[OutputSpace]


_CHOICES = (subsets(4), configurations(3, 2, 2), configurations(2, 1, 3))
LINEAR_HEADS: dict[str, HeadCase] = {
    "unary": HeadCase(lambda space: UnaryHead(space, HIDDEN), (*_CHOICES, rankings(3))),
    "permutahedron": HeadCase(lambda space: PermutahedronHead(space, HIDDEN), (rankings(4),)),
    "birkhoff": HeadCase(lambda space: PermutahedronHead(space, HIDDEN, birkhoff=True), (rankings(4),)),
}
INTERACTION_HEADS: dict[str, HeadCase] = {
    "pairwise": HeadCase(lambda space: FullPairwiseHead(space, HIDDEN, constant=False), _CHOICES),
    "pairwise-constant": HeadCase(lambda space: FullPairwiseHead(space, HIDDEN, constant=True), _CHOICES),
    "lowrank": HeadCase(lambda space: LowRankPairwiseHead(space, HIDDEN, rank=2, constant=False), _CHOICES),
    "lowrank-constant": HeadCase(lambda space: LowRankPairwiseHead(space, HIDDEN, rank=2, constant=True), _CHOICES),
    "set": HeadCase(lambda space: SetHead(space, HIDDEN, width=5), _CHOICES),
    "preference": HeadCase(lambda space: PreferenceHead(space, HIDDEN), (rankings(4),)),
}
CORRECTIONS = ("constant", "linear", "mlp", "residual")


def randomised(module: nn.Module, seed: int, spread: float = 1.0) -> nn.Module:
    """The module with every parameter in ±spread: fresh heads are almost zero and would hide mistakes."""
    with torch.no_grad():
        for number, weight in enumerate(module.parameters()):
            weight.copy_(uniform(seed + 1000 * number, *weight.shape, spread=spread))
    return module


def head_pairs(cases: dict[str, HeadCase]) -> list[tuple[str, OutputSpace]]:
    return [(name, space) for name, case in cases.items() for space in case.spaces]


def label(value: object) -> str:
    """Short names for parametrised spaces."""
    if isinstance(value, OutputSpace):
        return f"{type(value).__name__}{'x'.join(map(str, value.options_per_item()))}"
    return str(value)


# ---- whole conditional models ----------------------------------------------------------------------------------------


def conditional_model(
    space: OutputSpace,
    head: str | None,
    *,
    batch: int = 3,
    seed: int = 0,
    spread: float = 1.0,
    reference: Reference | None = None,
    divergence: FDivergence | None = None,
) -> ConditionalModel:
    """p(·|x) with random θ, interaction and q; by default q is a product with random natural parameters."""
    theta = uniform(seed, batch, space.num_statistics, spread=spread)
    interaction = None
    if head is not None:
        module = randomised(INTERACTION_HEADS[head].build(space), seed + 1, spread=spread)
        interaction = module(uniform(seed + 2, batch, HIDDEN)) if batch else None
    if reference is None:
        q = LinearDistribution(space, uniform(seed + 3, batch, space.num_statistics))
    else:
        q = reference(reference_inputs(reference, batch, seed + 4))
    return ConditionalModel(divergence or KL(), q, Scores(space, theta, interaction))


# ---- proposals and bases ---------------------------------------------------------------------------------------------

PROPOSALS: dict[str, Callable[[OutputSpace], Proposal]] = {
    "reference": lambda space: ReferenceProposal(),
    "tilt": lambda space: TiltProposal(),
    "meanfield": lambda space: MeanFieldProposal(),
    "anchored": lambda space: AnchoredProposal(space, distinct_outputs(space)),
    "listing": ListingProposal,
}
BASES: dict[str, Callable[[OutputSpace], Base]] = {
    "zero": lambda space: ZeroBase(),
    "tilt": lambda space: TiltBase(),
    "meanfield": lambda space: MeanFieldBase(),
    "anchored": lambda space: AnchoredBase(distinct_outputs(space)),
}


LINEAR_INTERFACES: tuple[tuple[type, dict[str, HeadCase]], ...] = (
    (LinearHead, LINEAR_HEADS),
    (InteractionHead, INTERACTION_HEADS),
)
