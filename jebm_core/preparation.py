"""From examples to tensors: split off held-out rows, encode features, fit what the reference needs – from the
training part alone."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from jebm_core.classifiers import ClassifierMarginals, named_classifier
from jebm_core.errors import SpecError
from jebm_core.model import Context
from jebm_core.recipes import describe_space
from jebm_core.rules.compiled import compile_rules
from jebm_core.rules.data import flags_of_table, keep_valid
from jebm_core.rules.language import RuleSet
from jebm_core.rules.problem import bind
from jebm_core.settings import FitSettings
from jebm_core.spaces import OutputSpace
from jebm_core.steps import Rows
from jebm_core.tables import Examples, FeatureEncoder, Note, OutputSchema, require_fit_size

MIN_HELD_OUT = 8


@dataclass(frozen=True)
class Prepared:
    """Rows ready for training; ``schema`` has the options that only the rules name, too."""

    space: OutputSpace
    train: Rows
    valid: Rows
    encoder: FeatureEncoder
    classifier: ClassifierMarginals | None
    schema: OutputSchema
    notes: tuple[Note, ...]


def prepare(
    examples: Examples,
    settings: FitSettings,
    device: torch.device,
    classifier: Any = None,
    rules: RuleSet | None = None,
) -> Prepared:
    """Split, encode and move to the device.

    Args:
        classifier: an unfitted scikit-learn classifier as reference; ``settings.reference`` may name one instead.
        rules: what makes a combination valid; rows that break them are left out, counted in a note.

    Raises:
        UserError: fewer than 20 rows, features that can't be used, columns of another kind than the settings say, or
            rules that can't be bound, met or summed.
    """
    require_fit_size(examples)
    outputs = examples.outputs
    compiled, notes = None, ()
    if rules is not None:
        compiled = compile_rules(bind(rules, outputs.schema, features=examples.roles.features))
        examples, notes = keep_valid(compiled, examples)
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
    held = max(MIN_HELD_OUT, round(settings.validation_fraction * count))
    order = np.random.default_rng(settings.seed).permutation(count)
    train, valid = np.sort(order[held:]), np.sort(order[:held])
    table = examples.table.part(examples.keep)
    fitting = table.part(train)
    encoder = FeatureEncoder.fit(fitting.frame, examples.roles.features, file=table.name, first_row=table.first_row)
    x = encoder.transform(table)
    inputs = np.zeros((count, 0), dtype=np.float32)
    marginals = None
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
    return Prepared(space, parts[0], parts[1], encoder, marginals, outputs.schema, notes)
