"""The work of a study: an answer about another run, in ``study.json``."""

from jebm_core.errors import SpecError
from jebm_core.runs.context import JobContext
from jebm_core.runs.home import write_json
from jebm_core.runs.work import given, read_data, settings_of
from jebm_core.splits import split_examples
from jebm_core.tables import Roles, read_examples, read_table

STEPS = 1000
"""In which progress is told."""


def learning_curve_of_run(context: JobContext) -> str | None:
    """How much more rows would help a run: fits to growing parts of all its rows.

    Raises:
        UserError: too few rows, or what the parent was fitted with is gone.
        Cancelled: if the study was asked to stop.
    """
    from jebm_core.evaluation.learning_curve import learning_curve

    spec = context.spec
    settings = settings_of(spec)

    def tell(share: float) -> None:
        context.report({"stage": "learning-curve", "epoch": round(share * STEPS), "epochs": STEPS})

    tell(0.0)
    examples = read_data(spec, context.data)
    found = learning_curve(
        examples, settings, on_progress=tell, should_stop=context.should_stop, **given(context, settings)
    )
    write_json(context.folder.study, found.to_json())
    return None


def drift_of_run(context: JobContext) -> str | None:
    """Whether later rows still come from where the rows came from that a run held out.

    Raises:
        UserError: nothing was held out, or the later rows can't be read as the model knows them.
    """
    from jebm_core.evaluation.drift import drift
    from jebm_core.fitted import load

    spec = context.spec
    if not spec.hold_out_fraction:
        raise SpecError(
            "Expected a run that held rows out, to compare later rows with; run {run} held out none. Train again with "
            "a held-out part.",
            run=spec.parent,
        )
    context.report({"stage": "drift", "epoch": 0, "epochs": 1})
    model = load(context.parent)
    schema = model.record.schema
    later = read_examples(
        read_table(context.other_data), Roles(model.record.features, schema.columns, schema.kind), like=schema
    )
    before = split_examples(read_data(spec, context.data), spec.hold_out_fraction, spec.hold_out_mode, spec.seed)[1]
    found = drift(model, before, later, seed=spec.seed)
    write_json(context.folder.study, {**found.to_json(), "name": later.table.name})
    return None
