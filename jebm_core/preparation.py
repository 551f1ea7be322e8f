"""From examples to tensors: split off held-out rows, encode features, fit what the reference needs – from the
training part alone."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from jebm_core.classifiers import ClassifierMarginals, named_classifier
from jebm_core.errors import RuleError, SpecError
from jebm_core.fitted import FittedModel
from jebm_core.model import Context
from jebm_core.recipes import describe_space
from jebm_core.rules.compiled import CompiledRules, compile_rules
from jebm_core.rules.data import checked_note, flags_of_table, keep_valid, obeyed
from jebm_core.rules.language import RuleSet
from jebm_core.rules.problem import bind
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace
from jebm_core.splits import held_out_rows
from jebm_core.steps import Rows
from jebm_core.tables import Examples, FeatureEncoder, Note, OutputSchema, Table, read_examples, require_fit_size

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
    """Rows ready for training; ``schema`` has the options that only the rules name, too, and ``table`` are candidates
    for the reference."""

    space: OutputSpace
    train: Rows
    valid: Rows
    encoder: FeatureEncoder
    classifier: ClassifierMarginals | None
    schema: OutputSchema
    notes: tuple[Note, ...]
    table: Int64[Tensor, "candidate item"] | None = None


def prepare(
    examples: Examples,
    settings: FitSettings,
    device: torch.device,
    given: Given = Given(),
) -> Prepared:
    """Split, encode and move to the device.

    Raises:
        UserError: fewer than 20 rows, features that can't be used, columns of another kind than the settings say, or
            rules that can't be bound, met or summed.
    """
    require_fit_size(examples)
    outputs, classifier, generator = examples.outputs, given.classifier, given.generator
    compiled, notes = None, ()
    if given.rules is not None:
        compiled = compile_rules(bind(given.rules, outputs.schema, features=examples.roles.features))
        examples, notes = keep_valid(compiled, examples)
        notes = (*checked_note(compiled), *notes)
        require_fit_size(examples)
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
    share = max(MIN_HELD_OUT, round(settings.validation_fraction * count)) / count
    mode = "combinations" if settings.validation == "combinations" else "rows"
    held_out = held_out_rows(outputs.values, share, mode, settings.seed)
    train, valid = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    table = examples.table.part(examples.keep)
    fitting = table.part(train)
    encoder = FeatureEncoder.fit(fitting.frame, examples.roles.features, file=table.name, first_row=table.first_row)
    x = encoder.transform(table)
    inputs = np.zeros((count, 0), dtype=np.float32)
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
    points = None
    if given.candidates is not None:
        points, more = _candidate_points(given.candidates, examples, outputs.schema, compiled)
        notes = (*notes, *more)
    if settings.reference in ("logistic", "forest"):
        classifier = named_classifier(settings.reference, seed=settings.seed)
    if classifier is not None:
        y = outputs.values
        marginals, out_of_fold = ClassifierMarginals.fit(space, classifier, x[train], y[train], seed=settings.seed)
        inputs = np.zeros((count, space.num_statistics), dtype=np.float32)
        inputs[train] = out_of_fold
        inputs[valid] = marginals.predict(x[valid])
    if compiled is not None:
        inputs = np.concatenate([inputs, flags_of_table(compiled, examples).astype(np.float32)], axis=1)
    rows = Rows(Context(torch.from_numpy(x), torch.from_numpy(inputs)), torch.from_numpy(outputs.values)).to(device)
    parts = [rows.rows(torch.from_numpy(index).to(device)) for index in (train, valid)]
    return Prepared(space, parts[0], parts[1], encoder, marginals, outputs.schema, notes, points)


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
