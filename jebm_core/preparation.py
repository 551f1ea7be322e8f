"""From examples to tensors: split off held-out rows, encode features, fit what the reference needs – from the
training part alone."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.classifiers import PooledMarginals, folds_of, named_classifiers
from jebm_core.divergences import divergence_from_name
from jebm_core.errors import RuleError, SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.recipes import describe_space
from jebm_core.reference_recipes import MAX_TREES, anchors_of, choose_reference
from jebm_core.references import PredictedReference, Reference, RuledReference
from jebm_core.rules.compiled import CompiledRules, compile_rules
from jebm_core.rules.data import checked_note, flags_of_table, keep_valid, obeyed
from jebm_core.rules.language import RuleSet
from jebm_core.rules.problem import bind
from jebm_core.settings import FitSettings, HoldOutMode
from jebm_core.spaces import OutputSpace, Ruled
from jebm_core.splits import held_out_rows
from jebm_core.stacking import fit_stacked
from jebm_core.steps import Rows
from jebm_core.tables import Examples, FeatureEncoder, Note, OutputSchema, Table, read_examples, require_fit_size
from jebm_core.tree_learning import fit_trees
from jebm_core.tree_references import TreeReference
from jebm_core.tree_tilting import fit_tilted_trees
from jebm_core.trees import takes_trees

CLASSIFIERS = ("logistic", "forest", "stacked")
"""References that classifiers predict."""
MIN_HELD_OUT = 8


@dataclass(frozen=True)
class Given:
    """What a fit is given besides examples and settings.

    Attributes:
        classifier: an unfitted scikit-learn classifier as reference; ``settings.reference`` may name one instead.
        rules: what makes a combination valid; rows that break them are left out, counted in a note.
        candidates: combinations for the reference ``table``, in the columns of the examples.
        generator: the fitted model of the reference ``model``, for the same outputs.
    """

    classifier: Any = None
    rules: RuleSet | None = None
    candidates: Table | None = None
    generator: FittedModel | None = None


@dataclass(frozen=True)
class Prepared:
    """Rows ready for training; ``schema`` has the options that only the rules name, too, ``table`` are candidates for
    the reference, and ``reference`` is that reference where classifiers or another model predict it."""

    space: OutputSpace
    train: Rows
    valid: Rows
    encoder: FeatureEncoder
    classifier: PooledMarginals | None
    schema: OutputSchema
    notes: tuple[Note, ...]
    table: Int64[Tensor, "candidate item"] | None = None
    reference: Reference | None = None


def prepare(
    examples: Examples,
    settings: FitSettings,
    device: torch.device,
    given: Given = Given(),
    on_part: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Split, encode and move to the device.

    Args:
        on_part: hears how far the classifiers are, as (done, of), and may raise to stop.

    Raises:
        UserError: fewer than 20 rows, features that can't be used, columns of another kind than the settings say, or
            rules that can't be bound, met or summed.
    """
    divergence_from_name(settings.divergence)  # an unknown name is refused before any classifier has learned
    require_fit_size(examples)
    outputs, generator = examples.outputs, given.generator
    examples, compiled, notes = _under_rules(examples, given.rules)
    if compiled is not None:
        outputs = dataclasses.replace(examples.outputs, options=compiled.problem.schema.options)
    if settings.space not in ("auto", outputs.kind):
        raise SpecError(
            "Setting space: the target columns were read as {found}, expected {expected}; "
            "choose the columns of that kind, or space auto.",
            found=outputs.kind,
            expected=settings.space,
        )
    space = describe_space(outputs.kind, outputs.names, outputs.options, compiled)
    count = len(examples.keep)
    held_out, mode = _validation_rows(outputs.values, settings)
    train, valid = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    table = examples.table.part(examples.keep)
    fitting = table.part(train)
    encoder = FeatureEncoder.fit(fitting.frame, examples.roles.features, file=table.name, first_row=table.first_row)
    x, y = encoder.transform(table), outputs.values
    inputs, fold = np.zeros((count, 0), dtype=np.float32), np.zeros(count, dtype=np.int64)
    marginals = None
    if (settings.reference == "model") != (generator is not None):
        raise SpecError(
            "Reference model: expected a fitted model and that reference together, found only one of them; give both "
            "(--reference model --generator MODEL)."
        )
    if given.candidates is not None and settings.reference != "table":
        raise SpecError(
            "Reference table: expected that reference with a table of candidates, found reference {found}. Choose it "
            "(--reference table), or leave the candidates out.",
            found=settings.reference,
        )
    if generator is not None:
        _require_same_outputs(generator, outputs.schema)
        inputs = generator.natural_parameters(generator.context(table)).cpu().numpy()
    table_points = None
    if given.candidates is not None:
        table_points, more = _candidate_points(given.candidates, examples, outputs.schema, compiled)
        notes = (*notes, *more)
    estimators = _estimators(space, settings, len(train), x.shape[1], given)
    reference = PredictedReference(space) if estimators else None
    if estimators:
        # Held-out rows get out-of-fold predictions like all others, so classifiers may learn from every row – but for
        # held-out combinations, which nothing may have seen.
        rows = train if mode == "combinations" else np.arange(count)
        marginals, out_of_fold = PooledMarginals.fit(
            space, estimators, x[rows], y[rows], seed=settings.seed, on_part=on_part
        )
        inputs = marginals.predict(x) if mode == "combinations" else np.zeros_like(out_of_fold)
        inputs[rows] = out_of_fold
        fold = np.zeros(count, dtype=np.int64)
        fold[rows] = folds_of(len(rows), seed=settings.seed)
    if not estimators and _wants_trees(space, settings, x.shape[1]):
        parts = torch.from_numpy(y[train]), torch.from_numpy(y[valid])
        reference = TreeReference(space, fit_trees(space, *parts, seed=settings.seed, on_part=on_part))
    weighted = isinstance(space, Ruled) and space.rules.weighted is not None
    if weighted and reference is not None:
        reference = RuledReference(reference)
    elif len(estimators) > 1:
        points, eta = torch.from_numpy(y[train]), torch.from_numpy(inputs[train])
        trees = None
        if takes_trees(space) and space.num_items > 1 and space.num_statistics <= MAX_TREES:
            # Held-out rows have no trees of their own fold in q, so these learn from the others alone.
            trees = fit_tilted_trees(space, eta, points, fold[train], seed=settings.seed, on_part=on_part)
        reference = fit_stacked(space, eta, points, fold[train], anchors_of(points), trees) or reference
    if reference is not None:
        inputs = reference.complete(torch.from_numpy(inputs)).numpy()
    if compiled is not None:
        inputs = np.concatenate([inputs, flags_of_table(compiled, examples).astype(np.float32)], axis=1)
    rows = Rows(Context(torch.from_numpy(x), torch.from_numpy(inputs)), torch.from_numpy(outputs.values)).to(device)
    parts = [rows.rows(torch.from_numpy(index).to(device)) for index in (train, valid)]
    if reference is not None:
        reference = reference.to(device)
    return Prepared(space, parts[0], parts[1], encoder, marginals, outputs.schema, notes, table_points, reference)


def validation_part(examples: Examples, settings: FitSettings, rules: RuleSet | None = None) -> Examples:
    """The rows that a fit to these examples keeps from its training, to stop by: what may choose a temperature.

    Raises:
        UserError: as `prepare`.
    """
    kept, _, _ = _under_rules(examples, rules)
    return kept.part(_validation_rows(kept.outputs.values, settings)[0])


def _under_rules(examples: Examples, rules: RuleSet | None) -> tuple[Examples, CompiledRules | None, tuple[Note, ...]]:
    """The examples that obey the rules, and what is to be said of the others."""
    if rules is None:
        return examples, None, ()
    compiled = compile_rules(bind(rules, examples.outputs.schema, features=examples.roles.features))
    kept, notes = keep_valid(compiled, examples)
    require_fit_size(kept)
    return kept, compiled, (*checked_note(compiled), *notes)


def _validation_rows(values: Int64[np.ndarray, "row item"], settings: FitSettings) -> tuple[np.ndarray, HoldOutMode]:
    """Which rows only tell when to stop, and how they were chosen."""
    count = len(values)
    share = max(MIN_HELD_OUT, round(settings.validation_fraction * count)) / count
    mode: HoldOutMode = "combinations" if settings.validation == "combinations" else "rows"
    return held_out_rows(values, share, mode, settings.seed), mode


def _estimators(space: OutputSpace, settings: FitSettings, rows: int, features: int, given: Given) -> list[Any]:
    """The classifiers that predict the reference; none for references of other kinds."""
    if given.classifier is not None:
        return [given.classifier]
    kind = choose_reference(space, features, settings)
    if kind not in CLASSIFIERS:
        return []
    found = named_classifiers(kind, space, rows, features, seed=settings.seed) if features else []
    if not found and settings.reference != "auto":
        raise SpecError(
            "Reference {kind}: expected feature columns, and items few enough for a classifier each; found {features} "
            "features and {items} items. Choose another reference.",
            kind=kind,
            features=features,
            items=space.num_items,
        )
    return found


def _wants_trees(space: OutputSpace, settings: FitSettings, features: int) -> bool:
    """Whether the reference is a mixture of trees; `SpecError` where it is asked for and can't be."""
    if choose_reference(space, features, settings) != "trees":
        return False
    if not takes_trees(space):
        raise SpecError(
            "Reference trees: expected subsets or configurations without rules, found {found}; choose another "
            "reference, or leave the rules out.",
            found="rules" if isinstance(space, Ruled) else type(space).__name__.lower(),
        )
    return True


def _candidate_points(
    table: Table, examples: Examples, schema: OutputSchema, compiled: CompiledRules | None
) -> tuple[Int64[Tensor, "candidate item"], tuple[Note, ...]]:
    """The candidates of a table as outputs; those that break the rules are left out and counted."""
    read = read_examples(table, dataclasses.replace(examples.roles, features=()), like=schema)
    notes = tuple(note for note in read.notes if note.template.startswith("{count} rows with"))
    if compiled is not None:
        valid = obeyed(compiled, read.outputs.values)
        if not valid.any():
            raise RuleError(
                "{source}: none of the {count} candidates of {file} obeys the rules; correct one or the other.",
                source=compiled.problem.rules.source,
                count=len(valid),
                file=table.name,
            )
        if not valid.all():
            said = {"count": int((~valid).sum()), "file": table.name}
            notes = (*notes, Note("{count} candidates of {file} break the rules and were left out.", said))
        read = read.part(valid)
    return torch.from_numpy(read.outputs.values), notes


def _require_same_outputs(generator: FittedModel, schema: OutputSchema) -> None:
    known = generator.record.schema
    if known != schema:
        raise SpecError(
            "Reference model: expected a model of the same outputs and options ({expected}), found one of others "
            "({found}); fit it to the same columns.",
            expected=", ".join(schema.columns[:5]),
            found=", ".join(known.columns[:5]),
        )
