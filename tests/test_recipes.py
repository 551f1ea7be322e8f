"""From settings to a model, its proposals and a plan: every combination is either built or refused in one sentence."""

import itertools
import json

import pytest
import torch

from jebm_core.errors import SpecError
from jebm_core.model import Context
from jebm_core.proposals import AnchoredProposal, ListingProposal, Proposal
from jebm_core.recipes import (
    PAIR_VARIANCE,
    Architecture,
    build_model,
    choose_architecture,
    choose_plan,
    choose_proposals,
    describe_space,
    independent_architecture,
)
from jebm_core.reference_recipes import MAX_ANCHORS, anchors_of, make_reference
from jebm_core.references import PredictedReference
from jebm_core.settings import AFFINITIES, LOG_PARTITIONS, PROPOSALS, REFERENCES, FitSettings
from jebm_core.spaces import OutputSpace
from jebm_core.steps import Rows
from jebm_core.training import held_out
from jebm_core.tree_references import TreeReference
from jebm_core.trees import takes_trees
from tests.contract.cases import (
    configurations,
    rankings,
    some_outputs,
    some_trees,
    stacked_reference,
    subsets,
    tilted_trees,
)
from tests.oracle import index_of, seeded, uniform

SPACES: dict[str, OutputSpace] = {
    "subsets": subsets(4),
    "configurations": configurations(3, 1, 2),
    "rankings": rankings(3),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def rows_of(space: OutputSpace, count: int = 24, features: int = 2) -> Rows:
    if space.cardinality() <= 2**20:
        y = some_outputs(space, count)
    else:
        y = (torch.rand(count, space.num_items, generator=seeded(2)) < 0.5).long()
    return Rows(Context(uniform(1, count, features), torch.zeros(count, 0)), y)


def with_inputs(rows: Rows, width: int) -> Rows:
    return rows._replace(context=Context(rows.context.x, uniform(2, len(rows.y), width)))


@every_space
@pytest.mark.parametrize("affinity", AFFINITIES)
def test_an_affinity_is_built_or_refused(space: OutputSpace, affinity: str):
    rows = rows_of(space)
    fits = {"auto", "unary"} | (
        {"permutahedron", "birkhoff", "preference"}
        if not space.factorises
        else {"pairwise", "pairwise-constant", "lowrank", "lowrank-constant", "set"}
    )
    settings = FitSettings(affinity=affinity)
    if affinity not in fits:
        kind = type(space).__name__.lower()
        with pytest.raises(SpecError, match=f"^Affinity '{affinity}' does not apply to {kind}; choose one of "):
            choose_architecture(space, rows, settings)
        return
    shape = choose_architecture(space, rows, settings)
    model = build_model(space, shape, rows.y)
    again = Architecture.from_json(json.loads(json.dumps(shape.to_json())))
    assert again == shape
    other = build_model(space, again)  # as loading does: without the training outputs
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        first, second = (m.eval()(rows.context).log_prob_of(space.listing()) for m in (model, other))
    assert torch.equal(first, second)


@every_space
@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("log_partition", LOG_PARTITIONS)
def test_every_reference_and_log_partition_give_a_model_that_trains(
    space: OutputSpace, reference: str, log_partition: str
):
    rows = rows_of(space)
    settings = FitSettings(reference=reference, log_partition=log_partition)
    table = rows.y if reference == "table" else None
    fitted = stacked_reference(space) if reference == "stacked" else None
    if reference == "trees":
        if not takes_trees(space):
            return
        fitted = TreeReference(space, some_trees(space))
    shape = choose_architecture(space, rows, settings, table, fitted)
    model = build_model(space, shape, rows.y, table, fitted)
    assert reference in ("auto", shape.reference)
    rows = with_inputs(rows, model.reference.input_width)
    for proposal in choose_proposals(space, model, rows, settings):
        found = held_out(model, rows, proposal, samples=4, generator=seeded(1))
        assert torch.isfinite(torch.tensor(found)).all()


@every_space
@pytest.mark.parametrize("divergence", ["kl", "chi2", "tsallis:1.5", "jensen-shannon"])
def test_only_kl_gets_a_closed_form_base(space: OutputSpace, divergence: str):
    shape = choose_architecture(space, rows_of(space), FitSettings(divergence=divergence))
    assert (shape.base == "zero") == (divergence != "kl")
    assert shape.divergence == divergence


def test_the_published_method_is_built_as_published():
    space = subsets(12)
    settings = FitSettings(proposal="reference", affinity="pairwise-constant", reference="uniform")
    rows = rows_of(space)
    shape = choose_architecture(space, rows, settings)
    assert (shape.base, shape.reference, shape.affinity) == ("zero", "uniform", "pairwise-constant")
    proposals = choose_proposals(space, build_model(space, shape, rows.y), rows, settings)
    assert [p.name for p in proposals] == ["reference"]
    assert choose_plan(space, rows, settings).samples == 1000


def ladder(space: OutputSpace, settings: FitSettings) -> list[Proposal]:
    rows = rows_of(space)
    model = build_model(space, choose_architecture(space, rows, settings), rows.y)
    return list(choose_proposals(space, model, rows, settings))


def test_ladders_climb_to_stronger_proposals():
    large = subsets(12)
    assert [p.name for p in ladder(large, FitSettings(proposal="tilt"))] == ["tilt", "meanfield", "anchored"]
    assert [p.name for p in ladder(large, FitSettings())] == ["anchored"]
    assert [p.name for p in ladder(subsets(60), FitSettings())] == ["meanfield", "anchored"]
    assert [p.name for p in ladder(large, FitSettings(affinity="set"))] == ["tilt"]
    assert [p.name for p in ladder(large, FitSettings(reference="candidates"))] == ["tilt"]
    assert [p.name for p in ladder(subsets(4), FitSettings())] == ["listing"]
    trees, rows = TreeReference(large, some_trees(large)), rows_of(large)
    for affinity in ("auto", "unary", "lowrank"):
        settings = FitSettings(affinity=affinity)
        model = build_model(large, choose_architecture(large, rows, settings, None, trees), rows.y, None, trees)
        assert [p.name for p in choose_proposals(large, model, rows, settings)] == ["tilt"]
    assert [p.name for p in ladder(rankings(7), FitSettings())] == ["tilt"]
    assert isinstance(ladder(subsets(12), FitSettings(proposal="listing"))[0], ListingProposal)


@pytest.mark.parametrize("proposal", PROPOSALS)
@every_space
def test_a_proposal_is_given_or_refused(space: OutputSpace, proposal: str):
    settings = FitSettings(proposal=proposal)
    for_products, for_rankings = ("meanfield", "anchored"), ("plackett-luce",)
    if proposal in (for_rankings if space.factorises else for_products):
        with pytest.raises(SpecError, match=f"^Proposal '{proposal}' does not apply to this space, reference and aff"):
            ladder(space, settings)
    else:
        assert ladder(space, settings)[0].name == ("listing" if proposal == "auto" else proposal)


def test_a_space_too_large_to_list_is_refused_for_listing():
    with pytest.raises(
        SpecError, match=r"^Expected a space of at most 4194304 combinations to list, found about 10\^12"
    ):
        ladder(subsets(40), FitSettings(proposal="listing", affinity="lowrank"))


def test_anchors_are_the_most_frequent_combinations():
    space = subsets(3)
    y = space.listing()[[5, 2, 5, 7, 5, 2]]
    assert index_of(space, anchors_of(y)).tolist() == [5, 2, 7]
    assert index_of(space, anchors_of(y, most=2)).tolist() == [5, 2]
    many = (torch.rand(3000, 20, generator=seeded(3)) < 0.5).long()
    assert len(anchors_of(many)) == MAX_ANCHORS
    shape = choose_architecture(
        subsets(20), Rows(Context(torch.zeros(3000, 1), torch.zeros(3000, 0)), many), FitSettings()
    )
    assert shape.anchors == MAX_ANCHORS
    assert isinstance(ladder(subsets(20), FitSettings())[-1], AnchoredProposal)


def test_plans_follow_the_settings():
    rows = rows_of(subsets(3))
    plan = choose_plan(subsets(3), rows, FitSettings(epochs=7, samples=5, time_budget=30.0))
    assert (plan.epochs, plan.samples, plan.seconds) == (7, 5, 30)
    for count, (least, most) in itertools.product([24, 1500, 30_000], [(5, 300)]):
        long = Rows(Context(torch.zeros(count, 1), torch.zeros(count, 0)), torch.zeros(count, 3, dtype=torch.int64))
        assert least <= choose_plan(subsets(3), long, FitSettings()).epochs <= most


def test_without_features_every_step_takes_all_rows_of_a_space_that_can_be_listed():
    rows = Rows(Context(torch.zeros(300, 0), torch.zeros(300, 0)), rows_of(subsets(3)).y[:1].expand(300, -1))
    plan = choose_plan(subsets(3), rows, FitSettings())
    assert plan.batch_size == 300
    assert plan.penalty == pytest.approx(1 / PAIR_VARIANCE)  # one distinct combination
    assert choose_plan(subsets(60), rows, FitSettings()).penalty == 0
    assert choose_plan(subsets(3), rows, FitSettings(proposal="tilt")).penalty == 0
    assert choose_architecture(subsets(12), rows_without(300, 12), FitSettings()).affinity == "pairwise"


def rows_without(count: int, items: int) -> Rows:
    """Rows without features."""
    return Rows(Context(torch.zeros(count, 0), torch.zeros(count, 0)), torch.zeros(count, items, dtype=torch.int64))


@every_space
def test_spaces_are_described_by_kind_names_and_options(space: OutputSpace):
    options = getattr(space, "options", ((),) * space.num_items)
    again = describe_space(type(space).__name__.lower(), space.items, options)
    assert type(again) is type(space)
    assert (again.items, getattr(again, "options", ())) == (space.items, getattr(space, "options", ()))


@every_space
@pytest.mark.parametrize("kind", ["uniform", "marginals", "candidates", "predicted"])
def test_placeholder_references_take_the_numbers_of_fitted_ones(space: OutputSpace, kind: str):
    y = some_outputs(space)
    fitted = make_reference(space, kind, y)
    empty = make_reference(space, kind, None, candidates=len(torch.unique(y, dim=0)))
    empty.load_state_dict(fitted.state_dict())
    inputs = uniform(4, 3, fitted.input_width)
    first, second = (r(inputs).log_prob_of(space.listing()) for r in (fitted, empty))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("items", "rows", "table", "affinity"),
    [
        (6, 40, True, "pairwise-constant"),
        (6, 40, False, "pairwise"),
        (12, 40, False, "pairwise-constant"),
        (300, 40, False, "unary"),
    ],
)
def test_pairs_are_constant_where_the_reference_knows_what_x_changes(items: int, rows: int, table: bool, affinity: str):
    space = subsets(items)
    y = torch.randint(2, (rows, items), generator=seeded(1))
    data = Rows(Context(torch.zeros(rows, 2), torch.zeros(rows, items)), y)
    fitted = stacked_reference(space) if table else PredictedReference(space)
    shape = choose_architecture(space, data, FitSettings(), None, fitted)
    assert (shape.reference, shape.affinity) == ("stacked" if table else "predicted", affinity)
    plan = choose_plan(space, data, FitSettings(), shape)
    held_back = (plan.x_pace < 1, plan.penalty > 0)
    assert held_back == ((True, True) if affinity.endswith("constant") else (False, False))


@pytest.mark.parametrize(("rows", "affinity"), [(60, "unary"), (70, "pairwise-constant")])
def test_beside_trees_pairs_need_as_many_rows(rows: int, affinity: str):
    """12 items have 66 pairs; without pairs the base is the log-partition itself."""
    space = subsets(12)
    data = Rows(Context(torch.zeros(rows, 2), torch.zeros(rows, 12)), torch.zeros(rows, 12, dtype=torch.int64))
    fitted = stacked_reference(space, trees=tilted_trees(space))
    shape = choose_architecture(space, data, FitSettings(), None, fitted)
    assert (shape.affinity, shape.base, shape.trees) == (affinity, "tilt", 3)
    model = build_model(space, shape, data.y, None, fitted)
    assert [p.name for p in choose_proposals(space, model, data, FitSettings())] == ["tilt"]
    again = make_reference(space, "stacked", None, candidates=shape.candidates, trees=shape.trees)
    again.load_state_dict(fitted.state_dict())
    assert independent_architecture(shape).trees == 0
